//! Measures the deployer on this machine's own AWS, and prints the tables of docs/performance.md.
//!
//! ```sh
//! cargo build --release --workspace --bins
//! cargo run --release --example bench life            # what up, plan and down of Postagram cost
//! cargo run --release --example bench sizes 10 100    # the same for stacks of so many resources
//! cargo run --release --example bench status          # how long the reads of Postagram take over the internet
//! ```

mod life;
mod measure;
mod sizes;
mod stacks;
mod status;

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["life"] => life::run().await,
        ["status"] => status::run().await,
        ["sizes"] => sizes::run(&[10, 100, 1000]).await,
        ["sizes", sizes @ ..] => {
            let sizes = sizes.iter().map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
            sizes::run(&sizes).await
        }
        _ => bail!("bench life | bench sizes [RESOURCES…] | bench status"),
    }
}
