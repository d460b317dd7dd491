//! A project folder of a test's own, with its own local AWS, and the real binary to run in it.
#![allow(dead_code)] // each test binary uses its part

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A folder with a `stack.yaml`. Dropping it stops its local AWS and removes everything.
pub struct Project {
    folder: tempfile::TempDir,
}

/// What a run of the deployer said.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Both streams, for messages.
    pub fn all(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl Project {
    /// A folder with the shipped `stack.yaml`, whose programs are the ones this build has made.
    pub fn postagram() -> Project {
        let project = Project { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        let shipped = std::fs::read_to_string(root().join("stack.yaml")).expect("the shipped file is there");
        let program = |name: &str| format!("binary: {}", built(name).display());
        project.describe(
            &shipped.replace("package: labeler", &program("labeler")).replace("package: service", &program("service")),
        );
        project
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

    /// Runs the deployer in the folder. It sees no AWS configuration but what is given here.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deployer"));
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", self.path());
        command.env("PATH", std::env::var("PATH").unwrap_or_default()).env("DEPLOYER_LOCAL_PORT", "0");
        command.envs(environment.iter().copied());
        let Output { status, stdout, stderr } = command.output().expect("the deployer can be started");
        Said {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, &[])
    }

    /// Runs it and insists that it is done.
    pub fn done(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }

    /// Where this folder's local AWS answers.
    pub fn endpoint(&self) -> String {
        let file = self.path().join(".deployer/local/server.json");
        let server = std::fs::read(file).expect("the local AWS has said where it is");
        let server: serde_json::Value = serde_json::from_slice(&server).expect("it is JSON");
        format!("http://{}", server["address"].as_str().expect("an address"))
    }

    /// The processes whose program or arguments lie in this folder.
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

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program of this workspace, made by the same build as this test.
pub fn built(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_deployer")).with_file_name(name);
    assert!(program.is_file(), "{} is not there: build it with `cargo build --workspace --bins`", program.display());
    program
}

/// Asks again until there is an answer. It gives up late, so that a busy machine is not a failure.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
