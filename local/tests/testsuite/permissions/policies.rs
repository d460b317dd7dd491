//! Policies of roles, and their effect on the next call.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_s3::error::ProvideErrorMetadata;
use serde_json::json;
use testkit::{LocalAws, clients};

use super::{ME, POSTS, TRUST, TestRole, allow, picture, refusal};

#[tokio::test]
async fn a_change_of_a_policy_is_in_force_with_the_next_call() {
    let test = TestRole::new().await;
    let owner = aws_sdk_dynamodb::Client::new(&test.aws.config);
    let user = AttributeDefinition::builder().attribute_name("user").attribute_type(ScalarAttributeType::S);
    let create = owner.create_table().table_name("posts").billing_mode(BillingMode::PayPerRequest);
    let key = KeySchemaElement::builder().attribute_name("user").key_type(KeyType::Hash).build().unwrap();
    create.attribute_definitions(user.build().unwrap()).key_schema(key).send().await.unwrap();
    let table = aws_sdk_dynamodb::Client::new(&test.web);
    let put = || table.put_item().table_name("posts").item("user", AttributeValue::S("ada".into())).send();

    let (code, message) = refusal(put().await);
    assert_eq!(code, "AccessDeniedException");
    let why = "because no identity-based policy allows the dynamodb:PutItem action";
    assert_eq!(message, format!("{ME} dynamodb:PutItem on resource: {POSTS} {why}"));
    clients::table_is_active(&owner, "posts").await;
    for _ in 0..3 {
        test.allow(allow(&["dynamodb:PutItem"], POSTS)).await;
        put().await.unwrap();
        test.allow(allow(&["dynamodb:GetItem"], POSTS)).await;
        assert_eq!(refusal(put().await).0, "AccessDeniedException");
    }
    let deny = json!({ "Effect": "Deny", "Action": "dynamodb:Put*", "Resource": "*" });
    test.allow(json!([allow(&["*"], "*"), deny])).await;
    let (_, message) = refusal(put().await);
    let why = "with an explicit deny in an identity-based policy";
    assert_eq!(message, format!("{ME} dynamodb:PutItem on resource: {POSTS} {why}"));
    let got = table.get_item().table_name("posts").key("user", AttributeValue::S("ada".into())).send().await;
    assert!(got.unwrap().item().is_some());
    test.iam.delete_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    assert_eq!(refusal(table.list_tables().send().await).0, "AccessDeniedException");
    test.aws.stop().await;
}

#[tokio::test]
async fn every_service_denies_with_its_own_code_and_get_caller_identity_is_always_allowed() {
    let test = TestRole::new().await;
    test.bucket().await;
    let web = &test.web;
    let refused = [
        refusal(test.s3().list_objects_v2().bucket("images").send().await),
        refusal(aws_sdk_iam::Client::new(web).list_roles().send().await),
        refusal(aws_sdk_ec2::Client::new(web).describe_vpcs().send().await),
        refusal(aws_sdk_autoscaling::Client::new(web).describe_auto_scaling_groups().send().await),
        refusal(aws_sdk_elasticloadbalancingv2::Client::new(web).describe_load_balancers().send().await),
        refusal(aws_sdk_dynamodb::Client::new(web).list_tables().send().await),
        refusal(aws_sdk_lambda::Client::new(web).list_functions().send().await),
        refusal(aws_sdk_cloudwatchlogs::Client::new(web).describe_log_groups().send().await),
        refusal(aws_sdk_rekognition::Client::new(web).detect_labels().image(picture()).send().await),
    ];
    for ((_, message), action) in refused.iter().zip([
        "s3:ListBucket",
        "iam:ListRoles",
        "ec2:DescribeVpcs",
        "autoscaling:DescribeAutoScalingGroups",
        "elasticloadbalancing:DescribeLoadBalancers",
        "dynamodb:ListTables",
        "lambda:ListFunctions",
        "logs:DescribeLogGroups",
        "rekognition:DetectLabels",
    ]) {
        assert!(message.contains(&format!("is not authorized to perform: {action} ")), "{action}: {message}");
    }
    let codes: Vec<&str> = refused.iter().map(|(code, _)| code.as_str()).collect();
    const DENIED: &str = "AccessDenied";
    const EXCEPTION: &str = "AccessDeniedException";
    let expected =
        [DENIED, DENIED, "UnauthorizedOperation", DENIED, DENIED, EXCEPTION, EXCEPTION, EXCEPTION, EXCEPTION];
    assert_eq!(codes, expected);
    for (code, message) in &refused {
        assert!(message.contains(ME) && message.contains("because no identity-based policy"), "{code}: {message}");
    }
    let who = aws_sdk_sts::Client::new(web).get_caller_identity().send().await.unwrap();
    assert_eq!(who.arn(), Some("arn:aws:sts::000000000000:assumed-role/web/me"));
    test.aws.stop().await;
}

#[tokio::test]
async fn policies_are_attached_and_detached_and_their_conditions_apply() {
    let test = TestRole::new().await;
    test.bucket().await;
    let s3 = test.s3();
    let list = |prefix: &str| s3.list_objects_v2().bucket("images").prefix(prefix).send();
    let condition = json!({ "StringLike": { "s3:prefix": "a/*" } });
    let mut below_a = allow(&["s3:ListBucket"], "arn:aws:s3:::images");
    below_a["Condition"] = condition;
    test.allow(below_a).await;
    assert_eq!(list("a/").await.unwrap().key_count(), Some(2));
    assert_eq!(refusal(list("b/").await).0, "AccessDenied");

    let document = json!({ "Version": "2012-10-17", "Statement": [allow(&["s3:*"], "*")] }).to_string();
    let made = test.iam.create_policy().policy_name("all-of-s3").policy_document(document).send().await.unwrap();
    let own = made.policy().unwrap().arn().unwrap().to_owned();
    for arn in [own.as_str(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"] {
        test.iam.attach_role_policy().role_name("web").policy_arn(arn).send().await.unwrap();
        assert_eq!(list("b/").await.unwrap().key_count(), Some(1), "{arn}");
        test.iam.detach_role_policy().role_name("web").policy_arn(arn).send().await.unwrap();
        assert_eq!(refusal(list("b/").await).0, "AccessDenied", "{arn}");
    }
    test.aws.stop().await;
}

#[tokio::test]
async fn with_iam_lag_a_new_role_is_known_to_lambda_a_moment_later() {
    let test = TestRole::new().await;
    let control = reqwest::Client::new().put(format!("{}/_local/chaos", test.aws.endpoint()));
    control.json(&json!({ "kinds": ["iam-lag"], "seed": 4 })).send().await.unwrap().error_for_status().unwrap();
    let made = test.iam.create_role().role_name("late").assume_role_policy_document(TRUST).send().await.unwrap();
    let role = made.role().unwrap().arn().to_owned();
    assert!(test.iam.get_role().role_name("late").send().await.is_ok(), "IAM itself finds a new role at once");
    let lambda = aws_sdk_lambda::Client::new(&test.aws.config);
    let broken = aws_sdk_lambda::types::FunctionCode::builder().zip_file(b"no zip".to_vec().into()).build();
    let create = lambda.create_function().function_name("f").runtime("provided.al2023".into()).handler("bootstrap");
    let create = create.role(&role).code(broken);
    let mut refusals = Vec::new();
    loop {
        let (code, message) = refusal(create.clone().send().await);
        assert_eq!(code, "InvalidParameterValueException");
        // The role is checked first: once it has propagated, the error is about the code.
        if !message.contains("role") {
            break;
        }
        refusals.push(message);
    }
    assert!(refusals.iter().all(|message| message == "The role defined for the function cannot be assumed by Lambda."));
    test.aws.stop().await;
}

#[tokio::test]
async fn foreign_host_names_are_refused_and_the_state_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let aws = LocalAws::start().await;
    assert!(aws.cloud.address().ip().is_loopback());
    let get = |host: &str| reqwest::Client::new().get(aws.endpoint()).header("host", host).send();
    let refused = get("rebound.example.org").await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("rebound.example.org"));
    let page = reqwest::Client::new().get(format!("{}/_local/status", aws.endpoint()));
    assert_eq!(page.header("host", "rebound.example.org").send().await.unwrap().status(), 403);
    let mode = |aws: &LocalAws| std::fs::metadata(aws.dir.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&aws), 0o700);
    std::fs::set_permissions(aws.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let aws = aws.restarted().await;
    assert_eq!(mode(&aws), 0o700);
    aws.stop().await;
}

#[tokio::test]
async fn the_policy_simulator_says_what_the_policies_of_a_role_allow() {
    let role = TestRole::new().await;
    role.allow(json!([
        { "Effect": "Allow", "Action": ["s3:Get*", "iam:SimulatePrincipalPolicy"], "Resource": "*" },
        {
            "Effect": "Allow", "Action": "ec2:CreateVpc", "Resource": "*",
            "Condition": { "StringEquals": { "aws:RequestTag/owner": "ada" } },
        },
        { "Effect": "Deny", "Action": "s3:GetBucketPolicy", "Resource": "*" },
    ]))
    .await;
    let iam = aws_sdk_iam::Client::new(&role.web);
    let arn = "arn:aws:iam::000000000000:role/web";
    let actions = ["s3:GetObject", "s3:GetBucketPolicy", "s3:PutObject", "ec2:CreateVpc"];
    let simulate = || iam.simulate_principal_policy().set_action_names(Some(actions.map(str::to_owned).into()));
    let ask = simulate().policy_source_arn(arn).max_items(1).into_paginator().items().send();
    let results = ask.try_collect().await.unwrap();
    let shown: Vec<String> = results
        .iter()
        .map(|it| {
            let missing = it.missing_context_values().join(" ");
            format!("{} {} {missing}", it.eval_action_name(), it.eval_decision().as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "s3:GetObject allowed ",
            "s3:GetBucketPolicy explicitDeny ",
            "s3:PutObject implicitDeny ",
            "ec2:CreateVpc implicitDeny aws:requesttag/owner",
        ]
    );
    let owner = aws_sdk_iam::types::ContextEntry::builder().context_key_name("aws:RequestTag/owner");
    let owner = owner.context_key_type(aws_sdk_iam::types::ContextKeyTypeEnum::String).context_key_values("ada");
    let of_owner = iam.simulate_principal_policy().policy_source_arn(arn).action_names("ec2:CreateVpc");
    let of_owner = of_owner.context_entries(owner.build()).send().await.unwrap();
    assert_eq!(of_owner.evaluation_results()[0].eval_decision().as_str(), "allowed");

    // A session is not a principal with policies; others do not exist, or the caller may not ask about them.
    let code = async |arn: &str| {
        let refused = simulate().policy_source_arn(arn).send().await.unwrap_err();
        refused.code().unwrap_or_default().to_owned()
    };
    assert_eq!(code("arn:aws:sts::000000000000:assumed-role/web/me").await, "InvalidInput");
    assert_eq!(code("arn:aws:iam::000000000000:role/other").await, "NoSuchEntity");
    assert_eq!(code("arn:aws:iam::000000000000:role/path/web").await, "NoSuchEntity");
    role.allow(json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }])).await;
    assert_eq!(code(arn).await, "AccessDenied");
    role.aws.stop().await;
}
