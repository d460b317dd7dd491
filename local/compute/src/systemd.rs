//! systemd units: enough of their directives to run a service as an instance would.

mod command;
mod environment;
mod exit;
mod output;
mod restart;
mod span;
mod user;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kit::platform::PermissionsExt;

use super::commands::{below, parse_mode};

use command::Command;
pub use environment::{environment_file, is_noncharacter};
pub use exit::Exit;
pub use output::Output;
use restart::{Restart, restart};
use span::span;
pub use user::UNPRIVILEGED;
use user::User;
use words::{assignment, logical_lines, words};

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

#[cfg(test)]
mod tests {
    use super::exit::Exit;
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
}
