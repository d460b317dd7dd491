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
            let mut shelf = Shelf::default();
            for source in here {
                let path = match source.program {
                    Program::Package(package) => built[package.as_str()].clone(),
                    Program::Binary(path) => folder.join(path),
                };
                let entry = source.entry.to_owned();
                if source.section == "functions" {
                    programs.functions.insert(entry, shelf.function(path, target)?);
                } else {
                    programs.services.insert(entry, shelf.service(path, target)?);
                }
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
}

/// Programs that have been read: several entries may run the same one.
#[derive(Default)]
struct Shelf {
    functions: BTreeMap<PathBuf, FunctionProgram>,
    services: BTreeMap<PathBuf, ServiceProgram>,
}

impl Shelf {
    fn function(&mut self, path: PathBuf, target: Target) -> Result<FunctionProgram, Error> {
        if let Some(program) = self.functions.get(&path) {
            return Ok(program.clone());
        }
        let zip: Arc<[u8]> = package::function_zip(&package::read(&path, target)?).into();
        let program = FunctionProgram { sha256: package::sha256_base64(&zip), zip };
        self.functions.insert(path, program.clone());
        Ok(program)
    }

    fn service(&mut self, path: PathBuf, target: Target) -> Result<ServiceProgram, Error> {
        if let Some(program) = self.services.get(&path) {
            return Ok(program.clone());
        }
        let bytes = package::read(&path, target)?;
        let (sha256, bytes) = (package::sha256_hex(&bytes), bytes.len() as u64);
        let program = ServiceProgram { sha256, path: path.clone(), bytes };
        self.services.insert(path, program.clone());
        Ok(program)
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
