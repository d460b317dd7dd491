//! Launches that AWS refuses, and instances that cannot be set up.

use aws_sdk_ec2::types::{InstanceType, RequestLaunchTemplateData};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};
use testkit::small_programs::tiny_service;

use super::group::{add_version, follow_the_newest, relaunch, replace, user_data};
use super::services::stack;
use super::timing::explained;
use super::{BUCKET, GROUP, cloud};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_launch_is_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    project.edit("min: 1, max: 1", "min: 17, max: 17");
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    explained(
        &cloud,
        &project,
        "the vCPU quota, by too many instances",
        "web",
        &["AWS refuses to launch an instance", "vCPU"],
        "Service Quotas",
    )
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_another_architecture_is_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;
    // The unit starts a text file with a valid checksum: only the kernel rejects it.
    let text = user_data(&cloud).await;
    let start = "ExecStart=/opt/s-web/service";
    let changed =
        text.replace(start, "ExecStart=/etc/s-web.sha256").replace("0755 /opt/s-web/service", "0755 /etc/s-web.sha256");
    assert_ne!(changed, text);
    follow_the_newest(&cloud).await;
    add_version(&cloud, RequestLaunchTemplateData::builder().user_data(BASE64_STANDARD.encode(changed))).await;
    replace(&cloud).await;
    explained(
        &cloud,
        &project,
        "a program for another architecture",
        "web",
        &["built for another architecture than that of t3.micro"],
        "`instance_type`",
    )
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_launch_that_aws_refuses_is_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;
    let (aws, refuses) = (&cloud.aws, "AWS refuses to launch an instance");
    let version = RequestLaunchTemplateData::builder;
    let explained = async |cause: &str, says: &str, remedy: &str| {
        relaunch(&cloud).await;
        explained(&cloud, &project, cause, "web", &[refuses, says], remedy).await;
    };
    follow_the_newest(&cloud).await;

    // The machine image does not exist.
    add_version(&cloud, version().image_id("ami-0123456789abcdef0")).await;
    let says = "The image id '[ami-0123456789abcdef0]' does not exist";
    explained("a machine image that does not exist", says, "name another as `image`").await;

    // The machine image is for another architecture.
    let images = aws.ec2.describe_images().owners("amazon").send().await.expect("images");
    let arm = images.images().iter().find(|image| image.architecture().is_some_and(|it| it.as_str() == "arm64"));
    add_version(&cloud, version().image_id(arm.and_then(|image| image.image_id()).expect("an image"))).await;
    let says = "does not match the architecture 'arm64'";
    explained("a machine image for another architecture", says, "`image` of the instance type's architecture").await;

    // The only zone of the group does not offer the instance type.
    let subnets = aws.ec2.describe_subnets().send().await.expect("subnets");
    let is_in_zone = |it: &&aws_sdk_ec2::types::Subnet| it.availability_zone() == Some("us-east-1c");
    let subnet = subnets.subnets().iter().find(is_in_zone).and_then(|it| it.subnet_id()).expect("a subnet").to_owned();
    let update = aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(GROUP);
    update.vpc_zone_identifier(subnet).send().await.expect("it can be changed");
    add_version(&cloud, version().instance_type(InstanceType::from("c7i-flex.large"))).await;
    let says = "(c7i-flex.large) is not supported in your requested Availability Zone (us-east-1c)";
    explained("an instance type that the zone does not offer", says, "`instance_type`").await;

    // That zone has no room.
    cloud.control().set_chaos(&["capacity"]).await;
    add_version(&cloud, version().instance_type(InstanceType::T3Micro)).await;
    let says = "We currently do not have sufficient t3.micro capacity";
    explained("a zone without capacity", says, "run `up` again later").await;

    // The account is on the free plan.
    add_version(&cloud, version().instance_type(InstanceType::from("m5.large"))).await;
    cloud.control().set_chaos(&["free-plan"]).await;
    explained("the free plan", "not eligible for Free Tier", "set `instance_type: t3.micro`").await;

    // The account may run less than one instance.
    cloud.control().set_chaos(&["vcpu-limit"]).await;
    add_version(&cloud, version().instance_type(InstanceType::T3Micro)).await;
    explained("the vCPU quota of a new account", "your current vCPU limit of 1", "Service Quotas").await;

    cloud.control().set_chaos(&[]).await;
    cloud.done(&project, &["up", "--yes"]).await;
    let well = cloud.run(&project, &["why"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "web: no problem found\n"), "{}", well.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The program with the newest version of the C library that it needs replaced by one that does not exist, and the hash
/// by which the loader looks it up.
fn needing_newer_libraries(program: &[u8]) -> Vec<u8> {
    let hash = |name: &str| {
        name.bytes().fold(0_u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(byte.into());
            let high = hash & 0xF000_0000;
            (hash ^ (high >> 24)) & !high
        })
    };
    let has = |name: &String| {
        let text = format!("{name}\0");
        program.windows(text.len()).any(|it| it == text.as_bytes())
    };
    let newest = (10..100).rev().map(|minor| format!("GLIBC_2.{minor}")).find(has).expect("it needs some version");
    let missing = "GLIBC_2.99";
    let mut changed = program.to_vec();
    for (from, to) in
        [(newest.as_bytes(), missing.as_bytes()), (&hash(&newest).to_le_bytes()[..], &hash(missing).to_le_bytes()[..])]
    {
        let places = program.windows(from.len()).enumerate().filter(|(_, it)| *it == from).map(|(at, _)| at);
        let places: Vec<usize> = places.collect();
        assert!(!places.is_empty(), "{newest} is not where the loader looks for it");
        places.iter().for_each(|at| changed[*at..at + to.len()].copy_from_slice(to));
    }
    changed
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_cannot_be_set_up_are_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;

    // The program needs a newer C library. `plan` would refuse it, so it is put there by hand.
    let old = std::fs::read(tiny_service()).expect("the program is there");
    let new = needing_newer_libraries(&old);
    let [old, key] = [&old, &new].map(|program| format!("{:x}", Sha256::digest(program)));
    let put = cloud.aws.s3.put_object().bucket(BUCKET).key(format!("services/web/{key}"));
    put.body(new.into()).send().await.expect("it can be uploaded");
    let text = user_data(&cloud).await;
    assert!(text.contains(&old), "{text}");
    let changed = BASE64_STANDARD.encode(text.replace(&old, &key));
    follow_the_newest(&cloud).await;
    add_version(&cloud, RequestLaunchTemplateData::builder().user_data(changed)).await;
    relaunch(&cloud).await;
    let says = ["needs a newer C library than its instances have", "version `GLIBC_2.99' not found"];
    explained(&cloud, &project, "a program for a newer C library", "web", &says, "build it with `package`").await;

    // cloud-init cannot read the user data.
    let broken = BASE64_STANDARD.encode("#cloud-config\nwrite_files: [\n");
    add_version(&cloud, RequestLaunchTemplateData::builder().user_data(broken)).await;
    relaunch(&cloud).await;
    let says = ["cloud-init failed on the instance"];
    explained(&cloud, &project, "user data that cloud-init refuses", "web", &says, "what cloud-init names").await;

    // The disk of the instance is full.
    cloud.control().set_chaos(&["disk-full"]).await;
    add_version(&cloud, RequestLaunchTemplateData::builder().instance_type(InstanceType::T3Micro)).await;
    relaunch(&cloud).await;
    let says = ["the disk of its instances is full", "No space left on device"];
    explained(&cloud, &project, "a full disk", "web", &says, "`disk_gb`").await;

    cloud.control().set_chaos(&[]).await;
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
