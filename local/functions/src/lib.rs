//! Runs functions: their processes are started on demand, kept warm, and ended when idle.

mod code;
mod destination;
mod environment;
mod events;
mod function;
pub mod lambda;
mod managed;
mod measures;
mod memory;
mod registry;
pub mod runtime_api;
mod states;
mod version;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use destination::{Condition, End};
use environment::Environment;
use identity::credentials::{Access, Issued, session_arn, session_id};
use identity::iam::Iam;
use identity::permissions::{Caller, Need};
use kit::answer::Refusal;
use kit::metrics::Metrics;
use kit::speed::Speed;
use kit::warden::Warden;
use lambda::CodeObjects;
use logs::Logs;
use managed::Interpreters;
use measures::Measure;

pub use events::Event;
pub use function::{Function, OnEvent, parameter};
pub use registry::Registry;
pub use version::Version;

/// How many invocations run at once here of a function with reserved concurrency, and of all others together: as in a new
/// account (docs/aws.md §3.4), however many the account may have.
const CONCURRENCY: usize = 10;
/// How long to keep an idle process.
const IDLE: Duration = Duration::from_secs(300);
/// How often to look for idle processes.
const LOOK: Duration = Duration::from_secs(15);
/// The lifetime of a process's credentials. The process is replaced after half of it.
const CREDENTIALS: time::Duration = time::Duration::hours(12);
/// The delay before the first retry of an event on AWS, in seconds. Each further delay is twice as long.
const RETRY_S: u64 = 60;
/// The minimum delay here, which gives a retry a chance if something did not exist yet.
const LEAST_RETRY: Duration = Duration::from_secs(1);
/// The longest delay on AWS before the next attempt at a throttled event, in seconds. The first is 1 s, and each further
/// one twice as long.
const LONGEST_THROTTLED_S: u64 = 5 * 60;
/// The minimum delay here.
const LEAST_THROTTLED: Duration = Duration::from_millis(50);

/// The default maximum age of an event (docs/aws.md §7.5).
const OLDEST_EVENT: Duration = Duration::from_secs(6 * 3600);

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

/// The processes of one function. An update of the function retires them.
struct Pool {
    idle: Mutex<Vec<Environment>>,
    /// The account's concurrency, or the function's reserved one.
    places: Arc<Semaphore>,
    retired: CancellationToken,
    /// The number of processes running an invocation.
    working: AtomicUsize,
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

    /// Returns when the event has succeeded or has failed for good: after too many failures, when too old, or when the
    /// function no longer exists.
    async fn deliver(self: &Arc<Self>, event: &Event) {
        tokio::time::sleep(event.wait()).await;
        let (mut failures, mut throttles) = (0, 0);
        // The function may have changed since the last attempt.
        while let Some(function) = self.registry.answering(&event.function) {
            let on_event = function.on_event.as_ref();
            let retries = on_event.and_then(|on_event| on_event.retries).unwrap_or(2);
            let oldest = on_event.and_then(|on_event| on_event.age_s).map_or(OLDEST_EVENT, Duration::from_secs);
            let pool = self.pool(&function);
            let end = |condition, outcome| End { event, attempts: failures, condition, outcome };
            // It would never run: Lambda gives it up at once if there is a destination.
            if function.reserved == Some(0) && function.on_failure().is_some() {
                return self.give_up(&function, end(Condition::NoConcurrency, None)).await;
            }
            let left = oldest.saturating_sub(event.age());
            if left.is_zero() {
                tracing::warn!(function = function.name, "an event was dropped: it has waited for too long");
                return self.give_up(&function, end(Condition::TooOld, None)).await;
            }
            let Ok(place) = pool.places.try_acquire() else {
                self.measure(&function, Measure::Throttles);
                tokio::time::sleep(throttled_pause(throttles, self.registry.speed()).min(left)).await;
                throttles += 1;
                continue;
            };
            throttles = 0;
            let age_ms = event.age().as_secs_f64() * 1000.0;
            Measure::AsyncEventAge.add(&self.site.metrics, &function.name, age_ms, self.registry.speed());
            let outcome = self.run(&pool, &function, event.payload.clone(), None).await;
            // Others may run while this one waits for its next attempt.
            drop(place);
            if !outcome.failed {
                return;
            }
            let error = String::from_utf8_lossy(&outcome.payload);
            tracing::warn!(function = function.name, failures, retries, %error, "an event failed");
            let Some(pause) = pause_after(failures, retries, self.registry.speed()) else {
                let end = End { event, attempts: failures + 1, condition: Condition::Retried, outcome: Some(&outcome) };
                return self.give_up(&function, end).await;
            };
            tokio::time::sleep(pause).await;
            failures += 1;
        }
    }

    /// Drops an event, which is recorded in the function's destination, if it has one.
    async fn give_up(&self, function: &Function, end: End<'_>) {
        self.measure(function, Measure::AsyncEventsDropped);
        if !self.site.record(function, end).await {
            self.measure(function, Measure::DestinationDeliveryFailures);
        }
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
        let (outcome, goes_on) = environment.run(function, payload, client_context).await;
        if goes_on && !pool.retired.is_cancelled() {
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

/// Returns the pause before the next attempt at an event that failed once more after `failures` failures; `None` if
/// there is none. The number of retries may have been lowered below that of the failures.
fn pause_after(failures: u64, retries: u64, speed: Speed) -> Option<Duration> {
    (failures < retries).then(|| speed.takes(RETRY_S).max(LEAST_RETRY) * 2_u32.pow(failures as u32))
}

/// Returns the pause before the next attempt at an event that has been throttled once more after `throttles` times.
fn throttled_pause(throttles: u32, speed: Speed) -> Duration {
    let seconds = 2_u64.saturating_pow(throttles).min(LONGEST_THROTTLED_S);
    speed.takes(seconds).max(LEAST_THROTTLED)
}

/// Returns an OS error in the wording of Lambda, which is written in Go: `exec format error`.
fn in_words_of_go(fault: &std::io::Error) -> String {
    let text = fault.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl Pool {
    /// Takes the process that was used last, so that the others become idle and are ended.
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
        credentials: Issued,
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

async fn end_all(environments: Vec<Environment>) {
    futures::future::join_all(environments.into_iter().map(Environment::end)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_given_up_after_its_retries_even_if_they_were_lowered_meanwhile() {
        let pause = |failures, retries| pause_after(failures, retries, Speed::REAL).map(|pause| pause.as_secs());
        for (failures, retries, expected) in
            [(0, 2, Some(60)), (1, 2, Some(120)), (2, 2, None), (0, 0, None), (1, 0, None), (2, 1, None)]
        {
            assert_eq!(pause(failures, retries), expected, "{failures} {retries}");
        }
    }

    #[test]
    fn a_throttled_event_is_tried_again_after_a_pause_that_doubles_up_to_five_minutes() {
        for (throttles, expected) in [(0, 1), (1, 2), (8, 256), (9, 300), (63, 300), (64, 300), (u32::MAX, 300)] {
            assert_eq!(throttled_pause(throttles, Speed::REAL).as_secs(), expected, "{throttles}");
        }
        assert_eq!(throttled_pause(0, Speed::FAST), LEAST_THROTTLED);
    }
}
