//! Compares an answer with the expected one.

use serde_json::Value;

use super::{client::Answer, pointer::find, values::Values};
use crate::config::verify::{AnswerPart, Capture, Expected, JsonWords};

/// The longest part of an answer that is shown, in characters.
const SHOWN: usize = 160;
/// The longest captured value, in bytes.
const LONGEST: usize = 64 << 10;

/// The first difference from the expected answer.
pub fn problem(expected: &Expected, answer: &Answer, values: &Values) -> Option<String> {
    status(expected, answer, values)
        .or_else(|| headers(expected, answer, values))
        .or_else(|| body(expected, answer, values))
        .or_else(|| json(expected, answer, values))
}

/// The value that a variable gets from an answer.
///
/// Errors: the answer does not have it.
pub fn captured(capture: &Capture, answer: &Answer, values: &Values) -> Result<String, String> {
    let (value, place) = match &capture.part {
        AnswerPart::Header(name) => {
            let value = answer.header(name).ok_or_else(|| format!("the answer has no header {name}"))?;
            (value.to_owned(), format!("the header {name}"))
        }
        AnswerPart::Json(pointer) => {
            let place = named(pointer);
            let document = document(answer, values)?;
            let value = match find(&document, pointer).first() {
                None | Some(Value::Null) => return Err(format!("{place} is absent")),
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                Some(_) => return Err(format!("{place} is neither a text nor a number")),
            };
            (value, place)
        }
    };
    let value = match &capture.after {
        None => value,
        Some(after) => match value.split_once(after.as_str()) {
            Some((_, rest)) => rest.to_owned(),
            None => return Err(format!("{place} does not contain {after:?}")),
        },
    };
    match value.len() {
        0 => Err(format!("{place} is empty")),
        length if length > LONGEST => Err(format!("{place} has {length} bytes, more than {LONGEST}")),
        _ => Ok(value),
    }
}

fn status(expected: &Expected, answer: &Answer, values: &Values) -> Option<String> {
    if expected.status.contains(answer.status) {
        return None;
    }
    let said = match answer.body.is_empty() {
        true => String::new(),
        false => format!(": {}", short(&String::from_utf8_lossy(&answer.body), values)),
    };
    Some(format!("the status is {}, and should be {}{said}", answer.status, expected.status.written))
}

fn headers(expected: &Expected, answer: &Answer, values: &Values) -> Option<String> {
    expected.headers.iter().find_map(|(name, text)| {
        let written = text.written();
        match answer.header(name) {
            Some(value) if fits(&values.pattern(text), value) => None,
            Some(value) => Some(format!("the header {name} is {:?}, and should be {written:?}", short(value, values))),
            None => Some(format!("the header {name} is absent, and should be {written:?}")),
        }
    })
}

fn body(expected: &Expected, answer: &Answer, values: &Values) -> Option<String> {
    let text = expected.body.as_ref()?;
    let body = String::from_utf8_lossy(&answer.body);
    let differs = !fits(&values.pattern(text), &body);
    differs.then(|| format!("the body is {:?}, and should be {:?}", short(&body, values), text.written()))
}

fn json(expected: &Expected, answer: &Answer, values: &Values) -> Option<String> {
    if expected.json.is_empty() {
        return None;
    }
    let document = match document(answer, values) {
        Ok(document) => document,
        Err(problem) => return Some(problem),
    };
    expected.json.iter().find_map(|(pointer, wanted)| {
        let found = find(&document, pointer);
        let fits = match found.is_empty() {
            true => matches!(wanted, JsonWords::Plain(Value::Null)),
            false => found.iter().any(|value| equals(wanted, value, values)),
        };
        let shown = match found[..] {
            [] => "absent".to_owned(),
            [value] => short(&value.to_string(), values),
            _ => format!("none of {} values", found.len()),
        };
        let wanted = || wanted.filled(&|text| text.written()).to_string();
        (!fits).then(|| format!("{} is {shown}, and should be {}", named(pointer), wanted()))
    })
}

/// Whether a value is the expected one: an object may have more members. The text `*` matches everything but null.
fn equals(wanted: &JsonWords, value: &Value, values: &Values) -> bool {
    match (wanted, value) {
        (JsonWords::Text(text), Value::String(value)) => fits(&values.pattern(text), value),
        (JsonWords::Text(_), Value::Null) => false,
        (JsonWords::Text(text), value) => {
            let pattern = values.pattern(text);
            pattern.len() > 1 && pattern.iter().all(String::is_empty)
                || !value.is_array() && !value.is_object() && fits(&pattern, &value.to_string())
        }
        (JsonWords::Plain(Value::Number(wanted)), Value::Number(value)) => {
            wanted == value || wanted.as_f64().is_some_and(|wanted| value.as_f64() == Some(wanted))
        }
        (JsonWords::Plain(wanted), value) => wanted == value,
        (JsonWords::List(wanted), Value::Array(items)) => {
            wanted.len() == items.len() && wanted.iter().zip(items).all(|(wanted, item)| equals(wanted, item, values))
        }
        (JsonWords::Object(wanted), Value::Object(members)) => wanted.iter().all(|(key, wanted)| match wanted {
            JsonWords::Plain(Value::Null) => members.get(key).is_none_or(Value::is_null),
            _ => members.get(key).is_some_and(|value| equals(wanted, value, values)),
        }),
        (JsonWords::List(_) | JsonWords::Object(_), _) => false,
    }
}

fn document(answer: &Answer, values: &Values) -> Result<Value, String> {
    serde_json::from_slice(&answer.body).map_err(|error| match answer.body.is_empty() {
        true => "the body is empty, and should be JSON".to_owned(),
        false => {
            let body = String::from_utf8_lossy(&answer.body);
            format!("the body is not JSON ({error}): {}", short(&body, values))
        }
    })
}

/// Whether a text consists of these parts, with any text between them.
fn fits(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

fn named(pointer: &str) -> String {
    if pointer.is_empty() { "the body".into() } else { pointer.to_owned() }
}

/// The beginning of a part of an answer. Values are hidden before it is cut: a half of one would not be found.
fn short(text: &str, values: &Values) -> String {
    let text = values.hidden(text.trim());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{
        Place,
        verify::{Statuses, Words},
    };

    fn words(text: &str) -> Words {
        Words::parse(text, |_| Place::default()).unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        let headers = vec![("content-type".into(), "text/html; charset=utf-8".into())];
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    fn expected() -> Expected {
        Expected { status: Statuses::parse("200-299").unwrap(), headers: Vec::new(), body: None, json: Vec::new() }
    }

    fn differs(expected: &Expected, answer: &Answer) -> Option<String> {
        let mut values = Values::new("http://lb", BTreeMap::new());
        values.set("id", "1*".into());
        problem(expected, answer, &values)
    }

    #[test]
    fn a_star_matches_any_text() {
        for (pattern, text, fit) in [
            ("text/html*", "text/html; charset=utf-8", true),
            ("*<html*", "<!doctype html><html lang=\"en\">", true),
            ("a*b*a", "aba", true),
            ("a*a", "a", false),
            ("a*b", "a b c", false),
            ("*", "", true),
            ("", "x", false),
            ("é*", "é", true),
        ] {
            let values = Values::new("", BTreeMap::new());
            assert_eq!(fits(&values.pattern(&words(pattern)), text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_difference_is_reported() {
        let said = differs(&expected(), &answer(503, r#"{"message":"try again"}"#));
        assert_eq!(said.as_deref(), Some(r#"the status is 503, and should be 200-299: {"message":"try again"}"#));
        let header = |name: &str, text| Expected { headers: vec![(name.into(), words(text))], ..expected() };
        assert_eq!(differs(&header("content-type", "text/html*"), &answer(200, "")), None);
        assert_eq!(
            differs(&header("etag", "*"), &answer(200, "")).as_deref(),
            Some(r#"the header etag is absent, and should be "*""#)
        );
        let body = Expected { body: Some(words("*</html>")), ..expected() };
        assert_eq!(differs(&body, &answer(200, "<html></html>")), None);
        assert!(differs(&body, &answer(200, "no")).is_some_and(|said| said.starts_with("the body is \"no\"")));
    }

    #[test]
    fn json_values_are_compared_by_pointer() {
        let text = |text: &str| JsonWords::Text(words(text));
        let plain = |value: Value| JsonWords::Plain(value);
        let body = r#"[{"id":"1*","n":1.0,"labels":["Sky"],"image":null,"on":true}]"#;
        for (pointer, wanted, fit) in [
            ("/0/id", text("${id}"), true),
            ("/*/id", text("*"), true),
            ("/0/labels", text("*"), true),
            ("/0/labels/0", text("S*"), true),
            ("/0/image", text("*"), false),
            ("/0/image", plain(Value::Null), true),
            ("/0/gone", plain(Value::Null), true),
            ("/0/gone", text("*"), false),
            ("/0/n", plain(1.into()), true),
            ("/0/n", plain(2.into()), false),
            ("/0/on", plain(true.into()), true),
            ("", JsonWords::List(Vec::new()), false),
            ("", JsonWords::List(vec![JsonWords::Object(vec![("id".into(), text("1?"))])]), false),
            ("", JsonWords::List(vec![JsonWords::Object(vec![("id".into(), text("1*"))])]), true),
        ] {
            let expected = Expected { json: vec![(pointer.into(), wanted.clone())], ..expected() };
            let said = differs(&expected, &answer(200, body));
            assert_eq!(said.is_none(), fit, "{pointer} {wanted:?}: {said:?}");
        }
        let any = Expected { json: vec![("/0".into(), text("*"))], ..expected() };
        assert_eq!(differs(&any, &answer(200, "")).as_deref(), Some("the body is empty, and should be JSON"));
        assert_eq!(differs(&any, &answer(200, "[]")).as_deref(), Some("/0 is absent, and should be \"*\""));
        assert!(differs(&any, &answer(200, "<html>")).is_some_and(|said| said.contains("not JSON")));
        assert!(differs(&any, &answer(200, &"[".repeat(100_000))).is_some(), "deep documents are refused");
    }

    #[test]
    fn a_hidden_value_is_not_shown_even_where_the_text_is_cut() {
        let mut values = Values::new("", BTreeMap::new());
        values.set("token", "sesame-opens".into());
        let shown = short(&format!("{}sesame-opens", "x".repeat(SHOWN - 6)), &values);
        assert!(!shown.contains("sesame") && shown.ends_with("x(hidde…"), "{shown}");
    }

    #[test]
    fn a_variable_gets_a_header_or_a_value_or_the_end_of_one() {
        let json = |pointer: &str, after: Option<&str>| {
            let capture = Capture { part: AnswerPart::Json(pointer.into()), after: after.map(str::to_owned) };
            let answer = answer(200, r#"{"id":"POST#7","n":3,"none":null,"list":[],"empty":""}"#);
            captured(&capture, &answer, &Values::new("", BTreeMap::new()))
        };
        assert_eq!(json("/id", Some("#")), Ok("7".into()));
        assert_eq!(json("/n", None), Ok("3".into()));
        assert_eq!(json("/id", Some("@")), Err("/id does not contain \"@\"".into()));
        for (pointer, why) in [
            ("/none", "/none is absent"),
            ("/list", "/list is neither a text nor a number"),
            ("/empty", "/empty is empty"),
        ] {
            assert_eq!(json(pointer, None), Err(why.into()));
        }
        let header = Capture { part: AnswerPart::Header("content-type".into()), after: Some("charset=".into()) };
        assert_eq!(captured(&header, &answer(200, ""), &Values::new("", BTreeMap::new())), Ok("utf-8".into()));
    }
}
