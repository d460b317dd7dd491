//! The operations of Secrets Manager.

use kit::ACCOUNT;
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Need, Needs, Operation, Pagination, Rows};

use super::SecretsManager;
use crate::{Input, with_request_tags};

/// The ARN of the secret that a call names. One that does not exist has only the name that the call gives: no pattern for
/// ARNs covers it.
fn resource(asked: &Asked) -> String {
    let id = asked.text("SecretId");
    (asked.entity_arn)("secret", id).unwrap_or_else(|| id.to_owned())
}

const OF_SECRET: Needs = Needs::Of(|asked| vec![asked.own(resource(asked))]);
const TAGGED: Needs = Needs::Of(|asked| vec![with_request_tags(asked.own(resource(asked)), asked)]);
/// Creating a secret with tags also needs the permission to tag it.
const NEW: Needs = Needs::Of(|asked| {
    let arn = format!("arn:aws:secretsmanager:{}:{ACCOUNT}:secret:{}-??????", asked.region, asked.text("Name"));
    let has_tags = !Input(asked.call.input.json().value()).tags().is_empty();
    let tag = has_tags.then(|| Need::new("secretsmanager:TagResource", arn.clone()));
    [asked.own(arn)].into_iter().chain(tag).map(|need| with_request_tags(need, asked)).collect()
});

const PAGED: Option<Pagination> = Some(Pagination::Own("MaxResults"));

/// The supported operations and parameters; any other is refused by name.
pub(super) const OPERATIONS: &[Operation<crate::Run<SecretsManager>>] = &[
    Operation::new(
        "CreateSecret",
        Writes,
        NEW,
        None,
        "ClientRequestToken Description ForceOverwriteReplicaSecret:boolean=false Name SecretBinary:blob SecretString \
         Tags[].Key Tags[].Value",
        SecretsManager::create,
    ),
    Operation::new(
        "DeleteSecret",
        Writes,
        OF_SECRET,
        None,
        "ForceDeleteWithoutRecovery:boolean RecoveryWindowInDays:integer SecretId",
        SecretsManager::delete,
    ),
    Operation::new("DescribeSecret", Reads, OF_SECRET, None, "SecretId", SecretsManager::describe),
    Operation::new("GetResourcePolicy", Reads, OF_SECRET, None, "SecretId", SecretsManager::resource_policy),
    Operation::new("GetSecretValue", Reads, OF_SECRET, None, "SecretId VersionId VersionStage", SecretsManager::value),
    Operation::new(
        "ListSecrets",
        Reads,
        Needs::Own,
        PAGED,
        "Filters[].Key Filters[].Values[] IncludePlannedDeletion:boolean MaxResults:integer NextToken",
        SecretsManager::list,
    ),
    Operation::new(
        "PutSecretValue",
        Writes,
        OF_SECRET,
        None,
        "ClientRequestToken SecretBinary:blob SecretId SecretString VersionStages[]",
        SecretsManager::put_value,
    ),
    Operation::new("RestoreSecret", Writes, OF_SECRET, None, "SecretId", SecretsManager::restore),
    Operation::new("TagResource", Writes, TAGGED, None, "SecretId Tags[].Key Tags[].Value", SecretsManager::tag),
    Operation::new("UntagResource", Writes, OF_SECRET, None, "SecretId TagKeys[]", SecretsManager::untag),
    Operation::new(
        "UpdateSecret",
        Writes,
        OF_SECRET,
        None,
        "ClientRequestToken Description SecretBinary:blob SecretId SecretString",
        SecretsManager::update,
    ),
];

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}
