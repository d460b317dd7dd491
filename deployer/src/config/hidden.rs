//! The text of a description without possibly secret values: errors quote its lines and end up in logs.

use std::ops::Range;

/// Replaces a hidden character.
const HIDDEN: char = '•';

/// Masks these values. References in them and the quotes around them stay visible, and columns do not move.
pub fn values(text: &str, values: &[Range<usize>]) -> String {
    let mut values: Vec<&Range<usize>> = values.iter().filter(|range| text.get((*range).clone()).is_some()).collect();
    values.sort_by_key(|range| range.start);
    let (mut shown, mut at) = (String::new(), 0);
    for range in values {
        // An alias has the range of its anchor's value.
        if range.start < at {
            continue;
        }
        shown.push_str(&text[at..range.start]);
        shown.push_str(&hidden(&text[range.clone()]));
        at = range.end;
    }
    shown + &text[at..]
}

/// The mappings that may have secret values.
const SECRET: &[&str] = &["environment:", "verify:"];

/// Masks what look like secret values in a file that cannot be parsed: everything after one of [`SECRET`] and in the more
/// indented lines below it.
pub fn by_layout(text: &str) -> String {
    let mut below: Option<usize> = None;
    let shown = text.split('\n').map(|line| {
        let indent = line.len() - line.trim_start().len();
        if below.is_some_and(|environment| indent <= environment && !line.trim().is_empty()) {
            below = None;
        }
        let mapping = SECRET.iter().find_map(|key| Some((line.find(key)?, key.len()))).filter(|_| below.is_none());
        let keys = match mapping {
            Some((before, length)) => {
                below = Some(indent);
                before + length
            }
            None if below.is_some() => line.find(':').map_or(indent, |at| at + 1),
            None => line.len(),
        };
        format!("{}{}", &line[..keys], hidden(&line[keys..]))
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn hidden(value: &str) -> String {
    let mut shown = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        let reference = reference(rest).unwrap_or_default();
        shown.push_str(reference);
        if reference.is_empty() {
            shown.push(if c.is_whitespace() || "\"'{},".contains(c) { c } else { HIDDEN });
            rest = &rest[c.len_utf8()..];
        } else {
            rest = &rest[reference.len()..];
        }
    }
    shown
}

/// The reference that a text begins with: it refers to entries of the file and is not secret.
fn reference(text: &str) -> Option<&str> {
    let end = text.strip_prefix("${").and_then(|inside| inside.find('}'))? + 3;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    text[2..end - 1].chars().all(is_name).then_some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_and_references_are_not() {
        let text = "A: \"pass wörd\" # B: x${tables.posts.name}";
        let at = |part: &str| text.find(part).map(|at| at..at + part.len()).unwrap();
        let shown = values(text, &[at("x${tables.posts.name}"), at("\"pass wörd\"")]);
        assert_eq!(shown, "A: \"•••• ••••\" # B: •${tables.posts.name}");
        assert_eq!(values(text, &[0..1000, 1..2000]), text, "no part of it");
    }

    #[test]
    fn of_invalid_yaml_no_value_of_a_variable_is_shown() {
        let text = "name: app\nfunctions:\n  f:\n    environment:\n      TOKEN: hunter2\n      MORE: [a\n    port: 1\n";
        let shown =
            "name: app\nfunctions:\n  f:\n    environment:\n      TOKEN: •••••••\n      MORE: ••\n    port: 1\n";
        assert_eq!(by_layout(text), shown);
        assert_eq!(by_layout("f: { environment: { A: b } }"), "f: { environment: { •• • } }");
    }
}
