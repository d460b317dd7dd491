//! The commands that user data may run. They are implemented here and confined to an instance's root directory.

mod aws;
mod curl;
mod files;
mod no_tools;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::shell::Nest;
use super::{Objects, archive::tar, dnf::dnf, elastic_ip, journal, secrets, shell};

use aws::aws;
use curl::curl;
pub use files::parse_mode;
use files::{chmod, copy, mkdir, sha256sum};
pub use no_tools::NoTools;

/// Converts a path of the instance to a path of this machine below the instance's root.
///
/// Errors: the path is not absolute, or leads out of the root.
pub fn below(root: &Path, path: &str) -> Result<PathBuf, String> {
    let Some(relative) = path.strip_prefix('/') else {
        return Err(format!("'{path}' is not an absolute path"));
    };
    let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain { Ok(root.join(relative)) } else { Err(format!("'{path}' leads out of the instance")) }
}

/// The result of a command.
#[derive(Debug, Default)]
pub struct Done {
    pub status: i32,
    pub output: Vec<u8>,
    pub errors: String,
}

impl Done {
    pub fn failed(why: impl std::fmt::Display) -> Done {
        Done { status: 1, output: Vec::new(), errors: format!("{why}\n") }
    }

    fn printed(output: impl Into<Vec<u8>>) -> Done {
        Done { output: output.into(), ..Done::default() }
    }
}

/// The resources that commands can access beyond an instance's files: objects, logs, the journal, units and their
/// ports.
#[async_trait]
pub trait Tools: Objects {
    /// Returns the lines of a unit in the journal from a byte on, or from the first one that is still there, and the byte
    /// at which they begin.
    fn journal(&self, unit: &str, from: u64) -> (u64, String);

    /// Makes a call of CloudWatch Logs in a region, which is the instance's by default. The error is the CLI's message.
    async fn log(&self, region: Option<&str>, operation: &str, input: Value) -> Result<Value, String>;

    /// Makes a call of Secrets Manager or Parameter Store in a region. The error is the CLI's message.
    async fn value(&self, region: Option<&str>, operation: &str, input: Value) -> Result<Value, String>;

    /// Gives an elastic IP address to an instance, by a call of EC2 in a region. Returns the association; the error is the
    /// CLI's message.
    async fn associate(
        &self,
        _region: Option<&str>,
        _allocation: &str,
        _instance: &str,
        _may_move: bool,
    ) -> Result<String, String> {
        Err("Unable to locate credentials. You can configure credentials by running \"aws configure\".".to_owned())
    }

    /// Waits for a configured time.
    async fn pause(&self, seconds: u64);

    /// Returns properties of a unit, as `systemctl show` prints them.
    fn properties(&self, unit: &str) -> Vec<(&'static str, String)>;

    /// Returns the status with which a service on a port of the instance answers `GET /` within a time.
    async fn answer(&self, port: u16, most: Option<Duration>) -> Result<u16, NoAnswer>;

    /// Waits between two attempts to get an answer.
    async fn back_off(&self, seconds: u64);

    /// Whether the repositories of Amazon Linux are reached, which are in S3.
    fn reach_repositories(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether no more can be written to the disk.
    fn is_full(&self) -> bool {
        false
    }
}

/// Why a service does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    Refused,
    TooSlow,
    /// The connection was closed.
    Empty,
    /// The response is not HTTP.
    Garbled,
}

/// Runs a command without input, and discards its output.
pub async fn perform(root: &Path, tools: &dyn Tools, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run_tool(root, tools, &words, Vec::new(), &Nest::limited()).await {
        Done { status: 0, .. } => Ok(()),
        Done { errors, .. } => Err(errors.trim_end().to_owned()),
    }
}

/// Returns whether a program is one of the commands implemented here.
pub fn is_tool(program: &str) -> bool {
    let name = program.strip_prefix("/usr/bin/").or(program.strip_prefix("/bin/"));
    name.is_some_and(|name| TOOLS.contains(&name))
}

const TOOLS: &[&str] = &[
    "aws",
    "bash",
    "chmod",
    "cp",
    "curl",
    "dnf",
    "echo",
    "false",
    "journalctl",
    "jq",
    "mkdir",
    "mv",
    "sha256sum",
    "sleep",
    "systemctl",
    "tail",
    "tar",
    "true",
];

/// Runs a command of a script, or one that is in no script.
pub async fn run_tool(root: &Path, tools: &dyn Tools, words: &[&str], input: Vec<u8>, nest: &Nest) -> Done {
    let Some((program, arguments)) = words.split_first() else {
        return Done::failed("the command is empty");
    };
    let done = match program.rsplit('/').next().unwrap_or(program) {
        "true" => Ok(()),
        "false" => return Done { status: 1, ..Done::default() },
        "mkdir" => mkdir(root, arguments),
        "chmod" => chmod(root, arguments),
        "sha256sum" => sha256sum(root, arguments).await,
        "cp" => copy("cp", root, arguments, |from, to| std::fs::copy(from, to).map(drop)),
        "mv" => copy("mv", root, arguments, |from, to| std::fs::rename(from, to)),
        "sleep" => sleep(tools, arguments).await,
        "dnf" => dnf(arguments, tools.reach_repositories()),
        "tar" => tar(root, arguments, tools.is_full()),
        "aws" => match arguments {
            ["logs", arguments @ ..] => return journal::aws_logs(root, tools, arguments).await,
            ["secretsmanager" | "ssm", ..] => return secrets::aws(tools, arguments).await,
            ["ec2", "associate-address", ..] => return elastic_ip::aws(tools, arguments).await,
            _ => aws(root, tools, arguments, input).await,
        },
        "bash" => match nest.of_script() {
            Ok(nest) => return bash(root, tools, arguments, &BTreeMap::new(), nest, None).await,
            Err(why) => Err(why),
        },
        "echo" => return echo(arguments),
        "tail" => return tail(arguments, input),
        "journalctl" => return journal::journalctl(root, tools, arguments),
        "jq" => return journal::jq(arguments, &input),
        "systemctl" => return systemctl(tools, arguments),
        "curl" => return curl(tools, arguments).await,
        _ => Err(format!("{program}: this command does not exist on a local instance")),
    };
    done.map_or_else(Done::failed, |()| Done::default())
}

/// `bash FILE ARGUMENT…`.
pub async fn bash(
    root: &Path,
    tools: &dyn Tools,
    arguments: &[&str],
    environment: &BTreeMap<String, String>,
    nest: Nest,
    say: Option<shell::Say<'_>>,
) -> Done {
    let Some((file, arguments)) = arguments.split_first().filter(|(file, _)| !file.starts_with('-')) else {
        return Done::failed("bash: only `bash FILE ARGUMENT…` exists on a local instance");
    };
    let read = |real: PathBuf| std::fs::read_to_string(real).map_err(|error| error.to_string());
    match below(root, file).and_then(read) {
        Ok(script) => Box::pin(shell::run(root, tools, &script, arguments, environment, nest, say)).await,
        Err(why) => Done { status: 127, output: Vec::new(), errors: format!("bash: {file}: {why}\n") },
    }
}

/// `echo TEXT…`, without the options of bash.
fn echo(arguments: &[&str]) -> Done {
    let is_option =
        |word: &&str| word.len() > 1 && word.starts_with('-') && word[1..].chars().all(|c| "neE".contains(c));
    match arguments.first().filter(|word| is_option(word)) {
        Some(option) => Done::failed(format!("echo {option}: options of echo do not exist on a local instance")),
        None => Done::printed(format!("{}\n", arguments.join(" "))),
    }
}

/// `tail -c BYTES`. `+BYTES` would count from the start.
fn tail(arguments: &[&str], input: Vec<u8>) -> Done {
    match arguments {
        ["-c", bytes] if !bytes.is_empty() && bytes.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A number that is too large is more than there is.
            let bytes = bytes.parse().unwrap_or(usize::MAX);
            Done::printed(&input[input.len().saturating_sub(bytes)..])
        }
        _ => Done::failed(format!("tail {}: only `tail -c BYTES` exists on a local instance", arguments.join(" "))),
    }
}

/// Returns the value of an option of the form `--NAME=VALUE`.
pub(super) fn option<'a>(arguments: &[&'a str], name: &str) -> Option<&'a str> {
    arguments.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Returns the first option that is neither in `plain` nor, with a value, in `valued`.
pub(super) fn unknown<'a>(arguments: &[&'a str], plain: &[&str], valued: &[&str]) -> Option<&'a str> {
    let known =
        |word: &str| plain.contains(&word) || word.split_once('=').is_some_and(|(name, _)| valued.contains(&name));
    arguments.iter().copied().find(|word| word.starts_with('-') && !known(word))
}

/// `systemctl show UNIT --property=NAME,…`, the only form that scripts may use.
fn systemctl(tools: &dyn Tools, arguments: &[&str]) -> Done {
    let wanted = option(arguments, "--property").map(|names| names.split(',').collect::<Vec<_>>());
    match (arguments, unknown(arguments, &[], &["--property"]), wanted) {
        (["show", unit, ..], None, Some(wanted)) => {
            let properties = tools.properties(&full_name(unit));
            let shown = properties.iter().filter(|(name, _)| wanted.contains(name));
            Done::printed(shown.map(|(name, value)| format!("{name}={value}\n")).collect::<String>())
        }
        _ => Done::failed(format!("systemctl {}: this does not exist on a local instance", arguments.join(" "))),
    }
}

pub(super) fn full_name(unit: &str) -> String {
    if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") }
}

/// `sleep SECONDS`.
async fn sleep(tools: &dyn Tools, arguments: &[&str]) -> Result<(), String> {
    let [seconds] = arguments else { return Err("sleep: only `sleep SECONDS` exists on a local instance".to_owned()) };
    tools.pause(seconds.parse().map_err(|_| format!("sleep: invalid time interval '{seconds}'"))?).await;
    Ok(())
}

/// The number of the error for a full disk on Linux.
const NO_SPACE: i32 = 28;

/// Replaces a file as a whole, so that a program running from the old one is not disturbed.
async fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    tokio::fs::write(&next, bytes).await?;
    tokio::fs::rename(&next, path).await
}

#[cfg(test)]
pub mod tests;
