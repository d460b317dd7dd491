//! An account of AWS Academy: what its students may not do, and which of their instances are terminated.

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use local::AccountKind;
use testkit::{LocalAws, clients, until};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// The code and message of an error.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(answer: Result<T, SdkError<E, R>>) -> (String, String) {
    let error = answer.expect_err("a refusal");
    (error.code().unwrap_or("none").to_owned(), error.message().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn students_may_read_iam_and_change_nothing_in_it() {
    let aws = LocalAws::start_with(AccountKind::Academy).await;
    let sts = aws_sdk_sts::Client::new(&aws.config);
    let identity = sts.get_caller_identity().send().await.unwrap();
    assert!(identity.arn().unwrap().starts_with("arn:aws:sts::000000000000:assumed-role/voclabs/"), "{identity:?}");

    let iam = aws_sdk_iam::Client::new(&aws.config);
    let profile = iam.get_instance_profile().instance_profile_name("LabInstanceProfile").send().await.unwrap();
    assert_eq!(profile.instance_profile().unwrap().roles()[0].role_name(), "LabRole");
    let refusals = [
        ("CreateRole", refusal(iam.create_role().role_name("r").assume_role_policy_document(TRUST).send().await)),
        ("DeleteRole", refusal(iam.delete_role().role_name("LabRole").send().await)),
        (
            "PutRolePolicy",
            refusal(iam.put_role_policy().role_name("LabRole").policy_name("p").policy_document(TRUST).send().await),
        ),
        ("CreateInstanceProfile", refusal(iam.create_instance_profile().instance_profile_name("p").send().await)),
        ("CreatePolicy", refusal(iam.create_policy().policy_name("p").policy_document(TRUST).send().await)),
        (
            "UpdateAssumeRolePolicy",
            refusal(iam.update_assume_role_policy().role_name("LabRole").policy_document(TRUST).send().await),
        ),
    ];
    for (operation, (code, message)) in refusals {
        assert_eq!(code, "AccessDenied", "{operation}");
        let why = format!("because no identity-based policy allows the iam:{operation} action");
        assert!(message.contains("assumed-role/voclabs/") && message.ends_with(&why), "{message}");
    }
    let session = refusal(sts.get_session_token().send().await);
    assert_eq!(session.0, "AccessDenied");

    // Only the lab's role may be passed to a service.
    let lambda = aws_sdk_lambda::Client::new(&aws.config);
    let voclabs = "arn:aws:iam::000000000000:role/voclabs";
    let create = lambda.create_function().function_name("f").role(voclabs).handler("h");
    let code = aws_sdk_lambda::types::FunctionCode::builder().zip_file(aws_sdk_lambda::primitives::Blob::new("x"));
    let create = create.runtime(aws_sdk_lambda::types::Runtime::Providedal2023).code(code.build());
    let (code, message) = refusal(create.send().await);
    assert_eq!(code, "AccessDeniedException");
    assert!(message.contains(&format!("iam:PassRole on resource: {voclabs}")), "{message}");
    aws.stop().await;
}

#[tokio::test]
async fn a_lab_has_two_regions() {
    let aws = LocalAws::start_with(AccountKind::Academy).await;
    let tables = async |region: &'static str| {
        let config = aws.config.to_builder().region(aws_config::Region::new(region)).build();
        aws_sdk_dynamodb::Client::new(&config).list_tables().send().await
    };
    for region in ["us-east-1", "us-west-2"] {
        tables(region).await.unwrap();
    }
    let (code, message) = refusal(tables("eu-west-1").await);
    assert_eq!(code, "AccessDeniedException");
    assert!(message.ends_with("with an explicit deny in an identity-based policy"), "{message}");
    aws.stop().await;
}

/// Creates a group of instances of a type, without a service, and returns the states of its instances once they are
/// `expected`: how many run, and at least how many were terminated.
async fn settles(aws: &LocalAws, kind: &str, desired: i32, expected: (usize, usize)) {
    let ec2 = aws_sdk_ec2::Client::new(&aws.config);
    let groups = aws_sdk_autoscaling::Client::new(&aws.config);
    let images = ec2.describe_images().owners("amazon").send().await.unwrap();
    let image = images.images().iter().find(|image| image.architecture().is_some_and(|it| it.as_str() == "x86_64"));
    let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().image_id(image.unwrap().image_id().unwrap());
    let data = data.instance_type(kind.into()).build();
    ec2.create_launch_template().launch_template_name("lab").launch_template_data(data).send().await.unwrap();
    let subnets = ec2.describe_subnets().send().await.unwrap();
    let template = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder().launch_template_name("lab");
    let create = groups.create_auto_scaling_group().auto_scaling_group_name("g").launch_template(template.build());
    let create =
        create.min_size(desired).max_size(desired).vpc_zone_identifier(subnets.subnets()[0].subnet_id().unwrap());
    create.send().await.unwrap();
    until("the lab terminates instances", async || {
        let answer = ec2.describe_instances().send().await.unwrap();
        let instances = answer.reservations().iter().flat_map(|it| it.instances());
        let states: Vec<_> = instances.filter_map(|one| one.state()?.name().map(|it| it.as_str().to_owned())).collect();
        let count = |state: &str| states.iter().filter(|it| *it == state).count();
        assert!(count("running") <= 9, "{states:?}");
        count("running") == expected.0 && count("terminated") >= expected.1
    })
    .await;
    groups.delete_auto_scaling_group().auto_scaling_group_name("g").force_delete(true).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_beyond_nine_are_terminated() {
    let aws = LocalAws::start_with(AccountKind::Academy).await;
    settles(&aws, "t3.micro", 10, (9, 1)).await;
    aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_instances_are_terminated() {
    let aws = LocalAws::start_with(AccountKind::Academy).await;
    settles(&aws, "t3.xlarge", 1, (0, 1)).await;
    aws.stop().await;
}

#[tokio::test]
async fn an_account_keeps_its_kind_when_it_is_restarted() {
    let aws = LocalAws::start_with(AccountKind::Academy).await.restarted().await;
    let config = clients::config(&aws.endpoint()).await;
    let identity = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.unwrap();
    assert!(identity.arn().unwrap().contains(":assumed-role/voclabs/"), "{identity:?}");
    aws.stop().await;
}
