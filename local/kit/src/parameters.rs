//! The parameters that each operation implements, and their types. Any other is refused, because accepting it would
//! promise an effect.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::answer::Refusal;
use crate::call::Json;

/// The parameters that an operation implements, separated by whitespace. Each is a path without list indices, such as
/// `Tags.Key`. `Tags.*` permits everything below `Tags`, and `Type=a|b` only these two values.
///
/// For a JSON document, a path also gives the type of a member that is not text: `Force:boolean`, `Size:integer`,
/// `Rate:double`, `Start:moment` (in seconds since 1970), `Code:blob` (in base64), `Names[]` (a list of texts),
/// `Tags[].Key` (a list of structures), and
/// `Tags.*` (a map of texts).
pub type ParameterSpec = &'static str;

/// Permits any parameter: the handler itself refuses those it does not implement.
pub const ANYTHING: ParameterSpec = "*";

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
pub fn check_form(parameters: ParameterSpec, form: &BTreeMap<String, String>) -> Result<(), String> {
    let mut asked = form.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str()));
    asked.try_for_each(|(name, value)| check_one(parameters, name, &path_of(name), value))
}

/// Returns the document of a call, which has only implemented members, of the right types (docs/aws.md §2.1).
pub fn document(parameters: ParameterSpec, json: &Json) -> Result<&Value, Refusal> {
    let document = json.read().map_err(|_| wrong("the request is not JSON"))?;
    check_json(parameters, document)?;
    Ok(document)
}

/// Like [`check_form`], for a JSON document, whose members must also have the right types. A member that is null counts
/// as missing.
///
/// Errors: `SerializationException`, or the one of [`refusal`].
pub fn check_json(parameters: ParameterSpec, document: &Value) -> Result<(), Refusal> {
    match document {
        Value::Object(_) if parameters == ANYTHING => Ok(()),
        Value::Object(members) => check_members(parameters, "", members),
        _ => Err(wrong("the request is not a structure")),
    }
}

/// Returns the type of the member at a path, in which `[]` follows the name of each list; `None` if it is not taken.
pub fn type_at(parameters: ParameterSpec, path: &str) -> Option<Type> {
    let (kind, _) = parameters.split_whitespace().find_map(|parameter| type_in(parameter, path))?;
    Some(kind)
}

/// The error response for an unimplemented parameter, in services that share this format.
pub fn refusal(text: String) -> Refusal {
    Refusal::new(501, NOT_IMPLEMENTED, text)
}

/// The type of a member of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A text.
    Text,
    /// A boolean.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A timestamp: seconds since 1970.
    Moment,
    /// Bytes, which are a text in base64.
    Blob,
    /// A list of texts.
    Texts,
    /// A map of texts.
    Map,
    /// A structure.
    Structure,
    /// A list of structures.
    Structures,
}

impl Type {
    /// The notation of each type behind the path of a member.
    const NOTATIONS: &[(&str, Type)] = &[
        ("", Type::Text),
        (":boolean", Type::Boolean),
        (":integer", Type::Integer),
        (":double", Type::Double),
        (":moment", Type::Moment),
        (":blob", Type::Blob),
        ("[]", Type::Texts),
        (".*", Type::Map),
    ];

    /// Whether a value has the type, whatever its members have.
    fn fits(self, value: &Value) -> bool {
        match self {
            Type::Text => value.is_string(),
            Type::Boolean => value.is_boolean(),
            Type::Integer => value.is_i64(),
            Type::Double | Type::Moment => value.is_number(),
            Type::Blob => value.as_str().is_some_and(|text| BASE64_STANDARD.decode(text).is_ok()),
            Type::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Type::Map => value.as_object().is_some_and(|members| members.values().all(Value::is_string)),
            Type::Structure => value.is_object(),
            Type::Structures => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
        }
    }
}

/// Returns the type that an implemented parameter gives the member at a path, with the permitted values; `None` if it is
/// about another member.
fn type_in<'a>(parameter: &'a str, path: &str) -> Option<(Type, Option<&'a str>)> {
    let rest = parameter.strip_prefix(path)?;
    let (notation, values) = rest.split_once('=').map_or((rest, None), |(notation, values)| (notation, Some(values)));
    let whole = Type::NOTATIONS.iter().find(|(known, _)| *known == notation).map(|(_, kind)| *kind);
    match whole {
        Some(kind) => Some((kind, values)),
        None if rest.starts_with('.') => Some((Type::Structure, None)),
        None => rest.starts_with("[].").then_some((Type::Structures, None)),
    }
}

fn check_members(parameters: ParameterSpec, above: &str, members: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let Some((kind, values)) = parameters.split_whitespace().find_map(|parameter| type_in(parameter, &path)) else {
            check_unimplemented(&path, value)?;
            continue;
        };
        if !kind.fits(value) {
            // Without the value, which may be a secret.
            return Err(wrong(&format!("{name} has a value of the wrong type")));
        }
        match value {
            Value::Object(members) if kind == Type::Structure => check_members(parameters, &path, members)?,
            Value::Array(items) if kind == Type::Structures => {
                let path = format!("{path}[]");
                items
                    .iter()
                    .filter_map(Value::as_object)
                    .try_for_each(|item| check_members(parameters, &path, item))?;
            }
            Value::Array(items) => items.iter().try_for_each(|item| check_value(values, &path, item))?,
            value => check_value(values, &path, value)?,
        }
    }
    Ok(())
}

/// Refuses a value that is not among the permitted ones.
fn check_value(values: Option<&str>, path: &str, value: &Value) -> Result<(), Refusal> {
    let text = plain(value);
    let is_permitted = values.is_none_or(|values| values.split('|').any(|known| known == text));
    if is_permitted { Ok(()) } else { Err(refusal(unimplemented(&path.replace("[]", ""), &text))) }
}

/// Refuses a member that is not implemented. Empty texts, lists and structures request nothing.
fn check_unimplemented(path: &str, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) if text.is_empty() => Ok(()),
        Value::Object(members) => {
            members.iter().try_for_each(|(name, value)| check_unimplemented(&format!("{path}.{name}"), value))
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_unimplemented(path, item)),
        value => Err(refusal(unimplemented(&path.replace("[]", ""), &plain(value)))),
    }
}

/// Returns a value as text, without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The error for a document that cannot be converted to the operation's input.
fn wrong(text: &str) -> Refusal {
    Refusal::new(400, "SerializationException", text)
}

fn check_one(parameters: ParameterSpec, name: &str, path: &str, value: &str) -> Result<(), String> {
    // An empty list is sent as an empty value and requests nothing.
    if value.is_empty() || parameters.split_whitespace().any(|parameter| is_implemented(parameter, path, value)) {
        return Ok(());
    }
    Err(unimplemented(name, value))
}

fn unimplemented(name: &str, value: &str) -> String {
    format!("the local AWS does not carry out the parameter {name}={}", shortened(value))
}

/// Returns a parameter's name without list indices.
fn path_of(name: &str) -> String {
    let is_name = |step: &&str| *step != "member" && step.parse::<u32>().is_err();
    name.split('.').filter(is_name).collect::<Vec<_>>().join(".")
}

fn is_implemented(parameter: &str, path: &str, value: &str) -> bool {
    if parameter == ANYTHING {
        return true;
    }
    if let Some(above) = parameter.strip_suffix(".*") {
        return path.strip_prefix(above).is_some_and(|below| below.starts_with('.'));
    }
    match parameter.split_once('=') {
        Some((name, values)) => name == path && values.split('|').any(|known| known == value),
        None => parameter == path,
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

    const PARAMETERS: ParameterSpec = "Name Tags.* Type=a|b Filter.Name";

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
            ("Type", "B", false),
            ("Type", "c", false),
            ("Filter.1.Name", "x", true),
            ("Filter.1.Value", "x", false),
            ("Other", "", true),
            ("Other", "x", false),
        ] {
            let answer = check_form(PARAMETERS, &BTreeMap::from([(name.to_owned(), value.to_owned())]));
            assert_eq!(answer.is_ok(), taken, "{name}={value}");
        }
        let long = check_form("", &BTreeMap::from([("A.1.B".to_owned(), "é".repeat(200))])).unwrap_err();
        assert_eq!(long, format!("the local AWS does not carry out the parameter A.1.B={}…", "é".repeat(100)));
    }

    const TYPED: ParameterSpec = "Name Type=a|b Force:boolean Forever:boolean=false Size:integer Rate:double Code:blob \
         Names[] Kinds[]=x|y Labels.* Tags[].Key Tags[].Value Options.Level Options.Parts[].Names[]";

    #[test]
    fn a_document_is_searched_completely() {
        for (input, refused) in [
            (json!({}), None),
            (json!({ "Name": null, "Force": null, "Tags": null, "Options": { "Level": null } }), None),
            (json!({ "Name": "", "Type": "b", "Force": true, "Forever": false, "Size": -7, "Rate": 7 }), None),
            (json!({ "Rate": 0.5, "Code": "eA==", "Names": [], "Kinds": ["x"], "Labels": { "a.b": "c" } }), None),
            (json!({ "Tags": [{ "Key": "a" }], "Options": { "Parts": [{ "Names": ["a"] }] } }), None),
            (json!({ "Other": null, "Others": {}, "More": "", "Tags": [{ "Other": [] }] }), None),
            (json!({ "Other": [{ "Level": 1 }] }), Some("Other.Level=1")),
            (json!({ "Type": "" }), Some("Type=")),
            (json!({ "Type": "A" }), Some("Type=A")),
            (json!({ "Type": "a|b" }), Some("Type=a|b")),
            (json!({ "Kinds": ["x", "X"] }), Some("Kinds=X")),
            (json!({ "Forever": true }), Some("Forever=true")),
            (json!({ "Tags": [{ "Key": "a" }, { "Other": [1] }] }), Some("Tags.Other=1")),
            (json!({ "Options": { "Parts": [{ "Name": "a" }] } }), Some("Options.Parts.Name=a")),
        ] {
            let answer = check_json(TYPED, &input).map_err(|refusal| refusal.message);
            let expected = refused.map(|refused| format!("the local AWS does not carry out the parameter {refused}"));
            assert_eq!(answer.err(), expected, "{input}");
        }
        assert_eq!(check_json(ANYTHING, &json!({ "Name": [1] })), Ok(()));
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        for (wrong, name) in [
            (json!({ "Name": 1 }), "Name"),
            (json!({ "Name": ["a"] }), "Name"),
            (json!({ "Name": { "a": "b" } }), "Name"),
            (json!({ "Type": true }), "Type"),
            (json!({ "Type": [] }), "Type"),
            (json!({ "Force": "true" }), "Force"),
            (json!({ "Force": 1 }), "Force"),
            (json!({ "Forever": "false" }), "Forever"),
            (json!({ "Size": "7" }), "Size"),
            (json!({ "Size": 7.5 }), "Size"),
            (json!({ "Rate": "0.5" }), "Rate"),
            (json!({ "Code": "é" }), "Code"),
            (json!({ "Code": "eA=" }), "Code"),
            (json!({ "Names": "a" }), "Names"),
            (json!({ "Names": ["a", 1] }), "Names"),
            (json!({ "Names": [null] }), "Names"),
            (json!({ "Kinds": {} }), "Kinds"),
            (json!({ "Labels": [] }), "Labels"),
            (json!({ "Labels": { "a": 1 } }), "Labels"),
            (json!({ "Labels": { "a": null } }), "Labels"),
            (json!({ "Tags": { "Key": "a" } }), "Tags"),
            (json!({ "Tags": ["a"] }), "Tags"),
            (json!({ "Tags": [{ "Key": 1 }] }), "Key"),
            (json!({ "Options": [] }), "Options"),
            (json!({ "Options": { "Level": 1 } }), "Level"),
            (json!({ "Options": { "Parts": [{ "Names": {} }] } }), "Names"),
        ] {
            let refusal = check_json(TYPED, &wrong).unwrap_err();
            let expected = format!("{name} has a value of the wrong type");
            assert_eq!((refusal.code.as_str(), refusal.message), ("SerializationException", expected), "{wrong}");
        }
        for parameters in [TYPED, ANYTHING] {
            for wrong in [json!(null), json!([]), json!("a")] {
                assert_eq!(check_json(parameters, &wrong).unwrap_err().code, "SerializationException", "{wrong}");
            }
        }
        let unreadable = Json::of(crate::answer::Protocol::Json11, &bytes::Bytes::from_static(b"{"));
        assert_eq!(document(TYPED, &unreadable).unwrap_err().code, "SerializationException");
    }

    #[test]
    fn the_type_of_a_member_is_known_by_its_path() {
        for (path, kind) in [
            ("Name", Some(Type::Text)),
            ("Type", Some(Type::Text)),
            ("Forever", Some(Type::Boolean)),
            ("Kinds", Some(Type::Texts)),
            ("Labels", Some(Type::Map)),
            ("Tags", Some(Type::Structures)),
            ("Tags[].Key", Some(Type::Text)),
            ("Options", Some(Type::Structure)),
            ("Options.Parts[].Names", Some(Type::Texts)),
            ("Tag", None),
            ("Force.d", None),
        ] {
            assert_eq!(type_at(TYPED, path), kind, "{path}");
        }
    }
}
