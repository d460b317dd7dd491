//! The difference between two values of one type, field by field.

use serde::Serialize;
use serde_json::Value;

/// One field that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where: field names joined by dots.
    pub path: String,
    /// What is there; nothing when the field is new.
    pub from: Option<String>,
    /// What is wanted; nothing when the field goes.
    pub to: Option<String>,
}

impl Change {
    /// A field whose wanted value is not known before something else has been done.
    pub fn pending(on: impl std::fmt::Display) -> Self {
        Change { path: "inputs".into(), from: None, to: Some(format!("known after {on}")) }
    }
}

/// What must change in `live` to make it `want`.
pub fn diff<S: Serialize>(live: &S, want: &S) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", &value(live), &value(want), &mut changes);
    changes
}

fn value<S: Serialize>(settings: &S) -> Value {
    serde_json::to_value(settings).expect("settings are plain data with string keys")
}

fn compare(path: &str, live: &Value, want: &Value, changes: &mut Vec<Change>) {
    if live == want {
        return;
    }
    match (live, want) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let (old, new) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
                compare(&join(path, key), old, new, changes);
            }
        }
        _ => changes.push(Change { path: path.into(), from: shown(live), to: shown(want) }),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(live: Value, want: Value, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let found = diff(&live, &want);
        let found: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.from.as_deref(), c.to.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_what_differs_is_a_change() {
        check(json!({"max": 4, "min": 1}), json!({"max": 6, "min": 1}), &[("max", Some("4"), Some("6"))]);
        check(json!({"a": {"b": 1}}), json!({"a": {"b": 1}}), &[]);
    }

    #[test]
    fn a_key_that_comes_or_goes_is_a_change_of_that_key() {
        check(
            json!({"env": {"A": "1"}}),
            json!({"env": {"B": "2"}}),
            &[("env.A", Some("1"), None), ("env.B", None, Some("2"))],
        );
    }
}
