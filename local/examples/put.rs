//! Sends the requests in a file to a new local AWS, as the fuzzers do, and prints the status of each response.
//!
//! ```sh
//! cargo run --example put fuzz/artifacts/calls/crash-…
//! ```

use anyhow::Context;
use local::inputs::Doors;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1).context("put FILE")?;
    let text = std::fs::read(&file).with_context(|| file.clone())?;
    let dir = tempfile::tempdir()?;
    let doors = Doors::open(dir.path()).await?;
    for status in doors.put(&text).await {
        println!("{status}");
    }
    doors.close().await;
    // Accepted data must be readable after a restart.
    Doors::open(dir.path()).await?.close().await;
    Ok(())
}
