//! What the SDK's own client costs, as a measure of `storage/dynamodb.rs`, which takes its place.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

use crate::service::processor_time;
use crate::stand_in::StandIn;

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
/// As many as the clients of the other cases.
const CONCURRENT: usize = 16;

/// Prints the processor time of this process for 1,000 scans of the table whose list `GET /posts` returns.
#[tokio::main(flavor = "current_thread")]
pub async fn run(stand_in: &StandIn) -> Result<()> {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "example"))
        .endpoint_url(&stand_in.endpoint)
        .build();
    let client = Client::from_conf(config);
    scans(&client, WARM_UP).await?;
    let before = processor_time("self")?;
    let scans = scans(&client, MEASURED).await?;
    let per_scan = (processor_time("self")? - before).as_secs_f64() / scans as f64;
    println!("| the SDK's client alone: `Scan` | {:.3} |", per_scan * 1000.0);
    Ok(())
}

/// Scans for some time, and returns how often.
async fn scans(client: &Client, time: Duration) -> Result<usize> {
    let end = Instant::now() + time;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENT {
        let client = client.clone();
        all.spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                let page = client.scan().table_name("postagram-posts").send().await?;
                ensure!(!page.items().is_empty(), "the stand-in has posts");
                done += 1;
            }
            Ok(done)
        });
    }
    all.join_all().await.into_iter().sum()
}
