//! Windows: without the local AWS, which needs process groups and their signals.

use std::{
    fs::{FileType, Metadata, OpenOptions},
    net::IpAddr,
};

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

use super::Opener;

/// Whether programs are ELF files, which can be checked: they are PE.
pub const RUNS_ELF: bool = false;

/// Programs that open an address. The first argument of `start` would be a title.
pub const OPENERS: &[Opener] = &[Opener { program: "cmd.exe", arguments: &["/c", "start", ""] }];

/// The variables that name the home directory; the first one that is set counts.
pub const HOME_VARIABLES: &[&str] = &["HOME", "USERPROFILE"];

/// The remedy where there is no local AWS.
pub const INSTEAD_OF_LOCAL: &str =
    "it runs in the Windows Subsystem for Linux: `wsl --install`, then install the deployer for Linux there";

/// Unknown: they are in the registry.
pub fn resolvers() -> Vec<IpAddr> {
    Vec::new()
}

/// Unknown: then nothing is certain about processes, and the lease of a dead run expires.
pub fn numbering() -> Option<String> {
    None
}

/// Unknown.
pub fn began(_pid: u32) -> Option<u64> {
    None
}

/// The name of this machine.
pub fn host() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// Listens for what stops a run: Ctrl-C, Ctrl-Break, and the closing of the window.
pub struct Signals(CtrlC, CtrlBreak, CtrlClose);

impl Signals {
    /// Listens from now on: they no longer end this process.
    pub fn listen() -> std::io::Result<Signals> {
        Ok(Signals(ctrl_c()?, ctrl_break()?, ctrl_close()?))
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => (),
            _ = self.1.recv() => (),
            _ = self.2.recv() => (),
        }
    }
}

/// A file that is created in a folder of the user is theirs.
pub fn for_us_alone(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// There are no FIFOs among the files.
pub fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Unknown: files have no such mode. `run` and `setup` can name the interpreter of a script.
pub fn is_executable(_metadata: &Metadata) -> bool {
    false
}

/// The kind of a file that is not a regular one, with the article.
pub fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() { "a directory" } else { "something else" }
}

/// Does nothing: hidden input reads key by key, and leaves nothing behind in lines.
pub fn discard_typed() {}
