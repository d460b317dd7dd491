//! Domain names in the form in which Route 53 keeps them: lower case, with a dot at the end, and with every character but
//! letters, digits, `-` and `_` as an octal escape (docs/aws.md §21.1).

/// The maximum length of a label, and of a whole name, in bytes.
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 255;

/// Returns a name in Route 53's form. `None` if a label is empty or too long, or the whole name is.
pub fn normal(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let labels: Vec<Vec<u8>> = text.split('.').map(unescaped).collect();
    let fits = |label: &Vec<u8>| (1..=LONGEST_LABEL).contains(&label.len());
    let length: usize = labels.iter().map(|label| label.len() + 1).sum();
    (labels.iter().all(fits) && length < LONGEST_NAME).then(|| of_labels(&labels))
}

/// Returns the name with these labels.
pub fn of_labels(labels: &[Vec<u8>]) -> String {
    let mut name = String::new();
    for label in labels {
        for byte in label {
            match byte.to_ascii_lowercase() {
                plain @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') => name.push(char::from(plain)),
                other => name += &format!("\\{other:03o}"),
            }
        }
        name.push('.');
    }
    name
}

/// Returns the labels of a name in Route 53's form.
pub fn labels(name: &str) -> Vec<Vec<u8>> {
    name.split('.').filter(|label| !label.is_empty()).map(unescaped).collect()
}

fn unescaped(label: &str) -> Vec<u8> {
    let bytes = label.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal =
            bytes.get(at + 1..at + 4).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                at += 4;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    plain
}

/// Returns a name with its labels in reverse, by which Route 53 sorts: `com.example.www.`.
pub fn reversed(name: &str) -> String {
    let mut labels: Vec<&str> = name.split('.').filter(|label| !label.is_empty()).collect();
    labels.reverse();
    labels.iter().map(|label| format!("{label}.")).collect()
}

/// Whether a name is a zone's or below it.
pub fn is_within(name: &str, zone: &str) -> bool {
    name == zone || name.strip_suffix(zone).is_some_and(|above| above.ends_with('.'))
}

/// Returns the name without its first label; `None` for a name of one label.
pub fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent).filter(|parent| !parent.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form_and_an_impossible_one_has_none() {
        for (text, expected) in [
            ("Example.COM", Some("example.com.")),
            ("example.com.", Some("example.com.")),
            ("*.example.com", Some("\\052.example.com.")),
            ("\\052.example.com", Some("\\052.example.com.")),
            ("_a-1.b", Some("_a-1.b.")),
            ("a b.c", Some("a\\040b.c.")),
            ("", None),
            (".", None),
            ("a..b", None),
        ] {
            assert_eq!(normal(text).as_deref(), expected, "{text}");
        }
        assert_eq!(normal(&format!("{}.a", "x".repeat(64))), None);
        assert_eq!(normal(&"x.".repeat(128)), None);
        assert_eq!(of_labels(&labels("\\052.a.")), "\\052.a.");
        assert_eq!(labels("\\052.a."), [b"*".to_vec(), b"a".to_vec()]);
    }

    #[test]
    fn names_are_ordered_from_the_top_and_know_what_is_above_them() {
        assert_eq!(reversed("www.example.com."), "com.example.www.");
        assert_eq!((parent("a.b."), parent("b.")), (Some("b."), None));
        assert!(is_within("a.b.", "b.") && is_within("b.", "b."));
        assert!(!is_within("ab.", "b.") && !is_within("b.", "a.b."));
    }
}
