//! The configuration of functions, and what AWS refuses in it.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, Environment, FunctionCode};
use base64::Engine;
use serde_json::Value;
use testkit::clients::{code, function_is_active};
use testkit::process::is_running;
use testkit::{LocalAws, until};

use super::{call, create, made, zip};

#[tokio::test]
async fn a_configuration_is_shown_and_survives_a_restart() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    let environment = Environment::builder().variables("BUCKET", "images é").build();
    let created = create
        .environment(environment)
        .architectures(Architecture::Arm64)
        .timeout(30)
        .memory_size(256)
        .tags("deployer:stack", "postagram");
    let created = created.send().await.unwrap();
    assert_eq!(created.architectures(), [Architecture::Arm64]);
    client.put_function_event_invoke_config().function_name("labeler").maximum_retry_attempts(1).send().await.unwrap();
    let aws = aws.restarted().await;
    let client = Client::new(&aws.config);
    let found = client.get_function().function_name("labeler").send().await.unwrap();
    let configuration = found.configuration().unwrap();
    let sha = base64::prelude::BASE64_STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(zip("one").as_ref()));
    assert_eq!(configuration.code_sha256(), Some(sha.as_str()));
    assert_eq!((configuration.timeout(), configuration.memory_size()), (Some(30), Some(256)));
    assert_eq!(configuration.environment().unwrap().variables().unwrap()["BUCKET"], "images é");
    assert_eq!(found.tags().unwrap()["deployer:stack"], "postagram");
    let on_event = client.get_function_event_invoke_config().function_name("labeler").send().await.unwrap();
    assert_eq!(on_event.maximum_retry_attempts(), Some(1));
    assert_eq!(client.list_functions().send().await.unwrap().functions().len(), 1);
    let listed = client.list_tags().resource(configuration.function_arn().unwrap()).send().await.unwrap();
    assert_eq!(listed.tags().unwrap().len(), 1);
    aws.stop().await;
}

#[tokio::test]
async fn errors_are_those_of_aws() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    let missing_role = create.clone().role("arn:aws:iam::000000000000:role/missing").send().await.unwrap_err();
    assert_eq!(missing_role.code(), Some("InvalidParameterValueException"));
    assert!(missing_role.message().unwrap().contains("cannot be assumed by Lambda"));
    let broken = FunctionCode::builder().zip_file(Blob::new("no zip")).build();
    assert_eq!(code(create.clone().code(broken).send().await), "InvalidParameterValueException");
    create.clone().send().await.unwrap();
    assert_eq!(code(create.send().await), "ResourceConflictException");
    assert_eq!(code(client.get_function().function_name("missing").send().await), "ResourceNotFoundException");
    assert_eq!(code(client.get_policy().function_name("labeler").send().await), "ResourceNotFoundException");
    client.delete_function().function_name("labeler").send().await.unwrap();
    assert_eq!(code(client.delete_function().function_name("labeler").send().await), "ResourceNotFoundException");
    assert_eq!(code(client.list_layers().send().await), "NotImplementedException");
    aws.stop().await;
}

#[tokio::test]
async fn an_update_replaces_the_processes() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let pid = call(&client, "pid").await;
    let environment = Environment::builder().variables("COLOUR", "blue").build();
    client.update_function_configuration().function_name("labeler").environment(environment).send().await.unwrap();
    function_is_active(&client, "labeler").await;
    assert_eq!(call(&client, "env COLOUR").await, "blue");
    until("the old process to end", async || !is_running(&pid.to_string())).await;

    let pid = call(&client, "pid").await;
    let updated = client.update_function_code().function_name("labeler").zip_file(zip("two")).send().await.unwrap();
    assert_eq!(updated.environment().unwrap().variables().unwrap()["COLOUR"], "blue");
    function_is_active(&client, "labeler").await;
    assert_ne!(call(&client, "pid").await, pid);
    let pid = call(&client, "pid").await;
    client.delete_function().function_name("labeler").send().await.unwrap();
    until("the old process to end", async || !is_running(&pid.to_string())).await;
    let code = aws.dir.path().join("functions/code/labeler");
    assert!(!code.exists());
    aws.stop().await;
}

#[tokio::test]
async fn values_that_are_too_large_or_reserved_are_refused() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    let with = |name: &str, value: &str| {
        let environment = Environment::builder().variables(name, value).build();
        create.clone().environment(environment).send()
    };
    assert_eq!(code(with("AWS_REGION", "x").await), "InvalidParameterValueException");
    assert_eq!(code(with("BIG", &"x".repeat(4097)).await), "InvalidParameterValueException");
    assert_eq!(code(with("NOT-A-NAME", "x").await), "ValidationException");
    let large = FunctionCode::builder().zip_file(Blob::new(vec![0; (50 << 20) + 1])).build();
    let large = create.clone().code(large).send().await.unwrap_err();
    assert_eq!(large.raw_response().unwrap().status().as_u16(), 413);
    assert_eq!(code(create.clone().function_name("a b").send().await), "ValidationException");
    let long = "k".repeat(129);
    for (key, expected) in [("aws:k", "InvalidParameterValueException"), (long.as_str(), "ValidationException")] {
        assert_eq!(code(create.clone().tags(key, "v").send().await), expected, "{key}");
    }
    let made = create.tags("k", "v").send().await.unwrap();
    function_is_active(&client, "labeler").await;
    let tag = |count: usize| {
        let tags = (0..count).map(|number| (format!("k{number}"), "v".to_owned())).collect();
        client.tag_resource().resource(made.function_arn().unwrap()).set_tags(Some(tags)).send()
    };
    let refused = tag(50).await.unwrap_err();
    assert_eq!(refused.message(), Some("Number of tags exceeds resource tag limit."), "the function has a tag already");
    tag(49).await.unwrap();
    let huge = client.invoke().function_name("labeler").payload(Blob::new(format!("\"{}\"", "x".repeat(6 << 20))));
    assert_eq!(code(huge.send().await), "RequestTooLargeException");
    aws.stop().await;
}

#[tokio::test]
async fn permissions_added_concurrently_are_lost_and_those_added_in_turn_are_not() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let add = |id: String| {
        let add = client.add_permission().function_name("labeler").statement_id(id).action("lambda:InvokeFunction");
        add.principal("s3.amazonaws.com").send()
    };
    let kept = || async {
        let policy = client.get_policy().function_name("labeler").send().await.unwrap();
        let policy: Value = serde_json::from_str(policy.policy().unwrap()).unwrap();
        policy["Statement"].as_array().unwrap().len()
    };
    for number in 0..3 {
        add(format!("one-{number}")).await.unwrap();
    }
    assert_eq!(kept().await, 3);
    let all = futures::future::join_all((0..20).map(|number| add(format!("all-{number}")))).await;
    assert!(all.iter().all(Result::is_ok), "no call fails");
    assert!(kept().await < 23, "{}", kept().await);
    aws.stop().await;
}
