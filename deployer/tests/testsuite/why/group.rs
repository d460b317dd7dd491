//! The Auto Scaling group of the service, and changes of it by hand.

use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use testkit::eventually;

use super::GROUP;
use crate::support::cloud::TestAws;

/// The id of the only service's instance.
pub(super) async fn instance(cloud: &TestAws) -> String {
    let answer = cloud.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(GROUP);
    let answer = answer.send().await.expect("a group");
    answer.auto_scaling_groups()[0].instances()[0].instance_id().expect("an id").to_owned()
}

/// The user data of the first version of the service's launch template.
pub(super) async fn user_data(cloud: &TestAws) -> String {
    let versions = cloud.aws.ec2.describe_launch_template_versions().launch_template_name("s-web").versions("1");
    let versions = versions.send().await.expect("a version");
    let data = versions.launch_template_versions()[0].launch_template_data().expect("its data").clone();
    let encoded = BASE64_STANDARD.decode(data.user_data().expect("user data")).expect("base64");
    String::from_utf8(encoded).expect("text")
}

/// Makes the group launch instances from whatever version is the newest.
pub(super) async fn follow_the_newest(cloud: &TestAws) {
    let newest = LaunchTemplateSpecification::builder().launch_template_name("s-web").version("$Latest").build();
    let update = cloud.aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(GROUP);
    update.launch_template(newest).send().await.expect("it can be chosen");
}

/// Adds a version of the launch template that differs from the first one in these fields. EC2 does not check it.
pub(super) async fn add_version(cloud: &TestAws, data: aws_sdk_ec2::types::builders::RequestLaunchTemplateDataBuilder) {
    let version = cloud.aws.ec2.create_launch_template_version().launch_template_name("s-web").source_version("1");
    version.launch_template_data(data.build()).send().await.expect("a version can be made");
}

/// Terminates every instance of the group, if there is any, so that it launches new ones.
pub(super) async fn relaunch(cloud: &TestAws) {
    let groups = cloud.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(GROUP);
    let groups = groups.send().await.expect("a group");
    for instance in groups.auto_scaling_groups()[0].instances() {
        let ended = cloud.aws.autoscaling.terminate_instance_in_auto_scaling_group();
        let ended = ended.instance_id(instance.instance_id().expect("an id")).should_decrement_desired_capacity(false);
        // It may be terminating already.
        let _ = ended.send().await;
    }
}

pub(super) async fn target_group(cloud: &TestAws, name: &str) -> String {
    let answer = cloud.aws.elb.describe_target_groups().names(name).send().await.expect("a target group");
    answer.target_groups()[0].target_group_arn().expect("an ARN").to_owned()
}

/// Terminates the instance, so that the group replaces it.
pub(super) async fn replace(cloud: &TestAws) {
    let ended = cloud.aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(instance(cloud).await);
    ended.should_decrement_desired_capacity(false).send().await.expect("an instance can be ended");
}

/// The newest refresh: its status, and why it was rolled back.
async fn newest_refresh(cloud: &TestAws) -> (String, String) {
    let call = cloud.aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(GROUP);
    let newest = call.send().await.expect("refreshes").instance_refreshes.unwrap_or_default().remove(0);
    let reason = newest.rollback_details().and_then(|it| it.rollback_reason()).unwrap_or_default().to_owned();
    (newest.status().expect("a status").as_str().to_owned(), reason)
}

/// Waits until the newest refresh has been rolled back. Returns the reason.
pub(super) async fn until_rolled_back(cloud: &TestAws) -> String {
    eventually("the roll-back", async || {
        let (status, reason) = newest_refresh(cloud).await;
        (status == "RollbackSuccessful").then_some(reason)
    })
    .await
}
