//! The Lambda function: makes a [`Labeler`] from the environment and passes it every event.

use std::env;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::SharedCredentialsProvider;
use labeler::Labeler;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use tracing::Level;

/// The number of attempts before Lambda retries the event. The delays between them add up to at most about 15 s, half
/// of the function's timeout, and Lambda itself retries only twice.
const CALLS: u32 = 5;

fn main() -> Result<(), Error> {
    // Before there are threads: it starts this program once more if variables are kept in AWS.
    secret_environment::enter().map_err(|error| error.to_string())?;
    serve()
}

// One event at a time, with little work between calls: a single thread starts fastest.
#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Error> {
    log();
    let (bucket, table) = (variable("BUCKET")?, variable("DYNAMO_TABLE")?);
    let labeler = Labeler::new(&configuration()?, bucket, table);
    run(service_fn(|event: LambdaEvent<Value>| {
        let labeler = &labeler;
        async move { labeler.handle(&event.payload).await }
    }))
    .await
}

/// Lambda provides the region and the credentials in the environment. The SDK's own loading also supports profiles,
/// containers, instances and single sign-on, with a client for each.
fn configuration() -> Result<SdkConfig, Error> {
    let configuration = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .retry_config(RetryConfig::standard().with_max_attempts(CALLS));
    Ok(match variable("AWS_ENDPOINT_URL") {
        Ok(elsewhere) => configuration.endpoint_url(elsewhere).build(),
        Err(_) => configuration.build(),
    })
}

fn variable(name: &str) -> Result<String, Error> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("the environment variable {name} is not set").into()),
    }
}

/// According to Lambda's logging controls. Lambda itself adds the time to every line.
fn log() {
    let level = variable("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let lines = tracing_subscriber::fmt().with_max_level(level).with_target(false).without_time().with_ansi(false);
    match variable("AWS_LAMBDA_LOG_FORMAT") {
        Ok(format) if format.eq_ignore_ascii_case("json") => lines.json().flatten_event(true).init(),
        _ => lines.init(),
    }
}
