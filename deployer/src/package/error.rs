//! Why there is nothing to upload, and what to do about it.

use std::{io, path::PathBuf};

use super::{GLIBC, glibc::Unfit, tools::Tool};

/// Why a program could not be built, read or accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Cargo workspace around `stack.yaml`.
    #[error("no Cargo.toml in {} or above", .0.display())]
    NoWorkspace(PathBuf),
    /// The workspace has no such package.
    #[error("the workspace has no package {name:?}")]
    NoPackage {
        /// What was asked for.
        name: String,
        /// What there is: the packages with a program.
        known: Vec<String>,
    },
    /// Which program of the package is meant is not clear, or it has none.
    #[error("package {package:?} has {}", listed(.programs))]
    NotOneProgram {
        /// The package.
        package: String,
        /// The names of its programs.
        programs: Vec<String>,
    },
    /// What builds for AWS is not installed.
    #[error("building for AWS needs {}", names(.0))]
    Tools(Vec<Tool>),
    /// A program could not be started.
    #[error("failed to start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Cargo started and failed.
    #[error("`{command}` failed\n{}", .tail.join("\n"))]
    Cargo {
        /// The command line, to be tried by hand.
        command: String,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// Cargo's answer was not understood.
    #[error("`{command}` did not say {what}")]
    Answer {
        /// The command line.
        command: String,
        /// What was looked for.
        what: String,
    },
    /// The program's file could not be read.
    #[error("failed to read the program {}", .program.display())]
    Read {
        /// The file.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program would not start on AWS.
    #[error("{} cannot run on Amazon Linux 2023", .program.display())]
    Unfit {
        /// The file.
        program: PathBuf,
        /// Why.
        source: Unfit,
    },
}

impl Error {
    /// What to do now, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorkspace(_) => Some(
                "put stack.yaml next to the Cargo.toml of the workspace, or name finished programs by their path"
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
            Self::Start { program, .. } if program == "cargo" => Some("install Rust from https://rustup.rs".into()),
            Self::Unfit { .. } => Some(format!(
                "name the package instead of a program, or build it with `cargo zigbuild --release --target <architecture>-unknown-linux-gnu.{}.{}`",
                GLIBC.0, GLIBC.1
            )),
            Self::Start { .. } | Self::Cargo { .. } | Self::Answer { .. } | Self::Read { .. } => None,
        }
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
