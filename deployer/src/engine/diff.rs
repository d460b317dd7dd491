//! The difference between two values of one type, field by field.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path: field names joined by dots.
    pub path: String,
    /// The live value; `None` if the field is added.
    pub from: Option<Value>,
    /// The wanted value; `None` if the field is removed.
    pub to: Option<Value>,
    /// The field of `stack.yaml` that decides it, such as `services.web.instances.max`; `None` if there is none.
    pub source: Option<String>,
}

/// The value of a field, which knows whether it may be shown: a secret one has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    text: String,
    is_secret: bool,
}

impl Value {
    /// The value, unless it is secret.
    pub fn open(&self) -> Option<&str> {
        (!self.is_secret).then_some(&*self.text)
    }

    /// Returns the value even if it is secret, because the user asked to see it.
    pub fn revealed(&self) -> &str {
        &self.text
    }
}

impl<T: Into<String>> From<T> for Value {
    fn from(text: T) -> Self {
        Value { text: text.into(), is_secret: false }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.open() {
            Some(text) => write!(f, "{text:?}"),
            None => f.write_str("(hidden)"),
        }
    }
}

impl Change {
    /// A field whose value differs.
    pub fn of(path: impl Into<String>, from: Option<Value>, to: Option<Value>) -> Self {
        Change { path: path.into(), from, to, source: None }
    }

    /// The same change with its field of `stack.yaml`, for a resource that `section` describes.
    ///
    /// `sources` are pairs of a setting and a field below the section. Subfields of such a setting are mapped to the
    /// field, too.
    pub fn sourced(self, section: &str, sources: &[(&str, &str)]) -> Self {
        let source = sources.iter().find_map(|(setting, field)| {
            let below = self.path.strip_prefix(setting)?;
            (below.is_empty() || below.starts_with('.')).then(|| format!("{section}.{field}{below}"))
        });
        Change { source: source.filter(|_| !section.is_empty()), ..self }
    }

    /// The same change, with its values hidden if they are below one of these fields.
    pub fn hidden_below(mut self, secret: &[&str]) -> Self {
        if is_below(secret, &self.path) {
            self.from.iter_mut().chain(&mut self.to).for_each(|value| value.is_secret = true);
        }
        self
    }
}

/// Returns every text in these settings that is below one of these fields.
pub fn secrets<S: Serialize>(settings: &S, secret: &[&str]) -> Vec<String> {
    let mut texts = Vec::new();
    if let Json::Object(fields) = value(settings) {
        fields.iter().filter(|(name, _)| is_below(secret, name)).for_each(|(_, field)| collect(field, &mut texts));
    }
    texts
}

fn collect(value: &Json, texts: &mut Vec<String>) {
    match value {
        Json::String(text) => texts.push(text.clone()),
        Json::Object(fields) => fields.values().for_each(|field| collect(field, texts)),
        Json::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        _ => (),
    }
}

fn is_below(fields: &[&str], path: &str) -> bool {
    fields.contains(&path.split('.').next().unwrap_or(path))
}

/// Returns the changes that turn `live` into `want`.
pub fn diff<S: Serialize>(live: &S, want: &S) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", &value(live), &value(want), &mut changes);
    changes
}

fn value<S: Serialize>(settings: &S) -> Json {
    serde_json::to_value(settings).expect("settings are plain data with string keys")
}

fn compare(path: &str, live: &Json, want: &Json, changes: &mut Vec<Change>) {
    if live == want {
        return;
    }
    match (live, want) {
        (Json::Object(old), Json::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let (old, new) = (old.get(key).unwrap_or(&Json::Null), new.get(key).unwrap_or(&Json::Null));
                compare(&join(path, key), old, new, changes);
            }
        }
        _ => changes.push(Change::of(path, shown(live), shown(want))),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

fn shown(value: &Json) -> Option<Value> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone().into()),
        other => Some(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(value: &Option<Value>) -> Option<&str> {
        value.as_ref().and_then(Value::open)
    }

    fn check(live: Json, want: Json, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let found = diff(&live, &want);
        let found: Vec<_> = found.iter().map(|c| (c.path.as_str(), seen(&c.from), seen(&c.to))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_what_differs_is_a_change() {
        check(json!({"max": 4, "min": 1}), json!({"max": 6, "min": 1}), &[("max", Some("4"), Some("6"))]);
        check(json!({"a": {"b": 1}}), json!({"a": {"b": 1}}), &[]);
    }

    #[test]
    fn an_added_or_removed_key_is_a_change_of_that_key() {
        check(
            json!({"env": {"A": "1"}}),
            json!({"env": {"B": "2"}}),
            &[("env.A", Some("1"), None), ("env.B", None, Some("2"))],
        );
    }

    #[test]
    fn a_change_names_the_field_of_the_file_that_decides_it() {
        let source = |path: &str, section: &str| {
            let sources = [("max", "instances.max"), ("user_data.environment", "environment")];
            Change::of(path, None, None).sourced(section, &sources).source
        };
        assert_eq!(source("max", "services.web").as_deref(), Some("services.web.instances.max"));
        assert_eq!(source("user_data.environment.A", "services.web").as_deref(), Some("services.web.environment.A"));
        assert_eq!(source("maximum", "services.web"), None);
        assert_eq!(source("user_data.commands", "services.web"), None);
        assert_eq!(source("max", ""), None, "what is no longer in the file has no place there");
    }

    #[test]
    fn a_secret_value_is_compared_and_not_shown() {
        let (live, want) =
            (json!({"env": {"TOKEN": "hunter2"}, "max": 1}), json!({"env": {"TOKEN": "tiger3"}, "max": 2}));
        let changes = diff(&live, &want).into_iter().map(|change| change.hidden_below(&["env"]));
        let changes: Vec<Change> = changes.collect();
        assert_eq!((changes[0].path.as_str(), seen(&changes[0].from), seen(&changes[0].to)), ("env.TOKEN", None, None));
        assert_eq!((seen(&changes[1].from), seen(&changes[1].to)), (Some("1"), Some("2")));
        let shown = format!("{changes:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("tiger3") && shown.contains("env.TOKEN"), "{shown}");
        assert_ne!(changes[0].from, changes[0].to);
        assert_eq!(secrets(&want, &["env"]), ["tiger3"]);
    }
}
