//! The time to live of items.

use aws_sdk_dynamodb::types::TimeToLiveSpecification;

use super::{Table, is_enabled};
use crate::{
    cloud::aws::{Aws, found},
    engine::Fault,
};

impl Table {
    /// The attribute that ends rows. A change that is still being processed counts as made: that takes up to an hour
    /// (docs/aws.md §5.2).
    pub async fn time_to_live(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let answer = found(aws.dynamodb.describe_time_to_live().table_name(&self.name).send().await)?;
        let expiry = answer.and_then(|answer| answer.time_to_live_description);
        Ok(expiry.filter(|expiry| is_enabled(expiry.time_to_live_status())).and_then(|expiry| expiry.attribute_name))
    }

    /// Switches the deletion of expired rows on or off; another attribute takes both, an hour apart.
    pub(super) async fn set_time_to_live(
        &self,
        aws: &Aws,
        want: Option<&str>,
        have: Option<&str>,
    ) -> Result<(), Fault> {
        let (attribute, enabled) = have.map_or((want.unwrap_or_default(), true), |attribute| (attribute, false));
        let expiry = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(enabled);
        let expiry = expiry.build().expect("attribute and switch are given");
        let call = aws.dynamodb.update_time_to_live().table_name(&self.name).time_to_live_specification(expiry);
        call.send().await.map_err(Fault::from).map_err(|fault| {
            match fault.message.contains(CHANGED_WITHIN_THE_HOUR) {
                true => Fault::new(
                    "UpdateTimeToLive",
                    "TooEarly",
                    "DynamoDB allows one change of `time_to_live` an hour: run `up` again in an hour",
                ),
                false => fault,
            }
        })?;
        Ok(())
    }
}

/// DynamoDB's words for a second change of the time to live within an hour.
const CHANGED_WITHIN_THE_HOUR: &str = "modified multiple times within a fixed interval";
