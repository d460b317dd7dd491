//! JSON pointers (RFC 6901) in which `*` matches every item of a list and every member of an object.

use serde_json::Value;

/// The values at this pointer.
pub fn find<'a>(document: &'a Value, pointer: &str) -> Vec<&'a Value> {
    let mut found = vec![document];
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        found = found.into_iter().flat_map(|value| below(value, &key)).collect();
    }
    found
}

fn below<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    match (value, key) {
        (Value::Array(items), "*") => items.iter().collect(),
        (Value::Object(members), "*") => members.values().collect(),
        // Indices have no leading zeros.
        (Value::Array(items), _) => {
            let index = key.parse::<usize>().ok().filter(|index| index.to_string() == key);
            index.and_then(|index| items.get(index)).into_iter().collect()
        }
        (Value::Object(members), _) => members.get(key).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_by_index_by_key_and_by_star() {
        let document = json!({ "a": [{ "b": 1 }, { "b": 2 }, {}], "c/d": { "~": null } });
        let found = |pointer: &str| json!(find(&document, pointer)).to_string();
        assert_eq!(found("/a/0/b"), "[1]");
        assert_eq!(found("/a/*/b"), "[1,2]");
        assert_eq!(found("/c~1d/~0"), "[null]");
        assert_eq!(found("/*/0"), r#"[{"b":1}]"#);
        for nothing in ["/a/3", "/a/01", "/a/-", "/x", "/a/0/b/c"] {
            assert_eq!(found(nothing), "[]", "{nothing}");
        }
        assert_eq!(find(&document, ""), [&document]);
    }
}
