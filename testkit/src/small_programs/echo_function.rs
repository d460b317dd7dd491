//! A function for tests: it does what its event says, using only the standard library.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

fn main() {
    if let Ok(megabytes) = std::env::var("HOLD") {
        held(&megabytes);
        return;
    }
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("started by Lambda");
    if std::env::var("BREAK").is_ok() {
        println!("breaking before the first event");
        std::process::exit(7);
    }
    loop {
        let (head, event) = exchange(&api, "GET", "invocation/next", "");
        let id = header(&head, "lambda-runtime-aws-request-id");
        let (kind, answer) = act(&event);
        exchange(&api, "POST", &format!("invocation/{id}/{kind}"), &answer);
    }
}

/// The event is a JSON string such as `"env NAME"`; any other event is printed and returned.
fn act(event: &str) -> (&'static str, String) {
    let words: Vec<&str> = event.trim_matches('"').split(' ').collect();
    match words.as_slice() {
        ["env", name] => ("response", format!("\"{}\"", std::env::var(name).unwrap_or_else(|_| "none".to_owned()))),
        ["variables"] => {
            let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
            names.sort();
            ("response", format!("\"{}\"", names.join(" ")))
        }
        ["pid"] => ("response", std::process::id().to_string()),
        ["fail"] => ("error", r#"{"errorType":"Sad","errorMessage":"as asked"}"#.to_owned()),
        ["exit"] => std::process::exit(3),
        ["hold", megabytes] => ("response", held(megabytes).to_string()),
        // In another process, which ends before this one answers.
        ["hold-elsewhere", megabytes] => {
            let program = std::env::current_exe().expect("a program has a path");
            let ended = Command::new(program).env("HOLD", megabytes).status().expect("it was started before");
            ("response", format!("\"{ended}\""))
        }
        ["sleep"] => loop {
            std::thread::park();
        },
        // Two of these events can only be answered if two processes run at the same time.
        ["meet", address] => {
            let mut other = TcpStream::connect(address).expect("the test listens");
            let mut word = [0];
            other.read_exact(&mut word).expect("the test answers when both are there");
            ("response", std::process::id().to_string())
        }
        _ => {
            println!("event {event}");
            ("response", event.to_owned())
        }
    }
}

/// Allocates this many megabytes of memory for a while, and returns the number of bytes found in them.
fn held(megabytes: &str) -> usize {
    let bytes = vec![1_u8; megabytes.parse::<usize>().expect("a number") << 20];
    std::thread::sleep(Duration::from_millis(100));
    bytes.iter().map(|byte| usize::from(*byte)).sum()
}

fn exchange(api: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(api).expect("the runtime API listens");
    write!(
        stream,
        "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("the runtime API reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the runtime API answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_owned(), body.to_owned())
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}
