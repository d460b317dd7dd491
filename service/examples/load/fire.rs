//! The load: one request repeated over persistent connections, each waiting for its answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The intensity and the duration.
#[derive(Clone, Copy)]
pub struct Manner {
    connections: u32,
    time: Duration,
    /// The interval between the starts of two requests of a connection; by default, the next starts when the answer
    /// arrives.
    every: Option<Duration>,
}

pub const WARM_UP: Manner = Manner { connections: 16, time: Duration::from_secs(1), every: None };
pub const MEASURED: Manner = Manner { connections: 16, time: Duration::from_secs(5), every: None };
/// 200 requests per second: queueing does not hide the time that an answer takes.
pub const CALM: Manner =
    Manner { connections: 4, time: Duration::from_secs(4), every: Some(Duration::from_millis(20)) };

/// The result: the time of each answer, fastest first.
pub struct Fired(Vec<Duration>);

impl Fired {
    pub fn answers(&self) -> usize {
        self.0.len()
    }

    /// The time of the slowest answer among this percentage, in milliseconds.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(place).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
    }
}

/// Runs the load, and fails on any error.
pub fn fire(address: SocketAddr, request: &[u8], manner: Manner) -> Result<Fired> {
    let connections = thread::scope(|scope| {
        let begin = || scope.spawn(|| one_after_the_other(address, request, manner));
        let connections: Vec<_> = (0..manner.connections).map(|_| begin()).collect();
        connections.into_iter().map(|one| one.join().expect("a connection does not panic")).collect::<Result<Vec<_>>>()
    })?;
    let mut took = connections.concat();
    took.sort_unstable();
    Ok(Fired(took))
}

fn one_after_the_other(address: SocketAddr, request: &[u8], manner: Manner) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (end, mut due) = (Instant::now() + manner.time, Instant::now());
    let (mut took, mut answer) = (Vec::new(), Vec::new());
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request)?;
        read_answer(&mut stream, &mut answer)?;
        // Measured from the planned start: an answer that delays the next request counts as late for both.
        took.push(due.elapsed());
        due = manner.every.map_or_else(Instant::now, |every| due + every);
    }
    Ok(took)
}

fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    read_any_answer(stream, answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(answer));
    Ok(())
}

/// Ignores the contents of answers.
pub fn read_any_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    let mut part = [0; 65_536];
    while !is_whole(answer) {
        let read = stream.read(&mut part)?;
        ensure!(read > 0, "the service closed the connection after {} bytes", answer.len());
        answer.extend_from_slice(&part[..read]);
    }
    Ok(())
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = (answer[..head].to_ascii_lowercase(), &answer[head + 4..]);
    let head = String::from_utf8_lossy(&head);
    let field = |name| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (field("content-length:").and_then(|length| length.parse::<usize>().ok()), field("transfer-encoding:")) {
        (Some(length), _) => body.len() >= length,
        (None, Some(_)) => body.ends_with(b"0\r\n\r\n"),
        (None, None) => true,
    }
}

/// Serialises a request.
pub fn request(method: &str, path: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut lines = vec![format!("{method} {path} HTTP/1.1"), "host: localhost".to_owned()];
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    if !body.is_empty() {
        lines.push(format!("content-length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

/// Sends one request, and returns the body of the answer.
pub fn ask(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let (mut stream, mut answer) = (TcpStream::connect(address)?, Vec::new());
    stream.write_all(request)?;
    read_answer(&mut stream, &mut answer)?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").context("the answer has no end of its head")?;
    Ok(answer.split_off(head + 4))
}
