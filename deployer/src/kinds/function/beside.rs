//! The settings of a function that its versions do not include.

use aws_sdk_lambda::{
    operation::get_function_event_invoke_config::GetFunctionEventInvokeConfigOutput,
    types::{DestinationConfig, OnFailure},
};

use super::Function;
use crate::{
    cloud::aws::{Aws, found, gone},
    engine::Fault,
};

impl Function {
    /// Reads what is not part of a version, and not in the answer of `GetFunction`.
    pub async fn beside(&self, aws: &Aws) -> Result<Beside, Fault> {
        let config = self.event_config(aws).await?;
        let on_failure = config.and_then(|config| config.destination_config?.on_failure?.destination);
        Ok(Beside { concurrency: None, on_failure: on_failure.filter(|arn| !arn.is_empty()) })
    }

    /// Reads what is configured for its events.
    pub async fn event_config(&self, aws: &Aws) -> Result<Option<GetFunctionEventInvokeConfigOutput>, Fault> {
        found(aws.lambda.get_function_event_invoke_config().function_name(&self.name).send().await)
    }

    /// Settings for events that others have made, such as the number of retries, are kept.
    pub(super) async fn record_failures(&self, aws: &Aws, arn: Option<&str>) -> Result<(), Fault> {
        let there = self.event_config(aws).await?;
        let is_ours = |there: &GetFunctionEventInvokeConfigOutput| {
            let success = there.destination_config().and_then(|config| config.on_success()?.destination());
            let numbers = (there.maximum_retry_attempts(), there.maximum_event_age_in_seconds());
            numbers == (None, None) && success.is_none_or(str::is_empty)
        };
        let destination = OnFailure::builder().set_destination(arn.map(str::to_owned)).build();
        match (arn, there) {
            (None, None) => Ok(()),
            (None, Some(there)) if is_ours(&there) => {
                gone(aws.lambda.delete_function_event_invoke_config().function_name(&self.name).send().await)
            }
            (Some(_), None) => {
                let call = aws.lambda.put_function_event_invoke_config().function_name(&self.name);
                let config = DestinationConfig::builder().on_failure(destination).build();
                call.destination_config(config).send().await?;
                Ok(())
            }
            (_, Some(there)) => {
                let call = aws.lambda.update_function_event_invoke_config().function_name(&self.name);
                let success = there.destination_config.and_then(|config| config.on_success);
                let config = DestinationConfig::builder().set_on_success(success).on_failure(destination).build();
                call.destination_config(config).send().await?;
                Ok(())
            }
        }
    }

    pub(super) async fn reserve(&self, aws: &Aws, concurrency: Option<i32>) -> Result<(), Fault> {
        let Some(number) = concurrency else {
            return gone(aws.lambda.delete_function_concurrency().function_name(&self.name).send().await);
        };
        let call = aws.lambda.put_function_concurrency().function_name(&self.name);
        call.reserved_concurrent_executions(number).send().await?;
        Ok(())
    }
}

/// The settings of a function that its versions do not include.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    pub(super) concurrency: Option<i32>,
    pub(super) on_failure: Option<String>,
}

impl Beside {
    /// The same, with this reserved concurrency.
    pub fn reserving(self, concurrency: Option<i32>) -> Beside {
        Beside { concurrency, ..self }
    }
}
