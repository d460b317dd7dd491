//! AWS on a laptop: the API, and what makes it real.
//!
//! One server on the loopback interface answers for every service. Instances, load balancers and functions are
//! processes. Any AWS client with this crate's key can use it.

#[doc(hidden)]
pub mod inputs;
mod intake;
mod regions;
mod routing;
mod server;
mod services;

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use chaos::{Chaos, Kind as ChaosKind, UnknownKind as UnknownChaos};
pub use compute;
pub use kit::region_names::REGIONS;
pub use kit::speed::{NoSpeed, Speed};
pub use kit::{ACCESS_KEY, ACCOUNT, SECRET_KEY};
use services::Services;

/// How to start a local AWS.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its state lives; the directory is made if it is not there.
    pub dir: PathBuf,
    /// The port, or 0 for any free one.
    pub port: u16,
    /// The region that a new directory is made for. Every other one is there as well, from the first call on.
    pub region: String,
}

/// What the day is like: which bad sides AWS shows, and how long everything takes.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// The bad sides.
    pub chaos: Chaos,
    /// The speed.
    pub speed: Speed,
}

impl From<Chaos> for Conditions {
    fn from(chaos: Chaos) -> Conditions {
        Conditions { chaos, ..Conditions::default() }
    }
}

/// A running local AWS.
pub struct Cloud {
    address: SocketAddr,
    services: Arc<Services>,
    server: JoinHandle<()>,
    stop: CancellationToken,
    /// Held as long as anything may write to the directory.
    _lock: File,
}

impl Cloud {
    /// Starts the server and everything its state says should run.
    ///
    /// Errors: another one uses the same directory ([`InUse`]), the port cannot be had ([`NoPort`]), or a file of the
    /// directory is damaged or cannot be read.
    pub async fn start(options: Options) -> anyhow::Result<Cloud> {
        Cloud::start_with(options, Chaos::default()).await
    }

    /// The same on a bad day, or on a slow one.
    pub async fn start_with(options: Options, conditions: impl Into<Conditions>) -> anyhow::Result<Cloud> {
        make_private(&options.dir).with_context(|| format!("failed to make {}", options.dir.display()))?;
        let dir = options.dir.canonicalize()?;
        let lock = take(&dir).await?;
        let options = Options { dir, ..options };
        let port = options.port;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| NoPort { port, source })?;
        let address = listener.local_addr()?;
        let services = Arc::new(Services::open(&options, conditions.into(), &format!("http://{address}")).await?);
        let stop = CancellationToken::new();
        let about = server::about(&options.dir, &options.region, address);
        let server = tokio::spawn(server::serve(listener, services.clone(), about, stop.clone()));
        Ok(Cloud { address, services, server, stop, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients reach it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends instances and functions and keeps the state on disk.
    pub async fn stop(self) {
        // They may still want to say something to the server while they end.
        self.services.stop().await;
        self.stop.cancel();
        let _ = self.server.await;
        self.services.close().await;
    }
}

/// The port is not available.
#[derive(Debug)]
pub struct NoPort {
    /// The port.
    pub port: u16,
    source: std::io::Error,
}

impl NoPort {
    /// Whether another process listens on it.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::AddrInUse
    }
}

impl std::fmt::Display for NoPort {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "failed to listen on 127.0.0.1:{}", self.port)
    }
}

impl std::error::Error for NoPort {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Another local AWS has this directory.
#[derive(Debug)]
pub struct InUse(pub PathBuf);

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "a local AWS already runs on {}", self.0.display())
    }
}

impl std::error::Error for InUse {}

/// Distinguishes a directory from its copies; `/_local/health` returns a server's own.
pub fn identity(dir: &Path) -> Option<String> {
    let about = std::fs::metadata(dir).ok()?;
    Some(format!("{}:{}", about.dev(), about.ino()))
}

/// The directory holds keys, rows and pictures: only its owner may read it.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// How long a directory may seem to be in use: a program that is just being started has its starter's lock for a moment.
const SEEMS_USED: Duration = Duration::from_secs(1);
/// How often is looked whether it still does.
const AGAIN: Duration = Duration::from_millis(10);

/// Takes a directory for one local AWS alone, for as long as the file is open: the system closes it when the process
/// ends, however that happens.
///
/// Errors: another one has it.
pub async fn take(dir: &Path) -> anyhow::Result<File> {
    let file = dir.join("lock");
    kit::store::check_regular(&file)?;
    let lock = File::create(&file).with_context(|| format!("failed to open {}", file.display()))?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < SEEMS_USED => sleep(AGAIN).await,
            Err(TryLockError::WouldBlock) => return Err(InUse(dir.to_owned()).into()),
            Err(TryLockError::Error(fault)) => return Err(fault.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_that_only_seems_to_be_in_use_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path()).await.unwrap();
        let refused = take(dir.path()).await.unwrap_err();
        assert!(refused.to_string().starts_with("a local AWS already runs on "), "{refused}");
        let freed = async {
            sleep(SEEMS_USED / 2).await;
            drop(held);
        };
        tokio::join!(take(dir.path()), freed).0.unwrap();
    }
}
