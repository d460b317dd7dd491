//! The inputs of calls, in each protocol.

use std::borrow::Cow;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use kit::answer::Refusal;
use kit::call::{Form, Input};
use kit::parameters::{self, ParameterSpec, Type};

use super::{MOST_STEPS, put};

/// Members that are timestamps, which each protocol encodes differently.
pub(super) const MOMENTS: &[&str] =
    &["AlarmConfigurationUpdatedTimestamp", "StateTransitionedTimestamp", "StateUpdatedTimestamp", "Timestamps"];

/// Returns the parameters of a call as a JSON document, whatever its protocol.
pub(super) fn input(parameters: ParameterSpec, input: &Input) -> Result<Cow<'_, Value>, Refusal> {
    match input {
        Input::Form(form) => {
            let mut document = document(form)?;
            typed(parameters, "", &mut document)?;
            parameters::check_json(parameters, &document)?;
            Ok(Cow::Owned(document))
        }
        input if input.json().text().is_empty() => Ok(Cow::Owned(json!({}))),
        input => parameters::document(parameters, input.json()).map(Cow::Borrowed),
    }
}

/// Reads a value of a form, in the notation of XML Schema; `None` if it does not have the type.
fn parse(kind: Type, text: &str) -> Option<Value> {
    match kind {
        Type::Text => Some(json!(text)),
        Type::Boolean => match text {
            "true" | "1" => Some(json!(true)),
            "false" | "0" => Some(json!(false)),
            _ => None,
        },
        Type::Integer => text.parse::<i32>().ok().map(|number| json!(number)),
        Type::Moment => {
            let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            Some(json!(at.unix_timestamp_nanos() as f64 / 1e9))
        }
        Type::Double => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| json!(number)),
        _ => None,
    }
}

/// Gives the members of a form's document their types. Empty values other than texts count as missing.
fn typed(parameters: ParameterSpec, above: &str, document: &mut Value) -> Result<(), Refusal> {
    let Some(members) = document.as_object_mut() else { return Err(malformed("Unexpected list element")) };
    let path_of = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    members.retain(|name, value| value != "" || parameters::type_at(parameters, &path_of(name)) == Some(Type::Text));
    for (name, value) in members {
        let path = path_of(name);
        let Some(kind) = parameters::type_at(parameters, &path) else { continue };
        match (kind, &mut *value) {
            (Type::Structure, Value::Object(_)) => typed(parameters, &path, value)?,
            (Type::Structures, Value::Array(items)) => {
                let path = format!("{path}[]");
                items.iter_mut().try_for_each(|item| typed(parameters, &path, item))?;
            }
            (Type::Texts, Value::Array(items)) if items.iter().all(Value::is_string) => (),
            (_, Value::String(text)) => match parse(kind, text) {
                Some(read) => *value = read,
                None if kind == Type::Boolean => return Err(malformed("boolean must follow xsd1.1 definition")),
                None => return Err(malformed(&format!("Value ({text}) for parameter {name} is invalid."))),
            },
            _ => return Err(malformed("Unexpected complex element termination")),
        }
    }
    Ok(())
}

/// The error for a form whose values have the wrong types (docs/aws.md §2.1).
pub(super) fn malformed(message: &str) -> Refusal {
    Refusal::new(400, "MalformedInput", message)
}

/// Converts a form to a document: `AlarmNames.member.1` is the first element of a list.
///
/// Errors: `MalformedInput` if an element's number is not a number, or a name has too many steps.
pub(super) fn document(form: &Form) -> Result<Value, Refusal> {
    if form.keys().any(|name| name.split('.').count() > MOST_STEPS) {
        return Err(malformed("the name of a parameter is nested too deeply"));
    }
    let mut input = json!({});
    for (name, value) in form.iter().filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version")) {
        let steps: Vec<&str> = name.split('.').collect();
        put(&mut input, &steps, value)?;
    }
    Ok(input)
}
