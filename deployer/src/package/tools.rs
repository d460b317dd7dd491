//! The tools for building for AWS: whether they are installed, and how to install them.

use std::{fmt, path::Path, process::Stdio};

use tokio::process::Command;

use super::{Architecture, Error, cargo::cargo};

/// A tool that `cargo zigbuild` needs and Rust does not include.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The Cargo command that links with zig.
    Zigbuild,
    /// The linker that supports every version of glibc.
    Zig,
    /// Rust's standard library for another processor.
    Library(Architecture),
}

impl Tool {
    /// The command that installs it.
    pub fn install(self) -> String {
        match self {
            Self::Zigbuild => "cargo install --locked cargo-zigbuild".into(),
            Self::Zig => "pip install ziglang (if pip refuses, in a virtual environment)".into(),
            Self::Library(architecture) => format!("rustup target add {}", architecture.triple()),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zigbuild => f.write_str("cargo-zigbuild"),
            Self::Zig => f.write_str("zig"),
            Self::Library(architecture) => {
                write!(f, "Rust's library for {}", architecture.triple())
            }
        }
    }
}

/// Checks all tools first: a build that fails at linking, its last step, has cost minutes.
pub(super) async fn require(workspace: &Path, architecture: Architecture) -> Result<(), Error> {
    let mut zigbuild = cargo(workspace);
    zigbuild.args(["zigbuild", "--help"]);
    let (zigbuild, zig, library) =
        tokio::join!(succeeds(&mut zigbuild), has_zig(), has_library(workspace, architecture),);
    let missing: Vec<Tool> = [(zigbuild, Tool::Zigbuild), (zig, Tool::Zig), (library, Tool::Library(architecture))]
        .into_iter()
        .filter_map(|(there, tool)| (!there).then_some(tool))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Tools(missing)),
    }
}

/// The places where cargo-zigbuild looks for zig.
async fn has_zig() -> bool {
    if std::env::var_os("CARGO_ZIGBUILD_ZIG_PATH").is_some() {
        return true;
    }
    succeeds(Command::new("zig").arg("version")).await
        || succeeds(Command::new("python3").args(["-m", "ziglang", "version"])).await
        || succeeds(Command::new("python").args(["-m", "ziglang", "version"])).await
}

/// Asks the compiler, from the workspace, because its `rust-toolchain.toml` selects the toolchain.
async fn has_library(workspace: &Path, architecture: Architecture) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", architecture.triple()])
        .current_dir(workspace)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    answer.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir())
}

async fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).status();
    status.await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tools_are_named_with_the_commands_that_install_them() {
        let error = Error::Tools(vec![Tool::Zigbuild, Tool::Zig, Tool::Library(Architecture::Arm64)]);
        assert_eq!(
            error.to_string(),
            "building for AWS needs cargo-zigbuild, zig, Rust's library for aarch64-unknown-linux-gnu"
        );
        assert_eq!(
            error.hint().unwrap(),
            "install what is missing:\n  cargo install --locked cargo-zigbuild\n  pip install ziglang (if pip refuses, in \
             a virtual environment)\n  rustup target add aarch64-unknown-linux-gnu"
        );
    }

    #[tokio::test]
    async fn a_tool_that_cannot_be_started_counts_as_missing() {
        assert!(!succeeds(&mut Command::new("no-such-program-anywhere")).await);
    }

    #[tokio::test]
    async fn the_library_of_this_machine_is_there() {
        let here = match std::env::consts::ARCH {
            "aarch64" => Architecture::Arm64,
            _ => Architecture::X86_64,
        };
        if cfg!(all(target_os = "linux", target_env = "gnu")) {
            assert!(has_library(Path::new("."), here).await);
        }
    }
}
