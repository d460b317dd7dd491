//! An execution environment: a function's process, kept warm between invocations.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Function;
use super::memory::Meter;
use super::runtime_api::{self, Desk, Job, Reply};
use super::{CREDENTIALS, Outcome, Site, code, managed};
use kit::process;
use kit::program;
use kit::store;

/// How long a process may take to request its first invocation; a longer function timeout extends this.
const INIT: Duration = Duration::from_secs(10);
/// How long to wait between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long to wait after a response for the last lines of output.
const LAST_LINES: Duration = Duration::from_millis(20);
/// The maximum number of log lines in the response of `Invoke`.
const TAIL: usize = 40;

/// A process and the channel to it.
pub(super) struct Environment {
    /// The function's revision when the process was started: another revision needs another process.
    pub revision: String,
    /// When to replace the process. Its credentials expire later, so that no invocation outlives them.
    pub good_until: Instant,
    pub idle_since: Instant,
    jobs: mpsc::Sender<Job>,
    desk: Arc<Desk>,
    /// Why the process ended, once it has.
    ended: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
    log: Log,
    meter: Option<Meter>,
    fresh: bool,
}

/// A record of a process, for finding it again after the server was killed.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    pid: u32,
    started: String,
}

impl Environment {
    /// Starts a process of `function`.
    pub(super) async fn start(function: &Function, site: &Arc<Site>) -> io::Result<Environment> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let log_stream = log_stream();
        let place = code::place(&site.dir, function);
        let interpreter = site.interpreters.find(&function.runtime).await?;
        let mut command = match &interpreter {
            Some(interpreter) => site.interpreters.command(interpreter, function)?,
            None => {
                program::check(&place.join("bootstrap"), &function.architecture)?;
                Command::new(place.join("bootstrap"))
            }
        };
        let life = site.access.life(CREDENTIALS);
        let credentials = site.access.issue(&function.role, &function.name, life)?;
        command
            .env_clear()
            .envs(&function.variables)
            .envs(site.variables(function, credentials, &place, &log_stream, &listener.local_addr()?.to_string()))
            .current_dir(&place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let log = Log::new(site, function, &log_stream);
        if let Some(interpreter) = &interpreter {
            log.write(&interpreter.init_start());
        }
        let mut child = spawn(&mut command).await?;
        let pid = child.id();
        let record = pid.map(|pid| remember(&site.dir, pid));
        if let Some(pid) = pid {
            site.warden.watch(pid);
        }
        copy_lines(child.stdout.take(), log.clone());
        copy_lines(child.stderr.take(), log.clone());

        let (jobs, waiting) = mpsc::channel(1);
        let desk = Arc::new(Desk::new(waiting));
        let stop = site.stop.child_token();
        let meter = pid.map(|pid| Meter::start(pid, function.memory_mb, stop.clone()));
        tokio::spawn(runtime_api::serve(listener, desk.clone(), stop.clone()));
        let (end, ended) = watch::channel(None);
        let keeper = tokio::spawn(keep(child, pid, record, end, site.clone(), stop.clone()));
        Ok(Environment {
            revision: function.revision.clone(),
            good_until: Instant::now() + life.unsigned_abs() / 2,
            idle_since: Instant::now(),
            jobs,
            desk,
            ended,
            stop,
            keeper,
            log,
            meter,
            fresh: true,
        })
    }

    /// Whether the process can take another invocation.
    pub(super) fn lives(&self) -> bool {
        self.ended.borrow().is_none() && !self.stop.is_cancelled()
    }

    /// Runs one invocation. Returns the outcome, and whether the process can be used again.
    pub(super) async fn run(
        &mut self,
        function: &Function,
        payload: Bytes,
        client_context: Option<String>,
    ) -> (Outcome, bool) {
        let id = Uuid::new_v4().to_string();
        let log = self.log.clone();
        self.set_working(true);
        let begun = Instant::now();
        let initialised = self.init(function, &id).await;
        let init = std::mem::take(&mut self.fresh).then(|| begun.elapsed());
        log.write(&format!("START RequestId: {id} Version: $LATEST"));
        let begun = Instant::now();
        let reply = match initialised {
            Ok(()) => self.exchange(function, &id, payload, client_context).await,
            Err(end) => Err(end),
        };
        let spent = begun.elapsed();
        self.set_working(false);
        // Output and response arrive on different channels; usually this is enough for the output to be logged first.
        tokio::time::sleep(LAST_LINES).await;
        let (payload, kind) = match reply {
            Ok(Reply::Response(payload)) => (payload, None),
            Ok(Reply::Error(payload)) => (payload, Some(None)),
            Err(End { kind, text: Text::Reported(error) }) => (error, Some(Some(kind))),
            Err(End { kind, text: Text::Observed(text) }) => {
                log.write(&text);
                let error = json!({ "errorType": kind, "errorMessage": text });
                (Bytes::from(error.to_string()), Some(Some(kind)))
            }
        };
        let (failed, ended) = (kind.is_some(), kind.flatten());
        let is_reusable = ended.is_none();
        log.write(&format!("END RequestId: {id}"));
        let peak_mb = self.meter.as_ref().map_or(0, Meter::peak_mb);
        log.write(&(report(&id, function, spent, init, peak_mb) + &status(ended.as_deref())));
        let tail = log.tail();
        (Outcome { payload, failed, tail }, is_reusable && self.lives())
    }

    fn set_working(&self, working: bool) {
        if let Some(meter) = &self.meter {
            meter.set_working(working);
        }
    }

    /// Waits until the process requests its first invocation.
    async fn init(&mut self, function: &Function, id: &str) -> Result<(), End> {
        let mut ready = self.desk.ready();
        let mut init_error = self.desk.init_error();
        let limit = INIT.max(Duration::from_secs(function.timeout_s));
        tokio::select! {
            biased;
            _ = ready.wait_for(|ready| *ready) => Ok(()),
            error = init_error.wait_for(Option::is_some) => {
                let error = error.ok().and_then(|error| error.clone()).unwrap_or_default();
                Err(init_error_of(function, error))
            }
            reason = ended(&mut self.ended) => Err(exited(id, &reason)),
            () = tokio::time::sleep(limit) => Err(timed_out(id, limit)),
        }
    }

    async fn exchange(
        &mut self,
        function: &Function,
        id: &str,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Result<Reply, End> {
        let timeout = Duration::from_secs(function.timeout_s);
        let (reply, answered) = oneshot::channel();
        let arn = function.arn.clone();
        let is_traced = function.is_traced();
        let job = Job { id: id.to_owned(), payload, arn, timeout, client_context, is_traced, reply };
        // The channel has room for one job, and there is never more: we own the process until it has answered.
        let _ = self.jobs.try_send(job);
        tokio::select! {
            biased;
            Ok(reply) = answered => Ok(reply),
            reason = ended(&mut self.ended) => Err(exited(id, &reason)),
            () = tokio::time::sleep(timeout) => Err(timed_out(id, timeout)),
        }
    }

    /// Ends the process and everything it started.
    pub(super) async fn end(self) {
        self.stop.cancel();
        let _ = self.keeper.await;
    }
}

/// Why a process gave no response.
struct End {
    /// The type of the error.
    kind: String,
    text: Text,
}

/// The error of a process that gave no response.
enum Text {
    /// As the process has reported it, and logged it.
    Reported(Bytes),
    /// As Lambda describes it.
    Observed(String),
}

/// The error of a process that could not be initialised: a managed runtime reports the one that callers get
/// (docs/aws.md §7.8).
fn init_error_of(function: &Function, error: Bytes) -> End {
    let kind = serde_json::from_slice::<serde_json::Value>(&error).ok();
    let kind = kind.and_then(|error| error["errorType"].as_str().map(str::to_owned));
    match kind.filter(|_| managed::language(&function.runtime).is_some()) {
        Some(kind) => End { kind, text: Text::Reported(error) },
        None => {
            let text = String::from_utf8_lossy(&error).into_owned();
            End { kind: "Runtime.InitError".to_owned(), text: Text::Observed(text) }
        }
    }
}

const TIMED_OUT: &str = "Sandbox.Timedout";

fn exited(id: &str, reason: &str) -> End {
    let text = format!("RequestId: {id} Error: Runtime exited with error: {reason}");
    End { kind: "Runtime.ExitError".to_owned(), text: Text::Observed(text) }
}

fn timed_out(id: &str, limit: Duration) -> End {
    let text = format!("RequestId: {id} Error: Task timed out after {:.2} seconds", limit.as_secs_f64());
    End { kind: TIMED_OUT.to_owned(), text: Text::Observed(text) }
}

async fn ended(end: &mut watch::Receiver<Option<String>>) -> String {
    let reason = end.wait_for(Option::is_some).await;
    reason.ok().and_then(|reason| reason.clone()).unwrap_or_else(|| KILLED.to_owned())
}

/// Lambda's message for a process that exceeded its memory or was stopped otherwise.
const KILLED: &str = "signal: killed";

/// Describes the end of a process in Lambda's wording, which is that of Go's `os.ProcessState`.
fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), process::ending_signal(status)) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => KILLED.to_owned(),
        (None, Some(6)) => "signal: aborted".to_owned(),
        (None, Some(11)) => "signal: segmentation fault".to_owned(),
        (None, Some(15)) => "signal: terminated".to_owned(),
        (None, signal) => format!("signal: signal {}", signal.unwrap_or_default()),
    }
}

/// Retries if the program is busy: when another thread forks, its child briefly holds the newly written file open.
async fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..50 {
        match command.spawn() {
            Err(fault) if fault.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            spawned => return spawned,
        }
    }
    command.spawn()
}

/// Waits for the process or ends it, and then ends the rest of its group.
async fn keep(
    mut child: Child,
    group: Option<u32>,
    record: Option<PathBuf>,
    end: watch::Sender<Option<String>>,
    site: Arc<Site>,
    stop: CancellationToken,
) {
    let reason = tokio::select! {
        status = child.wait() => status.map_or_else(|fault| fault.to_string(), how_it_ended),
        () = stop.cancelled() => KILLED.to_owned(),
    };
    end.send_replace(Some(reason));
    if let Some(group) = group {
        // Reap the child concurrently: as a zombie it would keep its group in existence.
        let _ = tokio::join!(process::end_group(group, PATIENCE), child.wait());
        site.warden.release(group);
    }
    if let Some(record) = record {
        let _ = std::fs::remove_file(record);
    }
}

fn records(dir: &Path) -> PathBuf {
    dir.join("processes")
}

fn remember(dir: &Path, pid: u32) -> PathBuf {
    let file = records(dir).join(format!("{pid}.json"));
    let known = Known { pid, started: process::started(pid).unwrap_or_default() };
    if let Err(fault) = store::write_json(&file, &known) {
        tracing::warn!(%fault, pid, "a function's process could not be written down");
    }
    file
}

/// Ends the processes of a server that crashed. A different process with the same PID is left alone.
pub(super) async fn end_orphans(dir: &Path) {
    let Ok(files) = std::fs::read_dir(records(dir)) else {
        return;
    };
    for file in files.flatten().map(|file| file.path()) {
        if let Ok(Some(Known { pid, started })) = store::read_json::<Known>(&file)
            && process::started(pid).is_some_and(|now| now == started)
            // If the directory is a copy, these are the processes of another server.
            && process::is_below(pid, dir) != Some(false)
        {
            process::end_group(pid, PATIENCE).await;
        }
        let _ = std::fs::remove_file(file);
    }
    // A server killed right after starting a process has no record of it.
    for group in process::groups_below(dir) {
        process::end_group(group, PATIENCE).await;
    }
}

/// A stream of a log group.
#[derive(Clone)]
struct Log {
    site: Arc<Site>,
    function: Arc<Function>,
    stream: String,
    /// The last lines, for `Invoke`, whether or not they may be written to the log group.
    last: Arc<Mutex<VecDeque<String>>>,
}

impl Log {
    fn new(site: &Arc<Site>, function: &Function, stream: &str) -> Log {
        Log {
            site: site.clone(),
            function: Arc::new(function.clone()),
            stream: stream.to_owned(),
            last: Arc::default(),
        }
    }

    fn write(&self, line: &str) {
        if self.site.may_log(&self.function, &self.stream) {
            self.site.logs.write(&self.function.log_group, &self.stream, line);
        }
        let mut last = self.last();
        if last.len() == TAIL {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    }

    fn tail(&self) -> String {
        self.last().iter().map(|line| format!("{line}\n")).collect()
    }

    fn last(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.last.lock()
    }
}

fn copy_lines(output: Option<impl AsyncRead + Unpin + Send + 'static>, log: Log) {
    let Some(output) = output else { return };
    tokio::spawn(async move {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            log.write(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            line.clear();
        }
    });
}

/// Returns a stream name in Lambda's format: `2026/01/31/[$LATEST]0123…`.
pub(super) fn log_stream() -> String {
    let format = format_description!("[year]/[month]/[day]");
    let day = OffsetDateTime::now_utc().format(format).expect("every date of today has these parts");
    format!("{day}/[$LATEST]{}", Uuid::new_v4().simple())
}

fn report(id: &str, function: &Function, spent: Duration, init: Option<Duration>, peak_mb: u64) -> String {
    let millis = spent.as_secs_f64() * 1000.0;
    let mut report = format!(
        "REPORT RequestId: {id}\tDuration: {millis:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {} MB\tMax Memory Used: {} MB",
        millis.ceil(),
        function.memory_mb,
        // Between two measurements more memory can be in use, which is impossible on AWS.
        peak_mb.min(function.memory_mb)
    );
    if let Some(init) = init {
        report += &format!("\tInit Duration: {:.2} ms", init.as_secs_f64() * 1000.0);
    }
    report
}

/// Returns the end of a report, for an invocation to which the process gave no response.
fn status(ended: Option<&str>) -> String {
    match ended {
        None => String::new(),
        Some(TIMED_OUT) => "\tStatus: timeout".to_owned(),
        Some(kind) => format!("\tStatus: error\tError Type: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::platform::CommandExt;

    fn sleeper(dir: &Path) -> std::process::Child {
        std::process::Command::new("sleep").arg("600").current_dir(dir).process_group(0).spawn().unwrap()
    }

    #[tokio::test]
    async fn processes_of_a_crashed_server_are_ended_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (mut orphan, mut other) = (sleeper(dir.path()), sleeper(dir.path()));
        let mut original = sleeper(elsewhere.path());
        remember(dir.path(), orphan.id());
        // As in a copy of the directory in which this process was started.
        remember(dir.path(), original.id());
        let file = remember(dir.path(), other.id());
        let reused = Known { pid: other.id(), started: "long ago".to_owned() };
        store::write_json(&file, &reused).unwrap();

        let reaped = tokio::task::spawn_blocking(move || orphan.wait().unwrap());
        end_orphans(dir.path()).await;
        assert!(!reaped.await.unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        assert_eq!(std::fs::read_dir(records(dir.path())).unwrap().count(), 0);
        assert!(original.try_wait().unwrap().is_none());
        for child in [&mut other, &mut original] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
