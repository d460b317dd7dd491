//! The cost of Postagram's whole life cycle.

use std::fs;

use anyhow::Result;

use crate::measure::{Project, Run, program};

/// How often each command is run; the table shows the medians.
const ROUNDS: usize = 5;

pub async fn run() -> Result<()> {
    let mut rows: Vec<(&str, Vec<Run>)> = Vec::new();
    for _ in 0..ROUNDS {
        for (row, (what, run)) in round().await?.into_iter().enumerate() {
            match rows.get_mut(row) {
                Some((_, runs)) => runs.push(run),
                None => rows.push((what, vec![run])),
            }
        }
    }
    println!(
        "| command | time | processor time | peak memory | calls | of which mutating |\n|---|---|---|---|---|---|"
    );
    for (what, runs) in &rows {
        let (took, used) = (median(runs, |run| run.took), median(runs, |run| run.used));
        let (calls, mutating) = (median(runs, |run| run.calls), median(runs, |run| run.mutating));
        let peak = median(runs, |run| run.peak_kib) / 1024;
        let (took, used) = (took.as_secs_f64(), used.as_secs_f64());
        println!("| {what} | {took:.2} s | {used:.2} s | {peak} MiB | {calls} | {mutating} |");
    }
    Ok(())
}

/// Postagram's description, with programs that are built.
pub fn postagram() -> Result<String> {
    let mut text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../stack.yaml"))?;
    for name in ["service", "labeler"] {
        text = text.replace(&format!("package: {name}"), &format!("binary: {}", program(name)?.display()));
    }
    Ok(text)
}

async fn round() -> Result<Vec<(&'static str, Run)>> {
    let stack = Project::new(&postagram()?).await?;
    let mut runs = vec![
        ("first `up`, until the targets are healthy", stack.run(&["up", "--yes"]).await?),
        ("`up` that changes nothing", stack.run(&["up", "--yes"]).await?),
        ("`plan`", stack.run(&["plan"]).await?),
    ];
    stack.edit("max: 4", "max: 6")?;
    runs.push(("`up` after `max: 4` became 6", stack.run(&["up", "--yes"]).await?));
    runs.push(("`down`", stack.run(&["down", "--yes"]).await?));
    stack.end().await;
    Ok(runs)
}

fn median<T: Ord>(runs: &[Run], of: impl Fn(&Run) -> T) -> T {
    let mut values: Vec<T> = runs.iter().map(of).collect();
    values.sort_unstable();
    values.swap_remove(runs.len() / 2)
}
