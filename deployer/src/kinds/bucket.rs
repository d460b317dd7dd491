//! S3 buckets: private, encrypted, owned by one account.

mod access;
mod cors;
mod emptying;
mod encryption;
mod lifecycle;
mod policy;

use std::collections::BTreeSet;

use aws_sdk_s3::{
    error::SdkError,
    types::{
        BucketLocationConstraint, BucketNamespace, BucketVersioningStatus, CreateBucketConfiguration, ObjectOwnership,
        ServerSideEncryption, Tag, Tagging, VersioningConfiguration,
    },
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde::Serialize;

use super::tags;
use crate::{
    cloud::{
        aws::{Aws, found, gone, items},
        partition,
    },
    config::ACCOUNT_REGIONAL,
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

pub use cors::CorsRule;
pub use lifecycle::ACCESS_LOGS;
use lifecycle::Days;
use policy::Ours;

/// A bucket, identified by its name.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name, globally unique.
    pub name: String,
    /// The account that must own it, so that another account's bucket of this name is never mistaken for ours. Empty
    /// when the name is from a listing of the account's own buckets.
    pub account: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Whether all four kinds of public access are blocked.
    pub public_access_blocked: bool,
    /// The default encryption: `AES256`, or `aws:kms` with a key.
    pub encryption: String,
    /// The KMS key of the default encryption, by ARN or alias.
    pub key: Option<String>,
    /// Whether S3 derives keys for objects from one of the bucket, rather than calling KMS for each object.
    pub bucket_key: bool,
    /// The object ownership: `BucketOwnerEnforced`.
    pub ownership: String,
    /// The CORS rules. Order matters: the first match wins.
    pub cors: Vec<CorsRule>,
    /// Days after which S3 aborts an incomplete multipart upload; its parts cost as much as objects and appear in no
    /// listing.
    pub unfinished_uploads_end_days: Option<i32>,
    /// Days after which S3 deletes the reports of instances.
    pub boot_reports_end_days: Option<i32>,
    /// Days after which S3 deletes an object.
    pub objects_end_days: Option<i32>,
    /// Days after which S3 deletes a version that is no longer the current one.
    pub older_versions_end_days: Option<i32>,
    /// Whether overwritten and deleted objects are kept as older versions. Suspended versioning counts as none: S3 does
    /// not return to a bucket that was never versioned (docs/aws.md §4.3).
    pub versioned: bool,
    /// Days after which S3 deletes access logs of load balancers.
    pub access_logs_end_days: Option<i32>,
    /// The prefixes below which load balancers of the account may write access logs.
    pub access_logs: BTreeSet<String>,
    /// Whether the bucket's policy denies requests over plain HTTP.
    pub plain_http_denied: bool,
    /// Whether we refuse to delete it. S3 has no such setting, so it is stored as a tag.
    pub protected: bool,
}

/// The tag that marks a bucket as protected against deletion.
const PROTECTED_TAG: &str = "deployer:protected";

/// The account of the local AWS. AWS has no such account.
pub const LOCAL_ACCOUNT: &str = "000000000000";

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The region it is in.
    pub region: String,
}

impl Settings {
    /// A private bucket that these web pages may use through presigned URLs.
    pub fn private(cors: Vec<CorsRule>) -> Settings {
        Settings {
            public_access_blocked: true,
            encryption: ServerSideEncryption::Aes256.to_string(),
            key: None,
            bucket_key: false,
            ownership: ObjectOwnership::BucketOwnerEnforced.to_string(),
            cors: cors.into_iter().map(CorsRule::sorted).collect(),
            unfinished_uploads_end_days: Some(1),
            boot_reports_end_days: None,
            objects_end_days: None,
            older_versions_end_days: None,
            versioned: false,
            access_logs_end_days: None,
            access_logs: BTreeSet::new(),
            plain_http_denied: true,
            protected: false,
        }
    }

    fn days(&self) -> Days {
        Days {
            unfinished_uploads: self.unfinished_uploads_end_days,
            boot_reports: self.boot_reports_end_days,
            objects: self.objects_end_days,
            older_versions: self.older_versions_end_days,
            access_logs: self.access_logs_end_days,
        }
    }
}

impl Resource for Bucket {
    const KIND: &'static str = "bucket";
    const SOURCES: &'static [(&'static str, &'static str)] = &[
        ("cors", "cors"),
        ("protected", "protect"),
        ("versioned", "versioning"),
        ("objects_end_days", "lifecycle.expire_days"),
        ("older_versions_end_days", "lifecycle.noncurrent_days"),
        ("encryption", "key"),
        ("key", "key"),
        ("bucket_key", "key"),
    ];
    const HOLDS_DATA: bool = true;
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    /// Reads the tags, because `HeadBucket` cannot distinguish another account's bucket from ours (docs/aws.md §2.4).
    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Some(tags) = self.tags(aws).await? else { return Ok(Observed::Absent) };
        let (public_access_blocked, encryption, ownership, cors, lifecycle, versioned, policy) = futures::try_join!(
            self.public_access_blocked(aws),
            self.encryption(aws),
            self.ownership(aws),
            self.cors(aws),
            self.lifecycle(aws),
            self.versioned(aws),
            self.our_policy(aws),
        )?;
        let days = lifecycle::days(&lifecycle);
        let settings = Settings {
            public_access_blocked,
            encryption: encryption.algorithm,
            key: encryption.key,
            bucket_key: encryption.bucket_key,
            ownership,
            cors,
            unfinished_uploads_end_days: days.unfinished_uploads,
            boot_reports_end_days: days.boot_reports,
            objects_end_days: days.objects,
            older_versions_end_days: days.older_versions,
            versioned,
            access_logs_end_days: days.access_logs,
            access_logs: policy.access_logs,
            plain_http_denied: policy.plain_http_denied,
            protected: tags.contains_key(PROTECTED_TAG),
        };
        Ok(Observed::Present(Live { settings, output: self.output(aws), owner: Owner::Tags(tags) }))
    }

    /// Sets ownership and tags at creation; encryption without a key is the default (docs/aws.md §4.1).
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let tags = &with_protection(tags.clone(), want.protected);
        let configuration = CreateBucketConfiguration::builder()
            // us-east-1 rejects a location constraint; every other region requires one (docs/aws.md §4.1).
            .set_location_constraint(
                (aws.region != "us-east-1").then(|| BucketLocationConstraint::from(aws.region.as_str())),
            )
            .set_tags(Some(tag_list(tags)))
            .build();
        aws.s3
            .create_bucket()
            .bucket(&self.name)
            .create_bucket_configuration(configuration)
            .object_ownership(ObjectOwnership::from(want.ownership.as_str()))
            .set_bucket_namespace(is_account_regional(&self.name).then_some(BucketNamespace::AccountRegional))
            .send()
            .await?;
        // A new bucket may not be visible everywhere yet: then the next round completes it (docs/aws.md §2.3).
        let completed = async {
            // Some implementations of S3 ignore tags at creation.
            if aws.endpoint.is_some() {
                self.put_tags(aws, tags).await?;
            }
            self.block_public_access(aws, want.public_access_blocked).await?;
            if want.key.is_some() {
                self.put_encryption(aws, &want.encryption()).await?;
            }
            if want.versioned {
                self.put_versioning(aws, true).await?;
            }
            self.put_rules(aws, want.days(), None).await?;
            let policy = self.wanted_policy(aws, want);
            if policy != Ours::default() {
                self.put_policy(aws, &policy, None).await?;
            }
            if want.cors.is_empty() { Ok(()) } else { self.put_cors(aws, &want.cors).await }
        };
        let settings = want.clone();
        let live = Live { settings, output: self.output(aws), owner: Owner::Tags(tags.clone()) };
        Ok(found(completed.await)?.map(|()| live))
    }

    /// Sequential, because parallel writes answer `OperationAborted` (docs/aws.md §4.3).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Settings {
            public_access_blocked,
            encryption: _,
            key: _,
            bucket_key: _,
            ownership,
            cors,
            unfinished_uploads_end_days: _,
            boot_reports_end_days: _,
            objects_end_days: _,
            older_versions_end_days: _,
            versioned,
            access_logs_end_days: _,
            access_logs,
            plain_http_denied,
            protected,
        } = &live.settings;
        if want.public_access_blocked != *public_access_blocked {
            self.block_public_access(aws, want.public_access_blocked).await?;
        }
        if want.encryption() != live.settings.encryption() {
            self.put_encryption(aws, &want.encryption()).await?;
        }
        if want.ownership != *ownership {
            self.put_ownership(aws, &want.ownership).await?;
        }
        if want.cors != *cors {
            self.put_cors(aws, &want.cors).await?;
        }
        // Versions are kept before a rule deletes objects, and no longer kept after a rule has stopped.
        if want.versioned && !versioned {
            self.put_versioning(aws, true).await?;
        }
        if want.days() != live.settings.days() {
            let there = self.lifecycle(aws).await?;
            self.put_rules(aws, want.days(), there).await?;
        }
        if *versioned && !want.versioned {
            self.put_versioning(aws, false).await?;
        }
        if (want.plain_http_denied, &want.access_logs) != (*plain_http_denied, access_logs) {
            let there = self.policy(aws).await?;
            self.put_policy(aws, &self.wanted_policy(aws, want), there).await?;
        }
        if want.protected != *protected {
            let tags = self.tags(aws).await?.unwrap_or_default();
            self.put_tags(aws, &with_protection(tags, want.protected)).await?;
        }
        Ok(())
    }

    /// A bucket's tags can only be replaced as a whole (docs/aws.md §2.5), so tags of others are written back.
    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let mut all = self.tags(aws).await?.unwrap_or_default();
        all.extend(tags.clone());
        self.put_tags(aws, &all).await
    }

    fn is_protected(live: &Settings) -> bool {
        live.protected
    }

    /// Removes the notification first: emptying must not invoke functions (docs/aws.md §4.5).
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        if live.settings.protected {
            let message = "the bucket is protected against deletion: set `protect: false` for it and run `up`";
            return Err(Fault::new("DeleteBucket", "Protected", message));
        }
        gone(self.empty(aws).await)?;
        let call = aws.s3.delete_bucket().bucket(&self.name).set_expected_bucket_owner(self.owner());
        gone(call.send().await)
    }

    /// Reads the tags of buckets whose names have our form: `…-ACCOUNT-REGION`, or `…-ACCOUNT-REGION-an`.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let call = aws.s3.list_buckets().bucket_region(&aws.region);
        let buckets = items(call.into_paginator().send()).await?.into_iter();
        let ours = buckets.filter(|it| it.name().is_some_and(|name| has_our_form(name, &aws.region)));
        let reads = ours.map(async |it| {
            let bucket = Bucket { name: it.name.clone().unwrap_or_default(), account: String::new() };
            let Some(tags) = bucket.tags(aws).await? else { return Ok(None) };
            let is_ours = tags.contains_key(STACK_TAG);
            let tagged = Tagged::new(bucket.name.clone(), tags, it.creation_date.map(|at| at.secs()));
            // Objects of others are not listed.
            Ok(Some(match is_ours {
                true => tagged.sized(bucket.size(aws).await.map(Option::unwrap_or_default)),
                false => tagged,
            }))
        });
        Ok(tags::bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let names = Bucket::names(aws, stack).await?;
        Bucket::of_stack(aws, stack, names.into_iter().filter(|name| !but.contains(name))).await
    }

    async fn loss(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        self.contents(aws).await
    }
}

impl Bucket {
    /// Whether it exists.
    pub async fn exists(&self, aws: &Aws) -> Result<bool, Fault> {
        Ok(self.tags(aws).await?.is_some())
    }

    /// When it was created, in seconds since 1970; `None` if it does not exist.
    pub async fn created_s(&self, aws: &Aws) -> Result<Option<i64>, Fault> {
        let call = aws.s3.list_buckets().prefix(&self.name).bucket_region(&aws.region);
        let buckets = items(call.into_paginator().send()).await?;
        let this = buckets.into_iter().find(|bucket| bucket.name() == Some(&self.name));
        Ok(this.and_then(|bucket| bucket.creation_date).map(|at| at.secs()))
    }

    /// Lists the buckets of this account and region whose names begin with the stack's prefix, whatever their tags.
    pub async fn names(aws: &Aws, stack: &str) -> Result<Vec<String>, Fault> {
        let prefix = format!("{stack}-");
        let call = aws.s3.list_buckets().prefix(&prefix).bucket_region(&aws.region);
        let buckets = items(call.into_paginator().send()).await?;
        let here =
            buckets.into_iter().filter(|bucket| bucket.bucket_region().is_none_or(|region| region == aws.region));
        Ok(here.filter_map(|bucket| bucket.name).filter(|name| name.starts_with(&prefix)).collect())
    }

    /// Returns those of these buckets whose tags name the stack.
    pub async fn of_stack(aws: &Aws, stack: &str, names: impl IntoIterator<Item = String>) -> Result<Vec<Self>, Fault> {
        let mut ours = Vec::new();
        for name in names {
            let bucket = Bucket { name, account: String::new() };
            let tags = bucket.tags(aws).await?.unwrap_or_default();
            if tags.get(STACK_TAG).is_some_and(|owner| owner == stack) {
                ours.push(bucket);
            }
        }
        Ok(ours)
    }

    fn owner(&self) -> Option<String> {
        (!self.account.is_empty()).then(|| self.account.clone())
    }

    fn arn(&self, aws: &Aws) -> String {
        format!("arn:{}:s3:::{}", partition::of(&aws.region), self.name)
    }

    fn output(&self, aws: &Aws) -> Output {
        Output { name: self.name.clone(), arn: self.arn(aws), region: aws.region.clone() }
    }

    /// Returns `None` if there is no such bucket.
    async fn tags(&self, aws: &Aws) -> Result<Option<Tags>, Fault> {
        let call = aws.s3.get_bucket_tagging().bucket(&self.name).set_expected_bucket_owner(self.owner());
        match call.send().await {
            Ok(answer) => {
                let tags = answer.tag_set().iter().map(|tag| (tag.key().into(), tag.value().into()));
                Ok(Some(tags.collect()))
            }
            Err(error) if matches!(error.code(), Some("NoSuchTagSet" | "NoSuchTagSetError")) => Ok(Some(Tags::new())),
            Err(error) => found(Err(self.explained(error))),
        }
    }

    async fn put_tags(&self, aws: &Aws, tags: &Tags) -> Result<(), Fault> {
        let tagging = Tagging::builder().set_tag_set(Some(tag_list(tags))).build().expect("the set of tags is given");
        let call = aws.s3.put_bucket_tagging().bucket(&self.name).set_expected_bucket_owner(self.owner());
        call.tagging(tagging).send().await?;
        Ok(())
    }

    /// A denied read never means "absent": another account may own the name (docs/aws.md §4.1).
    fn explained<E>(&self, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let fault = Fault::from(error);
        let why = match fault.code.as_str() {
            "AccessDenied" | "AllAccessDisabled" => {
                "the bucket belongs to another account, or these credentials may not read its tags"
            }
            "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "HTTP 301" => {
                "the bucket exists in another region"
            }
            _ => return fault,
        };
        Fault { message: format!("{why}: {}", fault.message), ..fault }
    }

    /// No status means that versions were never kept.
    async fn versioned(&self, aws: &Aws) -> Result<bool, Fault> {
        let call = aws.s3.get_bucket_versioning().bucket(&self.name).set_expected_bucket_owner(self.owner());
        match found(call.send().await) {
            // Some emulators answer like this, without a status.
            Err(fault) if fault.message.contains("GetBucketVersioningResponse") => Ok(false),
            answer => Ok(answer?.is_some_and(|answer| answer.status() == Some(&BucketVersioningStatus::Enabled))),
        }
    }

    async fn put_versioning(&self, aws: &Aws, on: bool) -> Result<(), Fault> {
        let status = if on { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
        let call = aws.s3.put_bucket_versioning().bucket(&self.name).set_expected_bucket_owner(self.owner());
        call.versioning_configuration(VersioningConfiguration::builder().status(status).build()).send().await?;
        Ok(())
    }
}

/// Whether the name of a bucket ends like that of each bucket of ours in this region.
fn has_our_form(name: &str, region: &str) -> bool {
    let name = name.strip_suffix(ACCOUNT_REGIONAL).unwrap_or(name);
    let before = name.strip_suffix(region).and_then(|name| name.strip_suffix('-'));
    let account = before.and_then(|name| name.rsplit_once('-')).map(|(_, account)| account);
    account.is_some_and(|account| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a name of ours is in the account's regional namespace: no region ends like that.
pub fn is_account_regional(name: &str) -> bool {
    name.ends_with(ACCOUNT_REGIONAL)
}

fn with_protection(mut tags: Tags, protected: bool) -> Tags {
    if protected {
        tags.insert(PROTECTED_TAG.into(), "true".into());
    } else {
        tags.remove(PROTECTED_TAG);
    }
    tags
}

fn tag_list(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build().expect("key and value are given");
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_ours_is_known_by_account_and_region() {
        let ours = [
            "app-images-012345678901-us-east-1",
            "a-b-artifacts-012345678901-us-east-1",
            "app-images-012345678901-us-east-1-an",
        ];
        assert!(ours.iter().all(|name| has_our_form(name, "us-east-1")));
        let others = ["app-images-012345678901-eu-west-1", "app-us-east-1", "012345678901-us-east-1", "us-east-1"];
        assert!(others.iter().all(|name| !has_our_form(name, "us-east-1")));
    }

    #[cfg(feature = "local")]
    #[test]
    fn the_account_of_the_local_aws_is_known() {
        assert_eq!(LOCAL_ACCOUNT, local::ACCOUNT);
    }
}
