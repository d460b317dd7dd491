//! Under clients that send requests without pause, neither good releases nor bad ones lose any. The standing test uses some of
//! each; `RELEASES=all` uses twenty of each (docs/proofs.md).

use std::time::Instant;

use crate::support::{Project, cloud::TestAws, crowd::Crowd};

/// Releases that never become healthy: what they do, the variables that make the tiny service do it, and the cause that
/// `up` names, if AWS shows it. They are ordered so that the standing test, which takes the first ones, has one of each kind
/// of end.
const BAD: &[(&str, &str, &str)] = &[
    ("exits at its start with 1", "EXIT: 1", "the service exits with 1"),
    ("answers 500", "FAIL: 500", "the service answers its health check, /health, with 500"),
    ("exits at the first request", "FAIL: exit", "the service exits with 4"),
    ("listens on another port", "LISTEN: 0", "the service runs, but did not listen on port 8080"),
    ("exits at its start with 78", "EXIT: 78", "the service exits with 78"),
    ("exits at its start with 0", "EXIT: 0", "the service exits with 0"),
    (
        "exits at its start, and says why",
        "SAY: a variable is missing, EXIT: 2",
        "the service exits with 2: a variable is missing",
    ),
    ("exits right after its start", "LIFE: 0", "the service exits with 3"),
    ("aborts at the first request", "FAIL: abort", "the service is killed by ABRT"),
    ("does not start to listen", "SLOW: 86400", "the service runs, but did not listen on port 8080"),
    ("never answers", "FAIL: silent", ""),
    ("closes every connection", "FAIL: close", ""),
    ("answers something that is not HTTP", "FAIL: garbage", ""),
    ("answers 301", "FAIL: 301", "the service answers its health check, /health, with 301"),
    ("answers 400", "FAIL: 400", "the service answers its health check, /health, with 400"),
    ("answers 403", "FAIL: 403", "the service answers its health check, /health, with 403"),
    ("answers 404", "FAIL: 404", "the service answers its health check, /health, with 404"),
    ("answers 502", "FAIL: 502", "the service answers its health check, /health, with 502"),
    ("answers 503", "FAIL: 503", "the service answers its health check, /health, with 503"),
    ("answers 504", "FAIL: 504", "the service answers its health check, /health, with 504"),
];

/// The number that the regular test uses.
const SOME: usize = 4;

/// As fast as the processes of this machine can keep up with: a good release has to be healthy within its grace period.
const SPEED: &str = "20";

fn project() -> Project {
    Project::of_service("    environment: { RELEASE: 0 }\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_good_nor_bad_releases_lose_a_request() {
    let whole = std::env::var("RELEASES").is_ok_and(|which| which == "all");
    let number = if whole { BAD.len() } else { SOME };
    let cloud = TestAws::start_at(SPEED.parse().expect("a speed")).await;
    let project = project();
    let crowd = Crowd::gather(&cloud.done(&project, &["up", "--yes"]).await.output("URL"));
    crowd.some_more().await;
    println!("| release | ends | requests meanwhile | lost |\n|---|---|---|---|");
    let mut present = "RELEASE: 0".to_owned();
    for (at, (what, variables, sentence)) in BAD.iter().take(number).enumerate() {
        // A bad one, and the good one that follows.
        let good = format!("RELEASE: {}", at + 1);
        let bad = format!("{present}, {variables}");
        for (what, variables, code, sentence) in [(*what, bad, 1, *sentence), ("is good", good.clone(), 0, "")] {
            let (before, begun) = (crowd.counts(), Instant::now());
            project.edit(&format!("environment: {{ {present} }}"), &format!("environment: {{ {variables} }}"));
            let up = cloud.run(&project, &["up", "--yes"]).await;
            assert_eq!(up.code, code, "{what}: {}", up.all());
            let is_named = |line: &str| line.starts_with("web: ") && line.contains(sentence);
            assert!(code == 0 || up.stderr.lines().any(is_named), "{what}: {}", up.all());
            crowd.some_more().await;
            let after = crowd.counts();
            let ends = if code == 0 { "in service" } else { "rolled back" };
            let (asked, lost, seconds) = (after.0 - before.0, after.1 - before.1, begun.elapsed().as_secs());
            println!("| {what} | {ends} after {seconds} s | {asked} | {lost} |");
            let environment = crowd.get("/environment").await;
            let expected = if code == 0 { good.clone() } else { present.clone() };
            assert!(environment.contains(&expected.replace(": ", "=")), "{what}: {environment}");
            project.edit(&format!("environment: {{ {variables} }}"), &format!("environment: {{ {expected} }}"));
            present = expected;
        }
    }
    crowd.go_home().await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
