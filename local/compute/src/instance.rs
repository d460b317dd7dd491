//! A running instance: its root directory, the files that cloud-init has written to it, and the processes of its units.

use kit::platform::ExitStatusExt;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::Moment;
use super::commands::{self, Done, NoAnswer, Tools, below};
use super::shell::Nest;
use super::state::{Instance, InstanceState, Mishap};
use super::systemd::{Exit, Output, UNPRIVILEGED, Unit};
use super::{Compute, Objects, Right, cloud_init, ec2, imds, ports};
use chaos::Kind as ChaosKind;
use kit::process;
use kit::program;

/// The port of a service whose environment does not set one.
const USUAL_PORT: u16 = 8080;

/// The file with the console output of an instance.
pub(super) const CONSOLE: &str = "console.log";

/// The file with the part of it that EC2 returns without `Latest`.
pub(super) const POSTED_CONSOLE: &str = "console.posted.log";

/// journald splits longer lines (`LineMax=`).
const LONGEST_LINE: usize = 48 << 10;

/// The maximum size in bytes of the journal of a unit, and of the console: the older half of it is removed then.
const LONGEST_JOURNAL: u64 = 8 << 20;

/// How many seconds a new instance stays pending, before scaling by the speed (docs/aws.md §13).
const PENDING_S: u64 = 16;

/// The handle of a running instance.
#[derive(Clone, Default)]
pub struct Machine {
    stop: CancellationToken,
    /// The process id of each running unit.
    processes: Arc<Mutex<BTreeMap<String, u32>>>,
    /// How the limits of its type are enforced, once a process has been limited.
    limits: Arc<Mutex<Option<String>>>,
    /// The state of each unit.
    units: Arc<Mutex<BTreeMap<String, UnitState>>>,
    /// The units that have been started and have not ended.
    running: Arc<watch::Sender<BTreeSet<String>>>,
}

/// The state of a unit, as `systemctl show` prints it.
#[derive(Debug, Clone, Default)]
struct UnitState {
    active: &'static str,
    sub: &'static str,
    restarts: u64,
}

impl Machine {
    /// Stops the instance.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns the process ids of its units; each process leads a process group.
    pub fn processes(&self) -> Vec<u32> {
        self.processes.lock().expect("nothing panics while it holds the processes").values().copied().collect()
    }

    /// Returns a description of how the limits of its type are enforced.
    pub fn limits(&self) -> Option<String> {
        self.limits.lock().expect("nothing panics while it holds the words").clone()
    }

    fn note_unit(&self, unit: &str, active: &'static str, sub: &'static str) {
        let mut units = self.units.lock().expect("nothing panics while it holds the units");
        let state = units.entry(unit.to_owned()).or_default();
        (state.active, state.sub) = (active, sub);
    }

    fn note_restart(&self, unit: &str) {
        let mut units = self.units.lock().expect("nothing panics while it holds the units");
        units.entry(unit.to_owned()).or_default().restarts += 1;
    }

    fn note_running(&self, unit: &str, is_running: bool) {
        self.running.send_modify(|units| {
            if is_running {
                units.insert(unit.to_owned())
            } else {
                units.remove(unit)
            };
        });
    }

    /// Waits until these units have ended.
    async fn outlive(&self, others: &[String]) {
        let mut running = self.running.subscribe();
        // The sender lives as long as the machine.
        drop(running.wait_for(|units| !others.iter().any(|other| units.contains(other))).await);
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

/// The state that the units of an instance share.
struct Host {
    compute: Arc<Compute>,
    machine: Machine,
    id: String,
    /// The host name in the journal.
    host: String,
    profile: Option<String>,
    dir: PathBuf,
    root: PathBuf,
    kind: Option<ec2::Kind>,
    mishap: Option<Mishap>,
    /// Held while output is written or read.
    prints: Mutex<()>,
    /// Variables of every process, which override those of units and environment files.
    environment: BTreeMap<String, String>,
}

/// Runs an instance until it is stopped. When this returns, none of its processes is left.
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
        host: format!("ip-{}", instance.address.replace('.', "-")),
        profile: instance.profile.clone(),
        dir,
        root,
        kind: ec2::find_type(&instance.kind),
        mishap: instance.mishap,
        prints: Mutex::new(()),
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }))
}

impl Host {
    /// Refuses a connection to an endpoint of AWS from an instance that has no public address, or no route to the
    /// internet.
    fn reach(&self, service: &str) -> Result<(), String> {
        let site = &self.compute.site;
        let is_reachable = self.compute.read(|state| {
            let Some(one) = state.instances.get(&self.id) else { return false };
            let subnet = ec2::subnet(state, site, &one.subnet);
            one.settings.has_public_address && subnet.is_some_and(|subnet| ec2::is_public(state, site, &subnet))
        });
        let host = format!("{service}.{}.amazonaws.com", site.region);
        is_reachable.then_some(()).ok_or_else(|| format!("Connect timeout on endpoint URL: \"https://{host}/\""))
    }
}

/// The instance's own tools access objects with the permissions of its role.
#[async_trait]
impl Objects for Host {
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        let Some(profile) = &self.profile else {
            return Err("Unable to locate credentials".to_owned());
        };
        self.reach("s3")?;
        self.check(profile, Right::Read, bucket, key).await?;
        let got = self.compute.objects.get(bucket, key).await;
        // Without permission to list the bucket, a missing object is a 403 (docs/aws.md §8.5).
        match got {
            Err(why) if why.starts_with("NoSuchKey") && self.check(profile, Right::List, bucket, "").await.is_err() => {
                Err("An error occurred (403) when calling the HeadObject operation: Forbidden".to_owned())
            }
            got => got,
        }
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String> {
        let Some(profile) = &self.profile else {
            return Err("Unable to locate credentials".to_owned());
        };
        self.reach("s3")?;
        self.check(profile, Right::Write, bucket, key).await?;
        self.compute.objects.put(bucket, key, bytes).await
    }
}

#[async_trait]
impl Tools for Host {
    fn journal(&self, unit: &str, from: u64) -> (u64, String) {
        let _printing = self.prints.lock().expect("nothing panics while it prints");
        read_from(&self.journal_of(unit), from)
    }

    async fn log(&self, region: Option<&str>, operation: &str, input: Value) -> Result<Value, String> {
        let Some(profile) = &self.profile else {
            return Err(
                "Unable to locate credentials. You can configure credentials by running \"aws configure\".".into()
            );
        };
        self.reach("logs")?;
        if let Some(other) = region.filter(|region| *region != self.compute.site.region) {
            return Err(format!("Could not connect to the endpoint URL: \"https://logs.{other}.amazonaws.com/\""));
        }
        let right = if operation == "CreateLogStream" { Right::MakeStream } else { Right::PutEvents };
        let name = |name: &str| input[name].as_str().unwrap_or_default();
        let refused = |code: &str, message: &str| {
            format!("An error occurred ({code}) when calling the {operation} operation: {message}")
        };
        if let Err(denial) = self.check(profile, right, name("logGroupName"), name("logStreamName")).await {
            let denial = denial.strip_prefix("AccessDenied: ").unwrap_or(&denial);
            return Err(refused("AccessDeniedException", denial));
        }
        self.compute.logs.call(operation, &input).map_err(|(code, message)| refused(&code, &message))
    }

    async fn value(&self, region: Option<&str>, operation: &str, input: Value) -> Result<Value, String> {
        let Some(profile) = &self.profile else {
            return Err(
                "Unable to locate credentials. You can configure credentials by running \"aws configure\".".into()
            );
        };
        let (service, right, id) = match operation {
            "GetSecretValue" => ("secretsmanager", Right::ReadSecret, &input["SecretId"]),
            _ => ("ssm", Right::ReadParameter, &input["Name"]),
        };
        if let Some(other) = region.filter(|region| *region != self.compute.site.region) {
            return Err(format!("Could not connect to the endpoint URL: \"https://{service}.{other}.amazonaws.com/\""));
        }
        let refused = |code: &str, message: &str| {
            format!("An error occurred ({code}) when calling the {operation} operation: {message}")
        };
        if let Err(denial) = self.check(profile, right, "", id.as_str().unwrap_or_default()).await {
            let denial = denial.strip_prefix("AccessDenied: ").unwrap_or(&denial);
            return Err(refused("AccessDeniedException", denial));
        }
        self.compute.values.call(operation, &input).map_err(|(code, message)| refused(&code, &message))
    }

    async fn pause(&self, seconds: u64) {
        sleep(self.compute.site.speed.lasts(seconds)).await;
    }

    fn properties(&self, unit: &str) -> Vec<(&'static str, String)> {
        let units = self.machine.units.lock().expect("nothing panics while it holds the units");
        let state = units.get(unit).cloned().unwrap_or(UnitState { active: "inactive", sub: "dead", restarts: 0 });
        vec![
            ("NRestarts", state.restarts.to_string()),
            ("ActiveState", state.active.to_owned()),
            ("SubState", state.sub.to_owned()),
        ]
    }

    async fn answer(&self, port: u16, most: Option<Duration>) -> Result<u16, NoAnswer> {
        let place = self.compute.read(|state| {
            let one = state.instances.get(&self.id)?;
            one.port.filter(|_| one.declared_port == Some(port))
        });
        let answer = first_answer(place.ok_or(NoAnswer::Refused)?);
        match most {
            Some(most) => timeout(most, answer).await.unwrap_or(Err(NoAnswer::TooSlow)),
            None => answer.await,
        }
    }

    async fn back_off(&self, seconds: u64) {
        sleep(self.compute.site.speed.takes(seconds)).await;
    }

    fn is_full(&self) -> bool {
        self.compute.site.chaos.borrow().kinds.contains(&ChaosKind::DiskFull)
    }
}

/// Returns the status of the response to `GET /`.
async fn first_answer(port: u16) -> Result<u16, NoAnswer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|_| NoAnswer::Refused)?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: curl/8\r\nConnection: close\r\n\r\n");
    let mut head = [0; 12];
    let exchanged = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_exact(&mut head).await
    };
    exchanged.await.map_err(|_| NoAnswer::Empty)?;
    let status = || -> Option<u16> { std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok() };
    status().ok_or(NoAnswer::Garbled)
}

/// The file next to a journal with the number of bytes that have been removed from its start.
fn removed_file(journal: &Path) -> PathBuf {
    journal.with_extension("removed")
}

fn removed(journal: &Path) -> u64 {
    std::fs::read_to_string(removed_file(journal)).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Returns the text of a journal from a byte on, or else from its first one, and where it begins. Bytes are counted from
/// the first that was ever written.
fn read_from(journal: &Path, from: u64) -> (u64, String) {
    let removed = removed(journal);
    let from = from.max(removed);
    let read = || {
        let mut file = File::open(journal)?;
        file.seek(SeekFrom::Start(from - removed))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    };
    (from, String::from_utf8_lossy(&read().unwrap_or_default()).into_owned())
}

/// Appends lines to a journal or console. If it would be longer than `most`, its older half is removed.
fn append_bounded(file: &Path, lines: &[u8], most: u64) -> std::io::Result<()> {
    let mut open = File::options().create(true).append(true).open(file)?;
    open.write_all(lines)?;
    if open.metadata()?.len() <= most {
        return Ok(());
    }
    let text = std::fs::read(file)?;
    let half = text.len() - most as usize / 2;
    let start = text[half..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| half + at + 1);
    let (next, gone) = (file.with_extension("next"), removed(file) + start as u64);
    std::fs::write(&next, &text[start..])?;
    std::fs::write(removed_file(file), gone.to_string())?;
    std::fs::rename(next, file)
}

impl Host {
    async fn live(self: Arc<Host>, instance: &Instance) {
        let mut units = JoinSet::new();
        let started = tokio::select! {
            biased;
            started = self.boot(instance) => started,
            // One of its commands may never end.
            () = self.machine.stop.cancelled() => Vec::new(),
        };
        self.post_console();
        started.iter().for_each(|unit| self.machine.note_running(unit, true));
        for unit in started {
            let host = self.clone();
            units.spawn(async move {
                host.clone().supervise(&unit).await;
                host.machine.note_running(&unit, false);
            });
        }
        self.machine.stop.cancelled().await;
        units.join_all().await;
        self.log("systemd: powering off");
        self.post_console();
    }

    /// Saves the console as of now: without `Latest`, EC2 returns the output as of shortly after a state change.
    fn post_console(&self) {
        let posted = std::fs::copy(self.dir.join(CONSOLE), self.dir.join(POSTED_CONSOLE));
        if let Err(error) = posted {
            tracing::warn!(instance = self.id, "failed to post the console: {error}");
        }
    }

    async fn check(&self, profile: &str, what: Right, bucket: &str, key: &str) -> Result<(), String> {
        let roles = &self.compute.roles;
        let role = roles.role_of_profile(profile).await.ok_or("Unable to locate credentials")?;
        roles.may(&role, &self.id, what, bucket, key).await
    }

    /// Runs cloud-init once in the life of an instance. Later boots start its enabled units. Returns the units to
    /// start.
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
        let units = cloud_init::run(&self.root, self, &self.id, &instance.user_data, |line| self.log(line)).await;
        let marked = mark.parent().map(std::fs::create_dir_all).transpose().and_then(|_| std::fs::write(&mark, ""));
        if let Err(error) = marked {
            self.log(&format!("cloud-init: ERROR: {error}"));
        }
        units
    }

    /// Adds a line to the console.
    fn log(&self, line: &str) {
        let _printing = self.prints.lock().expect("nothing panics while it prints");
        let written = self.console().and_then(|mut console| writeln!(console, "{} {line}", Moment::now()));
        if let Err(error) = written {
            tracing::warn!(instance = self.id, "failed to write to the console: {error}");
        }
    }

    fn console(&self) -> std::io::Result<File> {
        File::options().create(true).append(true).open(self.dir.join(CONSOLE))
    }

    fn journal_of(&self, unit: &str) -> PathBuf {
        self.dir.join("journal").join(format!("{unit}.log"))
    }

    /// Appends output lines of a process to the journal, the console or both. Console lines have no host name.
    fn print(&self, unit: &str, output: Output, process: &str, lines: &[&str]) {
        let now = Moment::now();
        let text: String = lines.iter().map(|line| format!("{now} {} {process}: {line}\n", self.host)).collect();
        let journal = || {
            std::fs::create_dir_all(self.dir.join("journal"))?;
            append_bounded(&self.journal_of(unit), text.as_bytes(), LONGEST_JOURNAL)
        };
        let console = || {
            let text = text.replace(&format!(" {} ", self.host), " ");
            append_bounded(&self.dir.join(CONSOLE), text.as_bytes(), LONGEST_JOURNAL)
        };
        let _printing = self.prints.lock().expect("nothing panics while it prints");
        let written = if output.journal { journal() } else { Ok(()) };
        let written = written.and_then(|()| if output.console { console() } else { Ok(()) });
        if let Err(error) = written {
            tracing::warn!(instance = self.id, "failed to write the output of {unit}: {error}");
        }
    }

    /// Writes a message from systemd to the journal.
    fn log_unit(&self, unit: &str, words: impl std::fmt::Display) {
        self.print(unit, Output::JOURNAL, "systemd[1]", &[&format!("{unit}: {words}")]);
    }

    /// Runs a unit, and restarts it as its file says.
    async fn supervise(self: Arc<Host>, name: &str) {
        let unit = match cloud_init::unit_file(&self.root, name).and_then(|text| Unit::parse(&text)) {
            Ok(unit) => unit,
            Err(why) => return self.log_unit(name, why),
        };
        for key in &unit.ignored {
            self.log_unit(name, format!("Unknown key '{key}', ignoring."));
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
        let visible = self.visible_to_processes(&environment);
        for command in &unit.before {
            let words = command.expanded(&visible);
            let status = tokio::select! {
                status = self.tool(name, unit, &words, &visible, Nest::limited()) => status,
                () = self.machine.stop.cancelled() => return Ended::Stopped,
            };
            if status != 0 && !command.may_fail {
                return Ended::Control(Exit::Code(status));
            }
        }
        // Environment files are read before each process: a command before may have written one (systemd.exec(5)).
        let Ok(environment) = load() else { return Ended::Unloaded };
        let visible = self.visible_to_processes(&environment);
        if is_tool {
            self.machine.note_unit(name, "active", "running");
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
        let child = match self.spawn(unit, &visible).await {
            Ok(child) => child,
            Err(why) => {
                self.log_unit(name, format!("Failed at step EXEC spawning {why}"));
                return Ended::Main(Exit::Code(203));
            }
        };
        self.machine.note_unit(name, "active", "running");
        match self.attend(name, unit, child).await {
            Some(exit) => Ended::Main(exit),
            None => Ended::Stopped,
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

    async fn spawn(&self, unit: &Unit, environment: &BTreeMap<String, String>) -> Result<Child, String> {
        let words = unit.main.expanded(environment);
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
    async fn attend(self: &Arc<Host>, name: &str, unit: &Unit, mut child: Child) -> Option<Exit> {
        let Some(pid) = child.id() else {
            return Some(Exit::Code(1));
        };
        self.compute.warden.watch(pid);
        self.machine.note(name, Some(pid));
        self.limit(pid);
        let process = process_name(unit.main.words.first().map(String::as_str).unwrap_or_default(), pid);
        let mut outputs = JoinSet::new();
        if let Some(output) = child.stdout.take() {
            outputs.spawn(self.clone().forward(name.to_owned(), unit.output, process.clone(), output));
        }
        if let Some(errors) = child.stderr.take() {
            outputs.spawn(self.clone().forward(name.to_owned(), unit.errors.unwrap_or(unit.output), process, errors));
        }
        if self.mishap == Some(Mishap::CrashLoop) {
            process::kill_group(pid);
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

/// How a run of a unit ended.
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
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

/// A process, identified by its id and start time, so that it can be found again after a crash of this server.
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

/// Ends the processes of an instance that a crashed server left running.
pub async fn reap_leftovers(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("processes")).into_iter().flatten().flatten() {
        let record: Option<Record> =
            kit::store::read(&entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(record) = record
            && process::started(record.pid).is_some_and(|started| started == record.started)
            // In a copy of the directory, the records are of another server's processes.
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
    use kit::platform::CommandExt;

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

    #[test]
    fn a_journal_loses_its_older_half_and_keeps_its_positions() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.service.log");
        let mut whole = String::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            append_bounded(&file, line.as_bytes(), 1000).unwrap();
            whole += &line;
            assert!(std::fs::metadata(&file).unwrap().len() <= 1000);
            let (start, text) = read_from(&file, 0);
            assert_eq!(text, whole[start as usize..], "{number}");
            assert!(start == 0 || text.len() >= 400 && text.starts_with("line "), "{number}: {text}");
        }
        let (start, end) = (read_from(&file, 0).0, whole.len() as u64);
        assert!(start > 5000);
        for (from, expected) in [(0, start), (start, start), (end - 9, end - 9), (end, end)] {
            assert_eq!(read_from(&file, from), (expected, whole[expected as usize..].to_owned()));
        }
    }

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
        // A child process stays a zombie until it is waited for.
        let waiter = std::thread::spawn(move || ours.wait().unwrap());
        reap_leftovers(dir.path()).await;
        assert_eq!(waiter.join().unwrap().signal(), Some(15));
        assert_eq!(another.try_wait().unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path().join("processes")).unwrap().count(), 0);
        another.kill().unwrap();
        another.wait().unwrap();
    }
}
