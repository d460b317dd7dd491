//! Stacks of any size, and a cloud with latency and rate limits.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};

use super::measure::Project;

/// The latency of a call to a region some countries away.
pub const LATENCY_MS: u64 = 80;

/// The commands measured for every stack, all of which respect AWS's rates.
pub const COMMANDS: [(&str, &[&str]); 4] = [
    ("`plan`", &["plan", "--paced"]),
    ("`up`", &["up", "--yes", "--no-wait", "--paced"]),
    ("`up`, nothing to do", &["up", "--yes", "--no-wait", "--paced"]),
    ("`down`", &["down", "--yes", "--paced"]),
];

/// Returns the description of a stack of about this many resources: a quarter tables, a sixth buckets, almost half
/// functions with their roles and log groups, and a service with its load balancer for every hundred.
///
/// Its functions and services run these programs.
pub fn description(size: usize, function: &Path, service: &Path) -> Result<String> {
    let mut text = String::from("name: sizes\nregion: us-east-1\nbuckets:\n");
    let services = size / 100;
    let rest = size - services * 12;
    // One more bucket holds the programs.
    for number in 0..(rest / 5).saturating_sub(1) {
        writeln!(text, "  b{number}: {{}}")?;
    }
    text += "tables:\n";
    for number in 0..rest * 3 / 10 {
        writeln!(text, "  t{number}: {{ partition_key: id }}")?;
    }
    text += "functions:\n";
    for number in 0..rest / 6 {
        writeln!(text, "  f{number}:\n    binary: {}", function.display())?;
        writeln!(text, "    uses: {{ tables: {{ t{number}: read_write }} }}")?;
    }
    if services > 0 {
        text += "services:\n";
    }
    for number in 0..services {
        writeln!(text, "  s{number}:\n    binary: {}\n    port: 8080", service.display())?;
        text += "    instance_type: t3.micro\n    instances: { min: 1, max: 1 }\n";
        text += "    load_balancer: { port: 80, allow: [0.0.0.0/0] }\n";
    }
    Ok(text)
}

/// The number of calls that were throttled.
pub async fn throttled(stack: &Project) -> Result<u64> {
    let faults: serde_json::Value = reqwest::get(format!("{}/_local/faults", stack.endpoint())).await?.json().await?;
    Ok(faults["over_rate"].as_u64().unwrap_or_default())
}

/// Gives every call the latency of the internet, and throttles calls beyond AWS's published rates.
pub async fn slow_down(stack: &Project) -> Result<()> {
    let faults = format!("{}/_local/faults", stack.endpoint());
    let rule = serde_json::json!({ "latency_ms": LATENCY_MS }).to_string();
    let answer = reqwest::Client::new().post(faults).body(rule).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    let rates = serde_json::json!({ "kinds": ["rates"] }).to_string();
    let answer = reqwest::Client::new().put(format!("{}/_local/chaos", stack.endpoint())).body(rates).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(())
}
