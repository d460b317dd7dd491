//! Secrets Manager and Parameter Store (`ssm`): values that programs read with their roles when they start.
//!
//! Values are in the state on disk and in the answers of the calls that read them, and nowhere else: neither `Debug` nor an
//! error contains one.

mod kept;
pub mod parameters;
pub mod secrets_manager;

pub use parameters::Parameters;
pub use secrets_manager::SecretsManager;

use std::collections::BTreeMap;

use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Asked, Call, Need, Operation};
use kit::taken;
use serde_json::Value;
use time::OffsetDateTime;

/// A handler of a service.
type Run<S> = fn(&S, Input) -> Result<Value, Refusal>;

/// Makes a call of a service; both services have the same form.
fn run<S>(
    service: &S,
    table: &'static [Operation<Run<S>>],
    operation: &str,
    input: &Value,
) -> Option<Result<Value, Refusal>> {
    let operation = Operation::find(table, operation)?;
    let taken = taken::check_json(operation.takes, input).map_err(taken::refusal);
    Some(taken.and_then(|()| (operation.run)(service, Input(input))))
}

/// Answers a call; `None` if there is no such operation.
fn answer<S>(service: &S, table: &'static [Operation<Run<S>>], call: &Call) -> Option<Response> {
    let input = match call.input.json().read() {
        Ok(input) => input,
        Err(_) => {
            let refusal = Refusal::new(400, "SerializationException", "the request is no JSON");
            return Some(refusal.answer(Protocol::Json11));
        }
    };
    Some(match run(service, table, &call.operation, input)? {
        Ok(answer) => json_answer(200, Protocol::Json11, &answer),
        Err(refusal) => refusal.answer(Protocol::Json11),
    })
}

/// The parameters of a call.
#[derive(Clone, Copy)]
struct Input<'a>(&'a Value);

impl<'a> Input<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0[name].as_str()
    }

    fn required(self, name: &str) -> Result<&'a str, Refusal> {
        let missing = || format!("1 validation error detected: Value at '{}' must not be null", lower(name));
        self.text(name).ok_or_else(|| validation(missing()))
    }

    fn is_set(self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or(false)
    }

    fn list(self, name: &str) -> Vec<&'a str> {
        self.0[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn items(self, name: &str) -> impl Iterator<Item = Input<'a>> {
        self.0[name].as_array().into_iter().flatten().map(Input)
    }

    /// The tags in a list of keys and values.
    fn tags(self) -> Vec<(&'a str, &'a str)> {
        let text = |tag: Input<'a>, name: &str| tag.text(name).unwrap_or_default();
        self.items("Tags").map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
    }

    /// Returns a page of a list, and the token of the next page.
    fn page<T>(self, all: Vec<T>, usual: usize, most: usize) -> Result<(Vec<T>, Option<String>), Refusal> {
        let size = match &self.0["MaxResults"] {
            Value::Null => usual,
            size => {
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                let range = format!("1 validation error detected: 'maxResults' must be from 1 to {most}");
                size.filter(|size| (1..=most).contains(size)).ok_or_else(|| validation(range))?
            }
        };
        let bad_token = || Refusal::new(400, "InvalidNextTokenException", "The specified nextToken is invalid.");
        let start = match self.text("NextToken").filter(|token| !token.is_empty()) {
            Some(token) => token.parse().ok().filter(|start| *start <= all.len()).ok_or_else(bad_token)?,
            None => 0,
        };
        let next = (start + size < all.len()).then(|| (start + size).to_string());
        Ok((all.into_iter().skip(start).take(size).collect(), next))
    }
}

/// The name of a member in the messages of validation errors.
fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

fn validation(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", text)
}

/// A need with the tags of the call as condition keys.
fn with_request_tags(need: Need, asked: &Asked) -> Need {
    let tags = Input(asked.call.input.json().value()).tags();
    let key = |key: &str| format!("aws:RequestTag/{key}");
    tags.into_iter().fold(need, |need, (name, value)| need.knowing(key(name), Some(value.to_owned())))
}

/// The tags of a resource as a list of keys and values.
fn tag_list(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| serde_json::json!({ "Key": key, "Value": value })).collect()
}

/// The time in seconds, with milliseconds.
fn now() -> f64 {
    (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0
}
