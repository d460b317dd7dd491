//! Puts, gets and deletes bucket policies.

use super::request::S3Request;
use super::store::{Change, State};
use super::xml::{self, element};
use super::{S3, bucket_arn};
use identity::permissions::{ResourcePolicy, bucket_policy, is_public};
use kit::answer::{Refusal, Response, empty};

/// The name of the setting.
pub(super) const POLICY: &str = "policy";

/// The policies of all buckets, without those that an earlier server accepted and this one does not.
pub(super) fn of(state: &State) -> Vec<(String, ResourcePolicy)> {
    let written =
        state.buckets.iter().filter_map(|(name, bucket)| Some((name, bucket.settings.documents.get(POLICY)?)));
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
    /// `PutBucketPolicy`: the policy applies from the next call on.
    pub(super) fn put_policy(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        let malformed = |text: String| Refusal::new(400, "MalformedPolicy", text);
        let text = String::from_utf8_lossy(&request.http.body).into_owned();
        let policy = bucket_policy::parse(&text, &request.bucket).map_err(malformed)?;
        if policy.named().any(|arn| !self.iam.knows(arn)) {
            return Err(malformed("Invalid principal in policy".to_owned()));
        }
        let is_public = is_public(&policy);
        self.store.change(|state, _| {
            let mut settings = state.bucket(&request.bucket)?.settings.clone();
            if is_public && settings.blocks("BlockPublicPolicy") {
                let (arn, bucket) = (request.caller.arn(), bucket_arn(&request.bucket));
                let text = format!(
                    "User: {arn} is not authorized to perform: s3:PutBucketPolicy on resource: \"{bucket}\" because public policies are blocked by the BlockPublicPolicy block public access setting."
                );
                return Err(Refusal::new(403, "AccessDenied", text));
            }
            settings.documents.insert(POLICY.to_owned(), text);
            Ok((vec![Change::Settings { bucket: request.bucket.clone(), settings }], ()))
        })?;
        self.iam.resource_policies(&self.region).buckets.set(&request.bucket, Some(policy));
        Ok(empty(204))
    }

    pub(super) fn get_policy(&self, request: &S3Request) -> Result<Response, Refusal> {
        let mut answer = empty(200);
        *answer.body_mut() = self.policy(request)?.into();
        super::metadata::set(answer.headers_mut(), "content-type", "application/json");
        Ok(answer)
    }

    pub(super) fn get_policy_status(&self, request: &S3Request) -> Result<Response, Refusal> {
        let policy = bucket_policy::parse(&self.policy(request)?, &request.bucket);
        let is_public = policy.is_ok_and(|policy| is_public(&policy));
        Ok(xml::document("PolicyStatus", &element("IsPublic", if is_public { "true" } else { "false" })))
    }

    fn policy(&self, request: &S3Request) -> Result<String, Refusal> {
        let absent = || Refusal::new(404, "NoSuchBucketPolicy", "The bucket policy does not exist");
        self.store
            .read(|state| state.bucket(&request.bucket)?.settings.documents.get(POLICY).cloned().ok_or_else(absent))
    }

    /// `DeleteBucketPolicy`.
    pub(super) fn delete_policy(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.settle(request, |settings| {
            settings.documents.remove(POLICY);
            Ok(())
        })?;
        self.iam.resource_policies(&self.region).buckets.set(&request.bucket, None);
        Ok(empty(204))
    }
}
