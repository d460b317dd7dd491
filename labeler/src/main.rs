//! The Lambda function: its environment becomes a [`Labeler`], which gets every event.

use std::env;

use labeler::Labeler;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::Value;

// One event at a time, and hardly any work between the calls: one thread starts quickest.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_from_env().await;
    let labeler = Labeler::new(&config, variable("BUCKET")?, variable("DYNAMO_TABLE")?);
    run(service_fn(|event: LambdaEvent<Value>| {
        let labeler = &labeler;
        async move { labeler.handle(&event.payload).await }
    }))
    .await
}

fn variable(name: &str) -> Result<String, Error> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("the environment variable {name} is not set").into()),
    }
}
