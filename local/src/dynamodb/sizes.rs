//! The sizes of names, keys, items and pages.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

use serde_json::{Map, Value};

use super::invalid;
use crate::answer::Refusal;
use crate::tags::{Flaw, USUAL};

/// The largest item in bytes.
const LARGEST_ITEM: usize = 400 << 10;
/// How much of a table one `Query` or `Scan` reads.
pub(super) const PAGE: usize = 1 << 20;
/// The longest values of partition and sort keys in bytes.
const LONGEST_KEYS: [usize; 2] = [2048, 1024];

/// Refuses names that no table can have (aws-facts §1).
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (3..=255).contains(&name.len()) && name.bytes().all(letters) {
        return Ok(());
    }
    Err(invalid(&format!(
        "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length between 3 and 255"
    )))
}

/// Refuses a table whose attributes are not those of its keys and indexes (aws-facts §5.2).
pub(super) fn check_attributes(input: &Value) -> Result<(), Refusal> {
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|one| one["AttributeName"].as_str().map(str::to_owned)).collect()
    };
    let mut used = names(&input["KeySchema"]);
    for kind in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        let indexes = input[kind].as_array().into_iter().flatten();
        used.extend(indexes.flat_map(|index| names(&index["KeySchema"])));
    }
    let defined = names(&input["AttributeDefinitions"]);
    if let Some(missing) = used.iter().find(|name| !defined.contains(name)) {
        return Err(invalid(&format!(
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [{missing}], AttributeDefinitions: [{}]",
            defined.join(", ")
        )));
    }
    if defined.iter().any(|name| !used.contains(name)) {
        let text = "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions";
        return Err(invalid(text));
    }
    Ok(())
}

/// Refuses tags that cannot be added to a table with the tags that are `there`.
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

/// Refuses an item that is too large, or whose keys are empty or too long. `keys` are the names of the table's keys.
pub(super) fn check_item(item: &Value, keys: &[String]) -> Result<(), Refusal> {
    for (name, longest) in keys.iter().zip(LONGEST_KEYS) {
        let length = match &item[name] {
            Value::Object(value) => value.iter().next().map_or(0, |(kind, value)| size_of_value(kind, value)),
            // That it is missing is said by who looks for it.
            _ => continue,
        };
        if length == 0 {
            return Err(invalid(&format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: {name}"
            )));
        }
        if length > longest {
            let which = if longest == LONGEST_KEYS[0] { "hashkey" } else { "rangekey" };
            return Err(invalid(&format!(
                "One or more parameter values were invalid: Size of {which} has exceeded the maximum size limit of {longest} bytes"
            )));
        }
    }
    if size_of(item) > LARGEST_ITEM {
        return Err(invalid("Item size has exceeded the maximum allowed size"));
    }
    Ok(())
}

/// The bytes DynamoDB counts for an item: names and values.
pub(super) fn size_of(item: &Value) -> usize {
    item.as_object().map_or(0, size_of_map)
}

fn size_of_map(item: &Map<String, Value>) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_attribute(value)).sum()
}

fn size_of_attribute(value: &Value) -> usize {
    value.as_object().and_then(|value| value.iter().next()).map_or(0, |(kind, value)| size_of_value(kind, value))
}

fn size_of_value(kind: &str, value: &Value) -> usize {
    match kind {
        "S" => text(value),
        "N" => number(value),
        "B" => binary(value),
        "SS" => all(value, text),
        "NS" => all(value, number),
        "BS" => all(value, binary),
        "L" => 3 + all(value, |value| 1 + size_of_attribute(value)),
        "M" => 3 + value.as_object().map_or(0, |map| size_of_map(map) + map.len()),
        _ => 1,
    }
}

fn text(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

fn number(value: &Value) -> usize {
    text(value).div_ceil(2) + 1
}

/// In base64 four letters are three bytes.
fn binary(value: &Value) -> usize {
    text(value) / 4 * 3
}

fn all(list: &Value, size: fn(&Value) -> usize) -> usize {
    list.as_array().map_or(0, |list| list.iter().map(size).sum())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_values_count() {
        let item = json!({
            "id": { "S": "é" }, "n": { "N": "1234" }, "b": { "B": "AAAA" }, "l": { "L": [{ "BOOL": true }] },
        });
        assert_eq!(size_of(&item), (2 + 2) + (1 + 3) + (1 + 3) + (1 + 3 + 2));
    }

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

    #[test]
    fn what_is_too_large_is_refused() {
        let keys = ["user".to_owned(), "id".to_owned()];
        let refused = |item: Value| check_item(&item, &keys).err().map(|refusal| refusal.message).unwrap_or_default();
        let item = |user: String, id: String, text: String| json!({ "user": { "S": user }, "id": { "S": id }, "text": { "S": text } });
        let some = || "x".to_owned();
        assert_eq!(refused(item(some(), some(), "x".repeat(409_000))), "");
        assert!(refused(item(some(), some(), "x".repeat(410_000))).contains("Item size"));
        assert!(refused(item("x".repeat(2049), some(), some())).contains("hashkey"));
        assert!(refused(item(some(), "x".repeat(1025), some())).contains("rangekey"));
        assert!(refused(item(some(), String::new(), some())).contains("Key: id"));
    }
}
