//! The service under measurement, in a process of its own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::fire::{ask, request};

/// The time limit for its first answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running service, which is stopped when this is dropped.
pub struct Service {
    pub address: SocketAddr,
    pub answered_after: Duration,
    process: Child,
    /// Its output goes to a file, as in production.
    _said: tempfile::TempDir,
}

impl Service {
    pub fn start(dynamodb: &str) -> Result<Self> {
        let program = program()?;
        let address = free_address()?;
        let folder = tempfile::tempdir()?;
        let begun = Instant::now();
        let mut service = Command::new(program);
        service.env_clear().current_dir(folder.path()).stdin(Stdio::null());
        service.stdout(File::create(folder.path().join("log"))?).stderr(Stdio::inherit());
        service.envs([
            ("BUCKET", "postagram-images"),
            ("DYNAMO_TABLE", "postagram-posts"),
            ("HOST", "127.0.0.1"),
            ("PORT", &address.port().to_string()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        let process = service.spawn()?;
        let mut service = Self { address, answered_after: Duration::ZERO, process, _said: folder };
        let health = request("GET", "/health", &[], "");
        while ask(address, &health).is_err() {
            ensure!(begun.elapsed() < PATIENCE, "the service does not answer at {address}");
            ensure!(service.process.try_wait()?.is_none(), "the service has ended");
            std::thread::sleep(Duration::from_micros(200));
        }
        service.answered_after = begun.elapsed();
        Ok(service)
    }

    /// The processor time of all its threads so far.
    pub fn used(&self) -> Result<Duration> {
        processor_time(&self.process.id().to_string())
    }

    /// `VmRSS:`, its present memory, or `VmHWM:`, its peak.
    pub fn memory_mib(&self, which: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).context("/proc tells no memory")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The processor time of a process so far, by its id or `self`.
pub fn processor_time(process: &str) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("/proc tells no processor time")?;
    // In hundredths of a second, whatever the kernel's own clock is: user, then system.
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
}

/// The shipped program, built beside this one, unless `SERVICE` names another.
fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("SERVICE") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?;
    let program = beside.ancestors().nth(2).context("the build folder")?.join("service");
    ensure!(program.is_file(), "{} is not there: cargo build --release --bin service", program.display());
    Ok(program)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
