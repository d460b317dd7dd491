//! Managed runtimes: functions of Python and Node.js, which run with the interpreters of this machine (docs/aws.md §7.8).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::Command;

use crate::{Function, parameter};
use kit::answer::Refusal;
use kit::parameters;
use kit::store;

/// A language whose functions run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Python.
    Python,
    /// JavaScript on Node.js.
    Node,
}

/// What runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// The program `bootstrap` in its code.
    Bootstrap,
    /// An interpreter of this machine, and our client.
    Interpreter(Language),
    /// Only AWS.
    OnlyAws,
    /// Nothing: AWS does not take it for new functions.
    Nothing,
}

/// The runtimes of Lambda (docs/aws.md §7.8).
const RUNTIMES: &[(&str, Runs)] = &[
    ("provided.al2023", Runs::Bootstrap),
    ("provided.al2", Runs::Bootstrap),
    ("python3.12", Runs::Interpreter(Language::Python)),
    ("python3.13", Runs::Interpreter(Language::Python)),
    ("python3.14", Runs::Interpreter(Language::Python)),
    ("nodejs22.x", Runs::Interpreter(Language::Node)),
    ("nodejs24.x", Runs::Interpreter(Language::Node)),
    ("dotnet10", Runs::OnlyAws),
    ("dotnet8", Runs::OnlyAws),
    ("java11", Runs::OnlyAws),
    ("java17", Runs::OnlyAws),
    ("java21", Runs::OnlyAws),
    ("java25", Runs::OnlyAws),
    ("java8.al2", Runs::OnlyAws),
    ("nodejs20.x", Runs::OnlyAws),
    ("python3.10", Runs::OnlyAws),
    ("python3.11", Runs::OnlyAws),
    ("python3.9", Runs::OnlyAws),
    ("ruby3.2", Runs::OnlyAws),
    ("ruby3.3", Runs::OnlyAws),
    ("ruby3.4", Runs::OnlyAws),
    ("dotnet6", Runs::Nothing),
    ("dotnetcore2.1", Runs::Nothing),
    ("dotnetcore3.1", Runs::Nothing),
    ("go1.x", Runs::Nothing),
    ("java8", Runs::Nothing),
    ("nodejs10.x", Runs::Nothing),
    ("nodejs12.x", Runs::Nothing),
    ("nodejs14.x", Runs::Nothing),
    ("nodejs16.x", Runs::Nothing),
    ("nodejs18.x", Runs::Nothing),
    ("provided", Runs::Nothing),
    ("python3.6", Runs::Nothing),
    ("python3.7", Runs::Nothing),
    ("python3.8", Runs::Nothing),
    ("ruby2.7", Runs::Nothing),
];

/// Returns the language of a managed runtime; `None` for `provided.*`.
pub(crate) fn language(runtime: &str) -> Option<Language> {
    match RUNTIMES.iter().find(|(name, _)| *name == runtime) {
        Some((_, Runs::Interpreter(language))) => Some(*language),
        _ => None,
    }
}

/// Checks runtime and handler of a function.
///
/// Errors: those of AWS, and 501 for runtimes that only AWS has.
pub(crate) fn check(runtime: &str, handler: &str) -> Result<(), Refusal> {
    if runtime.is_empty() || handler.is_empty() {
        let text = "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
        return Err(parameter(text));
    }
    match RUNTIMES.iter().find(|(name, _)| *name == runtime).map(|(_, runs)| runs) {
        Some(Runs::Bootstrap | Runs::Interpreter(_)) => {}
        Some(Runs::OnlyAws) => {
            return Err(parameters::refusal(format!("the local AWS does not run functions of {runtime}")));
        }
        Some(Runs::Nothing) => {
            return Err(parameter(&format!(
                "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."
            )));
        }
        None => {
            let taken: Vec<&str> =
                RUNTIMES.iter().filter(|(_, runs)| *runs != Runs::Nothing).map(|(name, _)| *name).collect();
            return Err(parameter(&format!(
                "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
                taken.join(", ")
            )));
        }
    }
    if handler.contains(char::is_whitespace) {
        let text = format!(
            "1 validation error detected: Value '{handler}' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\s]+"
        );
        return Err(Refusal::new(400, "ValidationException", text));
    }
    Ok(())
}

impl Language {
    /// The name of its runtimes in the first line of a log.
    fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Node => "nodejs",
        }
    }

    /// Its interpreters, in the order in which they are looked for.
    fn programs(self, runtime: &str) -> Vec<String> {
        match self {
            Language::Python => vec![runtime.to_owned(), "python3".to_owned()],
            Language::Node => vec!["node".to_owned(), "nodejs".to_owned()],
        }
    }

    /// The arguments with which an interpreter prints its path and its version, in a line each.
    fn question(self) -> [&'static str; 2] {
        match self {
            Language::Python => {
                ["-c", "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3], flush=True)"]
            }
            Language::Node => ["-p", "process.execPath + '\\n' + process.versions.node"],
        }
    }

    /// The oldest version that runs our client.
    fn oldest(self) -> (u32, u32) {
        match self {
            Language::Python => (3, 8),
            Language::Node => (18, 19),
        }
    }

    /// The file of our client, and its text.
    fn client(self) -> (&'static str, &'static str) {
        match self {
            Language::Python => ("bootstrap.py", include_str!("clients/python.py")),
            Language::Node => ("bootstrap.cjs", include_str!("clients/node.cjs")),
        }
    }

    /// The arguments of the interpreter before the file: output is neither buffered nor in another encoding than UTF-8.
    fn options(self) -> &'static [&'static str] {
        match self {
            Language::Python => &["-u", "-X", "utf8"],
            Language::Node => &[],
        }
    }
}

/// The features of Node.js that Lambda switches off in one runtime, unless `NODE_OPTIONS` has the flag (docs/aws.md §7.8).
const SWITCHED_OFF: &[&str] = &["experimental-detect-module", "experimental-require-module"];
const WITHOUT_FEATURES: &str = "nodejs22.x";

/// An interpreter of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    language: Language,
    program: PathBuf,
    version: String,
}

impl Interpreter {
    /// The first line of the log of a process (docs/aws.md §7.8), with the version that runs it here.
    pub(crate) fn init_start(&self) -> String {
        let Interpreter { language, program, version } = self;
        format!("INIT_START Runtime Version: {}:{version}\t({} of this machine)", language.name(), program.display())
    }

    /// The arguments that switch off what Lambda switches off. Older versions know neither the features nor the flags.
    fn switches(&self, function: &Function) -> Vec<String> {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let has_features = major >= 22 || (major == 20 && minor >= 19);
        if function.runtime != WITHOUT_FEATURES || !has_features {
            return Vec::new();
        }
        let options = function.variables.get("NODE_OPTIONS").map_or("", String::as_str);
        let off = SWITCHED_OFF.iter().filter(|flag| !options.contains(&format!("--{flag}")));
        off.map(|flag| format!("--no-{flag}")).collect()
    }
}

/// The interpreters of this machine, found when they are first needed.
#[derive(Debug)]
pub(crate) struct Interpreters {
    /// The directory of our clients.
    dir: PathBuf,
    /// Those found, by the runtime.
    found: Mutex<BTreeMap<String, Interpreter>>,
}

/// How long an interpreter may take to print its version.
const PATIENCE: Duration = Duration::from_secs(10);

impl Interpreters {
    /// Interpreters whose clients are in a directory within that of all functions.
    pub(crate) fn new(functions: &Path) -> Interpreters {
        Interpreters { dir: functions.join("runtime"), found: Mutex::default() }
    }

    /// The directory of our clients, `/var/runtime` on AWS.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the interpreter for a runtime; `None` if its functions bring a program.
    ///
    /// Errors: this machine has none.
    pub(crate) async fn find(&self, runtime: &str) -> io::Result<Option<Interpreter>> {
        let Some(language) = language(runtime) else { return Ok(None) };
        let known = self.found.lock().get(runtime).cloned();
        if let Some(known) = known.filter(|known| known.program.is_file()) {
            return Ok(Some(known));
        }
        let programs = language.programs(runtime);
        for program in &programs {
            if let Some(found) = ask(language, program).await {
                self.found.lock().insert(runtime.to_owned(), found.clone());
                return Ok(Some(found));
            }
        }
        let (major, minor) = language.oldest();
        Err(io::Error::other(format!(
            "the local AWS runs functions of {runtime} with {} of this machine, and found no version {major}.{minor} or later: install one, and put it on the PATH of `deployer`",
            programs.join(" or ")
        )))
    }

    /// Returns the command that runs the code of a function, after writing our client to its place.
    pub(crate) fn command(&self, interpreter: &Interpreter, function: &Function) -> io::Result<Command> {
        let (file, text) = interpreter.language.client();
        let client = self.dir.join(file);
        write_if_other(&client, text)?;
        // Node.js would take settings from a description above the code.
        write_if_other(&self.dir.with_file_name("package.json"), "{}\n")?;
        let mut command = Command::new(&interpreter.program);
        command.args(interpreter.language.options()).args(interpreter.switches(function)).arg(client);
        Ok(command)
    }
}

fn write_if_other(file: &Path, text: &str) -> io::Result<()> {
    match std::fs::read(file) {
        Ok(there) if there == text.as_bytes() => Ok(()),
        _ => store::write(file, text.as_bytes()),
    }
}

/// Asks a program for its path and version; `None` if there is no such program, or it is too old.
async fn ask(language: Language, program: &str) -> Option<Interpreter> {
    let mut command = Command::new(program);
    command.args(language.question()).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| read(language, &String::from_utf8_lossy(&output.stdout)))?
}

/// Reads the answer of an interpreter.
fn read(language: Language, answer: &str) -> Option<Interpreter> {
    let (program, version) = answer.trim().split_once('\n')?;
    let (program, version) = (program.trim(), version.trim());
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let known = (parts.next()??, parts.next()??);
    let interpreter = Interpreter { language, program: program.into(), version: version.to_owned() };
    (!program.is_empty() && known >= language.oldest()).then_some(interpreter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_and_handlers_are_refused_as_on_aws() {
        for (runtime, handler, code, text) in [
            ("", "app.handler", "InvalidParameterValueException", "Runtime and Handler are mandatory"),
            ("python3.13", "", "InvalidParameterValueException", "Runtime and Handler are mandatory"),
            ("provided.al2023", "", "InvalidParameterValueException", "Runtime and Handler are mandatory"),
            ("python3.99", "a.b", "InvalidParameterValueException", "Value python3.99 at 'runtime' failed"),
            ("provided.x", "a.b", "InvalidParameterValueException", "or be a valid ARN"),
            ("python3.8", "a.b", "InvalidParameterValueException", "python3.8 is no longer supported"),
            ("java21", "a.B::c", "NotImplementedException", "does not run functions of java21"),
            ("nodejs24.x", "a b", "ValidationException", "at 'handler' failed to satisfy constraint"),
        ] {
            let refused = check(runtime, handler).expect_err(runtime);
            assert_eq!(refused.code, code, "{runtime} {handler}");
            assert!(refused.message.contains(text), "{}", refused.message);
        }
        for runtime in ["provided.al2023", "python3.12", "python3.14", "nodejs22.x"] {
            assert!(check(runtime, "app.handler").is_ok(), "{runtime}");
        }
    }

    #[test]
    fn node_runs_without_the_features_that_lambda_switches_off() {
        let switches = |version: &str, runtime: &str, options: &str| {
            let interpreter = Interpreter { language: Language::Node, program: "node".into(), version: version.into() };
            let mut function = Function::new("f", String::new());
            function.runtime = runtime.into();
            function.variables.insert("NODE_OPTIONS".into(), options.into());
            interpreter.switches(&function)
        };
        let both = ["--no-experimental-detect-module", "--no-experimental-require-module"];
        assert_eq!(switches("20.19.0", "nodejs22.x", ""), both);
        assert_eq!(switches("24.1.0", "nodejs22.x", ""), both);
        assert_eq!(switches("22.12.0", "nodejs22.x", "--experimental-require-module"), both[..1]);
        for (version, runtime) in [("18.19.0", "nodejs22.x"), ("20.18.1", "nodejs22.x"), ("24.1.0", "nodejs24.x")] {
            assert_eq!(switches(version, runtime, ""), Vec::<String>::new(), "{version} {runtime}");
        }
    }

    #[test]
    fn an_interpreter_is_known_by_its_answer_and_an_old_one_is_not_taken() {
        let read = |language, answer| read(language, answer).map(|found| found.init_start());
        let first = "INIT_START Runtime Version: python:3.13.1\t(/usr/bin/python3 of this machine)";
        assert_eq!(read(Language::Python, "/usr/bin/python3\n3.13.1\n").as_deref(), Some(first));
        assert!(read(Language::Node, "/usr/bin/node\r\n22.1.0\r\n").is_some_and(|line| line.contains("nodejs:22.1.0")));
        for (language, answer) in [
            (Language::Python, "/usr/bin/python3\n3.7.9"),
            (Language::Node, "/usr/bin/node\n18.18.0"),
            (Language::Python, ""),
            (Language::Python, "\n3.13.1"),
            (Language::Node, "/usr/bin/node\nnightly"),
        ] {
            assert_eq!(read(language, answer), None, "{answer}");
        }
    }
}
