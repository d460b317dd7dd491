//! Texts with references: `${buckets.images.name}` stands for what AWS will say.

/// A text, some parts of which are known only when other resources are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself.
    Literal(String),
    /// Stands for an attribute of an entry.
    Reference(Reference),
}

/// Names an attribute of an entry of `stack.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `buckets`, `tables`, `functions` or `services`.
    pub section: String,
    /// The entry's own name.
    pub entry: String,
    /// Which of its attributes.
    pub attribute: String,
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

    /// What it refers to.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Reference(reference) => Some(reference),
        })
    }

    /// How long it is at least, in bytes.
    pub fn known_len(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Reference(_) => 0,
        };
        self.0.iter().map(len).sum()
    }

    /// Takes a text apart. `$${` stands for `${`.
    ///
    /// Errors: what is wrong with a reference, in words, and at which character of the text.
    pub fn parse(text: &str) -> Result<Text, (String, usize)> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            let here = text[..text.len() - rest.len() + at].chars().count();
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at - 1]);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let after = &rest[at + 2..];
            let end = after.find('}').ok_or(("a reference without an end: `}` is missing".to_owned(), here))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Reference(
                reference(&after[..end]).ok_or_else(|| (format!("`${{{}}}` is no reference", &after[..end]), here))?,
            ));
            rest = &after[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Text(pieces))
    }
}

fn reference(inside: &str) -> Option<Reference> {
    let mut parts = inside.trim().split('.');
    let (section, entry, attribute) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && [section, entry, attribute].iter().all(|part| !part.is_empty());
    whole.then(|| Reference { section: section.into(), entry: entry.into(), attribute: attribute.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Result<&str, &str>]) {
        let parsed = Text::parse(text).expect("the text is well formed");
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
    fn what_is_no_reference_says_where() {
        assert_eq!(Text::parse("é ${tables.posts}").unwrap_err().1, 2);
        assert_eq!(Text::parse("${a.b.c").unwrap_err().0, "a reference without an end: `}` is missing");
    }
}
