//! `verify` makes the requests of `stack.yaml` to the running stack, compares the answers, and cleans up.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::eventually;

use crate::support::{Project, RunOutput};

/// Removes the project's stack from this machine and asserts that it is gone.
fn end(project: &Project) {
    let down = project.done(&["down", "--local", "--yes"]);
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
}

async fn posts(url: &str) -> Value {
    let answer = reqwest::get(format!("{url}/posts")).await.expect("an answer");
    answer.json().await.expect("a list of posts")
}

fn results(said: &RunOutput) -> BTreeMap<String, String> {
    let document: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()));
    let steps = document["steps"].as_array().expect("steps").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    steps.map(|step| (text(&step["step"]), text(&step["result"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_requests_pass_and_leave_nothing_behind() {
    let project = Project::postagram();
    let early = project.run(&["verify", "--local"]);
    assert_eq!(early.code, 1, "there is no local AWS: {}", early.all());

    // At once after `up`, when the bucket may not notify the function yet.
    let up = project.done(&["up", "--local", "--yes", "--verify"]);
    let url = up.output("URL");
    assert_eq!(posts(&url).await, json!([]));
    for step in ["page", "write", "sign", "upload", "labels", "list", "delete", "gone"] {
        assert!(up.stderr.contains(&format!("✓ {step} ")), "{step}: {}", up.all());
    }
    assert!(up.stderr.contains("verified: all 8 steps passed in "), "{}", up.all());
    assert!(!up.stdout.contains('✓'), "stdout has nothing but the outputs: {}", up.all());
    assert!(!up.all().contains("X-Amz-Signature"), "the signed address is not shown: {}", up.all());

    let said = project.done(&["verify", "--local"]);
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{}", said.all());
    assert!(said.stdout.contains("verified: all 8 steps passed in "), "{}", said.all());
    let said = project.done(&["verify", "--local", "--json"]);
    let document: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(document["passed"], true, "{document:#}");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&document), ["passed", "seconds", "steps"]);
    for step in document["steps"].as_array().expect("steps") {
        assert_eq!(keys(step), ["step", "request", "result", "problem", "status", "attempts", "took_s"], "{step}");
        assert!(step["result"] == "passed" && step["problem"].is_null(), "{step}");
    }

    // Labels that no picture gets, and a step that is not made any more.
    project.edit("/0/labels: \"*\", /0/image: http*", "/0/labels/0: Unicorn");
    project.edit("within_s: 360", "within_s: 1");
    let said = project.run(&["verify", "--local", "--json"]);
    assert_eq!(said.code, 4, "{}", said.all());
    let results = results(&said);
    for (step, result) in [("write", "passed"), ("labels", "failed"), ("delete", "passed"), ("gone", "skipped")] {
        assert_eq!(results[step], result, "{step}: {}", said.all());
    }
    assert_eq!(posts(&url).await, json!([]), "the post is deleted although a step failed");
    let said = project.run(&["up", "--local", "--yes", "--verify"]);
    assert_eq!(said.code, 4, "{}", said.all());
    assert!(said.stderr.contains("/0/labels/0 is ") && said.stderr.contains("should be \"Unicorn\""), "{}", said.all());
    assert_eq!(posts(&url).await, json!([]));
    end(&project);
    let gone = project.run(&["verify", "--local"]);
    assert!(gone.code == 1 && gone.stderr.contains("run `up` first"), "{}", gone.all());
}

/// A server that answers as a test says, and remembers the requests.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// The answer to a request line, with everything that follows the status.
type Script = fn(&str, usize) -> Vec<u8>;

impl Server {
    fn start(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(stream, script, &seen));
            }
        });
        Server { address, requests }
    }

    /// A stack without a service, whose steps use this server.
    fn project(&self, steps: &str) -> Project {
        let steps = steps.replace("SERVER", &self.address);
        let project = Project::with(&format!(
            "name: small\nregion: us-east-1\ntables:\n  t: {{ partition_key: k }}\nverify:\n  steps:\n{steps}"
        ));
        project.done(&["up", "--local", "--yes"]);
        project
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread has panicked").clone()
    }
}

fn serve(mut stream: TcpStream, script: Script, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        head += &line;
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let count = {
        let mut seen = seen.lock().expect("no thread has panicked");
        seen.push(format!("{line} {}", String::from_utf8_lossy(&body)).trim_end().to_owned());
        seen.iter().filter(|it| it.starts_with(&line)).count()
    };
    let _ = stream.write_all(&script(&line, count));
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}").into_bytes()
}

/// An answer of each kind that a client may not expect.
fn odd(line: &str, _: usize) -> Vec<u8> {
    match line.rsplit('/').next().unwrap_or_default() {
        "endless" => [&b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n"[..], &vec![b'x'; 9_000_000][..]].concat(),
        "garbage" => b"no HTTP at all\r\n\r\n".to_vec(),
        "nothing" => Vec::new(),
        "short" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx".to_vec(),
        "deep" => answer("200 OK", "", &"[".repeat(200_000)),
        "latin" => [&b"HTTP/1.1 200 OK\r\nx-name: Zo\xe9\r\ncontent-length: 0\r\n\r\n"[..]].concat(),
        "terminal" => answer("500 Oh", "", "\u{1b}[2J\u{202e}\r\nhint: run `curl x | sh`"),
        "elsewhere" => answer("302 Found", "location: http://127.0.0.1:1/stolen\r\n", ""),
        "late" => {
            std::thread::sleep(std::time::Duration::from_secs(3));
            answer("200 OK", "", "")
        }
        _ => answer("404 Not Found", "", "no such page"),
    }
}

#[test]
fn no_answer_harms_and_each_is_explained() {
    let server = Server::start(odd);
    let cases = [
        ("endless", "the answer has more than 4 MiB"),
        ("garbage", ""),
        ("nothing", ""),
        ("short", "the answer breaks off"),
        ("deep", "the body is not JSON"),
        ("latin", ""),
        ("terminal", r"the status is 500, and should be 200-299: \u{1b}[2J\u{202e}\r\nhint: run"),
        ("elsewhere", "the status is 302, and should be 200-299"),
        ("late", "no answer within 1 s"),
        ("other", "the status is 404, and should be 200-299: no such page"),
    ];
    let project = server.project("    x: { request: GET SERVER/x }\n");
    let description = project.description();
    for (path, expected) in cases {
        // Others have all the time that a busy machine needs.
        let timeout_s = if path == "late" { 1 } else { 60 };
        let step =
            format!("GET {}/{path}, timeout_s: {timeout_s}, expect: {{ json: {{ \"\": {{}} }} }}", server.address);
        project.describe(&description.replace(&format!("GET {}/x", server.address), &step));
        let said = project.run(&["verify", "--local"]);
        assert_eq!(said.code, 4, "{path}: {}", said.all());
        let why = said.stdout.lines().nth(1).unwrap_or_default();
        assert!(why.starts_with("      ") && why.contains(expected), "{path}: {}", said.all());
        assert!(!said.all().contains(['\u{1b}', '\u{202e}']), "{path}: {}", said.all());
        assert_eq!(said.stdout.lines().count(), 3, "{path}: {}", said.all());
    }
    // A port at which nothing listens.
    project.describe(&description.replace(&format!("{}/x", server.address), "http://127.0.0.1:1/"));
    let said = project.run(&["verify", "--local"]);
    assert!(said.code == 4 && said.stdout.contains("refused"), "{}", said.all());
}

/// Notes: the first two lists are not ready, and the secret is in every answer.
fn notes(line: &str, count: usize) -> Vec<u8> {
    let note = r#"{"id":"NOTE#a/b 1","n":1.5,"secret":"sesame-opens","list":[1,2],"none":null}"#;
    match line.split_once(' ').unwrap_or_default() {
        ("POST", _) => answer("201 Created", "location: /notes/7\r\nx-token: token-of-the-day\r\n", note),
        ("GET", "/list") if count < 3 => answer("503 Busy", "", "Bearer sesame-of-ours sesame-opens"),
        ("GET", "/list") => answer("200 OK", "", &format!("[{note}]")),
        ("GET", "/wrong") => answer("200 OK", "", "sesame-opens Bearer sesame-of-ours"),
        _ => answer("204 No Content", "", ""),
    }
}

const NOTES: &str = r##"
    create:
      request: POST SERVER/notes
      headers: { authorization: Bearer sesame-of-ours }
      json: { text: "a \"note\" of ${run}", n: 1.5, list: [true, null] }
      expect: { status: "201", headers: { location: /notes/*, x-token: "*" }, json: { /n: 1.5, /list: [1, 2], /none: null } }
      capture: { note: { json: /id, after: "#" }, secret: { json: /secret }, token: { header: x-token } }
    touch: { request: "PUT SERVER/notes/${note}", body: "${token} of ${tables.t.name}" }
    list:
      request: GET SERVER/list
      expect: { json: { /*/id: "NOTE#${note}", /0: { n: 1.5 } } }
      from: touch
      within_s: 30
    wrong: { request: GET SERVER/wrong, headers: { authorization: Bearer sesame-of-ours }, expect: { body: "fine" } }
    after: { request: GET SERVER/after }
    never: { always: true, request: "DELETE SERVER/notes/${nothing}" }
    delete: { always: true, request: "DELETE SERVER/notes/${note}" }
"##;

#[test]
fn values_are_captured_steps_repeated_and_cleaned_up_and_secrets_hidden() {
    let server = Server::start(notes);
    let steps = NOTES
        .replace("    never:", "    other: { request: GET SERVER/x, capture: { nothing: { json: /x } } }\n    never:");
    let project = server.project(&steps);
    let said = project.run(&["verify", "--local"]);
    assert_eq!(said.code, 4, "{}", said.all());
    for part in [
        "✓ create ",
        "✓ list ",
        " → 200, 3 times",
        "✗ wrong ",
        "the body is \"(hidden) (hidden)\", and should be \"fine\"",
        "- after    skipped  wrong failed",
        "- never    skipped  nothing to clean up: ${nothing} was never set",
        "✓ delete ",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.all());
    }
    assert!(!said.all().contains("sesame") && !said.all().contains("token-of"), "{}", said.all());
    let requests = server.requests();
    let touched: Vec<&String> = requests.iter().filter(|request| request.starts_with("PUT ")).collect();
    assert_eq!(touched.len(), 3, "once, and before each repetition: {requests:?}");
    assert_eq!(touched[0], "PUT /notes/a%2Fb%201 token-of-the-day of small-t");
    assert!(
        requests[0].contains(r#"{"text":"a \"note\" of "#) && requests[0].ends_with(r#""n":1.5,"list":[true,null]}"#)
    );
    assert_eq!(requests.last().map(String::as_str), Some("DELETE /notes/a%2Fb%201"));
    assert!(!requests.iter().any(|request| request.contains("/after") || request.contains("/x")), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_skips_everything_but_the_cleanup() {
    let server = Server::start(notes);
    let steps =
        "    create: { request: POST SERVER/notes, capture: { note: { json: /none, after: x } }, within_s: 600 }
    after: { request: GET SERVER/after }
    delete: { always: true, request: DELETE SERVER/all }
";
    let project = server.project(steps);
    let mut command = tokio::process::Command::from(project.command(&["verify", "--local"], &[]));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("the deployer can be started");
    eventually("a request", async || (!server.requests().is_empty()).then_some(())).await;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::INT).expect("it can be signalled");
    let said = RunOutput::from(child.wait_with_output().await.expect("it ends"));
    assert_eq!(said.code, 130, "{}", said.all());
    assert!(said.stdout.contains("- after    skipped  interrupted"), "{}", said.all());
    assert_eq!(server.requests().last().map(String::as_str), Some("DELETE /all"), "{}", said.all());
}

#[test]
fn a_stack_without_requests_gets_a_hint_where_to_find_some() {
    let project = Project::with("name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\n");
    project.done(&["local", "start"]);
    for arguments in [&["verify", "--local"][..], &["up", "--local", "--yes", "--verify"]] {
        let said = project.run(arguments);
        assert_eq!(said.code, 64, "{}", said.all());
        assert!(said.stderr.contains("stack.yaml has no `verify` section"), "{}", said.all());
    }
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 2, "nothing was made");
    for conflict in [&["up", "--verify", "--no-wait"][..], &["up", "tables", "--verify"]] {
        assert_eq!(project.run(conflict).code, 64);
    }
}
