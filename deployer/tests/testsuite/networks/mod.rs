//! Accounts without a default network: a whole stack in a network that stack.yaml names, or that the stack makes.

mod hand;

use local::AccountKind;
use serde_json::Value;

use crate::support::{
    Project,
    cloud::{KEYS, TestAws},
    inventory::{Inventory, inventory},
    network,
};

use hand::{Hand, called, subnet_ids};

/// A stack in this network.
fn project_in(vpc: &str, subnets: &[&str]) -> Project {
    let project = Project::of_service("");
    let network = format!("network: {{ vpc: {vpc}, subnets: [{}] }}", subnets.join(", "));
    project.edit("region: us-east-1\n", &format!("region: us-east-1\n{network}\n"));
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_lives_in_a_network_that_stack_yaml_names() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let none = cloud.run(&Project::of_service(""), &["up", "--yes"]).await;
    assert_eq!(none.code, 1, "{}", none.all());
    for words in ["us-east-1 has no default network", "network: own", "create-default-vpc", "network: { vpc: vpc-"] {
        assert!(none.stderr.contains(words), "{}", none.all());
    }

    let hand = Hand::new(&cloud.aws).await;
    let [first, second] = [hand.subnet(1, "us-east-1a").await, hand.subnet(2, "us-east-1b").await];
    let beside = hand.subnet(3, "us-east-1a").await;
    let refused = async |vpc: &str, subnets: &[&str], error: &str, remedy: &str| {
        let project = project_in(vpc, subnets);
        for command in [&["up", "--yes"][..], &["doctor"]] {
            let said = cloud.run(&project, command).await;
            assert_eq!(said.code, 1, "{command:?}: {}", said.all());
            assert!(said.all().contains(error) && said.all().contains(remedy), "{command:?}: {}", said.all());
        }
    };
    let vpc = hand.vpc.as_str();
    refused("vpc-0a", &[&first, &second], "there is no VPC vpc-0a in us-east-1", "describe-vpcs").await;
    refused(vpc, &[&first, "subnet-0a"], "there is no subnet subnet-0a", "describe-subnets").await;
    refused(vpc, &[&first, &second], "has no route to the internet", "create-route").await;
    let gateway = hand.open().await;
    refused(vpc, &[&first, &second], "gives instances no public addresses", "--map-public-ip-on-launch").await;
    for subnet in [&first, &second, &beside] {
        hand.set_addresses(subnet, true).await;
    }
    refused(vpc, &[&first, &beside], "are both in us-east-1a", "one subnet for each zone").await;
    let small = hand.subnet_of("10.1.8.0/28", "us-east-1b").await;
    refused(vpc, &[&first, &small], "is too small (10.1.8.0/28)", "name larger subnets").await;

    // A subnet whose addresses the load balancers of others have.
    let narrow = hand.subnet_of("10.1.9.0/27", "us-east-1b").await;
    hand.set_addresses(&narrow, true).await;
    let mut balancers = Vec::new();
    for number in 0..20 {
        let call =
            cloud.aws.elb.create_load_balancer().name(format!("other-{number}")).subnets(&first).subnets(&narrow);
        let made = call.send().await.expect("a load balancer");
        balancers.extend(made.load_balancers()[0].load_balancer_arn().map(str::to_owned));
    }
    let full = cloud.run(&project_in(vpc, &[&first, &narrow]), &["up", "--yes"]).await;
    assert_eq!(full.code, 1, "{}", full.all());
    for words in ["has 7 free addresses; a load balancer needs 8 in each subnet", "hint: free addresses in it"] {
        assert!(full.stderr.contains(words), "{}", full.all());
    }
    for arn in balancers {
        let call = cloud.aws.elb.delete_load_balancer().load_balancer_arn(arn);
        call.send().await.expect("a load balancer can be deleted");
    }

    let other = Hand::new(&cloud.aws).await;
    let error = format!("the subnet {second} is in {vpc}, not in {}", other.vpc);
    refused(&other.vpc, &[&second, &first], error.rsplit_once(" is in").expect("it").1, "describe-subnets").await;
    let changed = cloud.control().journal().await;
    assert!(changed.iter().all(|call| call["operation"] != "CreateBucket"), "nothing is created before the checks");

    let project = project_in(vpc, &[&first, &second]);
    let up = cloud.done(&project, &["up", "--yes"]).await;
    assert!(up.stderr.contains("→ http://"), "{}", up.all());
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
    let instances = cloud.aws.ec2.describe_instances().send().await.expect("instances");
    let one = &instances.reservations()[0].instances()[0];
    assert_eq!(one.vpc_id(), Some(vpc));
    assert!([&first, &second].contains(&&one.subnet_id().expect("a subnet").to_owned()));
    let policy = project.done(&["policy", "up"]);
    assert!(policy.stdout.contains("ec2:DescribeRouteTables"), "{}", policy.all());

    // Existing resources are used even if nothing could be created in the network any more.
    hand.set_addresses(&first, false).await;
    let stuck = cloud.run(&project, &["plan"]).await;
    assert!(stuck.code == 1 && stuck.stderr.contains("gives instances no public addresses"), "{}", stuck.all());
    for command in ["why", "outputs", "history", "status"] {
        cloud.done(&project, &[command]).await;
    }
    let policy = project.done(&["policy", "down"]);
    assert!(!policy.stdout.contains("ec2:DescribeInstanceTypeOfferings"), "{}", policy.all());
    hand.set_addresses(&first, true).await;

    // A load balancer cannot move to another network.
    let hand_of_other = [other.subnet(1, "us-east-1a").await, other.subnet(2, "us-east-1b").await];
    let gateway_of_other = other.open().await;
    for subnet in &hand_of_other {
        other.set_addresses(subnet, true).await;
    }
    project.edit(vpc, &other.vpc);
    project.edit(&first, &hand_of_other[0]);
    project.edit(&second, &hand_of_other[1]);
    let moved = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(moved.code, 1, "{}", moved.all());
    assert!(moved.stderr.contains("nothing was changed"), "{}", moved.all());

    // The stack is kept and removed where it is, not where stack.yaml says by now.
    let kept = cloud.done(&project, &["down", "--yes", "--keep", "services.web"]).await;
    assert!(kept.stderr.contains("everything that exists is kept"), "{}", kept.all());
    let down = cloud.done(&project, &["down", "--yes"]).await;
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    hand.remove(&[&first, &second, &beside, &small, &narrow], &gateway).await;
    other.remove(&[&hand_of_other[0], &hand_of_other[1]], &gateway_of_other).await;
}

/// The inventory of an account.
async fn inventory_of(cloud: &TestAws) -> Inventory {
    inventory(&cloud.endpoint(), KEYS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_the_quota_of_vpcs_once_it_is_used_up() {
    let (cloud, project) = (TestAws::of_kind(AccountKind::NoDefaultVpc).await, network::project());
    for number in 1..=5 {
        let make = cloud.aws.ec2.create_vpc().cidr_block(format!("10.{number}.0.0/16"));
        make.send().await.expect("a VPC can be made");
    }
    let said = cloud.run(&project, &["doctor"]).await;
    let line = "✗ quota of VPCs: 5 of 5 exist, 1 to create\n";
    assert!(said.code == 1 && said.stdout.contains(line), "{}", said.all());
    assert!(said.stdout.contains("or request an increase (Service Quotas, L-F678F1CE)"), "{}", said.all());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_makes_a_network_and_removes_it() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let (project, hands) = (network::project(), network::Hands(&cloud.aws));
    let doctor = cloud.done(&project, &["doctor"]).await;
    for words in [
        "to be made; us-east-1a, us-east-1b offer t3.micro",
        "✓ permission ec2:CreateVpc: allowed",
        "✓ quota of VPCs: 0 of 5 exist, 1 to create",
    ] {
        assert!(doctor.stdout.contains(words), "{words}: {}", doctor.all());
    }
    let graph = project.done(&["graph"]);
    for resource in ["vpc.own", "internet_gateway.own", "route_table.own", "subnet.us-east-1a", "subnet.us-east-1b"] {
        assert!(graph.stdout.contains(resource), "{resource}: {}", graph.all());
    }
    let plan = cloud.run(&project, &["plan"]).await;
    assert!(hands.vpcs().await.is_empty(), "a plan makes nothing");
    assert!(plan.stderr.contains("+ vpc.own") && plan.stderr.contains("+ subnet.us-east-1b"), "{}", plan.all());

    let up = cloud.done(&project, &["up", "--yes"]).await;
    assert!(up.stderr.contains("→ http://"), "{}", up.all());
    let again = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(again.code, 0, "{}", again.all());
    let vpc = hands.vpc().await;
    let instances = cloud.aws.ec2.describe_instances().send().await.expect("instances");
    assert_eq!(instances.reservations()[0].instances()[0].vpc_id(), Some(&*vpc));
    let blocks: Vec<String> = hands.subnets().await.into_iter().filter_map(|subnet| subnet.cidr_block).collect();
    assert_eq!(blocks, ["10.0.0.0/18", "10.0.64.0/18"]);
    let doctor = cloud.done(&project, &["doctor"]).await;
    assert!(doctor.stdout.contains("✓ permission ec2:CreateSecurityGroup: allowed"), "{}", doctor.all());
    let list = cloud.done(&project, &["ls", "--json"]).await;
    let list: Value = serde_json::from_str(&list.stdout).expect("JSON");
    let resources = &list["stacks"][0]["resources"];
    for (kind, count) in [("vpc", 1), ("internet_gateway", 1), ("route_table", 1), ("subnet", 2)] {
        assert_eq!(resources[kind], count, "{kind}: {list}");
    }
    for command in ["status", "why", "outputs", "history", "cost"] {
        cloud.done(&project, &[command]).await;
    }

    // The addresses of a network, and the network of a stack, are fixed.
    let text = project.description();
    let before = inventory_of(&cloud).await;
    for (network, words) in [
        ("network: { own: 10.9.0.0/16 }", "would have to be replaced to change block"),
        ("network: { own: 10.9.0.0/16 }", "the services run in it"),
        ("network: { own: 10.9.0.0/16 }", "block: 10.0.0.0/16 → 10.9.0.0/16 (stack.yaml:4)"),
        ("", "us-east-1 has no default network"),
    ] {
        project.describe(&text.replace("network: own", network));
        let refused = cloud.run(&project, &["up", "--yes"]).await;
        assert!(refused.code == 1 && refused.stderr.contains(words), "{words}: {}", refused.all());
    }
    assert_eq!(inventory_of(&cloud).await, before);
    project.describe(&text);

    // A service at another port, whose groups are new, and a pause.
    project.edit("port: 8080", "port: 8081");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["pause", "--yes"]).await;
    cloud.done(&project, &["resume", "--yes"]).await;
    assert_eq!(hands.vpc().await, vpc);

    let down = cloud.done(&project, &["down", "--yes"]).await;
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_services_is_removed() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let project = network::project();
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    let text = project.description();
    let (head, _) = text.split_once("services:").expect("there are services");
    project.describe(&format!("{head}tables:\n  posts: {{ partition_key: id }}\n"));
    let plan = cloud.run(&project, &["plan"]).await;
    for address in ["vpc.s", "internet_gateway.s", "route_table.s", "subnet.us-east-1a", "subnet.us-east-1b"] {
        assert!(plan.stderr.contains(&format!("- {address}")), "{address}: {}", plan.all());
    }
    cloud.done(&project, &["up", "--yes"]).await;
    assert!(network::Hands(&cloud.aws).vpcs().await.is_empty());
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_lost_its_tags_is_adopted() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let (project, hands) = (network::project(), network::Hands(&cloud.aws));
    let nothing = cloud.done(&project, &["adopt"]).await;
    assert!(nothing.stderr.contains("a network has no name to look for"), "{}", nothing.all());
    cloud.done(&project, &["up", "network", "--yes"]).await;
    let goal = inventory_of(&cloud).await;
    hands.disown_gateway().await;
    let there = inventory_of(&cloud).await;
    for command in [&["up", "network", "--yes"][..], &["down", "--yes"]] {
        let refused = cloud.run(&project, command).await;
        assert_eq!(refused.code, 1, "{}", refused.all());
        assert!(refused.stderr.contains("up --adopt internet_gateway.own"), "{}", refused.all());
        assert_eq!(inventory_of(&cloud).await, there, "{command:?}");
    }
    // One of ours that is not attached, as earlier versions left it.
    hands.change("internet_gateway.own", "superfluous").await;
    cloud.done(&project, &["up", "network", "--yes", "--adopt", "internet_gateway.own"]).await;
    assert_eq!(inventory_of(&cloud).await, goal);
    assert_eq!(cloud.run(&project, &["plan", "network", "--detailed-exitcode"]).await.code, 0);
    // The same by taking over all that exists.
    hands.disown_gateway().await;
    let adopted = cloud.done(&project, &["adopt", "--yes"]).await;
    assert!(adopted.stderr.contains("took over 1 resource;"), "{}", adopted.all());
    assert_eq!(inventory_of(&cloud).await, goal);
    assert_eq!(cloud.run(&project, &["plan", "network", "--detailed-exitcode"]).await.code, 0);
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_block_is_named_and_does_not_stop_down() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let (project, hands) = (network::project(), network::Hands(&cloud.aws));
    cloud.done(&project, &["up", "network", "--yes"]).await;
    let ours = subnet_ids(&hands).await;
    let hand = Hand { aws: &cloud.aws, vpc: hands.vpc().await };
    cloud.aws.ec2.delete_subnet().subnet_id(&ours[1]).send().await.expect("nothing is in it");
    let half = hand.subnet_of("10.0.128.0/17", "us-east-1a").await;
    let quarter = hand.subnet_of("10.0.64.0/18", "us-east-1a").await;
    for command in [&["plan"][..], &["up", "--yes"], &["doctor"]] {
        let full = cloud.run(&project, command).await;
        assert_eq!(full.code, 1, "{}", full.all());
        for words in ["10.0.0.0/16 has no free quarter", &half, &quarter, "aws ec2 delete-subnet"] {
            assert!(full.all().contains(words), "{words}: {}", full.all());
        }
    }
    let freed = async {
        called(&cloud, "DeleteRouteTable").await;
        for subnet in [half, quarter] {
            cloud.aws.ec2.delete_subnet().subnet_id(subnet).send().await.expect("nothing is in it");
        }
    };
    let (down, ()) = futures::join!(cloud.done(&project, &["down", "--yes"]), freed);
    assert!(!down.stderr.contains("is unknown"), "{}", down.all());
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_make_one_network() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let project = network::project();
    let arguments = ["up", "--yes", "--no-wait", "--wait"];
    let all = futures::future::join_all((0..4).map(|_| cloud.run(&project, &arguments))).await;
    all.iter().for_each(|said| assert_eq!(said.code, 0, "{}", said.all()));
    let there = inventory_of(&cloud).await;
    for (thing, count) in &there {
        assert_eq!(*count, 1, "{thing}");
    }
    assert_eq!(there.keys().filter(|thing| thing.starts_with("vpc ")).count(), 1, "{there:?}");
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_in_the_default_network_does_not_move() {
    let (cloud, project) = (TestAws::start().await, Project::of_service(""));
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    let before = inventory_of(&cloud).await;
    project.edit("region: us-east-1\n", "region: us-east-1\nnetwork: own\n");
    for command in [&["plan"][..], &["up", "--yes"]] {
        let refused = cloud.run(&project, command).await;
        assert_eq!(refused.code, 1, "{}", refused.all());
        assert!(refused.stderr.contains("is in another network, and AWS cannot move it"), "{}", refused.all());
        assert!(refused.stderr.contains("stack.yaml:3"), "{}", refused.all());
    }
    assert_eq!(inventory_of(&cloud).await, before);
    // It is removed where it is.
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    // From nothing, it gets its own beside the default one.
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    let there = inventory_of(&cloud).await;
    assert!(there.contains_key("vpc 10.0.0.0/16"), "{there:?}");
    // The other way, too, it stays.
    project.edit("network: own\n", "");
    let refused = cloud.run(&project, &["up", "--yes"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("nothing was changed"), "{}", refused.all());
    assert_eq!(inventory_of(&cloud).await, there);
    // So it does with a new port, whose target group and instances would be new.
    project.edit("port: 8080", "port: 8081");
    let refused = cloud.run(&project, &["up", "--yes"]).await;
    for words in ["load_balancer.web", "is in another network, and AWS cannot move it: nothing was changed"] {
        assert!(refused.code == 1 && refused.stderr.contains(words), "{words}: {}", refused.all());
    }
    assert_eq!(inventory_of(&cloud).await, there);
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_another_owner_is_neither_used_nor_removed() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let (project, hands) = (network::project(), network::Hands(&cloud.aws));
    Hand::new(&cloud.aws).await;
    let others = Project::of_service("");
    others.edit("name: s\nregion: us-east-1\n", "name: other\nregion: us-east-1\nnetwork: { own: 10.0.0.0/16 }\n");
    cloud.done(&others, &["up", "network", "--yes"]).await;
    let before = inventory_of(&cloud).await;
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    let vpc = hands.vpc().await;

    // Without the tag of the stack, it is no longer ours, whatever is in it.
    hands.give(&vpc, "other").await;
    let there = inventory_of(&cloud).await;
    let refused = cloud.run(&project, &["up", "--yes"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("is in another network"), "{}", refused.all());
    assert_eq!(inventory_of(&cloud).await, there);
    hands.give(&vpc, "s").await;

    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, before);
    cloud.done(&others, &["down", "--yes"]).await;
    cloud.end().await;
}
