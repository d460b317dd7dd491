//! User data: the cloud-config that a new instance runs at its first boot.

mod folder;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::config::{self, Commands, Store};

pub use folder::{SETTING_UP, SETUP, has_commands};

/// A service's values in user data. It has no `Debug`: its variables may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData {
    /// The stack's name.
    pub stack: String,
    /// The service's name in `stack.yaml`.
    pub service: String,
    /// The region of the artifact bucket.
    pub region: String,
    /// The artifact bucket.
    pub bucket: String,
    /// The key of the program in it.
    pub key: String,
    /// The service's variables.
    pub environment: BTreeMap<String, String>,
    /// The variables whose values are kept in AWS, in the order of their names.
    pub stored: Vec<StoredVariable>,
    /// The port to listen on.
    pub port: u16,
    /// The SHA-256 of the program in hexadecimal: the unit starts nothing else.
    pub sha256: String,
    /// The commands that run the program, if it is the archive of a folder.
    pub commands: Option<Commands>,
    /// The log group that its lines go to.
    pub log_group: String,
    /// The allocation of the elastic IP address that the instance takes, `eipalloc-…`, if the service has one.
    pub address: Option<String>,
}

/// A variable whose value is kept in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVariable {
    /// Its name.
    pub variable: String,
    /// The place of its value.
    pub value: config::StoredValue,
    /// The version of the value that `up` saw; empty if unknown. Instances read the current one: this only makes another
    /// template of another value, so that `up` rolls it out.
    pub version: String,
}

/// Why no user data can be rendered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Larger than EC2's limit.
    #[error("the user data has {bytes} bytes, and EC2 takes {LIMIT}: shorten `environment`")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// An invalid variable name.
    #[error("{name:?} cannot be the name of a variable: letters, digits and _ only, no digit first")]
    Name {
        /// The name.
        name: String,
    },
    /// A character that neither YAML nor systemd preserves.
    #[error("the value of {name} holds {character:?}: no line breaks and no control characters")]
    Value {
        /// The variable.
        name: String,
        /// The character.
        character: char,
    },
    /// A part of the unit that would need quoting there.
    #[error("{text:?} cannot be part of a systemd unit: letters, digits and . _ - / only")]
    Word {
        /// The part.
        text: String,
    },
}

/// EC2's limit, before base64 (docs/aws.md §8.4).
const LIMIT: usize = 16 * 1024;

/// The prefix in the artifact bucket for the reports of a service's instances.
pub fn reports_prefix(service: &str) -> String {
    format!("{REPORTS}{service}/")
}

/// The prefix in the artifact bucket for the reports of all instances.
pub const REPORTS: &str = "boot/";

/// From this port on, any user may listen (`net.ipv4.ip_unprivileged_port_start`).
const UNPRIVILEGED: u16 = 1024;
/// The line that lets a service that is not root listen below that port (systemd.exec(5), capabilities(7)).
const BELOW_1024: &str = "\n    AmbientCapabilities=CAP_NET_BIND_SERVICE";

/// The pause between two batches of lines, and before a call that has failed is repeated: each costs a start of the AWS CLI,
/// which takes most of a second of one processor (docs/aws.md §8.6).
const PAUSE_S: u32 = 15;
/// The pause after AWS has refused all batches.
const PAUSE_AFTER_FAILURE_S: u32 = 60;
/// The most lines in a batch.
const BATCH: u32 = 4000;
/// The same, after a larger batch has failed: `PutLogEvents` takes 1 MB, and so twenty of the longest lines that
/// journald keeps whole; one line is never too much, nor too far from others in time.
const SMALLER_BATCHES: &str = "1000 200 20 1";
/// Turns entries of the journal into events. Their order may be another after the clock was set. A message with
/// characters that cannot be printed is a list of bytes: `plain` removes the control sequences of terminals, such as
/// colours, and marks the end with -1; `text` decodes UTF-8, with U+FFFD for what is invalid. No filter of jq 1.6 or
/// 1.7 decodes bytes. `PutLogEvents` takes no empty message.
const EVENTS: &str = r#"def plain:[foreach (.[],-1) as $b ([0];if .[0]==2 and $b>31 and $b<127 then [if $b<64 then 2 else 0 end] elif .[0]==1 and $b==91 then [2] else (if .[0]==1 then [27] else [] end) as $kept|if $b==27 then [1]+$kept else [0]+$kept+[$b] end end;.[1:][])];def text:[foreach .[] as $b ({n:0};if .n>0 and $b>127 and $b<192 then {n:(.n-1),least,c:(.c*64+$b-128)}|.o=if .n>0 then [] elif .c<.least or .c>1114111 or (.c>55295 and .c<57344) then [65533] else [.c] end else (if .n>0 then [65533] else [] end) as $o|if $b<0 then {n:0,$o} elif $b<128 then {n:0,o:($o+[$b])} elif $b<192 or $b>247 then {n:0,o:($o+[65533])} elif $b<224 then {n:1,least:128,c:($b-192),$o} elif $b<240 then {n:2,least:2048,c:($b-224),$o} else {n:3,least:65536,c:($b-240),$o} end end;.o[])]|implode;map({timestamp:(.__REALTIME_TIMESTAMP|tonumber/1000|floor),message:(.MESSAGE|if type=="string" then . else (try (plain|text) catch .) end|if .=="" then " " else . end)})|sort_by(.timestamp)|select(length>0)"#;

/// Turns the answer of `get-secret-value` or `get-parameter` into a line of an environment file: systemd takes a quoted
/// value over several lines, in which only these four characters are escaped. Of a noncharacter of Unicode it would drop the
/// whole file, and log the value (docs/aws.md §23.3). No message of the filter contains a value.
const ASSIGNMENT: &str = r#"(.SecretString//.Parameter.Value)|if $key=="" then . else (try(fromjson|.[$key])catch null|if type=="string" or .==null then . else tojson end) end|if .==null then error("there is no such text") else explode|if any(.==0) then error("it has a NUL character") elif any(.>64975 and .<65008 or .%65536>65533) then error("it has a character that no variable can have") else "\($name)=\"\(map(if .==34 or .==36 or .==92 or .==96 then 92,. else . end)|implode)\"" end end"#;

/// The script's message about a value that it cannot read. The name of the variable follows.
pub const UNREADABLE: &str = "deployer: cannot read";

/// The beginning of the command that downloads a program.
const DOWNLOAD: &str = "aws s3 cp --only-show-errors ";

/// The prefix if it is a command of a unit.
const BEFORE: &str = "ExecStartPre=+/usr/bin/";

impl UserData {
    /// Renders the cloud-config.
    pub fn render(&self) -> Result<String, Error> {
        let UserData { stack, service, region, bucket, key, log_group, .. } = self;
        for word in [stack, service, region, bucket, key, log_group].into_iter().chain(&self.address) {
            check_word(word)?;
        }
        let unit = self.unit();
        let stored = self.stored_values_file()?;
        let folder = self.commands.as_ref().map(|commands| self.folder_files(commands)).unwrap_or_default();
        let files =
            [self.service_files()?, folder, stored, self.report_files(), self.log_files(), self.address_files()]
                .concat();
        let address = self.address.as_ref().map(|_| format!("{unit}-address.service, ")).unwrap_or_default();
        let text = format!(
            "\
#cloud-config
write_files:
{files}\
runcmd:
- [mkdir, -p, /opt/{unit}]
- [systemctl, daemon-reload]
- [systemctl, enable, --now, {address}{unit}-logs.service, {unit}.service, {unit}-report.service]
"
        );
        if text.len() > LIMIT {
            return Err(Error::TooLong { bytes: text.len() });
        }
        Ok(text)
    }

    /// The name of the service's unit and of its files.
    fn unit(&self) -> String {
        format!("{}-{}", self.stack, self.service)
    }

    /// The environment file, the program's checksum and the unit. At every start the unit downloads the program with the
    /// instance's role and verifies it; the archive of a folder only once. systemd restarts it when it exits.
    fn service_files(&self) -> Result<String, Error> {
        let UserData { stack, service, sha256, port, .. } = self;
        let unit = self.unit();
        let environment = indented(&self.environment_file()?);
        let capability = if *port < UNPRIVILEGED { BELOW_1024 } else { "" };
        let after_address = self.address.as_ref().map(|_| format!(" {unit}-address.service")).unwrap_or_default();
        // The directory is on a tmpfs, and gone when the unit has stopped. The files are read before each process, and this
        // one does not exist before the first (systemd.exec(5), EnvironmentFile).
        let (stored, read_stored) = match self.stored.is_empty() {
            true => (String::new(), String::new()),
            false => (
                format!(
                    "\n    RuntimeDirectory={unit}\n    RuntimeDirectoryMode=0700\n    EnvironmentFile=-/run/{unit}/environment"
                ),
                format!("\n    ExecStartPre=+/usr/bin/bash /opt/{unit}/secrets\n    TimeoutStartSec=300"),
            ),
        };
        let (program, directory, prepare) = match &self.commands {
            None => {
                let program = format!("/opt/{unit}/service");
                let prepare = format!(
                    "
    ExecStartPre=+/usr/bin/{}
    ExecStartPre=+/usr/bin/{}
    ExecStartPre=+/usr/bin/chmod 0755 {program}{read_stored}",
                    self.download(&program),
                    self.check()
                );
                (program, String::new(), prepare)
            }
            Some(commands) => self.folder_start(commands, &read_stored),
        };
        Ok(format!(
            "\
- path: /etc/{unit}.env
  permissions: '0600'
  content: |
{environment}\
- path: /etc/{unit}.sha256
  permissions: '0644'
  content: |
    {sha256}  {program}
- path: /etc/systemd/system/{unit}.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}
    Wants=network-online.target
    After=network-online.target{after_address}
    StartLimitIntervalSec=0
    [Service]
    DynamicUser=yes{capability}
    EnvironmentFile=/etc/{unit}.env{stored}{directory}
    StandardOutput=journal
    StandardError=journal+console{prepare}
    ExecStart=/opt/{unit}/service
    ExecStopPost=+-/usr/bin/bash /opt/{unit}/report exit
    Restart=always
    RestartSec=2
    [Install]
    WantedBy=multi-user.target
"
        ))
    }

    /// The command that downloads the program, or the archive of its folder.
    fn download(&self, to: &str) -> String {
        let UserData { region, bucket, key, .. } = self;
        format!("{DOWNLOAD}--region {region} s3://{bucket}/{key} {to}")
    }

    /// The command that verifies what was downloaded.
    fn check(&self) -> String {
        format!("sha256sum --check --quiet /etc/{}.sha256", self.unit())
    }

    /// The script that reads the values kept in AWS with the role of the instance, just before the program starts. They
    /// pass through pipes and variables of the shell, never through arguments, which others see. What the script prints is
    /// in the journal and in reports: names, and the messages of the AWS CLI, which contain no values.
    fn stored_values_file(&self) -> Result<String, Error> {
        if self.stored.is_empty() {
            return Ok(String::new());
        }
        let (unit, region) = (self.unit(), &self.region);
        let (mut marks, mut reads) = (String::new(), String::new());
        for StoredVariable { variable, value, version } in &self.stored {
            let mark = assignment(variable, format!("{value} {version}").trim_end())?;
            marks += &format!("    # {mark}");
            let config::StoredValue { store, name, key } = value;
            for word in [name].into_iter().chain(key) {
                check_quotable(word)?;
            }
            let read = match store {
                Store::Secret => format!("secretsmanager get-secret-value $to --secret-id '{name}'"),
                Store::Parameter => format!("ssm get-parameter $to --with-decryption --name '{name}'"),
            };
            let key = key.as_deref().unwrap_or_default();
            let and = if reads.is_empty() { "" } else { " &&\n" };
            reads += &format!(
                "{and}      what='{variable} from the {} {name}' && it=$(aws {read}) && echo \"$it\" | jq -r --arg name {variable} --arg key '{key}' \"$as\"",
                store.word()
            );
        }
        Ok(format!(
            "\
- path: /opt/{unit}/secrets
  permissions: '0644'
  content: |
{marks}\
\x20   umask 077
    to='--region {region} --output json --cli-connect-timeout 5 --cli-read-timeout 10'
    as='{ASSIGNMENT}'
    {{
{reads}
    }} > /run/{unit}/environment || {{
      echo \"{UNREADABLE} $what\"
      sleep {PAUSE_S}
      false
    }}
"
        ))
    }

    /// Reports to the artifact bucket, because the console and the journal of an instance are lost with it: when it
    /// boots, when its service first answers, and after every exit of the service (docs/aws.md §8.5). A report has at
    /// most 8 KB, and no values of variables. The unit starts once the commands before the program have ended: they may
    /// take longer than the program is given to answer.
    fn report_files(&self) -> String {
        let UserData { stack, service, region, bucket, port, .. } = self;
        let unit = self.unit();
        let reports = reports_prefix(service);
        format!(
            "\
- path: /opt/{unit}/report
  permissions: '0644'
  content: |
    id=$(cat /var/lib/cloud/data/instance-id)
    http=
    [ \"$1\" = answers ] && http=$(curl --silent --output /dev/null --write-out '%{{http_code}}' --max-time 5 --retry 24 --retry-delay 5 --retry-connrefused http://127.0.0.1:{port}/)
    {{
      echo \"stage=$1 port={port} http=$http result=$SERVICE_RESULT code=$EXIT_CODE status=$EXIT_STATUS\"
      systemctl show {unit} --property=ActiveState,SubState,NRestarts
      journalctl --unit={unit} --lines=100 --no-pager --quiet --output=short-iso | tail -c 7000
    }} 2>&1 | aws s3 cp --only-show-errors --region {region} - s3://{bucket}/{reports}$id/$1
- path: /etc/systemd/system/{unit}-report.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}: boot report
    After={unit}.service
    [Service]
    ExecStartPre=-/usr/bin/bash /opt/{unit}/report started
    ExecStart=/usr/bin/bash /opt/{unit}/report answers
    [Install]
    WantedBy=multi-user.target
"
        )
    }

    /// A second unit, which sends the lines of the service to its log group. It starts before the service and ends after
    /// it, so that no line is left behind. The cursor is moved once AWS has taken the lines: after a failure they are
    /// sent again, in smaller batches, and to a new stream if there is none. Where more lines are waiting there is no
    /// pause (docs/aws.md §8.6).
    fn log_files(&self) -> String {
        let UserData { stack, service, region, log_group, .. } = self;
        let unit = self.unit();
        format!(
            "\
- path: /opt/{unit}/cursor
  permissions: '0644'
- path: /opt/{unit}/logs
  permissions: '0644'
  content: |
    at=/opt/{unit}
    to=\"--region {region} --log-group-name {log_group} --log-stream-name $(cat /var/lib/cloud/data/instance-id)\"
    put=\"aws logs put-log-events $to --log-events file://$at/batch\"
    while true; do
      pause={PAUSE_AFTER_FAILURE_S}
      for lines in {BATCH} {SMALLER_BATCHES}; do
        cp $at/cursor $at/next && journalctl --unit={unit} --since=2000-01-01 --lines=$lines --cursor-file=$at/next --output=json --output-fields=MESSAGE --all --no-pager --quiet > $at/entries && cat $at/entries | jq -cs '{EVENTS}' > $at/batch && {{
          [ -s $at/batch ] || pause={PAUSE_S}
          [ $pause = {PAUSE_S} ] && break
          $put > /dev/null || {{ aws logs create-log-stream $to && $put > /dev/null; }} && mv $at/next $at/cursor && {{
            pause={PAUSE_S}
            [ $lines = {BATCH} ] || pause=0
            [ \"$(cat $at/entries | jq -s length)\" = $lines ] && pause=0
            break
          }}
        }}
      done
      [ $pause = 0 ] || {{
        [ \"$1\" = last ] && break
        sleep $pause
      }}
    done
- path: /etc/systemd/system/{unit}-logs.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}: logs
    Wants=network-online.target
    After=network-online.target
    Before={unit}.service
    [Service]
    ExecStart=/usr/bin/bash /opt/{unit}/logs
    ExecStopPost=-/usr/bin/bash /opt/{unit}/logs last
    Nice=19
    Restart=always
    RestartSec={PAUSE_AFTER_FAILURE_S}
    [Install]
    WantedBy=multi-user.target
"
        )
    }

    /// A unit that gives the elastic IP address of the service to the instance, with its role, and takes it from an instance
    /// that has it. The role may not be in effect yet: it is tried until EC2 agrees. Then connections through the address
    /// from the launch end, so the service, which downloads its program, starts after the first attempt (docs/aws.md §8.7).
    fn address_files(&self) -> String {
        let UserData { stack, service, region, .. } = self;
        let (unit, Some(address)) = (self.unit(), &self.address) else { return String::new() };
        format!(
            "\
- path: /opt/{unit}/address
  permissions: '0644'
  content: |
    [ \"$1\" = taken ] || aws ec2 associate-address --region {region} --cli-connect-timeout 5 --cli-read-timeout 10 --allocation-id {address} --instance-id $(cat /var/lib/cloud/data/instance-id) --allow-reassociation > /dev/null || {{
      sleep {PAUSE_S}
      false
    }}
- path: /etc/systemd/system/{unit}-address.service
  permissions: '0644'
  content: |
    [Unit]
    Description={stack} {service}: elastic IP address
    Wants=network-online.target
    After=network-online.target
    StartLimitIntervalSec=0
    [Service]
    ExecStartPre=/usr/bin/bash /opt/{unit}/address
    ExecStart=/usr/bin/bash /opt/{unit}/address taken
    Restart=on-failure
    RestartSec=2
    [Install]
    WantedBy=multi-user.target
"
        )
    }

    /// One line per variable. `PORT` is always the target group's port, even if `environment` sets it.
    fn environment_file(&self) -> Result<String, Error> {
        let mut variables = self.environment.clone();
        variables.insert("PORT".into(), self.port.to_string());
        variables.iter().map(|(name, value)| assignment(name, value)).collect()
    }
}

/// One variable as systemd reads it: in double quotes, where only the quote and the backslash are escaped; `$` and `%`
/// have no special meaning in an environment file.
fn assignment(name: &str, value: &str) -> Result<String, Error> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
        return Err(Error::Name { name: name.into() });
    }
    if let Some(character) = value.chars().find(|&c| breaks_a_line(c)) {
        return Err(Error::Value { name: name.into(), character });
    }
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    Ok(format!("{name}=\"{value}\"\n"))
}

/// Checks that a word can stand between single quotes in a script.
fn check_quotable(text: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@:+=".contains(c);
    if text.chars().all(is_plain) { Ok(()) } else { Err(Error::Word { text: text.into() }) }
}

/// Whether YAML would end the line here or reject the character. cloud-init's parser treats more characters as line
/// breaks than YAML 1.2 does.
fn breaks_a_line(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') || is_noncharacter(c)
}

/// Whether Unicode reserves the code point for no character. systemd takes it for invalid UTF-8 (docs/aws.md §23.3).
pub fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// The program that user data of ours starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program<'a> {
    /// The artifact bucket.
    pub bucket: &'a str,
    /// Its key there.
    pub key: &'a str,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'a str,
}

/// Finds the program in rendered user data; `None` if it is not ours.
pub fn program(text: &str) -> Option<Program<'_>> {
    let mut commands = text.lines().map(str::trim_start).map(|line| line.strip_prefix(BEFORE).unwrap_or(line));
    let download = commands.find_map(|line| line.strip_prefix(DOWNLOAD))?;
    let source = download.split(' ').find_map(|word| word.strip_prefix("s3://"))?;
    let (bucket, key) = source.split_once('/')?;
    let is_hash = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut hashes = text.lines().filter_map(|line| Some(line.split_once("  /opt/")?.0.trim_start()));
    Some(Program { bucket, key, sha256: hashes.find(is_hash)? })
}

/// The variables in rendered user data; `None` if it is not ours.
pub fn variables(text: &str) -> Option<BTreeMap<&str, &str>> {
    parts(text).map(|parts| parts.environment)
}

/// The values kept in AWS that rendered user data reads; none if it is not ours.
pub fn stored_values(text: &str) -> Vec<(Store, &str)> {
    let Some(at) = text.find(STORED_VALUES) else { return Vec::new() };
    let lines = text[at + STORED_VALUES.len() - MARK.len()..].lines();
    lines.map_while(|line| line.strip_prefix(MARK)).filter_map(value_of_mark).collect()
}

fn value_of_mark(mark: &str) -> Option<(Store, &str)> {
    let (_, value) = mark.split_once("=\"")?;
    let (word, rest) = value.split_once(' ')?;
    let store = [Store::Secret, Store::Parameter].into_iter().find(|store| store.word() == word)?;
    // Names contain none of these.
    Some((store, rest.split([' ', ',', '"']).next()?))
}

/// Rendered user data without its variables; `None` if it is not ours.
pub fn commands(text: &str) -> Option<String> {
    parts(text).map(|parts| parts.commands)
}

/// Serialises user data as its variables and the rest, so that a diff shows which variable differs. Different texts
/// always have different parts; a text with another layout is one part.
pub fn in_parts<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match parts(text) {
        Some(parts) => parts.serialize(serializer),
        None => text.serialize(serializer),
    }
}

/// The parts of our user data.
#[derive(Serialize)]
struct Parts<'a> {
    environment: BTreeMap<&'a str, &'a str>,
    commands: String,
}

const VARIABLES: &str = "  permissions: '0600'\n  content: |\n";

/// The head of the script with the values that are kept in AWS, up to its marks.
const STORED_VALUES: &str = "/secrets\n  permissions: '0644'\n  content: |\n    # ";

/// The prefix of a mark.
const MARK: &str = "    # ";

fn parts(text: &str) -> Option<Parts<'_>> {
    let (before, rest) = text.split_once(VARIABLES)?;
    // Values have no line breaks.
    let after = rest.find("\n- path:")? + 1;
    let mut environment = variables_in(&rest[..after], "    ")?;
    let rest = &rest[after..];
    let mut commands = before.to_owned();
    // The marks of values that are kept in AWS count as variables, too.
    let rest = match rest.find(STORED_VALUES) {
        None => rest,
        Some(at) => {
            let begin = at + STORED_VALUES.len() - MARK.len();
            let is_mark = |line: &&str| line.starts_with(MARK);
            let length: usize = rest[begin..].split_inclusive('\n').take_while(is_mark).map(str::len).sum();
            for (name, value) in variables_in(&rest[begin..begin + length], MARK)? {
                if environment.insert(name, value).is_some() {
                    return None;
                }
            }
            commands += &rest[..begin];
            &rest[begin + length..]
        }
    };
    Some(Parts { environment, commands: commands + rest })
}

/// The variables in lines that begin like this; `None` if they are not in order: in another order, or repeated, they would
/// be a different text with the same parts.
fn variables_in<'t>(lines: &'t str, before: &str) -> Option<BTreeMap<&'t str, &'t str>> {
    let mut variables = BTreeMap::new();
    for line in lines.lines() {
        let (name, value) = line.strip_prefix(before)?.split_once('=')?;
        let is_next = variables.last_key_value().is_none_or(|(last, _)| *last < name);
        variables.insert(name, value.strip_prefix('"')?.strip_suffix('"')?);
        if !is_next {
            return None;
        }
    }
    Some(variables)
}

fn check_word(text: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if text.is_empty() || !text.chars().all(is_plain) { Err(Error::Word { text: text.into() }) } else { Ok(()) }
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::Value;

    pub(super) fn postagram(environment: &[(&str, &str)]) -> UserData {
        UserData {
            stack: "postagram".into(),
            service: "web".into(),
            region: "us-east-1".into(),
            bucket: "postagram-artifacts-000000000000-us-east-1".into(),
            key: "services/web/abc123".into(),
            environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            stored: Vec::new(),
            port: 8080,
            sha256: "abc123".into(),
            commands: None,
            log_group: "/deployer/postagram/web".into(),
            address: None,
        }
    }

    #[test]
    fn an_instance_takes_its_address_by_a_unit_of_its_own() {
        let user_data = UserData { address: Some("eipalloc-0a1b".into()), port: 80, ..postagram(&[]) };
        let text = user_data.render().unwrap();
        assert!(text.contains("--now, postagram-web-address.service, postagram-web-logs.service, "), "{text}");
        assert!(text.contains("    After=network-online.target postagram-web-address.service\n"), "{text}");
        let call = "--cli-read-timeout 10 --allocation-id eipalloc-0a1b --instance-id $(cat";
        assert!(text.contains(call) && text.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"), "{text}");
        let without = postagram(&[]).render().unwrap();
        assert!(!without.contains("address.service") && !without.contains("associate-address"), "{without}");
        let wrong = UserData { address: Some("$(reboot)".into()), ..postagram(&[]) }.render();
        assert!(matches!(wrong, Err(Error::Word { .. })), "{wrong:?}");
    }

    fn contents(user_data: &UserData) -> Value {
        let text = user_data.render().unwrap();
        assert!(text.starts_with("#cloud-config\n"));
        serde_yaml::from_str(&text).unwrap()
    }

    #[test]
    fn the_program_is_read_from_the_text() {
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        let expected = Some(Program { bucket, key: "services/web/abc123", sha256: "abc123" });
        let seed = format!("s3://{bucket}/seed.json");
        // Values that look like the lines of the unit and of the checksum.
        let download = format!("ExecStartPre=+/usr/bin/aws s3 cp {seed} /x");
        for value in ["", &seed, &download, "0123  /opt/x"] {
            let text = postagram(&[("SEED", value)]).render().unwrap();
            assert_eq!(program(&text), expected, "{value:?}");
        }
        assert_eq!(program(&seed), None, "a text that is not ours");
    }

    #[test]
    fn the_complete_user_data() {
        let text = postagram(&[("BUCKET", "postagram-images-000000000000-us-east-1")]).render().unwrap();
        expect_test::expect![[r#"
            #cloud-config
            write_files:
            - path: /etc/postagram-web.env
              permissions: '0600'
              content: |
                BUCKET="postagram-images-000000000000-us-east-1"
                PORT="8080"
            - path: /etc/postagram-web.sha256
              permissions: '0644'
              content: |
                abc123  /opt/postagram-web/service
            - path: /etc/systemd/system/postagram-web.service
              permissions: '0644'
              content: |
                [Unit]
                Description=postagram web
                Wants=network-online.target
                After=network-online.target
                StartLimitIntervalSec=0
                [Service]
                DynamicUser=yes
                EnvironmentFile=/etc/postagram-web.env
                StandardOutput=journal
                StandardError=journal+console
                ExecStartPre=+/usr/bin/aws s3 cp --only-show-errors --region us-east-1 s3://postagram-artifacts-000000000000-us-east-1/services/web/abc123 /opt/postagram-web/service
                ExecStartPre=+/usr/bin/sha256sum --check --quiet /etc/postagram-web.sha256
                ExecStartPre=+/usr/bin/chmod 0755 /opt/postagram-web/service
                ExecStart=/opt/postagram-web/service
                ExecStopPost=+-/usr/bin/bash /opt/postagram-web/report exit
                Restart=always
                RestartSec=2
                [Install]
                WantedBy=multi-user.target
            - path: /opt/postagram-web/report
              permissions: '0644'
              content: |
                id=$(cat /var/lib/cloud/data/instance-id)
                http=
                [ "$1" = answers ] && http=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 5 --retry 24 --retry-delay 5 --retry-connrefused http://127.0.0.1:8080/)
                {
                  echo "stage=$1 port=8080 http=$http result=$SERVICE_RESULT code=$EXIT_CODE status=$EXIT_STATUS"
                  systemctl show postagram-web --property=ActiveState,SubState,NRestarts
                  journalctl --unit=postagram-web --lines=100 --no-pager --quiet --output=short-iso | tail -c 7000
                } 2>&1 | aws s3 cp --only-show-errors --region us-east-1 - s3://postagram-artifacts-000000000000-us-east-1/boot/web/$id/$1
            - path: /etc/systemd/system/postagram-web-report.service
              permissions: '0644'
              content: |
                [Unit]
                Description=postagram web: boot report
                After=postagram-web.service
                [Service]
                ExecStartPre=-/usr/bin/bash /opt/postagram-web/report started
                ExecStart=/usr/bin/bash /opt/postagram-web/report answers
                [Install]
                WantedBy=multi-user.target
            - path: /opt/postagram-web/cursor
              permissions: '0644'
            - path: /opt/postagram-web/logs
              permissions: '0644'
              content: |
                at=/opt/postagram-web
                to="--region us-east-1 --log-group-name /deployer/postagram/web --log-stream-name $(cat /var/lib/cloud/data/instance-id)"
                put="aws logs put-log-events $to --log-events file://$at/batch"
                while true; do
                  pause=60
                  for lines in 4000 1000 200 20 1; do
                    cp $at/cursor $at/next && journalctl --unit=postagram-web --since=2000-01-01 --lines=$lines --cursor-file=$at/next --output=json --output-fields=MESSAGE --all --no-pager --quiet > $at/entries && cat $at/entries | jq -cs 'def plain:[foreach (.[],-1) as $b ([0];if .[0]==2 and $b>31 and $b<127 then [if $b<64 then 2 else 0 end] elif .[0]==1 and $b==91 then [2] else (if .[0]==1 then [27] else [] end) as $kept|if $b==27 then [1]+$kept else [0]+$kept+[$b] end end;.[1:][])];def text:[foreach .[] as $b ({n:0};if .n>0 and $b>127 and $b<192 then {n:(.n-1),least,c:(.c*64+$b-128)}|.o=if .n>0 then [] elif .c<.least or .c>1114111 or (.c>55295 and .c<57344) then [65533] else [.c] end else (if .n>0 then [65533] else [] end) as $o|if $b<0 then {n:0,$o} elif $b<128 then {n:0,o:($o+[$b])} elif $b<192 or $b>247 then {n:0,o:($o+[65533])} elif $b<224 then {n:1,least:128,c:($b-192),$o} elif $b<240 then {n:2,least:2048,c:($b-224),$o} else {n:3,least:65536,c:($b-240),$o} end end;.o[])]|implode;map({timestamp:(.__REALTIME_TIMESTAMP|tonumber/1000|floor),message:(.MESSAGE|if type=="string" then . else (try (plain|text) catch .) end|if .=="" then " " else . end)})|sort_by(.timestamp)|select(length>0)' > $at/batch && {
                      [ -s $at/batch ] || pause=15
                      [ $pause = 15 ] && break
                      $put > /dev/null || { aws logs create-log-stream $to && $put > /dev/null; } && mv $at/next $at/cursor && {
                        pause=15
                        [ $lines = 4000 ] || pause=0
                        [ "$(cat $at/entries | jq -s length)" = $lines ] && pause=0
                        break
                      }
                    }
                  done
                  [ $pause = 0 ] || {
                    [ "$1" = last ] && break
                    sleep $pause
                  }
                done
            - path: /etc/systemd/system/postagram-web-logs.service
              permissions: '0644'
              content: |
                [Unit]
                Description=postagram web: logs
                Wants=network-online.target
                After=network-online.target
                Before=postagram-web.service
                [Service]
                ExecStart=/usr/bin/bash /opt/postagram-web/logs
                ExecStopPost=-/usr/bin/bash /opt/postagram-web/logs last
                Nice=19
                Restart=always
                RestartSec=60
                [Install]
                WantedBy=multi-user.target
            runcmd:
            - [mkdir, -p, /opt/postagram-web]
            - [systemctl, daemon-reload]
            - [systemctl, enable, --now, postagram-web-logs.service, postagram-web.service, postagram-web-report.service]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn odd_values_arrive_in_the_file_as_systemd_wants_them() {
        let odd = [
            ("A", r#"say "hi""#, r#"A="say \"hi\"""#),
            ("B", r"C:\temp\", r#"B="C:\\temp\\""#),
            ("C", "$HOME %n #no: comment", r#"C="$HOME %n #no: comment""#),
            ("D", "  Zoé – 東京 🙂 ", r#"D="  Zoé – 東京 🙂 ""#),
            ("E", "a\tb", "E=\"a\tb\""),
            ("F", "", r#"F="""#),
            ("G", "- 'x': [1, {}] | > & * ! `y`", r#"G="- 'x': [1, {}] | > & * ! `y`""#),
        ];
        let pairs: Vec<(&str, &str)> = odd.iter().map(|(name, value, _)| (*name, *value)).collect();
        let yaml = contents(&postagram(&pairs));
        let mut expected: Vec<&str> = odd.iter().map(|(_, _, line)| *line).collect();
        expected.push(r#"PORT="8080""#);
        let file = yaml["write_files"][0]["content"].as_str().unwrap();
        assert_eq!(file.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn it_is_yaml_with_eight_files_and_three_commands() {
        let yaml = contents(&postagram(&[]));
        assert_eq!(yaml["write_files"][0]["path"], "/etc/postagram-web.env");
        assert_eq!(yaml["write_files"][0]["permissions"], "0600");
        let unit = yaml["write_files"][2]["content"].as_str().unwrap();
        assert_eq!(yaml["write_files"][1]["content"], "abc123  /opt/postagram-web/service\n");
        assert!(unit.starts_with("[Unit]\n") && unit.ends_with("WantedBy=multi-user.target\n"));
        let units = ["postagram-web-logs.service", "postagram-web.service", "postagram-web-report.service"];
        let enable = serde_json::json!(["systemctl", "enable", "--now", units[0], units[1], units[2]]);
        assert_eq!(yaml["write_files"].as_array().map(Vec::len), Some(8));
        assert_eq!(yaml["runcmd"][2], enable);
        assert_eq!(yaml.as_object().unwrap().len(), 2);
    }

    #[test]
    fn the_port_is_that_of_the_load_balancer_whatever_the_environment_says() {
        let yaml = contents(&postagram(&[("PORT", "1")]));
        assert_eq!(yaml["write_files"][0]["content"], "PORT=\"8080\"\n");
    }

    #[test]
    fn a_port_below_1024_brings_the_capability_to_listen_there() {
        let unit = |port| {
            let yaml = contents(&UserData { port, ..postagram(&[]) });
            yaml["write_files"][2]["content"].as_str().unwrap().to_owned()
        };
        let capability = "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n";
        assert!(unit(80).contains(capability) && unit(1023).contains(capability));
        assert!(!unit(1024).contains("Capabilities"), "unprivileged ports need no capability");
    }

    #[test]
    fn the_parts_tell_which_variable_differs() {
        #[derive(Serialize)]
        struct Settings(#[serde(serialize_with = "in_parts")] String);
        let parts = |text: &str| serde_json::to_value(Settings(text.into())).unwrap();
        let text = postagram(&[("B", r#"say "psst""#), ("A", "1")]).render().unwrap();
        let environment = serde_json::json!({ "A": "1", "B": r#"say \"psst\""#, "PORT": "8080" });
        assert_eq!(parts(&text)["environment"], environment);
        assert!(!parts(&text)["commands"].as_str().unwrap().contains("psst"));
        for other in [text.replace("A=\"1\"", "A=\"2\""), text.replace("web", "wob")] {
            assert_ne!(parts(&other), parts(&text));
        }
        let swapped = text.replace("A=\"1\"\n    B=", "C=\"1\"\n    B=");
        assert!(parts(&swapped).is_string(), "out of order: {swapped}");
        assert_eq!(parts("#cloud-config\n"), "#cloud-config\n");
    }

    #[test]
    fn a_value_that_looks_like_another_file_is_a_part_of_the_variables() {
        let text = postagram(&[("A", "x - path: y"), ("B", "- path: /etc")]).render().unwrap();
        let environment = [("A", "x - path: y"), ("B", "- path: /etc"), ("PORT", "8080")];
        assert_eq!(variables(&text), Some(BTreeMap::from(environment)));
        assert_eq!(commands(&text), commands(&postagram(&[]).render().unwrap()));
    }

    #[test]
    fn the_program_is_found_whatever_the_variables_hold() {
        let trap = "x  /opt/postagram-web/service ExecStartPre=+/usr/bin/aws s3 cp s3://other/key /opt";
        let text = postagram(&[("A", trap), ("ExecStartPre", trap)]).render().unwrap();
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        assert_eq!(program(&text), Some(Program { bucket, key: "services/web/abc123", sha256: "abc123" }));
        assert_eq!(variables(&text).unwrap()["PORT"], "8080");
        assert_eq!(program("#cloud-config\n"), None);
        assert!(variables("#cloud-config\n").is_none() && commands("#cloud-config\n").is_none());
    }

    fn stored(variable: &str, store: Store, name: &str, key: Option<&str>) -> StoredVariable {
        let value = config::StoredValue { store, name: name.into(), key: key.map(str::to_owned) };
        StoredVariable { variable: variable.into(), value, version: "7".into() }
    }

    fn with_stored_values() -> UserData {
        let all = [
            stored("DB", Store::Parameter, "/app/db", None),
            stored("JWT_SECRET", Store::Secret, "app/jwt", Some("value")),
        ];
        UserData { stored: all.into(), ..postagram(&[("A", "1")]) }
    }

    #[test]
    fn values_kept_in_aws_are_read_before_the_program_starts() {
        let yaml = contents(&with_stored_values());
        let unit = yaml["write_files"][2]["content"].as_str().unwrap();
        let lines: Vec<&str> = unit.lines().filter(|line| line.contains("/run/") || line.contains("untime")).collect();
        let run = "EnvironmentFile=-/run/postagram-web/environment";
        assert_eq!(lines, ["RuntimeDirectory=postagram-web", "RuntimeDirectoryMode=0700", run]);
        let before: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStartPre=")).collect();
        assert_eq!(before.last(), Some(&"ExecStartPre=+/usr/bin/bash /opt/postagram-web/secrets"));
        assert!(unit.contains("\nTimeoutStartSec=300\n"), "longer than the calls take that are tried again");
        let text = with_stored_values().render().unwrap();
        assert_eq!(super::stored_values(&text), [(Store::Parameter, "/app/db"), (Store::Secret, "app/jwt")]);
        // A variable that looks like a mark is not one.
        let other = postagram(&[("A", "secret x 7"), ("B", "/secrets # C=\"secret y 7\"")]).render().unwrap();
        assert_eq!(super::stored_values(&other), []);
        assert_eq!(yaml["write_files"][3]["path"], "/opt/postagram-web/secrets");
        let script = yaml["write_files"][3]["content"].as_str().unwrap().replace(ASSIGNMENT, "FILTER");
        expect_test::expect![[r#"
            # DB="parameter /app/db 7"
            # JWT_SECRET="secret app/jwt, key value 7"
            umask 077
            to='--region us-east-1 --output json --cli-connect-timeout 5 --cli-read-timeout 10'
            as='FILTER'
            {
              what='DB from the parameter /app/db' && it=$(aws ssm get-parameter $to --with-decryption --name '/app/db') && echo "$it" | jq -r --arg name DB --arg key '' "$as" &&
              what='JWT_SECRET from the secret app/jwt' && it=$(aws secretsmanager get-secret-value $to --secret-id 'app/jwt') && echo "$it" | jq -r --arg name JWT_SECRET --arg key 'value' "$as"
            } > /run/postagram-web/environment || {
              echo "deployer: cannot read $what"
              sleep 15
              false
            }
        "#]]
        .assert_eq(&script);
        assert!(!ASSIGNMENT.contains('\''), "it stands between single quotes");
    }

    #[test]
    fn another_version_of_a_value_is_another_variable_and_nothing_else() {
        let (text, mut other) = (with_stored_values().render().unwrap(), with_stored_values());
        other.stored[1].version = "8".into();
        let other = other.render().unwrap();
        assert_eq!(commands(&text), commands(&other));
        assert_eq!(variables(&text).unwrap()["JWT_SECRET"], "secret app/jwt, key value 7");
        assert_eq!(variables(&other).unwrap()["JWT_SECRET"], "secret app/jwt, key value 8");
        assert_eq!(variables(&text).unwrap().len(), 4);
        let quoted = UserData { stored: vec![stored("A", Store::Secret, "it's", None)], ..postagram(&[]) };
        assert_eq!(quoted.render(), Err(Error::Word { text: "it's".into() }));
    }

    /// The most that `config/checks.rs` lets pass.
    #[test]
    fn the_largest_environment_fits() {
        let mut all = Vec::new();
        let mut bytes = 0;
        for number in 100.. {
            let next = stored(&format!("V{number}"), Store::Parameter, "/app/p", None);
            bytes += next.value.bytes(&next.variable);
            if bytes > config::LARGEST_ENVIRONMENT {
                break;
            }
            all.push(next);
        }
        assert!(all.len() > 10);
        assert!(UserData { stored: all, ..postagram(&[]) }.render().is_ok());
        let name = "x".repeat(512);
        let mut long: Vec<StoredVariable> = vec![stored("V", Store::Secret, &name, Some(&"k".repeat(128)))];
        let bytes = long[0].value.bytes("V");
        long.push(stored("W", Store::Secret, &name, None));
        let text = "\"".repeat((config::LARGEST_ENVIRONMENT - 2 * bytes) / 2);
        assert!(UserData { stored: long, ..postagram(&[("A", &text)]) }.render().is_ok());
    }

    #[test]
    fn names_and_values_that_would_break_the_file_are_refused() {
        for character in ['\n', '\r', '\0', '\u{85}', '\u{2028}', '\u{fdd0}', '\u{ffff}', '\u{1fffe}'] {
            let refused = postagram(&[("A", &format!("x{character}y"))]).render();
            assert_eq!(refused, Err(Error::Value { name: "A".into(), character }));
        }
        for name in ["", "1A", "A B", "A=B", "É"] {
            assert_eq!(postagram(&[(name, "")]).render(), Err(Error::Name { name: name.into() }));
        }
        let spaced = UserData { key: "a b".into(), ..postagram(&[]) };
        assert_eq!(spaced.render(), Err(Error::Word { text: "a b".into() }));
    }

    #[test]
    fn more_than_ec2_takes_is_refused() {
        let room = LIMIT - postagram(&[("A", "")]).render().unwrap().len();
        assert_eq!(postagram(&[("A", &"x".repeat(room))]).render().unwrap().len(), LIMIT);
        let refused = postagram(&[("A", &"x".repeat(room + 1))]).render();
        assert_eq!(refused, Err(Error::TooLong { bytes: LIMIT + 1 }));
    }
}
