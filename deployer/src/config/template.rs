//! Comments a description: each field is preceded by its meaning, from the table of fields.

use std::collections::BTreeSet;

use super::fields::{Field, ValueType};

/// The width of the comments.
const COLUMNS: usize = 80;

/// Returns the text with a comment above each field, also above those that are commented out (`# protect: true`). Only
/// fields on lines of their own are seen, not those within `{ … }`. A field of several entries is explained once.
pub fn commented(text: &str) -> String {
    let mut commented = String::new();
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut explained = BTreeSet::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        let left_out = code.strip_prefix("# ");
        if let Some((key, _)) = left_out.unwrap_or(code).split_once(':') {
            above.retain(|(column, _)| *column < indent);
            let path: Vec<&str> = above.iter().map(|(_, key)| *key).chain([key]).collect();
            if let Some((field, words)) = meaning(&path.join("."))
                && explained.insert((field, words))
            {
                commented += &wrapped(words, indent);
            }
            if left_out.is_none() {
                above.push((indent, key));
            }
        }
        commented += line;
        commented.push('\n');
    }
    commented
}

/// The description of a field, or of an entry of a section, with the path of its row.
fn meaning(path: &str) -> Option<(&'static str, &'static str)> {
    if let Some(field) = Field::at(path) {
        return Some((field.path, field.words));
    }
    let (section, _) = path.rsplit_once('.')?;
    match Field::at(section)? {
        Field { path, value_type: ValueType::Entries(one), .. } => Some((path, one)),
        _ => None,
    }
}

/// A comment at this indentation.
fn wrapped(words: &str, indent: usize) -> String {
    let begin = format!("{}#", " ".repeat(indent));
    let (mut comment, mut line) = (String::new(), begin.clone());
    for word in words.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS && line != begin {
            comment += &format!("{line}\n");
            line = begin.clone();
        }
        line += &format!(" {word}");
    }
    comment + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_gets_its_meaning_and_other_lines_stay() {
        let text = "# AWS Academy accounts:\nname: app\n\nbuckets:\n  images:\n    # protect: true\n    cors: { methods: [GET] }\n\
                    outputs:\n  URL: x\n";
        let fields = ["name", "buckets", "buckets.*.protect", "buckets.*.cors", "outputs"];
        let [name, buckets, protect, cors, outputs] = fields.map(|path| Field::at(path).expect("a field").words);
        assert_eq!(
            commented(text),
            format!(
                "# AWS Academy accounts:\n# {name}\nname: app\n\n# {buckets}\nbuckets:\n  # A private, encrypted bucket.\n  \
                 images:\n    # {protect}\n    # protect: true\n    # {cors}\n    cors: {{ methods: [GET] }}\n\
                 # {outputs}\noutputs:\n  URL: x\n"
            )
        );
    }

    #[test]
    fn a_field_of_several_entries_is_explained_once() {
        let commented = commented("tables:\n  a:\n    partition_key: k\n  b:\n    partition_key: k\n");
        for path in ["tables", "tables.*.partition_key"] {
            assert_eq!(commented.matches(Field::at(path).expect("a field").words).count(), 1, "{commented}");
        }
        assert_eq!(commented.matches("# A table, billed by request.").count(), 1, "{commented}");
    }

    #[test]
    fn a_long_meaning_is_wrapped() {
        let comment = wrapped(&"word ".repeat(40), 4);
        assert!(comment.lines().all(|line| line.starts_with("    # word") && line.len() <= COLUMNS), "{comment}");
        assert_eq!(comment.matches("word").count(), 40);
    }
}
