//! DynamoDB: dynoxide's tables, with AWS's delays, paginated tags, and backups.

mod backups;
mod calls;
mod counts;
mod database;
mod engine;
mod expiry;
mod keys;
mod manifest;
mod needs;
mod operation;
mod refusals;
mod sizes;
mod states;
mod sums;
mod tags;
mod unserved;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dynoxide::DynoxideError;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use counts::Counts;
use database::Database;
use engine::Engine;
use expiry::Expiry;
use keys::TableKeys;
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, json_answer, json_text, not_implemented};
use kit::call::Effect::Reads;
use kit::call::{Call, Effect, Json, Need, Operation, Request, Row, Unreadable};
use kit::parameters::{self, ParameterSpec};
use kit::quotas::TABLES;
use kit::speed::Speed;
use states::States;

use backups::{backups, recovery_days};
pub use operation::rows;
use operation::{OPERATIONS, Run};
use refusals::{invalid, stopped, unread, unwritten};

/// The tables of a region.
pub struct DynamoDb {
    engine: Arc<Engine>,
    region: String,
    /// Tables whose backups are not ready yet, with the number of requests that are still to be refused.
    unready: Mutex<BTreeMap<String, u8>>,
    states: States,
    expiry: Expiry,
    keys: TableKeys,
    counts: Counts,
}

/// The number of requests for point-in-time recovery that a new table refuses (docs/aws.md §2.3).
const REFUSALS_OF_BACKUPS: u8 = 2;

/// The operations whose responses contain dynoxide's region, which must be replaced.
const DESCRIBING: &[&str] =
    &["CreateTable", "DeleteTable", "DescribeStream", "DescribeTable", "GetRecords", "ListStreams", "UpdateTable"];

impl DynamoDb {
    /// Opens the tables. Errors: a file is damaged, missing, or of an earlier version; the error names it.
    pub async fn open(dir: &Path, region: &str, speed: Speed) -> anyhow::Result<DynamoDb> {
        manifest::refuse_former(dir)?;
        let engine = Arc::new(Engine::open(dir.join("dynamodb")).await?);
        let expiry = Expiry::open(&dir.join("time-to-live.json"), speed)?;
        let keys = TableKeys::open(&dir.join("table-keys.json"), region, speed)?;
        let (states, counts) = (States::at(speed), Counts::at(speed));
        Ok(DynamoDb { engine, region: region.to_owned(), unready: Mutex::default(), states, expiry, keys, counts })
    }

    /// Waits until the files are closed. Later calls fail.
    pub async fn close(&self) {
        let engine = self.engine.clone();
        let _ = tokio::task::spawn_blocking(move || engine.close()).await;
    }

    /// Answers a call; `None` if there is no such operation.
    pub async fn answer(&self, call: &Call, request: &Request) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        let name = operation.row.name;
        let answer = match self.read(operation.parameters, call.input.json()) {
            Ok(document) => match unserved::member(name, &document.input) {
                Some(member) => {
                    let asked = format!("{name} with {member}");
                    return Some(not_implemented(Protocol::Json10, "dynamodb", &asked));
                }
                None => self.act(operation, document, request).await,
            },
            Err(refusal) => Err(refusal),
        };
        Some(answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Json10)))
    }

    /// Parses the input of a call, replacing the ARNs of tables with their names.
    fn read<'a>(&self, parameters: ParameterSpec, json: &'a Json) -> Result<Document<'a>, Refusal> {
        let unreadable = || Refusal::new(400, "SerializationException", "");
        let body = String::from_utf8(json.text().to_vec()).map_err(|_| unreadable())?;
        let input = json.read().map_err(|why| match why {
            // No call has input that is nested too deeply to parse.
            Unreadable::TooDeep => invalid("Nesting Levels have exceeded supported limits"),
            Unreadable::Malformed => unreadable(),
        })?;
        parameters::check_json(parameters, input)?;
        let tables = self.arn("table/");
        if body.contains(&tables) {
            let mut plain = input.clone();
            if name_plainly(&mut plain, &tables) {
                let body = plain.to_string();
                return Ok(Document { input: Cow::Owned(plain), body });
            }
        }
        Ok(Document { input: Cow::Borrowed(input), body })
    }

    async fn act(
        &self,
        Operation { row, run, .. }: &'static Operation<Run>,
        document: Document<'_>,
        request: &Request,
    ) -> Result<Response, Refusal> {
        for table in tables_of_items(row.name, &document.input) {
            self.states.refuse_items(table)?;
        }
        run(self, row, document, request).await
    }

    /// Passes a call to dynoxide unchanged.
    async fn pass_on(&self, row: &'static Row, Document { body, .. }: Document<'_>) -> Result<Response, Refusal> {
        self.pass(row.name, row.effect, body).await
    }

    async fn update_time_to_live(&self, row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        let name = table_of(&document.input).to_owned();
        self.states.refuse_change(&name)?;
        let _one = self.expiry.changing.lock().await;
        let described = self.pass("DescribeTimeToLive", Reads, json!({ "TableName": name }).to_string()).await?;
        // dynoxide refuses a call that is malformed, or that names a table that does not exist.
        let wanted = &document.input["TimeToLiveSpecification"];
        let is_whole =
            wanted["Enabled"].is_boolean() && wanted["AttributeName"].as_str().is_some_and(|it| !it.is_empty());
        if described.status().is_success() && is_whole {
            let described: Value = serde_json::from_slice(described.body()).unwrap_or_default();
            self.expiry.check(&name, &described["TimeToLiveDescription"], wanted)?;
        }
        let answer = self.pass_on(row, document).await?;
        if answer.status().is_success() {
            self.expiry.change(&name)?;
        }
        Ok(answer)
    }

    async fn describe_time_to_live(&self, row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        let name = table_of(&document.input).to_owned();
        let mut answer = self.pass_on(row, document).await?;
        if answer.status().is_success() {
            let mut described: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            self.expiry.show(&name, &mut described["TimeToLiveDescription"]);
            *answer.body_mut() = Bytes::from(described.to_string());
        }
        Ok(answer)
    }

    /// Runs an operation in dynoxide.
    async fn pass(&self, operation: &'static str, effect: Effect, body: String) -> Result<Response, Refusal> {
        let reads = effect == Reads;
        let act = move |database: &mut Database| match reads {
            true => database.look(operation, &body),
            false => database.change(operation, &body),
        };
        let answer = self.engine.run(act).await.ok_or_else(stopped)?;
        let (status, text) = match answer {
            Ok(text) => (200, text),
            Err(fault) => {
                let fault = calls::as_of(operation, fault);
                let refusal = if reads { unread(&fault) } else { unwritten(&fault) };
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
                (fault.status_code(), fault.to_json())
            }
        };
        let text = if DESCRIBING.contains(&operation) { self.localized(operation, text) } else { text };
        Ok(json_text(status, Protocol::Json10, text))
    }

    /// Queries the database directly, not through dynoxide.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Database) -> Result<T, DynoxideError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let answer = self.engine.run(ask).await.ok_or_else(stopped)?;
        answer.map_err(|fault| unwritten(&fault).unwrap_or_else(|| invalid(&fault.to_string())))
    }

    /// Replaces dynoxide's fixed region in a response.
    fn localized(&self, operation: &str, text: String) -> String {
        if operation == "GetRecords" {
            return text.replace(r#""awsRegion":"dynoxide""#, &format!(r#""awsRegion":"{}""#, self.region));
        }
        let there = |service: &str| format!("arn:aws:{service}:dynoxide:000000000000:");
        let kms = format!("arn:aws:kms:{}:{ACCOUNT}:", self.region);
        text.replace(&there("dynamodb"), &self.arn("")).replace(&there("kms"), &kms)
    }

    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:dynamodb:{}:{ACCOUNT}:{resource}", self.region)
    }

    /// Handles calls about a whole table, which depend on its state (docs/aws.md §5).
    async fn on_table(&self, row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        let (operation, Document { input, body }) = (row.name, document);
        let name = table_of(&input).to_owned();
        let encryption = input["SSESpecification"].clone();
        let body = match encryption {
            Value::Null => body,
            _ => without_encryption(&input),
        };
        if let (Some(description), "DeleteTable" | "DescribeTable") = (self.states.last_seen(&name), operation) {
            let part = if operation == "DeleteTable" { "TableDescription" } else { "Table" };
            return Ok(json_answer(200, Protocol::Json10, &json!({ part: description })));
        }
        match (operation, self.states.of(&name)) {
            ("CreateTable", Some("DELETING")) => self.states.refuse_change(&name)?,
            ("DeleteTable" | "UpdateTable", _) => self.states.refuse_change(&name)?,
            _ => (),
        }
        if operation == "UpdateTable" && !encryption.is_null() {
            return self.change_key(&name, &encryption).await;
        }
        if operation == "CreateTable" {
            self.keys.wanted(&encryption)?;
            sizes::check_tags(&input["Tags"], &[])?;
            self.refuse_unholdable(&name).await?;
            self.refuse_beyond_quota(&name).await?;
        }
        let mut answer = self.pass(operation, row.effect, body).await?;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        match operation {
            "CreateTable" => {
                self.states.created(&name);
                self.counts.created(&name);
                self.expiry.forget(&name)?;
                self.keys.created(&name, &encryption)?;
                self.unready().insert(name.clone(), REFUSALS_OF_BACKUPS);
            }
            "UpdateTable" => self.states.updated(&name, indexes_created(&input)),
            _ => (),
        }
        self.complete(&name, operation, &mut answer);
        Ok(answer)
    }

    /// Changes the key of a table. Other changes in the same call are refused before (`unserved.rs`).
    async fn change_key(&self, name: &str, encryption: &Value) -> Result<Response, Refusal> {
        let described = self.pass("DescribeTable", Reads, json!({ "TableName": name }).to_string()).await?;
        if !described.status().is_success() {
            return Ok(described);
        }
        self.keys.change(name, encryption)?;
        self.states.updated(name, Vec::new());
        let mut described: Value = serde_json::from_slice(described.body()).unwrap_or_default();
        let mut answer = json_answer(200, Protocol::Json10, &json!({ "TableDescription": described["Table"].take() }));
        self.complete(name, "UpdateTable", &mut answer);
        Ok(answer)
    }

    /// The permissions on keys of a call that needs these permissions.
    pub fn key_needs(&self, call: &Call, needs: &[Need]) -> Vec<Need> {
        let encryption = match call.operation.as_str() {
            "CreateTable" | "UpdateTable" => call.input.json().value()["SSESpecification"].clone(),
            _ => Value::Null,
        };
        self.keys.needs(needs, &encryption)
    }

    /// Refuses a name that conflicts with another: SQLite's table names are case-insensitive, DynamoDB's are not.
    async fn refuse_unholdable(&self, name: &str) -> Result<(), Refusal> {
        let table = name.to_owned();
        match self.ask(move |database| database.in_the_way_of(&table)).await? {
            None => Ok(()),
            Some(other) => {
                let text =
                    format!("the local AWS cannot have both a table {name} and a table {other}: choose another name");
                Err(Refusal::new(501, "NotImplementedException", text))
            }
        }
    }

    /// Refuses a new table if there are as many as a region may have.
    async fn refuse_beyond_quota(&self, name: &str) -> Result<(), Refusal> {
        let names = self.ask(|database| database.names()).await?;
        if names.len() < TABLES || names.iter().any(|there| there == name) {
            return Ok(());
        }
        let text = format!("Subscriber limit exceeded: There is a limit of {TABLES} tables per subscriber");
        Err(Refusal::new(400, "LimitExceededException", text))
    }

    /// Lists the tables, including those that are being deleted.
    async fn list_tables(&self, row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        const PAGE: u64 = 100;
        let Document { input, body } = document;
        // dynoxide validates the call.
        let answer = self.pass(row.name, row.effect, body).await?;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        let limit = input["Limit"].as_u64().unwrap_or(PAGE);
        let mut names: BTreeSet<String> = self.states.going().into_iter().collect();
        names.extend(self.ask(|database| database.names()).await?);
        let after = input["ExclusiveStartTableName"].as_str().unwrap_or_default();
        let mut rest = names.into_iter().filter(|name| name.as_str() > after);
        let page: Vec<String> = rest.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let mut answer = json!({ "TableNames": page });
        if let (Some(last), Some(_)) = (page.last(), rest.next()) {
            answer["LastEvaluatedTableName"] = json!(last);
        }
        Ok(json_answer(200, Protocol::Json10, &answer))
    }

    async fn describe_backups(&self, _row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        let name = self.table_with_backups(&document.input).await?;
        let recovery = self.ask(move |database| database.recovery(&name)).await?;
        Ok(backups(recovery))
    }

    async fn update_backups(&self, _row: &'static Row, document: Document<'_>) -> Result<Response, Refusal> {
        let wanted = &document.input["PointInTimeRecoverySpecification"];
        let days = recovery_days(wanted)?;
        let name = self.table_with_backups(&document.input).await?;
        if let Some(left) = self.unready().get_mut(&name).filter(|left| **left > 0) {
            *left -= 1;
            let text = format!("Backups are being enabled for the table: {name}. Please retry later");
            return Err(Refusal::new(400, "ContinuousBackupsUnavailableException", text));
        }
        let change = move |database: &mut Database| {
            database.recover(&name, days)?;
            database.recovery(&name)
        };
        Ok(backups(self.ask(change).await?))
    }

    /// The default quotas of an account,
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>.
    async fn limits(&self, _row: &'static Row, _document: Document<'_>) -> Result<Response, Refusal> {
        let limits = json!({
            "AccountMaxReadCapacityUnits": 80_000,
            "AccountMaxWriteCapacityUnits": 80_000,
            "TableMaxReadCapacityUnits": 40_000,
            "TableMaxWriteCapacityUnits": 40_000,
        });
        Ok(json_answer(200, Protocol::Json10, &limits))
    }

    async fn table_with_backups(&self, input: &Value) -> Result<String, Refusal> {
        let name = table_of(input).to_owned();
        sizes::check_name(&name)?;
        let table = name.clone();
        if self.ask(move |database| database.has(&table)).await? {
            return Ok(name);
        }
        Err(Refusal::new(400, "TableNotFoundException", format!("Table not found: {name}")))
    }

    fn unready(&self) -> MutexGuard<'_, BTreeMap<String, u8>> {
        self.unready.lock()
    }

    /// Adds the state of the table to a description. The description of a deleted table is kept for a while.
    fn complete(&self, name: &str, operation: &str, answer: &mut Response) {
        let mut shown: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        for part in ["Table", "TableDescription"] {
            if let Some(table) = shown.get_mut(part).filter(|table| table.is_object()) {
                self.counts.show(name, table);
                match operation {
                    "DeleteTable" => {
                        table["TableStatus"] = "DELETING".into();
                        self.states.deleted(name, table.clone());
                    }
                    _ => self.states.show(name, table),
                }
                self.keys.show(name, table);
            }
        }
        *answer.body_mut() = Bytes::from(shown.to_string());
    }
}

/// The input of a call.
struct Document<'a> {
    input: Cow<'a, Value>,
    /// The input as text.
    body: String,
}

/// The input of a call for dynoxide, which does not encrypt.
fn without_encryption(input: &Value) -> String {
    let mut plain = input.clone();
    if let Some(members) = plain.as_object_mut() {
        members.remove("SSESpecification");
    }
    plain.to_string()
}

/// Returns the name of a call's table.
fn table_of(input: &Value) -> &str {
    input["TableName"].as_str().unwrap_or_default()
}

/// Replaces ARNs that begin with `tables` by names, wherever a table is named. Returns whether there were any.
fn name_plainly(input: &mut Value, tables: &str) -> bool {
    let mut found = false;
    let mut open = vec![input];
    while let Some(part) = open.pop() {
        match part {
            Value::Object(members) => {
                for (member, value) in members {
                    match value {
                        Value::String(name) if member == "TableName" => {
                            if let Some(plain) = name.strip_prefix(tables) {
                                *name = plain.to_owned();
                                found = true;
                            }
                        }
                        // Items may have attributes of any name.
                        _ if ["Item", "Key", "ExpressionAttributeValues"].contains(&member.as_str()) => (),
                        Value::Object(items) if member == "RequestItems" => {
                            found |= items.keys().any(|name| name.starts_with(tables));
                            let plain = |name: String| name.strip_prefix(tables).map(str::to_owned).unwrap_or(name);
                            *items = std::mem::take(items).into_iter().map(|(name, one)| (plain(name), one)).collect();
                        }
                        other => open.push(other),
                    }
                }
            }
            Value::Array(parts) => open.extend(parts),
            _ => (),
        }
    }
    found
}

/// Returns the tables whose items a call reads or writes.
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

/// Returns the indexes that an `UpdateTable` adds.
fn indexes_created(input: &Value) -> Vec<String> {
    let updates = input["GlobalSecondaryIndexUpdates"].as_array().into_iter().flatten();
    updates.filter_map(|update| update["Create"]["IndexName"].as_str().map(str::to_owned)).collect()
}

/// Returns this server's address, as the client addresses it.
fn endpoints(request: &Request) -> Response {
    let here = request.header("host").unwrap_or("127.0.0.1");
    let endpoints = json!({ "Endpoints": [{ "Address": here, "CachePeriodInMinutes": 1440 }] });
    json_answer(200, Protocol::Json10, &endpoints)
}
