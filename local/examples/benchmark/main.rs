//! How light and how quick the local AWS is, beside moto and nginx on the same machine:
//! `cargo run --release --example benchmark`. A word after `--` measures a part: `calls` (start, idleness and API
//! calls, beside moto) or `balancer` (requests through the load balancer, beside nginx as a plain proxy).
//!
//! moto comes with `.ci/setup`, nginx from the system's packages (`apt install nginx-light`).

mod balancer;
mod calls;
mod nginx;
mod process;
mod requests;
mod server;
mod waiting;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

/// Clients at the same time, and how long each measurement goes on.
const CLIENTS: usize = 16;
const WHILE: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // What is measured runs in processes of its own, which are this program as well.
        [server::WORD, dir] => server::serve(Path::new(dir)).await,
        [balancer::WORD] => balancer::serve().await,
        [process::WORD, program, arguments @ ..] => process::keep(program, arguments),
        parts => tokio::select! {
            measured = measure(parts) => measured,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        },
    }
}

/// What is needed is looked for first: nobody waits for half of the figures in vain.
async fn measure(parts: &[&str]) -> Result<()> {
    let (calls, balancer) = match parts {
        [] => (true, true),
        ["calls"] => (true, false),
        ["balancer"] => (false, true),
        _ => bail!("'{}' is no part: calls, balancer, or nothing for both", parts.join(" ")),
    };
    if calls {
        server::find_moto()?;
    }
    if balancer {
        nginx::find()?;
    }
    if calls {
        calls::compare().await?;
    }
    if balancer {
        balancer::compare().await?;
    }
    Ok(())
}
