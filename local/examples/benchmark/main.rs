//! Measures the speed and the resource use of the local AWS, beside moto and nginx on the same machine: `cargo run
//! --release --example benchmark`. A word after `--` runs only a part: `calls` (startup, idle use and API calls, beside
//! moto), `objects` (startup and calls for objects, beside moto) or `balancer` (requests through the load balancer,
//! beside nginx as a plain proxy).
//!
//! `objects` also measures other servers, such as an older version: `-- objects http://127.0.0.1:4566` for a running one,
//! and `-- objects PROGRAM` for one that is started as `PROGRAM DIRECTORY`, prints its address, and ends when its standard
//! input is closed (the binary `local-aws` of this package does).
//!
//! moto is installed by `.ci/setup`, nginx by the system's package manager (`apt install nginx-light`).

mod balancer;
mod calls;
mod nginx;
mod objects;
mod process;
mod rates;
mod requests;
mod server;
mod waiting;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

/// The number of concurrent clients, and the duration of each measurement.
const CLIENTS: usize = 16;
const WHILE: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // The measured programs run in their own processes, which also run this program.
        [server::WORD, dir] => server::serve(Path::new(dir)).await,
        [balancer::WORD] => balancer::serve().await,
        [process::WORD, program, arguments @ ..] => process::keep(program, arguments),
        parts => tokio::select! {
            measured = measure(parts) => measured,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        },
    }
}

/// Checks for all required programs first, so as not to fail after half of the measurements.
async fn measure(parts: &[&str]) -> Result<()> {
    let (calls, objects, balancer) = match parts {
        [] => (true, Some(&[][..]), true),
        ["calls"] => (true, None, false),
        ["objects", others @ ..] => (false, Some(others), false),
        ["balancer"] => (false, None, true),
        _ => bail!("'{}' is not a part: calls, objects, balancer, or nothing for all of them", parts.join(" ")),
    };
    if calls || objects.is_some() {
        server::find_moto()?;
    }
    if balancer {
        nginx::find()?;
    }
    if calls {
        calls::compare().await?;
    }
    if let Some(others) = objects {
        objects::compare(others).await?;
    }
    if balancer {
        balancer::compare().await?;
    }
    Ok(())
}
