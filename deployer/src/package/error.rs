//! Why a program cannot be built or uploaded, with the remedy.

use std::{io, path::PathBuf};

use super::{Architecture, FolderError, GLIBC, Platform, glibc::Unfit, tools::Tool};
use crate::machine::files::FileError;

/// Why a program could not be built, read or accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Cargo workspace around `stack.yaml`, and no such program in this installation of the deployer.
    #[error("no Cargo.toml in {} or above to build {package:?} from{}", .folder.display(), only(.shipped, *.target))]
    NoWorkspace {
        /// The folder of `stack.yaml`.
        folder: PathBuf,
        /// The package.
        package: String,
        /// The programs that this installation has for the platform.
        shipped: Vec<String>,
        /// The platform.
        target: Platform,
    },
    /// The workspace has no package of this name.
    #[error("the workspace has no package {name:?}")]
    NoPackage {
        /// The requested name.
        name: String,
        /// The packages that have a program.
        known: Vec<String>,
    },
    /// The package has no program, or several.
    #[error("package {package:?} has {}", listed(.programs))]
    NotOneProgram {
        /// The package.
        package: String,
        /// The names of its programs.
        programs: Vec<String>,
    },
    /// Tools for building for AWS are missing.
    #[error("building for AWS needs {}", names(.0))]
    Tools(Vec<Tool>),
    /// A program could not be started.
    #[error("failed to start {program}")]
    Start {
        /// Its name.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// Cargo failed.
    #[error("`{command}` failed\n{}", .tail.join("\n"))]
    Cargo {
        /// The command line, for trying it by hand.
        command: String,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// Cargo's output was not understood.
    #[error("`{command}` did not say {what}")]
    Answer {
        /// The command line.
        command: String,
        /// The missing part.
        what: String,
    },
    /// The program's file could not be read.
    #[error(transparent)]
    Read(FileError),
    /// The folder of the program could not be packed.
    #[error(transparent)]
    Folder(FolderError),
    /// The folder of a function does not have the file of its handler.
    #[error("{} has no file for the handler {handler}: {}", .folder.display(), one_of(.files))]
    NoHandler {
        /// The folder.
        folder: PathBuf,
        /// The handler.
        handler: String,
        /// The files that could have it.
        files: Vec<String>,
    },
    /// The program cannot run on its target platform.
    #[error("{} cannot run on {}", .program.display(), .target.system())]
    Unfit {
        /// The file.
        program: PathBuf,
        /// The platform.
        target: Platform,
        /// The reason.
        source: Unfit,
    },
    /// The program exceeds a limit of Lambda.
    #[error("{} is too large for a function: {bytes} bytes {how}, and Lambda takes {limit}", .program.display())]
    TooLarge {
        /// The file.
        program: PathBuf,
        /// `in a zip` or `unpacked`.
        how: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Error {
    /// The remedy, if it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorkspace { .. } => Some(
                "one of these:\n  put stack.yaml next to the Cargo.toml of the workspace\n  name a finished program by its \
                 path, with `binary`\n  name a service's folder with `files`, and its command with `run`\n  \
                 name a function's folder with `files`, and its `runtime` and `handler`\n  \
                 install a release of the deployer, which brings labeler and service"
                    .into(),
            ),
            Self::NoPackage { known, .. } => Some(format!("its programs are: {}", known.join(", "))),
            Self::NotOneProgram { package, .. } => {
                Some(format!("give the package one program, or set `default-run` in the Cargo.toml of {package}"))
            }
            Self::Tools(missing) => {
                let commands: Vec<_> = missing.iter().map(|tool| format!("  {}", tool.install())).collect();
                Some(format!("install what is missing:\n{}", commands.join("\n")))
            }
            Self::Start { program, .. } if program == "cargo" => Some(
                "one of these:\n  install Rust from https://rustup.rs\n  for labeler and service of a release of the \
                 deployer, move stack.yaml out of the Cargo workspace"
                    .into(),
            ),
            Self::Unfit { target, source, .. } => Some(way_to_fit(*target, source)),
            Self::Read(FileError::Io { .. }) => {
                Some("build the program first, or correct the path: it begins at the folder of stack.yaml".into())
            }
            Self::TooLarge { .. } => Some(
                "build it in release mode, without symbols: `strip = true` in [profile.release] of Cargo.toml".into(),
            ),
            Self::Folder(error) => Some(error.hint().into()),
            Self::NoHandler { .. } => Some(
                "correct `handler`: a file of the folder without its extension, a dot and the function's name, such as \
                 app.handler"
                    .into(),
            ),
            Self::Read(_) => Some("name the file of a program".into()),
            Self::Start { .. } | Self::Cargo { .. } | Self::Answer { .. } => None,
        }
    }

    /// Whether the error is in stack.yaml rather than in the program.
    pub fn is_about_the_description(&self) -> bool {
        matches!(
            self,
            Self::NoWorkspace { .. }
                | Self::NoPackage { .. }
                | Self::NotOneProgram { .. }
                | Self::Read(_)
                | Self::Folder(_)
                | Self::NoHandler { .. }
                | Self::Unfit { .. }
                | Self::TooLarge { .. }
        )
    }
}

/// The remedy for a program built for another platform.
fn way_to_fit(target: Platform, unfit: &Unfit) -> String {
    let Platform::Aws(architecture) = target else {
        return "build it for this machine, or name its Cargo package with `package`".into();
    };
    let build = format!(
        "name its Cargo package with `package`, or build it with `cargo zigbuild --release --target {}.{}.{}`",
        architecture.triple(),
        GLIBC.0,
        GLIBC.1
    );
    let is_for_the_other = matches!(unfit, Unfit::Architecture { built, .. } if *built == architecture.other().name());
    match (is_for_the_other, architecture) {
        (false, _) => build,
        (true, Architecture::Arm64) => {
            format!(
                "{build}; or let it run on x86_64: a service by an `instance_type` such as t3.micro, a function by `architecture: x86_64`"
            )
        }
        (true, Architecture::X86_64) => {
            format!(
                "{build}; or let it run on arm64: a service by an `instance_type` such as t4g.micro, a function by `architecture: arm64`"
            )
        }
    }
}

/// The programs that there are instead.
fn only(shipped: &[String], target: Platform) -> String {
    let platform = match target {
        Platform::Host => "this machine",
        Platform::Aws(architecture) => architecture.name(),
    };
    match shipped {
        [] => String::new(),
        names => format!(", and this installation of the deployer has only {} for {platform}", names.join(", ")),
    }
}

fn one_of(files: &[String]) -> String {
    match files {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("neither {}, nor {last}", first.join(", ")),
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no program".into(),
        names => format!("several programs: {}", names.join(", ")),
    }
}

fn names(tools: &[Tool]) -> String {
    tools.iter().map(Tool::to_string).collect::<Vec<_>>().join(", ")
}
