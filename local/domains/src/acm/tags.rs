//! Tags of certificates.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Context, State, find, find_mut};
use kit::answer::Refusal;
use kit::constraint;
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

/// Checks the constraints of the model, which AWS does before it looks for the certificate.
pub fn check_model(input: &Value) -> Result<(), Refusal> {
    let invalid = |text: String| Refusal::new(400, "ValidationException", text);
    let tags = input["Tags"].as_array().ok_or_else(|| invalid(constraint::missing("tags")))?;
    constraint::bound("tags", tags.len(), 1..=STRICT.most).map_err(invalid)?;
    for (at, tag) in (1..).zip(pairs(input)) {
        let flaw = STRICT.check([tag], []).err().and_then(|flaw| flaw.at(at).in_list("tags"));
        flaw.map_or(Ok(()), |text| Err(invalid(text)))?;
    }
    Ok(())
}

pub fn list(state: &State, _context: &Context, input: &Value) -> Answer {
    let tags = &find(state, input)?.1.tags;
    Ok(json!({ "Tags": tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect::<Vec<_>>() }))
}

pub fn add(state: &mut State, _context: &Context, input: &Value) -> Answer {
    check_model(input)?;
    let certificate = find_mut(state, input)?;
    let wanted = wanted(input, &certificate.tags)?;
    certificate.tags.extend(wanted);
    Ok(Value::Null)
}

/// Removes tags. A tag with a value is removed only if the certificate's tag has it.
pub fn remove(state: &mut State, _context: &Context, input: &Value) -> Answer {
    check_model(input)?;
    let certificate = find_mut(state, input)?;
    for tag in input["Tags"].as_array().into_iter().flatten() {
        let key = tag["Key"].as_str().unwrap_or_default();
        let fits = |value: &String| tag["Value"].as_str().is_none_or(|wanted| wanted == value);
        if certificate.tags.get(key).is_some_and(fits) {
            certificate.tags.remove(key);
        }
    }
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_checked_before_the_certificate_is_sought() {
        let tags = |keys: &[&str]| keys.iter().map(|key| json!({ "Key": key })).collect::<Vec<_>>();
        let many: Vec<String> = (0..=50).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (tags, code) in [
            (Value::Null, "ValidationException"),
            (json!([]), "ValidationException"),
            (json!(tags(&["a", ""])), "ValidationException"),
            (json!(tags(&["a", "b!"])), "ValidationException"),
            (json!(tags(&["k".repeat(129).as_str()])), "ValidationException"),
            (json!(tags(&many)), "ValidationException"),
            (json!([{ "Key": "k", "Value": "v".repeat(257) }]), "ValidationException"),
            // Rules that are not in the model are checked later.
            (json!(tags(&["a", "a"])), "ResourceNotFoundException"),
            (json!(tags(&["aws:a"])), "ResourceNotFoundException"),
        ] {
            let arn = "arn:aws:acm:us-east-1:000000000000:certificate/none";
            let input = json!({ "CertificateArn": arn, "Tags": tags });
            let context = Context { region: "us-east-1", speed: kit::speed::Speed::REAL, now_ms: 0 };
            for change in [add, remove] {
                assert_eq!(change(&mut State::new(), &context, &input).unwrap_err().code, code, "{input}");
            }
        }
    }
}
