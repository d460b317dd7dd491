//! The measured servers, each in its own process, so that its memory can be measured.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use tempfile::TempDir;

use crate::process::{Process, input_ends, kept, this_program};

/// The argument with which this program runs as the local AWS.
pub const WORD: &str = "server";
const REGION: &str = "us-east-1";
const MOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/moto_server");
/// How long a server may take to print its address, and to answer a call.
const START: Duration = Duration::from_secs(60);
pub const ANSWER: Duration = Duration::from_secs(60);

/// Runs the local AWS until the input is closed.
pub async fn serve(dir: &Path) -> Result<()> {
    let options = Options { dir: dir.to_owned(), port: 0, region: REGION.to_owned() };
    let cloud = Cloud::start(options).await?;
    println!("Running on {}", cloud.endpoint());
    tokio::task::spawn_blocking(input_ends).await?;
    cloud.stop().await;
    Ok(())
}

/// Checks that moto is installed. The error says how to install it.
pub fn find_moto() -> Result<()> {
    ensure!(Path::new(MOTO).exists(), "moto is not installed: .ci/setup");
    Ok(())
}

/// A server, and what its clients need. It is stopped on drop.
pub struct Server {
    process: Process,
    pub endpoint: String,
    credentials: (&'static str, &'static str),
    /// The time from its start until it printed its address.
    pub took: Duration,
    /// Removed after the process has ended.
    _dir: TempDir,
}

impl Server {
    /// Starts the local AWS.
    pub fn local() -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let mut command = this_program()?;
        command.arg(WORD).arg(dir.path()).stdout(Stdio::piped());
        Server::start(command, (ACCESS_KEY, SECRET_KEY), dir)
    }

    /// Starts moto, which prints its address on stderr.
    pub fn moto() -> Result<Server> {
        let mut command = kept(MOTO)?;
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        Server::start(command, ("testing", "testing"), tempfile::tempdir()?)
    }

    fn start(mut command: Command, credentials: (&'static str, &'static str), dir: TempDir) -> Result<Server> {
        let begun = Instant::now();
        let mut process = Process::start(&mut command)?;
        let said = BufReader::new(process.said().context("nothing is piped")?);
        let (tell, told) = mpsc::channel();
        // Its output must be read to the end, or it blocks when the pipe is full.
        std::thread::spawn(move || {
            for line in said.lines().map_while(std::io::Result::ok) {
                if let Some((_, endpoint)) = line.split_once("Running on ") {
                    let _ = tell.send(endpoint.trim().to_owned());
                }
            }
        });
        let endpoint = told.recv_timeout(START).context("the server does not say where it is")?;
        Ok(Server { process, endpoint, credentials, took: begun.elapsed(), _dir: dir })
    }

    /// Returns the configuration for SDK clients. A call without a response fails after a timeout.
    pub async fn config(&self) -> SdkConfig {
        let (key, secret) = self.credentials;
        aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(aws_sdk_s3::config::Credentials::new(key, secret, None, None, "benchmark"))
            .timeout_config(TimeoutConfig::builder().operation_timeout(ANSWER).build())
            .load()
            .await
    }

    /// Returns its current memory use in megabytes; `None` where it is unknown.
    pub fn memory_mb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    }

    /// Returns the CPU time that it has used, in seconds; `None` where it is unknown.
    pub fn processor_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    }
}

/// An S3 client with path-style URLs.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}
