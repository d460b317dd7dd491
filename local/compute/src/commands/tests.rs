//! Commands of user data and units, with tools that record their input.

use bytes::Bytes;
use kit::platform::PermissionsExt;
use sha2::{Digest as _, Sha256};

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
            "none" => Err(format!("An error occurred (ParameterNotFound) when calling the {operation} operation: ")),
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
    run(root, "/usr/bin/aws s3 cp --only-show-errors --region us-east-1 s3://artifacts/web/service /opt/web/service")
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
        "aws ec2 describe-vpcs: only 's3 cp', 'ec2 associate-address', 'logs', 'secretsmanager' and 'ssm' exist on a local instance",
    )
    .await;
    check("aws s3 cp s3://artifacts/nothing /x", "fatal error: s3://artifacts/nothing: NoSuchKey").await;
    check("chmod 99 /x", "chmod: cannot access '/x': No such file or directory (os error 2)").await;
}
