//! XML as S3 reads and writes it: text is never trimmed, and no member of a document is ignored.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::NAMESPACE;
use kit::answer::{Refusal, Response, reference, xml};

/// The maximum size of a document in bytes. S3 accepts none that is larger: ten thousand parts with checksums, or a
/// thousand keys in character references.
const LARGEST: usize = 8 << 20;
/// The maximum depth of a document. S3 accepts none that is deeper.
const DEEPEST: usize = 12;

/// An element with its text or its children. Attributes have no meaning in the documents accepted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Parses a document with this root.
    pub(super) fn read(body: &[u8], root: &str) -> Result<Element, Refusal> {
        if body.len() > LARGEST {
            return Err(Refusal::new(400, "MaxMessageLengthExceeded", "Your request was too large."));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let found = parse(text.trim_start_matches('\u{feff}')).ok_or_else(malformed)?;
        if found.name == root { Ok(found) } else { Err(malformed()) }
    }

    /// Checks the names of the children. They must be in `known`, where those that may repeat end in `*`. Names in
    /// `elsewhere` have an effect on S3 but not here, and are refused as not implemented.
    pub(super) fn expect(&self, known: &[&str], elsewhere: &[&str]) -> Result<&Element, Refusal> {
        for (at, child) in self.children.iter().enumerate() {
            let name = child.name.as_str();
            if elsewhere.contains(&name) {
                return Err(unserved(&format!("{} in {}", name, self.name)));
            }
            let repeats = known.iter().any(|known| known.strip_suffix('*') == Some(name));
            let again = self.children[..at].iter().any(|before| before.name == name);
            if !repeats && (again || !known.contains(&name)) {
                return Err(malformed());
            }
        }
        Ok(self)
    }

    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The text of a required child.
    pub(super) fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(malformed)
    }

    /// The text of a child, which must be one of these values.
    pub(super) fn one_of(&self, name: &str, values: &[&str]) -> Result<Option<&str>, Refusal> {
        match self.get(name) {
            Some(text) if !values.contains(&text) => Err(malformed()),
            found => Ok(found),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.get(name)
            .map(|text| match text {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(malformed()),
            })
            .transpose()
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.get(name).map(|text| text.trim().parse().map_err(|_| malformed())).transpose()
    }

    /// The document as S3 returns it.
    pub(super) fn document(&self) -> String {
        format!("<{0} xmlns=\"{NAMESPACE}\">{1}</{0}>", self.name, self.inside())
    }

    fn inside(&self) -> String {
        let children = self.children.iter().map(|child| wrap(&child.name, &child.inside()));
        escape(&self.text) + &children.collect::<String>()
    }
}

/// Parses a text with exactly one root element.
fn parse(text: &str) -> Option<Element> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                if root.is_some() || open.len() >= DEEPEST {
                    return None;
                }
                open.push(named(tag.local_name().as_ref())?);
            }
            Event::Empty(tag) => close(named(tag.local_name().as_ref())?, &mut open, &mut root)?,
            Event::End(_) => {
                let done = open.pop()?;
                close(done, &mut open, &mut root)?;
            }
            Event::Text(said) => add(std::str::from_utf8(&said).ok()?, true, &mut open)?,
            Event::CData(said) => add(std::str::from_utf8(&said).ok()?, false, &mut open)?,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => (),
            // S3's documents have no entity definitions.
            Event::DocType(_) => return None,
            Event::Eof => return root.filter(|_| open.is_empty()),
        }
    }
}

fn named(name: &[u8]) -> Option<Element> {
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some(Element { name, text: String::new(), children: Vec::new() })
}

/// Closes an element, which has either text, or children with white space between them.
fn close(mut done: Element, open: &mut [Element], root: &mut Option<Element>) -> Option<()> {
    if !done.children.is_empty() {
        if !done.text.trim().is_empty() {
            return None;
        }
        done.text.clear();
    }
    match open.last_mut() {
        Some(parent) => parent.children.push(done),
        None if root.is_none() => *root = Some(done),
        None => return None,
    }
    Some(())
}

fn add(text: &str, references: bool, open: &mut [Element]) -> Option<()> {
    let Some(element) = open.last_mut() else {
        return text.trim().is_empty().then_some(());
    };
    // An XML parser reads every line break as one character, unless it is a character reference.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = if references { quick_xml::escape::unescape(&text).ok()?.into_owned() } else { text };
    if !text.chars().all(is_char) {
        return None;
    }
    element.text.push_str(&text);
    Some(())
}

/// Whether XML 1.0 allows a character (`Char` in its grammar).
pub(super) fn is_char(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Escapes text between tags. S3 writes characters that XML 1.0 does not allow as character references, which no parser
/// accepts: this is what `encoding-type=url` is for ("ListObjectsV2", EncodingType).
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match reference(letter) {
            Some(reference) => safe.push_str(reference),
            None if is_char(letter) => safe.push(letter),
            None => safe.push_str(&format!("&#x{:x};", u32::from(letter))),
        }
    }
    safe
}

/// An element with text.
pub(super) fn element(name: &str, text: &str) -> String {
    wrap(name, &escape(text))
}

/// An element whose contents are XML already.
pub(super) fn wrap(name: &str, inside: &str) -> String {
    format!("<{name}>{inside}</{name}>")
}

/// The response with this document.
pub(super) fn document(root: &str, inside: &str) -> Response {
    xml(200, format!("<{root} xmlns=\"{NAMESPACE}\">{inside}</{root}>"))
}

pub(super) fn malformed() -> Refusal {
    let text = "The XML you provided was not well-formed or did not validate against our published schema";
    Refusal::new(400, "MalformedXML", text)
}

/// The error for a parameter that has an effect on S3, but is not implemented here.
pub(super) fn unserved(what: &str) -> Refusal {
    let text = format!(
        "A header, parameter or member you provided implies functionality that the local AWS does not have: {what}"
    );
    Refusal::new(501, "NotImplemented", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<String> {
        let read = Element::read(text.as_bytes(), "Delete").ok()?;
        read.child("Object")?.get("Key").map(str::to_owned)
    }

    #[test]
    fn text_is_kept_and_white_space_between_elements_is_ignored() {
        for (written, meant) in [
            (" ", " "),
            ("", ""),
            ("\n", "\n"),
            ("a\r\nb", "a\nb"),
            ("&#13;&#10;", "\r\n"),
            ("<![CDATA[<&]]>", "<&"),
            ("a &amp;<!-- no --> b", "a & b"),
            ("é&#xe9;", "éé"),
        ] {
            let found =
                key(&format!("<?xml version='1.0'?>\n<Delete>\n <Object> <Key>{written}</Key>\n</Object></Delete>\n"));
            assert_eq!(found.as_deref(), Some(meant), "{written:?}");
        }
    }

    #[test]
    fn malformed_xml_is_refused() {
        for text in [
            "",
            "<Other/>",
            "<Delete>",
            "<Delete></Delet>",
            "<Delete/><Delete/>",
            "x<Delete/>",
            "<Delete>x<Quiet/></Delete>",
            "<Delete>&#x1;</Delete>",
            "<Delete>&#xffff;</Delete>",
            "<Delete>\u{ffff}</Delete>",
            "<Delete>&other;</Delete>",
            "<!DOCTYPE a [<!ENTITY a \"a\">]><Delete>&a;</Delete>",
        ] {
            assert_eq!(Element::read(text.as_bytes(), "Delete").unwrap_err().code, "MalformedXML", "{text}");
        }
        let deep = "<Delete>".repeat(DEEPEST + 1) + &"</Delete>".repeat(DEEPEST + 1);
        assert!(Element::read(deep.as_bytes(), "Delete").is_err());
    }

    #[test]
    fn members_are_known_or_refused_by_name() {
        let read = |text: &str| Element::read(text.as_bytes(), "Delete").unwrap();
        let code = |text: &str| read(text).expect(&["Object*", "Quiet"], &["Bypass"]).err().map(|refusal| refusal.code);
        assert_eq!(code("<Delete><Object/><Object/><Quiet/></Delete>"), None);
        assert_eq!(code("<Delete><Quiet/><Quiet/></Delete>").as_deref(), Some("MalformedXML"));
        assert_eq!(code("<Delete><Loud/></Delete>").as_deref(), Some("MalformedXML"));
        assert_eq!(code("<Delete><Bypass/></Delete>").as_deref(), Some("NotImplemented"));
    }

    #[test]
    fn a_document_is_given_back_as_it_came() {
        let text = "<x:A xmlns:x=\"y\"><B> a &amp; b</B><C><D/></C></x:A>";
        let read = Element::read(text.as_bytes(), "A").unwrap();
        let again = Element::read(read.document().as_bytes(), "A").unwrap();
        assert_eq!(read, again);
        assert_eq!(escape("\u{1}\u{ffff}\r<é>"), "&#x1;&#xffff;&#13;&lt;é&gt;");
    }
}
