//! Lambda's control plane: functions, their permissions, and their invocation. [`Functions`] runs them.

mod download;
mod invoke;
mod manage;
mod operation;
mod policy;
mod settings;
mod versions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::MutexGuard;
use serde_json::{Map, Value, json};

use crate::{Function, Functions, Registry};
use identity::credentials::Access;
use identity::iam::Iam;
use identity::permissions::{Need, function_policy};
use kit::ACCOUNT;
use kit::account::AccountKind;
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Call, Operation, Request};
use kit::parameters;
use kit::speed::Speed;
use kit::store;
use logs::Logs;
use operation::{LambdaRequest, NO_BODY, Run, plain_name};
pub use operation::{identify, rows};

/// Request headers of features that are not implemented.
const HEADERS: &[&str] = &["x-amz-durable-execution-name", "x-amz-tenant-id"];

/// The objects in S3: `CreateFunction` can read a function's code from one, and failed events are recorded there.
#[async_trait]
pub trait CodeObjects: Send + Sync {
    /// Returns the bytes of an object.
    async fn code(&self, bucket: &str, key: &str) -> Result<Bytes, Refusal>;

    /// Whether this region has the bucket.
    fn has_bucket(&self, bucket: &str) -> bool;

    /// The permissions on keys that writing objects needs.
    fn needs_to_write(&self, bucket: &str) -> Vec<Need>;

    /// Writes an object for a caller whose permission has been checked.
    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), Refusal>;
}

/// The functions of a region.
pub struct Lambda {
    region: String,
    file: PathBuf,
    account: AccountKind,
    registry: Arc<Registry>,
    running: Arc<Functions>,
    iam: Arc<Iam>,
    zips: download::Zips,
    /// Weak, because S3 owns a reference to the functions that it notifies of uploads.
    objects: OnceLock<Weak<dyn CodeObjects>>,
}

/// What the functions of a region need of the rest of the local AWS.
pub struct Context<'a> {
    /// The directory of the region.
    pub dir: &'a Path,
    /// Its name.
    pub region: &'a str,
    /// The endpoint that functions call.
    pub endpoint: &'a str,
    /// The credentials of their roles.
    pub access: Arc<Access>,
    /// The roles.
    pub iam: Arc<Iam>,
    /// The destination of their logs.
    pub logs: Arc<Logs>,
    /// The kind of the account, which limits them.
    pub account: AccountKind,
    /// The speed of state transitions.
    pub speed: Speed,
}

impl Lambda {
    /// Reads the functions, and ends processes that a crashed server left running.
    pub async fn open(context: Context<'_>) -> anyhow::Result<Arc<Lambda>> {
        let Context { dir, region, endpoint, access, iam, logs, account, speed } = context;
        let file = dir.join("state/lambda.json");
        let registry = Arc::new(Registry::new(store::read_json(&file)?.unwrap_or_default(), speed));
        let running =
            Functions::open(dir.join("functions"), region, endpoint, access, iam.clone(), logs, registry.clone());
        let running = running.await?;
        let zips = download::Zips::new(dir.join("state/lambda-code"), endpoint);
        let (region, objects) = (region.to_owned(), OnceLock::new());
        let lambda = Lambda { region, file, account, registry, running, iam, zips, objects };
        lambda.put_policies_in_force(&lambda.functions());
        lambda.zips.retain(lambda.functions().values());
        Ok(Arc::new(lambda))
    }

    /// Returns the speed of state transitions.
    pub fn speed(&self) -> Speed {
        self.registry.speed()
    }

    /// Returns the measurements of the functions.
    pub fn metrics(&self) -> kit::metrics::Metrics {
        self.running.metrics()
    }

    /// Sets the source of code that is given as bucket and key, and the place where failed events are recorded.
    pub fn connect(&self, objects: Weak<dyn CodeObjects>) {
        self.running.connect(objects.clone());
        let _ = self.objects.set(objects);
    }

    /// Whether the function is in this region and its policy permits `service` to invoke it on behalf of `source`.
    pub fn permits(&self, function: &str, service: &str, source: &str) -> bool {
        if !function.starts_with(&format!("arn:aws:lambda:{}:{ACCOUNT}:function:", self.region)) {
            return false;
        }
        self.find(function).is_ok_and(|found| policy::permits(&found.statements, service, source))
    }

    /// Invokes a function asynchronously, once after each of `delays`, if its policy still permits it for `service`. A
    /// permitted event is on disk when this returns, if the disk can be written to.
    ///
    /// It cannot fail, because the event is about something that has already happened (docs/aws.md §4.6).
    pub fn send_event(&self, function: &str, service: &str, source: &str, event: &Value, delays: &[Duration]) {
        if !self.permits(function, service, source) {
            tracing::warn!(function, source, "an event was dropped: the function's policy does not permit it");
            return;
        }
        let payload = Bytes::from(event.to_string());
        for delay in delays {
            self.running.send_in_any_case(plain_name(function), payload.clone(), *delay);
        }
    }

    fn accept(&self, name: &str, payload: Bytes, delay: Duration) -> Result<(), Refusal> {
        self.running.send(name, payload, delay).map_err(|fault| {
            tracing::error!(%fault, "an event could not be kept");
            Refusal::new(500, "ServiceException", fault.to_string())
        })
    }

    /// Continues with the events that an earlier server accepted; those of deleted functions are dropped.
    ///
    /// Must be called once everything that functions call is available.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.running.events_left()?.into_iter().for_each(|event| self.running.handle(event));
        Ok(())
    }

    /// Answers a call; `None` if there is no such operation.
    pub async fn answer(&self, call: &Call, request: &Request) -> Option<Response> {
        let operation = operation::find(&call.operation)?;
        let done = self.act(operation, &LambdaRequest::of(call, request)).await;
        Some(done.unwrap_or_else(|refusal| refusal.answer(Protocol::RestJson)))
    }

    /// Returns the functions, with the number of their running processes.
    pub fn status(&self) -> Value {
        let running = self.running.count();
        let functions = self.functions();
        let shown = functions.values().map(|function| {
            json!({ "name": function.name, "environments": running.get(&function.name).copied().unwrap_or(0) })
        });
        shown.collect()
    }

    /// Ends all processes.
    pub async fn stop(&self) {
        self.running.stop().await;
    }

    async fn act(&self, operation: &Operation<Run>, request: &LambdaRequest<'_>) -> Result<Response, Refusal> {
        if operation.parameters != NO_BODY {
            parameters::check_json(operation.parameters, request.body()?)?;
        }
        if let Some(header) = HEADERS.iter().find(|header| request.http.header(header).is_some()) {
            return Err(parameters::refusal(format!("the local AWS does not carry out the header {header}")));
        }
        match request.rest.parameter("Qualifier").filter(|name| !name.is_empty() && *name != "$LATEST") {
            Some(version) => self.about_version(operation.row.name, &request.name, version),
            None => (operation.run)(self, request).await,
        }
    }

    /// Returns a copy of a function, given by name or ARN.
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

    /// Writes the functions to disk. If that fails, restores `before`.
    fn save(
        &self,
        functions: &mut BTreeMap<String, Function>,
        before: BTreeMap<String, Function>,
    ) -> Result<(), Refusal> {
        store::write_json(&self.file, functions).map_err(|fault| {
            *functions = before;
            let text = format!("the local AWS cannot write its functions: {fault}");
            Refusal::new(500, "ServiceException", text)
        })?;
        self.put_policies_in_force(functions);
        Ok(())
    }

    /// Publishes the functions' resource policies to IAM, which evaluates them for roles.
    fn put_policies_in_force(&self, functions: &BTreeMap<String, Function>) {
        let with_policy = functions.values().filter(|function| !function.statements.is_empty());
        let policies = with_policy.map(|function| (function.name.clone(), function_policy::of(&function.statements)));
        self.iam.resource_policies(&self.region).functions.replace(policies);
    }

    fn absent(&self, name: &str) -> Refusal {
        let text = format!("Function not found: arn:aws:lambda:{}:{ACCOUNT}:function:{name}", self.region);
        Refusal::new(404, "ResourceNotFoundException", text)
    }

    fn functions(&self) -> MutexGuard<'_, BTreeMap<String, Function>> {
        self.registry.functions()
    }
}

fn no_on_event(name: &str) -> Refusal {
    let text = format!("The function {name} doesn't have an EventInvokeConfig");
    Refusal::new(404, "ResourceNotFoundException", text)
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
