//! The instances of a service.

use aws_sdk_ec2::types::InstanceAttributeName;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::ServiceNames;
use crate::{
    cloud::aws::{Aws, found},
    engine::Fault,
    kinds::tags,
    page::user_data::program,
};

/// An instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Its Availability Zone.
    pub zone: String,
    /// `pending`, `running`, …
    pub state: String,
    /// The reason for the state, if AWS gives one.
    pub reason: String,
    /// When it was launched, in seconds since 1970.
    pub launched_s: i64,
    /// The ARN of its instance profile.
    pub profile: Option<String>,
    /// Its security groups.
    pub groups: Vec<String>,
    /// Whether it fails a status check.
    pub is_impaired: bool,
}

/// The instance that an activity is about: `Launching a new EC2 instance: i-…` (docs/aws.md §10.4).
pub fn instance_of(description: &str) -> &str {
    description.split_whitespace().find(|word| word.starts_with("i-")).unwrap_or_default()
}

pub(in crate::cloud) async fn instances(aws: &Aws, names: &ServiceNames) -> Result<Vec<Instance>, Fault> {
    let filter = tags::ec2_filter("tag:aws:autoscaling:groupName", [names.group.as_str()]);
    let answer = aws.ec2.describe_instances().filters(filter).send().await?;
    let all = answer.reservations().iter().flat_map(|it| it.instances());
    let mut found: Vec<Instance> = all
        .map(|it| Instance {
            id: it.instance_id().unwrap_or_default().into(),
            zone: it.placement().and_then(|it| it.availability_zone()).unwrap_or_default().into(),
            state: it.state().and_then(|state| state.name()).map(|name| name.as_str()).unwrap_or_default().into(),
            reason: it.state_reason().and_then(|reason| reason.message()).unwrap_or_default().into(),
            launched_s: it.launch_time().map_or(0, |at| at.secs()),
            profile: it.iam_instance_profile().and_then(|profile| profile.arn()).map(str::to_owned),
            groups: it.security_groups().iter().filter_map(|group| group.group_id().map(str::to_owned)).collect(),
            is_impaired: false,
        })
        .collect();
    found.sort_by_key(|it| std::cmp::Reverse(it.launched_s));
    Ok(found)
}

pub(super) async fn impaired(aws: &Aws, instances: &[Instance]) -> Result<Vec<String>, Fault> {
    let running: Vec<String> = instances.iter().filter(|it| it.state == "running").map(|it| it.id.clone()).collect();
    if running.is_empty() {
        return Ok(Vec::new());
    }
    let answer = aws.ec2.describe_instance_status().set_instance_ids(Some(running)).send().await?;
    let is_ill = |status: Option<&aws_sdk_ec2::types::InstanceStatusSummary>| {
        status.and_then(|it| it.status()).is_some_and(|status| status.as_str() == "impaired")
    };
    let ill = answer.instance_statuses().iter().filter(|it| is_ill(it.instance_status()) || is_ill(it.system_status()));
    Ok(ill.filter_map(|it| it.instance_id().map(str::to_owned)).collect())
}

/// Checks for the program that the instance's user data names; `None` if the user data is not ours.
pub(super) async fn has_program(aws: &Aws, names: &ServiceNames, instance: &str) -> Result<Option<bool>, Fault> {
    let call = aws.ec2.describe_instance_attribute().instance_id(instance);
    let answer = call.attribute(InstanceAttributeName::UserData).send().await?;
    let encoded = answer.user_data().and_then(|it| it.value()).unwrap_or_default();
    let text = String::from_utf8(STANDARD.decode(encoded).unwrap_or_default()).unwrap_or_default();
    let Some(program) = program(&text).filter(|it| it.bucket == names.reports.bucket) else { return Ok(None) };
    let head = aws.s3.head_object().bucket(program.bucket).key(program.key).send().await;
    Ok(Some(found(head)?.is_some()))
}
