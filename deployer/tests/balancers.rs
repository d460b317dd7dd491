//! Services that are not reachable from the internet: internal load balancers.

mod support;

use aws_sdk_elasticloadbalancingv2::types::{LoadBalancer, LoadBalancerSchemeEnum};
use serde_json::Value;
use support::{Project, cloud::TestAws};

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
