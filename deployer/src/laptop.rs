//! Our own AWS as a background process: started, found, watched and stopped.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::aws;

/// Where the local AWS of one stack keeps everything: beside its `stack.yaml`.
#[derive(Debug, Clone)]
pub struct Laptop {
    dir: PathBuf,
}

/// A running local AWS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Its process.
    pub pid: i32,
    /// Where it listens: an address on 127.0.0.1.
    pub address: SocketAddr,
}

impl Laptop {
    /// The local AWS of the stack that is described in this folder.
    pub fn beside(folder: &Path) -> Laptop {
        Laptop { dir: folder.join(".deployer").join("local") }
    }

    /// The server that runs, if one does. A file left by a killed one does not count.
    pub fn running(&self) -> Option<Server> {
        self.look().map(|(server, _)| server)
    }

    /// The server that runs, and what it says of itself.
    fn look(&self) -> Option<(Server, serde_json::Value)> {
        let server: Server = serde_json::from_slice(&std::fs::read(self.server_file()).ok()?).ok()?;
        let health: serde_json::Value = serde_json::from_str(&get(server.address, "/_local/health").ok()?).ok()?;
        (health["pid"].as_i64() == Some(server.pid.into())).then_some((server, health))
    }

    /// The running server, or a new one in the background.
    ///
    /// Errors: it runs for another region; with the end of its log when it does not come up.
    pub fn start(&self, port: u16, region: &str, conditions: &local::Conditions) -> anyhow::Result<Server> {
        if let Some((server, health)) = self.look() {
            // It answers for one region, as every endpoint of AWS does, and refuses what is signed for another.
            match health["region"].as_str() {
                Some(theirs) if theirs != region => bail!(
                    "the local AWS runs for {theirs}, not for {region}: `deployer local stop` ends it, and the same command starts it for {region}"
                ),
                _ => return Ok(server),
            }
        }
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["local", "run", "--port", &port.to_string(), "--region", region])
            .args(arguments(conditions))
            .arg("--file")
            .arg(self.folder().join("stack.yaml"))
            .env_remove("DEPLOYER_LOCAL_PORT")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for `up`, not for what `up` has brought up.
            .process_group(0)
            .spawn()?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if let Some(server) = self.running() {
                return Ok(server);
            }
            // When two start at once the one that loses ends; the other one is just as good.
            if let Some(status) = child.try_wait()?
                && !self.is_taken()
            {
                bail!("the local AWS ended at once ({status}); its log ends with:\n{}", self.log_tail(10));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the local AWS does not answer; its log ends with:\n{}", self.log_tail(10))
    }

    /// Stops the server and waits until its process is gone. Returns whether one ran.
    pub fn stop(&self) -> anyhow::Result<bool> {
        let Some(server) = self.running() else { return Ok(false) };
        let pid = Pid::from_raw(server.pid).ok_or_else(|| anyhow!("{} is no process id", server.pid))?;
        kill_process(pid, Signal::TERM)?;
        let begun = Instant::now();
        while self.running().is_some() || test_kill_process(pid).is_ok() && !is_defunct(pid) {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("the local AWS (process {}) does not end", server.pid);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Stops the server and forgets everything stored in it.
    pub fn reset(&self) -> anyhow::Result<()> {
        self.stop()?;
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether anything has ever been stored in it.
    pub fn has_state(&self) -> bool {
        self.dir.join("state").exists()
    }

    /// The bad sides of AWS that the running server shows.
    pub fn chaos(&self) -> local::Chaos {
        let shown = self.running().and_then(|server| get(server.address, "/_local/faults").ok()).unwrap_or_default();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
        serde_json::from_value(shown["chaos"].clone()).unwrap_or_default()
    }

    /// What runs in it, as the server says it.
    pub fn status(&self, server: &Server) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&get(server.address, "/_local/status")?)?)
    }

    /// Everything the server has written.
    pub fn log(&self) -> String {
        std::fs::read(self.log_file()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Runs it in this process until it is told to stop.
    ///
    /// Errors: another one runs on the same state, or the port is taken.
    pub async fn run(&self, port: u16, region: &str, conditions: local::Conditions) -> anyhow::Result<()> {
        make_private(&self.dir)?;
        let _lock = local::take(&self.dir).await?;
        let options = local::Options { dir: self.dir.join("state"), port, region: region.into() };
        let cloud = local::Cloud::start_with(options, conditions).await.with_context(|| {
            format!("cannot serve on 127.0.0.1:{port}; another port: --port, or DEPLOYER_LOCAL_PORT")
        })?;
        let server = Server { pid: std::process::id() as i32, address: cloud.address() };
        std::fs::write(self.server_file(), serde_json::to_vec(&server)?)?;
        crate::report::say(format!("local AWS at {}", cloud.endpoint()));
        crate::signals::stop_requested().await;
        cloud.stop().await;
        std::fs::remove_file(self.server_file())?;
        Ok(())
    }

    /// Whether a server has this state for itself, even if it does not answer yet.
    fn is_taken(&self) -> bool {
        File::open(self.dir.join("lock")).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    }

    fn folder(&self) -> &Path {
        self.dir.ancestors().nth(2).expect("it was joined from a folder and two names")
    }

    fn server_file(&self) -> PathBuf {
        self.dir.join("server.json")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(lines).collect();
        lines.into_iter().rev().map(|line| format!("  {line}\n")).collect()
    }
}

impl Server {
    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets it show these bad sides of AWS from now on, and no others.
    pub fn turn(&self, chaos: &local::Chaos) -> anyhow::Result<()> {
        let (status, body) = ask(self.address, "PUT", "/_local/chaos", &serde_json::to_string(chaos)?)?;
        if !status.contains(" 200") {
            bail!("the local AWS refuses: {status} {body}");
        }
        Ok(())
    }

    /// The account's own access to it.
    pub fn access(&self) -> aws::Local {
        aws::Local {
            endpoint: self.endpoint(),
            access_key: local::ACCESS_KEY.into(),
            secret_key: local::SECRET_KEY.into(),
        }
    }
}

/// The arguments with which another process shows the same bad sides at the same speed.
fn arguments(conditions: &local::Conditions) -> Vec<String> {
    let local::Conditions { chaos, speed } = conditions;
    let mut arguments = vec!["--speed".into(), speed.to_string()];
    let kinds: Vec<&str> = chaos.kinds.iter().map(|kind| kind.name()).collect();
    if !kinds.is_empty() {
        arguments.extend(["--chaos".into(), kinds.join(","), "--seed".into(), chaos.seed.to_string()]);
    }
    arguments
}

/// The state holds keys and pictures: it is nobody else's business.
fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// Whether the process has ended and only waits for its parent to ask how.
fn is_defunct(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// One small document of the server. It is on this machine: seconds are plenty.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    Ok(ask(address, "GET", path, "")?.1)
}

/// The first line and the body of an answer.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(String, String)> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}
