//! A running instance: its root directory, what cloud-init has made in it, and the processes of its units.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::Moment;
use super::commands::{below, perform};
use super::state::{Instance, InstanceState, Mishap};
use super::systemd::{Exit, Unit};
use super::{Compute, Objects, cloud_init, ec2, imds, ports};
use kit::process;
use kit::program;

/// Where a service listens unless its environment says otherwise.
const USUAL_PORT: u16 = 8080;

/// How many seconds it takes until a new instance runs (docs/aws.md §13).
const PENDING_S: u64 = 16;

/// The handle of a running instance.
#[derive(Clone, Default)]
pub struct Machine {
    stop: CancellationToken,
    /// The process of each unit that runs.
    processes: Arc<Mutex<BTreeMap<String, u32>>>,
    /// How well the limits of its type are kept, once a process has been given them.
    limits: Arc<Mutex<Option<String>>>,
}

impl Machine {
    /// Ends it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// The processes of its units, each the first of a group.
    pub fn processes(&self) -> Vec<u32> {
        self.processes.lock().expect("nothing panics while it holds the processes").values().copied().collect()
    }

    /// How well the limits of its type are kept, in words.
    pub fn limits(&self) -> Option<String> {
        self.limits.lock().expect("nothing panics while it holds the words").clone()
    }

    fn note_limits(&self, words: String) {
        *self.limits.lock().expect("nothing panics while it holds the words") = Some(words);
    }

    fn note(&self, unit: &str, pid: Option<u32>) {
        let mut processes = self.processes.lock().expect("nothing panics while it holds the processes");
        match pid {
            Some(pid) => drop(processes.insert(unit.to_owned(), pid)),
            None => drop(processes.remove(unit)),
        }
    }
}

/// What the units of an instance share.
struct Host {
    compute: Arc<Compute>,
    machine: Machine,
    id: String,
    profile: Option<String>,
    dir: PathBuf,
    root: PathBuf,
    kind: Option<ec2::Kind>,
    mishap: Option<Mishap>,
    /// What every process gets and no file can change.
    environment: BTreeMap<String, String>,
}

/// Runs an instance until it is stopped; when this returns, no process of it is left.
pub async fn run(compute: Arc<Compute>, id: String, machine: Machine) {
    let Some(instance) = compute.read(|state| state.instances.get(&id).cloned()) else {
        return;
    };
    let stop = machine.stop.clone();
    match start(&compute, &instance, &machine).await {
        Ok(host) => host.live(&instance).await,
        Err(error) => {
            tracing::error!(instance = id, "failed to start the instance: {error:#}");
            compute.change(|state, _| super::ec2::terminate(state, &id));
            stop.cancelled().await;
        }
    }
}

async fn start(compute: &Arc<Compute>, instance: &Instance, machine: &Machine) -> anyhow::Result<Arc<Host>> {
    let dir = compute.site.instance_dir(&instance.id);
    let root = dir.join("root");
    std::fs::create_dir_all(&root)?;
    let port = match instance.port.filter(|port| ports::is_free(*port)) {
        Some(port) => port,
        None => ports::free()?,
    };
    let metadata = imds::serve(compute.clone(), instance.clone(), machine.stop.clone()).await?;
    let environment = [
        ("PATH", std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned())),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
        ("AWS_ENDPOINT_URL", compute.endpoint.clone()),
        ("AWS_REGION", compute.site.region.clone()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{metadata}")),
    ];
    if instance.state == InstanceState::Pending {
        machine.stop.run_until_cancelled(sleep(compute.site.speed.takes(PENDING_S))).await;
    }
    compute.change(|state, _| {
        if let Some(one) = state.instances.get_mut(&instance.id).filter(|one| one.is_alive()) {
            (one.state, one.port) = (InstanceState::Running, Some(port));
        }
    });
    compute.wake.notify_one();
    Ok(Arc::new(Host {
        compute: compute.clone(),
        machine: machine.clone(),
        id: instance.id.clone(),
        profile: instance.profile.clone(),
        dir,
        root,
        kind: ec2::find_type(&instance.kind),
        mishap: instance.mishap,
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }))
}

/// What the instance's own tools read, they read with its role.
#[async_trait]
impl Objects for Host {
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        let Some(profile) = &self.profile else {
            return Err("Unable to locate credentials".to_owned());
        };
        let roles = &self.compute.roles;
        let role = roles.role_of_profile(profile).await.ok_or("Unable to locate credentials")?;
        roles.may_read(&role, &self.id, bucket, key).await?;
        self.compute.objects.get(bucket, key).await
    }
}

impl Host {
    async fn live(self: Arc<Host>, instance: &Instance) {
        let mut units = JoinSet::new();
        for unit in self.boot(instance).await {
            let host = self.clone();
            units.spawn(async move { host.supervise(&unit).await });
        }
        self.machine.stop.cancelled().await;
        units.join_all().await;
        self.log("systemd: powering off");
    }

    /// cloud-init works once in the life of an instance; afterwards its enabled units start.
    async fn boot(&self, instance: &Instance) -> Vec<String> {
        let mark = self.root.join("var/lib/cloud/instance/boot-finished");
        if mark.exists() {
            self.log("cloud-init: has run before");
            return cloud_init::enabled_units(&self.root);
        }
        self.log(&format!("cloud-init: {} starts in {}", instance.id, instance.zone));
        if self.mishap == Some(Mishap::BootFail) {
            self.log("cloud-init: ERROR: Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts): no route to what it downloads");
            self.log("cloud-init: finished with errors; no service was started");
            return Vec::new();
        }
        let units = cloud_init::run(&self.root, self, &instance.user_data, |line| self.log(line)).await;
        let marked = mark.parent().map(std::fs::create_dir_all).transpose().and_then(|_| std::fs::write(&mark, ""));
        if let Err(error) = marked {
            self.log(&format!("cloud-init: ERROR: {error}"));
        }
        units
    }

    /// Adds a line to the console.
    fn log(&self, line: &str) {
        let written = self.console().and_then(|mut console| writeln!(console, "{} {line}", Moment::now()));
        if let Err(error) = written {
            tracing::warn!(instance = self.id, "failed to write to the console: {error}");
        }
    }

    fn console(&self) -> std::io::Result<File> {
        File::options().create(true).append(true).open(self.dir.join("console.log"))
    }

    /// Runs a unit, again and again if its file says so.
    async fn supervise(&self, name: &str) {
        let unit = match cloud_init::unit_file(&self.root, name).and_then(|text| Unit::parse(&text)) {
            Ok(unit) => unit,
            Err(why) => return self.log(&format!("systemd: {name}: {why}")),
        };
        for key in &unit.ignored {
            self.log(&format!("systemd: {name}: Unknown key '{key}', ignoring."));
        }
        let mut starts: Vec<Instant> = Vec::new();
        for restarts in 1_u64.. {
            let (most, interval) = unit.start_limit;
            starts.retain(|start| start.elapsed() < interval);
            if starts.len() as u64 >= u64::from(most) && !interval.is_zero() {
                self.log(&format!("systemd: {name}: Start request repeated too quickly."));
                return self.log(&format!("systemd: {name}: Failed with result 'start-limit-hit'."));
            }
            starts.push(Instant::now());
            let ended = self.run_once(name, &unit).await;
            let Some(exit) = ended.filter(|_| !self.machine.stop.is_cancelled()) else {
                return;
            };
            self.log(&format!("systemd: {name}: Main process exited, {}", spoken(exit)));
            if let Some(result) = exit.result() {
                self.log(&format!("systemd: {name}: Failed with result '{result}'."));
            }
            if !unit.restart.after(exit) {
                return;
            }
            tokio::select! {
                () = self.machine.stop.cancelled() => return,
                () = sleep(unit.restart_pause) => (),
            }
            self.log(&format!("systemd: {name}: Scheduled restart job, restart counter is at {restarts}."));
        }
    }

    /// Starts a unit and waits for its end. No answer means that it was ended by us.
    async fn run_once(&self, name: &str, unit: &Unit) -> Option<Exit> {
        let environment = match unit.whole_environment(&self.root) {
            Ok(environment) => environment,
            Err(why) => {
                self.log(&format!("systemd: {name}: {why}"));
                return Some(Exit::Code(1));
            }
        };
        let port = self.declare_port(&environment);
        let visible = self.visible_to_processes(&environment);
        for command in &unit.before {
            let words = command.expanded(&visible);
            let done = tokio::select! {
                done = perform(&self.root, self, &words) => done,
                () = self.machine.stop.cancelled() => return None,
            };
            if let Err(why) = done {
                self.log(&format!("systemd: {name}: {why}"));
                if !command.may_fail {
                    return Some(Exit::Code(1));
                }
            }
        }
        if !unit.user.may_bind(port) {
            // On AWS the program would ask for this very port; here it gets another one, which needs no privileges.
            self.log(&format!(
                "{}: cannot listen on port {port}: Permission denied (os error 13)",
                unit.main.words.first().map(String::as_str).unwrap_or_default()
            ));
            self.log(&format!(
                "local AWS: {name} does not run as root: a port below 1024 needs AmbientCapabilities=CAP_NET_BIND_SERVICE"
            ));
            return Some(Exit::Code(1));
        }
        let child = match self.spawn(unit, &visible).await {
            Ok(child) => child,
            Err(why) => {
                self.log(&format!("systemd: {name}: Failed at step EXEC spawning {why}"));
                return Some(Exit::Code(203));
            }
        };
        self.attend(name, unit, child).await
    }

    /// Remembers where on AWS the service would listen: only there does the load balancer find it.
    fn declare_port(&self, environment: &BTreeMap<String, String>) -> u16 {
        let port = environment.get("PORT").and_then(|port| port.parse().ok()).unwrap_or(USUAL_PORT);
        self.compute.change(|state, _| {
            if let Some(one) = state.instances.get_mut(&self.id) {
                one.declared_port = Some(port);
            }
        });
        port
    }

    /// The unit's environment under what the machine decides, and nothing of the host's but PATH.
    fn visible_to_processes(&self, environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut visible = environment.clone();
        visible.extend(self.environment.clone());
        visible.insert("INVOCATION_ID".to_owned(), Uuid::new_v4().simple().to_string());
        visible
    }

    async fn spawn(&self, unit: &Unit, environment: &BTreeMap<String, String>) -> Result<Child, String> {
        let words = unit.main.expanded(environment);
        let (program, arguments) = words.split_first().ok_or("the command is empty")?;
        let directory = below(&self.root, unit.working_directory.as_deref().unwrap_or("/"))?;
        let path = below(&self.root, program)?;
        self.check_format(program, &path)?;
        for attempt in 0.. {
            let console = self.console().map_err(|error| error.to_string())?;
            let errors = console.try_clone().map_err(|error| error.to_string())?;
            let spawned = Command::new(&path)
                .args(arguments)
                .env_clear()
                .envs(environment)
                .current_dir(&directory)
                .stdin(Stdio::null())
                .stdout(console)
                .stderr(errors)
                .process_group(0)
                .kill_on_drop(true)
                .spawn();
            match spawned {
                // Another thread of ours was forking while the program was written; that passes at once.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && attempt < 50 => {
                    sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(format!("{program}: {error}")),
                Ok(child) => return Ok(child),
            }
        }
        unreachable!("the loop above only ends by returning")
    }

    /// Whether an instance of this type runs a program, whatever this machine does.
    fn check_format(&self, program: &str, path: &Path) -> Result<(), String> {
        let Some(kind) = self.kind else { return Ok(()) };
        let architecture = kind.architecture();
        program::check(path, architecture).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{program}: No such file or directory"),
            _ if error.raw_os_error().is_some() => format!("{program}: {error} ({} is {architecture})", kind.name()),
            _ => format!("{program}: {error}"),
        })
    }

    /// Gives a process the memory and the processors that the instance's type has, and no more.
    fn limit(&self, pid: u32) {
        let Some(kind) = self.kind else { return };
        let kept = process::limit(pid, kind.memory_mib(), kind.processors());
        self.machine.note_limits(kept.unwrap_or_else(|why| format!("not kept: {why}")));
    }

    /// Waits for a process to end, or ends it. Nothing of its group survives.
    async fn attend(&self, name: &str, unit: &Unit, mut child: Child) -> Option<Exit> {
        let Some(pid) = child.id() else {
            return Some(Exit::Code(1));
        };
        self.compute.warden.watch(pid);
        self.machine.note(name, Some(pid));
        self.limit(pid);
        if self.mishap == Some(Mishap::CrashLoop) {
            process::kill_group(pid);
        }
        let record = Record::write(&self.dir, name, pid);
        let exit = tokio::select! {
            status = child.wait() => status.ok().map(exit_of),
            () = self.machine.stop.cancelled() => {
                process::ask_group(pid);
                // What ignores the signal is killed below.
                drop(timeout(unit.stop_patience, child.wait()).await);
                None
            }
        };
        process::end_group(pid, Duration::from_millis(200)).await;
        drop(child.wait().await);
        self.compute.warden.release(pid);
        self.machine.note(name, None);
        if let Ok(record) = record {
            drop(std::fs::remove_file(record));
        }
        exit
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

fn spoken(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code=exited, status={code}/{}", code_name(code)),
        Exit::Signal(signal) => format!("code=killed, status={signal}/{}", signal_name(signal)),
    }
}

/// What systemd calls an exit code.
fn code_name(code: i32) -> &'static str {
    match code {
        0 => "SUCCESS",
        1 => "FAILURE",
        203 => "EXEC",
        _ => "n/a",
    }
}

/// What a signal is called.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        15 => "TERM",
        _ => "n/a",
    }
}

/// A process as it is found again after a crash of ours: by its id and its start.
#[derive(Serialize, Deserialize)]
struct Record {
    pid: u32,
    started: String,
}

impl Record {
    fn write(dir: &Path, unit: &str, pid: u32) -> anyhow::Result<PathBuf> {
        let started = process::started(pid).unwrap_or_default();
        let file = dir.join("processes").join(format!("{unit}.json"));
        std::fs::create_dir_all(dir.join("processes"))?;
        std::fs::write(&file, serde_json::to_vec(&Record { pid, started })?)?;
        Ok(file)
    }
}

/// Ends what a server that crashed has left running of an instance.
pub async fn reap_leftovers(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("processes")).into_iter().flatten().flatten() {
        let record: Option<Record> =
            kit::store::read(&entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(record) = record
            && process::started(record.pid).is_some_and(|started| started == record.started)
            // In a copy of a directory these are the processes of another server.
            && process::is_below(record.pid, dir) != Some(false)
        {
            process::end_group(record.pid, Duration::from_secs(2)).await;
        }
        drop(std::fs::remove_file(entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    #[tokio::test]
    async fn processes_left_by_a_crash_are_ended_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let sleeper = || {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").current_dir(dir.path()).process_group(0).spawn().unwrap()
        };
        let (mut ours, mut another) = (sleeper(), sleeper());
        Record::write(dir.path(), "web.service", ours.id()).unwrap();
        let stale = Record { pid: another.id(), started: "at another time".to_owned() };
        std::fs::write(dir.path().join("processes/old.service.json"), serde_json::to_vec(&stale).unwrap()).unwrap();
        // The child of a test is a zombie until it is waited for.
        let waiter = std::thread::spawn(move || ours.wait().unwrap());
        reap_leftovers(dir.path()).await;
        assert_eq!(waiter.join().unwrap().signal(), Some(15));
        assert_eq!(another.try_wait().unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path().join("processes")).unwrap().count(), 0);
        another.kill().unwrap();
        another.wait().unwrap();
    }
}
