//! DynamoDB tables.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    PointInTimeRecoveryStatus, ScalarAttributeType, Select, TableDescription, TableStatus, Tag,
};
use serde::Serialize;

use super::tags::bounded;
use crate::{
    cloud::aws::{Aws, Progress, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

/// A table, identified by its name.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The attribute that is the partition key. Types other than string are appended, as in `id (number)`.
    pub partition_key: String,
    /// The attribute that is the sort key, in the same notation.
    pub sort_key: Option<String>,
    /// The billing mode: `PAY_PER_REQUEST`.
    pub billing: String,
    /// Whether AWS refuses to delete it.
    pub protected: bool,
    /// Whether point-in-time recovery is on: it restores any second of the last 35 days.
    pub point_in_time_recovery: bool,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// `ListTagsOfResource` may lag behind `CreateTable` (docs/aws.md §2.5), so a table this young without tags may still
/// be ours.
const TAGS_VISIBLE_WITHIN: Duration = Duration::from_secs(60);

/// Rows are counted up to this number: one call.
const COUNTED: i32 = 1_000;

impl Resource for Table {
    const KIND: &'static str = "table";
    const SOURCES: &'static [(&'static str, &'static str)] = &[
        ("partition_key", "partition_key"),
        ("sort_key", "sort_key"),
        ("protected", "protect"),
        ("point_in_time_recovery", "point_in_time_recovery"),
    ];
    const HOLDS_DATA: bool = true;
    const FIXED: &'static [&'static str] = &["partition_key", "sort_key"];
    const LIMIT: Duration = Duration::from_secs(30 * 60);
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let answer = found(aws.dynamodb.describe_table().table_name(&self.name).send().await)?;
        let Some(table) = answer.and_then(|answer| answer.table) else { return Ok(Observed::Absent) };
        if let Some(state) = settling(&table)? {
            return Ok(Observed::Settling(state));
        }
        let arn = table.table_arn().unwrap_or_default();
        let (tags, recovery) = futures::try_join!(tags(aws, arn), self.recovery(aws))?;
        if tags.is_empty() && is_young(&table) {
            return Ok(Observed::Settling("waiting for its tags".into()));
        }
        let settings = settings(&table, recovery);
        Ok(Observed::Present(Live { settings, output: self.output(&table), owner: Owner::Tags(tags) }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let mut call = aws
            .dynamodb
            .create_table()
            .table_name(&self.name)
            .billing_mode(BillingMode::from(want.billing.as_str()))
            .deletion_protection_enabled(want.protected)
            .set_tags(Some(tag_list(tags)));
        let keys = [(Some(&want.partition_key), KeyType::Hash), (want.sort_key.as_ref(), KeyType::Range)];
        for (key, role) in keys {
            let Some(key) = key else { continue };
            let (element, definition) = key_schema(key, role);
            call = call.key_schema(element).attribute_definitions(definition);
        }
        let table = call.send().await?.table_description;
        // AWS is still creating it; emulators finish at once.
        let done =
            table.filter(|table| table.table_status() == Some(&TableStatus::Active) && !want.point_in_time_recovery);
        Ok(done.map(|table| Live {
            settings: want.clone(),
            output: self.output(&table),
            owner: Owner::Tags(tags.clone()),
        }))
    }

    /// Makes one kind of change at a time: the table is `UPDATING` after each (docs/aws.md §5.2).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Settings { partition_key: _, sort_key: _, billing, protected, point_in_time_recovery } = &live.settings;
        let update = aws.dynamodb.update_table().table_name(&self.name);
        if want.billing != *billing {
            update.billing_mode(BillingMode::from(want.billing.as_str())).send().await?;
        } else if want.protected != *protected {
            update.deletion_protection_enabled(want.protected).send().await?;
        } else if want.point_in_time_recovery != *point_in_time_recovery {
            self.set_recovery(aws, want.point_in_time_recovery).await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let call = aws.dynamodb.tag_resource().resource_arn(&live.output.arn);
        call.set_tags(Some(tag_list(tags))).send().await?;
        Ok(())
    }

    fn is_protected(live: &Settings) -> bool {
        live.protected
    }

    /// Never switches protection off silently: it was switched on for a reason (docs/aws.md §5.3).
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        if live.settings.protected {
            let message = format!(
                "the table is protected against deletion: set `protect: false` for it and run `up`, or run \
                 `aws dynamodb update-table --table-name {} --no-deletion-protection-enabled`, then try again",
                self.name
            );
            return Err(Fault::new("DeleteTable", "Protected", message));
        }
        gone(aws.dynamodb.delete_table().table_name(&self.name).send().await)
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let names = items(aws.dynamodb.list_tables().into_paginator().send()).await?.into_iter();
        let reads = names.map(async |name| {
            let answer = found(aws.dynamodb.describe_table().table_name(&name).send().await)?;
            let Some(table) = answer.and_then(|answer| answer.table) else { return Ok(None) };
            let tags = found(tags(aws, table.table_arn().unwrap_or_default()).await)?;
            Ok(tags.map(|tags| Tagged { name, tags, created_s: table.creation_date_time().map(|at| at.secs()) }))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let prefix = format!("{stack}-");
        let names = items(aws.dynamodb.list_tables().into_paginator().send()).await?;
        let mut owned = Vec::new();
        for name in names.into_iter().filter(|name| name.starts_with(&prefix) && !but.contains(name)) {
            let answer = found(aws.dynamodb.describe_table().table_name(&name).send().await)?;
            let Some(arn) = answer.and_then(|answer| answer.table?.table_arn) else { continue };
            if found(tags(aws, &arn).await)?.is_some_and(|tags| tags.get(STACK_TAG).is_some_and(|it| it == stack)) {
                owned.push(Table { name });
            }
        }
        Ok(owned)
    }

    async fn loss(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let call = aws.dynamodb.scan().table_name(&self.name).select(Select::Count).limit(COUNTED);
        let Some(page) = found(call.send().await)? else { return Ok(None) };
        let more = page.last_evaluated_key().is_some_and(|key| !key.is_empty());
        Ok(match (page.count(), more) {
            (0, false) => None,
            (1, false) => Some("1 row".into()),
            (rows, false) => Some(format!("{rows} rows")),
            (rows, true) => Some(format!("more than {rows} rows")),
        })
    }
}

impl Table {
    fn output(&self, table: &TableDescription) -> Output {
        Output { name: self.name.clone(), arn: table.table_arn().unwrap_or_default().into() }
    }

    async fn recovery(&self, aws: &Aws) -> Result<bool, Fault> {
        let call = aws.dynamodb.describe_continuous_backups().table_name(&self.name);
        let answer = found(call.send().await)?;
        let status = answer
            .as_ref()
            .and_then(|answer| answer.continuous_backups_description())
            .and_then(|backups| backups.point_in_time_recovery_description())
            .and_then(|recovery| recovery.point_in_time_recovery_status());
        Ok(status == Some(&PointInTimeRecoveryStatus::Enabled))
    }

    async fn set_recovery(&self, aws: &Aws, enabled: bool) -> Result<(), Fault> {
        let recovery = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(enabled)
            .build()
            .expect("whether it is enabled is given");
        let call = aws.dynamodb.update_continuous_backups().table_name(&self.name);
        call.point_in_time_recovery_specification(recovery).send().await?;
        Ok(())
    }
}

async fn tags(aws: &Aws, arn: &str) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    let (mut token, mut progress) = (None, Progress::of("ListTagsOfResource"));
    loop {
        let call = aws.dynamodb.list_tags_of_resource().resource_arn(arn).set_next_token(token);
        let page = call.send().await?;
        tags.extend(page.tags().iter().map(|tag| (tag.key().into(), tag.value().into())));
        token = progress.advance(page.next_token)?;
        if token.is_none() {
            return Ok(tags);
        }
    }
}

/// Returns the operation in progress, if there is one. Errors: a final state in which the table cannot be used.
fn settling(table: &TableDescription) -> Result<Option<String>, Fault> {
    match table.table_status() {
        None | Some(TableStatus::Active) => Ok(None),
        Some(
            status @ (TableStatus::Creating | TableStatus::Updating | TableStatus::Deleting | TableStatus::Archiving),
        ) => Ok(Some(status.as_str().to_lowercase())),
        Some(status) => Err(Fault::new("DescribeTable", status.as_str(), "the table cannot be used in this state")),
    }
}

fn is_young(table: &TableDescription) -> bool {
    table
        .creation_date_time()
        .and_then(|created| SystemTime::try_from(*created).ok())
        .and_then(|created| SystemTime::now().duration_since(created).ok())
        .is_some_and(|age| age < TAGS_VISIBLE_WITHIN)
}

/// Missing fields have a meaning (docs/aws.md §5.2).
fn settings(table: &TableDescription, point_in_time_recovery: bool) -> Settings {
    let billing = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    Settings {
        partition_key: key(table, &KeyType::Hash).unwrap_or_default(),
        sort_key: key(table, &KeyType::Range),
        billing: billing.unwrap_or(&BillingMode::Provisioned).to_string(),
        protected: table.deletion_protection_enabled().unwrap_or(false),
        point_in_time_recovery,
    }
}

fn key(table: &TableDescription, role: &KeyType) -> Option<String> {
    let name = table.key_schema().iter().find(|key| key.key_type() == role)?.attribute_name();
    let definition = table.attribute_definitions().iter().find(|it| it.attribute_name() == name);
    Some(match definition.map(AttributeDefinition::attribute_type) {
        Some(ScalarAttributeType::N) => format!("{name}{NUMBER}"),
        Some(ScalarAttributeType::B) => format!("{name}{BINARY}"),
        _ => name.to_owned(),
    })
}

const NUMBER: &str = " (number)";
const BINARY: &str = " (binary)";

fn key_schema(key: &str, role: KeyType) -> (KeySchemaElement, AttributeDefinition) {
    let (name, kind) = match (key.strip_suffix(NUMBER), key.strip_suffix(BINARY)) {
        (Some(name), _) => (name, ScalarAttributeType::N),
        (_, Some(name)) => (name, ScalarAttributeType::B),
        _ => (key, ScalarAttributeType::S),
    };
    let element = KeySchemaElement::builder().attribute_name(name).key_type(role);
    let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
    (element.build().expect("name and role are given"), definition.build().expect("name and type are given"))
}

fn tag_list(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build().expect("key and value are given");
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(keys: &[(&str, KeyType)]) -> TableDescription {
        let (elements, definitions) =
            keys.iter().map(|(key, role)| key_schema(key, role.clone())).unzip::<_, _, Vec<_>, Vec<_>>();
        TableDescription::builder().set_key_schema(Some(elements)).set_attribute_definitions(Some(definitions)).build()
    }

    #[test]
    fn fields_missing_from_a_description_have_their_meaning() {
        let read = settings(&described(&[("user", KeyType::Hash), ("id (number)", KeyType::Range)]), false);
        assert_eq!(read.partition_key, "user");
        assert_eq!(read.sort_key.as_deref(), Some("id (number)"));
        assert_eq!(read.billing, "PROVISIONED");
        assert!(!read.protected);
    }

    #[test]
    fn an_unusable_table_is_a_fault_and_a_busy_one_settles() {
        let at = |status| TableDescription::builder().table_status(status).build();
        assert_eq!(settling(&at(TableStatus::Creating)).unwrap().as_deref(), Some("creating"));
        assert_eq!(settling(&at(TableStatus::Active)).unwrap(), None);
        assert!(settling(&at(TableStatus::Archived)).is_err());
    }
}
