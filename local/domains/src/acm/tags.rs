//! Tags of certificates.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Context, State, find, find_mut};
use kit::answer::Refusal;
use kit::tags::{Flaw, STRICT};

/// Returns the tags in a call, to be added to a certificate with these.
pub fn wanted(input: &Value, there: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let pairs: Vec<(&str, &str)> = pairs(input).collect();
    STRICT.check(pairs.iter().copied(), there.keys().map(String::as_str)).map_err(refusal)?;
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn pairs(input: &Value) -> impl Iterator<Item = (&str, &str)> {
    let tags = input["Tags"].as_array().into_iter().flatten();
    tags.map(|tag| (tag["Key"].as_str().unwrap_or_default(), tag["Value"].as_str().unwrap_or_default()))
}

fn refusal(flaw: Flaw) -> Refusal {
    if let Some(text) = flaw.in_list("tags") {
        return Refusal::new(400, "ValidationException", text);
    }
    match flaw {
        Flaw::TooMany => Refusal::new(400, "TooManyTagsException", "A certificate may have 50 tags at most"),
        Flaw::Reserved(key) => {
            let text = format!("The tag key '{key}' begins with the reserved prefix aws:");
            Refusal::new(400, "InvalidTagException", text)
        }
        _ => Refusal::new(400, "InvalidTagException", "A tag key is specified more than once"),
    }
}

fn check_some(input: &Value) -> Result<(), Refusal> {
    let text = "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1";
    let has_some = input["Tags"].as_array().is_some_and(|tags| !tags.is_empty());
    if has_some { Ok(()) } else { Err(Refusal::new(400, "ValidationException", text)) }
}

pub fn list(state: &State, _context: &Context, input: &Value) -> Answer {
    let tags = &find(state, input)?.1.tags;
    Ok(json!({ "Tags": tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect::<Vec<_>>() }))
}

pub fn add(state: &mut State, _context: &Context, input: &Value) -> Answer {
    let certificate = find_mut(state, input)?;
    check_some(input)?;
    let wanted = wanted(input, &certificate.tags)?;
    certificate.tags.extend(wanted);
    Ok(Value::Null)
}

/// Removes tags. A tag with a value is removed only if the certificate's tag has it.
pub fn remove(state: &mut State, _context: &Context, input: &Value) -> Answer {
    let certificate = find_mut(state, input)?;
    check_some(input)?;
    for tag in input["Tags"].as_array().into_iter().flatten() {
        let key = tag["Key"].as_str().unwrap_or_default();
        let fits = |value: &String| tag["Value"].as_str().is_none_or(|wanted| wanted == value);
        if certificate.tags.get(key).is_some_and(fits) {
            certificate.tags.remove(key);
        }
    }
    Ok(Value::Null)
}
