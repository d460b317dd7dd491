//! The program as a machine runs it: its exit codes, and how it stops.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The program with these variables and nothing else, in a directory without a `.env`.
fn program(dir: &tempfile::TempDir, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    command.env_clear().envs(variables.iter().copied()).current_dir(dir).stdout(Stdio::piped());
    command
}

const ENOUGH: &[(&str, &str)] = &[
    ("BUCKET", "images"),
    ("DYNAMO_TABLE", "posts"),
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "a"),
    ("AWS_SECRET_ACCESS_KEY", "b"),
];

#[test]
fn without_bucket_or_table_it_says_so_and_exits_with_78() {
    let dir = tempfile::tempdir().unwrap();
    for (variables, missing) in [(&[("DYNAMO_TABLE", "posts")], "BUCKET"), (&[("BUCKET", "b")], "DYNAMO_TABLE")] {
        let output = program(&dir, variables).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(log.contains(&format!("{missing} is not set")), "{log}");
    }
}

#[test]
fn a_dot_env_is_read_and_the_environment_wins() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "BUCKET=images\nDYNAMO_TABLE=\"posts\"\nPORT=nonsense\n").unwrap();
    let output = program(&dir, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stdout).unwrap().contains("which is not a port number"));
    let (mut child, address) = start(program(&dir, &ENOUGH[2..]));
    assert!(TcpStream::connect(address).is_ok());
    assert_eq!(stop(&mut child, Signal::TERM), Some(0));
}

#[test]
fn it_stops_when_told_to_and_waits_for_no_idle_connection() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let (mut child, address) = start(program(&dir, ENOUGH));
        let mut idle = TcpStream::connect(&address).unwrap();
        idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        assert_eq!(stop(&mut child, signal), Some(0));
        assert!(TcpStream::connect(&address).is_err());
    }
}

/// Starts it and returns where it listens, which is in its first log line.
fn start(mut command: Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "listening");
    (child, line["address"].as_str().unwrap().to_owned())
}

fn stop(child: &mut Child, signal: Signal) -> Option<i32> {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
    child.wait().unwrap().code()
}
