//! Runs the units of an instance, as systemd does.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use kit::{process, program};

use super::Host;
use super::record::Record;
use crate::cloud_init;
use crate::commands::{self, Done, below};
use crate::shell::Nest;
use crate::state::InstanceFault;
use crate::systemd::{Exit, Output, UNPRIVILEGED, Unit};

/// The port of a service whose environment does not set one.
const USUAL_PORT: u16 = 8080;

/// journald splits longer lines (`LineMax=`).
const LONGEST_LINE: usize = 48 << 10;

/// Returns whether a program is one of the instance's own files, and not of the system, whose commands are implemented
/// here.
fn is_own(program: &str) -> bool {
    program.starts_with("/opt/")
}

/// Returns the name of a process in the journal.
fn process_name(program: &str, pid: u32) -> String {
    format!("{}[{pid}]", program.rsplit('/').next().unwrap_or(program))
}

/// Returns the `ActiveState` and `SubState` of a unit that has exited for good.
fn state_after(exit: Exit) -> (&'static str, &'static str) {
    match exit.result() {
        Some(_) => ("failed", "failed"),
        None => ("inactive", "dead"),
    }
}

/// The end of a run of a unit.
enum Ended {
    /// The instance is stopping.
    Stopped,
    /// Its environment file cannot be read.
    Unloaded,
    /// An `ExecStartPre=` failed.
    Control(Exit),
    /// The program exited.
    Main(Exit),
}

impl Ended {
    fn exit(&self) -> Option<Exit> {
        match self {
            Ended::Stopped => None,
            Ended::Unloaded => Some(Exit::Code(1)),
            Ended::Control(exit) | Ended::Main(exit) => Some(*exit),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Stopped => write!(f, "Stopped."),
            Ended::Unloaded => write!(f, "Failed to run 'start' task: No such file or directory"),
            Ended::Control(exit) => write!(f, "Control process exited, {exit}"),
            Ended::Main(exit) => write!(f, "Main process exited, {exit}"),
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), process::ending_signal(status)) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

impl Host {
    /// Runs a unit, and restarts it as its unit file configures.
    pub(super) async fn supervise(self: Arc<Host>, name: &str) {
        let unit = match cloud_init::unit_file(&self.root, name).and_then(|text| Unit::parse(&text)) {
            Ok(unit) => unit,
            Err(why) => return self.log_unit(name, why),
        };
        for key in &unit.ignored {
            self.log_unit(name, format!("Unknown key '{key}', ignoring."));
        }
        tokio::select! {
            () = self.machine.follow(&unit.follows) => (),
            () = self.machine.stop.cancelled() => return,
        }
        let mut starts: Vec<Instant> = Vec::new();
        for restarts in 1_u64.. {
            let (most, interval) = unit.start_limit;
            starts.retain(|start| start.elapsed() < interval);
            if starts.len() as u64 >= u64::from(most) && !interval.is_zero() {
                self.log_unit(name, "Start request repeated too quickly.");
                self.machine.note_unit(name, "failed", "failed");
                return self.log_unit(name, "Failed with result 'start-limit-hit'.");
            }
            starts.push(Instant::now());
            self.machine.note_unit(name, "activating", "start-pre");
            let ended = self.run_once(name, &unit).await;
            self.machine.note_start(name);
            if !matches!(ended, Ended::Stopped) {
                self.log_unit(name, &ended);
            }
            if self.machine.stop.is_cancelled() {
                // Units are stopped in the reverse order of their start (man systemd.unit, "Before").
                drop(timeout(unit.stop_patience, self.machine.outlive(&unit.outlived)).await);
            }
            self.machine.note_unit(name, "deactivating", "stop-post");
            self.run_stop_post(name, &unit, &ended).await;
            unit.remove_runtime_directories(&self.root);
            let Some(exit) = ended.exit().filter(|_| !self.machine.stop.is_cancelled()) else {
                return;
            };
            if let Some(result) = exit.result() {
                self.log_unit(name, format!("Failed with result '{result}'."));
            }
            if !unit.restart.after(exit) {
                let (active, sub) = state_after(exit);
                return self.machine.note_unit(name, active, sub);
            }
            self.machine.note_unit(name, "activating", "auto-restart");
            tokio::select! {
                () = self.machine.stop.cancelled() => return,
                () = sleep(unit.restart_pause) => (),
            }
            self.machine.note_restart(name);
            self.log_unit(name, format!("Scheduled restart job, restart counter is at {restarts}."));
        }
    }

    /// Runs `ExecStopPost=` after an exit.
    async fn run_stop_post(&self, name: &str, unit: &Unit, ended: &Ended) {
        if unit.after.is_empty() || self.compute.stop.is_cancelled() {
            return;
        }
        let environment = unit.whole_environment(&self.root).unwrap_or_default();
        let mut visible = self.visible_to_processes(&environment);
        let result = ended.exit().and_then(Exit::result).unwrap_or("success");
        visible.insert("SERVICE_RESULT".to_owned(), result.to_owned());
        if let Some(exit) = ended.exit() {
            let (code, status) = exit.code_and_status();
            visible.extend([("EXIT_CODE".to_owned(), code.to_owned()), ("EXIT_STATUS".to_owned(), status)]);
        }
        for command in &unit.after {
            let words = command.expanded(&visible);
            let Ok(done) = timeout(unit.stop_patience, self.tool(name, unit, &words, &visible, Nest::limited())).await
            else {
                return self.log_unit(name, "State 'stop-post' timed out. Terminating.");
            };
            if done != 0 && !command.may_fail {
                return;
            }
        }
    }

    /// Runs a command that is implemented here, prints its output as the unit's, and returns its exit code.
    async fn tool(
        &self,
        name: &str,
        unit: &Unit,
        words: &[String],
        environment: &BTreeMap<String, String>,
        nest: Nest,
    ) -> i32 {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let process = format!("{}[0]", words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default());
        let say = |output: &[u8], errors: &str| {
            let output = String::from_utf8_lossy(output);
            for (to, text) in [(unit.output, &*output), (unit.errors.unwrap_or(unit.output), errors)] {
                // journald ignores empty lines.
                let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
                if !lines.is_empty() {
                    self.print(name, to, &process, &lines);
                }
            }
        };
        let Done { status, output, errors } = match words.split_first() {
            Some((&"/usr/bin/bash" | &"/bin/bash", arguments)) => {
                commands::bash(&self.root, self, arguments, environment, nest, Some(&say)).await
            }
            _ => commands::run_tool(&self.root, self, &words, Vec::new(), &nest).await,
        };
        say(&output, &errors);
        status
    }

    /// Starts a unit and waits for its exit.
    async fn run_once(self: &Arc<Host>, name: &str, unit: &Unit) -> Ended {
        let load = || unit.whole_environment(&self.root).map_err(|why| self.log_unit(name, why));
        if let Err(why) = unit.make_runtime_directories(&self.root) {
            self.log_unit(name, why);
            return Ended::Unloaded;
        }
        let Ok(environment) = load() else { return Ended::Unloaded };
        let program = unit.main.words.first().map(String::as_str).unwrap_or_default();
        let is_tool = commands::is_tool(program);
        let port = if is_tool { UNPRIVILEGED } else { self.declare_port(&environment) };
        for command in &unit.before {
            // Environment files are read before each process: a command before may have written one (systemd.exec(5)).
            let Ok(environment) = load() else { return Ended::Unloaded };
            let visible = self.visible_to_processes(&environment);
            let words = command.expanded(&visible);
            let Some(exit) = self.run_before(name, unit, &words, &visible).await else { return Ended::Stopped };
            if exit != Exit::Code(0) && !command.may_fail {
                return Ended::Control(exit);
            }
        }
        let Ok(environment) = load() else { return Ended::Unloaded };
        let visible = self.visible_to_processes(&environment);
        if is_tool {
            self.machine.note_unit(name, "active", "running");
            self.machine.note_start(name);
            let words = unit.main.expanded(&visible);
            return tokio::select! {
                status = self.tool(name, unit, &words, &visible, Nest::ENDLESS) => Ended::Main(Exit::Code(status)),
                () = self.machine.stop.cancelled() => Ended::Stopped,
            };
        }
        if !unit.user.may_bind(port) {
            // On AWS the program would bind this very port. Here it gets another one, which needs no privileges.
            let denied = format!("{program}: cannot listen on port {port}: Permission denied (os error 13)");
            let hint = format!(
                "local AWS: {name} does not run as root: a port below 1024 needs AmbientCapabilities=CAP_NET_BIND_SERVICE"
            );
            self.print(name, unit.errors.unwrap_or(unit.output), &process_name(program, 0), &[&denied, &hint]);
            return Ended::Main(Exit::Code(1));
        }
        let child = match self.spawn(unit, &unit.main.expanded(&visible), &visible).await {
            Ok(child) => child,
            Err(why) => {
                self.log_unit(name, format!("Failed at step EXEC spawning {why}"));
                return Ended::Main(Exit::Code(203));
            }
        };
        self.machine.note_unit(name, "active", "running");
        self.machine.note_start(name);
        if self.mishap == Some(InstanceFault::CrashLoop)
            && let Some(pid) = child.id()
        {
            process::kill_group(pid);
        }
        match self.attend(name, unit, program, child).await {
            Some(exit) => Ended::Main(exit),
            None => Ended::Stopped,
        }
    }

    /// Runs a command of `ExecStartPre=`: one that is implemented here, or else a program of the instance. Returns its
    /// exit, or `None` if the instance stopped.
    async fn run_before(
        self: &Arc<Host>,
        name: &str,
        unit: &Unit,
        words: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Option<Exit> {
        let program = words.first().map(String::as_str).unwrap_or_default();
        if !is_own(program) {
            return tokio::select! {
                status = self.tool(name, unit, words, environment, Nest::limited()) => Some(Exit::Code(status)),
                () = self.machine.stop.cancelled() => None,
            };
        }
        match self.spawn(unit, words, environment).await {
            Ok(child) => self.attend(name, unit, program, child).await,
            Err(why) => {
                self.log_unit(name, format!("Failed at step EXEC spawning {why}"));
                Some(Exit::Code(203))
            }
        }
    }

    /// Records the port on which the service would listen on AWS: the load balancer finds it only there.
    fn declare_port(&self, environment: &BTreeMap<String, String>) -> u16 {
        let port = environment.get("PORT").and_then(|port| port.parse().ok()).unwrap_or(USUAL_PORT);
        self.compute.change(|state, _| {
            if let Some(one) = state.instances.get_mut(&self.id) {
                one.declared_port = Some(port);
            }
        });
        port
    }

    /// Returns the unit's environment, overridden by the machine's. Of the host's environment, only `PATH` is visible.
    fn visible_to_processes(&self, environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut visible = environment.clone();
        visible.extend(self.environment.clone());
        visible.insert("INVOCATION_ID".to_owned(), Uuid::new_v4().simple().to_string());
        visible
    }

    async fn spawn(
        &self,
        unit: &Unit,
        words: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<Child, String> {
        let (program, arguments) = words.split_first().ok_or("the command is empty")?;
        let directory = below(&self.root, unit.working_directory.as_deref().unwrap_or("/"))?;
        let path = below(&self.root, program)?;
        self.check_format(program, &path)?;
        for attempt in 0.. {
            let spawned = Command::new(&path)
                .args(arguments)
                .env_clear()
                .envs(environment)
                .current_dir(&directory)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .kill_on_drop(true)
                .spawn();
            match spawned {
                // Another thread of this process forked while the program was being written, so the file is still open.
                // That passes.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && attempt < 50 => {
                    sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(format!("{program}: {error}")),
                Ok(child) => return Ok(child),
            }
        }
        unreachable!("the loop above only ends by returning")
    }

    /// Checks that an instance of this type can run a program, whatever the architecture of this machine.
    fn check_format(&self, program: &str, path: &Path) -> Result<(), String> {
        let Some(kind) = self.kind else { return Ok(()) };
        let architecture = kind.architecture();
        program::check(path, architecture).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{program}: No such file or directory"),
            _ if error.raw_os_error().is_some() => format!("{program}: {error} ({} is {architecture})", kind.name()),
            _ => format!("{program}: {error}"),
        })
    }

    /// Prints the output of a process line by line.
    async fn forward(self: Arc<Host>, unit: String, output: Output, process: String, mut from: impl AsyncRead + Unpin) {
        let (mut held, mut chunk) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            let read = from.read(&mut chunk).await.unwrap_or_default();
            held.extend_from_slice(&chunk[..read]);
            let end = match (read, held.iter().rposition(|byte| *byte == b'\n')) {
                (0, _) => held.len(),
                (_, Some(at)) => at + 1,
                (_, None) if held.len() >= LONGEST_LINE => held.len(),
                (_, None) => 0,
            };
            let text = String::from_utf8_lossy(&held[..end]).into_owned();
            // journald ignores empty lines.
            let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
            if !lines.is_empty() {
                self.print(&unit, output, &process, &lines);
            }
            held.drain(..end);
            if read == 0 {
                return;
            }
        }
    }

    /// Limits a process to the memory and processors of the instance's type.
    fn limit(&self, pid: u32) {
        let Some(kind) = self.kind else { return };
        let kept = process::limit(pid, kind.memory_mib(), kind.processors());
        self.machine.note_limits(kept.unwrap_or_else(|why| format!("not kept: {why}")));
    }

    /// Waits for a process to exit, or ends it when the instance stops. No process of its group survives. Returns the
    /// exit, or `None` if the instance stopped.
    async fn attend(self: &Arc<Host>, name: &str, unit: &Unit, program: &str, mut child: Child) -> Option<Exit> {
        let Some(pid) = child.id() else {
            return Some(Exit::Code(1));
        };
        self.compute.warden.watch(pid);
        self.machine.note(name, Some(pid));
        self.limit(pid);
        let process = process_name(program, pid);
        let mut outputs = JoinSet::new();
        if let Some(output) = child.stdout.take() {
            outputs.spawn(self.clone().forward(name.to_owned(), unit.output, process.clone(), output));
        }
        if let Some(errors) = child.stderr.take() {
            outputs.spawn(self.clone().forward(name.to_owned(), unit.errors.unwrap_or(unit.output), process, errors));
        }
        let record = Record::write(&self.dir, name, pid);
        let exit = tokio::select! {
            status = child.wait() => status.ok().map(exit_of),
            () = self.machine.stop.cancelled() => {
                process::ask_group(pid);
                // A process that ignores the signal is killed below.
                drop(timeout(unit.stop_patience, child.wait()).await);
                None
            }
        };
        process::end_group(pid, Duration::from_millis(200)).await;
        drop(child.wait().await);
        // The process's output must precede the message about its exit. A process that left the group may still hold
        // the pipe.
        drop(timeout(Duration::from_secs(1), async { while outputs.join_next().await.is_some() {} }).await);
        self.compute.warden.release(pid);
        self.machine.note(name, None);
        if let Ok(record) = record {
            drop(std::fs::remove_file(record));
        }
        exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_has_failed_is_not_merely_dead() {
        for (exit, expected) in [
            (Exit::Code(0), ("inactive", "dead")),
            (Exit::Code(1), ("failed", "failed")),
            (Exit::Signal(9), ("failed", "failed")),
        ] {
            assert_eq!(state_after(exit), expected, "{exit}");
        }
    }
}
