//! Texts with references such as `${buckets.images.name}`, which stand for values that AWS assigns.

use super::{Place, Problem};

/// A text, parts of which are known only when other resources exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A literal.
    Literal(String),
    /// A reference to an attribute of an entry.
    Reference(Reference),
}

impl Piece {
    /// The literal.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Piece::Literal(text) => Some(text),
            Piece::Reference(_) => None,
        }
    }
}

/// Refers to an attribute of an entry of `stack.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `buckets`, `tables`, `functions` or `services`.
    pub section: String,
    /// The entry's own name.
    pub entry: String,
    /// The attribute.
    pub attribute: String,
    /// The place of the reference.
    pub place: Place,
}

impl Reference {
    /// `section.entry.attribute`.
    pub fn path(&self) -> String {
        format!("{}.{}.{}", self.section, self.entry, self.attribute)
    }
}

impl Text {
    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The references in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Reference(reference) => Some(reference),
        })
    }

    /// Its minimum length in bytes.
    pub fn known_len(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Reference(_) => 0,
        };
        self.0.iter().map(len).sum()
    }

    /// Parses a text; `$${` is an escaped `${`, and `place_of` maps a part of the text to its place in the file.
    /// Errors: the first invalid reference.
    pub fn parse(text: &str, place_of: impl Fn(&str) -> Place) -> Result<Text, Problem> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at - 1]);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let whole = rest[at..].find('}').map_or(&rest[at..], |end| &rest[at..=at + end]);
            let place = place_of(whole);
            let Some(reference) = reference(whole, place) else {
                let help = "references look like ${buckets.images.name}; write $${ for the characters themselves";
                // Invalid syntax may be a password that contains these characters.
                let is_near = whole.ends_with('}')
                    && whole[2..].chars().all(|c| c.is_ascii_alphanumeric() || "_-. }".contains(c));
                let message = if is_near {
                    format!("`{whole}` is not a reference")
                } else {
                    "`${` does not start a reference".into()
                };
                return Err(Problem { place, message, help: Some(help.into()) });
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Reference(reference));
            rest = &rest[at + whole.len()..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Text(pieces))
    }
}

fn reference(whole: &str, place: Place) -> Option<Reference> {
    let inside = whole.strip_prefix("${")?.strip_suffix('}')?;
    let parts: Vec<&str> = inside.trim().split('.').collect();
    match parts[..] {
        [section, entry, attribute] if parts.iter().all(|part| !part.is_empty()) => {
            Some(Reference { section: section.into(), entry: entry.into(), attribute: attribute.into(), place })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Result<&str, &str>]) {
        let parsed = Text::parse(text, |_| Place::default()).expect("the text is well formed");
        let pieces: Vec<Result<String, String>> = parsed
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => Ok(text.clone()),
                Piece::Reference(reference) => Err(reference.path()),
            })
            .collect();
        let expected: Vec<Result<String, String>> =
            expected.iter().map(|piece| piece.map(str::to_owned).map_err(str::to_owned)).collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn references_are_found_among_literals_and_an_escaped_one_is_none() {
        check("plain", &[Ok("plain")]);
        check("a-${tables.posts.name}-b", &[Ok("a-"), Err("tables.posts.name"), Ok("-b")]);
        check("$${not}", &[Ok("${not}")]);
        check("é${buckets.x.arn}", &[Ok("é"), Err("buckets.x.arn")]);
        check("", &[]);
    }

    #[test]
    fn invalid_references_are_shown_as_written() {
        let refused = |text: &str| Text::parse(text, |_| Place::default()).expect_err("it is none").message;
        assert_eq!(refused("é ${tables.posts} ${tables.posts.name}"), "`${tables.posts}` is not a reference");
        assert_eq!(refused("${a.b.c"), "`${` does not start a reference");
        assert_eq!(refused("${pass!word}"), "`${` does not start a reference");
        assert_eq!(refused("${a..c}"), "`${a..c}` is not a reference");
    }
}
