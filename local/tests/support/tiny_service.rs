//! A web service in one file, for instances in tests: it tells what it was given and who it is.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() {
    let host = std::env::var("HOST").unwrap_or_else(|_| "0.0.0.0".into());
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("{host}:{port}")).expect("the port is free");
    println!("tiny_service listens on {host}:{port}");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

/// Answers request after request until the other side closes.
fn serve(mut stream: TcpStream) {
    let mut pending = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut pending) {
        let path = head.split_whitespace().nth(1).unwrap_or("/");
        if path == "/upgrade" {
            return echo_bytes(stream, &head);
        }
        let (status, answer) = match path {
            "/environment" => ("200 OK", environment()),
            "/headers" => ("200 OK", headers(&head)),
            "/echo" => ("200 OK", body),
            "/pid" => ("200 OK", std::process::id().to_string()),
            "/broken" => ("500 Internal Server Error", "broken".into()),
            _ => ("200 OK", "tiny".into()),
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Goes over to a protocol of its own: everything comes back.
fn echo_bytes(mut stream: TcpStream, head: &str) {
    let asked = head.to_lowercase();
    assert!(asked.contains("upgrade: echo") && asked.contains("connection: upgrade"), "{head}");
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut buffer = [0; 1024];
    let mut written = stream.write_all(agreed.as_bytes());
    while let (Ok(()), Ok(read @ 1..)) = (written, stream.read(&mut buffer)) {
        written = stream.write_all(&buffer[..read]);
    }
}

/// `name=value` lines.
fn headers(head: &str) -> String {
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.map(|(name, value)| format!("{}={}\n", name.to_lowercase(), value.trim())).collect()
}

fn environment() -> String {
    std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The next request's head and body, whose length it declares or which comes in chunks.
fn request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<(String, String)> {
    let head_end = loop {
        if let Some(at) = find(pending, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, pending)?;
    };
    let head = String::from_utf8_lossy(&pending[..head_end]).into_owned();
    pending.drain(..head_end);
    let lower = head.to_lowercase();
    let header = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body = if header("transfer-encoding:") == Some("chunked") {
        chunked(stream, pending)?
    } else {
        let length = header("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
        take(stream, pending, length)?
    };
    Some((head, String::from_utf8_lossy(&body).into_owned()))
}

fn chunked(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let at = loop {
            match find(pending, b"\r\n") {
                Some(at) => break at,
                None => more(stream, pending)?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&pending[..at]).ok()?.trim(), 16).ok()?;
        pending.drain(..at + 2);
        body.extend(take(stream, pending, size)?);
        take(stream, pending, 2)?;
        if size == 0 {
            return Some(body);
        }
    }
}

fn take(stream: &mut TcpStream, pending: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while pending.len() < length {
        more(stream, pending)?;
    }
    Some(pending.drain(..length).collect())
}

fn more(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 8192];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            pending.extend(&buffer[..read]);
            Some(())
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
