//! The policies of buckets, as they are put and taken away.

use winterbaume_s3::S3StateView;

use super::{S3, bucket_arn};
use crate::answer::{Refusal, Response};
use crate::call::Request;
use crate::permissions::{Caller, ResourcePolicy, bucket_policy};

/// The policies of all buckets. One that an earlier server took and this one does not is nobody's.
pub(super) fn of(view: &S3StateView) -> Vec<(String, ResourcePolicy)> {
    let written = view.buckets.values().filter_map(|bucket| Some((&bucket.name, bucket.policy.as_ref()?)));
    let read = written.filter_map(|(bucket, text)| match bucket_policy::parse(text, bucket) {
        Ok(policy) => Some((bucket.clone(), policy)),
        Err(why) => {
            tracing::warn!(bucket, "a bucket policy is not in force: {why}");
            None
        }
    });
    read.collect()
}

impl S3 {
    /// `PutBucketPolicy`: from the next call on the policy is in force.
    pub(super) async fn put_policy(
        &self,
        bucket: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Response, Refusal> {
        let malformed = |text: String| Refusal::new(400, "MalformedPolicy", text);
        let policy = bucket_policy::parse(&String::from_utf8_lossy(&request.body), bucket).map_err(malformed)?;
        if policy.named().any(|arn| !self.iam.knows(arn)) {
            return Err(malformed("Invalid principal in policy".to_owned()));
        }
        if bucket_policy::is_public(&policy) && self.blocks_public_policies(bucket).await {
            let (arn, bucket) = (caller.arn(), bucket_arn(bucket));
            let text = format!(
                "User: {arn} is not authorized to perform: s3:PutBucketPolicy on resource: \"{bucket}\" because public policies are blocked by the BlockPublicPolicy block public access setting."
            );
            return Err(Refusal::new(403, "AccessDenied", text));
        }
        let answer = self.pass(bucket, None, request).await;
        if answer.status().is_success() {
            self.iam.resource_policies(&self.region).buckets.set(bucket, Some(policy));
        }
        Ok(answer)
    }

    /// `DeleteBucketPolicy`.
    pub(super) async fn delete_policy(&self, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        let answer = self.pass(bucket, None, request).await;
        if answer.status().is_success() {
            self.iam.resource_policies(&self.region).buckets.set(bucket, None);
        }
        Ok(answer)
    }

    /// As every new bucket does (aws-facts §4.1).
    async fn blocks_public_policies(&self, bucket: &str) -> bool {
        let view = self.view().await;
        let block = view.buckets.get(bucket).and_then(|content| content.public_access_block.as_ref());
        block.is_some_and(|block| block.block_public_policy)
    }
}
