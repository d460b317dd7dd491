//! The local AWS as a background process: started, found, watched and stopped.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::{
    cloud::{
        aws,
        local_page::{HEALTH, LONGEST_PAGE, STATUS},
    },
    commands::cli::PORT_VARIABLE,
    machine::platform,
    output::exit::{Exit, Failure},
};

/// The preferred port of a folder's first server.
pub const USUAL_PORT: u16 = 4566;

/// The remedy for an account of another kind.
pub const OTHER_ACCOUNT: &str =
    "an account keeps its kind: delete it with `deployer local reset`, or leave out --account";

/// Where the local AWS of one stack keeps its state: beside its `stack.yaml`.
#[derive(Debug, Clone)]
pub struct Laptop {
    dir: PathBuf,
}

/// A running local AWS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Its process id.
    pub pid: i32,
    /// Its address on 127.0.0.1.
    pub address: SocketAddr,
}

impl Server {
    /// Returns the settings for clients of domains and of HTTPS listeners.
    pub fn domains(&self) -> Domains {
        health(self.address).map(|health| health.domains).unwrap_or_default()
    }
}

impl Laptop {
    /// The local AWS of the stack described in this folder.
    pub fn beside(folder: &Path) -> Laptop {
        Laptop { dir: folder.join(".deployer").join("local") }
    }

    /// Returns the running server, if there is one. Ignores files left by a killed server or copied from another
    /// folder.
    pub fn running(&self) -> Option<Server> {
        let server: Server = serde_json::from_str(&read(&self.server_file())?).ok()?;
        let health = health(server.address)?;
        let is_ours = health.pid == server.pid && health.id == local::identity(&self.state());
        is_ours.then_some(server)
    }

    /// The running server, or a new one in the background.
    ///
    /// Errors: the new server's own error if it does not start.
    pub fn start(&self, port: Option<u16>, region: &str, conditions: &local::Conditions) -> Result<Server, Failure> {
        if let Some(server) = self.running() {
            return Ok(server);
        }
        // The state contains keys and pictures.
        platform::make_private(&self.dir).map_err(|fault| self.unusable(fault.into()))?;
        self.check_log()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let said_before = log.metadata()?.len();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["local", "run", "--region", region])
            .args(port.map(|port| format!("--port={port}")))
            .args(arguments(conditions))
            .arg("--file")
            .arg(self.folder().join("stack.yaml"))
            .env_remove(PORT_VARIABLE)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // Ctrl-C is meant for `up`, not for the server that it started.
        let mut child = platform::in_own_group(&mut command).spawn()?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if let Some(server) = self.running() {
                return Ok(server);
            }
            // When two start at once, the loser exits, and the winner serves both.
            if let Some(status) = child.try_wait()?
                && !self.is_taken()
            {
                return Err(failure_in(&self.log_since(said_before)).unwrap_or_else(|| {
                    anyhow!("the local AWS exited at once ({status}); its log ends with:\n{}", self.log_tail(10)).into()
                }));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(anyhow!("the local AWS does not answer; its log ends with:\n{}", self.log_tail(10)).into())
    }

    /// The speed of the running server. Servers of older versions do not report it.
    pub fn speed(&self) -> Option<local::Speed> {
        health(self.running()?.address)?.speed?.parse().ok()
    }

    /// The kind of the running server's account.
    pub fn account(&self) -> Option<local::AccountKind> {
        // Servers of older versions have no other kind.
        Some(health(self.running()?.address)?.account.unwrap_or_default())
    }

    /// Stops the server and waits until its process is gone. Returns whether one ran.
    pub fn stop(&self) -> anyhow::Result<bool> {
        let Some(server) = self.running() else { return Ok(false) };
        platform::ask_to_stop(server.pid)?;
        let begun = Instant::now();
        while self.running().is_some() || platform::runs(server.pid) {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("the local AWS (process {}) does not exit", server.pid);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Stops the server and deletes everything stored in it.
    pub fn reset(&self) -> anyhow::Result<()> {
        self.stop()?;
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether it has any stored state.
    pub fn has_state(&self) -> bool {
        self.state().exists()
    }

    /// The kinds of chaos of the running server.
    pub fn chaos(&self) -> local::Chaos {
        let shown = self.running().and_then(|server| get(server.address, "/_local/faults").ok()).unwrap_or_default();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
        serde_json::from_value(shown["chaos"].clone()).unwrap_or_default()
    }

    /// The server's own description of its state.
    pub fn status(&self, server: &Server) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&get(server.address, STATUS)?)?)
    }

    /// The server's log.
    pub fn log(&self) -> String {
        read(&self.log_file()).unwrap_or_default()
    }

    /// Runs it in this process until it is stopped: on `port`, or else on its last port, the default one, or any free
    /// one.
    ///
    /// Errors: another server uses the same state, the port is taken, or the state cannot be read.
    pub async fn run(&self, port: Option<u16>, region: &str, conditions: local::Conditions) -> Result<(), Failure> {
        // The state contains keys and pictures.
        platform::make_private(&self.dir).map_err(|fault| self.unusable(fault.into()))?;
        platform::allow_open_files();
        let _lock = local::take(&self.dir).await.map_err(|error| self.unusable(error))?;
        let cloud = self.serve(port, region, conditions).await.map_err(|error| self.unusable(error))?;
        let server = Server { pid: std::process::id() as i32, address: cloud.address() };
        write(&self.port_file(), &server.address.port().to_string())?;
        write(&self.server_file(), &serde_json::to_string(&server).map_err(std::io::Error::from)?)?;
        crate::output::report::say(format!("local AWS at {}", cloud.endpoint()));
        crate::machine::signals::stop_requested().await;
        cloud.stop().await;
        std::fs::remove_file(self.server_file())?;
        Ok(())
    }

    async fn serve(
        &self,
        port: Option<u16>,
        region: &str,
        conditions: local::Conditions,
    ) -> anyhow::Result<local::Cloud> {
        let start = |port| {
            let options = local::Options { dir: self.state(), port, region: region.into() };
            local::Cloud::start_with(options, conditions.clone())
        };
        if let Some(port) = port {
            return start(port).await;
        }
        let wanted = self.preferred_port();
        match start(wanted).await {
            Err(error) if error.downcast_ref().is_some_and(local::NoPort::is_taken) => {
                crate::output::report::say(format!("{}: using a free port", holder(wanted)));
                start(0).await
            }
            started => started,
        }
    }

    /// Explains why the local AWS of this folder does not start, with the remedy.
    fn unusable(&self, error: anyhow::Error) -> Failure {
        let failed = |error| Failure::new(Exit::Failed, error);
        let dir = self.dir.display();
        if let Some(no_port) = error.downcast_ref::<local::NoPort>() {
            return match no_port.is_taken() {
                true => failed(anyhow!("{}", holder(no_port.port))).hint(format!(
                    "without --port and {PORT_VARIABLE} a free one is used; `deployer local stop` in the other folder \
                     ends what runs there"
                )),
                false => failed(error).hint("choose another one with --port, above 1023, or none"),
            };
        }
        if error.downcast_ref::<local::InUse>().is_some() {
            return failed(error).hint("`deployer local status` says where it is, and `deployer local stop` ends it");
        }
        if error.downcast_ref::<local::OtherAccountKind>().is_some() {
            return failed(error).hint(OTHER_ACCOUNT);
        }
        let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        let remedy = match kind {
            Some(ErrorKind::PermissionDenied) => format!("make {dir} and everything in it readable and writable for you"),
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => "make room on the disk".to_owned(),
            Some(ErrorKind::NotADirectory | ErrorKind::AlreadyExists) => {
                format!("remove the file {dir}")
            }
            _ => "put back a copy of the file that is named, or delete everything stored here with `deployer local reset`"
                .to_owned(),
        };
        failed(error.context(format!("the local AWS cannot use the state in {dir}"))).hint(remedy)
    }

    /// Rejects a log that is not a regular file: writing to it could block forever.
    fn check_log(&self) -> Result<(), Failure> {
        match std::fs::metadata(self.log_file()) {
            Ok(about) if !about.is_file() => Err(anyhow!("{} is not a regular file", self.log_file().display()).into()),
            _ => Ok(()),
        }
    }

    /// Whether a server has locked this state, even if it does not answer yet.
    fn is_taken(&self) -> bool {
        let lock = self.dir.join("lock");
        let is_file = std::fs::metadata(&lock).is_ok_and(|about| about.is_file());
        is_file && File::open(lock).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    }

    fn folder(&self) -> &Path {
        self.dir.ancestors().nth(2).expect("it was joined from a folder and two names")
    }

    /// The port that it prefers if none is named.
    pub fn preferred_port(&self) -> u16 {
        self.last_port().unwrap_or(USUAL_PORT)
    }

    /// The port of its last run.
    fn last_port(&self) -> Option<u16> {
        read(&self.port_file())?.trim().parse().ok()
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn port_file(&self) -> PathBuf {
        self.dir.join("port")
    }

    fn server_file(&self) -> PathBuf {
        self.dir.join("server.json")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The log beyond the first `length` bytes.
    fn log_since(&self, length: u64) -> String {
        let log = self.log();
        usize::try_from(length).ok().and_then(|length| log.get(length..)).unwrap_or_default().to_owned()
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

    /// Replaces its kinds of chaos.
    pub fn turn(&self, chaos: &local::Chaos) -> anyhow::Result<()> {
        let (status, body) = ask(self.address, "PUT", "/_local/chaos", &serde_json::to_string(chaos)?)?;
        if !status.contains(" 200") {
            bail!("the local AWS refuses: {status} {body}");
        }
        Ok(())
    }

    /// The access key of the account.
    pub fn access(&self) -> aws::Local {
        aws::Local {
            endpoint: self.endpoint(),
            access_key: local::ACCESS_KEY.into(),
            secret_key: local::SECRET_KEY.into(),
        }
    }
}

/// The arguments that start a server with the same chaos and speed.
fn arguments(conditions: &local::Conditions) -> Vec<String> {
    let local::Conditions { chaos, speed, account } = conditions;
    let mut arguments = vec!["--speed".into(), speed.to_string()];
    let kinds: Vec<&str> = chaos.kinds.iter().map(|kind| kind.name()).collect();
    if !kinds.is_empty() {
        arguments.extend(["--chaos".into(), kinds.join(","), "--seed".into(), chaos.seed.to_string()]);
    }
    arguments.extend(account.map(|kind| format!("--account={kind}")));
    arguments
}

/// The identity of a server.
#[derive(Deserialize)]
struct Health {
    pid: i32,
    dir: PathBuf,
    id: Option<String>,
    speed: Option<String>,
    account: Option<local::AccountKind>,
    #[serde(flatten)]
    domains: Domains,
}

/// The settings for clients of domains and of HTTPS listeners of a local AWS.
#[derive(Default, Deserialize)]
pub struct Domains {
    /// The address of its DNS server.
    pub dns: Option<SocketAddr>,
    /// The file with the certificate of its authority.
    pub certificate_authority: Option<PathBuf>,
}

/// The sentence about the program that listens on a port of this machine.
fn holder(port: u16) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    match health(address) {
        Some(Health { dir, .. }) => {
            let folder = dir.ancestors().nth(3).filter(|_| dir.ends_with(".deployer/local/state")).unwrap_or(&dir);
            format!("the local AWS of {} holds {address}", folder.display())
        }
        None => format!("another program holds {address}"),
    }
}

/// The error that ended a server, from its log.
fn failure_in(log: &str) -> Option<Failure> {
    let after = |line: &str, word: &str| line.trim_start().strip_prefix(word).map(|rest| rest.trim().to_owned());
    let mut lines = log.lines().skip_while(|line| after(line, "error:").is_none());
    let error = after(lines.next()?, "error:")?;
    let (mut causes, mut hint) = (Vec::new(), None);
    for line in lines {
        causes.extend(after(line, "caused by:"));
        hint = hint.or_else(|| after(line, "hint:"));
    }
    let messages = causes.into_iter().rev().chain([error]).map(anyhow::Error::msg);
    let error = messages.reduce(|cause, error| cause.context(error.to_string()))?;
    Some(Failure { hint, ..Failure::new(Exit::Failed, error) })
}

/// Reads a small file. Other than regular files could block forever.
fn read(file: &Path) -> Option<String> {
    let is_file = std::fs::metadata(file).is_ok_and(|about| about.is_file());
    let bytes = is_file.then(|| std::fs::read(file).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces a small file, even if something else has its path.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, file)
}

/// Returns the identity of the server at this address; `None` if it is another program.
fn health(address: SocketAddr) -> Option<Health> {
    serde_json::from_str(&get(address, HEALTH).ok()?).ok()
}

/// Requests one small document from the server. It is on this machine, so seconds are enough.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    Ok(ask(address, "GET", path, "")?.1)
}

/// Returns the status line and the body of an answer.
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
    // Another program on the port may send without end.
    stream.take(LONGEST_PAGE).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_server_is_passed_on() {
        let log = "local AWS at http://127.0.0.1:4566\nerror: it cannot start\n  caused by: a.json is damaged\n  caused by: EOF\nhint: put it back\n";
        let failure = failure_in(log).unwrap();
        let chain: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        assert_eq!(chain, ["it cannot start", "a.json is damaged", "EOF"]);
        assert_eq!(failure.hint.as_deref(), Some("put it back"));
        assert!(failure_in("local AWS at http://127.0.0.1:4566\n").is_none());
    }
}
