//! Services without a load balancer on the internet: internal load balancers, and instances with an elastic IP address.

use aws_sdk_ec2::types::Address;
use aws_sdk_elasticloadbalancingv2::types::{LoadBalancer, LoadBalancerSchemeEnum};
use deployer::engine::{RESOURCE_TAG, STACK_TAG};
use serde_json::Value;

use crate::support::{Project, cloud::TestAws};

/// The only load balancer of the account.
async fn balancer(cloud: &TestAws) -> LoadBalancer {
    let found = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let [balancer] = found.load_balancers() else { panic!("{found:?}") };
    balancer.clone()
}

/// The CIDR blocks that a security group admits.
async fn admitted(cloud: &TestAws, group: &str) -> Vec<String> {
    let found = cloud.aws.ec2.describe_security_groups().group_ids(group).send().await.expect("the group");
    let rules = found.security_groups().iter().flat_map(|group| group.ip_permissions());
    rules.flat_map(|rule| rule.ip_ranges()).filter_map(|range| range.cidr_ip().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_load_balancer_takes_the_place_of_a_public_one_and_the_other_way_round() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    load_balancer: { port: 80 }\n"));
    let up = cloud.done(&project, &["up", "--yes"]).await;
    let public = up.output("URL");
    assert!(up.stderr.contains(&format!("→ {public}\n")), "{}", up.all());

    project.edit("load_balancer: { port: 80 }", "load_balancer: internal");
    let plan = cloud.run(&project, &["plan"]).await;
    for words in [
        "+ load_balancer.web",
        "- load_balancer.s-web",
        "- auto_scaling_group.s-web-8080",
        "- security_group.s-web-lb",
        "web: AWS cannot change the scheme of a load balancer, so another one replaces it: its address changes",
        "cost: - $10.95 a month",
    ] {
        assert!(plan.stderr.contains(words), "{words}: {}", plan.all());
    }
    let up = cloud.done(&project, &["up", "--yes"]).await;
    let inside = up.output("URL");
    assert_ne!(inside, public);
    assert!(up.stderr.contains(&format!("→ {inside} (reachable from its VPC only)\n")), "{}", up.all());
    let made = balancer(&cloud).await;
    assert_eq!(made.scheme(), Some(&LoadBalancerSchemeEnum::Internal));
    let vpcs = cloud.aws.ec2.describe_vpcs().send().await.expect("the default VPC");
    let block = vpcs.vpcs()[0].cidr_block().expect("a block").to_owned();
    assert_eq!(admitted(&cloud, &made.security_groups()[0]).await, [block]);
    let again = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(again.code, 0, "{}", again.all());

    let status = cloud.done(&project, &["status"]).await;
    assert!(status.stdout.contains(&format!("{inside} (reachable from its VPC only)")), "{}", status.all());
    let status = cloud.done(&project, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!((&status["services"][0]["internal"], &status["drift"]["changes"]), (&true.into(), &0.into()));
    let outputs = cloud.done(&project, &["outputs"]).await;
    assert!(outputs.stderr.contains("web: its address is reachable from its VPC only"), "{}", outputs.all());
    let open = cloud.run(&project, &["open"]).await;
    assert!(open.code == 1 && open.stderr.contains("reachable from its VPC only"), "{}", open.all());
    project.describe(&(project.description() + "verify: { steps: { page: { request: GET /health } } }\n"));
    for command in [&["verify"][..], &["up", "--yes", "--verify"]] {
        let refused = cloud.run(&project, command).await;
        let words = "verify.steps.page requests web, which is reachable from its VPC only";
        assert!(refused.code == 64 && refused.stderr.contains(words), "{}", refused.all());
    }

    project.edit("load_balancer: internal", "load_balancer: { internal: false }");
    let up = cloud.done(&project, &["up", "--yes", "--verify"]).await;
    assert!(up.stderr.contains("AWS cannot change the scheme"), "{}", up.all());
    let made = balancer(&cloud).await;
    assert_eq!(made.scheme(), Some(&LoadBalancerSchemeEnum::InternetFacing));
    assert_eq!(admitted(&cloud, &made.security_groups()[0]).await, ["0.0.0.0/0"]);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_load_balancer_is_not_replaced_by_an_internal_one() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    load_balancer: { protect: true }\n"));
    cloud.done(&project, &["up", "--yes"]).await;
    project.edit("protect: true", "internal: true");
    let refused = cloud.run(&project, &["up", "--yes"]).await;
    let words = "load_balancer.s-web: protected against deletion, so nothing was changed";
    assert!(refused.code == 1 && refused.stderr.contains(words), "{}", refused.all());
    assert_eq!(balancer(&cloud).await.scheme(), Some(&LoadBalancerSchemeEnum::InternetFacing));
    project.edit("internal: true", "protect: false");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The elastic IP addresses of the account.
async fn addresses(cloud: &TestAws) -> Vec<Address> {
    cloud.aws.ec2.describe_addresses().send().await.expect("addresses").addresses.unwrap_or_default()
}

/// What the service answers; `None` without an answer.
async fn answer(url: &str, path: &str) -> Option<String> {
    reqwest::get(format!("{url}{path}")).await.ok()?.text().await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_load_balancer_has_an_address_that_its_successor_takes() {
    let (cloud, project) = (TestAws::start().await, Project::direct());
    let plan = cloud.run(&project, &["plan"]).await;
    assert!(plan.stderr.contains("+ elastic_address.web"), "{}", plan.all());
    for kind in ["load_balancer", "target_group", "listener", "scaling_policy"] {
        assert!(!plan.stderr.contains(&format!("+ {kind}.")), "{kind}: {}", plan.all());
    }
    let url = cloud.done(&project, &["up", "--yes"]).await.output("URL");
    let first = answer(&url, "/pid").await.expect("it answers at its address");
    let there = addresses(&cloud).await;
    let [address] = &there[..] else { panic!("{there:?}") };
    assert_eq!(format!("http://{}", address.public_ip().expect("an address")), url);
    let again = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(again.code, 0, "{}", again.all());
    let status = cloud.done(&project, &["status"]).await;
    assert!(status.stdout.contains("1 of 1 healthy") && status.stdout.contains(&url), "{}", status.all());
    for command in ["why", "outputs", "history", "ls"] {
        cloud.done(&project, &[command]).await;
    }
    let cost = cloud.done(&project, &["cost"]).await;
    assert!(cost.stdout.contains("public IPv4 address") && !cost.stdout.contains("load balancer"), "{}", cost.all());
    let doctor = cloud.done(&project, &["doctor"]).await;
    let line = "✓ quota of elastic IP addresses: 1 of 5 exist, 0 to create";
    assert!(doctor.stdout.contains(line), "{}", doctor.all());

    cloud.done(&project, &["export", "terraform", "tf"]).await;
    let written = |file: &str| std::fs::read_to_string(project.path().join("tf").join(file)).expect("it is written");
    assert!(written("services.tf").contains("resource \"aws_eip\" \"web\""), "{}", written("services.tf"));
    assert!(written("imports.tf").contains(address.allocation_id().expect("an id")), "{}", written("imports.tf"));

    // The group replaces an instance that ends, and the new one takes the address.
    let instance = address.instance_id().expect("an instance has it");
    cloud.aws.ec2.terminate_instances().instance_ids(instance).send().await.expect("it can be terminated");
    testkit::until("another instance to answer at the address", async || {
        answer(&url, "/pid").await.is_some_and(|pid| pid != first && pid.parse::<u32>().is_ok())
    })
    .await;

    project.edit("    health_check: /health\n", "    health_check: /health\n    environment: { GREETING: hello }\n");
    let up = cloud.done(&project, &["up", "--yes"]).await;
    let words = "web: another instance replaces it, so it is not reachable for some minutes";
    assert!(up.stderr.contains(words) && up.output("URL") == url, "{}", up.all());
    assert!(answer(&url, "/environment").await.is_some_and(|text| text.contains("GREETING=hello")));

    cloud.done(&project, &["pause", "--yes"]).await;
    assert_eq!(addresses(&cloud).await.len(), 1, "the address stays");
    let status = cloud.done(&project, &["status"]).await;
    assert!(
        status.stdout.contains("paused since") && status.stdout.contains("about $3.65 a month"),
        "{}",
        status.all()
    );
    assert_eq!(cloud.done(&project, &["resume", "--yes"]).await.output("URL"), url);

    project.edit("load_balancer: none", "load_balancer: { port: 80 }");
    let plan = cloud.run(&project, &["plan"]).await;
    let words = "web: a load balancer replaces its elastic IP address: its address changes";
    assert!(plan.stderr.contains(words) && plan.stderr.contains("- elastic_address.s-web"), "{}", plan.all());
    cloud.done(&project, &["up", "--yes"]).await;
    assert!(addresses(&cloud).await.is_empty());
    project.edit("load_balancer: { port: 80 }", "load_balancer: none");
    let up = cloud.done(&project, &["up", "--yes"]).await;
    assert!(up.stderr.contains("web: an elastic IP address replaces its load balancer"), "{}", up.all());
    cloud.done(&project, &["down", "--yes"]).await;
    assert!(addresses(&cloud).await.is_empty());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_stack_is_left_and_a_used_up_quota_is_named() {
    let (cloud, project) = (TestAws::start().await, Project::direct());
    for _ in 0..4 {
        cloud.aws.ec2.allocate_address().send().await.expect("an address");
    }
    // One of another stack, for a service of the same name.
    let tag = |key: &str, value: &str| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
    let tags = vec![tag(STACK_TAG, "other"), tag(RESOURCE_TAG, "elastic_address.web")];
    let theirs = aws_sdk_ec2::types::TagSpecification::builder()
        .resource_type(aws_sdk_ec2::types::ResourceType::ElasticIp)
        .set_tags(Some(tags.clone()))
        .build();
    let theirs = cloud.aws.ec2.allocate_address().tag_specifications(theirs).send().await.expect("an address");
    let theirs = theirs.allocation_id().expect("an id");
    let doctor = cloud.run(&project, &["doctor"]).await;
    let line = "✗ quota of elastic IP addresses: 5 of 5 exist, 1 to create";
    assert!(doctor.code == 1 && doctor.stdout.contains(line), "{}", doctor.all());
    let refused = cloud.run(&project, &["up", "--yes"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("maximum number of addresses"), "{}", refused.all());
    let there = addresses(&cloud).await;
    let spare =
        there.iter().find(|it| it.tags().is_empty()).and_then(Address::allocation_id).expect("one without tags");
    cloud.aws.ec2.release_address().allocation_id(spare).send().await.expect("it can be released");
    cloud.done(&project, &["up", "--yes"]).await;
    let their_address = async || {
        let there = addresses(&cloud).await;
        there.into_iter().find(|it| it.allocation_id() == Some(theirs)).expect("the address of the other stack")
    };
    assert_eq!(their_address().await.instance_id(), None, "the instance takes its own");
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(addresses(&cloud).await.len(), 4, "addresses without our tags are not ours");
    let mut left = their_address().await.tags.unwrap_or_default();
    left.sort_by_key(|tag| tag.key().map(str::to_owned));
    let mut tags = tags;
    tags.sort_by_key(|tag| tag.key().map(str::to_owned));
    assert_eq!(left, tags);
    cloud.end().await;
}

/// An address that was allocated twice, because the answer was lost, is released.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_address_and_a_missing_tag_are_corrected() {
    let (cloud, project) = (TestAws::start().await, Project::direct());
    project.edit("region: us-east-1\n", "region: us-east-1\ntags: { course: cloud }\n");
    let url = cloud.done(&project, &["up", "--yes"]).await.output("URL");
    let ours = addresses(&cloud).await.remove(0);
    let again = aws_sdk_ec2::types::TagSpecification::builder()
        .resource_type(aws_sdk_ec2::types::ResourceType::ElasticIp)
        .set_tags(ours.tags.clone())
        .build();
    cloud.aws.ec2.allocate_address().tag_specifications(again).send().await.expect("a second address");
    let id = ours.allocation_id().expect("an id");
    let course = aws_sdk_ec2::types::Tag::builder().key("course").build();
    cloud.aws.ec2.delete_tags().resources(id).tags(course).send().await.expect("the tag can be deleted");
    let up = cloud.done(&project, &["up", "--yes"]).await;
    assert!(up.stderr.contains("elastic_address.web") && up.output("URL") == url, "{}", up.all());
    let there = addresses(&cloud).await;
    let [left] = &there[..] else { panic!("{there:?}") };
    assert_eq!(left.allocation_id(), Some(id));
    assert!(left.tags().iter().any(|tag| tag.key() == Some("course")));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
