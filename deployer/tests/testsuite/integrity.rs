//! A program other than the deployed one does not start, and `up` restores the right one.

use aws_sdk_ec2::types::InstanceStateName;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deployer::cloud::aws::Aws;
use testkit::eventually;

use crate::support::{Project, cloud::TestAws, hands::Hands};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_modified_in_the_bucket_does_not_start_on_any_instance() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    cloud.done(&project, &["up", "--yes"]).await;
    let (aws, hands) = (&cloud.aws, Hands::of(&cloud.aws));
    let (first, target_group) = (only_instance(aws).await, hands.target_group_arn().await);
    let (bucket, key) = hands.artifact().await;

    // Of the same size: only its bytes differ from the right one.
    let right = aws.s3.get_object().bucket(&bucket).key(&key).send().await.expect("it is there");
    let mut patched = right.body.collect().await.expect("it can be read").into_bytes().to_vec();
    *patched.last_mut().expect("it is not empty") ^= 1;
    let put = aws.s3.put_object().bucket(&bucket).key(&key).body(patched.into());
    put.send().await.expect("the program can be replaced");
    let ended = aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(&first);
    ended.should_decrement_desired_capacity(false).send().await.expect("an instance can be ended");

    let second =
        eventually("another instance", async || Some(only_instance(aws).await).filter(|id| *id != first)).await;
    let said = eventually("the instance to say why it does not serve", async || {
        let answer = aws.ec2.get_console_output().instance_id(&second).latest(true).send().await.ok()?;
        let output = String::from_utf8(STANDARD.decode(answer.output().unwrap_or_default()).ok()?).ok()?;
        output.contains("did NOT match").then_some(output)
    })
    .await;
    assert_eq!(healthy(aws, &target_group).await, [""; 0], "{said}");

    let plan = cloud.run(&project, &["plan"]).await;
    assert!(plan.stderr.contains("~ artifact.web") && plan.stderr.contains("sha256: "), "{}", plan.all());
    cloud.done(&project, &["up", "--yes"]).await;
    eventually("a healthy instance", async || Some(healthy(aws, &target_group).await).filter(|ids| !ids.is_empty()))
        .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The instance that is running or starting.
async fn only_instance(aws: &Aws) -> String {
    eventually("an instance", async || {
        let answer = aws.ec2.describe_instances().send().await.expect("instances can be described");
        let instances = answer.reservations().iter().flat_map(|it| it.instances());
        let living = [Some(&InstanceStateName::Pending), Some(&InstanceStateName::Running)];
        let mut living = instances.filter(|it| living.contains(&it.state().and_then(|state| state.name())));
        living.next()?.instance_id().map(str::to_owned)
    })
    .await
}

/// The ids of the targets to which the load balancer sends requests.
async fn healthy(aws: &Aws, target_group: &str) -> Vec<String> {
    let answer = aws.elb.describe_target_health().target_group_arn(target_group).send().await;
    let answer = answer.expect("the health of targets can be described");
    let healthy = answer.target_health_descriptions().iter().filter(|it| {
        it.target_health().and_then(|health| health.state()).is_some_and(|state| state.as_str() == "healthy")
    });
    healthy.filter_map(|it| it.target()?.id().map(str::to_owned)).collect()
}
