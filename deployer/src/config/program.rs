//! The programs of functions and services.

use std::path::PathBuf;

use super::INDENTED;
use super::runtimes::{Handler, Runtime};

/// The most bytes of `run`, `setup` and `packages` of a service. It leaves enough room in user data for the rest (docs/aws.md
/// §8.4).
pub const LARGEST_COMMANDS: usize = 1024;

/// The source of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A package of the Cargo workspace around the file.
    Package(String),
    /// A finished program, relative to the file.
    Binary(PathBuf),
    /// A folder with a program in any language; of services only.
    Files(Folder),
    /// A folder that a runtime of Lambda runs; of functions only.
    Managed(Managed),
}

/// A folder that a runtime of Lambda runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Its path, relative to the file.
    pub path: PathBuf,
    /// The runtime.
    pub runtime: Runtime,
    /// The function in it that the runtime calls.
    pub handler: Handler,
}

/// A folder with a program in any language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its path, relative to the file.
    pub path: PathBuf,
    /// The commands with which instances run it.
    pub commands: Commands,
}

/// The commands that instances run in a folder of files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commands {
    /// The command that runs the program.
    pub run: String,
    /// The command that runs once before.
    pub setup: Option<String>,
    /// The packages to install.
    pub packages: Vec<String>,
}

impl Commands {
    /// The maximum number of bytes that they take in user data: it indents each line.
    pub fn bytes(&self) -> usize {
        let lines = |text: &str| text.lines().map(|line| line.len() + INDENTED).sum::<usize>();
        let packages: usize = self.packages.iter().map(|package| package.len() + 1).sum();
        lines(&self.run) + self.setup.as_deref().map_or(0, lines) + packages
    }
}
