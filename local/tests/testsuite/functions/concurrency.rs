//! The concurrency of functions, and throttling beyond it.

use aws_config::retry::RetryConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, InvocationType, Runtime};
use testkit::clients::{code, function_is_active};
use testkit::{LocalAws, until};

use super::{call, made, zip};

#[tokio::test]
async fn calls_beyond_the_reserved_concurrency_are_throttled() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    client.put_function_concurrency().function_name("labeler").reserved_concurrent_executions(0).send().await.unwrap();
    let once = aws_sdk_lambda::config::Builder::from(&aws.config).retry_config(RetryConfig::disabled()).build();
    let refused = Client::from_conf(once).invoke().function_name("labeler").send().await;
    assert_eq!(code(refused), "TooManyRequestsException");
    client.delete_function_concurrency().function_name("labeler").send().await.unwrap();
    call(&client, "pid").await;
    aws.stop().await;
}

#[tokio::test]
async fn the_account_runs_ten_invocations_at_once_and_keeps_a_hundred_unreserved() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let code = FunctionCode::builder().zip_file(zip("second")).build();
    let second = client.create_function().function_name("second").runtime(Runtime::Providedal2023).handler("bootstrap");
    second.role("arn:aws:iam::000000000000:role/labeler").code(code).send().await.unwrap();
    function_is_active(&client, "second").await;

    let reserve =
        |name, number| client.put_function_concurrency().function_name(name).reserved_concurrent_executions(number);
    let refused = reserve("labeler", 901).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidParameterValueException"));
    assert!(refused.message().unwrap().contains("below its minimum value of [100]"), "{refused:?}");
    reserve("labeler", 900).send().await.unwrap();
    assert_eq!(reserve("second", 1).send().await.unwrap_err().code(), Some("InvalidParameterValueException"));
    client.delete_function_concurrency().function_name("labeler").send().await.unwrap();

    for _ in 0..10 {
        let send = client.invoke().function_name("labeler").invocation_type(InvocationType::Event);
        send.payload(Blob::new("\"sleep\"")).send().await.unwrap();
    }
    let once = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
    let once = Client::from_conf(once);
    until("a refusal", async || {
        let called = once.invoke().function_name("second").payload(Blob::new("\"pid\"")).send().await;
        called.is_err_and(|refused| refused.code() == Some("TooManyRequestsException"))
    })
    .await;
    aws.stop().await;
}
