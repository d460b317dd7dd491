//! systemd units: enough of their directives to run a service as an instance would.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kit::platform::PermissionsExt;

use super::commands::{below, parse_mode};

/// A service unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub environment: BTreeMap<String, String>,
    /// Paths, and whether the file may be missing.
    pub environment_files: Vec<(String, bool)>,
    pub before: Vec<Command>,
    pub main: Command,
    /// The commands that run after every exit.
    pub after: Vec<Command>,
    pub output: Output,
    /// `None`: to the same place as the output.
    pub errors: Option<Output>,
    pub restart: Restart,
    pub restart_pause: Duration,
    pub working_directory: Option<String>,
    pub stop_patience: Duration,
    /// The maximum number of starts, and the interval in which they are counted.
    pub start_limit: (u32, Duration),
    /// The user that it runs as, and its capabilities.
    pub user: User,
    /// The units that are started first (`After=`).
    pub follows: Vec<String>,
    /// The units that are stopped first (`Before=`).
    pub outlived: Vec<String>,
    /// The names of its directories below `/run`, which exist while it runs.
    pub runtime_directories: Vec<String>,
    /// Their mode.
    pub runtime_mode: u32,
    /// Unknown keys in the file, which are ignored.
    pub ignored: Vec<String>,
}

/// The destination of a unit's output (man systemd.exec, "StandardOutput").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    pub journal: bool,
    pub console: bool,
}

impl Output {
    /// `DefaultStandardOutput=` is the journal, and journald forwards nothing to the console.
    pub const JOURNAL: Output = Output { journal: true, console: false };
    const NOWHERE: Output = Output { journal: false, console: false };

    fn parse(value: &str) -> Result<Output, String> {
        Ok(match value {
            "journal" | "kmsg" | "syslog" => Output::JOURNAL,
            "journal+console" | "kmsg+console" | "syslog+console" => Output { journal: true, console: true },
            "tty" => Output { journal: false, console: true },
            // Standard input is `/dev/null`.
            "null" | "inherit" => Output::NOWHERE,
            other => return Err(format!("the output '{other}' does not exist on a local instance")),
        })
    }
}

/// A command line of a unit, with the meaning of its prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<String>,
    /// `-`: its failure is ignored.
    pub may_fail: bool,
    /// `:`: variables are not expanded.
    pub literal: bool,
}

/// The user that a service runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// `User=`, if it is set.
    name: Option<String>,
    /// `DynamicUser=`.
    is_dynamic: bool,
    ambient: Vec<String>,
    /// `None` means that capabilities are not bounded.
    bound: Option<Vec<String>>,
}

/// The capability to listen below [`UNPRIVILEGED`] without being root.
const BIND: &str = "CAP_NET_BIND_SERVICE";

/// The first port that needs no privileges (`net.ipv4.ip_unprivileged_port_start`).
pub const UNPRIVILEGED: u16 = 1024;

impl User {
    /// Returns whether it may listen on a port (man systemd.exec, "AmbientCapabilities"; man capabilities).
    pub fn may_bind(&self, port: u16) -> bool {
        let is_root = !self.is_dynamic && matches!(self.name.as_deref(), None | Some("root" | "0"));
        let has = |list: &[String]| list.iter().any(|one| one == BIND);
        let is_bounded = self.bound.as_deref().is_some_and(|bound| !has(bound));
        port >= UNPRIVILEGED || (!is_bounded && (is_root || has(&self.ambient)))
    }

    fn set(&mut self, key: &str, value: &str) {
        let add = |to: &mut Vec<String>| match value {
            "" => to.clear(),
            names => to.extend(names.split_whitespace().map(str::to_ascii_uppercase)),
        };
        match key {
            "AmbientCapabilities" => add(&mut self.ambient),
            "CapabilityBoundingSet" => add(self.bound.get_or_insert_default()),
            "DynamicUser" => {
                self.is_dynamic = matches!(value.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on")
            }
            _ => self.name = Some(value.to_owned()).filter(|name| !name.is_empty()),
        }
    }
}

/// When a service is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    No,
    Always,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnAbort,
}

/// The exit of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// Returns systemd's result for a service that failed like this, or `None` if it succeeded.
    pub fn result(self) -> Option<&'static str> {
        match self {
            _ if self.is_clean() => None,
            Exit::Code(_) => Some("exit-code"),
            Exit::Signal(_) => Some("signal"),
        }
    }

    /// Returns `$EXIT_CODE` and `$EXIT_STATUS` for `ExecStopPost=` (man systemd.exec, "Environment variables").
    pub fn code_and_status(self) -> (&'static str, String) {
        match self {
            Exit::Code(code) => ("exited", code.to_string()),
            Exit::Signal(signal) => ("killed", signal_name(signal)),
        }
    }

    /// Like systemd, counts the usual termination signals as success: SIGHUP, SIGINT, SIGPIPE and SIGTERM.
    fn is_clean(self) -> bool {
        const ENDING: [i32; 4] = [1, 2, 13, 15];
        match self {
            Exit::Code(code) => code == 0,
            Exit::Signal(signal) => ENDING.contains(&signal),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "code=exited, status={code}/{}", code_name(*code)),
            Exit::Signal(signal) => write!(f, "code=killed, status={signal}/{}", signal_name(*signal)),
        }
    }
}

/// Returns systemd's name of an exit code (man systemd.exec, "Process Exit Codes").
fn code_name(code: i32) -> &'static str {
    const OF_BSD: [&str; 15] = [
        "USAGE",
        "DATAERR",
        "NOINPUT",
        "NOUSER",
        "NOHOST",
        "UNAVAILABLE",
        "SOFTWARE",
        "OSERR",
        "OSFILE",
        "CANTCREAT",
        "IOERR",
        "TEMPFAIL",
        "PROTOCOL",
        "NOPERM",
        "CONFIG",
    ];
    match code {
        0 => "SUCCESS",
        1 => "FAILURE",
        203 => "EXEC",
        _ => usize::try_from(code - 64).ok().and_then(|at| OF_BSD.get(at)).unwrap_or(&"n/a"),
    }
}

/// The names of signals without `SIG`, from signal 1 on (man signal, "Signal numbering for standard signals").
#[rustfmt::skip]
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The real-time signals, as numbered by glibc.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Returns the name of a signal as systemd writes it (its `signal_to_string`).
fn signal_name(signal: i32) -> String {
    let standard = usize::try_from(signal - 1).ok().and_then(|at| SIGNALS.get(at));
    match standard {
        Some(name) => (*name).to_owned(),
        None if REAL_TIME.contains(&signal) => format!("RTMIN+{}", signal - REAL_TIME.start()),
        None => signal.to_string(),
    }
}

impl Restart {
    /// Returns whether a service that exited like this is restarted.
    pub fn after(self, exit: Exit) -> bool {
        let by_signal = matches!(exit, Exit::Signal(_));
        match self {
            Restart::No => false,
            Restart::Always => true,
            Restart::OnSuccess => exit.is_clean(),
            Restart::OnFailure => !exit.is_clean(),
            Restart::OnAbnormal | Restart::OnAbort => by_signal && !exit.is_clean(),
        }
    }
}

/// Directives of systemd that make no difference to a local process.
const WITHOUT_MEANING: &[&str] = &[
    "Description",
    "Documentation",
    "Group",
    "KillMode",
    "LimitNOFILE",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MemoryMax",
    "Nice",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectSystem",
    "ReadWritePaths",
    "RemainAfterExit",
    "Requires",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "StateDirectory",
    "SyslogIdentifier",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "TasksMax",
    "TimeoutStartSec",
    "Type",
    "UMask",
    "WantedBy",
    "Wants",
];

impl Unit {
    /// Parses a unit file.
    pub fn parse(text: &str) -> Result<Unit, String> {
        let mut unit = Unit {
            environment: BTreeMap::new(),
            environment_files: Vec::new(),
            before: Vec::new(),
            main: Command { words: Vec::new(), may_fail: false, literal: false },
            after: Vec::new(),
            output: Output::JOURNAL,
            errors: None,
            restart: Restart::No,
            restart_pause: Duration::from_millis(100),
            working_directory: None,
            stop_patience: Duration::from_secs(5),
            start_limit: (5, Duration::from_secs(10)),
            user: User::default(),
            follows: Vec::new(),
            outlived: Vec::new(),
            runtime_directories: Vec::new(),
            runtime_mode: 0o755,
            ignored: Vec::new(),
        };
        for (number, line) in logical_lines(text) {
            if line.starts_with('[') && line.ends_with(']') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| format!("line {number}: missing '=' in '{line}'"))?;
            unit.set(key.trim(), value.trim()).map_err(|why| format!("line {number}: {why}"))?;
        }
        match unit.main.words.is_empty() {
            true => Err("the service has no ExecStart=".to_owned()),
            false => Ok(unit),
        }
    }

    /// Returns the variables of the unit and of its environment files, which are below `root`.
    pub fn whole_environment(&self, root: &Path) -> Result<BTreeMap<String, String>, String> {
        let mut environment = self.environment.clone();
        for (path, may_be_missing) in &self.environment_files {
            match std::fs::read_to_string(below(root, path)?) {
                Ok(text) => match environment_file(&text) {
                    Ok(variables) => environment.extend(variables),
                    // systemd then sets none of the variables of the file.
                    Err(_) if *may_be_missing => (),
                    Err(why) => return Err(format!("{path}: {why}")),
                },
                Err(_) if *may_be_missing => (),
                Err(error) => return Err(format!("Failed to load environment file {path}: {error}")),
            }
        }
        Ok(environment)
    }

    /// Creates its directories below `/run`.
    pub fn make_runtime_directories(&self, root: &Path) -> Result<(), String> {
        for name in &self.runtime_directories {
            let real = below(root, &format!("/run/{name}"))?;
            let made = std::fs::create_dir_all(&real)
                .and_then(|()| std::fs::set_permissions(&real, std::fs::Permissions::from_mode(self.runtime_mode)));
            made.map_err(|error| format!("Failed to set up special execution directory in /run: {error}"))?;
        }
        Ok(())
    }

    /// Removes them with everything in them, as systemd does whenever the unit has stopped.
    pub fn remove_runtime_directories(&self, root: &Path) {
        let real = self.runtime_directories.iter().filter_map(|name| below(root, &format!("/run/{name}")).ok());
        real.for_each(|real| drop(std::fs::remove_dir_all(real)));
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "Environment" if value.is_empty() => self.environment.clear(),
            "Environment" => self.environment.extend(words(value)?.iter().filter_map(|word| assignment(word))),
            "EnvironmentFile" if value.is_empty() => self.environment_files.clear(),
            "EnvironmentFile" => {
                let optional = value.strip_prefix('-');
                self.environment_files.push((optional.unwrap_or(value).to_owned(), optional.is_some()));
            }
            "ExecStartPre" if value.is_empty() => self.before.clear(),
            "ExecStartPre" => self.before.push(Command::parse(value)?),
            "ExecStart" if value.is_empty() => self.main.words.clear(),
            "ExecStart" => self.main = Command::parse(value)?,
            "ExecStopPost" if value.is_empty() => self.after.clear(),
            "ExecStopPost" => self.after.push(Command::parse(value)?),
            "After" => self.follows.extend(value.split_whitespace().map(str::to_owned)),
            "Before" => self.outlived.extend(value.split_whitespace().map(str::to_owned)),
            "RuntimeDirectory" => {
                let is_plain = |name: &&str| !name.starts_with('/') && !name.contains("..");
                let names = value.split_whitespace();
                self.runtime_directories.extend(names.filter(is_plain).map(str::to_owned));
            }
            "RuntimeDirectoryMode" => self.runtime_mode = parse_mode(value)?,
            "StandardOutput" => self.output = Output::parse(value)?,
            "StandardError" if value == "inherit" => self.errors = None,
            "StandardError" => self.errors = Some(Output::parse(value)?),
            "Restart" => self.restart = restart(value)?,
            "RestartSec" => self.restart_pause = span(value)?,
            "TimeoutStopSec" | "TimeoutSec" => self.stop_patience = span(value)?,
            "WorkingDirectory" => self.working_directory = Some(value.trim_start_matches('-').to_owned()),
            "StartLimitIntervalSec" | "StartLimitInterval" => self.start_limit.1 = span(value)?,
            "StartLimitBurst" => {
                self.start_limit.0 = value.parse().map_err(|_| format!("StartLimitBurst is not a number: {value}"))?;
            }
            "AmbientCapabilities" | "CapabilityBoundingSet" | "DynamicUser" | "User" => self.user.set(key, value),
            known if WITHOUT_MEANING.contains(&known) => (),
            unknown => self.ignored.push(unknown.to_owned()),
        }
        Ok(())
    }
}

impl Command {
    fn parse(value: &str) -> Result<Command, String> {
        let line = value.trim_start_matches(['-', '+', '@', '!', ':']);
        let prefixes = &value[..value.len() - line.len()];
        let mut words = words(line)?;
        if prefixes.contains('@') && words.len() > 1 {
            // The second word is only `argv[0]`.
            words.remove(1);
        }
        match words.first() {
            Some(program) if program.starts_with('/') => (),
            Some(program) => return Err(format!("'{program}' is not an absolute path")),
            None => return Err("the command is empty".to_owned()),
        }
        Ok(Command { words, may_fail: prefixes.contains('-'), literal: prefixes.contains(':') })
    }

    /// Returns the words with their variables expanded. Like systemd, splits the value if `$NAME` is a word of its own.
    pub fn expanded(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        if self.literal {
            return self.words.clone();
        }
        let mut expanded = Vec::new();
        for word in &self.words {
            match word.strip_prefix('$').filter(|name| is_name(name)) {
                Some(name) => {
                    let value = environment.get(name).map(String::as_str).unwrap_or_default();
                    expanded.extend(value.split_whitespace().map(str::to_owned));
                }
                None => expanded.push(substitute(word, environment)),
            }
        }
        expanded
    }
}

fn substitute(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        result += &rest[..at];
        rest = &rest[at..];
        let braced = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')).filter(|(name, _)| is_name(name));
        if let Some((name, after)) = braced {
            result += environment.get(name).map(String::as_str).unwrap_or_default();
            rest = after;
        } else if let Some(after) = rest.strip_prefix("$$") {
            result.push('$');
            rest = after;
        } else {
            result.push('$');
            rest = &rest[1..];
        }
    }
    result + rest
}

fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns the lines without comments. A backslash at the end continues a line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && open.is_none()) {
            continue;
        }
        let (number, before) = open.take().unwrap_or((at + 1, String::new()));
        match trimmed.strip_suffix('\\') {
            Some(part) => open = Some((number, before + part + " ")),
            None => lines.push((number, (before + trimmed).trim().to_owned())),
        }
    }
    lines.extend(open);
    lines
}

/// Splits a line into words: quotes keep blanks together, backslashes escape, `%%` is a percent sign.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, '\\') => {
                let escaped = rest.next().ok_or("the line ends in a backslash")?;
                word.get_or_insert_default().push(unescape(escaped));
            }
            (_, '%') => {
                rest.next_if_eq(&'%').ok_or("specifiers such as %i do not exist here")?;
                word.get_or_insert_default().push('%');
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    match quote {
        Some(quote) => Err(format!("the quote {quote} is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

fn unescape(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        's' => ' ',
        other => other,
    }
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    is_name(name).then(|| (name.to_owned(), value.to_owned()))
}

/// Whether systemd takes this character for invalid UTF-8: Unicode reserves its code point for no character
/// (`unichar_is_valid` in src/basic/utf8.c).
pub fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Parses an environment file: `NAME=value`, `NAME="value"`, with comments. A quoted value may have several lines.
pub fn environment_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut environment = BTreeMap::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim().is_empty() || line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let number = at + 1;
        let (name, first) = line.split_once('=').ok_or_else(|| format!("line {number}: missing '='"))?;
        if !is_name(name.trim()) {
            return Err(format!("line {number}: '{}' is not the name of a variable", name.trim()));
        }
        let mut whole = first.trim_start().to_owned();
        while file_value(&whole).1
            && let Some((_, more)) = lines.next()
        {
            whole.push('\n');
            whole += more;
        }
        let value = file_value(whole.trim_end()).0;
        if value.contains(is_noncharacter) {
            return Err(format!("line {number}: invalid UTF-8 value for key {}", name.trim()));
        }
        environment.insert(name.trim().to_owned(), value);
    }
    Ok(environment)
}

/// Parses a value in an environment file, in which percent and dollar signs are literal. Returns whether it continues in
/// the next line.
fn file_value(text: &str) -> (String, bool) {
    let mut value = String::new();
    let mut quote: Option<char> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some('\''), c) => value.push(c),
            (Some(_), '\\') => match rest.next() {
                Some('\n') => (),
                Some(escaped @ ('"' | '\\' | '`' | '$')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => return (value, true),
            },
            (None, '\\') => match rest.next() {
                Some('\n') => (),
                Some(other) => value.push(other),
                None => return (value, true),
            },
            (_, c) => value.push(c),
        }
    }
    (value, quote.is_some())
}

fn restart(value: &str) -> Result<Restart, String> {
    Ok(match value {
        "no" => Restart::No,
        "always" => Restart::Always,
        "on-success" => Restart::OnSuccess,
        "on-failure" => Restart::OnFailure,
        "on-abnormal" => Restart::OnAbnormal,
        "on-abort" => Restart::OnAbort,
        other => return Err(format!("'{other}' is not a value of Restart=")),
    })
}

/// Parses a time span: `2`, `500ms`, `1min 30s`, `infinity`.
fn span(value: &str) -> Result<Duration, String> {
    if value == "infinity" {
        return Ok(Duration::MAX);
    }
    let no_span = || format!("'{value}' is not a time span");
    let mut total = Duration::ZERO;
    for part in value.split_whitespace() {
        let at = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let (number, unit) = part.split_at(at);
        let number: f64 = number.parse().map_err(|_| no_span())?;
        let seconds = match unit {
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "ms" | "msec" => 0.001,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            _ => return Err(no_span()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| no_span())?;
        total = total.saturating_add(part);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = r#"[Unit]
Description=postagram web
StartLimitIntervalSec=0
Before=other.service
After=network-online.target first.service
# A comment.
[Service]
DynamicUser=yes
EnvironmentFile=/etc/web.env
EnvironmentFile=-/etc/more.env
Environment=A=1 "B=two words"
ExecStartPre=+/usr/bin/aws s3 cp --only-show-errors \
  s3://bucket/key /opt/web
ExecStartPre=-/usr/bin/true
ExecStart=/opt/web --greet 'hello world' ${B} $A 100%%
Restart=always
RestartSec=2
Shiny=yes
[Install]
WantedBy=multi-user.target
"#;

    #[test]
    fn a_unit_file_is_read() {
        let unit = Unit::parse(WEB).unwrap();
        assert_eq!(unit.environment_files, [("/etc/web.env".to_owned(), false), ("/etc/more.env".to_owned(), true)]);
        assert_eq!(
            unit.before[0].words,
            ["/usr/bin/aws", "s3", "cp", "--only-show-errors", "s3://bucket/key", "/opt/web"]
        );
        assert!(unit.before[1].may_fail && !unit.before[0].may_fail);
        assert_eq!(
            unit.main.expanded(&unit.environment),
            ["/opt/web", "--greet", "hello world", "two words", "1", "100%"]
        );
        assert_eq!((unit.restart, unit.restart_pause), (Restart::Always, Duration::from_secs(2)));
        assert_eq!(unit.start_limit.1, Duration::ZERO);
        let directories =
            Unit::parse("[Service]\nExecStart=/x\nRuntimeDirectory=web\nRuntimeDirectoryMode=0700\n").unwrap();
        assert_eq!((directories.runtime_directories, directories.runtime_mode), (vec!["web".to_owned()], 0o700));
        assert_eq!((unit.ignored, unit.outlived), (vec!["Shiny".to_owned()], vec!["other.service".to_owned()]));
        assert_eq!(unit.follows, ["network-online.target", "first.service"]);
    }

    #[test]
    fn a_bad_unit_says_where_it_is_bad() {
        let check = |line: &str, expected: &str| {
            let text = format!("[Service]\nExecStart=/bin/web\n{line}\n");
            assert_eq!(Unit::parse(&text).unwrap_err(), expected);
        };
        check("Restart=sometimes", "line 3: 'sometimes' is not a value of Restart=");
        check("RestartSec=soon", "line 3: 'soon' is not a time span");
        check("ExecStartPre=web", "line 3: 'web' is not an absolute path");
        check("Environment=\"A=1", "line 3: the quote \" is not closed");
        check("nonsense", "line 3: missing '=' in 'nonsense'");
        check("StandardOutput=file:/x", "line 3: the output 'file:/x' does not exist on a local instance");
        check("ExecStart=", "the service has no ExecStart=");
    }

    #[test]
    fn environment_files_keep_what_is_quoted() {
        let file = "# c\nA=plain\nB=\"with \\\"quotes\\\" and \\\\ and $x %y\"\nC='single \\'\n\nD=\n";
        let read = environment_file(file).unwrap();
        assert_eq!(read["A"], "plain");
        assert_eq!(read["B"], r#"with "quotes" and \ and $x %y"#);
        assert_eq!(read["C"], "single \\");
        assert_eq!(read["D"], "");
        let several = environment_file("A=\"one\ntwo \\\\\n\nend\\\nof it\"\nB=x\\\ny\n").unwrap();
        assert_eq!((several["A"].as_str(), several["B"].as_str()), ("one\ntwo \\\n\nendof it", "xy"));
        let invalid = environment_file("A=1\nB=\"hunter2\u{ffff}\"\n").unwrap_err();
        assert_eq!(invalid, "line 2: invalid UTF-8 value for key B");
        assert_eq!(environment_file("1A=x").unwrap_err(), "line 1: '1A' is not the name of a variable");
    }

    #[test]
    fn output_goes_to_the_journal_unless_the_unit_says_otherwise() {
        let unit = |lines: &str| Unit::parse(&format!("[Service]\nExecStart=/bin/web\n{lines}\n")).unwrap();
        let both = Output { journal: true, console: true };
        assert_eq!((unit("").output, unit("").errors), (Output::JOURNAL, None));
        assert_eq!(unit("StandardOutput=journal+console").output, both);
        let only = unit("StandardError=kmsg+console");
        assert_eq!((only.output, only.errors), (Output::JOURNAL, Some(both)));
        assert_eq!(unit("StandardOutput=inherit").output, Output::NOWHERE);
    }

    #[test]
    fn exits_are_worded_as_by_systemd() {
        assert_eq!(Exit::Code(78).to_string(), "code=exited, status=78/CONFIG");
        assert_eq!(Exit::Code(64).to_string(), "code=exited, status=64/USAGE");
        assert_eq!(Exit::Code(3).to_string(), "code=exited, status=3/n/a");
        assert_eq!(Exit::Signal(9).to_string(), "code=killed, status=9/KILL");
        for (signal, name) in [
            (1, "HUP"),
            (2, "INT"),
            (6, "ABRT"),
            (13, "PIPE"),
            (15, "TERM"),
            (17, "CHLD"),
            (31, "SYS"),
            (32, "32"),
            (34, "RTMIN+0"),
            (64, "RTMIN+30"),
        ] {
            assert_eq!(Exit::Signal(signal).code_and_status(), ("killed", name.to_owned()));
        }
    }

    #[test]
    fn a_service_is_started_again_as_its_policy_says() {
        use Exit::{Code, Signal};
        for (restart, exit, again) in [
            (Restart::No, Code(1), false),
            (Restart::Always, Code(0), true),
            (Restart::OnSuccess, Code(0), true),
            (Restart::OnSuccess, Signal(15), true),
            (Restart::OnSuccess, Code(1), false),
            (Restart::OnFailure, Code(0), false),
            (Restart::OnFailure, Code(203), true),
            (Restart::OnFailure, Signal(9), true),
            (Restart::OnAbnormal, Code(1), false),
            (Restart::OnAbnormal, Signal(11), true),
        ] {
            assert_eq!(restart.after(exit), again, "{restart:?} {exit:?}");
        }
    }

    #[test]
    fn spans_of_time_add_up() {
        assert_eq!(span("1min 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("infinity"), Ok(Duration::MAX));
        assert_eq!(span("18446744073709549568 18446744073709549568"), Ok(Duration::MAX));
        assert!(span("99999999999999999999").is_err());
    }
}
