//! User data: the cloud-config that a new instance runs at its first boot.

mod address;
mod environment;
mod folder;
mod logs;
mod rendered;
mod reports;
mod stored_values;

use std::collections::BTreeMap;

use crate::config::{self, Commands};

pub use environment::is_noncharacter;
pub use folder::{SETTING_UP, SETUP, has_commands};
pub use rendered::{UploadedProgram, commands, in_parts, program, stored_values, variables};
pub use reports::{REPORTS, reports_prefix};
pub use stored_values::UNREADABLE;

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

/// From this port on, any user may listen (`net.ipv4.ip_unprivileged_port_start`).
const UNPRIVILEGED: u16 = 1024;
/// The line that lets a service that is not root listen below that port (systemd.exec(5), capabilities(7)).
const BELOW_1024: &str = "\n    AmbientCapabilities=CAP_NET_BIND_SERVICE";

/// The pause between two batches of lines, and before a call that has failed is repeated: each costs a start of the AWS CLI,
/// which takes most of a second of one processor (docs/aws.md §8.6).
const PAUSE_S: u32 = 15;

/// The beginning of the command that downloads a program.
const DOWNLOAD: &str = "aws s3 cp --only-show-errors ";

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
    use crate::config::Store;
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

    pub(super) fn contents(user_data: &UserData) -> Value {
        let text = user_data.render().unwrap();
        assert!(text.starts_with("#cloud-config\n"));
        serde_yaml::from_str(&text).unwrap()
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

    pub(super) fn stored(variable: &str, store: Store, name: &str, key: Option<&str>) -> StoredVariable {
        let value = config::StoredValue { store, name: name.into(), key: key.map(str::to_owned) };
        StoredVariable { variable: variable.into(), value, version: "7".into() }
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
