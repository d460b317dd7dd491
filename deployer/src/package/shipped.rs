//! The programs that a release of the deployer brings, for machines without Rust.
//!
//! An archive has the layout of a prefix such as `/usr/local`: beside `bin/deployer` it contains
//! `share/deployer/programs/TARGET/PROGRAM`, where TARGET is Rust's name of a platform.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{Error, Platform};

/// The folder of the programs, as seen from the folder of the deployer.
const PROGRAMS: &str = "../share/deployer/programs";

/// The deployer's own platform.
const HERE: &str = env!("BUILT_FOR");

/// Whether `Cargo.toml` is in this folder or above: then programs are built, even if the release has one of that name.
pub fn is_in_workspace(folder: &Path) -> bool {
    folder.ancestors().any(|above| above.join("Cargo.toml").is_file())
}

/// The programs beside the deployer.
#[derive(Debug, Default)]
pub struct Shipped {
    /// The directories to search, in order.
    folders: Vec<PathBuf>,
}

impl Shipped {
    /// The programs of this installation: beside the deployer as it was started, then beside the file that symbolic
    /// links to it lead to.
    pub fn beside_us() -> Shipped {
        std::env::current_exe().map(|deployer| Shipped::beside(&deployer)).unwrap_or_default()
    }

    fn beside(deployer: &Path) -> Shipped {
        let mut folders: Vec<PathBuf> = Vec::new();
        for file in [Some(deployer.to_owned()), deployer.canonicalize().ok()].into_iter().flatten() {
            let folder = file.parent().and_then(|bin| bin.join(PROGRAMS).canonicalize().ok());
            folders.extend(folder.filter(|folder| !folders.contains(folder)));
        }
        Shipped { folders }
    }

    /// Returns the program of this name for this platform, if the release has it.
    pub fn program(&self, name: &str, target: Platform) -> Option<PathBuf> {
        // A name of a package is not a path.
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let file = format!("{name}{}", if target == Platform::Host { std::env::consts::EXE_SUFFIX } else { "" });
        let mut places = self.folders.iter().map(|folder| folder.join(platform(target)).join(&file));
        places.find(|place| is_name && place.is_file())
    }

    /// Returns the programs of these packages.
    ///
    /// Errors: the release lacks one, which is named together with those that there are.
    pub fn programs(
        &self,
        folder: &Path,
        packages: &[&str],
        target: Platform,
    ) -> Result<BTreeMap<String, PathBuf>, Error> {
        let find = |package: &&str| match self.program(package, target) {
            Some(program) => Ok(((*package).to_owned(), program)),
            None => Err(Error::NoWorkspace {
                folder: folder.to_owned(),
                package: (*package).to_owned(),
                shipped: self.names(target),
                target,
            }),
        };
        packages.iter().map(find).collect()
    }

    /// The names of the programs for this platform, sorted.
    fn names(&self, target: Platform) -> Vec<String> {
        let entries = self.folders.iter().filter_map(|folder| std::fs::read_dir(folder.join(platform(target))).ok());
        let files = entries.flatten().flatten().map(|entry| entry.path());
        let names = files.filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()));
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The folder of the programs for a platform.
fn platform(target: Platform) -> &'static str {
    match target {
        Platform::Host => HERE,
        Platform::Aws(architecture) => architecture.triple(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Architecture;

    /// An unpacked release with these files below `share/deployer/programs`.
    fn release(programs: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let prefix = tempfile::tempdir().unwrap();
        let deployer = prefix.path().join("bin/deployer");
        std::fs::create_dir(prefix.path().join("bin")).unwrap();
        std::fs::write(&deployer, "").unwrap();
        for program in programs {
            let file = prefix.path().join("share/deployer/programs").join(program);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        (prefix, deployer)
    }

    #[test]
    fn a_release_has_programs_for_each_platform() {
        let arm64 = Platform::Aws(Architecture::Arm64);
        let here = format!("{HERE}/service{}", std::env::consts::EXE_SUFFIX);
        let (prefix, deployer) = release(&[&here, "aarch64-unknown-linux-gnu/labeler"]);
        let shipped = Shipped::beside(&deployer);
        let found = |name: &str, target| {
            let programs = prefix.path().canonicalize().unwrap().join("share/deployer/programs");
            shipped.program(name, target).map(|at| at.strip_prefix(programs).unwrap().to_owned())
        };
        assert_eq!(found("service", Platform::Host), Some(here.into()));
        assert_eq!(found("labeler", arm64), Some("aarch64-unknown-linux-gnu/labeler".into()));
        assert_eq!(found("service", arm64), None);
        assert_eq!(found("../service", Platform::Host), None);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_to_the_deployer_leads_to_the_programs() {
        let arm64 = Platform::Aws(Architecture::Arm64);
        let (_prefix, deployer) = release(&["aarch64-unknown-linux-gnu/service"]);
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("deployer");
        std::os::unix::fs::symlink(&deployer, &link).unwrap();
        assert!(Shipped::beside(&link).program("service", arm64).is_some());
    }

    #[test]
    fn a_missing_program_is_named_with_those_that_there_are() {
        let arm64 = Platform::Aws(Architecture::Arm64);
        let (_prefix, deployer) = release(&["aarch64-unknown-linux-gnu/service", "aarch64-unknown-linux-gnu/labeler"]);
        let shipped = Shipped::beside(&deployer);
        assert_eq!(shipped.programs(Path::new("/app"), &["labeler", "service"], arm64).unwrap().len(), 2);
        let error = shipped.programs(Path::new("/app"), &["labeler", "shop"], arm64).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no Cargo.toml in /app or above to build \"shop\" from, and this installation of the deployer has only \
             labeler, service for arm64"
        );
        let error = Shipped::default().programs(Path::new("/app"), &["labeler"], Platform::Host).unwrap_err();
        assert_eq!(error.to_string(), "no Cargo.toml in /app or above to build \"labeler\" from");
        for way in ["Cargo.toml", "`binary`", "release of the deployer"] {
            assert!(error.hint().unwrap().contains(way), "{way}: {:?}", error.hint());
        }
    }
}
