//! Measures requests per second, with a client that does as little as possible so as not to measure itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{CLIENTS, WHILE};

/// The body of every response.
pub const BODY: &str = "hello";
/// How long a response may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Returns the requests per second over persistent connections.
pub async fn rate(address: &str) -> Result<f64> {
    let to: SocketAddr = address.parse().with_context(|| format!("'{address}' is not an address"))?;
    let rate = tokio::task::spawn_blocking(move || ask_at_once(to)).await?;
    rate.with_context(|| format!("failed to measure {address}"))
}

fn ask_at_once(address: SocketAddr) -> Result<f64> {
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| std::thread::spawn(move || ask(address, begun))).collect();
    let mut count = 0;
    for client in clients {
        count += client.join().map_err(|_| anyhow!("a client has panicked"))??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Sends requests on one connection for a while, and returns the number of responses.
fn ask(address: SocketAddr, begun: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut count = 0;
    let mut buffer = [0; 4096];
    while begun.elapsed() < WHILE {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
        read_answer(&mut stream, &mut buffer).with_context(|| format!("after {count} answers"))?;
        count += 1;
    }
    Ok(count)
}

fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut have = 0;
    while !is_whole(&buffer[..have]) {
        let read = stream.read(&mut buffer[have..]);
        let so_far = || format!("only {:?} has come", String::from_utf8_lossy(&buffer[..have]));
        let read = read.with_context(so_far)?;
        ensure!(read > 0, "{}", so_far());
        have += read;
    }
    Ok(())
}

fn is_whole(answer: &[u8]) -> bool {
    answer.strip_suffix(BODY.as_bytes()).is_some_and(|head| head.ends_with(b"\r\n\r\n"))
}
