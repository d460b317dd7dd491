//! DynamoDB tables.

mod schema;
mod settling;
mod time_to_live;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::types::{
    BillingMode, DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, KeyType,
    PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, Select, SseSpecification, SseType,
    StreamSpecification, StreamViewType, TableDescription, TableStatus, Tag, TimeToLiveStatus,
};
use serde::Serialize;

pub use schema::Index;

use super::tags::bounded;
use crate::{
    cloud::{
        aws::{Aws, ListPosition, found, gone, items},
        why,
    },
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Size, Tagged, Tags},
};

use settling::{key_of, settling};

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
    /// Its local secondary indexes.
    pub local_indexes: BTreeMap<String, Index>,
    /// Its global secondary indexes.
    pub indexes: BTreeMap<String, Index>,
    /// The billing mode: `PAY_PER_REQUEST`.
    pub billing: String,
    /// Whether AWS refuses to delete it.
    pub protected: bool,
    /// Whether point-in-time recovery is on: it restores any second of the last 35 days.
    pub point_in_time_recovery: bool,
    /// The attribute with the time at which DynamoDB deletes a row, in seconds since 1970.
    pub time_to_live: Option<String>,
    /// The contents of the records of its stream, such as `NEW_IMAGE`; `None` without a stream.
    pub stream: Option<String>,
    /// The ARN of the KMS key that it is encrypted with; `None` for a key of DynamoDB.
    pub key: Option<String>,
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
        ("local_indexes", "local_indexes"),
        ("indexes", "indexes"),
        ("protected", "protect"),
        ("point_in_time_recovery", "point_in_time_recovery"),
        ("time_to_live", "time_to_live"),
        ("stream", "stream"),
        ("key", "key"),
    ];
    const HOLDS_DATA: bool = true;
    const FIXED: &'static [&'static str] = &["partition_key", "sort_key", "local_indexes"];
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
        let (tags, recovery, expiry) = futures::try_join!(tags(aws, arn), self.recovery(aws), self.time_to_live(aws))?;
        if tags.is_empty() && is_young(&table) {
            return Ok(Observed::Settling("waiting for its tags".into()));
        }
        let settings = settings(&table, recovery, expiry);
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
        let indexes = || want.indexes.iter().map(|(name, index)| index.global(name)).collect::<Vec<_>>();
        let local_indexes = || want.local_indexes.iter().map(|(name, index)| index.local(name)).collect::<Vec<_>>();
        call = call
            .set_key_schema(Some(schema::key_schema(&want.partition_key, want.sort_key.as_deref())))
            .set_attribute_definitions(Some(schema::definitions(want, want.secondary())))
            .set_global_secondary_indexes((!want.indexes.is_empty()).then(indexes))
            .set_local_secondary_indexes((!want.local_indexes.is_empty()).then(local_indexes))
            .set_stream_specification(want.stream.as_deref().map(stream))
            .set_sse_specification(want.key.as_deref().map(encrypted));
        let table = call.send().await?.table_description;
        // AWS is still creating it; emulators finish at once.
        let needs_more = want.point_in_time_recovery || want.time_to_live.is_some();
        let done = table.filter(|table| table.table_status() == Some(&TableStatus::Active) && !needs_more);
        Ok(done.map(|table| Live {
            settings: want.clone(),
            output: self.output(&table),
            owner: Owner::Tags(tags.clone()),
        }))
    }

    /// Makes one change at a time: the table is `UPDATING` after each (docs/aws.md §5.2).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let have = &live.settings;
        let update = aws.dynamodb.update_table().table_name(&self.name);
        if want.billing != have.billing {
            update.billing_mode(BillingMode::from(want.billing.as_str())).send().await?;
        } else if want.protected != have.protected {
            update.deletion_protection_enabled(want.protected).send().await?;
        } else if want.key != have.key {
            let encryption = want.key.as_deref().map_or_else(as_usual, encrypted);
            update.sse_specification(encryption).send().await?;
        } else if want.stream != have.stream {
            // The contents of a stream are fixed: it ends before the new one begins.
            let wanted = want.stream.as_deref().filter(|_| have.stream.is_none());
            update.stream_specification(wanted.map_or_else(no_stream, stream)).send().await?;
        } else if let Some(name) = have.indexes.iter().find_map(|(name, it)| want.lacks_index(name, it).then_some(name))
        {
            let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(name).build().expect("it has a name");
            let change = GlobalSecondaryIndexUpdate::builder().delete(delete).build();
            update.global_secondary_index_updates(change).send().await?;
        } else if let Some((name, index)) = want.indexes.iter().find(|(name, it)| have.lacks_index(name, it)) {
            let create = GlobalSecondaryIndexUpdate::builder().create(index.addition(name)).build();
            let definitions = schema::definitions(have, have.secondary().chain([index]));
            update.set_attribute_definitions(Some(definitions)).global_secondary_index_updates(create).send().await?;
        } else if want.time_to_live != have.time_to_live {
            self.set_time_to_live(aws, want.time_to_live.as_deref(), have.time_to_live.as_deref()).await?;
        } else if want.point_in_time_recovery != have.point_in_time_recovery {
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
            let created_s = table.creation_date_time().map(|at| at.secs());
            Ok(tags.map(|tags| Tagged::new(name, tags, created_s).sized(Ok(size(&table)))))
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

impl Settings {
    /// The attributes of all keys, with their types: `S`, `N` or `B`.
    pub fn attributes(&self) -> Vec<(String, String)> {
        let definitions = schema::definitions(self, self.secondary()).into_iter();
        definitions.map(|it| (it.attribute_name, it.attribute_type.to_string())).collect()
    }

    /// The attribute of a key, without its type.
    pub fn attribute_of(key: &str) -> &str {
        schema::attribute(key).0
    }

    /// All secondary indexes.
    fn secondary(&self) -> impl Iterator<Item = &Index> {
        self.local_indexes.values().chain(self.indexes.values())
    }

    fn lacks_index(&self, name: &str, index: &Index) -> bool {
        self.indexes.get(name) != Some(index)
    }
}

fn is_enabled(status: Option<&TimeToLiveStatus>) -> bool {
    matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
}

fn stream(contents: &str) -> StreamSpecification {
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::from(contents));
    stream.build().expect("the switch is given")
}

/// The encryption with a key of KMS.
fn encrypted(key: &str) -> SseSpecification {
    SseSpecification::builder().enabled(true).sse_type(SseType::Kms).kms_master_key_id(key).build()
}

/// The encryption with a key of DynamoDB, which every table has unless another key is named.
fn as_usual() -> SseSpecification {
    SseSpecification::builder().enabled(false).build()
}

fn no_stream() -> StreamSpecification {
    StreamSpecification::builder().stream_enabled(false).build().expect("the switch is given")
}

/// The rows, which AWS counts about every six hours (docs/aws.md §5.2).
fn size(table: &TableDescription) -> Size {
    let number = |it: Option<i64>| it.unwrap_or_default().unsigned_abs();
    Size::Items { count: number(table.item_count), bytes: number(table.table_size_bytes), more: false }
}

/// Returns the tags of a table. While it is being deleted and afterwards, AWS may deny the call (docs/aws.md §5.2): then
/// the fault is that it is absent.
async fn tags(aws: &Aws, arn: &str) -> Result<Tags, Fault> {
    let denied = match listed_tags(aws, arn).await {
        Err(fault) if why::is_denied(&fault) => fault,
        answer => return answer,
    };
    let name = arn.rsplit('/').next().unwrap_or_default();
    let Ok(answer) = found(aws.dynamodb.describe_table().table_name(name).send().await) else { return Err(denied) };
    match answer.and_then(|answer| answer.table?.table_status) {
        None | Some(TableStatus::Deleting) => Err(denied.meaning_absent()),
        Some(_) => Err(denied),
    }
}

async fn listed_tags(aws: &Aws, arn: &str) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    let (mut token, mut position) = (None, ListPosition::of("ListTagsOfResource"));
    loop {
        let call = aws.dynamodb.list_tags_of_resource().resource_arn(arn).set_next_token(token);
        let page = call.send().await?;
        tags.extend(page.tags().iter().map(|tag| (tag.key().into(), tag.value().into())));
        token = position.advance(page.next_token)?;
        if token.is_none() {
            return Ok(tags);
        }
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
fn settings(table: &TableDescription, point_in_time_recovery: bool, time_to_live: Option<String>) -> Settings {
    let billing = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    let stream = table.stream_specification().filter(|stream| stream.stream_enabled());
    Settings {
        partition_key: schema::key(table, table.key_schema(), &KeyType::Hash).unwrap_or_default(),
        sort_key: schema::key(table, table.key_schema(), &KeyType::Range),
        local_indexes: schema::local_indexes(table),
        indexes: schema::indexes(table),
        billing: billing.unwrap_or(&BillingMode::Provisioned).to_string(),
        protected: table.deletion_protection_enabled().unwrap_or(false),
        point_in_time_recovery,
        time_to_live,
        stream: stream.and_then(|stream| stream.stream_view_type()).map(ToString::to_string),
        key: key_of(table),
    }
}

fn tag_list(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build().expect("key and value are given");
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{IndexStatus, SseStatus};

    use super::*;

    fn index(partition_key: &str, sort_key: Option<&str>, include: Option<&[&str]>) -> Index {
        let include = include.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Index { partition_key: partition_key.into(), sort_key: sort_key.map(Into::into), include }
    }

    fn wanted() -> Settings {
        Settings {
            partition_key: "user".into(),
            sort_key: Some("id (number)".into()),
            local_indexes: BTreeMap::from([("by-title".into(), index("user", Some("title"), Some(&[])))]),
            indexes: BTreeMap::from([
                ("by-hash".into(), index("hash (binary)", None, None)),
                ("by-label".into(), index("label", Some("id (number)"), Some(&["a", "b"]))),
            ]),
            billing: "PAY_PER_REQUEST".into(),
            protected: false,
            point_in_time_recovery: false,
            time_to_live: None,
            stream: Some("NEW_IMAGE".into()),
            key: Some(KEY.into()),
        }
    }

    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012";

    /// The description that DynamoDB returns after `CreateTable` with these settings.
    fn described(want: &Settings) -> TableDescription {
        use aws_sdk_dynamodb::types::{
            BillingModeSummary, GlobalSecondaryIndexDescription, LocalSecondaryIndexDescription, SseDescription,
        };
        let global = |(name, index): (&String, &Index)| {
            let made = index.global(name);
            let described =
                GlobalSecondaryIndexDescription::builder().index_name(name).index_status(IndexStatus::Active);
            described.set_key_schema(Some(made.key_schema)).set_projection(made.projection).build()
        };
        let local = |(name, index): (&String, &Index)| {
            let made = index.local(name);
            let described = LocalSecondaryIndexDescription::builder().index_name(name);
            described.set_key_schema(Some(made.key_schema)).set_projection(made.projection).build()
        };
        let encryption = |key: &str| {
            let described = SseDescription::builder().status(SseStatus::Enabled).sse_type(SseType::Kms);
            described.kms_master_key_arn(key).build()
        };
        TableDescription::builder()
            .set_key_schema(Some(schema::key_schema(&want.partition_key, want.sort_key.as_deref())))
            .set_attribute_definitions(Some(schema::definitions(want, want.secondary())))
            .set_global_secondary_indexes(Some(want.indexes.iter().map(global).collect()))
            .set_local_secondary_indexes(Some(want.local_indexes.iter().map(local).collect()))
            .billing_mode_summary(BillingModeSummary::builder().billing_mode(BillingMode::PayPerRequest).build())
            .set_stream_specification(want.stream.as_deref().map(stream))
            .set_sse_description(want.key.as_deref().map(encryption))
            .build()
    }

    #[test]
    fn a_table_is_described_as_it_was_created() {
        assert_eq!(settings(&described(&wanted()), false, None), wanted());
    }

    #[test]
    fn each_key_attribute_is_defined_once() {
        let want = wanted();
        let names: Vec<_> = schema::definitions(&want, want.secondary())
            .iter()
            .map(|it| format!("{} {}", it.attribute_name(), it.attribute_type()))
            .collect();
        assert_eq!(names, ["hash B", "id N", "label S", "title S", "user S"]);
    }

    #[test]
    fn fields_missing_from_a_description_have_their_meaning() {
        let read = settings(&TableDescription::builder().build(), false, None);
        assert_eq!(read.billing, "PROVISIONED");
        assert!(!read.protected && read.stream.is_none() && read.indexes.is_empty() && read.key.is_none());
    }

    #[test]
    fn an_unusable_table_is_a_fault_and_a_busy_one_settles() {
        let at = |status| TableDescription::builder().table_status(status).build();
        assert_eq!(settling(&at(TableStatus::Creating)).unwrap().as_deref(), Some("creating"));
        assert_eq!(settling(&at(TableStatus::Active)).unwrap(), None);
        assert!(settling(&at(TableStatus::Archived)).is_err());
    }

    #[test]
    fn a_table_settles_until_its_key_has_changed() {
        let mut table = described(&wanted());
        let mut at = |status| {
            table.sse_description.as_mut().unwrap().status = Some(status);
            (settling(&table).unwrap(), key_of(&table))
        };
        assert_eq!(at(SseStatus::Enabled), (None, Some(KEY.to_owned())));
        assert_eq!(at(SseStatus::Updating).0.as_deref(), Some("updating encryption"));
        assert_eq!(at(SseStatus::Disabled), (None, None));
    }

    #[test]
    fn a_table_settles_until_its_indexes_are_built() {
        let mut table = described(&wanted());
        assert_eq!(settling(&table).unwrap(), None);
        table.global_secondary_indexes.as_mut().unwrap()[1].index_status = Some(IndexStatus::Creating);
        assert_eq!(settling(&table).unwrap().as_deref(), Some("creating index by-label"));
    }
}
