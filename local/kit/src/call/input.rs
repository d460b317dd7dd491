//! The input of a call, parsed once for permissions, pagination and the handler.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

use super::{Request, decode, pairs};
use crate::answer::Protocol;

/// The fields of a Query protocol call. The last of duplicate fields wins.
pub type Form = BTreeMap<String, String>;

/// The input of a call, in its protocol's format.
#[derive(Debug, Clone)]
pub enum Input {
    /// The Query and EC2 protocols.
    Form(Form),
    /// JSON or CBOR in the body.
    Json(Json),
    /// The REST protocols: the path, the query, and possibly JSON in the body.
    Rest(Rest),
}

impl Input {
    /// Parses the input of `request`.
    pub fn of(protocol: Protocol, request: &Request) -> Input {
        match protocol {
            Protocol::Query | Protocol::Ec2 => Input::Form(request.form()),
            Protocol::Json10 | Protocol::Json11 | Protocol::Cbor => Input::Json(Json::of(protocol, &request.body)),
            Protocol::RestJson => Input::Rest(Rest::of(request, Json::of(protocol, &request.body))),
            // S3's bodies are objects and XML.
            Protocol::RestXml => Input::Rest(Rest::of(request, Json::default())),
        }
    }

    /// The fields of a form; empty for other protocols.
    pub fn form(&self) -> &Form {
        static NONE: Form = Form::new();
        match self {
            Input::Form(form) => form,
            Input::Json(_) | Input::Rest(_) => &NONE,
        }
    }

    /// The document in the body; empty for a form.
    pub fn json(&self) -> &Json {
        static NONE: Json = Json { protocol: Protocol::Json11, text: Bytes::new(), read: OnceLock::new() };
        match self {
            Input::Json(json) => json,
            Input::Rest(rest) => &rest.body,
            Input::Form(_) => &NONE,
        }
    }

    /// The path and the query; empty for other protocols.
    pub fn rest(&self) -> &Rest {
        static NONE: Rest = Rest {
            path: Vec::new(),
            query: Vec::new(),
            body: Json { protocol: Protocol::RestJson, text: Bytes::new(), read: OnceLock::new() },
        };
        match self {
            Input::Rest(rest) => rest,
            Input::Form(_) | Input::Json(_) => &NONE,
        }
    }

    /// Returns the text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self {
            Input::Form(form) => form.get(name).map(String::as_str),
            Input::Json(json) => json.value()[name].as_str(),
            Input::Rest(rest) => rest.parameter(name),
        }
    }

    /// Returns the text of a parameter; of a form's list, the text of each item.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let Input::Form(form) = self else { return self.text(name).into_iter().collect() };
        let is_item = |field: &str| {
            let number = field.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
            let number = number.map(|rest| rest.strip_prefix("member.").unwrap_or(rest));
            field == name || number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        form.iter().filter(|(field, _)| is_item(field)).map(|(_, text)| text.as_str()).collect()
    }

    /// Returns the same input with a parameter set to a number.
    pub fn with(&self, name: &str, count: u64) -> Input {
        let mut input = self.clone();
        match &mut input {
            Input::Form(form) => drop(form.insert(name.to_owned(), count.to_string())),
            Input::Json(json) => json.set(name, count.into()),
            Input::Rest(rest) => rest.query.insert(0, (name.to_owned(), count.to_string())),
        }
        input
    }
}

/// A document, parsed on first use.
#[derive(Debug, Clone)]
pub struct Json {
    protocol: Protocol,
    text: Bytes,
    read: OnceLock<Result<Value, Unreadable>>,
}

/// Why a document cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not valid JSON or CBOR.
    Malformed,
    /// It is JSON that is nested too deeply to parse.
    TooDeep,
}

impl Default for Json {
    fn default() -> Json {
        Json::of(Protocol::Json11, &Bytes::new())
    }
}

impl Json {
    /// Wraps a body, without parsing it.
    pub fn of(protocol: Protocol, text: &Bytes) -> Json {
        Json { protocol, text: text.clone(), read: OnceLock::new() }
    }

    /// The unparsed document.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The parsed document; null if it cannot be parsed.
    pub fn value(&self) -> &Value {
        self.read().unwrap_or(&Value::Null)
    }

    /// The parsed document, or why it cannot be parsed.
    pub fn read(&self) -> Result<&Value, Unreadable> {
        let read = || match self.protocol {
            Protocol::Cbor => {
                let read = ciborium::from_reader(&*self.text).map_err(|_| Unreadable::Malformed)?;
                untagged(read).deserialized().map_err(|_| Unreadable::Malformed)
            }
            _ => serde_json::from_slice(&self.text).map_err(|fault| {
                let is_deep = fault.to_string().starts_with("recursion limit");
                if is_deep { Unreadable::TooDeep } else { Unreadable::Malformed }
            }),
        };
        self.read.get_or_init(read).as_ref().map_err(|fault| *fault)
    }

    /// Sets a member of an object; any other document is left unchanged.
    fn set(&mut self, name: &str, member: Value) {
        let mut value = self.value().clone();
        if let Some(members) = value.as_object_mut() {
            members.insert(name.to_owned(), member);
            if self.protocol != Protocol::Cbor {
                self.text = Bytes::from(value.to_string());
            }
            self.read = OnceLock::from(Ok(value));
        }
    }
}

/// Removes the tags of CBOR, which timestamps have and JSON cannot hold.
fn untagged(value: ciborium::Value) -> ciborium::Value {
    use ciborium::Value;
    match value {
        Value::Tag(_, inner) => untagged(*inner),
        Value::Array(items) => Value::Array(items.into_iter().map(untagged).collect()),
        Value::Map(members) => Value::Map(members.into_iter().map(|(name, member)| (name, untagged(member))).collect()),
        plain => plain,
    }
}

/// The path, query and body of a REST request.
#[derive(Debug, Clone)]
pub struct Rest {
    /// The segments of the path, decoded.
    pub path: Vec<String>,
    query: Vec<(String, String)>,
    /// The body, as a document.
    pub body: Json,
}

impl Rest {
    fn of(request: &Request, body: Json) -> Rest {
        let parts = request.path.split('/').filter(|part| !part.is_empty());
        Rest { path: parts.map(decode).collect(), query: pairs(&request.query).collect(), body }
    }

    /// Returns the decoded value of a query parameter; that of `?flag` is empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a query parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_a_form_has_the_items_of_both_protocols_and_nothing_else() {
        let fields = ["Id.1", "Id.member.2", "Id.3.Name", "IdToo.1", "Id.x"];
        let form = fields.map(|field| (field.to_owned(), field.to_owned()));
        assert_eq!(Input::Form(form.into()).texts("Id"), ["Id.1", "Id.member.2"]);
        assert_eq!(Input::Form([("Id".to_owned(), "a".to_owned())].into()).texts("Id"), ["a"]);
    }

    #[test]
    fn a_document_is_null_where_it_cannot_be_read_and_says_why() {
        let read = |text: &str| {
            let json = Json::of(Protocol::Json10, &Bytes::copy_from_slice(text.as_bytes()));
            (json.value().clone(), json.read().err())
        };
        assert_eq!(read(r#"{"a":1}"#), (json!({ "a": 1 }), None));
        assert_eq!(read("{"), (Value::Null, Some(Unreadable::Malformed)));
        assert_eq!(read(&"[".repeat(1000)), (Value::Null, Some(Unreadable::TooDeep)));
    }

    #[test]
    fn another_parameter_is_read_and_sent_on() {
        let json = Input::Json(Json::of(Protocol::Json10, &Bytes::from_static(br#"{"a":1}"#))).with("Limit", 1);
        assert_eq!(json.json().value(), &json!({ "a": 1, "Limit": 1 }));
        assert_eq!(serde_json::from_slice::<Value>(json.json().text()).unwrap(), *json.json().value());
        assert_eq!(Input::Form([("Size".to_owned(), "9".to_owned())].into()).with("Size", 1).text("Size"), Some("1"));
    }

    #[test]
    fn a_timestamp_of_cbor_is_a_number() {
        let moment = ciborium::Value::Tag(1, Box::new(ciborium::Value::Float(1.5)));
        let document = ciborium::Value::Map(vec![(ciborium::Value::Text("StartTime".to_owned()), moment)]);
        let mut bytes = Vec::new();
        ciborium::into_writer(&document, &mut bytes).unwrap();
        let json = Json::of(Protocol::Cbor, &Bytes::from(bytes));
        assert_eq!(json.read().unwrap(), &json!({ "StartTime": 1.5 }));
    }
}
