//! DynamoDB: winterbaume's tables, kept on disk, with the answers AWS gives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use winterbaume_dynamodb::DynamoDbService;

use crate::answer::{Protocol, Refusal, Response, json_answer, not_implemented};
use crate::backend::Backend;
use crate::call::{Call, Request};
use crate::store;

/// Writes of items are gathered this long before the tables are written to disk.
const GATHER: Duration = Duration::from_millis(50);

/// The tables.
pub(crate) struct DynamoDb {
    backend: Arc<Backend<DynamoDbService>>,
    changed: Arc<Notify>,
    saver: JoinHandle<()>,
    /// Tables that must not be deleted: winterbaume does not remember it.
    protected: Mutex<BTreeSet<String>>,
    protected_file: PathBuf,
    /// Tables whose backups are not ready yet, with how often they will still say so.
    unready: Mutex<BTreeMap<String, u8>>,
}

/// A new table always refuses its first requests for point-in-time recovery (aws-facts §2.3).
const REFUSALS_OF_BACKUPS: u8 = 2;

impl DynamoDb {
    pub(crate) async fn open(dir: &Path, region: &str) -> anyhow::Result<DynamoDb> {
        let file = dir.join("dynamodb.json");
        let backend = Backend::open(DynamoDbService::new(), region, file).await?;
        let changed = Arc::new(Notify::new());
        let saver = tokio::spawn(save_on_change(backend.clone(), changed.clone()));
        let protected_file = dir.join("protected-tables.json");
        let protected = Mutex::new(store::read_json(&protected_file)?.unwrap_or_default());
        Ok(DynamoDb { backend, changed, saver, protected, protected_file, unready: Mutex::default() })
    }

    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Response {
        if !OPERATIONS.contains(&call.operation.as_str()) {
            return not_implemented(Protocol::Json10, "dynamodb", &call.operation);
        }
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let answer = match call.operation.as_str() {
            "CreateTable" | "DeleteTable" | "DescribeTable" | "UpdateTable" => {
                self.on_table(&call.operation, request, &input).await
            }
            "UpdateContinuousBackups" => self.on_backups(request, &input).await,
            "ListTagsOfResource" | "TagResource" | "UntagResource" => self.on_tags(request, &input).await,
            "Scan" => self.scan(request, &input).await,
            _ => Ok(self.backend.call(request).await),
        };
        let mut answer = answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Json10));
        if input["Select"] == "COUNT" {
            leave_items_out(&mut answer);
        }
        if call.mutating() && answer.status().is_success() {
            self.changed.notify_one();
        }
        answer
    }

    /// Calls about a table as a whole, which know whether it is protected (aws-facts §5.3).
    async fn on_table(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let name = input["TableName"].as_str().map(plain_name).unwrap_or_default();
        if operation == "DeleteTable" && self.protected().contains(name) {
            let text = "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.";
            return Err(Refusal::new(400, "ValidationException", text));
        }
        let mut answer = self.backend.call(request).await;
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
        Ok(self.backend.call(request).await)
    }

    fn unready(&self) -> MutexGuard<'_, BTreeMap<String, u8>> {
        self.unready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// winterbaume tags what is not there.
    async fn on_tags(&self, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let arn = input["ResourceArn"].as_str().unwrap_or_default();
        let table = self.sub_call("DescribeTable", &json!({ "TableName": plain_name(arn) })).await;
        if table["Table"].is_object() {
            return Ok(self.backend.call(request).await);
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
        let answer = self.backend.call(&request).await;
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
            (None, None) | (Some(0), Some(1..)) => Ok(self.backend.call(request).await),
            (Some(segment), Some(total)) if segment < total => {
                Ok(json_answer(200, Protocol::Json10, &json!({ "Items": [], "Count": 0, "ScannedCount": 0 })))
            }
            _ => {
                let text = "The Segment parameter is required but was not present in the request when parameter TotalSegments is present, and must be less than it";
                Err(Refusal::new(400, "ValidationException", text))
            }
        }
    }

    /// Writes what is not yet on disk.
    pub(crate) async fn stop(&self) {
        self.saver.abort();
        if let Err(fault) = self.backend.save().await {
            tracing::error!(%fault, "failed to save the tables");
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

/// A crash of the server loses at most the last moments; waiting for the disk with every item would cost more than it
/// is worth on a laptop.
async fn save_on_change(backend: Arc<Backend<DynamoDbService>>, changed: Arc<Notify>) {
    loop {
        changed.notified().await;
        tokio::time::sleep(GATHER).await;
        if let Err(fault) = backend.save().await {
            tracing::error!(%fault, "failed to save the tables");
        }
    }
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
