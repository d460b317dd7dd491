//! Our lifecycle rules of a bucket: when S3 deletes what nothing needs any more.
//!
//! Only the rules with our ids are ours. All others are kept as they are.

use aws_sdk_s3::{
    operation::get_bucket_lifecycle_configuration::GetBucketLifecycleConfigurationOutput,
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
        LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, builders::LifecycleRuleBuilder,
    },
};

use super::{Bucket, Settings};
use crate::{
    cloud::aws::{Aws, found, gone},
    engine::Fault,
    page::user_data::REPORTS,
};

/// The prefix of the access logs of load balancers.
pub const ACCESS_LOGS: &str = "access-logs/";

/// The lifecycle rules of a bucket as S3 returns them; `None` if there are none.
pub(super) type Lifecycle = Option<GetBucketLifecycleConfigurationOutput>;

/// The days of our rules, each of which may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Days {
    /// Until an unfinished upload is aborted.
    pub unfinished_uploads: Option<i32>,
    /// Until a report of an instance is deleted.
    pub boot_reports: Option<i32>,
    /// Until an object is deleted.
    pub objects: Option<i32>,
    /// Until an older version is deleted.
    pub older_versions: Option<i32>,
    /// Until an access log of a load balancer is deleted.
    pub access_logs: Option<i32>,
}

/// A rule of ours: what it is called, where it applies, and how it keeps its days.
struct Ours {
    id: &'static str,
    prefix: &'static str,
    days: fn(&mut Days) -> &mut Option<i32>,
    write: fn(LifecycleRuleBuilder, i32) -> LifecycleRuleBuilder,
    read: fn(&LifecycleRule) -> Option<i32>,
}

/// Our rules.
const OURS: &[Ours] = &[
    Ours {
        id: "deployer-unfinished-uploads",
        prefix: "",
        days: |days| &mut days.unfinished_uploads,
        write: |rule, days| {
            let unfinished = AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build();
            rule.abort_incomplete_multipart_upload(unfinished)
        },
        read: |rule| rule.abort_incomplete_multipart_upload()?.days_after_initiation(),
    },
    Ours {
        id: "deployer-boot-reports",
        prefix: REPORTS,
        days: |days| &mut days.boot_reports,
        write: expire,
        read: expires,
    },
    Ours {
        id: "deployer-access-logs",
        prefix: ACCESS_LOGS,
        days: |days| &mut days.access_logs,
        write: expire,
        read: expires,
    },
    Ours { id: "deployer-objects", prefix: "", days: |days| &mut days.objects, write: expire, read: expires },
    Ours {
        id: "deployer-older-versions",
        prefix: "",
        days: |days| &mut days.older_versions,
        // A delete marker is deleted, too, once no version is below it.
        write: |rule, days| {
            let older = NoncurrentVersionExpiration::builder().noncurrent_days(days).build();
            let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
            rule.noncurrent_version_expiration(older).expiration(markers)
        },
        read: |rule| {
            rule.expiration()?.expired_object_delete_marker().filter(|drops| *drops)?;
            let older = rule.noncurrent_version_expiration()?;
            older.noncurrent_days().filter(|_| older.newer_noncurrent_versions().is_none())
        },
    },
];

fn expire(rule: LifecycleRuleBuilder, days: i32) -> LifecycleRuleBuilder {
    rule.expiration(LifecycleExpiration::builder().days(days).build())
}

fn expires(rule: &LifecycleRule) -> Option<i32> {
    rule.expiration()?.days()
}

/// Returns the days of those of our rules that are in force.
pub(super) fn days(there: &Lifecycle) -> Days {
    let mut days = Days::default();
    for ours in OURS {
        let mut rules = there.iter().flat_map(|it| it.rules());
        *(ours.days)(&mut days) = rules.find_map(|rule| ours.days_of(rule));
    }
    days
}

impl Ours {
    /// Returns the days of a rule if it is this one, unchanged in every part.
    fn days_of(&self, rule: &LifecycleRule) -> Option<i32> {
        let days = (self.read)(rule)?;
        (usual(rule) == self.rule(days)).then_some(days)
    }

    fn rule(&self, days: i32) -> LifecycleRule {
        let filter = LifecycleRuleFilter::builder().prefix(self.prefix).build();
        let rule = LifecycleRule::builder().id(self.id).status(ExpirationStatus::Enabled).filter(filter);
        (self.write)(rule, days).build().expect("the status is given")
    }
}

/// Returns a rule as we write it, if it has the same meaning: its prefix in a filter, which an empty one may lack, and
/// nothing that has no effect.
fn usual(rule: &LifecycleRule) -> LifecycleRule {
    let mut rule = rule.clone();
    #[expect(deprecated, reason = "rules of others may use the deprecated prefix")]
    let outside = rule.prefix.take();
    let mut filter = rule.filter.take().unwrap_or_else(|| LifecycleRuleFilter::builder().build());
    let is_of_all = filter == LifecycleRuleFilter::builder().build();
    filter.prefix = filter.prefix.or(outside).or(is_of_all.then(String::new));
    rule.filter = Some(filter);
    if let Some(expiration) = &mut rule.expiration {
        expiration.expired_object_delete_marker = expiration.expired_object_delete_marker.filter(|drops| *drops);
    }
    rule
}

/// Returns the rules of others, followed by ours.
fn merged(there: Vec<LifecycleRule>, mut days: Days) -> Vec<LifecycleRule> {
    let others = there.into_iter().filter(|rule| !OURS.iter().any(|ours| rule.id() == Some(ours.id)));
    let mut rules: Vec<LifecycleRule> = others.collect();
    rules.extend(OURS.iter().filter_map(|ours| Some(ours.rule((*(ours.days)(&mut days))?))));
    rules
}

impl Settings {
    /// Our rules.
    pub fn rules(&self) -> Vec<LifecycleRule> {
        merged(Vec::new(), self.days())
    }
}

impl Bucket {
    /// Whether it has rules of others.
    pub async fn has_rules_of_others(&self, aws: &Aws) -> Result<bool, Fault> {
        let rules = self.lifecycle(aws).await?.and_then(|it| it.rules).unwrap_or_default();
        Ok(rules.iter().any(|rule| !OURS.iter().any(|ours| rule.id() == Some(ours.id))))
    }

    pub(super) async fn lifecycle(&self, aws: &Aws) -> Result<Lifecycle, Fault> {
        let call = aws.s3.get_bucket_lifecycle_configuration().bucket(&self.name);
        found(call.set_expected_bucket_owner(self.owner()).send().await)
    }

    /// A lifecycle can only be replaced as a whole (docs/aws.md §4.3), so rules of others are written back.
    pub(super) async fn put_rules(&self, aws: &Aws, want: Days, there: Lifecycle) -> Result<(), Fault> {
        let sizes = there.as_ref().and_then(|there| there.transition_default_minimum_object_size.clone());
        let rules = merged(there.and_then(|there| there.rules).unwrap_or_default(), want);
        if rules.is_empty() {
            let call = aws.s3.delete_bucket_lifecycle().bucket(&self.name).set_expected_bucket_owner(self.owner());
            return gone(call.send().await);
        }
        let lifecycle = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
        let call = aws.s3.put_bucket_lifecycle_configuration().bucket(&self.name);
        let call = call.set_expected_bucket_owner(self.owner());
        let call = call.set_transition_default_minimum_object_size(sizes.map(|sizes| sizes.as_str().into()));
        call.lifecycle_configuration(lifecycle.expect("the rules are given")).send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleAndOperator, Tag, Transition, TransitionStorageClass};

    use super::*;

    const ALL: Days = Days {
        unfinished_uploads: Some(1),
        boot_reports: Some(14),
        objects: Some(30),
        older_versions: Some(7),
        access_logs: Some(90),
    };

    fn there(rules: Vec<LifecycleRule>) -> Lifecycle {
        Some(GetBucketLifecycleConfigurationOutput::builder().set_rules(Some(rules)).build())
    }

    #[test]
    fn each_rule_is_read_as_it_was_written() {
        let rules = merged(Vec::new(), ALL);
        assert_eq!(rules.len(), OURS.len());
        assert_eq!(days(&there(rules)), ALL);
        for alone in OURS {
            let mut wanted = Days::default();
            *(alone.days)(&mut wanted) = Some(5);
            assert_eq!(days(&there(merged(Vec::new(), wanted))), wanted);
        }
        assert_eq!(days(&None), Days::default());
    }

    #[test]
    fn rules_of_others_are_kept() {
        let theirs = expire(LifecycleRule::builder().id("theirs").status(ExpirationStatus::Enabled), 3);
        let theirs = theirs.build().expect("a status is given");
        let both = merged(vec![theirs.clone()], ALL);
        assert_eq!(both[0], theirs);
        assert_eq!(merged(both, Days::default()), std::slice::from_ref(&theirs));
        assert_eq!(days(&there(vec![theirs])), Days::default(), "only ours count");
    }

    #[test]
    fn a_rule_that_was_changed_by_hand_does_not_count() {
        let changed = |change: fn(&mut LifecycleRule)| {
            let mut rules = merged(Vec::new(), ALL);
            rules.iter_mut().for_each(change);
            days(&there(rules))
        };
        assert_eq!(changed(|rule| rule.status = ExpirationStatus::Disabled), Days::default());
        let elsewhere = changed(|rule| rule.filter = Some(LifecycleRuleFilter::builder().prefix("x/").build()));
        assert_eq!(elsewhere, Days::default());
        let mut filters = Vec::new();
        let by_prefix = |prefix: &str| LifecycleRuleFilter::builder().prefix(prefix);
        let tag = Tag::builder().key("keep").value("no").build().expect("a tag");
        for ours in OURS {
            let and = LifecycleRuleAndOperator::builder().prefix(ours.prefix);
            filters.extend([
                (ours, by_prefix(ours.prefix).tag(tag.clone())),
                (ours, by_prefix(ours.prefix).object_size_greater_than(1)),
                (ours, by_prefix(ours.prefix).object_size_less_than(1 << 20)),
                (ours, LifecycleRuleFilter::builder().and(and.object_size_greater_than(1).build())),
            ]);
        }
        for (ours, filter) in filters {
            let mut rule = ours.rule(5);
            rule.filter = Some(filter.build());
            assert_eq!(ours.days_of(&rule), None, "{rule:?}");
        }
        let moving = changed(|rule| {
            let transition = Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build();
            rule.transitions = Some(vec![transition]);
        });
        assert_eq!(moving, Days::default());
        let alike = changed(|rule| {
            let prefix = rule.filter.as_ref().and_then(|filter| filter.prefix.clone()).unwrap_or_default();
            rule.filter = (!prefix.is_empty()).then(|| LifecycleRuleFilter::builder().prefix(prefix).build());
        });
        assert_eq!(alike, ALL, "an empty prefix may be left out");
        let keeping = changed(|rule| {
            let older = NoncurrentVersionExpiration::builder().noncurrent_days(7).newer_noncurrent_versions(2).build();
            rule.noncurrent_version_expiration = rule.noncurrent_version_expiration.as_ref().map(|_| older);
        });
        assert_eq!(keeping, Days { older_versions: None, ..ALL });
    }
}
