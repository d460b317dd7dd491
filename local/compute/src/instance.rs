//! A running instance: its root directory, the files that cloud-init has written to it, and the processes of its units.

mod journal_file;
mod machine;
mod record;
mod tools;
mod unit;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use journal_file::{LONGEST_JOURNAL, append_bounded};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::clock::Moment;
use super::ports::Lease;
use super::state::{Instance, InstanceFault, InstanceState};
use super::systemd::Output;
use super::{Compute, Right, cloud_init, ec2, imds};

pub use machine::Machine;
pub use record::reap_leftovers;

/// The file with the console output of an instance.
pub(super) const CONSOLE: &str = "console.log";

/// The file with the part of it that EC2 returns without `Latest`.
pub(super) const POSTED_CONSOLE: &str = "console.posted.log";

/// How many seconds a new instance stays pending, before scaling by the speed (docs/aws.md §13).
const PENDING_S: u64 = 16;

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
    /// Kept for `PORT` of its processes.
    _port: Lease,
    kind: Option<ec2::InstanceType>,
    mishap: Option<InstanceFault>,
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
    let lease = Lease::new(instance.port)?;
    let port = lease.port;
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
        _port: lease,
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
        if self.mishap == Some(InstanceFault::BootFail) {
            self.log("cloud-init: ERROR: Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts): no route to the server of its downloads");
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
        let _printing = self.prints.lock();
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
        let _printing = self.prints.lock();
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
}
