//! How the cost grows with the stack, when every call takes as long as it does over the internet.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use crate::measure::{Project, Run, program};

/// What a call takes in a region some countries away.
const LATENCY_MS: u64 = 80;

pub async fn run(sizes: &[usize]) -> Result<()> {
    println!("every call takes {LATENCY_MS} ms\n");
    println!(
        "| resources | command | time | at best | calls | calls per resource | throttled | processor time | peak memory |\n|---|---|---|---|---|---|---|---|---|"
    );
    for &size in sizes {
        let stack = Project::new(&description(size)?).await?;
        slow_down(&stack).await?;
        for (what, arguments) in [
            ("`plan`", ["plan", "--paced"].as_slice()),
            ("`up`", &["up", "--yes", "--no-wait", "--paced"]),
            ("`up`, nothing to do", &["up", "--yes", "--no-wait", "--paced"]),
            ("`down`", &["down", "--yes", "--paced"]),
        ] {
            let before = throttled(&stack).await?;
            let Run { took, used, peak_kib, calls, at_best, .. } = stack.run(arguments).await?;
            let throttled = throttled(&stack).await? - before;
            let (took, used, each) = (took.as_secs_f64(), used.as_secs_f64(), calls as f64 / size as f64);
            let at_best = at_best.map_or(String::new(), |time| format!("{:.1} s", time.as_secs_f64()));
            println!(
                "| {size} | {what} | {took:.1} s | {at_best} | {calls} | {each:.1} | {throttled} | {used:.2} s | {} MiB |",
                peak_kib / 1024
            );
        }
        stack.end().await;
    }
    Ok(())
}

/// A stack of about so many resources: a quarter tables, a sixth buckets, almost half functions with their roles and
/// log groups, and a service with its load balancer for every hundred.
fn description(size: usize) -> Result<String> {
    let mut text = String::from("name: sizes\nregion: us-east-1\nbuckets:\n");
    let services = size / 100;
    let rest = size - services * 12;
    // One more bucket holds what the functions run.
    for number in 0..(rest / 5).saturating_sub(1) {
        writeln!(text, "  b{number}: {{}}")?;
    }
    text += "tables:\n";
    for number in 0..rest * 3 / 10 {
        writeln!(text, "  t{number}: {{ partition_key: id }}")?;
    }
    text += "functions:\n";
    let labeler = program("labeler")?;
    for number in 0..rest / 6 {
        writeln!(text, "  f{number}:\n    binary: {}", labeler.display())?;
        writeln!(text, "    uses: {{ tables: {{ t{number}: read_write }} }}")?;
    }
    if services > 0 {
        text += "services:\n";
    }
    let service = program("service")?;
    for number in 0..services {
        writeln!(text, "  s{number}:\n    binary: {}\n    port: 8080", service.display())?;
        text += "    instance_type: t3.micro\n    instances: { min: 1, max: 1 }\n";
        text += "    load_balancer: { port: 80, allow: [0.0.0.0/0] }\n";
    }
    Ok(text)
}

/// How many calls have been refused because they were too many.
async fn throttled(stack: &Project) -> Result<u64> {
    let faults: serde_json::Value = reqwest::get(format!("{}/_local/faults", stack.endpoint())).await?.json().await?;
    Ok(faults["over_rate"].as_u64().unwrap_or_default())
}

/// Makes every call as long as it takes over the internet, and refuses what is more than AWS's published rates.
async fn slow_down(stack: &Project) -> Result<()> {
    let faults = format!("{}/_local/faults", stack.endpoint());
    let rule = serde_json::json!({ "latency_ms": LATENCY_MS }).to_string();
    let answer = reqwest::Client::new().post(faults).body(rule).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    let rates = serde_json::json!({ "kinds": ["rates"] }).to_string();
    let answer = reqwest::Client::new().put(format!("{}/_local/chaos", stack.endpoint())).body(rates).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(())
}
