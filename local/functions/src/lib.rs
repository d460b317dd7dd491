//! Runs functions: their processes are started on demand, kept warm, and ended when idle.

mod code;
mod delivery;
mod destination;
mod environment;
mod events;
mod function;
pub mod lambda;
mod managed;
mod measures;
mod memory;
mod pool;
mod registry;
pub mod runtime_api;
mod states;
mod version;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use environment::Environment;
use identity::credentials::{Access, TemporaryCredentials, session_arn, session_id};
use identity::iam::Iam;
use identity::permissions::{Caller, Need};
use kit::answer::Refusal;
use kit::metrics::Metrics;
use kit::warden::Warden;
use lambda::CodeObjects;
use logs::Logs;
use managed::Interpreters;
use measures::Measure;

pub use events::Event;
pub use function::{Function, OnEvent, parameter};
pub use registry::Registry;
pub use version::Version;

use pool::{CONCURRENCY, Pool, end_all};

/// The lifetime of a process's credentials. The process is replaced after half of it.
const CREDENTIALS: time::Duration = time::Duration::hours(12);

/// The result of an invocation.
#[derive(Debug)]
pub struct Outcome {
    /// The response or the error.
    pub payload: Bytes,
    /// Whether the payload is an error.
    pub failed: bool,
    /// The last lines of the log.
    pub tail: String,
}

/// The parts of the server that processes depend on.
struct Site {
    dir: PathBuf,
    region: String,
    endpoint: String,
    access: Arc<Access>,
    iam: Arc<Iam>,
    logs: Arc<Logs>,
    warden: Warden,
    stop: CancellationToken,
    /// Where failed events are recorded. Weak, because S3 owns a reference to the functions.
    objects: OnceLock<Weak<dyn CodeObjects>>,
    metrics: Metrics,
    interpreters: Interpreters,
}

/// The processes of all functions.
pub struct Functions {
    site: Arc<Site>,
    registry: Arc<Registry>,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    /// The account's concurrency, for functions without reserved concurrency.
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Functions {
    /// Opens the functions in a directory. Ends processes that a crashed server left behind, and starts none.
    pub async fn open(
        dir: PathBuf,
        region: &str,
        endpoint: &str,
        access: Arc<Access>,
        iam: Arc<Iam>,
        logs: Arc<Logs>,
        registry: Arc<Registry>,
    ) -> anyhow::Result<Arc<Functions>> {
        environment::end_orphans(&dir).await;
        let site = Site {
            interpreters: Interpreters::new(&dir),
            dir,
            region: region.to_owned(),
            endpoint: endpoint.to_owned(),
            access,
            iam,
            logs,
            warden: Warden::default(),
            stop: CancellationToken::new(),
            objects: OnceLock::new(),
            metrics: Metrics::default(),
        };
        let (site, pools, tasks) = (Arc::new(site), Mutex::new(HashMap::new()), TaskTracker::new());
        let places = Arc::new(Semaphore::new(CONCURRENCY));
        let functions = Arc::new(Functions { site, registry, pools, places, tasks });
        functions.tasks.spawn(functions.clone().end_idle());
        Ok(functions)
    }

    /// Sets where failed events are recorded.
    pub fn connect(&self, objects: Weak<dyn CodeObjects>) {
        let _ = self.site.objects.set(objects);
    }

    /// Returns the call that the role of a function may not make on its destination for failed events.
    pub fn denied_destination(&self, function: &Function, arn: &str) -> Option<&'static str> {
        let caller = self.site.caller(function);
        let needs = [
            ("ListBucket", Need::new("s3:ListBucket", arn)),
            ("PutObject", Need::new("s3:PutObject", format!("{arn}/{}", destination::FOLDER))),
        ];
        needs.into_iter().find(|(_, need)| caller.may(need).is_err()).map(|(call, _)| call)
    }

    /// Checks that this machine has what runs functions of a runtime.
    pub(crate) async fn check_runtime(&self, runtime: &str) -> Result<(), Refusal> {
        self.site.interpreters.find(runtime).await.map(drop).map_err(|fault| parameter(&fault.to_string()))
    }

    /// Whether the role of a function that is traced may not write traces.
    pub fn denied_tracing(&self, function: &Function) -> bool {
        let need = Need::new("xray:PutTraceSegments", "*");
        function.is_traced() && self.site.caller(function).may(&need).is_err()
    }

    /// Unpacks the code of `function` to where its processes find it.
    pub async fn unpack(&self, function: &Function, zip: Bytes) -> Result<(), String> {
        let place = code::place(&self.site.dir, function);
        let unpacked = tokio::task::spawn_blocking(move || code::unpack(&place, &zip)).await;
        unpacked.map_err(|fault| fault.to_string())?
    }

    /// Invokes a function and waits for its response; `None` if the concurrency limit is reached.
    pub async fn call(
        self: &Arc<Self>,
        function: &Function,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Option<Outcome> {
        let pool = self.pool(function);
        let Ok(_place) = pool.places.try_acquire() else {
            self.measure(function, Measure::Throttles);
            return None;
        };
        Some(self.run(&pool, function, payload, client_context).await)
    }

    /// Accepts an event, which is on disk when this returns, and invokes the function with it after `delay`.
    pub fn send(self: &Arc<Self>, name: &str, payload: Bytes, delay: Duration) -> std::io::Result<()> {
        let event = Event::new(&self.site.dir, name, payload, delay);
        event.keep()?;
        self.handle(event);
        Ok(())
    }

    /// Like [`Functions::send`], for an event about something that has happened and cannot be undone: if it cannot be
    /// written to disk, it is delivered from memory.
    pub fn send_in_any_case(self: &Arc<Self>, name: &str, payload: Bytes, delay: Duration) {
        let event = Event::new(&self.site.dir, name, payload, delay);
        if let Err(fault) = event.keep() {
            tracing::error!(function = name, %fault, "an event could not be written, and is lost if the server stops");
        }
        self.handle(event);
    }

    /// Returns the events that an earlier server accepted but did not finish.
    pub fn events_left(&self) -> anyhow::Result<Vec<Event>> {
        Event::left(&self.site.dir)
    }

    /// Invokes a function with an event, with retries (docs/aws.md §7.5).
    pub fn handle(self: &Arc<Self>, event: Event) {
        let this = self.clone();
        let stop = self.site.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = this.deliver(&event) => event.forget(),
                // The next server continues with it.
                () = stop.cancelled() => (),
            }
        });
    }

    /// Puts a changed function into use after a delay, and then removes the processes and the code of the previous
    /// revision.
    pub fn take_over(self: &Arc<Self>, function: Function, after: Duration) {
        let this = self.clone();
        let stop = self.site.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(after) => (),
                () = stop.cancelled() => return,
            }
            if this.registry.take_over(&function) {
                this.retire(&function.name);
                this.tidy(&function);
                this.registry.settle(&function);
            }
        });
    }

    /// Discards the warm processes of a function. Those running an invocation finish it first.
    pub fn retire(&self, name: &str) {
        let Some(pool) = self.pools().remove(name) else {
            return;
        };
        pool.retired.cancel();
        let idle = std::mem::take(&mut *pool.idle());
        self.tasks.spawn(end_all(idle));
    }

    /// Removes outdated code of a function. Running processes keep their program open.
    fn tidy(&self, function: &Function) {
        let current = code::place(&self.site.dir, function);
        let Ok(codes) = std::fs::read_dir(code::code_of(&self.site.dir, &function.name)) else {
            return;
        };
        for code in codes.flatten().map(|code| code.path()).filter(|code| *code != current) {
            let _ = std::fs::remove_dir_all(code);
        }
    }

    /// Removes the processes and the code of a deleted function.
    pub fn forget(&self, name: &str) {
        self.retire(name);
        let _ = std::fs::remove_dir_all(code::code_of(&self.site.dir, name));
    }

    /// Returns the number of processes of each function.
    pub fn count(&self) -> BTreeMap<String, usize> {
        let pools = self.pools();
        let count = |pool: &Pool| pool.idle().len() + pool.working.load(Ordering::SeqCst);
        pools.iter().map(|(name, pool)| (name.clone(), count(pool))).collect()
    }

    /// Ends all processes.
    pub async fn stop(&self) {
        self.site.stop.cancel();
        let pools: Vec<Arc<Pool>> = self.pools().drain().map(|(_, pool)| pool).collect();
        for pool in pools {
            pool.retired.cancel();
            let idle = std::mem::take(&mut *pool.idle());
            end_all(idle).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Counts one.
    fn measure(&self, function: &Function, measure: Measure) {
        measure.add(&self.site.metrics, &function.name, 1.0, self.registry.speed());
    }

    /// Returns the measurements of all functions.
    pub fn metrics(&self) -> Metrics {
        self.site.metrics.clone()
    }

    /// Runs an invocation in its own task, so that a client that disconnects does not abandon a process in the middle
    /// of it.
    async fn run(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        function: &Function,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Outcome {
        let (this, pool, function) = (self.clone(), pool.clone(), function.clone());
        let work = self.tasks.spawn(async move {
            pool.working.fetch_add(1, Ordering::SeqCst);
            this.measure(&function, Measure::Invocations);
            let outcome = this.run_in(&pool, &function, payload, client_context).await;
            if outcome.failed {
                this.measure(&function, Measure::Errors);
            }
            pool.working.fetch_sub(1, Ordering::SeqCst);
            outcome
        });
        work.await.unwrap_or_else(|fault| failed(&fault.to_string()))
    }

    async fn run_in(
        &self,
        pool: &Pool,
        function: &Function,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Outcome {
        let mut environment = match pool.warm(function) {
            Some(warm) => warm,
            None => match Environment::start(function, &self.site).await {
                Ok(fresh) => fresh,
                Err(fault) => return self.not_started(function, &fault),
            },
        };
        let (outcome, is_reusable) = environment.run(function, payload, client_context).await;
        if is_reusable && !pool.retired.is_cancelled() {
            environment.idle_since = Instant::now();
            pool.idle().push(environment);
        } else {
            environment.end().await;
        }
        outcome
    }

    /// Returns the outcome for a program that cannot be started: it is missing, or built for another machine.
    fn not_started(&self, function: &Function, fault: &std::io::Error) -> Outcome {
        let id = uuid::Uuid::new_v4();
        let stream = environment::log_stream();
        let why = match fault.kind() {
            // The interpreter of this machine is missing.
            _ if managed::language(&function.runtime).is_some() => fault.to_string(),
            std::io::ErrorKind::NotFound => {
                "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned()
            }
            _ => format!("fork/exec /var/task/bootstrap: {}", in_words_of_go(fault)),
        };
        let error = format!("RequestId: {id} Error: {why}");
        let lines = [
            format!("START RequestId: {id} Version: $LATEST"),
            error.clone(),
            format!("END RequestId: {id}"),
            format!("REPORT RequestId: {id}\tStatus: error\tError Type: Runtime.InvalidEntrypoint"),
        ];
        if self.site.may_log(function, &stream) {
            lines.iter().for_each(|line| self.site.logs.write(&function.log_group, &stream, line));
        }
        let payload = json!({ "errorType": "Runtime.InvalidEntrypoint", "errorMessage": error });
        Outcome { payload: Bytes::from(payload.to_string()), failed: true, tail: lines.join("\n") + "\n" }
    }
}

/// Returns an OS error in the wording of Lambda, which is written in Go: `exec format error`.
fn in_words_of_go(fault: &std::io::Error) -> String {
    let text = fault.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl Site {
    /// The session of a function's role.
    fn caller(&self, function: &Function) -> Caller {
        let role = function.role.rsplit('/').next().unwrap_or(&function.role);
        self.iam.in_role(role, session_arn(role, &function.name), session_id(&function.name), &self.region)
    }

    /// Whether the role of `function` permits writing its output to the log group; if not, there are no logs
    /// (docs/aws.md §7.6).
    fn may_log(&self, function: &Function, stream: &str) -> bool {
        let caller = self.caller(function);
        let needs = logs::to_write(&self.region, &function.log_group, stream);
        let mut needs = needs.into_iter().chain(
            self.logs.lacks(&function.log_group).then(|| logs::to_make_group(&self.region, &function.log_group)),
        );
        needs.all(|need| caller.may(&need).is_ok())
    }

    /// Returns the environment variables that Lambda sets, in addition to the function's own.
    fn variables(
        &self,
        function: &Function,
        credentials: TemporaryCredentials,
        place: &Path,
        log_stream: &str,
        api: &str,
    ) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID", credentials.access_key),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_EXECUTION_ENV", format!("AWS_Lambda_{}", function.runtime)),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", function.log_group.clone()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.to_owned()),
            ("AWS_LAMBDA_RUNTIME_API", api.to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret_key),
            ("AWS_SESSION_TOKEN", credentials.token),
            ("LAMBDA_TASK_ROOT", place.display().to_string()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("TZ", ":UTC".to_owned()),
            ("_HANDLER", function.handler.clone()),
        ];
        if managed::language(&function.runtime).is_some() {
            variables.push(("LAMBDA_RUNTIME_DIR", self.interpreters.dir().display().to_string()));
            variables.push(("LANG", "en_US.UTF-8".to_owned()));
        }
        variables
    }
}

fn failed(text: &str) -> Outcome {
    let payload = json!({ "errorType": "Runtime.InvalidEntrypoint", "errorMessage": text });
    Outcome { payload: Bytes::from(payload.to_string()), failed: true, tail: format!("{text}\n") }
}
