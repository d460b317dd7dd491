//! One run of the deployer: its duration, processor time, memory and calls.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};

/// A folder with a `stack.yaml`, its own local AWS, and the deployer to run in it.
pub struct Project {
    folder: tempfile::TempDir,
    cloud: local::Cloud,
}

/// The measurements of one run.
#[derive(Clone, Copy)]
pub struct Run {
    pub took: Duration,
    pub used: Duration,
    pub peak_kib: u64,
    pub calls: usize,
    pub mutating: usize,
    /// The lower bounds of its duration, where the command reports them.
    pub bounds: Option<Bounds>,
}

/// Three lower bounds of the duration of a run.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// The longest chain of dependent resources.
    pub chain: Duration,
    /// All resources, divided by the number that are worked on at once.
    pub share: Duration,
    /// All calls at AWS's published rates.
    pub rates: Duration,
}

impl Project {
    /// A project with this description and an empty cloud.
    pub async fn new(description: &str) -> Result<Project> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("stack.yaml"), description)?;
        let dir = folder.path().join("cloud");
        let cloud = local::Cloud::start(local::Options { dir, port: 0, region: "us-east-1".into() }).await?;
        Ok(Project { folder, cloud })
    }

    /// The endpoint of its cloud.
    pub fn endpoint(&self) -> String {
        self.cloud.endpoint()
    }

    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        let file = self.folder.path().join("stack.yaml");
        Ok(fs::write(&file, fs::read_to_string(&file)?.replace(from, to))?)
    }

    /// Runs the deployer and waits for it to end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Run> {
        let (said, deployer) = (self.folder.path().join("said"), program("deployer")?);
        let mut command = Command::new(deployer);
        command.args(arguments).arg("-v").current_dir(self.folder.path()).env("AWS_ENDPOINT_URL", self.endpoint());
        command.env("AWS_ACCESS_KEY_ID", local::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", local::SECRET_KEY);
        command.stdout(Stdio::null()).stderr(fs::File::create(&said)?);
        let (took, used, peak_kib) = tokio::task::spawn_blocking(move || watch(command)).await??;
        let said = fs::read_to_string(said)?;
        let Some((calls, mutating)) = calls(&said).filter(|_| !said.contains("error:")) else {
            bail!("deployer {arguments:?}: {said}");
        };
        Ok(Run { took, used, peak_kib, calls, mutating, bounds: bounds(&said) })
    }

    /// Stops its cloud.
    pub async fn end(self) {
        self.cloud.stop().await;
    }
}

/// The shipped programs, built beside this one.
pub fn program(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()?;
    let program = beside.ancestors().nth(2).context("the build folder")?.join(name);
    ensure!(program.is_file(), "{} is not there: cargo build --release --workspace --bins", program.display());
    Ok(program)
}

fn watch(mut command: Command) -> Result<(Duration, Duration, u64)> {
    let (begun, before) = (Instant::now(), used_by_children()?);
    let mut child = command.spawn()?;
    let mut peak_kib = 0;
    while child.try_wait()?.is_none() {
        peak_kib = peak_of(child.id()).unwrap_or(peak_kib);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((begun.elapsed(), used_by_children()? - before, peak_kib))
}

/// Parses `62 calls, 31 of them mutating`, as `-v` prints it.
fn calls(said: &str) -> Option<(usize, usize)> {
    let line = said.lines().find(|line| line.ends_with("of them mutating"))?;
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Parses `1.52 s; the longest chain 1.47 s, all by 8 at once 1.10 s, AWS's rates 0.90 s`, as `-v` prints it.
fn bounds(said: &str) -> Option<Bounds> {
    let (_, times) = said.lines().find_map(|line| line.split_once("; the longest chain "))?;
    let mut seconds = times.split(", ").map(|bound| bound.strip_suffix(" s")?.rsplit(' ').next()?.parse().ok());
    let mut next = || Duration::try_from_secs_f64(seconds.next()??).ok();
    Some(Bounds { chain: next()?, share: next()?, rates: next()? })
}

/// The processor time of children that have ended, such as the deployer; instances and functions of the cloud end
/// later.
fn used_by_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.iter().sum::<i64>().try_into()?))
}

/// The peak memory of a process so far; `None` where /proc does not report it.
fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
