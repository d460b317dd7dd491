//! The commands that user data may run. They are implemented here and confined to an instance's root directory.

use kit::platform::PermissionsExt;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::shell::Nest;
use super::{Objects, archive::tar, dnf::dnf, journal, secrets, shell};

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

/// Tools of an instance that has no objects, journal or units.
pub struct NoTools;

#[async_trait]
impl Objects for NoTools {
    async fn get(&self, _bucket: &str, _key: &str) -> Result<Bytes, String> {
        Err("NoSuchKey: The specified key does not exist.".to_owned())
    }

    async fn put(&self, _bucket: &str, _key: &str, _bytes: Bytes) -> Result<(), String> {
        Err("NoSuchBucket: The specified bucket does not exist.".to_owned())
    }
}

#[async_trait]
impl Tools for NoTools {
    fn journal(&self, _unit: &str, from: u64) -> (u64, String) {
        (from, String::new())
    }

    async fn log(&self, _region: Option<&str>, _operation: &str, _input: Value) -> Result<Value, String> {
        Err("Unable to locate credentials".to_owned())
    }

    async fn value(&self, _region: Option<&str>, _operation: &str, _input: Value) -> Result<Value, String> {
        Err("Unable to locate credentials".to_owned())
    }

    async fn pause(&self, _seconds: u64) {}

    fn properties(&self, _unit: &str) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    async fn answer(&self, _port: u16, _most: Option<Duration>) -> Result<u16, NoAnswer> {
        Err(NoAnswer::Refused)
    }

    async fn back_off(&self, _seconds: u64) {}
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

/// The statuses after which curl tries again (man curl, `--retry`).
const TRANSIENT: &[u16] = &[408, 429, 500, 502, 503, 504];

/// The maximum pause between two attempts in seconds that curl chooses by itself: it doubles the first, of a second.
const LONGEST_PAUSE_S: u64 = 600;

/// The options of `curl` that are implemented.
#[derive(Default)]
struct CurlOptions {
    port: Option<u16>,
    is_silent: bool,
    is_discarded: bool,
    is_written: bool,
    max_time: Option<Duration>,
    retries: u32,
    delay_s: u64,
    retries_refused: bool,
}

impl CurlOptions {
    /// Parses arguments; `None` if any is not supported.
    fn parse(arguments: &[&str]) -> Option<CurlOptions> {
        let mut options = CurlOptions::default();
        let mut rest = arguments.iter().copied();
        while let Some(word) = rest.next() {
            match word {
                "--silent" => options.is_silent = true,
                "--retry-connrefused" => options.retries_refused = true,
                "--output" => options.is_discarded = Some(rest.next()? == "/dev/null").filter(|is_null| *is_null)?,
                "--write-out" => {
                    options.is_written = Some(rest.next()? == "%{http_code}").filter(|is_code| *is_code)?
                }
                // Zero is no limit.
                "--max-time" => {
                    options.max_time = Some(number(rest.next()?)?).filter(|s| *s > 0).map(Duration::from_secs)
                }
                "--retry" => options.retries = number(rest.next()?)?.try_into().ok()?,
                "--retry-delay" => options.delay_s = number(rest.next()?)?,
                option if option.starts_with('-') => return None,
                url if options.port.is_none() => {
                    options.port = Some(url.strip_prefix("http://127.0.0.1:")?.strip_suffix('/')?.parse().ok()?);
                }
                _ => return None,
            }
        }
        (options.is_silent && options.is_discarded && options.is_written).then_some(options)
    }
}

/// Parses a number without a sign.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `curl http://127.0.0.1:PORT/`: prints the status of the response; without one, prints 000.
async fn curl(tools: &dyn Tools, arguments: &[&str]) -> Done {
    let Some((options, port)) =
        CurlOptions::parse(arguments).and_then(|options| options.port.map(|port| (options, port)))
    else {
        let errors = format!("curl {}: this does not exist on a local instance\n", arguments.join(" "));
        return Done { status: 2, output: Vec::new(), errors };
    };
    let mut pause_s = 1;
    for attempt in 0_u32.. {
        let answer = tools.answer(port, options.max_time).await;
        let is_transient = match answer {
            Ok(status) => TRANSIENT.contains(&status),
            Err(NoAnswer::TooSlow) => true,
            Err(NoAnswer::Refused) => options.retries_refused,
            Err(NoAnswer::Empty | NoAnswer::Garbled) => false,
        };
        if is_transient && attempt < options.retries {
            tools.back_off(if options.delay_s > 0 { options.delay_s } else { pause_s }).await;
            pause_s = (pause_s * 2).min(LONGEST_PAUSE_S);
            continue;
        }
        let status = match answer {
            Ok(_) => 0,
            Err(NoAnswer::Garbled) => 1,
            Err(NoAnswer::Refused) => 7,
            Err(NoAnswer::TooSlow) => 28,
            Err(NoAnswer::Empty) => 52,
        };
        let output = format!("{:03}", answer.unwrap_or_default()).into();
        return Done { status, output, errors: String::new() };
    }
    unreachable!("the loop above only ends by returning")
}

/// `cp FROM TO` or `mv FROM TO`, for files.
fn copy(
    name: &str,
    root: &Path,
    arguments: &[&str],
    act: fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<(), String> {
    match arguments {
        [from, to] if !from.starts_with('-') => {
            let (source, target) = (below(root, from)?, below(root, to)?);
            act(&source, &target).map_err(|error| format!("{name}: cannot replace '{to}' by '{from}': {error}"))
        }
        _ => Err(format!("{name} {}: only `{name} FROM TO` exists on a local instance", arguments.join(" "))),
    }
}

/// `sleep SECONDS`.
async fn sleep(tools: &dyn Tools, arguments: &[&str]) -> Result<(), String> {
    let [seconds] = arguments else { return Err("sleep: only `sleep SECONDS` exists on a local instance".to_owned()) };
    tools.pause(seconds.parse().map_err(|_| format!("sleep: invalid time interval '{seconds}'"))?).await;
    Ok(())
}

fn mkdir(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (options, paths): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    for path in paths {
        let real = below(root, path)?;
        let made = if options.contains(&"-p") { std::fs::create_dir_all(&real) } else { std::fs::create_dir(&real) };
        made.map_err(|error| format!("mkdir: cannot create directory '{path}': {error}"))?;
    }
    Ok(())
}

fn chmod(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let Some((mode, paths)) = arguments.split_first() else {
        return Err("chmod: missing operand".to_owned());
    };
    for path in paths {
        let real = below(root, path)?;
        let failed = |error| format!("chmod: cannot access '{path}': {error}");
        let before = std::fs::metadata(&real).map_err(failed)?.permissions().mode();
        let mode = match *mode {
            "+x" | "a+x" => before | 0o111,
            octal => parse_mode(octal)?,
        };
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// `sha256sum --check [--quiet] FILE`: checks files against the checksums listed in a file (coreutils 9).
async fn sha256sum(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (options, lists): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    let known = |option: &&str| matches!(*option, "-c" | "--check" | "--quiet" | "--status" | "--strict");
    if !options.iter().all(known) || !options.iter().any(|option| matches!(*option, "-c" | "--check")) {
        return Err(format!("sha256sum {}: only '--check' exists on a local instance", arguments.join(" ")));
    }
    let mut wrong = 0;
    for list in lists {
        let read =
            |path: &str| std::fs::read(below(root, path)?).map_err(|error| format!("sha256sum: {path}: {error}"));
        let text = String::from_utf8_lossy(&read(list)?).into_owned();
        let entries: Vec<(&str, &str)> = text.lines().filter_map(checksum_line).collect();
        if entries.is_empty() {
            return Err(format!("sha256sum: {list}: no properly formatted checksum lines found"));
        }
        for (checksum, path) in entries {
            wrong += usize::from(!hex::encode(Sha256::digest(read(path)?)).eq_ignore_ascii_case(checksum));
        }
    }
    match wrong {
        0 => Ok(()),
        1 => Err("sha256sum: WARNING: 1 computed checksum did NOT match".to_owned()),
        more => Err(format!("sha256sum: WARNING: {more} computed checksums did NOT match")),
    }
}

/// Parses `CHECKSUM  PATH` or `CHECKSUM *PATH`.
fn checksum_line(line: &str) -> Option<(&str, &str)> {
    let (checksum, path) = line.split_once(' ')?;
    let is_sha256 = checksum.len() == 64 && checksum.chars().all(|c| c.is_ascii_hexdigit());
    Some((checksum, path.strip_prefix([' ', '*'])?)).filter(|_| is_sha256)
}

/// Parses a mode such as `0755`.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("'{text}' is not a file mode"))
}

/// `aws s3 cp s3://bucket/key path` and `aws s3 cp - s3://bucket/key`.
async fn aws(root: &Path, objects: &dyn Tools, arguments: &[&str], input: Vec<u8>) -> Result<(), String> {
    let ["s3", "cp", rest @ ..] = arguments else {
        return Err(format!(
            "aws {}: only 's3 cp', 'logs', 'secretsmanager' and 'ssm' exist on a local instance",
            arguments.join(" ")
        ));
    };
    let mut places = Vec::new();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--only-show-errors" | "--quiet" | "--no-progress" => (),
            "--region" => drop(rest.next()),
            option if option.starts_with("--") => {
                return Err(format!("aws s3 cp: unknown option {option}"));
            }
            place => places.push(place),
        }
    }
    let [from, to] = places.as_slice() else {
        return Err("aws s3 cp: a source and a destination are needed".to_owned());
    };
    let object = |place: &str| {
        let (bucket, key) = place.strip_prefix("s3://")?.split_once('/')?;
        Some((bucket.to_owned(), key.to_owned()))
    };
    if let ("-", Some((bucket, key))) = (*from, object(to)) {
        let put = objects.put(&bucket, &key, input.into()).await;
        return put.map_err(|why| format!("upload failed: - to {to} {why}"));
    }
    let (bucket, key) = object(from).ok_or_else(|| {
        format!("aws s3 cp: only downloads to files and uploads of `-` are possible, and '{from}' is not an object")
    })?;
    let mut real = below(root, to)?;
    if to.ends_with('/') || real.is_dir() {
        let name = Path::new(&key).file_name().ok_or_else(|| format!("aws s3 cp: '{from}' names no file"))?;
        real.push(name);
    }
    let bytes = objects.get(&bucket, &key).await.map_err(|why| format!("fatal error: {from}: {why}"))?;
    let written = match objects.is_full() {
        true => Err(std::io::Error::from_raw_os_error(NO_SPACE)),
        false => replace(&real, &bytes).await,
    };
    // The message of a full disk is that of Python (docs/aws.md §8.5).
    written.map_err(|error| match error.raw_os_error() {
        Some(NO_SPACE) => format!("download failed: {from} to {to} [Errno {NO_SPACE}] No space left on device"),
        _ => format!("aws s3 cp: cannot write '{to}': {error}"),
    })
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
pub mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Tools with one object to read, which record the objects written.
    #[derive(Default)]
    pub struct FakeTools {
        pub written: Mutex<BTreeMap<String, Bytes>>,
        /// The calls of CloudWatch Logs, and the journal.
        pub logged: Mutex<Vec<(String, Value)>>,
        pub lines: Mutex<String>,
        /// The number of bytes that the journal has dropped.
        pub gone: Mutex<u64>,
        pub pauses: Mutex<Vec<u64>>,
        pub is_full: bool,
    }

    #[async_trait]
    impl Objects for FakeTools {
        async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
            match (bucket, key) {
                ("artifacts", "web/service") => Ok(Bytes::from_static(b"program")),
                _ => Err("NoSuchKey".to_owned()),
            }
        }

        async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String> {
            self.written.lock().insert(format!("{bucket}/{key}"), bytes);
            Ok(())
        }
    }

    #[async_trait]
    impl Tools for FakeTools {
        fn journal(&self, unit: &str, from: u64) -> (u64, String) {
            let lines = self.lines.lock().clone();
            let line = |second: u8, text: &str| format!("2026-11-29T10:00:0{second}.000Z ip-1 {unit} {text}\n");
            let lines = if lines.is_empty() { line(0, "started") + &line(1, "stopped") } else { lines };
            let gone = *self.gone.lock();
            (from.max(gone), lines[from.saturating_sub(gone) as usize..].to_owned())
        }

        async fn value(&self, _region: Option<&str>, operation: &str, input: Value) -> Result<Value, String> {
            let id = input["SecretId"].as_str().or(input["Name"].as_str()).unwrap_or_default();
            match id {
                "none" => {
                    Err(format!("An error occurred (ParameterNotFound) when calling the {operation} operation: "))
                }
                id => Ok(serde_json::json!({ "SecretString": id })),
            }
        }

        async fn log(&self, _region: Option<&str>, operation: &str, input: Value) -> Result<Value, String> {
            let mut logged = self.logged.lock();
            let is_refused = input["logEvents"].as_array().is_some_and(|events| events.len() > 20);
            logged.push((operation.to_owned(), input));
            if is_refused { Err("InvalidParameterException".to_owned()) } else { Ok(serde_json::json!({})) }
        }

        async fn pause(&self, _seconds: u64) {}

        async fn back_off(&self, seconds: u64) {
            self.pauses.lock().push(seconds);
        }

        fn is_full(&self) -> bool {
            self.is_full
        }

        fn properties(&self, _unit: &str) -> Vec<(&'static str, String)> {
            vec![("ActiveState", "active".to_owned()), ("NRestarts", "2".to_owned())]
        }

        async fn answer(&self, port: u16, most: Option<Duration>) -> Result<u16, NoAnswer> {
            match port {
                1 => Err(NoAnswer::Refused),
                2 => Err(most.map_or(NoAnswer::Garbled, |_| NoAnswer::TooSlow)),
                3 => Err(NoAnswer::Empty),
                // It answers with the port, and after two failures as if all were well.
                status @ ..1000 if self.pauses.lock().len() < 2 => Ok(status),
                ..1000 => Ok(200),
                _ => Ok(404),
            }
        }
    }

    #[tokio::test]
    async fn a_script_uploads_the_state_and_journal_of_a_unit() {
        let dir = tempfile::tempdir().unwrap();
        let tools = FakeTools::default();
        let script = "http=$(curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8080/)\n\
                      {\n  echo http=$http\n  systemctl show web --property=NRestarts,SubState\n  journalctl --unit=web \
                      --lines=1 --no-pager --quiet --output=short-iso\n} 2>&1 | aws s3 cp --only-show-errors --region x - \
                      s3://artifacts/boot/web/i-1/$1\n";
        std::fs::write(dir.path().join("report"), script).unwrap();
        let words = ["/usr/bin/bash", "/report", "exit"].map(str::to_owned);
        perform(dir.path(), &tools, &words).await.unwrap();
        let written = tools.written.lock().clone();
        let report = "http=404\nNRestarts=2\n2026-11-29T10:00:01+0000 ip-1 web.service stopped\n";
        assert_eq!(written["artifacts/boot/web/i-1/exit"], report);
    }

    #[tokio::test]
    async fn curl_tries_again_as_its_options_say() {
        let check = async |line: &str, status: i32, output: &str, pauses: &[u64]| {
            let tools = FakeTools::default();
            let line = format!("--silent --output /dev/null --write-out %{{http_code}} {line}");
            let done = curl(&tools, &line.split_whitespace().collect::<Vec<_>>()).await;
            let pauses_were = tools.pauses.lock().clone();
            let output_was = String::from_utf8(done.output).unwrap();
            assert_eq!((done.status, output_was.as_str(), pauses_were.as_slice()), (status, output, pauses), "{line}");
        };
        check("http://127.0.0.1:8080/", 0, "404", &[]).await;
        check("--retry 3 http://127.0.0.1:8080/", 0, "404", &[]).await;
        check("http://127.0.0.1:503/", 0, "503", &[]).await;
        for transient in ["408", "429", "500", "502", "503", "504"] {
            check(&format!("--retry 1 http://127.0.0.1:{transient}/"), 0, transient, &[1]).await;
        }
        check("--retry 1 http://127.0.0.1:501/", 0, "501", &[]).await;
        check("--retry 3 --retry-delay 5 http://127.0.0.1:503/", 0, "200", &[5, 5]).await;
        check("--retry 3 http://127.0.0.1:1/", 7, "000", &[]).await;
        check("--retry 3 --retry-connrefused http://127.0.0.1:1/", 7, "000", &[1, 2, 4]).await;
        check("--retry 2 --retry-delay 0 --retry-connrefused http://127.0.0.1:1/", 7, "000", &[1, 2]).await;
        check("--retry 2 --max-time 5 http://127.0.0.1:2/", 28, "000", &[1, 2]).await;
        check("--retry 2 --max-time 0 http://127.0.0.1:2/", 1, "000", &[]).await;
        check("--retry 2 http://127.0.0.1:3/", 52, "000", &[]).await;
        check(&format!("--retry-delay {} --retry 1 http://127.0.0.1:502/", u64::MAX), 0, "502", &[u64::MAX]).await;
    }

    #[tokio::test]
    async fn other_options_of_curl_are_refused() {
        let silent = "--silent --output /dev/null --write-out %{http_code}";
        for line in [
            format!("{silent} --head http://127.0.0.1:8080/"),
            format!("{silent} -f http://127.0.0.1:8080/"),
            format!("{silent} --max-time=5 http://127.0.0.1:8080/"),
            format!("{silent} --max-time soon http://127.0.0.1:8080/"),
            format!("{silent} --retry -1 http://127.0.0.1:8080/"),
            format!("{silent} --retry-delay http://127.0.0.1:8080/"),
            format!("{silent} http://127.0.0.1:1/ http://127.0.0.1:8080/"),
            format!("{silent} http://example.com/"),
            format!("{silent} http://127.0.0.1:8080/index.html"),
            format!("{silent} --output /body http://127.0.0.1:8080/"),
            silent.to_owned(),
            "--output /dev/null --write-out %{http_code} http://127.0.0.1:8080/".to_owned(),
            "--silent --write-out %{http_code} http://127.0.0.1:8080/".to_owned(),
            "--silent --output /dev/null http://127.0.0.1:8080/".to_owned(),
        ] {
            let done = curl(&FakeTools::default(), &line.split(' ').collect::<Vec<_>>()).await;
            assert!(done.status == 2 && done.errors.contains("does not exist on a local instance"), "{line}: {done:?}");
        }
    }

    async fn run(root: &Path, line: &str) -> Result<(), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        perform(root, &FakeTools::default(), &words).await
    }

    #[tokio::test]
    async fn a_program_is_fetched_and_made_executable_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        run(root, "mkdir -p /opt/web").await.unwrap();
        run(
            root,
            "/usr/bin/aws s3 cp --only-show-errors --region us-east-1 s3://artifacts/web/service /opt/web/service",
        )
        .await
        .unwrap();
        run(root, "/usr/bin/chmod 0755 /opt/web/service").await.unwrap();
        let file = root.join("opt/web/service");
        assert_eq!(std::fs::read(&file).unwrap(), b"program");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[tokio::test]
    async fn nothing_can_be_downloaded_to_a_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let tools = FakeTools { is_full: true, ..FakeTools::default() };
        let words = ["aws", "s3", "cp", "s3://artifacts/web/service", "/service"].map(str::to_owned);
        let expected = "download failed: s3://artifacts/web/service to /service [Errno 28] No space left on device";
        assert_eq!(perform(dir.path(), &tools, &words).await, Err(expected.to_owned()));
        assert!(!dir.path().join("service").exists());
    }

    #[tokio::test]
    async fn a_program_with_another_checksum_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::write(root.join("service"), "program").unwrap();
        let sum = "5d4c39c1dea13ff92a6a0fcd84f1ba6a4b4c8f6c0c8ff9e1d3a15a3b0d9e5b5e";
        let right = hex::encode(Sha256::digest("program"));
        std::fs::write(root.join("right"), format!("{right}  /service\n")).unwrap();
        std::fs::write(root.join("wrong"), format!("{sum}  /service\n")).unwrap();
        std::fs::write(root.join("none"), "abc  /service\n").unwrap();
        run(root, "/usr/bin/sha256sum --check --quiet /right").await.unwrap();
        let check = async |line: &str, expected: &str| assert_eq!(run(root, line).await.unwrap_err(), expected);
        check("sha256sum -c /wrong", "sha256sum: WARNING: 1 computed checksum did NOT match").await;
        check("sha256sum -c /none", "sha256sum: /none: no properly formatted checksum lines found").await;
        check("sha256sum /service", "sha256sum /service: only '--check' exists on a local instance").await;
    }

    #[tokio::test]
    async fn unknown_commands_are_refused_and_never_run() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |line: &str, expected: &str| assert_eq!(run(dir.path(), line).await.unwrap_err(), expected);
        check("rm -rf /", "rm: this command does not exist on a local instance").await;
        check("mkdir -p /a/../../b", "'/a/../../b' leads out of the instance").await;
        check("mkdir -p a", "'a' is not an absolute path").await;
        check(
            "aws ec2 describe-vpcs",
            "aws ec2 describe-vpcs: only 's3 cp', 'logs', 'secretsmanager' and 'ssm' exist on a local instance",
        )
        .await;
        check("aws s3 cp s3://artifacts/nothing /x", "fatal error: s3://artifacts/nothing: NoSuchKey").await;
        check("chmod 99 /x", "chmod: cannot access '/x': No such file or directory (os error 2)").await;
    }
}
