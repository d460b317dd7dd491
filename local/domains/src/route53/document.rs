//! XML documents of requests, as trees.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::Event;

/// More levels than the document of any operation has.
const DEEPEST: usize = 16;

/// An element with its text and its children.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Parses a document; `None` if it is not well-formed XML.
    pub fn parse(document: &[u8]) -> Option<Element> {
        let mut reader = Reader::from_reader(document);
        let mut open: Vec<Element> = vec![Element::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) if open.len() < DEEPEST => open.push(named(tag.local_name().as_ref())),
                Event::Empty(tag) => open.last_mut()?.children.push(named(tag.local_name().as_ref())),
                Event::Start(_) => return None,
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text += &text.unescape().ok()?,
                Event::CData(text) => open.last_mut()?.text += std::str::from_utf8(&text).ok()?,
                Event::Eof => break,
                _ => (),
            }
        }
        let root = open.pop().filter(|_| open.is_empty())?;
        root.children.into_iter().next()
    }

    /// Returns a child.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Returns the text of a child, if it is present.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// Returns the items of a list.
    pub fn items(&self, list: &str) -> &[Element] {
        self.child(list).map_or(&[], |list| &list.children)
    }

    /// Returns the texts below, by their paths; list items are numbered.
    pub fn flattened(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        self.flatten("", &mut all);
        all
    }

    fn flatten(&self, above: &str, all: &mut BTreeMap<String, String>) {
        for (at, child) in self.children.iter().enumerate() {
            let path = if above.is_empty() { child.name.clone() } else { format!("{above}.{}.{at}", child.name) };
            match child.children.is_empty() {
                true => drop(all.insert(path, child.text.clone())),
                false => child.flatten(&path, all),
            }
        }
    }
}

fn named(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_tree_of_texts() {
        let text = b"<?xml version=\"1.0\"?><R xmlns=\"x\"><A><B> 1 </B><B>&lt;2</B></A><C/></R>";
        let root = Element::parse(text).unwrap();
        assert_eq!((root.name.as_str(), root.items("A").len()), ("R", 2));
        assert_eq!((root.items("A")[1].text.as_str(), root.text("C")), ("<2", Some("")));
        let paths: Vec<String> = root.flattened().into_keys().collect();
        assert_eq!(paths, ["A.B.0", "A.B.1", "C"]);
        for broken in ["", "<a>", "<a></b>", "</a>", &"<a>".repeat(100)] {
            assert_eq!(Element::parse(broken.as_bytes()), None, "{broken:.20}");
        }
    }
}
