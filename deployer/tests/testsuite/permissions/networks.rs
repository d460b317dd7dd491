//! The permissions of commands on stacks with networks of their own.

use super::roles::Roles;
use crate::support::{cloud::TestAws, network};

/// Actions that a network of the stack's own adds.
fn is_of_networks(action: &str) -> bool {
    let is_network = |thing: &&str| action.contains(thing);
    action.starts_with("ec2:") && ["Vpc", "InternetGateway", "RouteTable", "Subnet", "Route"].iter().any(is_network)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_stack_with_a_network_of_its_own_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::of_kind(local::AccountKind::NoDefaultVpc).await, network::project());
    let described = project.description();
    let roles = Roles::new(&cloud, &project).await;
    roles.ends_with(1, &["doctor"]).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "network", "--yes"]).await;
    let hands = network::Hands(&cloud.aws);
    for (address, line) in network::CHANGED.iter().chain([&network::UNASSOCIATED]) {
        let (field, _) = line.split_once(": ").expect("a field and its value");
        hands.change(address, field).await;
    }
    roles.done(&["up", "network", "--yes"]).await;
    hands.remove_gateway().await;
    roles.done(&["up", "--yes"]).await;
    hands.clean().await;
    roles.done(&["plan", "--detailed-exitcode"]).await;
    hands.disown_gateway().await;
    roles.done(&["adopt", "--yes"]).await;
    for command in ["status", "why", "outputs", "history", "ls"] {
        roles.done(&[command]).await;
    }
    roles.ends_with(1, &["doctor"]).await;
    // Without services, the network is removed, too.
    let (head, _) = described.split_once("services:").expect("there are services");
    project.describe(head);
    roles.done(&["up", "--yes"]).await;
    project.describe(&described);
    roles.done(&["up", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    for command in ["plan", "adopt", "up", "status", "why", "outputs", "history", "doctor", "ls", "down"] {
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_networks(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }
    cloud.end().await;
}
