//! Changes by hand, each of which `up` reverts.

use aws_sdk_ec2::types::{IpPermission, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum};

use super::group::{replace, target_group};
use super::services::stack;
use super::timing::explained;
use super::{BUCKET, GROUP, cloud};

#[tokio::test(flavor = "multi_thread")]
async fn each_manual_change_is_explained_and_reverted_by_up() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    let aws = &cloud.aws;
    let up = async || drop(cloud.done(&project, &["up", "--yes"]).await);
    up().await;
    let well = cloud.run(&project, &["why"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "web: no problem found\n"), "{}", well.all());

    // The security group of the instances no longer admits the load balancer.
    let groups = aws.ec2.describe_security_groups().send().await.expect("groups");
    let id = |name: &str| {
        let found = groups.security_groups().iter().find(|group| group.group_name() == Some(name));
        found.and_then(|group| group.group_id()).unwrap_or_else(|| panic!("no group {name}")).to_owned()
    };
    let pair = UserIdGroupPair::builder().group_id(id("s-web-lb")).build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(8080).to_port(8080).user_id_group_pairs(pair);
    let revoke = aws.ec2.revoke_security_group_ingress().group_id(id(GROUP)).ip_permissions(rule.build());
    revoke.send().await.expect("a rule can be removed");
    explained(
        &cloud,
        &project,
        "a security group changed by hand",
        "web",
        &["does not admit the load balancer on port 8080"],
        "run `up`",
    )
    .await;
    up().await;

    // The target group is detached.
    let (arn, groups) = (target_group(&cloud, GROUP).await, &aws.autoscaling);
    let detach = groups.detach_load_balancer_target_groups().auto_scaling_group_name(GROUP);
    detach.target_group_arns(&arn).send().await.expect("it can be detached");
    explained(
        &cloud,
        &project,
        "a target group detached by hand",
        "web",
        &["not attached to its Auto Scaling group"],
        "run `up`",
    )
    .await;
    up().await;

    // The listener forwards elsewhere.
    let other = aws.elb.create_target_group().name("other").port(8080).protocol("HTTP".into());
    let vpc = aws.ec2.describe_vpcs().send().await.expect("a network").vpcs()[0].vpc_id().expect("an id").to_owned();
    let other = other.vpc_id(vpc).send().await.expect("a target group can be made");
    let other = other.target_groups()[0].target_group_arn().expect("an ARN").to_owned();
    let balancers = aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN");
    let listeners = aws.elb.describe_listeners().load_balancer_arn(balancer).send().await.expect("listeners");
    let listener = listeners.listeners()[0].listener_arn().expect("an ARN").to_owned();
    let elsewhere = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&other).build();
    aws.elb
        .modify_listener()
        .listener_arn(&listener)
        .default_actions(elsewhere)
        .send()
        .await
        .expect("it can be changed");
    explained(&cloud, &project, "a listener changed by hand", "web", &["forwards to another target group"], "run `up`")
        .await;
    up().await;
    aws.elb.delete_target_group().target_group_arn(&other).send().await.expect("it can be deleted");

    // The listener is deleted.
    aws.elb.delete_listener().listener_arn(&listener).send().await.expect("it can be deleted");
    explained(&cloud, &project, "a listener deleted by hand", "web", &["no listener on its port"], "run `up`").await;
    up().await;

    // The program is missing from the bucket when a new instance starts.
    let listed = aws.s3.list_objects_v2().bucket(BUCKET).prefix("services/").send().await.expect("objects");
    for object in listed.contents() {
        let key = object.key().expect("a key");
        aws.s3.delete_object().bucket(BUCKET).key(key).send().await.expect("it can be deleted");
    }
    replace(&cloud).await;
    explained(
        &cloud,
        &project,
        "a program missing in the bucket",
        "web",
        &["the program is not in the artifact bucket"],
        "uploads the program again",
    )
    .await;
    up().await;

    // The role has no permission to download it.
    let role = "s-us-east-1-web-svc";
    let policies = aws.iam.list_role_policies().role_name(role).send().await.expect("policies");
    for policy in policies.policy_names() {
        aws.iam.delete_role_policy().role_name(role).policy_name(policy).send().await.expect("it can be deleted");
    }
    replace(&cloud).await;
    explained(
        &cloud,
        &project,
        "a role without permission to download the program",
        "web",
        &["its instances are not allowed to download the program"],
        "the role's policy",
    )
    .await;
    up().await;

    // The group no longer launches instances.
    let suspend = groups.suspend_processes().auto_scaling_group_name(GROUP).scaling_processes("Launch");
    suspend.send().await.expect("it can be suspended");
    replace(&cloud).await;
    explained(&cloud, &project, "a group suspended by hand", "web", &["suspended processes: Launch"], "resume").await;
    groups.resume_processes().auto_scaling_group_name(GROUP).send().await.expect("it can be resumed");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
