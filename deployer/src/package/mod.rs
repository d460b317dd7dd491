//! Turns the user's Rust programs into what is uploaded: built, checked, zipped, hashed.

use std::path::{Path, PathBuf};

mod cargo;
mod error;
mod glibc;
mod tools;
mod zip;

pub use cargo::build;
pub use error::Error;
pub use glibc::{Unfit, Version, require_architecture, require_glibc};
pub use tools::Tool;
pub use zip::{function_zip, sha256_base64, sha256_hex};

/// The newest glibc a program may need: the one of Amazon Linux 2023, for instances and functions alike.
pub const GLIBC: Version = (2, 34);

/// Where the programs are going to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// This machine, with `--local`: the build that `cargo run` would use.
    Host,
    /// Amazon Linux 2023 on AWS.
    Aws(Architecture),
}

/// The processors AWS offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// Intel and AMD: `x86_64`.
    X86_64,
    /// Graviton: `arm64`.
    Arm64,
}

impl Architecture {
    /// The name AWS uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name Rust uses.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The directory of `stack.yaml`; `Cargo.toml` is there or above.
    pub workspace: &'a Path,
    /// The Cargo packages, each with one program.
    pub packages: Vec<&'a str>,
    /// Where the programs are going to run.
    pub target: Target,
}

/// The bytes of a program, built by us or named by the user.
///
/// Guarantees: what is returned for AWS starts there, as far as its file can tell.
pub fn read(program: &Path, target: Target) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(program).map_err(|source| Error::Read { program: program.to_owned(), source })?;
    if let Target::Aws(architecture) = target {
        let unfit = |source| Error::Unfit { program: PathBuf::from(program), source };
        require_architecture(&bytes, architecture).map_err(unfit)?;
        require_glibc(&bytes, GLIBC).map_err(unfit)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_file_is_refused_for_aws_and_says_which_file() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("labeler.sh");
        std::fs::write(&script, "#!/bin/sh\necho labels\n").unwrap();
        let error = read(&script, Target::Aws(Architecture::X86_64)).unwrap_err();
        assert!(error.to_string().contains("labeler.sh"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn on_this_machine_anything_that_can_be_read_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("labeler.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(read(&script, Target::Host).unwrap(), b"#!/bin/sh\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/labeler"), Target::Host).unwrap_err();
        assert_eq!(error.to_string(), "failed to read the program /nowhere/labeler");
    }
}
