//! Builds every program in one call of Cargo, whose messages contain the paths of the results.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::{BuildRequest, Building, Error, GLIBC, Platform, tools};

/// Builds the programs of all packages and returns their paths.
///
/// Checks first that the tools for AWS are installed. Passes each line of Cargo's output to `progress`. Dropping the
/// future kills Cargo.
pub(super) async fn build(
    directory: &Path,
    request: &BuildRequest<'_>,
    progress: &mut impl FnMut(Building<'_>),
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let (workspace, programs) = prepare(directory, request).await?;
    let arguments = arguments(request.target, workspace.reach(&programs), &programs);
    let mut places = BTreeMap::new();
    let noted = |message: &str| places.extend(place(message, &programs));
    progress(Building::Began { packages: &request.packages, target: request.target });
    run(directory, &arguments, &mut *progress, noted).await?;
    progress(Building::Ended);
    match programs.iter().find(|p| !places.contains_key(&p.package)) {
        None => Ok(places),
        Some(program) => {
            Err(Error::Answer { command: command_line(&arguments), what: format!("where it put {}", program.name) })
        }
    }
}

/// Checks that the packages exist and that the tools are installed, without building.
pub(super) async fn check(directory: &Path, request: &BuildRequest<'_>) -> Result<(), Error> {
    prepare(directory, request).await.map(drop)
}

async fn prepare(directory: &Path, request: &BuildRequest<'_>) -> Result<(Workspace, Vec<CargoProgram>), Error> {
    let workspace = Workspace::read(directory).await?;
    let programs = workspace.programs(&request.packages)?;
    if let Platform::Aws(architecture) = request.target {
        tools::require(directory, architecture).await?;
    }
    Ok((workspace, programs))
}

/// The path of Cargo: `cargo run` passes it in `CARGO`.
pub(super) fn cargo(workspace: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace)
        .env("CARGO_TERM_COLOR", "never")
        // Its progress bar is the only place where Cargo reports how many crates are left. It needs a width.
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "80")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| describes_us(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// `cargo run` passes variables about its own package to the program. If these were passed on, build scripts that watch
/// them would run again, and most crates would be rebuilt.
fn describes_us(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// A package and the program of it to build.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CargoProgram {
    package: String,
    id: String,
    name: String,
}

/// The part of `cargo metadata` that is used.
#[derive(Debug, Deserialize)]
struct Workspace {
    packages: Vec<Package>,
    workspace_default_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    default_run: Option<String>,
    targets: Vec<BuildTarget>,
}

#[derive(Debug, Deserialize)]
struct BuildTarget {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    async fn read(directory: &Path) -> Result<Self, Error> {
        let arguments = ["metadata", "--no-deps", "--format-version=1"].map(String::from);
        let mut answer = String::new();
        run(directory, &arguments, |_| (), |line| answer.push_str(line)).await?;
        serde_json::from_str(&answer)
            .map_err(|_| Error::Answer { command: command_line(&arguments), what: "which packages there are".into() })
    }

    fn programs(&self, packages: &[&str]) -> Result<Vec<CargoProgram>, Error> {
        packages.iter().map(|name| self.program(name)).collect()
    }

    fn program(&self, name: &str) -> Result<CargoProgram, Error> {
        let package = self.packages.iter().find(|package| package.name == name);
        let package = package.ok_or_else(|| self.no_package(name))?;
        let names = package.programs();
        let chosen = match (&package.default_run, names.as_slice()) {
            (Some(default), _) => default,
            (None, [only]) => only,
            (None, _) => {
                return Err(Error::NotOneProgram { package: package.name.clone(), programs: names });
            }
        };
        Ok(CargoProgram { package: package.name.clone(), id: package.id.clone(), name: chosen.clone() })
    }

    fn no_package(&self, name: &str) -> Error {
        let runnable = self.packages.iter().filter(|p| !p.programs().is_empty());
        Error::NoPackage { name: name.into(), known: runnable.map(|package| package.name.clone()).collect() }
    }

    /// Cargo resolves features over the packages that are built. Without a selection it takes the default members, as
    /// `cargo run` does, so that both share every artifact; `--workspace` is passed only if that would miss one of our
    /// packages.
    fn reach(&self, programs: &[CargoProgram]) -> Option<&'static str> {
        let by_default = |program: &CargoProgram| self.workspace_default_members.contains(&program.id);
        (!programs.iter().all(by_default)).then_some("--workspace")
    }
}

impl Package {
    fn programs(&self) -> Vec<String> {
        let is_program = |target: &&BuildTarget| target.kind.iter().any(|kind| kind == "bin");
        let programs = self.targets.iter().filter(is_program);
        programs.map(|target| target.name.clone()).collect()
    }
}

fn arguments(target: Platform, reach: Option<&str>, programs: &[CargoProgram]) -> Vec<String> {
    let mut arguments: Vec<String> = match target {
        Platform::Host => vec!["build".into()],
        Platform::Aws(architecture) => vec![
            "zigbuild".into(),
            "--release".into(),
            "--target".into(),
            format!("{}.{}.{}", architecture.triple(), GLIBC.0, GLIBC.1),
        ],
    };
    arguments.push("--message-format=json-render-diagnostics".into());
    arguments.extend(reach.map(String::from));
    for program in programs {
        arguments.extend(["--bin".into(), program.name.clone()]);
    }
    arguments
}

fn command_line(arguments: &[String]) -> String {
    format!("cargo {}", arguments.join(" "))
}

/// Returns the program and path in one of Cargo's messages, if it has one.
fn place(message: &str, programs: &[CargoProgram]) -> Option<(String, PathBuf)> {
    #[derive(Deserialize)]
    struct Artifact {
        package_id: String,
        target: BuildTarget,
        executable: Option<PathBuf>,
    }
    // Other kinds of messages lack these fields.
    let artifact: Artifact = serde_json::from_str(message).ok()?;
    let program = programs.iter().find(|p| p.id == artifact.package_id && p.name == artifact.target.name)?;
    Some((program.package.clone(), artifact.executable?))
}

/// Runs Cargo to its end, passing on the lines of its standard error and standard output as they arrive.
async fn run(
    workspace: &Path,
    arguments: &[String],
    mut progress: impl FnMut(Building<'_>),
    message: impl FnMut(&str),
) -> Result<(), Error> {
    let start = |source| Error::Start { program: "cargo".into(), source };
    let mut child =
        cargo(workspace).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    let output = child.stdout.take().expect("standard output is piped");
    let errors = child.stderr.take().expect("standard error is piped");
    let mut tail = Tail::default();
    let lines = |line: &str| match count(line) {
        Some((done, all)) => progress(Building::Counted { done, all }),
        None => {
            tail.push(line);
            progress(Building::Line(line));
        }
    };
    tokio::join!(each_line(output, message), each_line(errors, lines));
    match child.wait().await.map_err(start)?.success() {
        true => Ok(()),
        false => Err(Error::Cargo { command: command_line(arguments), tail: tail.excerpt() }),
    }
}

/// Returns the counts in Cargo's progress bar, such as `Building [==>   ] 12/345: aws-sdk-ec2`: units of work that are
/// done, and all of them.
fn count(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (done, all) = counts.split(':').next()?.trim().split_once('/')?;
    Some((done.parse().ok()?, all.parse().ok()?))
}

/// Passes on lines, which end with a line feed, or with the carriage return after a progress bar. Source files, and so
/// compiler messages that quote them, may contain any bytes.
async fn each_line(mut stream: impl AsyncRead + Unpin, mut act: impl FnMut(&str)) {
    let mut act = |line: &[u8]| act(String::from_utf8_lossy(line).trim_end());
    let (mut unread, mut follows_return) = (Vec::new(), false);
    while stream.read_buf(&mut unread).await.is_ok_and(|count| count > 0) {
        while let Some(end) = unread.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let mut line: Vec<u8> = unread.drain(..=end).collect();
            let is_return = line.pop() == Some(b'\r');
            // Both together end one line.
            if !(follows_return && !is_return && line.is_empty()) {
                act(&line);
            }
            follows_return = is_return;
        }
    }
    if !unread.is_empty() {
        act(&unread);
    }
}

/// The last lines of Cargo's output.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    const KEPT: usize = 200;
    const SHOWN: usize = 40;

    fn push(&mut self, line: &str) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line.into());
    }

    /// The most useful lines: everything from the first error on.
    fn excerpt(self) -> Vec<String> {
        let first = self.0.iter().position(|line| line.starts_with("error"));
        let start = first.unwrap_or(self.0.len().saturating_sub(Self::SHOWN));
        self.0.into_iter().skip(start).take(Self::SHOWN).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::package::Architecture;

    /// Its name, additions to its Cargo.toml, and its source files.
    type Source<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn workspace(packages: &[Source<'_>]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let members: Vec<_> = packages.iter().map(|(name, ..)| *name).collect();
        fs::write(
            directory.path().join("Cargo.toml"),
            format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n"),
        )
        .unwrap();
        for (name, more, files) in packages {
            let package = directory.path().join(name);
            fs::create_dir_all(package.join("src/bin")).unwrap();
            fs::write(
                package.join("Cargo.toml"),
                format!("[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n{more}"),
            )
            .unwrap();
            for (file, content) in *files {
                fs::write(package.join("src").join(file), content).unwrap();
            }
        }
        directory
    }

    async fn built(directory: &TempDir, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>, Error> {
        let request = BuildRequest { workspace: directory.path(), packages: packages.to_vec(), target: Platform::Host };
        build(directory.path(), &request, &mut |_| ()).await
    }

    #[tokio::test]
    async fn the_programs_of_all_packages_are_built_and_found() {
        let directory = workspace(&[
            ("package-test-one", "", &[("main.rs", "fn main() { print!(\"one\") }")]),
            (
                "package-test-two",
                "default-run = \"package-test-deux\"\n",
                &[
                    ("bin/package-test-deux.rs", "fn main() { print!(\"deux\") }"),
                    ("bin/package-test-other.rs", "not even Rust"),
                ],
            ),
        ]);
        let (mut lines, mut counts, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
        let request = BuildRequest {
            workspace: directory.path(),
            packages: vec!["package-test-one", "package-test-two"],
            target: Platform::Host,
        };
        let mut noted = |building: Building<'_>| match building {
            Building::Line(line) => lines.push(line.to_owned()),
            Building::Counted { done, all } => counts.push((done, all)),
            Building::Began { packages, .. } => bounds.push(packages.len()),
            Building::Ended => bounds.push(0),
        };
        let places = build(directory.path(), &request, &mut noted).await.unwrap();
        let says = |package: &str| std::process::Command::new(&places[package]).output().unwrap().stdout;
        assert_eq!(places.len(), 2);
        assert_eq!(says("package-test-one"), b"one");
        assert_eq!(says("package-test-two"), b"deux");
        assert!(lines.iter().any(|line| line.contains("Compiling package-test-one")), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("Building [")), "{lines:?}");
        assert!(counts.iter().all(|(done, all)| done <= all), "{counts:?}");
        assert_eq!(bounds, [2, 0]);
    }

    #[tokio::test]
    async fn a_program_that_does_not_compile_shows_the_compilers_words() {
        let directory = workspace(&[("package-test-broken", "", &[("main.rs", "fn main() { missing() }")])]);
        let error = built(&directory, &["package-test-broken"]).await.unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("`cargo build") && shown.contains("cannot find function `missing`"), "{shown}");
    }

    #[tokio::test]
    async fn an_unknown_package_is_answered_with_the_known_ones() {
        let directory = workspace(&[
            ("package-test-known", "", &[("main.rs", "fn main() {}")]),
            ("package-test-library", "", &[("lib.rs", "")]),
        ]);
        let error = built(&directory, &["package-test-knwon"]).await.unwrap_err();
        assert_eq!(error.to_string(), "the workspace has no package \"package-test-knwon\"");
        assert_eq!(error.hint().unwrap(), "its programs are: package-test-known");
    }

    #[tokio::test]
    async fn a_package_must_have_one_program() {
        let directory = workspace(&[
            ("package-test-library", "", &[("lib.rs", "")]),
            ("package-test-many", "", &[("bin/a.rs", "fn main() {}"), ("bin/b.rs", "fn main() {}")]),
        ]);
        let none = built(&directory, &["package-test-library"]).await.unwrap_err();
        assert_eq!(none.to_string(), "package \"package-test-library\" has no program");
        let many = built(&directory, &["package-test-many"]).await.unwrap_err();
        assert_eq!(many.to_string(), "package \"package-test-many\" has several programs: a, b");
    }

    #[test]
    fn the_progress_bar_is_counted_and_nothing_else() {
        assert_eq!(count("    Building [===>          ] 12/345: aws-sdk-ec2, poem(build)"), Some((12, 345)));
        assert_eq!(count("    Building [=============>] 345/345"), Some((345, 345)));
        for line in ["   Compiling aws-sdk-ec2 v1.2.3", "    Building [", "warning: Building [a] b/c", ""] {
            assert_eq!(count(line), None, "{line}");
        }
    }

    #[tokio::test]
    async fn lines_end_with_a_line_feed_and_bars_with_a_carriage_return() {
        let output = b"   Compiling a\n    Building [=>] 0/2: a    \r   Compiling b\r\n\r\n\n    Finished";
        let mut lines = Vec::new();
        each_line(&output[..], |line| lines.push(line.to_owned())).await;
        assert_eq!(lines, ["   Compiling a", "    Building [=>] 0/2: a", "   Compiling b", "", "", "    Finished"]);
    }

    #[test]
    fn only_programs_outside_the_default_members_need_the_whole_workspace() {
        let program = |id: &str| CargoProgram { package: id.into(), id: id.into(), name: id.into() };
        let workspace = Workspace { packages: vec![], workspace_default_members: vec!["a".into(), "b".into()] };
        assert_eq!(workspace.reach(&[program("a"), program("b")]), None);
        assert_eq!(workspace.reach(&[program("a"), program("c")]), Some("--workspace"));
    }

    #[test]
    fn messages_of_cargo_about_our_flags_are_dropped_and_others_passed_on() {
        let package = cargo(Path::new("."));
        let removed: Vec<_> = package
            .as_std()
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        // Cargo runs this test the way it runs a program.
        assert!(removed.contains(&"CARGO_PKG_NAME".into()), "{removed:?}");
        assert!(removed.contains(&"CARGO_MANIFEST_DIR".into()), "{removed:?}");
        for kept in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "PATH", "RUSTUP_TOOLCHAIN"] {
            assert!(!removed.contains(&kept.into()), "{removed:?}");
        }
    }

    #[test]
    fn for_aws_the_oldest_glibc_is_named_to_the_linker() {
        let labeler = CargoProgram { package: "labeler".into(), id: "labeler".into(), name: "labeler".into() };
        assert_eq!(
            command_line(&arguments(Platform::Aws(Architecture::Arm64), None, &[labeler])),
            "cargo zigbuild --release --target aarch64-unknown-linux-gnu.2.34 \
             --message-format=json-render-diagnostics --bin labeler"
        );
    }

    #[test]
    fn a_failure_is_shown_from_its_first_error_on() {
        let mut tail = Tail::default();
        for line in 0..300 {
            tail.push(&format!("   Compiling crate{line}"));
        }
        tail.push("error[E0425]: cannot find function");
        tail.push(" --> src/main.rs:1:13");
        assert_eq!(tail.excerpt(), ["error[E0425]: cannot find function", " --> src/main.rs:1:13"]);
    }
}
