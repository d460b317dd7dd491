//! The cost grows no faster than the stack: at 10 and at 100 resources, with AWS's rates and the latency of AWS, no
//! call is throttled, and memory stays small.
//!
//! The benchmark measures times as well, and 1,000 resources: `cargo run --release --example bench sizes`.

#[allow(dead_code)] // the benchmark uses all of it
#[path = "../../examples/bench/measure.rs"]
mod measure;
#[allow(dead_code)]
#[path = "../../examples/bench/stacks.rs"]
mod stacks;

use measure::{Project, Run};
use testkit::small_programs::echo_function;

const SMALL: usize = 10;
const LARGE: usize = 100;
/// In KiB.
const MEMORY: u64 = 150 << 10;

/// The measurements of each command on a stack of this size.
async fn runs(size: usize) -> Vec<(&'static str, Run)> {
    // Small programs: without optimization the shipped ones are ten times as large.
    let description =
        stacks::description(size, echo_function(), echo_function()).expect("a description can be written");
    let stack = Project::new(&description).await.expect("the local AWS starts");
    stacks::slow_down(&stack).await.expect("latency can be injected into the local AWS");
    let mut runs = Vec::new();
    for (what, arguments) in stacks::COMMANDS {
        runs.push((what, stack.run(arguments).await.expect("the command succeeds")));
        let throttled = stacks::throttled(&stack).await.expect("the local AWS reports how many calls it has throttled");
        assert_eq!(throttled, 0, "{what} of {size} resources exceeded the rates");
    }
    stack.end().await;
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_grow_linearly_with_the_stack_and_memory_hardly_at_all() {
    let small = runs(SMALL).await;
    let large = runs(LARGE).await;
    for ((what, small), (_, large)) in small.iter().zip(&large) {
        let each = |run: &Run, size: usize| run.calls as f64 / size as f64;
        let (before, after) = (each(small, SMALL), each(large, LARGE));
        println!("{what}: {before:.1} and {after:.1} calls per resource, {} KiB at most", large.peak_kib);
        assert!(after <= before * 1.3, "{what}: {before:.1} calls per resource became {after:.1}");
        for run in [small, large] {
            assert!((1..MEMORY).contains(&run.peak_kib), "{what}: {} KiB", run.peak_kib);
        }
    }
}
