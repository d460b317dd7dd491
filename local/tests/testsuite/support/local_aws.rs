//! A local AWS in its own process, for tests that kill it: `local-aws DIRECTORY`.
//!
//! It prints its address, and stops gracefully when its stdin is closed.

use std::io::Read;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = std::env::args_os().nth(1).expect("a directory is named").into();
    let cloud = local::Cloud::start(local::Options { dir, port: 0, region: "us-east-1".to_owned() }).await?;
    println!("{}", cloud.endpoint());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    cloud.stop().await;
    Ok(())
}
