//! Concurrent runs, resources of others, other accounts and regions: none of them causes damage.

mod accounts;
mod leases;
mod ownership;
mod runs;

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, TestAws},
    inventory::{self, Inventory},
};

const ARTIFACTS: &str = "small-artifacts-000000000000-us-east-1";

async fn at_once(cloud: &TestAws, projects: &[(&Project, &[&str])]) -> Vec<RunOutput> {
    let runs = projects.iter().map(|(project, arguments)| cloud.run(project, arguments));
    futures::future::join_all(runs).await
}

async fn inventory(cloud: &TestAws) -> Inventory {
    inventory::inventory(&cloud.endpoint(), KEYS).await
}

/// The inventory after a single undisturbed run.
async fn alone(project: &Project) -> Inventory {
    let cloud = TestAws::start().await;
    cloud.done(project, &["up", "--yes", "--no-wait"]).await;
    let goal = inventory(&cloud).await;
    cloud.done(project, &["down", "--yes"]).await;
    assert_eq!(inventory(&cloud).await, Inventory::new());
    cloud.end().await;
    goal
}
