//! Faulty configurations, and the errors that they lead to.

use std::fs;

use super::servers::{Answers, CLOSED, serve};
use crate::support::{Project, RunOutput};

pub const STACK: &str = "name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\n";

/// The name and the value of an environment variable.
pub type Variable = (&'static str, &'static str);

pub const ID: Variable = ("AWS_ACCESS_KEY_ID", "AKIAX");
pub const SECRET: Variable = ("AWS_SECRET_ACCESS_KEY", "x");
/// STS is the server of the case.
pub const STS: Variable = ("AWS_ENDPOINT_URL_STS", "SERVER");
pub const KEYS: &[Variable] = &[ID, SECRET, STS];

/// A faulty configuration, and the expected error.
pub struct Case {
    /// A description for the test's messages.
    pub what: &'static str,
    /// `~/.aws/config`.
    pub config: &'static str,
    /// `~/.aws/credentials`.
    pub credentials: &'static str,
    /// Other files below the home directory.
    pub files: &'static [(&'static str, &'static str)],
    /// Variables. `SERVER` is replaced by the address of the server, `CLOSED` by one at which no server listens.
    pub variables: &'static [Variable],
    /// The value of `--profile`, if it is not empty.
    pub profile: &'static str,
    pub server: Option<Answers>,
    pub region: &'static str,
    /// The source of the credentials, if the error is that the deployer cannot sign in with them: `with profile dev`.
    pub source: &'static str,
    /// The rest of the line that begins with `error:`; `~` is replaced by the home directory.
    pub error: &'static str,
    /// A part of the hint.
    pub hint: &'static str,
    /// The exit code.
    pub code: i32,
}

impl Case {
    /// No configuration at all.
    pub const NONE: Case = Case {
        what: "",
        config: "",
        credentials: "",
        files: &[],
        variables: &[],
        profile: "",
        server: None,
        region: "us-east-1",
        source: "",
        error: "",
        hint: "",
        code: 77,
    };

    /// The expected line, without its `error:`.
    fn line(&self) -> String {
        match self.source {
            "" => self.error.to_owned(),
            source => format!("cannot sign in {source}: {}", self.error),
        }
    }
}

pub fn run(case: &Case) -> (Project, RunOutput) {
    let project = Project::with(&STACK.replace("us-east-1", case.region));
    let home = project.path().to_owned();
    let files = [(".aws/config", case.config), (".aws/credentials", case.credentials)];
    for (path, text) in files.iter().chain(case.files).filter(|(_, text)| !text.is_empty()) {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("it is below the home directory")).expect("a folder can be made");
        fs::write(path, text.replace('~', &home.display().to_string())).expect("a file can be written");
    }
    let server = case.server.map(serve).unwrap_or_default();
    let value = |value: &str| {
        value.replace("SERVER", &server).replace("CLOSED", CLOSED).replace('~', &home.display().to_string())
    };
    let variables: Vec<(&str, String)> = case.variables.iter().map(|(name, text)| (*name, value(text))).collect();
    let mut variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if !case.variables.iter().any(|(name, _)| name.starts_with("AWS_EC2_METADATA")) {
        variables.push(("AWS_EC2_METADATA_DISABLED", "true"));
    }
    let arguments: &[&str] = if case.profile.is_empty() { &["plan"] } else { &["plan", "--profile", case.profile] };
    let said = project.run_with(arguments, &variables);
    (project, said)
}

/// Returns a description of what differs from the expectation.
fn check(case: &Case) -> Option<String> {
    let (project, said) = run(case);
    let home = project.path().display().to_string();
    let line = |begin: &str| {
        said.stderr.lines().find_map(|line| line.strip_prefix(begin)).unwrap_or_default().replace(&home, "~")
    };
    let (error, hint) = (line("error: "), line("hint: "));
    // Ports differ from run to run.
    let error = ports(&error);
    let errors = said.stderr.lines().filter(|line| line.starts_with("error:") || line.contains("caused by")).count();
    let is_right = said.code == case.code
        && error == case.line()
        && hint.contains(case.hint)
        && errors == 1
        && !said.stderr.contains("panicked");
    (!is_right).then(|| format!("{}: exit {}\n  error: {error}\n  hint: {hint}\n{}", case.what, said.code, said.stderr))
}

/// Replaces the port of every such address: `http://127.0.0.1:PORT`.
fn ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        shown.push_str("127.0.0.1:PORT");
        shown.push_str(rest);
    }
    shown
}

/// Runs all cases concurrently, because most of them wait.
pub fn check_all(cases: &[Case]) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| check(case))).collect();
        running.into_iter().filter_map(|case| case.join().expect("a case is checked")).collect()
    });
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
