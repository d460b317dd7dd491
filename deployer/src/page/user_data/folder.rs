//! The user data of a service that is a folder of files.
//!
//! `run` and `setup` are files of their own, so that nothing in them needs quoting. `bash -c` starts a single command in its
//! own place, so that the unit's main process is the program; the name after the text begins bash's messages. `setup` ends at
//! the first line that fails: its success is remembered, so that a failure would never be cured.

use super::{UserData, indented};
use crate::config::Commands;

/// How long all that runs before the program may take, in seconds: downloads, packages and `setup`.
const START_S: u32 = 1800;

/// The name of the script that runs before the program: that of its field, `setup`.
pub const SETUP: &str = "setup";

/// The first line that it prints, to stderr: the journal then shows which command failed, even one that prints nothing,
/// and the console what an instance that has not reported yet is doing.
pub const SETTING_UP: &str = "setting up";

/// The suffix of the path of the file with `run`.
const RUN: &str = "/run.sh";

/// Whether rendered user data has commands of `stack.yaml`, those of a folder.
pub fn has_commands(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("- path: /opt/") && line.ends_with(RUN))
}

impl UserData {
    /// The archive, and what the unit has in addition: the working directory, and the commands before the program. The
    /// folder exists only once the archive has been unpacked.
    pub(super) fn folder_start(&self, commands: &Commands, read_stored: &str) -> (String, String, String) {
        let unit = self.unit();
        let setup = match commands.setup {
            Some(_) => format!("\n    ExecStartPre=+/opt/{unit}/{SETUP}"),
            None => String::new(),
        };
        let prepare = format!(
            "\n    ExecStartPre=+/usr/bin/bash /opt/{unit}/prepare{read_stored}{setup}\n    TimeoutStartSec={START_S}"
        );
        (format!("/opt/{unit}/files.tar.gz"), format!("\n    WorkingDirectory=-/opt/{unit}/files"), prepare)
    }

    /// The scripts that prepare, set up and run the folder. An instance does the first two only once, and again after a
    /// failure: a program that crashes again and again does not download its archive each time.
    pub(super) fn folder_files(&self, commands: &Commands) -> String {
        let unit = self.unit();
        let Commands { run, setup, packages } = commands;
        let install = match packages.as_slice() {
            [] => String::new(),
            packages => format!("dnf install --assumeyes --quiet {} &&\n      ", packages.join(" ")),
        };
        let setup = setup.as_ref().map_or(String::new(), |setup| {
            let script = indented(setup);
            format!(
                "\
- path: /opt/{unit}/setup.sh
  permissions: '0644'
  content: |
{script}\
- path: /opt/{unit}/{SETUP}
  permissions: '0755'
  content: |
    #!/bin/bash
    [ -e ../set-up ] || {{
      echo {SETTING_UP} >&2
      bash -e -o pipefail -c -- \"$(cat ../setup.sh)\" {SETUP} && touch ../set-up
    }}
"
            )
        });
        let run = indented(run);
        let (download, check, sha256) = (self.download("$at/files.tar.gz"), self.check(), &self.sha256);
        format!(
            "\
- path: /opt/{unit}/prepare
  permissions: '0644'
  content: |
    at=/opt/{unit}
    ready=$at/prepared-{sha256}
    [ -s $ready ] || {{
      {download} &&
      {check} &&
      {install}mkdir -p $at/files &&
      tar -xzf $at/files.tar.gz -C $at/files &&
      echo yes > $ready
    }}
{setup}\
- path: /opt/{unit}{RUN}
  permissions: '0644'
  content: |
{run}\
- path: /opt/{unit}/service
  permissions: '0755'
  content: |
    #!/bin/bash
    exec bash -c -- \"$(cat ../run.sh)\" run
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::postagram;
    use super::*;
    use crate::{
        config::{LARGEST_COMMANDS, LARGEST_DIRECT_ENVIRONMENT},
        page::user_data::{UploadedProgram, commands, program, variables},
    };

    fn python(run: &str, setup: Option<&str>, packages: &[&str]) -> UserData {
        let packages = packages.iter().map(|package| (*package).to_owned()).collect();
        let commands = Commands { run: run.into(), setup: setup.map(str::to_owned), packages };
        UserData { commands: Some(commands), ..postagram(&[("A", "1")]) }
    }

    #[test]
    fn a_folder_is_unpacked_set_up_and_run() {
        let run = "export GREETING='hello  world'\npython3 -m uvicorn main:app --port \"$PORT\" # %n: \\";
        let text = python(run, Some("pip3 install -r requirements.txt"), &["python3-pip", "git"]).render().unwrap();
        let yaml: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let files = yaml["write_files"].as_array().unwrap();
        let content = |path: &str| files.iter().find(|file| file["path"] == path).unwrap()["content"].as_str().unwrap();
        assert_eq!(content("/opt/postagram-web/run.sh").trim_end(), run);
        assert!(has_commands(&text) && !has_commands(&postagram(&[("A", "/run.sh")]).render().unwrap()));
        assert_eq!(content("/opt/postagram-web/setup.sh"), "pip3 install -r requirements.txt\n");
        expect_test::expect![[r#"
            at=/opt/postagram-web
            ready=$at/prepared-abc123
            [ -s $ready ] || {
              aws s3 cp --only-show-errors --region us-east-1 s3://postagram-artifacts-000000000000-us-east-1/services/web/abc123 $at/files.tar.gz &&
              sha256sum --check --quiet /etc/postagram-web.sha256 &&
              dnf install --assumeyes --quiet python3-pip git &&
              mkdir -p $at/files &&
              tar -xzf $at/files.tar.gz -C $at/files &&
              echo yes > $ready
            }
        "#]]
        .assert_eq(content("/opt/postagram-web/prepare"));
        expect_test::expect![[r##"
            #!/bin/bash
            [ -e ../set-up ] || {
              echo setting up >&2
              bash -e -o pipefail -c -- "$(cat ../setup.sh)" setup && touch ../set-up
            }
        "##]]
        .assert_eq(content("/opt/postagram-web/setup"));
        expect_test::expect![[r##"
            #!/bin/bash
            exec bash -c -- "$(cat ../run.sh)" run
        "##]]
        .assert_eq(content("/opt/postagram-web/service"));
        expect_test::expect![[r#"
            [Unit]
            Description=postagram web
            Wants=network-online.target
            After=network-online.target
            StartLimitIntervalSec=0
            [Service]
            DynamicUser=yes
            EnvironmentFile=/etc/postagram-web.env
            WorkingDirectory=-/opt/postagram-web/files
            StandardOutput=journal
            StandardError=journal+console
            ExecStartPre=+/usr/bin/bash /opt/postagram-web/prepare
            ExecStartPre=+/opt/postagram-web/setup
            TimeoutStartSec=1800
            ExecStart=/opt/postagram-web/service
            ExecStopPost=+-/usr/bin/bash /opt/postagram-web/report exit
            Restart=always
            RestartSec=2
            [Install]
            WantedBy=multi-user.target
        "#]]
        .assert_eq(content("/etc/systemd/system/postagram-web.service"));
        assert_eq!(content("/etc/postagram-web.sha256"), "abc123  /opt/postagram-web/files.tar.gz\n");
    }

    #[test]
    fn without_setup_and_packages_there_is_neither() {
        let text = python("node index.js", None, &[]).render().unwrap();
        assert!(!text.contains("dnf") && !text.contains("setup"), "{text}");
    }

    #[test]
    fn the_archive_and_the_variables_are_found_whatever_the_commands_hold() {
        let trap = "ExecStartPre=+/usr/bin/aws s3 cp --only-show-errors s3://other/key /opt\naws s3 cp --only-show-errors s3://other/key /opt\n0123  /opt/x\n- path: /secrets\n  permissions: '0644'\n  content: |\n    # A=\"secret x\"\n";
        let text = python(trap.trim(), Some(trap.trim()), &[]).render().unwrap();
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        assert_eq!(program(&text), Some(UploadedProgram { bucket, key: "services/web/abc123", sha256: "abc123" }));
        assert_eq!(variables(&text).unwrap().into_keys().collect::<Vec<_>>(), ["A", "PORT"]);
        assert!(super::super::stored_values(&text).is_empty());
        assert!(commands(&text).unwrap().contains("s3://other/key"));
    }

    /// The most that `config/checks.rs` lets pass, with the largest environment.
    #[test]
    fn the_largest_commands_fit() {
        let text = "\"".repeat(crate::config::LARGEST_ENVIRONMENT - 1);
        let hash = "0".repeat(64);
        let mut data = python("", None, &[]);
        data.environment.insert("A".into(), text);
        // The names of load balancers have at most 32 characters, and those of buckets 63.
        (data.stack, data.service, data.region) = ("a".repeat(14), "b".repeat(15), "ap-southeast-1".into());
        (data.bucket, data.sha256) = ("c".repeat(63), hash.clone());
        (data.key, data.log_group) =
            (format!("services/{}/{hash}", data.service), format!("/deployer/{}/{}", data.stack, data.service));
        let line = "\n".repeat(LARGEST_COMMANDS / 5 - 2);
        for commands in [
            Commands { run: "x".repeat(LARGEST_COMMANDS - 5), ..Commands::default() },
            Commands { run: format!("x{line}x"), ..Commands::default() },
            Commands {
                run: "x".into(),
                setup: Some("x".repeat(LARGEST_COMMANDS - 20)),
                packages: vec!["abc".into(); 2],
            },
            Commands { run: "x".into(), setup: None, packages: vec!["x".into(); LARGEST_COMMANDS / 2 - 3] },
        ] {
            assert!(
                commands.bytes() <= LARGEST_COMMANDS && commands.bytes() > LARGEST_COMMANDS - 20,
                "{}",
                commands.bytes()
            );
            data.commands = Some(commands);
            data.render().unwrap_or_else(|error| panic!("{error}"));
            // The name of a role, with the region, has at most 64 characters.
            let mut direct = data.clone();
            direct.environment.insert("A".into(), "\"".repeat(LARGEST_DIRECT_ENVIRONMENT - 1));
            (direct.stack, direct.service, direct.region) = ("a".repeat(24), "b".repeat(25), "us-east-1".into());
            (direct.key, direct.log_group) = (
                format!("services/{}/{hash}", direct.service),
                format!("/deployer/{}/{}", direct.stack, direct.service),
            );
            direct.address = Some(format!("eipalloc-{}", "0".repeat(17)));
            direct.render().unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
