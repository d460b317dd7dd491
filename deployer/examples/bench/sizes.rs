//! How the cost grows with the stack, when every call takes as long as it does over the internet.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use crate::measure::{Project, Run, program};

/// What a call takes in a region some countries away.
const LATENCY_MS: u64 = 80;

pub async fn run(sizes: &[usize]) -> Result<()> {
    println!("every call takes {LATENCY_MS} ms\n");
    println!(
        "| resources | command | time | calls | calls per resource | processor time | peak memory |\n|---|---|---|---|---|---|---|"
    );
    for &size in sizes {
        let stack = Project::new(&description(size)?).await?;
        slow_down(&stack).await?;
        for (what, arguments) in [
            ("`plan`", ["plan"].as_slice()),
            ("`up`", &["up", "--yes", "--no-wait"]),
            ("`up`, nothing to do", &["up", "--yes", "--no-wait"]),
            ("`down`", &["down", "--yes"]),
        ] {
            let Run { took, used, peak_kib, calls, .. } = stack.run(arguments).await?;
            let (took, used, each) = (took.as_secs_f64(), used.as_secs_f64(), calls as f64 / size as f64);
            println!("| {size} | {what} | {took:.1} s | {calls} | {each:.1} | {used:.2} s | {} MiB |", peak_kib / 1024);
        }
        stack.end().await;
    }
    Ok(())
}

/// A stack of about so many resources: three tenths tables, two tenths buckets, half functions with their roles and log
/// groups.
fn description(size: usize) -> Result<String> {
    let mut text = String::from("name: sizes\nregion: us-east-1\nbuckets:\n");
    // One more bucket holds what the functions run.
    for number in 0..(size / 5).saturating_sub(1) {
        writeln!(text, "  b{number}: {{}}")?;
    }
    text += "tables:\n";
    for number in 0..size * 3 / 10 {
        writeln!(text, "  t{number}: {{ partition_key: id }}")?;
    }
    text += "functions:\n";
    let program = program("labeler")?;
    for number in 0..size / 6 {
        writeln!(text, "  f{number}:\n    binary: {}", program.display())?;
        writeln!(text, "    uses: {{ tables: {{ t{number}: read_write }} }}")?;
    }
    Ok(text)
}

async fn slow_down(stack: &Project) -> Result<()> {
    let faults = format!("{}/_local/faults", stack.endpoint());
    let rule = serde_json::json!({ "latency_ms": LATENCY_MS }).to_string();
    let answer = reqwest::Client::new().post(faults).body(rule).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(())
}
