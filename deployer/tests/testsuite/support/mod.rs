//! A test's own project folder with its own local AWS, and the real deployer to run in it.

pub mod cloud;
pub mod crowd;
pub mod domain;
pub mod hands;
pub mod inventory;
pub mod moto;
pub mod network;
pub mod options;
pub mod plan;
pub mod run;
pub mod scene;
pub mod shared;
pub mod terminal;

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use testkit::{
    programs::{program, root},
    small_programs::{echo_function, tiny_service},
};

/// The values of the stack `full` that AWS keeps, and a text of its `stack.yaml` that is marked as sensitive.
pub const STORED_VALUE: &str = "a value that AWS keeps";
pub const SENSITIVE: &str = "not-for-all-to-see";

/// A stack of two resources, which takes no time to create.
pub const SMALL: &str = "\
name: small
region: us-east-1
buckets:
  files: {}
tables:
  posts: { partition_key: user }
";

/// A folder with a `stack.yaml`. Dropping it stops its local AWS and deletes the folder.
pub struct Project {
    folder: tempfile::TempDir,
}

/// The output of a run of the deployer.
pub struct RunOutput {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl RunOutput {
    /// The exit code and both streams, for messages.
    pub fn all(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    /// One of the stack's outputs.
    pub fn output(&self, name: &str) -> String {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        self.stdout.lines().find_map(value).unwrap_or_else(|| panic!("there is no output {name}: {}", self.all()))
    }
}

impl From<Output> for RunOutput {
    fn from(Output { status, stdout, stderr }: Output) -> RunOutput {
        RunOutput {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Project {
    /// A folder with the shipped `stack.yaml`, whose programs are those of this build.
    pub fn postagram() -> Project {
        Project::shipped(&program("labeler"), &program("service"))
    }

    /// The same with minimal programs, for tests that create many stacks.
    pub fn light() -> Project {
        Project::shipped(echo_function(), tiny_service())
    }

    fn shipped(labeler: &Path, service: &Path) -> Project {
        let shipped = std::fs::read_to_string(root().join("stack.yaml")).expect("the shipped file is there");
        let binary = |path: &Path| format!("binary: {}", path.display());
        let labelled = shipped.replace("package: labeler", &binary(labeler));
        Project::with(&labelled.replace("package: service", &binary(service)))
    }

    /// A stack `s` with one instance of a tiny service, whose other fields are these lines.
    pub fn of_service(fields: &str) -> Project {
        Project::with(&format!(
            "name: s
region: us-east-1
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 1 }}
    health_check: /health
{fields}outputs:
  URL: ${{services.web.url}}
",
            tiny_service().display()
        ))
    }

    /// A stack `s` with one instance of a tiny service, and no load balancer.
    pub fn direct() -> Project {
        let project = Project::of_service("");
        project.edit("    port: 8080\n", "    load_balancer: none\n");
        project.edit("    instances: { min: 1, max: 1 }\n", "");
        project
    }

    /// A stack `full` with every kind of resource that needs no domain, and with most of their fields.
    pub fn full() -> Project {
        Project::with(&format!(
            r#"name: full
region: us-east-1
tags: {{ course: "Zoé:1" }}
buckets:
  images:
    protect: true
    cors: {{ origins: ["*"], methods: [GET, HEAD, PUT], headers: [content-type], expose: [ETag], max_age_s: 300 }}
    on_upload: {{ function: labeler, suffix: .jpg }}
tables:
  posts:
    partition_key: user
    sort_key: id
    point_in_time_recovery: true
    time_to_live: ends
    stream: new_image
    indexes: {{ by-label: {{ partition_key: label, include: [a, b] }} }}
    local_indexes: {{ by-title: {{ sort_key: title }} }}
functions:
  labeler:
    binary: {}
    memory_mb: 256
    timeout_s: 30
    log_retention_days: 14
    environment:
      BUCKET: ${{buckets.images.name}}
      DYNAMO_TABLE: ${{tables.posts.name}}
      TOKEN: {{ secret: app/token }}
      GREETING: {{ value: "%{{if}} \"{SENSITIVE}\" ${{buckets.images.name}}", sensitive: true }}
    uses:
      buckets: {{ images: read_write }}
      tables: {{ posts: read_write }}
      rekognition: true
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 4, cpu_percent: 50 }}
    health_check: /health
    log_retention_days: 14
    bake: 3m
    load_balancer: {{ port: 80, allow: ["0.0.0.0/0", "10.0.0.0/8"] }}
    environment:
      BUCKET: ${{buckets.images.name}}
      PASSWORD: {{ parameter: /app/password }}
      GREETING: {{ value: {SENSITIVE}, sensitive: true }}
    uses:
      buckets: {{ images: read_write }}
      tables: {{ posts: read_write }}
outputs:
  URL: ${{services.web.url}}
"#,
            echo_function().display(),
            tiny_service().display()
        ))
    }

    /// Sets the values that the stack `full` reads.
    pub fn set_values(&self) {
        for arguments in [&["secret", "set", "app/token"][..], &["secret", "set", "--parameter", "/app/password"]] {
            let mut command = self.command(&[arguments, &["--local"]].concat(), &[]);
            let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
            child.stdin.take().expect("it is piped").write_all(STORED_VALUE.as_bytes()).expect("it is read");
            let said = RunOutput::from(child.wait_with_output().expect("it ends"));
            assert_eq!(said.code, 0, "{arguments:?}: {}", said.all());
        }
    }

    /// A folder with this description.
    pub fn with(description: &str) -> Project {
        let project = Project { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        project.describe(description);
        project
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn description(&self) -> String {
        std::fs::read_to_string(self.path().join("stack.yaml")).expect("the description is there")
    }

    pub fn describe(&self, text: &str) {
        std::fs::write(self.path().join("stack.yaml"), text).expect("the folder can be written to");
    }

    pub fn edit(&self, from: &str, to: &str) {
        let text = self.description();
        assert!(text.contains(from), "{from:?} is not in the description");
        self.describe(&text.replace(from, to));
    }

    /// Makes the function run a program with different bytes and the same behaviour.
    pub fn change_function(&self) {
        let (old, new) = (echo_function(), self.path().join("changed-function"));
        let mut program = std::fs::read(old).expect("the program is there");
        program.push(0);
        std::fs::write(&new, program).expect("the folder can be written to");
        self.edit(&old.display().to_string(), &new.display().to_string());
    }

    /// Makes the service run a program with different bytes and the same behaviour. Every call gives it other bytes.
    pub fn change_service(&self) {
        let own = self.path().join("changed-service");
        let present = if own.is_file() { own.as_path() } else { tiny_service() };
        let mut program = std::fs::read(present).expect("the program is there");
        program.push(0);
        std::fs::write(&own, program).expect("the folder can be written to");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
        if present != own {
            self.edit(&present.display().to_string(), &own.display().to_string());
        }
    }

    /// The deployer's command, to be run in the folder. It sees no AWS configuration other than `environment`.
    pub fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deployer"));
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", self.path());
        command.env("PATH", std::env::var("PATH").unwrap_or_default()).env("DEPLOYER_LOCAL_PORT", "0");
        command.envs(environment.iter().copied());
        command
    }

    /// Runs the deployer in the folder.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> RunOutput {
        let output = self.command(arguments, environment).output().expect("the deployer can be started");
        RunOutput::from(output)
    }

    pub fn run(&self, arguments: &[&str]) -> RunOutput {
        self.run_with(arguments, &[])
    }

    /// Runs the deployer and asserts that it succeeds.
    pub fn done(&self, arguments: &[&str]) -> RunOutput {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }

    /// The endpoint of this folder's local AWS.
    pub fn endpoint(&self) -> String {
        let file = self.path().join(".deployer/local/server.json");
        let server = std::fs::read(file).expect("the local AWS has written its address");
        let server: serde_json::Value = serde_json::from_slice(&server).expect("it is JSON");
        format!("http://{}", server["address"].as_str().expect("an address"))
    }

    /// The processes whose program or arguments are in this folder.
    pub fn processes(&self) -> Vec<String> {
        let here = self.path().to_string_lossy().into_owned();
        let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
        all.flatten()
            .filter(|entry| entry.file_name().to_string_lossy().chars().all(|c| c.is_ascii_digit()))
            .filter_map(|entry| {
                let exe = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                let ours = exe.to_string_lossy().contains(&here) || line.contains(&here);
                ours.then(|| format!("{} {}", entry.file_name().to_string_lossy(), line))
            })
            .collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.run(&["local", "stop"]);
    }
}

/// Asserts that a run has written this text to standard error.
pub fn says(said: &RunOutput, text: &str) {
    assert!(said.stderr.contains(text), "{text:?} is not in {}", said.all());
}
