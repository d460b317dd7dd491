//! AWS on a laptop: the API, and the processes behind it.
//!
//! One server on the loopback interface answers for every service. Instances, load balancers and functions are
//! processes. Any AWS client can use it with this crate's access key.

#[doc(hidden)]
pub mod inputs;
mod intake;
mod regions;
mod routing;
mod server;
mod services;

use kit::platform::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use domains::dns;

pub use chaos::{Chaos, ChaosKind, UnknownChaos};
pub use compute;
pub use kit::account::{AccountKind, NoAccountKind, OtherAccountKind};
pub use kit::region_names::REGIONS;
pub use kit::speed::{NoSpeed, Speed};
pub use kit::{ACCESS_KEY, ACCOUNT, SECRET_KEY};
use services::Services;

/// The options for starting a local AWS.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of its state, which is created if it does not exist.
    pub dir: PathBuf,
    /// The port, or 0 for any free one.
    pub port: u16,
    /// The region that a new directory is made for. All other regions are also available, from their first call on.
    pub region: String,
}

/// The faults that AWS shows, and the speed of its state transitions.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// The faults.
    pub chaos: Chaos,
    /// The speed.
    pub speed: Speed,
    /// The kind of the account. A directory keeps the kind that it was made with, by default [`AccountKind::Standard`].
    pub account: Option<AccountKind>,
}

impl From<Chaos> for Conditions {
    fn from(chaos: Chaos) -> Conditions {
        Conditions { chaos, ..Conditions::default() }
    }
}

impl From<AccountKind> for Conditions {
    fn from(account: AccountKind) -> Conditions {
        Conditions { account: Some(account), ..Conditions::default() }
    }
}

impl From<Speed> for Conditions {
    fn from(speed: Speed) -> Conditions {
        Conditions { speed, ..Conditions::default() }
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
    /// Starts the server, and everything that should run according to its state.
    ///
    /// Errors: another one uses the same directory ([`InUse`]); the port is not available ([`NoPort`]); a file in the
    /// directory is damaged or cannot be read.
    pub async fn start(options: Options) -> anyhow::Result<Cloud> {
        Cloud::start_with(options, Chaos::default()).await
    }

    /// Like [`Cloud::start`], with chaos or another speed.
    pub async fn start_with(options: Options, conditions: impl Into<Conditions>) -> anyhow::Result<Cloud> {
        make_private(&options.dir).with_context(|| format!("failed to make {}", options.dir.display()))?;
        let dir = options.dir.canonicalize()?;
        let lock = take(&dir).await?;
        let options = Options { dir, ..options };
        let port = options.port;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| NoPort { port, source })?;
        let address = listener.local_addr()?;
        let conditions = conditions.into();
        let speed = conditions.speed;
        let services = Arc::new(Services::open(&options, conditions, &format!("http://{address}")).await?);
        let dns = dns::Server::bind(&options.dir.join("state")).await.context("failed to listen for DNS queries")?;
        let about = server::about(&options, address, speed, dns.address()?, &services);
        let stop = CancellationToken::new();
        tokio::spawn(dns.run(services.route53.clone(), stop.clone()));
        let server = tokio::spawn(server::serve(listener, services.clone(), about, stop.clone()));
        Ok(Cloud { address, services, server, stop, _lock: lock })
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the endpoint URL for clients.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends instances and functions. The state remains on disk.
    pub async fn stop(self) {
        // They may still call the server while they end.
        self.services.stop().await;
        self.stop.cancel();
        let _ = self.server.await;
        self.services.close().await;
    }
}

/// The error for a port that is not available.
#[derive(Debug)]
pub struct NoPort {
    /// The port.
    pub port: u16,
    source: std::io::Error,
}

impl NoPort {
    /// Whether another process listens on the port.
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

/// The error for a directory that another local AWS uses.
#[derive(Debug)]
pub struct InUse(pub PathBuf);

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "a local AWS already runs on {}", self.0.display())
    }
}

impl std::error::Error for InUse {}

/// Returns an ID that distinguishes a directory from its copies. `/_local/health` returns that of the server's
/// directory.
pub fn identity(dir: &Path) -> Option<String> {
    let about = std::fs::metadata(dir).ok()?;
    Some(format!("{}:{}", about.dev(), about.ino()))
}

/// Creates a directory that only its owner may read: it contains keys, rows and pictures.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// How long to retry if a directory is in use: a program that is just being started briefly shares the lock of the
/// program that starts it.
const SEEMS_USED: Duration = Duration::from_secs(1);
/// The interval between attempts to lock it.
const AGAIN: Duration = Duration::from_millis(10);

/// Locks a directory for a single local AWS, for as long as the file is open. The system closes the file when the
/// process ends, even if it is killed.
///
/// Errors: another local AWS uses the directory ([`InUse`]).
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
