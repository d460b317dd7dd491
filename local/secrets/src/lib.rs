//! Secrets Manager and Parameter Store (`ssm`): values that programs read with their roles when they start.
//!
//! Values are in the state on disk and in the answers of the calls that read them, and nowhere else: neither `Debug` nor an
//! error contains one.

mod json_state;
pub mod parameters;
pub mod secrets_manager;

pub use parameters::Parameters;
pub use secrets_manager::SecretsManager;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Asked, Call, Need, Operation};
use kit::constraint;
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
    let checked = kit::parameters::check_json(operation.parameters, input);
    Some(checked.and_then(|()| (operation.run)(service, Input(input))))
}

/// Answers a call; `None` if there is no such operation.
fn answer<S>(service: &S, table: &'static [Operation<Run<S>>], call: &Call) -> Option<Response> {
    let operation = Operation::find(table, &call.operation)?;
    let input = kit::parameters::document(operation.parameters, call.input.json());
    Some(match input.and_then(|input| (operation.run)(service, Input(input))) {
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
        self.needs(name)?;
        Ok(self.text(name).unwrap_or_default())
    }

    /// Errors: a required member is missing.
    fn needs(self, name: &str) -> Result<(), Refusal> {
        match self.0[name].is_null() {
            true => Err(validation(constraint::missing(&constraint::member(name)))),
            false => Ok(()),
        }
    }

    /// Checks the lengths of members that are there: of texts in characters, and of lists.
    fn bound(self, bounds: &[(&str, RangeInclusive<usize>)]) -> Result<(), Refusal> {
        for (name, range) in bounds {
            let length = match &self.0[*name] {
                Value::String(text) => text.chars().count(),
                Value::Array(items) => items.len(),
                _ => continue,
            };
            constraint::bound(&constraint::member(name), length, range.clone()).map_err(validation)?;
        }
        Ok(())
    }

    /// Checks the lengths of the texts of a list.
    fn bound_each(self, name: &str, range: RangeInclusive<usize>) -> Result<(), Refusal> {
        for (at, text) in (1..).zip(self.list(name)) {
            let place = format!("{}.{at}.member", constraint::member(name));
            constraint::bound(&place, text.chars().count(), range.clone()).map_err(validation)?;
        }
        Ok(())
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

    /// Returns a page of a list, which is the largest by default, and the token of the next page.
    ///
    /// Errors: the token is invalid, with the code `bad_token`.
    fn page<T>(self, all: Vec<T>, most: usize, bad_token: &str) -> Result<(Vec<T>, Option<String>), Refusal> {
        let size = match self.0["MaxResults"].as_i64() {
            None => most,
            Some(size) => {
                constraint::within("maxResults", size, 1..=most as i64).map_err(validation)?;
                size as usize
            }
        };
        let bad_token = || Refusal::new(400, bad_token, "The specified nextToken is invalid.");
        let start = match self.text("NextToken").filter(|token| !token.is_empty()) {
            Some(token) => token.parse().ok().filter(|start| *start <= all.len()).ok_or_else(bad_token)?,
            None => 0,
        };
        let next = (start + size < all.len()).then(|| (start + size).to_string());
        Ok((all.into_iter().skip(start).take(size).collect(), next))
    }
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
