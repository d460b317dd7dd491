//! Runs functions: processes that are started on demand, kept warm, and ended when idle.

mod code;
mod environment;
mod events;
mod function;
pub mod lambda;
mod memory;
mod registry;
pub mod runtime_api;
mod states;
mod version;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use environment::Environment;
use identity::credentials::{Access, Issued, session_arn, session_id};
use identity::iam::Iam;
use kit::warden::Warden;
use logs::Logs;

pub use events::Event;
pub use function::{Function, OnEvent, parameter};
pub use registry::Registry;
pub use version::Version;

/// How many calls all functions together may work on at a time, as in a new account (docs/aws.md §3.4).
pub const CONCURRENCY: usize = 10;
/// How long a process is kept without work.
const IDLE: Duration = Duration::from_secs(300);
/// How often idle processes are looked for.
const LOOK: Duration = Duration::from_secs(15);
/// How long the credentials of a process live; it is replaced when half of it is over.
const CREDENTIALS: time::Duration = time::Duration::hours(12);
/// How long AWS waits before the first retry of an event, in seconds; twice as long before the second.
const RETRY_S: u64 = 60;
/// The least of that here: what failed because something was not there yet gets a chance.
const LEAST_RETRY: Duration = Duration::from_secs(1);

/// How long an event waits unless the function says otherwise (docs/aws.md §7.5).
const OLDEST_EVENT: Duration = Duration::from_secs(6 * 3600);

/// What a call brought.
#[derive(Debug)]
pub struct Outcome {
    /// The response, or the description of the error.
    pub payload: Bytes,
    /// Whether the payload is the description of an error.
    pub failed: bool,
    /// The last lines of the log.
    pub tail: String,
}

/// What processes need to know of the place they run in.
struct Site {
    dir: PathBuf,
    region: String,
    endpoint: String,
    access: Arc<Access>,
    iam: Arc<Iam>,
    logs: Arc<Logs>,
    warden: Warden,
    stop: CancellationToken,
}

/// The processes of all functions.
pub struct Functions {
    site: Arc<Site>,
    registry: Arc<Registry>,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    /// What the account has for the functions that have nothing reserved.
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// The processes of one function in one revision.
struct Pool {
    idle: Mutex<Vec<Environment>>,
    /// Those of the account, or the function's own.
    places: Arc<Semaphore>,
    retired: CancellationToken,
    /// How many processes are at work.
    working: AtomicUsize,
}

impl Functions {
    /// Reads the functions below a directory; none is started.
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
            dir,
            region: region.to_owned(),
            endpoint: endpoint.to_owned(),
            access,
            iam,
            logs,
            warden: Warden::default(),
            stop: CancellationToken::new(),
        };
        let (site, pools, tasks) = (Arc::new(site), Mutex::new(HashMap::new()), TaskTracker::new());
        let places = Arc::new(Semaphore::new(CONCURRENCY));
        let functions = Arc::new(Functions { site, registry, pools, places, tasks });
        functions.tasks.spawn(functions.clone().end_idle());
        Ok(functions)
    }

    /// Puts the code of `function` where its processes will find it.
    pub async fn unpack(&self, function: &Function, zip: Bytes) -> Result<(), String> {
        let place = code::place(&self.site.dir, function);
        let unpacked = tokio::task::spawn_blocking(move || code::unpack(&place, &zip)).await;
        unpacked.map_err(|fault| fault.to_string())?
    }

    /// Calls a function and waits for its answer; `None` when too many calls are under way.
    pub async fn call(
        self: &Arc<Self>,
        function: &Function,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Option<Outcome> {
        let pool = self.pool(function);
        let _place = pool.places.try_acquire().ok()?;
        Some(self.run(&pool, function, payload, client_context).await)
    }

    /// Accepts an event, which is on disk when this returns, and calls the function with it after `delay`.
    pub fn send(self: &Arc<Self>, name: &str, payload: Bytes, delay: Duration) -> std::io::Result<()> {
        self.handle(Event::accept(&self.site.dir, name, payload, delay)?);
        Ok(())
    }

    /// What an earlier server accepted and did not get done.
    pub fn events_left(&self) -> anyhow::Result<Vec<Event>> {
        Event::left(&self.site.dir)
    }

    /// Calls a function with an event, and again if it fails (docs/aws.md §7.5).
    pub fn handle(self: &Arc<Self>, event: Event) {
        let this = self.clone();
        let stop = self.site.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = this.deliver(&event) => event.forget(),
                // The next server goes on with it.
                () = stop.cancelled() => (),
            }
        });
    }

    /// Lets a changed function take over after a while: the processes and the code of before are of no more use then.
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

    /// The warm processes of a function are of no more use; those at work finish first.
    pub fn retire(&self, name: &str) {
        let Some(pool) = self.pools().remove(name) else {
            return;
        };
        pool.retired.cancel();
        let idle = std::mem::take(&mut *pool.idle());
        self.tasks.spawn(end_all(idle));
    }

    /// Older codes of a function take up space for nothing; what still runs has its program open.
    fn tidy(&self, function: &Function) {
        let current = code::place(&self.site.dir, function);
        let Ok(codes) = std::fs::read_dir(code::code_of(&self.site.dir, &function.name)) else {
            return;
        };
        for code in codes.flatten().map(|code| code.path()).filter(|code| *code != current) {
            let _ = std::fs::remove_dir_all(code);
        }
    }

    /// A function is gone, and with it its code.
    pub fn forget(&self, name: &str) {
        self.retire(name);
        let _ = std::fs::remove_dir_all(code::code_of(&self.site.dir, name));
    }

    /// How many processes each function has.
    pub fn count(&self) -> BTreeMap<String, usize> {
        let pools = self.pools();
        let count = |pool: &Pool| pool.idle().len() + pool.working.load(Ordering::SeqCst);
        pools.iter().map(|(name, pool)| (name.clone(), count(pool))).collect()
    }

    /// Ends every process.
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

    /// Returns when the event was handled, or has to be given up: too many failures, too old, or no function any more.
    async fn deliver(self: &Arc<Self>, event: &Event) {
        tokio::time::sleep(event.wait()).await;
        let mut failures = 0;
        // It may have changed since it failed, and is then another program.
        while let Some(function) = self.registry.answering(&event.function) {
            let on_event = function.on_event.as_ref();
            let retries = on_event.and_then(|on_event| on_event.retries).unwrap_or(2);
            let oldest = on_event.and_then(|on_event| on_event.age_s).map_or(OLDEST_EVENT, Duration::from_secs);
            let pool = self.pool(&function);
            let Some(_place) = pool.place_within(oldest.saturating_sub(event.age())).await else {
                tracing::warn!(function = function.name, "an event was dropped: it has waited for too long");
                return;
            };
            let outcome = self.run(&pool, &function, event.payload.clone(), None).await;
            if !outcome.failed {
                return;
            }
            let error = String::from_utf8_lossy(&outcome.payload);
            tracing::warn!(function = function.name, failures, retries, %error, "an event failed");
            if failures == retries {
                return;
            }
            tokio::time::sleep(self.registry.speed().takes(RETRY_S).max(LEAST_RETRY) * 2_u32.pow(failures as u32))
                .await;
            failures += 1;
        }
    }

    /// The work goes on in a task of its own: a caller that hangs up must not leave a process in the middle of a job.
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
            let outcome = this.run_in(&pool, &function, payload, client_context).await;
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
        let (outcome, goes_on) = environment.run(function, payload, client_context).await;
        if goes_on && !pool.retired.is_cancelled() {
            environment.idle_since = Instant::now();
            pool.idle().push(environment);
        } else {
            environment.end().await;
        }
        outcome
    }

    /// A program that the system cannot start: not there, or made for another machine.
    fn not_started(&self, function: &Function, fault: &std::io::Error) -> Outcome {
        let id = uuid::Uuid::new_v4();
        let stream = environment::log_stream();
        let why = match fault.kind() {
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

    fn pool(&self, function: &Function) -> Arc<Pool> {
        let new = || {
            let own = |reserved: usize| Arc::new(Semaphore::new(reserved.min(CONCURRENCY)));
            Arc::new(Pool {
                idle: Mutex::new(Vec::new()),
                places: function.reserved.map_or_else(|| self.places.clone(), own),
                retired: self.site.stop.child_token(),
                working: AtomicUsize::new(0),
            })
        };
        self.pools().entry(function.name.clone()).or_insert_with(new).clone()
    }

    async fn end_idle(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => (),
                () = self.site.stop.cancelled() => return,
            }
            let pools: Vec<Arc<Pool>> = self.pools().values().cloned().collect();
            for pool in pools {
                let idle: Vec<Environment> = {
                    let mut all = pool.idle();
                    all.extract_if(.., |one| !one.lives() || one.idle_since.elapsed() > IDLE).collect()
                };
                end_all(idle).await;
            }
        }
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<String, Arc<Pool>>> {
        self.pools.lock()
    }
}

/// An error of the system as Lambda's own program, which is written in Go, spells it: `exec format error`.
fn in_words_of_go(fault: &std::io::Error) -> String {
    let text = fault.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl Pool {
    /// A place for one more call, if there is one before the time is over: where none is left, a free place is no help.
    async fn place_within(&self, left: Duration) -> Option<SemaphorePermit<'_>> {
        if left.is_zero() {
            return None;
        }
        tokio::time::timeout(left, self.places.acquire()).await.ok()?.ok()
    }

    /// The process that worked last: the others may grow idle and end.
    fn warm(&self, function: &Function) -> Option<Environment> {
        let mut idle = self.idle();
        let fits =
            |one: &Environment| one.lives() && one.revision == function.revision && Instant::now() < one.good_until;
        let at = idle.iter().rposition(fits)?;
        Some(idle.remove(at))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Environment>> {
        self.idle.lock()
    }
}

impl Site {
    /// Whether the role of `function` lets what it prints be kept: without it there are no logs (docs/aws.md §7.6).
    fn may_log(&self, function: &Function, stream: &str) -> bool {
        let role = function.role.rsplit('/').next().unwrap_or(&function.role);
        let arn = session_arn(role, &function.name);
        let caller = self.iam.in_role(role, arn, session_id(&function.name), &self.region);
        let needs = logs::to_write(&self.region, &function.log_group, stream);
        let mut needs = needs.into_iter().chain(
            self.logs.lacks(&function.log_group).then(|| logs::to_make_group(&self.region, &function.log_group)),
        );
        needs.all(|need| caller.may(&need).is_ok())
    }

    /// The environment Lambda gives every process, beside the function's own variables.
    fn variables(
        &self,
        function: &Function,
        credentials: Issued,
        place: &Path,
        log_stream: &str,
        api: &str,
    ) -> Vec<(&'static str, String)> {
        vec![
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
        ]
    }
}

fn failed(text: &str) -> Outcome {
    let payload = json!({ "errorType": "Runtime.InvalidEntrypoint", "errorMessage": text });
    Outcome { payload: Bytes::from(payload.to_string()), failed: true, tail: format!("{text}\n") }
}

async fn end_all(environments: Vec<Environment>) {
    futures::future::join_all(environments.into_iter().map(Environment::end)).await;
}
