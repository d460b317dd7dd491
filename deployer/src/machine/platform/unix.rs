//! The common parts of Linux and macOS: signals, kinds of files, process groups.

use std::{
    fs::{FileType, Metadata, OpenOptions},
    net::IpAddr,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The variables that name the home directory; the first one that is set counts.
pub const HOME_VARIABLES: &[&str] = &["HOME"];

/// The remedy where there is no local AWS.
#[cfg(not(feature = "local"))]
pub const INSTEAD_OF_LOCAL: &str = "build the deployer with the cargo feature `local`, which is on by default";

/// Listens for the signals that stop a run: Ctrl-C and SIGTERM.
pub struct Signals(Signal, Signal);

impl Signals {
    /// Listens from now on: they no longer end this process.
    pub fn listen() -> std::io::Result<Signals> {
        Ok(Signals(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => (),
            _ = self.1.recv() => (),
        }
    }
}

/// Discards what was typed on the terminal and has not been read.
pub fn discard_typed() {
    // Nothing can be done about a failure.
    rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush).ok();
}

/// The DNS resolvers of this machine.
pub fn resolvers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let address = |line: &str| line.strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().filter_map(address).collect()
}

/// Makes a new file readable by its owner only.
pub fn for_us_alone(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Opens without waiting for the other end of a FIFO.
pub fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
}

/// Whether the owner of a file may execute it.
pub fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// The kind of a file that is not a regular one, with the article.
pub fn kind(file_type: FileType) -> &'static str {
    match () {
        () if file_type.is_dir() => "a directory",
        () if file_type.is_fifo() => "a FIFO",
        () if file_type.is_socket() => "a socket",
        () if file_type.is_char_device() || file_type.is_block_device() => "a device",
        () => "something else",
    }
}

#[cfg(feature = "local")]
pub use local::*;

/// Functions that only the local AWS needs.
#[cfg(feature = "local")]
mod local {
    use std::{
        io,
        os::unix::{
            fs::{DirBuilderExt as _, PermissionsExt as _},
            process::CommandExt as _,
        },
        path::Path,
        process::Command,
    };

    use rustix::{
        fs::{Access, access},
        process::{Pid, Signal, kill_process, test_kill_process},
    };

    use super::super::is_defunct;

    /// Starts a process in a group of its own: Ctrl-C is not meant for it.
    pub fn in_own_group(command: &mut Command) -> &mut Command {
        command.process_group(0)
    }

    /// Sends SIGTERM to a process.
    pub fn ask_to_stop(pid: i32) -> io::Result<()> {
        let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Whether a process runs: it exists and is not a zombie.
    pub fn runs(pid: i32) -> bool {
        Pid::from_raw(pid).is_some_and(|known| test_kill_process(known).is_ok()) && !is_defunct(pid)
    }

    /// Makes a folder that only its owner may read, or makes an existing one such.
    pub fn make_private(dir: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
    }

    /// Checks that this process may create files in a folder.
    pub fn require_writable(folder: &Path) -> io::Result<()> {
        Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
    }
}
