//! Tables that AWS has not finished.

use aws_sdk_dynamodb::types::{IndexStatus, SseStatus, SseType, TableDescription, TableStatus};

use crate::engine::Fault;

/// Returns the operation in progress, if there is one. Errors: a final state in which the table cannot be used.
pub(super) fn settling(table: &TableDescription) -> Result<Option<String>, Fault> {
    match table.table_status() {
        None | Some(TableStatus::Active) => Ok(busy_index(table).or_else(|| changing_key(table))),
        Some(
            status @ (TableStatus::Creating | TableStatus::Updating | TableStatus::Deleting | TableStatus::Archiving),
        ) => Ok(Some(status.as_str().to_lowercase())),
        Some(status) => Err(Fault::new("DescribeTable", status.as_str(), "the table cannot be used in this state")),
    }
}

/// An index is built while the table is `ACTIVE` again (docs/aws.md §5.2).
fn busy_index(table: &TableDescription) -> Option<String> {
    let status = |status: &IndexStatus| (*status != IndexStatus::Active).then(|| status.as_str().to_lowercase());
    let mut indexes = table.global_secondary_indexes().iter();
    indexes.find_map(|it| Some(format!("{} index {}", status(it.index_status()?)?, it.index_name()?)))
}

/// The encryption of a table changes while the table is `ACTIVE` (docs/aws.md §5.2).
fn changing_key(table: &TableDescription) -> Option<String> {
    let status = table.sse_description()?.status()?;
    let changes = matches!(status, SseStatus::Enabling | SseStatus::Disabling | SseStatus::Updating);
    changes.then(|| format!("{} encryption", status.as_str().to_lowercase()))
}

/// The key of a table that is encrypted with one of KMS.
pub(super) fn key_of(table: &TableDescription) -> Option<String> {
    let encryption = table.sse_description()?;
    let is_kms = encryption.sse_type() == Some(&SseType::Kms) && encryption.status() != Some(&SseStatus::Disabled);
    encryption.kms_master_key_arn().filter(|_| is_kms).map(str::to_owned)
}
