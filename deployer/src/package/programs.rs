//! Builds and reads the programs of a stack, with the hashes that reveal changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{Config, Folder, Managed, Program},
    kinds::artifact::Content,
    package::{self, Architecture, BuildRequest, Building, Commit, Error, FunctionFolder, Packing, Platform, Unfit},
};

/// The programs of all functions and services, by their names in `stack.yaml`.
#[derive(Debug, Default)]
pub struct Programs {
    functions: BTreeMap<String, FunctionProgram>,
    services: BTreeMap<String, ServiceProgram>,
    /// The commit they were built from, if it is known.
    pub commit: Option<Commit>,
    /// Programs that run on this machine but would not on AWS.
    pub warnings: Vec<Warning>,
}

/// A program that would not start on AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The path of the field that names it, such as `services.web.binary`.
    pub path: String,
    /// The reason.
    pub unfit: Unfit,
}

/// Why programs could not be built or read.
#[derive(Debug)]
pub struct Failed {
    /// The path of the field that names the program, if the error is about a single one.
    pub path: Option<String>,
    /// The error.
    pub error: Error,
}

/// The program of a function.
#[derive(Debug, Clone, Default)]
pub struct FunctionProgram {
    /// The SHA-256 of the zip in base64, as AWS returns it.
    pub sha256: String,
    /// The zip.
    pub zip: Arc<[u8]>,
}

/// The program of a service.
#[derive(Debug, Clone, Default)]
pub struct ServiceProgram {
    /// The SHA-256 of its content in hexadecimal.
    pub sha256: String,
    /// The program, or the archive of its folder.
    pub content: Content,
}

/// The destination of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This machine.
    Laptop,
    /// Amazon Linux 2023.
    Aws,
}

impl Programs {
    /// No programs: enough for commands that only read or remove a stack.
    pub fn none() -> Self {
        Programs::default()
    }

    /// Builds and reads the programs of these entries of the description at this path, to which theirs are relative.
    ///
    /// Where there is no Cargo workspace, takes the programs that the release of the deployer brings.
    ///
    /// Errors: Cargo's error, missing tools with the command that installs them, or the reason why a program cannot run
    /// at its destination.
    pub async fn build(
        config: &Config,
        description: &Path,
        destination: Destination,
        wanted: impl Fn(&str) -> bool,
        mut progress: impl FnMut(Building<'_>),
    ) -> Result<Programs, Failed> {
        let folder = folder_of(description);
        let sources = sources(config);
        let sources: Vec<ProgramSource> =
            sources.into_iter().filter(|source| wanted(&format!("{}.{}", source.section, source.entry))).collect();
        let mut programs = Programs { commit: Commit::of(folder).await, ..Programs::default() };
        for target in sources.iter().map(|source| source.target(destination)).collect::<BTreeSet<_>>() {
            let here: Vec<&ProgramSource> =
                sources.iter().filter(|source| source.target(destination) == target).collect();
            let built = build_all(&here, folder, target, &mut progress).await;
            let built = built.map_err(|error| Failed { path: named(&here, &error), error })?;
            let mut shelf = Shelf::default();
            for source in here {
                let entry = source.entry.to_owned();
                let failed = |error| source.failed(error);
                let path = match source.program {
                    Program::Package(package) => built[package.as_str()].clone(),
                    Program::Binary(path) => folder.join(path),
                    Program::Files(files) => {
                        programs.services.insert(entry, archived(description, files).map_err(failed)?);
                        continue;
                    }
                    Program::Managed(managed) => {
                        programs.functions.insert(entry, zipped(description, managed).map_err(failed)?);
                        continue;
                    }
                };
                programs.warnings.extend(source.warning(&path, destination));
                if source.section == "functions" {
                    programs.functions.insert(entry, shelf.function(path, target).map_err(failed)?);
                } else {
                    programs.services.insert(entry, shelf.service(path, target).map_err(failed)?);
                }
            }
        }
        Ok(programs)
    }

    /// Uses the program that this function has, by its hash as AWS returns it.
    pub fn keep_function(&mut self, entry: &str, sha256: String) {
        self.functions.insert(entry.into(), FunctionProgram { sha256, ..FunctionProgram::default() });
    }

    /// Uses the program that this service has, by its hash in hexadecimal.
    pub fn keep_service(&mut self, entry: &str, sha256: String) {
        self.services.insert(entry.into(), ServiceProgram { sha256, ..ServiceProgram::default() });
    }

    /// Checks the tools that a build needs, without building. Returns each check with its result.
    pub async fn check(
        config: &Config,
        description: &Path,
        destination: Destination,
    ) -> Vec<(String, Result<String, Failed>)> {
        let folder = folder_of(description);
        let sources = sources(config);
        let mut checked = Vec::new();
        for target in sources.iter().map(|source| source.target(destination)).collect::<BTreeSet<_>>() {
            let here: Vec<&ProgramSource> =
                sources.iter().filter(|source| source.target(destination) == target).collect();
            let packages = packages(&here);
            if !packages.is_empty() {
                let what = match target {
                    Platform::Host => format!("build of {}", packages.join(", ")),
                    Platform::Aws(architecture) => {
                        format!("build of {} for {}", packages.join(", "), architecture.name())
                    }
                };
                let result = package::check(&BuildRequest { workspace: folder, packages, target }).await;
                let result = result.map_err(|error| Failed { path: named(&here, &error), error });
                checked.push((what, result.map(str::to_owned)));
            }
            for source in here {
                let (what, result) = match source.program {
                    Program::Package(_) => continue,
                    Program::Binary(path) => {
                        let read = package::read(&folder.join(path), target);
                        (format!("program {}", path.display()), read.map(|_| format!("runs on {}", target.system())))
                    }
                    Program::Files(files) => {
                        let archived = archived(description, files).map(|_| "can be packed".to_owned());
                        (format!("folder {}", files.path.display()), archived)
                    }
                    Program::Managed(managed) => {
                        let zipped = zipped(description, managed).map(|_| "can be packed".to_owned());
                        (format!("folder {}", managed.path.display()), zipped)
                    }
                };
                checked.push((what, result.map_err(|error| source.failed(error))));
            }
        }
        checked
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

/// Caches programs: several entries may run the same one.
#[derive(Default)]
struct Shelf {
    functions: BTreeMap<PathBuf, FunctionProgram>,
    services: BTreeMap<PathBuf, ServiceProgram>,
}

impl Shelf {
    fn function(&mut self, path: PathBuf, target: Platform) -> Result<FunctionProgram, Error> {
        if let Some(program) = self.functions.get(&path) {
            return Ok(program.clone());
        }
        let program = package::read(&path, target)?;
        let zip: Arc<[u8]> = package::function_zip(&program).into();
        if target != Platform::Host {
            package::require_function_size(&path, program.len(), zip.len())?;
        }
        let program = FunctionProgram { sha256: package::sha256_base64(&zip), zip };
        self.functions.insert(path, program.clone());
        Ok(program)
    }

    fn service(&mut self, path: PathBuf, target: Platform) -> Result<ServiceProgram, Error> {
        if let Some(program) = self.services.get(&path) {
            return Ok(program.clone());
        }
        let bytes = package::read(&path, target)?;
        let program = ServiceProgram { sha256: package::sha256_hex(&bytes), content: Content::File(path.clone()) };
        self.services.insert(path, program.clone());
        Ok(program)
    }
}

/// The folder of a description.
fn folder_of(description: &Path) -> &Path {
    description.parent().unwrap_or(Path::new("."))
}

/// Packs the folder of a service.
fn archived(description: &Path, files: &Folder) -> Result<ServiceProgram, Error> {
    let packing = Packing { description, setup: files.commands.setup.as_deref() };
    let archive = package::archive(&folder_of(description).join(&files.path), packing).map_err(Error::Folder)?;
    Ok(ServiceProgram { sha256: package::sha256_hex(&archive), content: Content::Bytes(archive.into()) })
}

/// Packs the folder of a function.
fn zipped(description: &Path, managed: &Managed) -> Result<FunctionProgram, Error> {
    let folder = folder_of(description).join(&managed.path);
    let packed = FunctionFolder::pack(&folder, Packing { description, setup: None }).map_err(Error::Folder)?;
    let files = managed.runtime.files_of(&managed.handler);
    if !files.iter().any(|file| packed.has(file)) {
        return Err(Error::NoHandler { folder, handler: managed.handler.to_string(), files });
    }
    Ok(FunctionProgram { sha256: package::sha256_base64(&packed.zip), zip: packed.zip.into() })
}

struct ProgramSource<'a> {
    section: &'static str,
    entry: &'a str,
    program: &'a Program,
    architecture: Architecture,
}

impl ProgramSource<'_> {
    /// The path of the field that names it in `stack.yaml`.
    fn path(&self) -> String {
        let key = match self.program {
            Program::Package(_) => "package",
            Program::Binary(_) => "binary",
            Program::Files(_) | Program::Managed(_) => "files",
        };
        format!("{}.{}.{key}", self.section, self.entry)
    }

    /// An error about this program, with the path of the field that decides it.
    fn failed(&self, error: Error) -> Failed {
        let path = match error {
            Error::NoHandler { .. } => format!("{}.{}.handler", self.section, self.entry),
            _ => self.path(),
        };
        Failed { path: Some(path), error }
    }

    /// Why a prebuilt program that runs here would not start on AWS. Packages are rebuilt for AWS.
    fn warning(&self, file: &Path, destination: Destination) -> Option<Warning> {
        if destination == Destination::Aws || matches!(self.program, Program::Package(_)) {
            return None;
        }
        let program = package::read(file, Platform::Host).ok()?;
        let unfit = package::require(&program, self.architecture).err()?;
        Some(Warning { path: self.path(), unfit })
    }

    fn target(&self, destination: Destination) -> Platform {
        match destination {
            Destination::Laptop => Platform::Host,
            Destination::Aws => Platform::Aws(self.architecture),
        }
    }
}

/// The sources of all programs.
fn sources(config: &Config) -> Vec<ProgramSource<'_>> {
    let functions = config.functions.iter().map(|(entry, function)| ProgramSource {
        section: "functions",
        entry: entry.as_str(),
        program: &function.program,
        architecture: function.architecture,
    });
    let services = config.services.iter().map(|(entry, service)| ProgramSource {
        section: "services",
        entry: entry.as_str(),
        program: &service.program,
        architecture: service.instance_type.architecture(),
    });
    functions.chain(services).collect()
}

/// The packages among these sources, each once.
fn packages<'a>(sources: &[&ProgramSource<'a>]) -> Vec<&'a str> {
    let packages: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| match source.program {
            Program::Package(package) => Some(package.as_str()),
            Program::Binary(_) | Program::Files(_) | Program::Managed(_) => None,
        })
        .collect();
    packages.into_iter().collect()
}

/// The path of the field that names the package that could not be built.
fn named(sources: &[&ProgramSource<'_>], error: &Error) -> Option<String> {
    let (Error::NoPackage { name, .. }
    | Error::NotOneProgram { package: name, .. }
    | Error::NoWorkspace { package: name, .. }) = error
    else {
        return None;
    };
    let of_it = |source: &&&ProgramSource| matches!(source.program, Program::Package(package) if package == name);
    sources.iter().find(of_it).map(|source| source.path())
}

async fn build_all(
    sources: &[&ProgramSource<'_>],
    folder: &Path,
    target: Platform,
    progress: &mut impl FnMut(Building<'_>),
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let request = BuildRequest { workspace: folder, packages: packages(sources), target };
    package::build(&request, progress).await
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Builds the programs of this function and this service in a folder with these files.
    async fn built(function: &str, service: &str, destination: Destination) -> Result<Programs, Failed> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("script"), "#!/bin/sh\necho labels\n").unwrap();
        let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        std::fs::write(folder.path().join("here"), &program).unwrap();
        program[18] = match Architecture::HERE {
            Architecture::X86_64 => 0xb7, // e_machine: EM_AARCH64
            Architecture::Arm64 => 0x3e,
        };
        std::fs::write(folder.path().join("elsewhere"), &program).unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let text = format!(
            "name: app\nregion: us-east-1\nfunctions: {{ f: {{ {function} }} }}\nservices: {{ s: {{ {service} }} }}\n"
        );
        let config = Config::parse("stack.yaml", &text).unwrap();
        Programs::build(&config, &folder.path().join("stack.yaml"), destination, |_| true, |_| ()).await
    }

    async fn refused(function: &str, service: &str, destination: Destination) -> (Option<String>, String, String) {
        let Failed { path, error } = built(function, service, destination).await.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(error.is_about_the_description(), "{error}");
        (path, format!("{error} {source}"), error.hint().unwrap())
    }

    const SERVICE: &str = "binary: here, instance_type: t3.micro";

    #[tokio::test]
    async fn a_program_that_cannot_be_used_is_named_with_its_place_and_remedy() {
        for destination in [Destination::Laptop, Destination::Aws] {
            for (binary, said, remedy) in [
                ("./missing", "failed to read", "build the program first"),
                (".", "it is a directory", "name the file of a program"),
                ("pipe", "it is a FIFO", "name the file of a program"),
                ("/dev/zero", "it is a device", "name the file of a program"),
                ("script", "it is not a 64-bit Linux program", "`package`"),
            ] {
                let (path, message, hint) = refused(&format!("binary: {binary}"), SERVICE, destination).await;
                assert_eq!(path.as_deref(), Some("functions.f.binary"), "{binary}");
                assert!(message.contains(said) && hint.contains(remedy), "{binary}: {message} {hint}");
            }
            let service = "binary: script, instance_type: t3.micro";
            let (path, ..) = refused("binary: here", service, destination).await;
            assert_eq!(path.as_deref(), Some("services.s.binary"));
        }
    }

    #[tokio::test]
    async fn a_folder_is_packed_for_any_destination_or_named_with_its_place() {
        for destination in [Destination::Laptop, Destination::Aws] {
            let programs = built("binary: here", "files: ., run: ./here, instance_type: t4g.micro", destination).await;
            let Failed { path, error } = programs.unwrap_err();
            assert_eq!(path.as_deref(), Some("services.s.files"));
            assert!(
                error.is_about_the_description()
                    && error.to_string().ends_with("pipe is a FIFO: only files, folders and links can be deployed"),
                "{error}"
            );
            assert_eq!(error.hint().unwrap(), "remove it, or move it out of the folder");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("app")).unwrap();
        std::fs::write(folder.path().join("app/main.py"), "print()").unwrap();
        let text = "name: app\nregion: us-east-1\nservices: { s: { files: app, run: python3 main.py, instance_type: t4g.micro } }\n";
        let config = Config::parse("stack.yaml", text).unwrap();
        let hash = async |destination| {
            let programs = Programs::build(&config, &folder.path().join("stack.yaml"), destination, |_| true, |_| ())
                .await
                .unwrap();
            assert!(programs.warnings.is_empty());
            let checked = Programs::check(&config, &folder.path().join("stack.yaml"), destination).await;
            assert!(matches!(&checked[..], [(what, Ok(found))] if what == "folder app" && found == "can be packed"));
            programs.service("s").sha256
        };
        assert_eq!(hash(Destination::Laptop).await, hash(Destination::Aws).await);
    }

    #[tokio::test]
    async fn the_folder_of_a_function_is_packed_with_its_handler_or_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("app/lib")).unwrap();
        std::fs::write(folder.path().join("app/app.py"), "def handler(event, context): ...").unwrap();
        std::fs::write(folder.path().join("app/lib/other.mjs"), "export const handler = () => 1").unwrap();
        let description = folder.path().join("stack.yaml");
        let built = async |files: &str, runtime: &str, handler: &str, destination| {
            let function = format!("files: {files}, runtime: {runtime}, handler: {handler}");
            let text = format!("name: app\nregion: us-east-1\nfunctions: {{ f: {{ {function} }} }}\n");
            let config = Config::parse("stack.yaml", &text).unwrap();
            let checked = Programs::check(&config, &description, destination).await;
            let built = Programs::build(&config, &description, destination, |_| true, |_| ()).await;
            assert_eq!(checked[0].1.is_ok(), built.is_ok(), "{function}");
            built.map(|programs| programs.function("f"))
        };
        let mut hashes = BTreeSet::new();
        for destination in [Destination::Laptop, Destination::Aws] {
            for (runtime, handler) in [("python3.13", "app.handler"), ("nodejs24.x", "lib/other.handler")] {
                let function = built("app", runtime, handler, destination).await.unwrap();
                assert_eq!(function.sha256, package::sha256_base64(&function.zip));
                hashes.insert(function.sha256);
            }
            for (files, runtime, handler, place, said) in [
                ("app", "python3.13", "other.handler", "handler", "neither other.py, nor other/__init__.py"),
                ("app", "nodejs22.x", "app.handler", "handler", "has no file for the handler app.handler"),
                ("missing", "python3.13", "app.handler", "files", "failed to read"),
            ] {
                let Failed { path, error } = built(files, runtime, handler, destination).await.unwrap_err();
                assert_eq!(path, Some(format!("functions.f.{place}")), "{error}");
                assert!(error.to_string().contains(said) && error.is_about_the_description(), "{error}");
                assert!(error.hint().is_some(), "{error}");
            }
        }
        assert_eq!(hashes.len(), 1, "runtime and handler are not part of the zip");
    }

    #[tokio::test]
    async fn a_program_for_another_processor_is_refused_for_aws_and_warned_of_here() {
        let (architecture, instance_type) = match Architecture::HERE {
            Architecture::X86_64 => ("arm64", "t4g.micro"),
            Architecture::Arm64 => ("x86_64", "t3.micro"),
        };
        let (function, service) = (
            format!("binary: here, architecture: {architecture}"),
            format!("binary: here, instance_type: {instance_type}"),
        );
        let (path, message, hint) = refused(&function, &service, Destination::Aws).await;
        assert!(path.is_some() && message.contains("cannot run on Amazon Linux 2023"), "{path:?} {message}");
        assert!(message.contains(&format!("it was built for {}", Architecture::HERE.name())), "{message}");
        assert!(hint.contains(Architecture::HERE.other().triple()) && hint.contains("`instance_type`"), "{hint}");
        let programs = built(&function, &service, Destination::Laptop).await.unwrap();
        let warned: Vec<&str> = programs.warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(warned, ["functions.f.binary", "services.s.binary"]);
        let (_, message, _) = refused("binary: elsewhere", SERVICE, Destination::Laptop).await;
        assert!(message.contains("cannot run on this machine"), "{message}");
    }

    #[tokio::test]
    async fn a_package_that_is_not_there_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let text = "name: app\nregion: us-east-1\nfunctions: { f: { package: nothing } }\n";
        let config = Config::parse("stack.yaml", text).unwrap();
        std::fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        let failed = Programs::build(&config, &folder.path().join("stack.yaml"), Destination::Laptop, |_| true, |_| ())
            .await
            .unwrap_err();
        assert_eq!(failed.path.as_deref(), Some("functions.f.package"));
    }
}
