//! Limits on names and tags.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

use serde_json::Value;

use super::invalid;
use kit::answer::Refusal;
use kit::tags::{Flaw, USUAL};

/// Refuses invalid table names (docs/aws.md §1).
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (3..=255).contains(&name.len()) && name.bytes().all(letters) {
        return Ok(());
    }
    Err(invalid(&format!(
        "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length between 3 and 255"
    )))
}

/// Refuses tags that cannot be added to a table with the tags in `there`.
pub(super) fn check_tags(added: &Value, there: &[Value]) -> Result<(), Refusal> {
    fn text<'a>(tag: &'a Value, name: &str) -> &'a str {
        tag[name].as_str().unwrap_or_default()
    }
    let added = added.as_array().map(Vec::as_slice).unwrap_or_default();
    let pairs = added.iter().map(|tag| (text(tag, "Key"), text(tag, "Value")));
    USUAL.check(pairs, there.iter().map(|tag| text(tag, "Key"))).map_err(|flaw| match flaw {
        Flaw::TooMany => invalid(&format!("Too many tags: the most is {}", USUAL.most)),
        Flaw::Reserved(_) => invalid("One or more tag keys use the reserved prefix aws:"),
        Flaw::Twice(key) => invalid(&format!("One or more parameter values were invalid: Duplicate tag key: {key}")),
        _ => invalid("A tag has a key of 1 to 128 letters and a value of at most 256"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_refused_that_a_table_cannot_have() {
        let tag = |key: &str| json!({ "Key": key, "Value": "v" });
        let tags = |count: usize| (0..count).map(|number| tag(&format!("k{number}"))).collect::<Vec<_>>();
        let said = |added: Vec<Value>, there: &[Value]| {
            check_tags(&json!(added), there).err().map(|refusal| refusal.message).unwrap_or_default()
        };
        assert_eq!(said(tags(50), &tags(50)), "");
        assert!(said(vec![tag("new")], &tags(50)).contains("Too many tags"));
        assert!(said(vec![tag("k"), tag("k")], &[]).contains("Duplicate tag key: k"));
        assert!(said(vec![tag("AWS:k")], &[]).contains("reserved prefix"));
        assert!(said(vec![tag("")], &[]).contains("a key of 1 to 128 letters"));
        assert_eq!(check_tags(&Value::Null, &[]).map_err(|refusal| refusal.code), Ok(()));
    }

    #[test]
    fn names_are_those_of_aws() {
        for good in ["abc", "A.b_c-9", &"a".repeat(255)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "a b c", "postér", &"a".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
