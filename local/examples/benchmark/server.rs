//! The servers under measurement, each in a process of its own, whose memory is its own as well.

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

/// The word with which this program is the local AWS.
pub const WORD: &str = "server";
const REGION: &str = "us-east-1";
const MOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/moto_server");
/// How long a server has to say where it is, and to answer a call.
const START: Duration = Duration::from_secs(60);
pub const ANSWER: Duration = Duration::from_secs(60);

/// The local AWS. It ends when its input does.
pub async fn serve(dir: &Path) -> Result<()> {
    let options = Options { dir: dir.to_owned(), port: 0, region: REGION.to_owned() };
    let cloud = Cloud::start(options).await?;
    println!("Running on {}", cloud.endpoint());
    tokio::task::spawn_blocking(input_ends).await?;
    cloud.stop().await;
    Ok(())
}

/// Says how to get moto if it is not there.
pub fn find_moto() -> Result<()> {
    ensure!(Path::new(MOTO).exists(), "moto is not installed: .ci/setup");
    Ok(())
}

/// A server and what its clients need. Dropping it ends it.
pub struct Server {
    process: Process,
    pub endpoint: String,
    credentials: (&'static str, &'static str),
    /// From its start until it said where it is.
    pub took: Duration,
    /// Goes when the process is gone.
    _dir: TempDir,
}

impl Server {
    /// The local AWS.
    pub fn local() -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let mut command = this_program()?;
        command.arg(WORD).arg(dir.path()).stdout(Stdio::piped());
        Server::start(command, (ACCESS_KEY, SECRET_KEY), dir)
    }

    /// moto, which says on stderr where it is.
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
        // What it says must be read to its end, or it stops when the pipe is full.
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

    /// What the SDK's clients need. A call that is never answered is an error.
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

    /// The memory that it has now; not known everywhere.
    pub fn memory_mb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    }

    /// The processor time that it has used so far; not known everywhere.
    pub fn processor_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    }
}

/// A client of S3 that names buckets in the path.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}
