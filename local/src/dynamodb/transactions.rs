//! Transactions that happen as a whole or not at all, and once however often they are asked for.
//!
//! winterbaume makes the changes of a transaction one after the other, and leaves those that came before one that
//! cannot be made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{DynamoDb, plain_name};
use crate::answer::{Protocol, Refusal, Response, json_answer};
use crate::call::Request;

/// How long a transaction that is asked for again with the same token is the same.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The transactions of the last minutes, by their tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<String, (Value, Instant)>>);

impl Tokens {
    /// Whether the transaction has been made already.
    ///
    /// Errors: its token was another one's.
    fn knows(&self, input: &Value) -> Result<bool, Refusal> {
        let Some(token) = input["ClientRequestToken"].as_str() else {
            return Ok(false);
        };
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
        match made.get(token) {
            None => Ok(false),
            Some((items, _)) if *items == input["TransactItems"] => Ok(true),
            Some(_) => Err(Refusal::new(
                400,
                "IdempotentParameterMismatchException",
                "Request parameters did not match with parameters in previous request with the same client token",
            )),
        }
    }

    fn note(&self, input: &Value) {
        if let Some(token) = input["ClientRequestToken"].as_str() {
            let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            made.insert(token.to_owned(), (input["TransactItems"].clone(), Instant::now()));
        }
    }
}

/// An item as it was.
struct Before {
    table: String,
    key: Value,
    item: Option<Value>,
}

impl DynamoDb {
    /// Makes all changes of a transaction or none.
    ///
    /// Assumes that nobody else reads or writes meanwhile.
    pub(super) async fn transact(&self, request: &Request, input: &Value) -> Result<Response, Refusal> {
        if self.tokens.knows(input)? {
            return Ok(json_answer(200, Protocol::Json10, &json!({})));
        }
        let before = self.items_before(input).await;
        let mut answer = self.pass(request).await;
        if answer.status().is_success() {
            self.tokens.note(input);
        } else {
            self.put_back(before).await;
            name_reasons(&mut answer);
        }
        Ok(answer)
    }

    async fn items_before(&self, input: &Value) -> Vec<Before> {
        let mut before = Vec::new();
        for write in writes(input) {
            let Some(table) = write["TableName"].as_str() else { continue };
            let key = if write["Key"].is_object() { &write["Key"] } else { &write["Item"] };
            let key = self.key_of(table, key).await;
            let found = self.sub_call("GetItem", &json!({ "TableName": table, "Key": key })).await;
            let item = found.get("Item").cloned();
            before.push(Before { table: table.to_owned(), key, item });
        }
        before
    }

    async fn put_back(&self, before: Vec<Before>) {
        for Before { table, key, item } in before {
            match item {
                Some(item) => self.sub_call("PutItem", &json!({ "TableName": table, "Item": item })).await,
                None => self.sub_call("DeleteItem", &json!({ "TableName": table, "Key": key })).await,
            };
        }
    }

    /// Refuses a batch that writes an item twice.
    pub(super) async fn check_distinct(&self, input: &Value) -> Result<(), Refusal> {
        for (table, writes) in input["RequestItems"].as_object().into_iter().flatten() {
            let mut seen = BTreeSet::new();
            for write in writes.as_array().into_iter().flatten() {
                let item = write["PutRequest"].get("Item").or_else(|| write["DeleteRequest"].get("Key"));
                let Some(item) = item else { continue };
                if !seen.insert(self.key_of(plain_name(table), item).await.to_string()) {
                    let text = "Provided list of item keys contains duplicates";
                    return Err(Refusal::new(400, "ValidationException", text));
                }
            }
        }
        Ok(())
    }

    /// The attributes of an item that are its key.
    async fn key_of(&self, table: &str, item: &Value) -> Value {
        let keys = self.keys_of(table).await;
        let attributes = keys.into_iter().filter_map(|name| Some((name.clone(), item.get(&name)?.clone())));
        Value::Object(attributes.collect::<Map<_, _>>())
    }
}

/// What a transaction writes.
fn writes(input: &Value) -> impl Iterator<Item = &Value> {
    let items = input["TransactItems"].as_array().into_iter().flatten();
    items.flat_map(|item| ["Put", "Update", "Delete"].into_iter().filter_map(|kind| item.get(kind)))
}

/// The message of a cancelled transaction has the reason of every item.
fn name_reasons(answer: &mut Response) {
    let Ok(mut said) = serde_json::from_slice::<Value>(answer.body()) else { return };
    let Some(reasons) = said["CancellationReasons"].as_array() else { return };
    let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let text =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    said["message"] = json!(text);
    said["Message"] = json!(text);
    *answer.body_mut() = Bytes::from(said.to_string());
}
