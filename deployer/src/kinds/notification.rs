//! Our entries in a bucket's notification configuration.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::{
    operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput as Document,
    types::{
        Event, FilterRule, FilterRuleName, LambdaFunctionConfiguration, NotificationConfiguration,
        NotificationConfigurationFilter, S3KeyFilter,
    },
};
use serde::Serialize;

use crate::{
    cloud::aws::{Aws, found, gone},
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// All of our entries in one bucket's notification. They are one resource, because the configuration is one document
/// (docs/aws.md §4.6).
#[derive(Debug, Clone)]
pub struct Notification {
    /// The bucket's name.
    pub bucket: String,
    /// The account that must own it; empty if unknown.
    pub account: String,
}

/// The settings: the functions to notify, each with the objects that it is notified about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// By entry id. Ours begin with `deployer-`.
    pub uploads: BTreeMap<String, Upload>,
}

/// A function that is notified about objects.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upload {
    /// The function's ARN.
    pub function: String,
    /// The event types: `s3:ObjectCreated:*`.
    pub events: BTreeSet<String>,
    /// The key prefix.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub prefix: Option<String>,
    /// The key suffix.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub suffix: Option<String>,
}

impl Upload {
    /// Notifies a function about every new object.
    pub fn created(function: String) -> Upload {
        Upload { function, events: [Event::S3ObjectCreated.to_string()].into(), prefix: None, suffix: None }
    }
}

/// No outputs.
#[derive(Debug, Clone)]
pub struct Output;

/// The prefix of our entries' ids.
const OURS: &str = "deployer-";

impl Resource for Notification {
    const KIND: &'static str = "notification";
    const SOURCES: &'static [(&'static str, &'static str)] = &[("uploads", "on_upload")];
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.bucket
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Some(document) = found(self.document(aws).await)? else { return Ok(Observed::Absent) };
        let entries = document.lambda_function_configurations();
        let uploads = entries.iter().filter(|entry| is_ours(entry)).map(upload).collect();
        Ok(Observed::Present(Live { settings: Settings { uploads }, output: Output, owner: Owner::Parent }))
    }

    /// Only a bucket that did not exist before has none: no other client can have written to it.
    async fn create(&self, aws: &Aws, want: &Settings, _tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        if !want.uploads.is_empty() {
            self.put(aws, merged(Document::builder().build(), want), false).await?;
        }
        Ok(Some(Live { settings: want.clone(), output: Output, owner: Owner::Parent }))
    }

    /// S3 checks that it may invoke the function, and may not see the new permission yet: the engine retries.
    async fn update(&self, aws: &Aws, want: &Settings, _live: &Live<Self>) -> Result<(), Fault> {
        self.write(aws, want, false).await
    }

    fn is_bare(live: &Settings) -> bool {
        live.uploads.is_empty()
    }

    /// Removes our entries. Skips the validation of the others: their targets may be gone.
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        if live.settings.uploads.is_empty() {
            return Ok(());
        }
        gone(self.write(aws, &Settings { uploads: BTreeMap::new() }, true).await)
    }
}

impl Notification {
    fn owner(&self) -> Option<String> {
        (!self.account.is_empty()).then(|| self.account.clone())
    }

    async fn document(&self, aws: &Aws) -> Result<Document, Fault> {
        let call = aws.s3.get_bucket_notification_configuration().bucket(&self.bucket);
        let answer = call.set_expected_bucket_owner(self.owner()).send().await.map_err(Fault::from);
        match answer {
            // Some emulators report an empty document like this.
            Err(fault) if fault.message.contains("GetBucketNotificationResponse") => Ok(Document::builder().build()),
            other => other,
        }
    }

    /// Whether it has entries of others.
    pub async fn has_others(&self, aws: &Aws) -> Result<bool, Fault> {
        let there = self.document(aws).await?;
        let functions = there.lambda_function_configurations().iter().any(|entry| !is_ours(entry));
        let queues = !there.queue_configurations().is_empty();
        Ok(functions
            || queues
            || !there.topic_configurations().is_empty()
            || there.event_bridge_configuration.is_some())
    }

    /// The document can only be replaced as a whole, so entries of others are read and written back.
    async fn write(&self, aws: &Aws, want: &Settings, unchecked: bool) -> Result<(), Fault> {
        let document = merged(self.document(aws).await?, want);
        self.put(aws, document, unchecked).await
    }

    async fn put(&self, aws: &Aws, document: NotificationConfiguration, unchecked: bool) -> Result<(), Fault> {
        let call = aws.s3.put_bucket_notification_configuration().bucket(&self.bucket);
        let call = call.set_expected_bucket_owner(self.owner()).notification_configuration(document);
        call.set_skip_destination_validation(unchecked.then_some(true)).send().await?;
        Ok(())
    }
}

/// All entries of others, and ours as wanted.
fn merged(there: Document, want: &Settings) -> NotificationConfiguration {
    let foreign = there.lambda_function_configurations.unwrap_or_default().into_iter();
    let ours = want.uploads.iter().map(|(id, upload)| entry(id, upload));
    let functions: Vec<_> = foreign.filter(|entry| !is_ours(entry)).chain(ours).collect();
    NotificationConfiguration::builder()
        .set_lambda_function_configurations(Some(functions))
        .set_queue_configurations(there.queue_configurations)
        .set_topic_configurations(there.topic_configurations)
        .set_event_bridge_configuration(there.event_bridge_configuration)
        .build()
}

fn is_ours(entry: &LambdaFunctionConfiguration) -> bool {
    entry.id().is_some_and(|id| id.starts_with(OURS))
}

/// An entry of ours.
fn upload(entry: &LambdaFunctionConfiguration) -> (String, Upload) {
    let rules = entry.filter().and_then(|filter| filter.key()).map(|key| key.filter_rules()).unwrap_or_default();
    // S3 may return the filter names capitalised (docs/aws.md §4.6).
    let rule = |name: &FilterRuleName| {
        let mut named =
            rules.iter().filter(|rule| rule.name().is_some_and(|it| it.as_str().eq_ignore_ascii_case(name.as_str())));
        named.find_map(|rule| rule.value()).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let upload = Upload {
        function: entry.lambda_function_arn().into(),
        events: entry.events().iter().map(Event::to_string).collect(),
        prefix: rule(&FilterRuleName::Prefix),
        suffix: rule(&FilterRuleName::Suffix),
    };
    (entry.id().unwrap_or_default().into(), upload)
}

fn entry(id: &str, upload: &Upload) -> LambdaFunctionConfiguration {
    let rules: Vec<FilterRule> = [(FilterRuleName::Prefix, &upload.prefix), (FilterRuleName::Suffix, &upload.suffix)]
        .into_iter()
        .filter(|(_, value)| !is_none_or_empty(value))
        .map(|(name, value)| FilterRule::builder().name(name).set_value(value.clone()).build())
        .collect();
    let filter = (!rules.is_empty()).then(|| {
        let key = S3KeyFilter::builder().set_filter_rules(Some(rules)).build();
        NotificationConfigurationFilter::builder().key(key).build()
    });
    LambdaFunctionConfiguration::builder()
        .id(id)
        .lambda_function_arn(&upload.function)
        .set_events(Some(upload.events.iter().map(|event| Event::from(event.as_str())).collect()))
        .set_filter(filter)
        .build()
        .expect("function and events are given")
}

fn is_none_or_empty(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{EventBridgeConfiguration, QueueConfiguration};

    fn labeler(prefix: &str) -> Upload {
        Upload { prefix: Some(prefix.into()), ..Upload::created("arn:labeler".into()) }
    }

    #[test]
    fn foreign_notifications_are_kept() {
        let queue = QueueConfiguration::builder().id("q").queue_arn("arn:q").events(Event::S3ObjectRemoved);
        let there = Document::builder()
            .queue_configurations(queue.build().unwrap())
            .event_bridge_configuration(EventBridgeConfiguration::builder().build())
            .lambda_function_configurations(entry("theirs", &labeler("a/")))
            .lambda_function_configurations(entry("deployer-old", &labeler("b/")))
            .build();
        let want = Settings { uploads: [("deployer-upload".to_owned(), labeler("c/"))].into() };
        let written = merged(there, &want);
        let ids: Vec<_> = written.lambda_function_configurations().iter().filter_map(|it| it.id()).collect();
        assert_eq!(ids, ["theirs", "deployer-upload"]);
        assert_eq!(written.queue_configurations().len(), 1);
        assert!(written.event_bridge_configuration().is_some());
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_even_with_capital_names() {
        let written = entry("deployer-upload", &labeler("in/"));
        assert_eq!(upload(&written), ("deployer-upload".into(), labeler("in/")));
        let rule = FilterRule::builder().name(FilterRuleName::from("Prefix")).value("in/").build();
        let key = S3KeyFilter::builder().filter_rules(rule).build();
        let mut capital = written;
        capital.filter = Some(NotificationConfigurationFilter::builder().key(key).build());
        assert_eq!(upload(&capital), ("deployer-upload".into(), labeler("in/")));
    }

    #[test]
    fn an_empty_filter_is_no_filter() {
        let written = entry("deployer-upload", &Upload { suffix: Some(String::new()), ..labeler("") });
        assert!(written.filter().is_none());
    }

    #[test]
    fn an_entry_that_reacts_to_something_else_is_a_difference() {
        let mut changed = entry("deployer-upload", &labeler(""));
        changed.events = vec![Event::S3ObjectRemoved];
        let Upload { function, events, .. } = upload(&changed).1;
        assert_eq!((function.as_str(), events), ("arn:labeler", ["s3:ObjectRemoved:*".to_owned()].into()));
    }
}
