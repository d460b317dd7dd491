//! Permissions for security groups, instance profiles and launches.

use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_ec2::types::{
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateTagSpecificationRequest,
    RequestLaunchTemplateData, ResourceType, Tag, TagSpecification,
};
use serde_json::{Value, json};

use super::{TRUST, TestRole, allow, refusal};

#[tokio::test]
async fn conditions_see_the_tags_of_security_groups_and_creating_one_with_tags_needs_two_actions() {
    let test = TestRole::new().await;
    let [owner, web] = [&test.aws.config, &test.web].map(aws_sdk_ec2::Client::new);
    let group = "arn:aws:ec2:us-east-1:000000000000:security-group/*";
    let create = |client: &aws_sdk_ec2::Client, name: &str, stack: &str| {
        let tags = TagSpecification::builder().resource_type(ResourceType::SecurityGroup);
        let tags = tags.tags(Tag::builder().key("stack").value(stack).build()).build();
        client.create_security_group().group_name(name).description("d").tag_specifications(tags).send()
    };
    let when = |action: &str, key: &str, value: &str| {
        let condition = json!({ "StringEquals": { key: value } });
        json!({ "Effect": "Allow", "Action": action, "Resource": group, "Condition": condition })
    };
    let new = when("ec2:CreateSecurityGroup", "aws:RequestTag/stack", "ours");
    let network = allow(&["ec2:CreateSecurityGroup"], "arn:aws:ec2:us-east-1:000000000000:vpc/*");
    test.allow(json!([new, network])).await;
    let (code, message) = refusal(create(&web, "a", "ours").await);
    assert_eq!(code, "UnauthorizedOperation");
    assert!(message.contains("is not authorized to perform: ec2:CreateTags on resource"), "{message}");

    let tag = when("ec2:CreateTags", "ec2:CreateAction", "CreateSecurityGroup");
    let delete = when("ec2:DeleteSecurityGroup", "aws:ResourceTag/stack", "ours");
    test.allow(json!([new, network, tag, delete])).await;
    let ours = create(&web, "a", "ours").await.unwrap().group_id.unwrap();
    let (_, message) = refusal(create(&web, "b", "theirs").await);
    assert!(message.contains("is not authorized to perform: ec2:CreateSecurityGroup"), "{message}");
    let theirs = create(&owner, "b", "theirs").await.unwrap().group_id.unwrap();
    assert_eq!(refusal(web.delete_security_group().group_id(theirs).send().await).0, "UnauthorizedOperation");
    web.delete_security_group().group_id(&ours).send().await.unwrap();

    let used = test.aws.control().get("permissions").await;
    let used: Vec<&str> = used["web"].as_array().unwrap().iter().filter_map(|pair| pair[0].as_str()).collect();
    for action in ["ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:DeleteSecurityGroup"] {
        assert!(used.contains(&action), "{used:?}");
    }
    test.aws.stop().await;
}

#[tokio::test]
async fn an_instance_profile_is_allowed_by_its_own_path() {
    let test = TestRole::new().await;
    let create = test.iam.create_instance_profile().instance_profile_name("fleet").path("/team/");
    create.send().await.unwrap();
    let iam = aws_sdk_iam::Client::new(&test.web);
    let get = || iam.get_instance_profile().instance_profile_name("FLEET").send();
    test.allow(allow(&["iam:GetInstanceProfile"], "arn:aws:iam::000000000000:instance-profile/FLEET")).await;
    let (code, message) = refusal(get().await);
    assert_eq!(code, "AccessDenied");
    assert!(message.contains("arn:aws:iam::000000000000:instance-profile/team/fleet"), "{message}");
    test.allow(allow(&["iam:GetInstanceProfile"], "arn:aws:iam::000000000000:instance-profile/team/fleet")).await;
    get().await.unwrap();
    test.aws.stop().await;
}

/// Auto Scaling tries a launch with the permissions of its caller (docs/aws.md §10.1).
#[tokio::test]
async fn a_group_with_a_template_needs_all_that_a_launch_needs() {
    let test = TestRole::new().await;
    let ec2 = aws_sdk_ec2::Client::new(&test.aws.config);
    test.iam.create_role().role_name("runs").assume_role_policy_document(TRUST).send().await.unwrap();
    test.iam.create_instance_profile().instance_profile_name("runs").send().await.unwrap();
    test.iam.add_role_to_instance_profile().instance_profile_name("runs").role_name("runs").send().await.unwrap();
    let images = ec2.describe_images().owners("amazon").send().await.unwrap();
    let image = images.images()[0].image_id().unwrap().to_owned();
    let subnets = ec2.describe_subnets().send().await.unwrap();
    let subnet = subnets.subnets()[0].subnet_id().unwrap().to_owned();
    let group = ec2.create_security_group().group_name("web").description("d").send().await.unwrap();
    let group = group.group_id().unwrap().to_owned();
    let tags = LaunchTemplateTagSpecificationRequest::builder().resource_type(ResourceType::Instance);
    let data = RequestLaunchTemplateData::builder().image_id(&image).instance_type("t3.micro".into());
    let data = data
        .security_group_ids(&group)
        .tag_specifications(tags.tags(Tag::builder().key("stack").value("ours").build()).build());
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name("runs").build();
    let template = ec2.create_launch_template().launch_template_name("web");
    let template = template.launch_template_data(data.iam_instance_profile(profile).build()).send().await.unwrap();
    let template = template.launch_template().unwrap().launch_template_id().unwrap().to_owned();

    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:us-east-1:000000000000:{kind}/{id}");
    let run = |resource: &str| allow(&["ec2:RunInstances"], resource);
    let when = |action: &str, resource: &str, key: &str, value: &str| {
        let condition = json!({ "StringEquals": { key: value } });
        json!({ "Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition })
    };
    let role = "arn:aws:iam::000000000000:role/runs";
    let (image, subnet_arn) = (format!("arn:aws:ec2:us-east-1::image/{image}"), arn("subnet", &subnet));
    let (template_arn, group) = (arn("launch-template", &template), arn("security-group", &group));
    let made = ["instance", "network-interface", "volume"].map(|kind| arn(kind, "*"));
    let mut needed: Vec<(&str, &str, Value)> = vec![
        ("iam:PassRole", role, when("iam:PassRole", role, "iam:PassedToService", "ec2.amazonaws.com")),
        ("ec2:CreateTags", &made[0], when("ec2:CreateTags", &made[0], "ec2:CreateAction", "RunInstances")),
    ];
    let used = [&image, &subnet_arn, &template_arn, &group].into_iter().chain(&made);
    needed.extend(used.map(|resource| ("ec2:RunInstances", resource.as_str(), run(resource))));
    let own = allow(&["autoscaling:*"], "*");
    let statements = |but: Option<usize>| {
        let kept = needed.iter().enumerate().filter(|(at, _)| Some(*at) != but).map(|(_, (.., one))| one.clone());
        Value::Array(kept.chain([own.clone()]).collect())
    };

    let scaling = aws_sdk_autoscaling::Client::new(&test.web);
    let specification = LaunchTemplateSpecification::builder().launch_template_id(&template).build();
    let create = || {
        let call = scaling.create_auto_scaling_group().auto_scaling_group_name("web").min_size(0).max_size(0);
        call.vpc_zone_identifier(&subnet).launch_template(specification.clone()).send()
    };
    let refresh = || scaling.start_instance_refresh().auto_scaling_group_name("web").send();
    for (at, (action, resource, _)) in needed.iter().enumerate() {
        test.allow(statements(Some(at))).await;
        let (_, message) = refusal(create().await);
        assert!(message.contains(&format!("{action} on resource: {resource} ")), "{action} {resource}: {message}");
    }
    test.allow(statements(None)).await;
    create().await.unwrap();

    // Without a template in the call nothing is tried, except before a refresh.
    test.allow(own.clone()).await;
    let update = scaling.update_auto_scaling_group().auto_scaling_group_name("web").max_size(1);
    update.clone().send().await.unwrap();
    assert!(refusal(update.launch_template(specification.clone()).send().await).1.contains("ec2:RunInstances"));
    assert!(refusal(refresh().await).1.contains("ec2:RunInstances"));
    test.allow(statements(None)).await;
    refresh().await.unwrap();
    test.aws.stop().await;
}
