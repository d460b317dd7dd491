//! DynamoDB: winterbaume's tables, kept on disk, with the answers AWS gives.

mod expressions;
mod reading;
mod sizes;
mod states;
mod tags;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
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
use crate::speed::Speed;
use states::States;
use transactions::Tokens;

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
    /// Tables whose backups are not ready yet, with how often they will still say so.
    unready: Mutex<BTreeMap<String, u8>>,
    states: States,
    tokens: Tokens,
    /// The names of each table's key attributes, the partition key first.
    keys: Mutex<BTreeMap<String, Vec<String>>>,
}

/// What is on disk.
struct Kept {
    chronicle: Chronicle,
    /// Whether memory has something that no file has, because a snapshot could not be written.
    is_behind: bool,
}

/// What tables were before a call.
struct Before {
    tables: <DynamoDbService as Remembered>::View,
    protected: BTreeSet<String>,
    busy: states::Busy,
}

/// Under this name the snapshot has the names of protected tables.
const PROTECTED: &str = "protected_tables";

/// Writes of items. Everything else that changes something changes tables.
const ITEM_WRITES: &[&str] =
    &["BatchWriteItem", "DeleteItem", "ExecuteStatement", "PutItem", "TransactWriteItems", "UpdateItem"];

/// A new table always refuses its first requests for point-in-time recovery (aws-facts §2.3).
const REFUSALS_OF_BACKUPS: u8 = 2;

impl DynamoDb {
    pub(crate) async fn open(dir: &Path, region: &str, speed: Speed) -> anyhow::Result<DynamoDb> {
        let (chronicle, Past { snapshot, changes }) = Chronicle::open(dir, "dynamodb")?;
        let service = DynamoDbService::new();
        let mut protected = BTreeSet::new();
        if let Some(mut snapshot) = snapshot {
            let damaged = || format!("{} does not hold tables", dir.join("dynamodb.json").display());
            if let Some(names) = snapshot.as_object_mut().and_then(|snapshot| snapshot.remove(PROTECTED)) {
                protected = serde_json::from_value(names).with_context(damaged)?;
            }
            service.restore(region, snapshot).await.with_context(damaged)?;
        }
        let kept = RwLock::new(Kept { chronicle, is_behind: false });
        let tables = DynamoDb {
            service,
            region: region.to_owned(),
            kept,
            protected: Mutex::new(protected),
            unready: Mutex::default(),
            states: States::at(speed),
            tokens: Tokens::default(),
            keys: Mutex::default(),
        };
        for change in changes {
            let change: Value = serde_json::from_slice(&change).context("a logged write of an item is no JSON")?;
            let (operation, input) = (change["call"].as_str().unwrap_or_default(), &change["input"]);
            // What was refused then is refused again.
            let _ = tables.act(operation, &calling(operation, input), input).await;
        }
        Ok(tables)
    }

    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Response {
        let operation = call.operation.as_str();
        if !OPERATIONS.contains(&operation) {
            return not_implemented(Protocol::Json10, "dynamodb", operation);
        }
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Err(refusal) = self.check(operation, &input).await {
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

    /// Refuses what AWS refuses before it does anything: what is refused here is never logged.
    async fn check(&self, operation: &str, input: &Value) -> Result<(), Refusal> {
        expressions::check(input)?;
        for table in tables_of_items(operation, input) {
            self.states.refuse_items(plain_name(table))?;
        }
        for (table, item) in items_put(operation, input) {
            sizes::check_item(item, &self.keys_of(plain_name(table)).await)?;
        }
        match operation {
            "CreateTable" => {
                sizes::check_name(input["TableName"].as_str().map(plain_name).unwrap_or_default())?;
                sizes::check_attributes(input)?;
                sizes::check_tags(&input["Tags"], &[])
            }
            "TagResource" => sizes::check_tags(&input["Tags"], &[]),
            "BatchWriteItem" => {
                check_batch(input, 25)?;
                self.check_distinct(input).await
            }
            "TransactGetItems" | "TransactWriteItems" => check_transaction(input),
            "BatchGetItem" => check_batch(input, 100),
            _ => Ok(()),
        }
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
        let before = self.now().await;
        let answer = self.act(operation, request, input).await?;
        if answer.status().is_success()
            && let Err(fault) = self.snapshot(&mut kept.chronicle).await
        {
            self.go_back(before, &mut kept).await;
            return Err(unwritten(fault));
        }
        Ok(answer)
    }

    /// What a call that changes tables can change.
    async fn now(&self) -> Before {
        let (protected, busy) = (self.protected().clone(), self.states.busy());
        Before { tables: self.service.view(&self.region).await, protected, busy }
    }

    /// Undoes what could not be written down.
    async fn go_back(&self, before: Before, kept: &mut Kept) {
        *self.protected() = before.protected;
        self.states.go_back(before.busy);
        self.keys().clear();
        if let Err(fault) = self.service.replace(&self.region, before.tables).await {
            tracing::error!("a change of tables could not be undone: {fault:#}");
            kept.is_behind = true;
        }
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
        let mut state = self.service.snapshot(&self.region).await.map_err(io::Error::other)?;
        if let Some(state) = state.as_object_mut() {
            state.insert(PROTECTED.to_owned(), json!(*self.protected()));
        }
        chronicle.rewrite(&state)
    }

    async fn act(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        match operation {
            "CreateTable" | "DeleteTable" | "DescribeTable" | "UpdateTable" => {
                self.on_table(operation, request, input).await
            }
            "ListTables" => self.list_tables(input).await,
            "UpdateContinuousBackups" => self.on_backups(request, input).await,
            "ListTagsOfResource" | "TagResource" | "UntagResource" => self.on_tags(operation, request, input).await,
            "Query" | "Scan" => self.read_page(request, input).await,
            "ExecuteStatement" => self.execute(input).await,
            "TransactWriteItems" => self.transact(request, input).await,
            "UpdateTimeToLive" => {
                let name = input["TableName"].as_str().map(plain_name).unwrap_or_default();
                self.states.refuse_change(name)?;
                Ok(self.pass(request).await)
            }
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

    /// Calls about a table as a whole, which know whether it is protected and what it is doing (aws-facts §5).
    async fn on_table(&self, operation: &str, request: &Request, input: &Value) -> Result<Response, Refusal> {
        let name = input["TableName"].as_str().map(plain_name).unwrap_or_default();
        if let (Some(description), "DeleteTable" | "DescribeTable") = (self.states.last_seen(name), operation) {
            let part = if operation == "DeleteTable" { "TableDescription" } else { "Table" };
            return Ok(json_answer(200, Protocol::Json10, &json!({ part: description })));
        }
        if operation == "DeleteTable" && self.protected().contains(name) {
            let text = "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.";
            return Err(Refusal::new(400, "ValidationException", text));
        }
        match (operation, self.states.of(name)) {
            ("CreateTable", Some("DELETING")) | ("DeleteTable" | "UpdateTable", _) => {
                self.states.refuse_change(name)?
            }
            _ => (),
        }
        let mut answer = self.pass(request).await;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        match operation {
            "CreateTable" => {
                self.states.created(name);
                self.forget_keys(name);
                self.unready().insert(name.to_owned(), REFUSALS_OF_BACKUPS);
                self.start_afresh(&answer, &input["Tags"]).await;
            }
            "UpdateTable" => self.states.updated(name),
            "DeleteTable" => {
                self.forget_keys(name);
                self.start_afresh(&answer, &Value::Null).await;
            }
            _ => (),
        }
        if let (Some(protect), "CreateTable" | "UpdateTable") =
            (input["DeletionProtectionEnabled"].as_bool(), operation)
        {
            self.protect(name, protect);
        }
        self.complete(name, operation, &mut answer);
        Ok(answer)
    }

    /// Tables that are being deleted are listed until they are gone; a page has a hundred names at most.
    async fn list_tables(&self, input: &Value) -> Result<Response, Refusal> {
        const PAGE: u64 = 100;
        let limit = match &input["Limit"] {
            Value::Null => PAGE,
            limit => limit.as_u64().filter(|limit| (1..=PAGE).contains(limit)).ok_or_else(|| {
                invalid(&format!(
                    "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value between 1 and {PAGE}"
                ))
            })?,
        };
        let all = self.sub_call("ListTables", &json!({})).await;
        let mut names: BTreeSet<String> = self.states.going().into_iter().collect();
        names.extend(all["TableNames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        let after = input["ExclusiveStartTableName"].as_str().unwrap_or_default();
        let mut rest = names.into_iter().filter(|name| name.as_str() > after);
        let page: Vec<String> = rest.by_ref().take(limit as usize).collect();
        let mut answer = json!({ "TableNames": page });
        if let (Some(last), Some(_)) = (page.last(), rest.next()) {
            answer["LastEvaluatedTableName"] = json!(last);
        }
        Ok(json_answer(200, Protocol::Json10, &answer))
    }

    /// The names of a table's key attributes, the partition key first; none of a table that is not there.
    async fn keys_of(&self, table: &str) -> Vec<String> {
        if let Some(keys) = self.keys().get(table) {
            return keys.clone();
        }
        let described = self.sub_call("DescribeTable", &json!({ "TableName": table })).await;
        let schema = described["Table"]["KeySchema"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |kind: &str| schema.iter().find(|key| key["KeyType"] == kind)?["AttributeName"].as_str();
        let keys: Vec<String> = ["HASH", "RANGE"].iter().filter_map(|kind| named(kind)).map(str::to_owned).collect();
        if !keys.is_empty() {
            self.keys().insert(table.to_owned(), keys.clone());
        }
        keys
    }

    fn forget_keys(&self, table: &str) {
        self.keys().remove(table);
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A call of our own.
    async fn sub_call(&self, operation: &str, input: &Value) -> Value {
        contents(&self.pass(&calling(operation, input)).await)
    }

    fn protect(&self, name: &str, protect: bool) {
        let mut protected = self.protected();
        if protect {
            protected.insert(name.to_owned())
        } else {
            protected.remove(name)
        };
    }

    /// Puts into a description what winterbaume does not know; that of a deleted table is kept for a while.
    fn complete(&self, name: &str, operation: &str, answer: &mut Response) {
        let mut shown = contents(answer);
        for part in ["Table", "TableDescription"] {
            if let Some(table) = shown.get_mut(part).and_then(Value::as_object_mut) {
                table.insert("DeletionProtectionEnabled".to_owned(), self.protected().contains(name).into());
                let status = match operation {
                    "CreateTable" => Some("CREATING"),
                    "UpdateTable" => Some("UPDATING"),
                    "DeleteTable" => Some("DELETING"),
                    _ => self.states.of(name),
                };
                if let Some(status) = status {
                    table.insert("TableStatus".to_owned(), status.into());
                }
                if operation == "DeleteTable" {
                    self.states.deleted(name, Value::Object(table.clone()));
                }
            }
        }
        *answer.body_mut() = Bytes::from(shown.to_string());
    }

    fn protected(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.protected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks for a number gets no items.
fn leave_items_out(answer: &mut Response) {
    let mut found = contents(answer);
    if let Some(found) = found.as_object_mut() {
        found.remove("Items");
    }
    *answer.body_mut() = Bytes::from(found.to_string());
}

/// The JSON of an answer.
fn contents(answer: &Response) -> Value {
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

fn calling(operation: &str, input: &Value) -> Request {
    let mut headers = http::HeaderMap::new();
    if let Ok(target) = format!("DynamoDB_20120810.{operation}").parse() {
        headers.insert("x-amz-target", target);
    }
    let body = Bytes::from(input.to_string());
    Request { method: http::Method::POST, path: "/".to_owned(), query: String::new(), headers, body }
}

/// The tables whose items a call reads or writes.
fn tables_of_items<'a>(operation: &str, input: &'a Value) -> Vec<&'a str> {
    match operation {
        "DeleteItem" | "GetItem" | "PutItem" | "Query" | "Scan" | "UpdateItem" => {
            input["TableName"].as_str().into_iter().collect()
        }
        "BatchGetItem" | "BatchWriteItem" => {
            input["RequestItems"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
        }
        "TransactGetItems" | "TransactWriteItems" => {
            let items = input["TransactItems"].as_array().into_iter().flatten();
            let parts = items.filter_map(Value::as_object).flatten();
            parts.filter_map(|(_, part)| part["TableName"].as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// The whole items a call brings along, each with its table.
fn items_put<'a>(operation: &str, input: &'a Value) -> Vec<(&'a str, &'a Value)> {
    match operation {
        "PutItem" => input["TableName"].as_str().map(|table| (table, &input["Item"])).into_iter().collect(),
        "BatchWriteItem" => {
            let tables = input["RequestItems"].as_object().into_iter().flatten();
            let requests =
                tables.flat_map(|(table, list)| list.as_array().into_iter().flatten().map(move |one| (table, one)));
            requests.map(|(table, one)| (table.as_str(), &one["PutRequest"]["Item"])).collect()
        }
        "TransactWriteItems" => {
            let items = input["TransactItems"].as_array().into_iter().flatten();
            let puts = items.map(|item| &item["Put"]);
            puts.filter_map(|put| Some((put["TableName"].as_str()?, &put["Item"]))).collect()
        }
        _ => Vec::new(),
    }
}

fn check_batch(input: &Value, most: usize) -> Result<(), Refusal> {
    let tables = input["RequestItems"].as_object().into_iter().flatten();
    let size = |one: &Value| one["Keys"].as_array().or_else(|| one.as_array()).map_or(0, Vec::len);
    if tables.map(|(_, one)| size(one)).sum::<usize>() <= most {
        return Ok(());
    }
    Err(invalid(&format!("Too many items requested: the most in one call is {most}")))
}

/// A transaction has one to a hundred items.
fn check_transaction(input: &Value) -> Result<(), Refusal> {
    const MOST: usize = 100;
    let number = input["TransactItems"].as_array().map_or(0, Vec::len);
    let bound = match number {
        0 => "greater than or equal to 1".to_owned(),
        number if number > MOST => format!("less than or equal to {MOST}"),
        _ => return Ok(()),
    };
    Err(invalid(&format!(
        "1 validation error detected: Value '[{number} items]' at 'transactItems' failed to satisfy constraint: Member must have length {bound}"
    )))
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "ValidationException", text)
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
pub(crate) const OPERATIONS: &[&str] = &[
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
