//! Many clients that each request another page of a large table, and the cost for other requests meanwhile.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::fire::{ask, read_any_answer, request};
use crate::service::Service;
use crate::stand_in::{LARGE, StandIn, uuid};

const CLIENTS: usize = 200;
const TIME: Duration = Duration::from_secs(10);
/// Clients that request the whole list at the same time.
const READERS: usize = 20;

pub fn run(stand_in: &StandIn) -> Result<()> {
    let service = Service::start(&stand_in.endpoint)?;
    let page = request("GET", "/posts?limit=40&order=newest", &[], "");
    for which in ["the first page, and with it the keys of all posts", "the same again"] {
        let begun = Instant::now();
        let posts = ask(service.address, &page)?;
        println!("{which}: {} bytes in {:.0} ms", posts.len(), begun.elapsed().as_secs_f64() * 1000.0);
    }
    println!("memory: {:.1} MiB, at most {:.1} MiB", service.memory_mib("VmRSS:")?, service.memory_mib("VmHWM:")?);

    let (asked, health) = thread::scope(|scope| {
        let address = service.address;
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || another_part_each_time(address))).collect();
        let health = scope.spawn(move || of_health(address));
        let asked: Result<Vec<_>> = clients.into_iter().map(|it| it.join().expect("a client does not panic")).collect();
        (asked, health.join().expect("the health check does not panic"))
    });
    let (good, refused) = asked?.into_iter().fold((0, 0), |(good, bad), (a, b)| (good + a, bad + b));
    let mut health = health?;
    health.sort_unstable();
    let p99 = health[health.len() * 99 / 100].as_secs_f64() * 1000.0;
    println!("{CLIENTS} clients, each asking for one random post again and again: {good} answers, {refused} refused");
    println!("/health meanwhile: {} answers, 99 of 100 within {p99:.1} ms", health.len());
    println!("memory: {:.1} MiB, at most {:.1} MiB", service.memory_mib("VmRSS:")?, service.memory_mib("VmHWM:")?);

    let begun = Instant::now();
    let sizes = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| whole_list(service.address))).collect();
        readers.into_iter().map(|it| it.join().expect("a reader does not panic")).collect::<Result<Vec<_>>>()
    })?;
    ensure!(sizes.iter().all(|size| *size == sizes[0]), "the lists differ: {sizes:?}");
    println!("{READERS} whole lists of {} MB at once: {:.1} s", sizes[0] / 1_000_000, begun.elapsed().as_secs_f64());
    println!("memory: {:.1} MiB, at most {:.1} MiB", service.memory_mib("VmRSS:")?, service.memory_mib("VmHWM:")?);
    Ok(())
}

/// The number of good answers, and of others.
fn another_part_each_time(address: SocketAddr) -> Result<(usize, usize)> {
    let (mut stream, mut answer) = (TcpStream::connect(address)?, Vec::new());
    let (end, mut counts) = (Instant::now() + TIME, (0, 0));
    while Instant::now() < end {
        let path = format!("/posts?limit=1&cursor={}", uuid(fastrand::u128(..LARGE - 1)));
        std::io::Write::write_all(&mut stream, &request("GET", &path, &[], ""))?;
        read_any_answer(&mut stream, &mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200") { counts.0 += 1 } else { counts.1 += 1 }
    }
    Ok(counts)
}

fn of_health(address: SocketAddr) -> Result<Vec<Duration>> {
    let (end, mut took) = (Instant::now() + TIME, Vec::new());
    while Instant::now() < end {
        let begun = Instant::now();
        ask(address, &request("GET", "/health", &[], ""))?;
        took.push(begun.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(took)
}

/// The length of the list, which is read without keeping more than a part of it.
fn whole_list(address: SocketAddr) -> Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    std::io::Write::write_all(&mut stream, &request("GET", "/posts", &["Connection: close"], ""))?;
    let (mut part, mut size, mut end) = (vec![0; 65_536], 0, Vec::new());
    loop {
        let read = stream.read(&mut part)?;
        if read == 0 {
            break;
        }
        size += read;
        end.extend_from_slice(&part[read.saturating_sub(16)..read]);
        end.drain(..end.len().saturating_sub(16));
    }
    ensure!(end.ends_with(b"0\r\n\r\n"), "the list was broken off after {size} bytes");
    Ok(size)
}
