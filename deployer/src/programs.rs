//! The programs of a stack, built and read: what is uploaded, and the hashes by which a change is seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{Config, Program},
    package::{self, Architecture, Error, Request, Target},
};

/// The programs of all functions and services, by their names in `stack.yaml`.
#[derive(Debug, Default)]
pub struct Programs {
    functions: BTreeMap<String, FunctionProgram>,
    services: BTreeMap<String, ServiceProgram>,
}

/// What a function runs.
#[derive(Debug, Clone, Default)]
pub struct FunctionProgram {
    /// The SHA-256 of the zip in base64, as AWS gives it.
    pub sha256: String,
    /// The zip.
    pub zip: Arc<[u8]>,
}

/// What a service runs.
#[derive(Debug, Clone, Default)]
pub struct ServiceProgram {
    /// The SHA-256 of the program in hexadecimal.
    pub sha256: String,
    /// The program.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Where the programs will run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This machine.
    Laptop,
    /// Amazon Linux 2023.
    Aws,
}

impl Programs {
    /// No programs: enough for what only looks at or removes a stack.
    pub fn none() -> Self {
        Programs::default()
    }

    /// Builds and reads the programs of these entries.
    ///
    /// Errors: what Cargo said, missing tools with the command that installs them, or why a program cannot run
    /// at its destination.
    pub async fn build(
        config: &Config,
        folder: &Path,
        destination: Destination,
        wanted: impl Fn(&str) -> bool,
        mut progress: impl FnMut(&str),
    ) -> Result<Programs, Error> {
        let functions = config.functions.iter().map(|(entry, function)| Source {
            section: "functions",
            entry: entry.as_str(),
            program: &function.program,
            architecture: function.architecture,
        });
        let services = config.services.iter().map(|(entry, service)| Source {
            section: "services",
            entry: entry.as_str(),
            program: &service.program,
            architecture: service.instance_type.architecture(),
        });
        let sources: Vec<Source> = functions
            .chain(services)
            .filter(|source| wanted(&format!("{}.{}", source.section, source.entry)))
            .collect();
        let mut programs = Programs::default();
        for target in sources.iter().map(|source| source.target(destination)).collect::<BTreeSet<_>>() {
            let here: Vec<&Source> = sources.iter().filter(|source| source.target(destination) == target).collect();
            let built = build_all(&here, folder, target, &mut progress).await?;
            for source in here {
                programs.add(source, folder, &built, target)?;
            }
        }
        Ok(programs)
    }

    /// The program of this function.
    pub fn function(&self, entry: &str) -> FunctionProgram {
        self.functions.get(entry).cloned().unwrap_or_default()
    }

    /// The program of this service.
    pub fn service(&self, entry: &str) -> ServiceProgram {
        self.services.get(entry).cloned().unwrap_or_default()
    }

    fn add(
        &mut self,
        source: &Source<'_>,
        folder: &Path,
        built: &BTreeMap<String, PathBuf>,
        target: Target,
    ) -> Result<(), Error> {
        let path = match source.program {
            Program::Package(package) => built[package.as_str()].clone(),
            Program::Binary(path) => folder.join(path),
        };
        let bytes = package::read(&path, target)?;
        if source.section == "functions" {
            let zip: Arc<[u8]> = package::function_zip(&bytes).into();
            let program = FunctionProgram { sha256: package::sha256_base64(&zip), zip };
            self.functions.insert(source.entry.into(), program);
        } else {
            let (sha256, bytes) = (package::sha256_hex(&bytes), bytes.len() as u64);
            self.services.insert(source.entry.into(), ServiceProgram { sha256, path, bytes });
        }
        Ok(())
    }
}

struct Source<'a> {
    section: &'static str,
    entry: &'a str,
    program: &'a Program,
    architecture: Architecture,
}

impl Source<'_> {
    fn target(&self, destination: Destination) -> Target {
        match destination {
            Destination::Laptop => Target::Host,
            Destination::Aws => Target::Aws(self.architecture),
        }
    }
}

async fn build_all(
    sources: &[&Source<'_>],
    folder: &Path,
    target: Target,
    progress: &mut impl FnMut(&str),
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let packages: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| match source.program {
            Program::Package(package) => Some(package.as_str()),
            Program::Binary(_) => None,
        })
        .collect();
    let request = Request { workspace: folder, packages: packages.into_iter().collect(), target };
    package::build(&request, progress).await
}
