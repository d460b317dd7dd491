//! Lambda: the functions, what they are allowed to and how they are called. That they run is `functions`' work.
//!
//! The control plane is our own: winterbaume's forgets architectures, the code of an update and half of a permission.

mod function;
mod policy;
mod registry;
mod route;
mod states;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::answer::{Protocol, Refusal, Response, empty, json_answer, not_implemented};
use crate::call::{Call, Request};
use crate::credentials::Access;
use crate::functions::{CONCURRENCY, Functions, Outcome};
use crate::iam::Iam;
use crate::logs::Logs;
use crate::s3::S3;
use crate::speed::Speed;
use crate::{ACCOUNT, store};
pub(crate) use function::Function;
use function::{OnEvent, parameter};
pub(crate) use registry::Registry;
pub(crate) use route::operation;
#[cfg(test)]
pub(crate) use route::operations;

/// The largest payloads (aws-facts §7.1 names the quota page).
const LARGEST_CALL: usize = 6 << 20;
const LARGEST_EVENT: usize = 1 << 20;
/// The largest zip in a call (aws-facts §7.1).
const LARGEST_ZIP: usize = 50 << 20;
/// How long a policy is out of Lambda's hands while it is changed: what others have written meanwhile is lost.
const POLICY_WRITE: Duration = Duration::from_millis(20);
/// The largest policy of a function in bytes.
const LARGEST_POLICY: usize = 20_480;

/// The functions of the region.
pub(crate) struct Lambda {
    region: String,
    file: PathBuf,
    registry: Arc<Registry>,
    running: Arc<Functions>,
    iam: Arc<Iam>,
    /// Where code may lie; S3 holds the functions it tells about uploads, so this way is a weak one.
    s3: OnceLock<Weak<S3>>,
}

impl Lambda {
    /// Reads the functions and ends what a crashed server left running.
    pub(crate) async fn open(
        dir: &Path,
        region: &str,
        endpoint: &str,
        access: Arc<Access>,
        iam: Arc<Iam>,
        logs: Arc<Logs>,
        speed: Speed,
    ) -> anyhow::Result<Arc<Lambda>> {
        let file = dir.join("state/lambda.json");
        let registry = Arc::new(Registry::new(store::read_json(&file)?.unwrap_or_default(), speed));
        let running =
            Functions::open(dir.join("functions"), region, endpoint, access, iam.clone(), logs, registry.clone());
        let running = running.await?;
        Ok(Arc::new(Lambda { region: region.to_owned(), file, registry, running, iam, s3: OnceLock::new() }))
    }

    /// How fast everything goes.
    pub(crate) fn speed(&self) -> Speed {
        self.registry.speed()
    }

    /// Tells where code given by bucket and key lies.
    pub(crate) fn connect(&self, s3: &Arc<S3>) {
        let _ = self.s3.set(Arc::downgrade(s3));
    }

    /// Whether the function is here and its policy lets `service` invoke it for `source`.
    pub(crate) async fn permits(&self, function: &str, service: &str, source: &str) -> bool {
        if !function.starts_with(&format!("arn:aws:lambda:{}:{ACCOUNT}:function:", self.region)) {
            return false;
        }
        self.find(function).is_ok_and(|found| policy::permits(&found.statements, service, source))
    }

    /// Invokes a function later, once for each of `delays`, if its policy still lets `service` do so. Permitted events
    /// are on disk when this returns.
    pub(crate) async fn send_event(
        &self,
        function: &str,
        service: &str,
        source: &str,
        event: Value,
        delays: &[Duration],
    ) -> Result<(), Refusal> {
        if !self.permits(function, service, source).await {
            tracing::warn!(function, source, "an event was dropped: the function's policy does not permit it");
            return Ok(());
        }
        let payload = Bytes::from(event.to_string());
        for delay in delays {
            self.accept(plain_name(function), payload.clone(), *delay)?;
        }
        Ok(())
    }

    fn accept(&self, name: &str, payload: Bytes, delay: Duration) -> Result<(), Refusal> {
        self.running.send(name, payload, delay).map_err(|fault| {
            tracing::error!(%fault, "an event could not be kept");
            Refusal::new(500, "ServiceException", fault.to_string())
        })
    }

    /// Goes on with the events that an earlier server had accepted; those of functions that are gone are dropped.
    ///
    /// Assumes that everything functions call is there to answer.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.running.events_left()?.into_iter().for_each(|event| self.running.handle(event));
        Ok(())
    }

    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Response {
        let done = self.act(&call.operation, request).await;
        match done {
            Ok(Some(answer)) => answer,
            Ok(None) => not_implemented(Protocol::RestJson, "lambda", &call.operation),
            Err(refusal) => refusal.answer(Protocol::RestJson),
        }
    }

    /// What exists and what of it runs.
    pub(crate) fn status(&self) -> Value {
        let running = self.running.count();
        let functions = self.functions();
        let shown = functions.values().map(|function| {
            json!({ "name": function.name, "environments": running.get(&function.name).copied().unwrap_or(0) })
        });
        shown.collect()
    }

    /// Ends every process.
    pub(crate) async fn stop(&self) {
        self.running.stop().await;
    }

    async fn act(&self, operation: &str, request: &Request) -> Result<Option<Response>, Refusal> {
        let (name, detail) = route::names(&request.path);
        let name = name.as_str();
        let answer = match operation {
            "CreateFunction" => self.create(&body(request)?).await?,
            "GetFunction" => self.get(name)?,
            "GetFunctionConfiguration" => shown(200, &self.show(&self.find(name)?)),
            "ListFunctions" => self.list(request)?,
            "ListVersionsByFunction" => shown(200, &json!({ "Versions": [self.show(&self.find(name)?)] })),
            "DeleteFunction" => self.delete(name)?,
            "UpdateFunctionConfiguration" => self.update_configuration(name, &body(request)?).await?,
            "UpdateFunctionCode" => self.update_code(name, &body(request)?).await?,
            "Invoke" => self.invoke(name, request).await?,
            "AddPermission" => self.add_permission(name, &body(request)?).await?,
            "GetPolicy" => self.policy(name)?,
            "RemovePermission" => self.remove_permission(name, &detail).await?,
            "ListTags" => shown(200, &json!({ "Tags": self.find(name)?.tags })),
            "TagResource" => self.tag(name, &body(request)?)?,
            "UntagResource" => self.untag(name, request)?,
            "PutFunctionEventInvokeConfig" => self.put_on_event(name, &body(request)?, None)?,
            "UpdateFunctionEventInvokeConfig" => {
                let before = self.find(name)?.on_event.ok_or_else(|| no_on_event(name))?;
                self.put_on_event(name, &body(request)?, Some(before))?
            }
            "GetFunctionEventInvokeConfig" => {
                shown(200, &self.find(name)?.on_event_json().ok_or_else(|| no_on_event(name))?)
            }
            "DeleteFunctionEventInvokeConfig" => self.delete_on_event(name)?,
            "PutFunctionConcurrency" => self.reserve(name, &body(request)?)?,
            "GetFunctionConcurrency" => shown(200, &concurrency(&self.find(name)?)),
            "DeleteFunctionConcurrency" => {
                self.change(name, |function| function.reserved = None)?;
                self.running.retire(plain_name(name));
                empty(204)
            }
            "GetAccountSettings" => self.account(),
            // Nothing is signed here.
            "GetFunctionCodeSigningConfig" => {
                shown(200, &json!({ "CodeSigningConfigArn": "", "FunctionName": self.find(name)?.name }))
            }
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    async fn create(&self, input: &Value) -> Result<Response, Refusal> {
        let name = input["FunctionName"].as_str().map(plain_name).unwrap_or_default();
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(letters) {
            return Err(Refusal::new(400, "ValidationException", "the function's name is not valid"));
        }
        if self.functions().contains_key(name) {
            return Err(exists(name));
        }
        let arn = format!("arn:aws:lambda:{}:{ACCOUNT}:function:{name}", self.region);
        let mut function = Function::new(name, arn);
        function.configure(input)?;
        function.tags = strings(&input["Tags"]);
        self.check_role(&function.role)?;
        self.place_code(&mut function, &input["Code"]).await?;
        function.touch();
        let mut functions = self.functions();
        // Somebody else may have made it while the code was unpacked.
        if functions.contains_key(name) {
            return Err(exists(name));
        }
        let before = functions.clone();
        functions.insert(name.to_owned(), function.clone());
        self.save(&mut functions, before)?;
        self.registry.states.created(name);
        Ok(shown(201, &self.show(&function)))
    }

    /// The first of the errors a fresh role meets (aws-facts §2.3).
    fn check_role(&self, role: &str) -> Result<(), Refusal> {
        if self.iam.trusts(role, "lambda.amazonaws.com") {
            return Ok(());
        }
        Err(parameter("The role defined for the function cannot be assumed by Lambda."))
    }

    async fn place_code(&self, function: &mut Function, code: &Value) -> Result<(), Refusal> {
        let zip = self.code(code).await?;
        function.code_bytes = zip.len();
        function.code_sha256 = BASE64_STANDARD.encode(Sha256::digest(&zip));
        self.running.unpack(function, zip).await.map_err(|text| parameter(&text))
    }

    async fn code(&self, code: &Value) -> Result<Bytes, Refusal> {
        if let Some(text) = code["ZipFile"].as_str() {
            let zip = BASE64_STANDARD.decode(text).map_err(|_| parameter("ZipFile is no base64"))?;
            if zip.len() > LARGEST_ZIP {
                let text = format!("Request must be smaller than {LARGEST_ZIP} bytes for the zip of a function");
                return Err(Refusal::new(413, "RequestEntityTooLargeException", text));
            }
            return Ok(Bytes::from(zip));
        }
        let (Some(bucket), Some(key)) = (code["S3Bucket"].as_str(), code["S3Key"].as_str()) else {
            return Err(parameter("Please provide a source for function code."));
        };
        let s3 = self.s3.get().and_then(Weak::upgrade);
        let s3 = s3.ok_or_else(|| Refusal::new(500, "ServiceException", "the server is stopping"))?;
        s3.object(bucket, key).await.map_err(|refusal| {
            let Refusal { code, message, status: _ } = refusal;
            parameter(&format!("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"))
        })
    }

    fn get(&self, name: &str) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        let mut answer = json!({
            "Configuration": self.show(&function),
            "Code": { "RepositoryType": "S3", "Location": "https://awslambda.localhost/" },
        });
        if !function.tags.is_empty() {
            answer["Tags"] = json!(function.tags);
        }
        if let Some(reserved) = function.reserved {
            answer["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
        }
        Ok(shown(200, &answer))
    }

    fn list(&self, request: &Request) -> Result<Response, Refusal> {
        let after = request.parameter("Marker").unwrap_or_default();
        let limit = page_size(request)?;
        let functions = self.functions();
        let mut found = functions.values().filter(|function| function.name > after);
        let page: Vec<&Function> = found.by_ref().take(limit).collect();
        let mut answer = json!({ "Functions": page.iter().map(|function| self.show(function)).collect::<Vec<_>>() });
        if let (Some(last), Some(_)) = (page.last(), found.next()) {
            answer["NextMarker"] = json!(last.name);
        }
        Ok(shown(200, &answer))
    }

    fn delete(&self, name: &str) -> Result<Response, Refusal> {
        let name = plain_name(name);
        let mut functions = self.functions();
        let before = functions.clone();
        functions.remove(name).ok_or_else(|| self.absent(name))?;
        self.save(&mut functions, before)?;
        drop(functions);
        self.registry.states.forget(name);
        self.running.forget(name);
        Ok(empty(204))
    }

    async fn update_configuration(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let mut changed = self.find(name)?;
        self.registry.states.refuse_change(&changed)?;
        check_revision(&changed, input)?;
        changed.configure(input)?;
        if !input["Role"].is_null() {
            self.check_role(&changed.role)?;
        }
        self.put(changed)
    }

    async fn update_code(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let mut changed = self.find(name)?;
        self.registry.states.refuse_change(&changed)?;
        check_revision(&changed, input)?;
        changed.configure(&json!({ "Architectures": input["Architectures"] }))?;
        self.place_code(&mut changed, input).await?;
        if input["DryRun"] == true {
            return Ok(shown(200, &self.show(&changed)));
        }
        self.put(changed)
    }

    /// Replaces a function. Its warm processes belong to the old one, which answers until the change is done.
    fn put(&self, mut changed: Function) -> Result<Response, Refusal> {
        changed.touch();
        let name = changed.name.clone();
        let mut functions = self.functions();
        let all_before = functions.clone();
        let before = functions.get(&name).cloned().ok_or_else(|| self.absent(&name))?;
        // Another change may have begun while the code of this one was unpacked.
        self.registry.states.refuse_change(&before)?;
        // Policy and tags may have changed in the meantime; they belong to other calls.
        changed.statements.clone_from(&before.statements);
        changed.policy_revision.clone_from(&before.policy_revision);
        changed.tags.clone_from(&before.tags);
        functions.insert(name.clone(), changed.clone());
        self.save(&mut functions, all_before)?;
        self.registry.states.updated(before, &changed.revision);
        drop(functions);
        self.running.take_over(changed.clone(), self.registry.states.changing());
        Ok(shown(200, &self.show(&changed)))
    }

    /// `FunctionConfiguration`, with what the function is doing.
    fn show(&self, function: &Function) -> Value {
        let mut shown = function.json();
        self.registry.states.show(&function.name, &mut shown);
        shown
    }

    async fn invoke(&self, name: &str, request: &Request) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        if let Some(version) = request.parameter("Qualifier").filter(|version| version != "$LATEST") {
            return Err(self.absent(&format!("{}:{version}", function.name)));
        }
        let payload = if request.body.is_empty() { Bytes::from_static(b"{}") } else { request.body.clone() };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_err() {
            let text = "Could not parse request body into json";
            return Err(Refusal::new(400, "InvalidRequestContentException", text));
        }
        let kind = request.header("x-amz-invocation-type").unwrap_or("RequestResponse");
        let largest = if kind == "Event" { LARGEST_EVENT } else { LARGEST_CALL };
        if payload.len() > largest {
            let text = format!("{} byte payload is too large (limit {largest} bytes)", payload.len());
            return Err(Refusal::new(413, "RequestTooLargeException", text));
        }
        self.registry.states.refuse_call(&function)?;
        match kind {
            "DryRun" => Ok(empty(204)),
            "Event" => {
                self.accept(&function.name, payload, Duration::ZERO)?;
                Ok(empty(202))
            }
            "RequestResponse" => self.call(self.registry.states.answering(function), payload, request).await,
            _ => Err(parameter(&format!("{kind} is no invocation type"))),
        }
    }

    async fn call(&self, function: Function, payload: Bytes, request: &Request) -> Result<Response, Refusal> {
        let context = request.header("x-amz-client-context").map(str::to_owned);
        let outcome = self.running.call(&function, payload, context).await;
        let Some(Outcome { payload, failed, tail }) = outcome else {
            return Err(Refusal::new(429, "TooManyRequestsException", "Rate Exceeded."));
        };
        let mut answer = empty(200);
        let headers = answer.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
        if failed {
            headers.insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
        }
        if request.header("x-amz-log-type") == Some("Tail")
            && let Ok(value) = BASE64_STANDARD.encode(tail).parse()
        {
            headers.insert("x-amz-log-result", value);
        }
        *answer.body_mut() = payload;
        Ok(answer)
    }

    async fn add_permission(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let statement = policy::statement(input, &self.find(name)?.arn)?;
        let added = statement.clone();
        self.change_policy(name, |statements| {
            let id = added["Sid"].as_str().unwrap_or_default();
            if statements.iter().any(|other| other["Sid"] == id) {
                let text = format!(
                    "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing statement."
                );
                return Err(Refusal::new(409, "ResourceConflictException", text));
            }
            statements.push(added.clone());
            let size = statements.iter().map(|statement| statement.to_string().len()).sum::<usize>();
            if size > LARGEST_POLICY {
                let text = format!("The final policy size ({size}) is bigger than the limit ({LARGEST_POLICY}).");
                return Err(Refusal::new(400, "PolicyLengthExceededException", text));
            }
            Ok(())
        })
        .await?;
        Ok(shown(201, &json!({ "Statement": statement.to_string() })))
    }

    /// Reads the policy, changes it and writes it back whole. Of two who do so at once one is lost, and nobody is told
    /// (aws-facts §7.4).
    async fn change_policy(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<Value>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut statements = self.find(name)?.statements;
        change(&mut statements)?;
        tokio::time::sleep(POLICY_WRITE).await;
        self.change(name, |function| {
            function.policy_revision = Uuid::new_v4().to_string();
            function.statements = statements;
        })
    }

    fn policy(&self, name: &str) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        if function.statements.is_empty() {
            return Err(Refusal::new(404, "ResourceNotFoundException", "The resource you requested does not exist."));
        }
        let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": function.statements });
        Ok(shown(200, &json!({ "Policy": policy.to_string(), "RevisionId": function.policy_revision })))
    }

    async fn remove_permission(&self, name: &str, id: &str) -> Result<Response, Refusal> {
        self.change_policy(name, |statements| {
            let at = statements.iter().position(|statement| statement["Sid"] == id);
            let at = at.ok_or_else(|| {
                let text = format!("Statement {id} is not found in resource policy.");
                Refusal::new(404, "ResourceNotFoundException", text)
            })?;
            statements.remove(at);
            Ok(())
        })
        .await?;
        Ok(empty(204))
    }

    fn tag(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        self.change(name, |function| function.tags.extend(strings(&input["Tags"])))?;
        Ok(empty(204))
    }

    fn untag(&self, name: &str, request: &Request) -> Result<Response, Refusal> {
        let keys: Vec<String> =
            crate::call::pairs(&request.query).filter(|(key, _)| key == "tagKeys").map(|(_, value)| value).collect();
        self.change(name, |function| function.tags.retain(|key, _| !keys.contains(key)))?;
        Ok(empty(204))
    }

    /// Overwrites the configuration; only an update keeps what the call leaves out (aws-facts §7.5).
    fn put_on_event(&self, name: &str, input: &Value, before: Option<OnEvent>) -> Result<Response, Refusal> {
        let number = |key: &str, allowed: std::ops::RangeInclusive<u64>, old: Option<u64>| match &input[key] {
            Value::Null => Ok(old),
            value => match value.as_u64().filter(|number| allowed.contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(parameter(&format!("Value {value} at '{key}' is out of range"))),
            },
        };
        let old = before.as_ref();
        let on_event = OnEvent {
            retries: number("MaximumRetryAttempts", 0..=2, old.and_then(|old| old.retries))?,
            age_s: number("MaximumEventAgeInSeconds", 60..=21_600, old.and_then(|old| old.age_s))?,
            modified: OffsetDateTime::now_utc().unix_timestamp() as f64,
        };
        self.change(name, |function| function.on_event = Some(on_event))?;
        Ok(shown(200, &self.find(name)?.on_event_json().unwrap_or_default()))
    }

    fn delete_on_event(&self, name: &str) -> Result<Response, Refusal> {
        self.try_change(name, |function| function.on_event.take().map(|_| ()).ok_or_else(|| no_on_event(name)))?;
        Ok(empty(204))
    }

    fn reserve(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let number = input["ReservedConcurrentExecutions"].as_u64();
        let number = number.ok_or_else(|| parameter("ReservedConcurrentExecutions is missing"))?;
        self.find(name)?;
        check_reserved(number)?;
        self.change(name, |function| function.reserved = Some(number as usize))?;
        self.running.retire(plain_name(name));
        Ok(shown(200, &concurrency(&self.find(name)?)))
    }

    fn account(&self) -> Response {
        let functions = self.functions();
        let code: usize = functions.values().map(|function| function.code_bytes).sum();
        let answer = json!({
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800_u64, "CodeSizeUnzipped": 262_144_000, "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": CONCURRENCY, "UnreservedConcurrentExecutions": CONCURRENCY,
            },
            "AccountUsage": { "TotalCodeSize": code, "FunctionCount": functions.len() },
        });
        shown(200, &answer)
    }

    /// A copy of the function named by name or ARN.
    fn find(&self, name: &str) -> Result<Function, Refusal> {
        let name = plain_name(name);
        self.functions().get(name).cloned().ok_or_else(|| self.absent(name))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Function)) -> Result<(), Refusal> {
        self.try_change(name, |function| {
            change(function);
            Ok(())
        })
    }

    fn try_change(&self, name: &str, change: impl FnOnce(&mut Function) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let name = plain_name(name);
        let mut functions = self.functions();
        let before = functions.clone();
        change(functions.get_mut(name).ok_or_else(|| self.absent(name))?)?;
        self.save(&mut functions, before)
    }

    /// Writes the functions down. Where that fails they are what they were `before`.
    fn save(
        &self,
        functions: &mut BTreeMap<String, Function>,
        before: BTreeMap<String, Function>,
    ) -> Result<(), Refusal> {
        store::write_json(&self.file, functions).map_err(|fault| {
            *functions = before;
            let text = format!("the local AWS cannot write its functions: {fault}");
            Refusal::new(500, "ServiceException", text)
        })
    }

    fn absent(&self, name: &str) -> Refusal {
        let text = format!("Function not found: arn:aws:lambda:{}:{ACCOUNT}:function:{name}", self.region);
        Refusal::new(404, "ResourceNotFoundException", text)
    }

    fn functions(&self) -> MutexGuard<'_, BTreeMap<String, Function>> {
        self.registry.functions()
    }
}

/// The function or resource that a request names.
pub(crate) fn named(request: &Request) -> String {
    plain_name(&route::names(&request.path).0).to_owned()
}

/// The name in a name, an ARN or a partial ARN, without version.
pub(crate) fn plain_name(name: &str) -> &str {
    let name = match name.split_once(":function:") {
        Some((_, name)) => name,
        None => name.strip_prefix("function:").unwrap_or(name),
    };
    name.split(':').next().unwrap_or(name)
}

/// How many functions a page of `ListFunctions` has: fifty at most, whatever the call wants.
fn page_size(request: &Request) -> Result<usize, Refusal> {
    const MOST: usize = 50;
    let Some(asked) = request.parameter("MaxItems") else { return Ok(MOST) };
    match asked.parse::<usize>() {
        Ok(size) if (1..=10_000).contains(&size) => Ok(size.min(MOST)),
        _ => {
            let text = format!(
                "1 validation error detected: Value '{asked}' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 10000"
            );
            Err(Refusal::new(400, "ValidationException", text))
        }
    }
}

/// What is left must be enough for the functions that reserve nothing: a new account has less than that from the
/// beginning, so it can only forbid a function to run (aws-facts §3.3).
fn check_reserved(number: u64) -> Result<(), Refusal> {
    const LEAST: u64 = 50;
    if number == 0 || (CONCURRENCY as u64).checked_sub(number).is_some_and(|left| left >= LEAST) {
        return Ok(());
    }
    Err(parameter(&format!(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{LEAST}]."
    )))
}

fn concurrency(function: &Function) -> Value {
    match function.reserved {
        Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
        None => json!({}),
    }
}

fn check_revision(function: &Function, input: &Value) -> Result<(), Refusal> {
    match input["RevisionId"].as_str() {
        Some(revision) if revision != function.revision => Err(Refusal::new(
            412,
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
        )),
        _ => Ok(()),
    }
}

fn exists(name: &str) -> Refusal {
    Refusal::new(409, "ResourceConflictException", format!("Function already exist: {name}"))
}

fn no_on_event(name: &str) -> Refusal {
    let text = format!("The function {name} doesn't have an EventInvokeConfig");
    Refusal::new(404, "ResourceNotFoundException", text)
}

fn body(request: &Request) -> Result<Value, Refusal> {
    serde_json::from_slice(&request.body)
        .map_err(|_| Refusal::new(400, "InvalidRequestContentException", "Could not parse request body into json"))
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flat_map(Map::iter);
    entries.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn shown(status: u16, value: &Value) -> Response {
    json_answer(status, Protocol::RestJson, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_functions_has_fifty_at_most_and_one_at_least() {
        for (query, expected) in [
            ("", Some(50)),
            ("MaxItems=1", Some(1)),
            ("MaxItems=10000", Some(50)),
            ("MaxItems=0", None),
            ("MaxItems=10001", None),
            ("MaxItems=x", None),
        ] {
            let request = Request {
                method: http::Method::GET,
                path: "/2015-03-31/functions".to_owned(),
                query: query.to_owned(),
                headers: http::HeaderMap::new(),
                body: Bytes::new(),
            };
            assert_eq!(page_size(&request).ok(), expected, "{query}");
        }
    }

    #[test]
    fn a_function_is_named_in_four_ways() {
        for name in [
            "labeler",
            "labeler:$LATEST",
            "arn:aws:lambda:us-east-1:000000000000:function:labeler",
            "000000000000:function:labeler:1",
        ] {
            assert_eq!(plain_name(name), "labeler");
        }
    }
}
