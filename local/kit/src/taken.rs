//! The parameters that each operation implements. Any other is refused, because accepting it would promise an effect.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::answer::Refusal;

/// The parameters that an operation implements, separated by whitespace. Each is a path without list indices, such as
/// `Tags.Key`. `Tags.*` permits everything below `Tags`, and `Type=a|b` only these two values, in any case.
pub type Takes = &'static str;

/// Permits any parameter: the handler itself refuses those it does not implement.
pub const ANYTHING: Takes = "*";

/// The error code for features that only AWS has.
pub const NOT_IMPLEMENTED: &str = "NotImplementedException";

/// The parameters of every Query protocol call, and those of a presigned URL.
const ENVELOPE: &[&str] = &[
    "Action",
    "AWSAccessKeyId",
    "DryRun",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Checks that a form has only implemented parameters with implemented values.
///
/// Errors: a message that names the parameter.
pub fn check_form(takes: Takes, form: &BTreeMap<String, String>) -> Result<(), String> {
    let mut asked = form.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str()));
    asked.try_for_each(|(name, value)| check_one(takes, name, &path_of(name), value))
}

/// Like [`check_form`], for a JSON document.
pub fn check_json(takes: Takes, input: &Value) -> Result<(), String> {
    check_below(takes, "", input)
}

/// The error response for an unimplemented parameter, in services that share this format.
pub fn refusal(text: String) -> Refusal {
    Refusal::new(501, NOT_IMPLEMENTED, text)
}

fn check_below(takes: Takes, path: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => Ok(()),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match path {
            "" => check_below(takes, name, value),
            above => check_below(takes, &format!("{above}.{name}"), value),
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_below(takes, path, item)),
        Value::String(text) => check_one(takes, path, path, text),
        plain => check_one(takes, path, path, &plain.to_string()),
    }
}

fn check_one(takes: Takes, name: &str, path: &str, value: &str) -> Result<(), String> {
    // An empty list is sent as an empty value and requests nothing.
    if value.is_empty() || takes.split_whitespace().any(|taken| is_taken(taken, path, value)) {
        return Ok(());
    }
    Err(format!("the local AWS does not carry out the parameter {name}={}", shortened(value)))
}

/// Returns a parameter's name without list indices.
fn path_of(name: &str) -> String {
    let is_name = |step: &&str| *step != "member" && step.parse::<u32>().is_err();
    name.split('.').filter(is_name).collect::<Vec<_>>().join(".")
}

fn is_taken(taken: &str, path: &str, value: &str) -> bool {
    if taken == ANYTHING {
        return true;
    }
    if let Some(above) = taken.strip_suffix(".*") {
        return path.strip_prefix(above).is_some_and(|below| below.starts_with('.'));
    }
    match taken.split_once('=') {
        Some((name, values)) => name == path && values.split('|').any(|known| known.eq_ignore_ascii_case(value)),
        None => taken == path,
    }
}

fn shortened(value: &str) -> String {
    const MOST: usize = 100;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TAKES: Takes = "Name Tags.* Type=a|b Filter.Name";

    #[test]
    fn a_parameter_without_effect_is_refused_by_its_name() {
        for (name, value, taken) in [
            ("Name", "x", true),
            ("Name.member.1", "x", true),
            ("Action", "DoIt", true),
            ("Tags.member.1.Key", "x", true),
            ("Tags", "x", false),
            ("TagsToo.1", "x", false),
            ("Type", "a", true),
            ("Type", "B", true),
            ("Type", "c", false),
            ("Filter.1.Name", "x", true),
            ("Filter.1.Value", "x", false),
            ("Other", "", true),
            ("Other", "x", false),
        ] {
            let answer = check_form(TAKES, &BTreeMap::from([(name.to_owned(), value.to_owned())]));
            assert_eq!(answer.is_ok(), taken, "{name}={value}");
        }
        let long = check_form("", &BTreeMap::from([("A.1.B".to_owned(), "é".repeat(200))])).unwrap_err();
        assert_eq!(long, format!("the local AWS does not carry out the parameter A.1.B={}…", "é".repeat(100)));
    }

    #[test]
    fn a_document_is_searched_completely() {
        for (input, refused) in [
            (json!({ "Name": "x", "Tags": { "a.b": "c" }, "Type": "b", "Filter": [{ "Name": "x" }] }), None),
            (json!({ "Other": null, "Tags": {}, "Filter": [{ "Value": [] }], "More": "" }), None),
            (json!({ "Filter": [{ "Name": "x" }, { "Value": [1] }] }), Some("Filter.Value=1")),
            (json!({ "Type": true }), Some("Type=true")),
            (json!({ "Name": { "First": "x" } }), Some("Name.First=x")),
        ] {
            let answer = check_json(TAKES, &input);
            let expected = refused.map(|refused| format!("the local AWS does not carry out the parameter {refused}"));
            assert_eq!(answer.err(), expected, "{input}");
        }
    }
}
