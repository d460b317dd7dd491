//! How the cost grows with the stack, when every call has the latency of the internet.

use anyhow::Result;

use crate::{
    measure::{Bounds, Project, Run, program},
    stacks::{COMMANDS, LATENCY_MS, description, slow_down, throttled},
};

pub async fn run(sizes: &[usize]) -> Result<()> {
    println!("every call takes {LATENCY_MS} ms\n");
    println!(
        "| resources | command | time | longest chain | all, 8 at once | AWS's rates | calls | calls per resource | throttled | processor time | peak memory |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for &size in sizes {
        let stack = Project::new(&description(size, &program("labeler")?, &program("service")?)?).await?;
        slow_down(&stack).await?;
        for (what, arguments) in COMMANDS {
            let before = throttled(&stack).await?;
            let Run { took, used, peak_kib, calls, bounds, .. } = stack.run(arguments).await?;
            let throttled = throttled(&stack).await? - before;
            let (took, used, each) = (took.as_secs_f64(), used.as_secs_f64(), calls as f64 / size as f64);
            let bounds = bounds.map_or("| |".into(), |bounds| columns(&bounds));
            println!(
                "| {size} | {what} | {took:.1} s | {bounds} | {calls} | {each:.1} | {throttled} | {used:.2} s | {} MiB |",
                peak_kib / 1024
            );
        }
        stack.end().await;
    }
    Ok(())
}

/// The three bounds as columns, with the largest one in bold.
fn columns(Bounds { chain, share, rates }: &Bounds) -> String {
    let all = [chain, share, rates];
    let binds = all.iter().max();
    let column = |bound: &&std::time::Duration| match Some(bound) == binds {
        true => format!("**{:.1} s**", bound.as_secs_f64()),
        false => format!("{:.1} s", bound.as_secs_f64()),
    };
    all.iter().map(column).collect::<Vec<_>>().join(" | ")
}
