//! DynamoDB: winterbaume's tables, kept on disk, with the answers AWS gives.

mod expressions;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::RwLock;
use winterbaume_dynamodb::DynamoDbService;

use crate::answer::{Protocol, Refusal, Response, json_answer, not_implemented};
use crate::backend::{self, Remembered};
use crate::call::{Call, Request};
use crate::chronicle::{Chronicle, Past};
use crate::store;

/// The tables.
///
/// Guarantees: a write that was answered survives the kill of the server. Writes of items are calls whose effect
/// depends on nothing but the items, so the calls are what is logged, and a restart makes them again; a change to a
/// table as a whole is followed by a new snapshot.
pub(crate) struct DynamoDb {
    service: DynamoDbService,
    region: String,
    kept: RwLock<Kept>,
    /// Tables that must not be deleted: winterbaume does not remember it.
    protected: Mutex<BTreeSet<String>>,
    protected_file: PathBuf,
    /// Tables whose backups are not ready yet, with how often they will still say so.
    unready: Mutex<BTreeMap<String, u8>>,
}

/// What is on disk.
struct Kept {
    chronicle: Chronicle,
    /// Whether memory has something that no file has, because a snapshot could not be written.
    is_behind: bool,
}

/// Writes of items. Everything else that changes something changes tables.
const ITEM_WRITES: &[&str] =
    &["BatchWriteItem", "DeleteItem", "ExecuteStatement", "PutItem", "TransactWriteItems", "UpdateItem"];

/// A new table always refuses its first requests for point-in-time recovery (aws-facts §2.3).
const REFUSALS_OF_BACKUPS: u8 = 2;

impl DynamoDb {
    pub(crate) async fn open(dir: &Path, region: &str) -> anyhow::Result<DynamoDb> {
        let (chronicle, Past { snapshot, changes }) = Chronicle::open(dir, "dynamodb")?;
        let service = DynamoDbService::new();
        if let Some(snapshot) = snapshot {
            let damaged = || format!("{} does not hold tables", dir.join("dynamodb.json").display());
            service.restore(region, snapshot).await.with_context(damaged)?;
        }
        let protected_file = dir.join("protected-tables.json");
        let protected = Mutex::new(store::read_json(&protected_file)?.unwrap_or_default());
        let kept = RwLock::new(Kept { chronicle, is_behind: false });
        let tables =
            DynamoDb { service, region: region.to_owned(), kept, protected, protected_file, unready: Mutex::default() };
        for change in changes {
            let change: Value = serde_json::from_slice(&change).context("a logged write of an item is no JSON")?;
            tables.sub_call(change["call"].as_str().unwrap_or_default(), &change["input"]).await;
        }
        Ok(tables)
    }

    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Response {
        let operation = call.operation.as_str();
        if !OPERATIONS.contains(&operation) {
            return not_implemented(Protocol::Json10, "dynamodb", operation);
        }
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Err(refusal) = expressions::check(&input) {
            return refusal.answer(Protocol::Json10);
        }
        let answer = if ITEM_WRITES.contains(&operation) {
            self.write_items(operation, request, &input).await
        } else if call.mutating() {
            self.change_tables(operation, request, &input).await
        } else {
            let _kept = self.kept.read().await;
            self.act(operation, request, &input).await
        };
        let mut answer = answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Json10));
        if input["Select"] == "COUNT" {
            leave_items_out(&mut answer);
        }
        answer
    }

    /// The log comes first: what cannot be written there does not happen at all.
    async fn write_items(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let mut kept = self.kept.write().await;
        self.catch_up(&mut kept).await?;
        if input.is_object() {
            let change = json!({ "call": operation, "input": input }).to_string();
            kept.chronicle.append(change.as_bytes()).map_err(unwritten)?;
        }
        let answer = self.act(operation, request, input).await;
        if kept.chronicle.is_long()
            && let Err(fault) = self.snapshot(&mut kept.chronicle).await
        {
            // Nothing is lost: the log has it all, it only grows.
            tracing::warn!(%fault, "failed to write a snapshot of the tables");
        }
        answer
    }

    async fn change_tables(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let mut kept = self.kept.write().await;
        self.catch_up(&mut kept).await?;
        let answer = self.act(operation, request, input).await?;
        if answer.status().is_success() {
            kept.is_behind = true;
            self.catch_up(&mut kept).await?;
        }
        Ok(answer)
    }

    /// Writes what an earlier call could not: nothing is acknowledged on top of something that may be lost.
    async fn catch_up(&self, kept: &mut Kept) -> Result<(), Refusal> {
        if kept.is_behind {
            self.snapshot(&mut kept.chronicle).await.map_err(unwritten)?;
            kept.is_behind = false;
        }
        Ok(())
    }

    async fn snapshot(&self, chronicle: &mut Chronicle) -> io::Result<()> {
        let state = self.service.snapshot(&self.region).await.map_err(io::Error::other)?;
        chronicle.rewrite(&state)
    }

    async fn act(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        match operation {
            "CreateTable" | "DeleteTable" | "DescribeTable" | "UpdateTable" => {
                self.on_table(operation, request, input).await
            }
            "UpdateContinuousBackups" => self.on_backups(request, input).await,
            "ListTagsOfResource" | "TagResource" | "UntagResource" => self.on_tags(request, input).await,
            "Scan" => self.scan(request, input).await,
            _ => Ok(self.pass(request).await),
        }
    }

    /// What winterbaume cannot do with an input it calls an internal error, which clients would repeat. Tables in
    /// memory have no other: it is the input.
    async fn pass(&self, request: &Request) -> Response {
        let answer = backend::call(&self.service, &self.region, request).await;
        if answer.status() != 500 {
            return answer;
        }
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let text = ["message", "Message"].iter().find_map(|name| said[*name].as_str());
        Refusal::new(400, "ValidationException", text.unwrap_or("The input is not valid")).answer(Protocol::Json10)
    }

    /// Calls about a table as a whole, which know whether it is protected (aws-facts §5.3).
    async fn on_table(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let name = input["TableName"].as_str().map(plain_name).unwrap_or_default();
        if operation == "DeleteTable" && self.protected().contains(name) {
            let text = "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.";
            return Err(Refusal::new(400, "ValidationException", text));
        }
        let mut answer = self.pass(request).await;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        match operation {
            "CreateTable" => {
                self.unready().insert(name.to_owned(), REFUSALS_OF_BACKUPS);
                self.start_afresh(&answer, &input["Tags"]).await;
            }
            "DeleteTable" => self.start_afresh(&answer, &Value::Null).await,
            _ => (),
        }
        if let (Some(protect), "CreateTable" | "UpdateTable") =
            (input["DeletionProtectionEnabled"].as_bool(), operation)
        {
            self.protect(name, protect)?;
        }
        self.show_protection(name, &mut answer);
        Ok(answer)
    }

    /// winterbaume ignores the tags of a creation and keeps those of a table that is gone.
    async fn start_afresh(&self, answer: &Response, tags: &Value) {
        let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let arn = &answer["TableDescription"]["TableArn"];
        let old = self.sub_call("ListTagsOfResource", &json!({ "ResourceArn": arn })).await;
        let old: Vec<&Value> = old["Tags"].as_array().into_iter().flatten().map(|tag| &tag["Key"]).collect();
        if !old.is_empty() {
            self.sub_call("UntagResource", &json!({ "ResourceArn": arn, "TagKeys": old })).await;
        }
        if tags.as_array().is_some_and(|tags| !tags.is_empty()) {
            self.sub_call("TagResource", &json!({ "ResourceArn": arn, "Tags": tags })).await;
        }
    }

    async fn on_backups(&self, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let name = input["TableName"].as_str().map(plain_name).unwrap_or_default();
        if let Some(left) = self.unready().get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            let text = format!("Backups are being enabled for the table: {name}. Please retry later");
            return Err(Refusal::new(400, "ContinuousBackupsUnavailableException", text));
        }
        Ok(self.pass(request).await)
    }

    fn unready(&self) -> MutexGuard<'_, BTreeMap<String, u8>> {
        self.unready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// winterbaume tags what is not there.
    async fn on_tags(&self, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let arn = input["ResourceArn"].as_str().unwrap_or_default();
        let table = self.sub_call("DescribeTable", &json!({ "TableName": plain_name(arn) })).await;
        if table["Table"].is_object() {
            return Ok(self.pass(request).await);
        }
        let text = format!("Requested resource not found: ResourcArn: {arn} not found");
        Err(Refusal::new(400, "ResourceNotFoundException", text))
    }

    /// A call of our own.
    async fn sub_call(&self, operation: &str, input: &Value) -> Value {
        let mut headers = http::HeaderMap::new();
        if let Ok(target) = format!("DynamoDB_20120810.{operation}").parse() {
            headers.insert("x-amz-target", target);
        }
        let body = Bytes::from(input.to_string());
        let request = Request { method: http::Method::POST, path: "/".to_owned(), query: String::new(), headers, body };
        let answer = self.pass(&request).await;
        serde_json::from_slice(answer.body()).unwrap_or_default()
    }

    fn protect(&self, name: &str, protect: bool) -> Result<(), Refusal> {
        let mut protected = self.protected();
        let changed = if protect { protected.insert(name.to_owned()) } else { protected.remove(name) };
        if !changed {
            return Ok(());
        }
        store::write_json(&self.protected_file, &*protected)
            .map_err(|fault| Refusal::new(500, "InternalServerError", fault.to_string()))
    }

    fn show_protection(&self, name: &str, answer: &mut Response) {
        let Ok(mut shown) = serde_json::from_slice::<Value>(answer.body()) else {
            return;
        };
        for part in ["Table", "TableDescription"] {
            if let Some(table) = shown.get_mut(part).and_then(Value::as_object_mut) {
                table.insert("DeletionProtectionEnabled".to_owned(), self.protected().contains(name).into());
            }
        }
        *answer.body_mut() = Bytes::from(shown.to_string());
    }

    /// A table of a laptop lies in one place, so the first segment of a parallel scan holds everything.
    async fn scan(&self, request: &Request, input: &Value) -> Result<Response, Refusal> {
        match (input["Segment"].as_u64(), input["TotalSegments"].as_u64()) {
            (None, None) | (Some(0), Some(1..)) => Ok(self.pass(request).await),
            (Some(segment), Some(total)) if segment < total => {
                Ok(json_answer(200, Protocol::Json10, &json!({ "Items": [], "Count": 0, "ScannedCount": 0 })))
            }
            _ => {
                let text = "The Segment parameter is required but was not present in the request when parameter TotalSegments is present, and must be less than it";
                Err(Refusal::new(400, "ValidationException", text))
            }
        }
    }

    fn protected(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.protected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks for a number gets no items.
fn leave_items_out(answer: &mut Response) {
    let Ok(mut found) = serde_json::from_slice::<Value>(answer.body()) else {
        return;
    };
    if let Some(found) = found.as_object_mut() {
        found.remove("Items");
    }
    *answer.body_mut() = Bytes::from(found.to_string());
}

/// A table may be named by its ARN.
fn plain_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn unwritten(fault: io::Error) -> Refusal {
    tracing::error!(%fault, "the tables could not be written");
    Refusal::new(500, "InternalServerError", format!("the local AWS cannot write its tables: {fault}"))
}

/// What is answered; everything else is refused by name.
const OPERATIONS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeContinuousBackups",
    "DescribeEndpoints",
    "DescribeLimits",
    "DescribeTable",
    "DescribeTimeToLive",
    "ExecuteStatement",
    "GetItem",
    "ListTables",
    "ListTagsOfResource",
    "PutItem",
    "Query",
    "Scan",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateItem",
    "UpdateTable",
    "UpdateTimeToLive",
];
