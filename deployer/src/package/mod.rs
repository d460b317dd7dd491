//! Turns programs into uploads: built, checked, zipped, hashed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::machine::{files::read_regular_file, platform::RUNS_ELF};

mod cargo;
mod commit;
mod error;
mod folder;
mod function_folder;
mod glibc;
pub mod programs;
mod shipped;
mod tools;
mod zip;

pub use commit::Commit;
pub use error::Error;
pub use folder::{FolderError, Packing, archive};
pub use function_folder::FunctionFolder;
pub use glibc::{Unfit, Version, require_architecture, require_glibc};
pub use shipped::{Shipped, is_in_workspace};
pub use tools::Tool;
pub use zip::{function_zip, sha256_base64, sha256_hex};

/// The newest glibc that a program may need: that of Amazon Linux 2023, on instances and in functions alike.
pub const GLIBC: Version = (2, 34);

/// The platform of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// This machine, for `--local`: shares the build with `cargo run`.
    Host,
    /// Amazon Linux 2023 on this processor.
    Aws(Architecture),
}

impl Platform {
    /// The platform in words.
    pub fn system(self) -> &'static str {
        match self {
            Platform::Host => "this machine",
            Platform::Aws(_) => "Amazon Linux 2023",
        }
    }
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
    /// The architecture of this machine.
    pub const HERE: Architecture = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 };

    /// The other architecture.
    pub fn other(self) -> Architecture {
        match self {
            Self::X86_64 => Self::Arm64,
            Self::Arm64 => Self::X86_64,
        }
    }

    /// AWS's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's name for it.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// A request to build programs.
#[derive(Debug, Clone)]
pub struct BuildRequest<'a> {
    /// The directory of `stack.yaml`; `Cargo.toml` is there or above.
    pub workspace: &'a Path,
    /// The Cargo packages, each with one program.
    pub packages: Vec<&'a str>,
    /// The platform of the programs.
    pub target: Platform,
}

/// The progress of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Building<'a> {
    /// Cargo starts to build these packages.
    Began {
        /// The packages.
        packages: &'a [&'a str],
        /// The platform of the programs.
        target: Platform,
    },
    /// Cargo prints this line.
    Line(&'a str),
    /// So many of Cargo's units of work, about one for each crate, are done.
    Counted {
        /// The programs that are done.
        done: usize,
        /// All of them.
        all: usize,
    },
    /// Cargo has succeeded.
    Ended,
}

/// Builds the programs of all packages and returns their paths. Where there is no Cargo workspace, takes those that the
/// release of the deployer brings.
///
/// Dropping the future ends the build.
pub async fn build(
    request: &BuildRequest<'_>,
    progress: &mut impl FnMut(Building<'_>),
) -> Result<BTreeMap<String, PathBuf>, Error> {
    if request.packages.is_empty() {
        return Ok(BTreeMap::new());
    }
    let folder = absolute(request.workspace);
    match is_in_workspace(&folder) {
        true => cargo::build(&folder, request, progress).await,
        false => Shipped::beside_us().programs(&folder, &request.packages, request.target),
    }
}

/// Checks without building that the packages exist and the tools are installed, or that the release brings the programs.
/// Returns what was found.
pub async fn check(request: &BuildRequest<'_>) -> Result<&'static str, Error> {
    let folder = absolute(request.workspace);
    match is_in_workspace(&folder) {
        true => cargo::check(&folder, request).await.map(|()| "the packages and the tools are there"),
        false => Shipped::beside_us()
            .programs(&folder, &request.packages, request.target)
            .map(|_| "not needed: the programs come with the deployer"),
    }
}

/// The directory of a bare `stack.yaml` is empty, and a relative path has no further ancestors.
fn absolute(directory: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    here.join(directory)
}

/// The largest program accepted.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the bytes of a program, built by us or named by the user.
///
/// Guarantees: the program starts on the target platform, as far as its file shows.
pub fn read(program: &Path, target: Platform) -> Result<Vec<u8>, Error> {
    let bytes = read_regular_file(program, MOST_BYTES).map_err(Error::Read)?;
    let unfit = |source| Error::Unfit { program: PathBuf::from(program), target, source };
    match target {
        Platform::Aws(architecture) => require(&bytes, architecture).map_err(unfit)?,
        Platform::Host if RUNS_ELF => require_architecture(&bytes, Architecture::HERE).map_err(unfit)?,
        Platform::Host => (),
    }
    Ok(bytes)
}

/// Rejects programs beyond Lambda's limits for direct uploads: larger zips would have to come from a bucket
/// (docs/aws.md §7.1).
pub fn require_function_size(path: &Path, program: usize, zip: usize) -> Result<(), Error> {
    const MIB: usize = 1 << 20;
    for (how, bytes, limit) in [("unpacked", program, 250 * MIB), ("in a zip", zip, 50 * MIB)] {
        if bytes > limit {
            return Err(Error::TooLarge { program: path.to_owned(), how, bytes, limit });
        }
    }
    Ok(())
}

/// Rejects programs that cannot start on Amazon Linux 2023 with this processor.
pub fn require(program: &[u8], architecture: Architecture) -> Result<(), Unfit> {
    require_architecture(program, architecture)?;
    require_glibc(program, GLIBC)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn built(directory: &Path, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>, Error> {
        let request = BuildRequest { workspace: directory, packages: packages.to_vec(), target: Platform::Host };
        build(&request, &mut |_| ()).await
    }

    #[tokio::test]
    async fn without_a_workspace_it_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let error = built(directory.path(), &["labeler"]).await.unwrap_err();
        assert!(matches!(&error, Error::NoWorkspace { folder, .. } if folder == directory.path()));
        assert!(error.hint().unwrap().contains("Cargo.toml"));
    }

    #[tokio::test]
    async fn nothing_to_build_needs_no_cargo() {
        let directory = tempfile::tempdir().unwrap();
        assert!(built(directory.path(), &[]).await.unwrap().is_empty());
    }

    #[test]
    fn the_directory_of_a_bare_file_name_is_the_current_one() {
        let bare = Path::new("stack.yaml").parent().unwrap();
        assert!(is_in_workspace(&absolute(bare)), "tests run in their package");
    }

    #[test]
    fn a_text_file_is_refused_for_aws_and_says_which_file() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("labeler.sh");
        std::fs::write(&script, "#!/bin/sh\necho labels\n").unwrap();
        let error = read(&script, Platform::Aws(Architecture::X86_64)).unwrap_err();
        assert!(error.to_string().contains("labeler.sh"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn on_this_machine_a_program_of_this_machine_is_taken_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("labeler.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(matches!(read(&script, Platform::Host), Err(Error::Unfit { source: Unfit::NotElf, .. })));
        assert!(!read(&std::env::current_exe().unwrap(), Platform::Host).unwrap().is_empty());
    }

    #[test]
    fn endless_and_blocking_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for (path, kind) in [(Path::new("/dev/zero"), "a device"), (directory.path(), "a directory")] {
            let error = read(path, Platform::Host).unwrap_err();
            assert!(error.to_string().contains(kind), "{error}");
        }
    }

    #[test]
    fn a_function_larger_than_lambda_takes_is_refused() {
        let check =
            |program, zip| require_function_size(Path::new("f"), program, zip).map_err(|error| error.to_string());
        assert_eq!(check(262_144_000, 52_428_800), Ok(()));
        let unpacked = "f is too large for a function: 262144001 bytes unpacked, and Lambda takes 262144000";
        assert_eq!(check(262_144_001, 1), Err(unpacked.into()));
        let zipped = "f is too large for a function: 52428801 bytes in a zip, and Lambda takes 52428800";
        assert_eq!(check(1, 52_428_801), Err(zipped.into()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/labeler"), Platform::Host).unwrap_err();
        assert_eq!(error.to_string(), "failed to read /nowhere/labeler");
        assert!(error.hint().unwrap().contains("build the program first"));
    }
}
