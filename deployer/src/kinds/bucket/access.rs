//! Access to a bucket: its ownership, its block of public access and its policy.

use aws_sdk_s3::types::{ObjectOwnership, OwnershipControls, OwnershipControlsRule, PublicAccessBlockConfiguration};
use serde_json::Value;

use super::policy::{Ours, PolicyBucket};
use super::{Bucket, LOCAL_ACCOUNT, Settings, policy};
use crate::{
    cloud::aws::{Aws, found, gone},
    engine::Fault,
};

impl Bucket {
    pub(super) async fn public_access_blocked(&self, aws: &Aws) -> Result<bool, Fault> {
        let call = aws.s3.get_public_access_block().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let answer = found(call.send().await)?;
        let block = answer.as_ref().and_then(|answer| answer.public_access_block_configuration());
        Ok(block.is_some_and(|block| {
            let ways = [
                block.block_public_acls(),
                block.ignore_public_acls(),
                block.block_public_policy(),
                block.restrict_public_buckets(),
            ];
            ways.iter().all(|way| *way == Some(true))
        }))
    }

    /// No configuration means the behaviour before object ownership existed: the uploader owns the object.
    pub(super) async fn ownership(&self, aws: &Aws) -> Result<String, Fault> {
        let call = aws.s3.get_bucket_ownership_controls().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let answer = found(call.send().await)?;
        let rule = answer
            .as_ref()
            .and_then(|answer| answer.ownership_controls())
            .and_then(|controls| controls.rules().first());
        Ok(rule.map_or(&ObjectOwnership::ObjectWriter, |rule| rule.object_ownership()).to_string())
    }

    pub(super) async fn our_policy(&self, aws: &Aws) -> Result<Ours, Fault> {
        let ours = self.policy(aws).await?.map(|there| policy::read(&there, self.policy_bucket(&self.arn(aws))));
        let ours = ours.unwrap_or_default();
        Ok(Ours { plain_http_denied: ours.plain_http_denied || self.is_plain_http_all_there_is(aws), ..ours })
    }

    pub(super) fn wanted_policy(&self, aws: &Aws, want: &Settings) -> Ours {
        let plain_http_denied = want.plain_http_denied && !self.is_plain_http_all_there_is(aws);
        Ours { plain_http_denied, access_logs: want.access_logs.clone() }
    }

    fn policy_bucket<'a>(&'a self, bucket_arn: &'a str) -> PolicyBucket<'a> {
        PolicyBucket { bucket_arn, account: &self.account }
    }

    /// Whether the cloud is an emulator reached over plain HTTP: there the policy would deny our own requests, so it is
    /// left out. The local AWS acts as AWS's HTTPS endpoints.
    fn is_plain_http_all_there_is(&self, aws: &Aws) -> bool {
        self.account != LOCAL_ACCOUNT && aws.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    /// Returns its policy; `None` if there is none.
    pub async fn policy(&self, aws: &Aws) -> Result<Option<Value>, Fault> {
        let call = aws.s3.get_bucket_policy().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let answer = found(call.send().await)?;
        // One that counted as absent would be replaced, with the statements of others.
        let unreadable = |error: serde_json::Error| Fault::new("GetBucketPolicy", "Unreadable", error.to_string());
        let policy = answer.and_then(|answer| answer.policy);
        policy.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()
    }

    /// A policy can only be replaced as a whole (docs/aws.md §4.3), so statements of others are written back.
    pub(super) async fn put_policy(&self, aws: &Aws, want: &Ours, there: Option<Value>) -> Result<(), Fault> {
        match policy::with_ours(there, self.policy_bucket(&self.arn(aws)), want) {
            Some(policy) => {
                let call = aws.s3.put_bucket_policy().bucket(&self.name).set_expected_bucket_owner(self.owner());
                call.policy(policy.to_string()).send().await?;
                Ok(())
            }
            None => {
                let call = aws.s3.delete_bucket_policy().bucket(&self.name).set_expected_bucket_owner(self.owner());
                gone(call.send().await)
            }
        }
    }

    pub(super) async fn block_public_access(&self, aws: &Aws, blocked: bool) -> Result<(), Fault> {
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(blocked)
            .ignore_public_acls(blocked)
            .block_public_policy(blocked)
            .restrict_public_buckets(blocked)
            .build();
        let call = aws.s3.put_public_access_block().bucket(&self.name).set_expected_bucket_owner(self.owner());
        call.public_access_block_configuration(block).send().await?;
        Ok(())
    }

    pub(super) async fn put_ownership(&self, aws: &Aws, ownership: &str) -> Result<(), Fault> {
        let rule = OwnershipControlsRule::builder()
            .object_ownership(ObjectOwnership::from(ownership))
            .build()
            .expect("the ownership is given");
        let controls = OwnershipControls::builder().rules(rule).build().expect("a rule is given");
        let call = aws.s3.put_bucket_ownership_controls().bucket(&self.name).set_expected_bucket_owner(self.owner());
        call.ownership_controls(controls).send().await?;
        Ok(())
    }
}
