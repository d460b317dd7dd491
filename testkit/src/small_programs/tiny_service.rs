//! A web service in one source file, for instances in tests: it reports what it receives and its process id.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() {
    if std::env::var("DIE").is_ok() {
        println!("tiny_service exits because DIE is set");
        std::process::exit(1);
    }
    misbehave();
    let host = std::env::var("HOST").unwrap_or_else(|_| "0.0.0.0".into());
    let port = std::env::var("LISTEN").or(std::env::var("PORT")).unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("{host}:{port}")).expect("the port is free");
    println!("tiny_service listens on {host}:{port}");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

/// Fails as its environment variables request.
fn misbehave() {
    let variable = |name: &str| std::env::var(name).ok();
    let seconds = |name: &str| variable(name).and_then(|it| it.parse().ok()).map(std::time::Duration::from_secs);
    if let Some(words) = variable("SAY") {
        eprintln!("{words}");
    }
    if let Some(code) = variable("EXIT").and_then(|code| code.parse().ok()) {
        std::process::exit(code);
    }
    if let Some(megabytes) = variable("EAT").and_then(|it| it.parse().ok()) {
        // The resource limits are in force by then.
        thread::sleep(std::time::Duration::from_millis(300));
        eat(megabytes);
    }
    if let Some(pause) = seconds("SLOW") {
        thread::sleep(pause);
    }
    if let Some(life) = seconds("LIFE") {
        thread::spawn(move || {
            thread::sleep(life);
            eprintln!("it has lived long enough");
            std::process::exit(3);
        });
    }
}

/// How it fails requests: the variable `FAIL`.
///
/// - `pages`: 500 for every path but that of the health check, `/health`;
/// - `cut`: a closed connection for every path but that;
/// - `silent`, `close`, `garbage`, `exit`, `abort`: no answer, a closed connection, no HTTP, the end of the program;
/// - a number: this status for every path.
fn fails() -> Option<String> {
    std::env::var("FAIL").ok()
}

/// Fails a request as `FAIL` says. Returns the status to answer with, if it is to be answered.
fn failed(how: &str, path: &str, stream: &mut TcpStream) -> Option<String> {
    match how {
        "pages" | "cut" if path == "/health" => return Some("200 OK".into()),
        "pages" => return Some("500 Internal Server Error".into()),
        "exit" => std::process::exit(4),
        "abort" => std::process::abort(),
        "silent" => drop(stream.read(&mut [0; 1])),
        "garbage" => drop(stream.write_all(b"no HTTP at all\r\n\r\n")),
        status if status.parse::<u16>().is_ok() => return Some(format!("{status} Failed")),
        _ => (),
    }
    None
}

/// Answers request after request until the other side closes.
fn serve(mut stream: TcpStream) {
    let mut pending = Vec::new();
    while let Some(head) = head(&mut stream, &mut pending) {
        let path = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
        if let Some(how) = fails() {
            let Some(status) = failed(&how, &path, &mut stream) else { return };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nfail");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        match path.as_str() {
            "/upgrade" => return echo_bytes(stream, &head),
            "/stream" => {
                let _ = echo_chunks(&mut stream, &mut pending);
                return;
            }
            "/garbage" => return drop(stream.write_all(b"no HTTP at all\r\n\r\n")),
            "/long-header" => return drop(write!(stream, "HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000))),
            "/wait" => {
                // Waits without answering until the client disconnects.
                let _ = stream.read(&mut [0; 1]);
                return;
            }
            _ => (),
        }
        let Some(body) = body(&mut stream, &mut pending, &head) else { return };
        let (status, answer) = match path.as_str() {
            "/environment" => ("200 OK", environment()),
            "/headers" => ("200 OK", headers(&head)),
            "/echo" => ("200 OK", body),
            "/pid" => ("200 OK", std::process::id().to_string()),
            _ if path.starts_with("/burn") => ("200 OK", burn(number(&path))),
            _ if path.starts_with("/eat") => ("200 OK", eat(number(&path))),
            "/missing" => ("404 Not Found", "no such page".into()),
            "/broken" => ("500 Internal Server Error", "broken".into()),
            _ => ("200 OK", "tiny".into()),
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The number after the `=` in a path.
fn number(path: &str) -> u64 {
    path.split_once('=').and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
}

/// Keeps a processor busy for this many milliseconds.
fn burn(millis: u64) -> String {
    let begin = std::time::Instant::now();
    let mut sum = 0_u64;
    while begin.elapsed().as_millis() < u128::from(millis) {
        sum = (0..10_000).fold(sum, |sum, n| std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n)));
    }
    format!("burnt {sum}")
}

/// Allocates and touches this many MiB of memory.
fn eat(mib: u64) -> String {
    let mut eaten = vec![0_u8; (mib as usize) << 20];
    eaten.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    format!("ate {}", std::hint::black_box(&eaten).len())
}

/// Sends every chunk back as soon as it has arrived.
fn echo_chunks(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
    loop {
        let chunk = chunk(stream, pending)?;
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
        stream.write_all(&framed).ok()?;
        if chunk.is_empty() {
            return Some(());
        }
    }
}

/// Switches to another protocol, which echoes every byte.
fn echo_bytes(mut stream: TcpStream, head: &str) {
    let lower = head.to_lowercase();
    assert!(lower.contains("upgrade: echo") && lower.contains("connection: upgrade"), "{head}");
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut buffer = [0; 1024];
    let mut written = stream.write_all(agreed.as_bytes());
    while let (Ok(()), Ok(read @ 1..)) = (written, stream.read(&mut buffer)) {
        written = stream.write_all(&buffer[..read]);
    }
}

/// The headers as `name=value` lines.
fn headers(head: &str) -> String {
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.map(|(name, value)| format!("{}={}\n", name.to_lowercase(), value.trim())).collect()
}

fn environment() -> String {
    std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The next request's head.
fn head(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<String> {
    let end = loop {
        if let Some(at) = find(pending, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, pending)?;
    };
    let head = String::from_utf8_lossy(&pending[..end]).into_owned();
    pending.drain(..end);
    Some(head)
}

/// The body after a head, which declares its length or is chunked.
fn body(stream: &mut TcpStream, pending: &mut Vec<u8>, head: &str) -> Option<String> {
    let lower = head.to_lowercase();
    let header = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body = if header("transfer-encoding:") == Some("chunked") {
        chunked(stream, pending)?
    } else {
        let length = header("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
        take(stream, pending, length)?
    };
    Some(String::from_utf8_lossy(&body).into_owned())
}

fn chunked(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let chunk = chunk(stream, pending)?;
        if chunk.is_empty() {
            return Some(body);
        }
        body.extend(chunk);
    }
}

/// The next chunk; the last one is empty.
fn chunk(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let at = loop {
        match find(pending, b"\r\n") {
            Some(at) => break at,
            None => more(stream, pending)?,
        }
    };
    let size = usize::from_str_radix(std::str::from_utf8(&pending[..at]).ok()?.trim(), 16).ok()?;
    pending.drain(..at + 2);
    let chunk = take(stream, pending, size)?;
    take(stream, pending, 2)?;
    Some(chunk)
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
