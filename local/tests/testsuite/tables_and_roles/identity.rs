//! Roles, instance profiles and callers.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use testkit::clients::code;
use testkit::{LocalAws, clients};

use super::support::TRUST;

#[tokio::test]
async fn a_role_has_its_path_its_tags_and_its_policies() {
    let aws = LocalAws::start().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let tag = aws_sdk_iam::types::Tag::builder().key("deployer:stack").value("postagram é").build().unwrap();
    let create = iam
        .create_role()
        .role_name("web")
        .path("/deployer/")
        .assume_role_policy_document(TRUST)
        .tags(tag)
        .description("of the web é");
    create.clone().send().await.unwrap();
    assert_eq!(code(create.clone().send().await), "EntityAlreadyExists");
    assert_eq!(code(create.role_name("WEB").send().await), "EntityAlreadyExists");
    let policy =
        r#"{"Version":"2012-10-17","Id":"é","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
    iam.put_role_policy().role_name("web").policy_name("uses").policy_document(policy).send().await.unwrap();
    let aws = aws.restarted().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let role = iam.get_role().role_name("web").send().await.unwrap();
    let role = role.role().unwrap();
    assert_eq!(role.arn(), "arn:aws:iam::000000000000:role/deployer/web");
    assert_eq!((role.tags()[0].value(), role.description()), ("postagram é", Some("of the web é")));
    assert!(role.assume_role_policy_document().unwrap().starts_with("%7B"));
    let trust =
        percent_encoding::percent_decode_str(role.assume_role_policy_document().unwrap()).decode_utf8().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&trust).unwrap()["Version"], "2012-10-17");
    let found = iam.get_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    let found = percent_encoding::percent_decode_str(found.policy_document()).decode_utf8().unwrap();
    assert_eq!(found, policy);
    let listed = iam.list_roles().path_prefix("/deployer/").send().await.unwrap();
    assert_eq!(listed.roles().len(), 1);
    assert!(iam.list_roles().path_prefix("/other/").send().await.unwrap().roles().is_empty());
    assert_eq!(iam.list_role_policies().role_name("web").send().await.unwrap().policy_names(), ["uses"]);
    assert!(iam.list_attached_role_policies().role_name("web").send().await.unwrap().attached_policies().is_empty());
    assert_eq!(iam.list_role_tags().role_name("web").send().await.unwrap().tags()[0].value(), "postagram é");

    let refused = iam.delete_role().role_name("web").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("DeleteConflict"));
    assert_eq!(refused.message(), Some("Cannot delete entity, must delete policies first."));
    let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    iam.attach_role_policy().role_name("Web").policy_arn(basic).send().await.unwrap();
    iam.attach_role_policy().role_name("web").policy_arn(basic).send().await.unwrap();
    let attached = iam.list_attached_role_policies().role_name("web").send().await.unwrap();
    assert_eq!(attached.attached_policies()[0].policy_name(), Some("AWSLambdaBasicExecutionRole"));
    iam.delete_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    let refused = iam.delete_role().role_name("web").send().await.unwrap_err();
    assert_eq!(refused.message(), Some("Cannot delete entity, must detach all policies first."));
    iam.detach_role_policy().role_name("web").policy_arn(basic).send().await.unwrap();
    let unknown = iam.attach_role_policy().role_name("web").policy_arn("arn:aws:iam::aws:policy/Nothing").send().await;
    assert_eq!(code(unknown), "NoSuchEntity");
    assert_eq!(code(iam.delete_role_policy().role_name("web").policy_name("uses").send().await), "NoSuchEntity");
    assert_eq!(code(iam.get_role_policy().role_name("web").policy_name("uses").send().await), "NoSuchEntity");
    iam.delete_role().role_name("web").send().await.unwrap();
    assert_eq!(code(iam.get_role().role_name("web").send().await), "NoSuchEntity");
    aws.stop().await;
}

#[tokio::test]
async fn invalid_iam_input_is_refused_with_the_errors_of_iam() {
    let aws = LocalAws::start().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let create = |name: &str, trust: &str| iam.create_role().role_name(name).assume_role_policy_document(trust).send();
    let long = "a".repeat(65);
    for (name, trust, expected) in [
        (long.as_str(), TRUST, "ValidationError"),
        ("a b", TRUST, "ValidationError"),
        ("web", "{}", "MalformedPolicyDocument"),
    ] {
        assert_eq!(code(create(name, trust).await), expected, "{name}");
    }
    let by_unknown_role =
        TRUST.replace(r#""Service":"ec2.amazonaws.com""#, r#""AWS":"arn:aws:iam::000000000000:role/nobody""#);
    let refused = create("web", &by_unknown_role).await.unwrap_err();
    assert!(refused.message().unwrap().starts_with("Invalid principal in policy"), "{refused:?}");
    create("web", TRUST).await.unwrap();
    create("nobody", TRUST).await.unwrap();
    create("third", &by_unknown_role).await.unwrap();
    let put = iam.put_role_policy().role_name("web").policy_name("uses").policy_document(r#"{"Version":"2012-10-17"}"#);
    let refused = put.send().await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Some("MalformedPolicyDocument"), Some("Syntax errors in policy."))
    );
    let refused = iam.get_role().role_name("second").send().await.unwrap_err();
    assert_eq!(refused.message(), Some("The role with name second cannot be found."));
    let refused = iam.get_instance_profile().instance_profile_name("second").send().await.unwrap_err();
    assert_eq!(refused.message(), Some("Instance Profile second cannot be found."));
    iam.create_service_linked_role().aws_service_name("autoscaling.amazonaws.com").send().await.unwrap();
    let linked = iam.list_roles().path_prefix("/aws-service-role/").send().await.unwrap();
    let linked = linked.roles()[0].role_name().to_owned();
    assert_eq!(code(iam.delete_role().role_name(linked).send().await), "UnmodifiableEntity");

    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
    for number in 1..=11 {
        let create = iam.create_policy().policy_name(format!("policy-{number}")).policy_document(policy);
        let made = create.send().await.unwrap().policy.unwrap();
        let attach = iam.attach_role_policy().role_name("web").policy_arn(made.arn().unwrap()).send().await;
        match number {
            11 => assert_eq!(code(attach), "LimitExceeded"),
            _ => drop(attach.unwrap()),
        }
    }
    let local = iam.list_policies().scope(aws_sdk_iam::types::PolicyScopeType::Local).only_attached(true);
    assert_eq!(local.send().await.unwrap().policies().len(), 10);
    aws.stop().await;
}

#[tokio::test]
async fn an_instance_profile_holds_one_role() {
    let aws = LocalAws::start().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    for name in ["web", "other"] {
        iam.create_role().role_name(name).assume_role_policy_document(TRUST).send().await.unwrap();
    }
    let tag = aws_sdk_iam::types::Tag::builder().key("k").value("v").build().unwrap();
    let create = iam.create_instance_profile().instance_profile_name("web").path("/deployer/").tags(tag);
    create.clone().send().await.unwrap();
    assert_eq!(code(create.send().await), "EntityAlreadyExists");
    let add = |role: &str| iam.add_role_to_instance_profile().instance_profile_name("web").role_name(role).send();
    assert_eq!(code(add("nobody").await), "NoSuchEntity");
    add("web").await.unwrap();
    assert_eq!(code(add("other").await), "LimitExceeded");
    let found = iam.get_instance_profile().instance_profile_name("web").send().await.unwrap();
    let found = found.instance_profile().unwrap();
    assert_eq!(found.arn(), "arn:aws:iam::000000000000:instance-profile/deployer/web");
    assert_eq!((found.tags()[0].value(), found.roles()[0].role_name()), ("v", "web"));
    let listed = iam.list_instance_profiles_for_role().role_name("web").send().await.unwrap();
    assert_eq!(listed.instance_profiles()[0].instance_profile_name(), "web");
    assert_eq!(code(iam.delete_role().role_name("web").send().await), "DeleteConflict");
    assert_eq!(code(iam.delete_instance_profile().instance_profile_name("web").send().await), "DeleteConflict");
    iam.remove_role_from_instance_profile().instance_profile_name("web").role_name("web").send().await.unwrap();
    let again = iam.remove_role_from_instance_profile().instance_profile_name("web").role_name("web").send().await;
    assert_eq!(code(again), "NoSuchEntity");
    iam.delete_instance_profile().instance_profile_name("web").send().await.unwrap();
    assert_eq!(code(iam.get_instance_profile().instance_profile_name("web").send().await), "NoSuchEntity");
    aws.stop().await;
}

#[tokio::test]
async fn the_caller_is_identified_and_roles_can_be_assumed() {
    let aws = LocalAws::start().await;
    let sts = aws_sdk_sts::Client::new(&aws.config);
    let caller = sts.get_caller_identity().send().await.unwrap();
    assert_eq!(caller.account(), Some(local::ACCOUNT));
    let arn = "arn:aws:iam::000000000000:role/web";
    let take = sts.assume_role().role_arn(arn).role_session_name("me");
    assert_eq!(code(take.clone().send().await), "AccessDenied");
    let iam = aws_sdk_iam::Client::new(&aws.config);
    iam.create_role().role_name("web").assume_role_policy_document(TRUST).send().await.unwrap();
    assert_eq!(code(take.clone().send().await), "AccessDenied");
    let trust = TRUST.replace(r#""Service":"ec2.amazonaws.com""#, r#""AWS":"arn:aws:iam::000000000000:root""#);
    iam.update_assume_role_policy().role_name("web").policy_document(trust).send().await.unwrap();
    let taken = take.send().await.unwrap();
    let keys = taken.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let config = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    let caller = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.unwrap();
    assert_eq!(caller.arn(), Some("arn:aws:sts::000000000000:assumed-role/web/me"));
    assert_eq!(code(aws_sdk_sts::Client::new(&config).get_session_token().send().await), "AccessDenied");
    let session = sts.get_session_token().send().await.unwrap();
    let keys = session.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let config = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    assert!(
        aws_sdk_iam::Client::new(&config).list_roles().send().await.is_ok(),
        "a session of the owner has all permissions"
    );
    let wrong = clients::config_of(&aws.endpoint(), local::ACCESS_KEY, "guess", None).await;
    assert_eq!(code(aws_sdk_sts::Client::new(&wrong).get_caller_identity().send().await), "SignatureDoesNotMatch");
    aws.stop().await;
}
