//! How long `status` and `ls` take when every call has the latency of the internet.

use anyhow::Result;

use crate::{
    life::postagram,
    measure::{Project, Run},
    stacks::{LATENCY_MS, slow_down},
};

/// How often each command is run; the table shows the medians.
const ROUNDS: usize = 5;

pub async fn run() -> Result<()> {
    let stack = Project::new(&postagram()?).await?;
    stack.run(&["up", "--yes"]).await?;
    slow_down(&stack).await?;
    println!("every call takes {LATENCY_MS} ms\n");
    println!("| command | time | calls |\n|---|---|---|");
    for command in ["status", "plan", "ls"] {
        let mut runs: Vec<Run> = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(stack.run(&[command]).await?);
        }
        runs.sort_by_key(|run| run.took);
        let median = runs[ROUNDS / 2];
        println!("| `{command}` | {:.2} s | {} |", median.took.as_secs_f64(), median.calls);
    }
    stack.run(&["down", "--yes"]).await?;
    stack.end().await;
    Ok(())
}
