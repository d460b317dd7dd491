//! Concurrent runs on one stack.

use super::{alone, at_once, inventory};
use crate::support::cloud::TestAws;
use crate::support::inventory::Inventory;
use crate::support::{Project, SMALL, says};

#[tokio::test(flavor = "multi_thread")]
async fn eight_concurrent_first_ups_make_one_stack() {
    let project = Project::light();
    let goal = alone(&project).await;
    for arguments in [&["up", "--yes", "--no-wait"][..], &["up", "--yes", "--no-wait", "--wait"]] {
        let cloud = TestAws::start().await;
        let all = at_once(&cloud, &[(&project, arguments); 8]).await;
        let done = all.iter().filter(|said| said.code == 0).count();
        assert!(done >= 1, "{}", all[0].all());
        for said in all.iter().filter(|said| said.code != 0) {
            assert_eq!(said.code, 75, "{}", said.all());
            assert!(!arguments.contains(&"--wait"), "a command that waits gets its turn: {}", said.all());
            says(said, "is changing this stack");
            says(said, "`up`, process ");
        }
        assert_eq!(inventory(&cloud).await, goal);
        assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
        cloud.done(&project, &["down", "--yes"]).await;
        assert_eq!(inventory(&cloud).await, Inventory::new());
        cloud.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_with_different_descriptions_take_turns() {
    let (cloud, first) = (TestAws::start().await, Project::with(SMALL));
    let other = Project::with(&SMALL.replace("  posts: {", "  likes: { partition_key: post }\n  posts: {"));
    for round in 0..4 {
        let up: &[&str] = &["up", "--yes", "--wait", "--delete", "table.likes"];
        let all = at_once(&cloud, &[(&first, up), (&other, &up[..3]), (&first, &["down", "--yes", "--wait"])]).await;
        for said in &all {
            assert_eq!(said.code, 0, "round {round}: {}", said.all());
        }
        let there = inventory(&cloud).await;
        if !there.is_empty() {
            let wanted = if there.contains_key("table small-likes") { &other } else { &first };
            let plan = cloud.run(wanted, &["plan", "--detailed-exitcode"]).await;
            assert_eq!(plan.code, 0, "round {round}: {}", plan.all());
        }
    }
    cloud.done(&first, &["down", "--yes"]).await;
    assert_eq!(inventory(&cloud).await, Inventory::new());
    cloud.end().await;
}
