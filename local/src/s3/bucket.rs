//! Buckets: making them as AWS does today, and what their settings answer.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::Deserialize;

use super::tags::{self, Tag, Tags};
use super::{NAMESPACE, S3, listing, notification, refusal_in};
use crate::answer::{Refusal, Response, empty, escape, xml};
use crate::call::Request;
use crate::permissions::Caller;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBucketConfiguration {
    location_constraint: Option<String>,
    tags: Tags,
}

impl S3 {
    /// Refuses what names no bucket, or one the caller expects to be somebody else's.
    pub(super) async fn check_bucket(&self, bucket: &str, request: &Request) -> Result<(), Refusal> {
        if request.header("x-amz-expected-bucket-owner").is_some_and(|owner| owner != crate::ACCOUNT) {
            return Err(Refusal::new(403, "AccessDenied", "Access Denied"));
        }
        if self.exists(bucket).await {
            return Ok(());
        }
        Err(Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist"))
    }

    pub(crate) async fn exists(&self, bucket: &str) -> bool {
        self.sub_call(Method::HEAD, bucket, None, "", Bytes::new()).await.status().is_success()
    }

    /// A new bucket blocks public access, has no ACLs and keeps the tags of the call (aws-facts §4.1).
    pub(super) async fn create_bucket(&self, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        let configuration = self.read_configuration(request)?;
        check_name(bucket)?;
        configuration.tags.check(tags::Of::Bucket)?;
        let existed = self.exists(bucket).await;
        if existed && self.region != "us-east-1" {
            let text = "Your previous request to create the named bucket succeeded and you already own it.";
            return Err(Refusal::new(409, "BucketAlreadyOwnedByYou", text));
        }
        if existed {
            self.put_tags(bucket, configuration.tags).await?;
        } else {
            self.freed.refuse(bucket)?;
            self.make_bucket(bucket, request, configuration.tags).await?;
        }
        let mut answer = empty(200);
        if let Ok(location) = HeaderValue::from_str(&format!("/{bucket}")) {
            answer.headers_mut().insert("location", location);
        }
        Ok(answer)
    }

    /// Makes a bucket with its settings and tags, or none.
    async fn make_bucket(&self, bucket: &str, request: &Request, tags: Tags) -> Result<(), Refusal> {
        let unwritten = |fault: std::io::Error| self.unwritten(&fault.to_string());
        self.unfinished.begin(bucket).map_err(unwritten)?;
        let made = async {
            succeeded(&self.sub_call(Method::PUT, bucket, None, "", Bytes::new()).await)?;
            self.put_defaults(bucket, request).await?;
            self.put_tags(bucket, tags).await
        };
        match made.await {
            Ok(()) => self.unfinished.end(bucket).map_err(unwritten),
            Err(refusal) => {
                self.unmake_bucket(bucket).await.map_err(unwritten)?;
                Err(refusal)
            }
        }
    }

    /// Removes a bucket that is not all there.
    pub(super) async fn unmake_bucket(&self, bucket: &str) -> std::io::Result<()> {
        let answer = self.sub_call(Method::DELETE, bucket, None, "", Bytes::new()).await;
        if !answer.status().is_success() && answer.status() != 404 {
            return Err(std::io::Error::other(format!("the bucket {bucket} cannot be made and not be removed")));
        }
        self.unfinished.end(bucket)
    }

    async fn put_tags(&self, bucket: &str, tags: Tags) -> Result<(), Refusal> {
        if tags.tags.is_empty() {
            return Ok(());
        }
        let document = tagging(tags.tags.into_iter().map(|Tag { key, value }| (key, value)));
        succeeded(&self.sub_call(Method::PUT, bucket, None, "tagging", document).await)
    }

    fn read_configuration(&self, request: &Request) -> Result<CreateBucketConfiguration, Refusal> {
        let text = String::from_utf8_lossy(&request.body);
        let configuration = match text.trim() {
            "" => CreateBucketConfiguration::default(),
            text => quick_xml::de::from_str(text).map_err(|_| malformed())?,
        };
        let wanted = configuration.location_constraint.as_deref();
        match (wanted, self.region.as_str()) {
            (None, "us-east-1") => Ok(configuration),
            (Some("us-east-1"), "us-east-1") => {
                Err(Refusal::new(400, "InvalidLocationConstraint", "The specified location-constraint is not valid"))
            }
            (Some(wanted), region) if wanted == region => Ok(configuration),
            (wanted, _) => Err(Refusal::new(
                400,
                "IllegalLocationConstraintException",
                format!(
                    "The {} location constraint is incompatible for the region specific endpoint this request was sent to.",
                    wanted.unwrap_or("unspecified")
                ),
            )),
        }
    }

    async fn put_defaults(&self, bucket: &str, request: &Request) -> Result<(), Refusal> {
        let ownership = request.header("x-amz-object-ownership").unwrap_or("BucketOwnerEnforced");
        let ownership = format!(
            "<OwnershipControls xmlns=\"{NAMESPACE}\"><Rule><ObjectOwnership>{}</ObjectOwnership></Rule></OwnershipControls>",
            escape(ownership)
        );
        let block = format!(
            "<PublicAccessBlockConfiguration xmlns=\"{NAMESPACE}\"><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
        );
        for (query, body) in [("ownershipControls", ownership), ("publicAccessBlock", block)] {
            succeeded(&self.sub_call(Method::PUT, bucket, None, query, body).await)?;
        }
        Ok(())
    }

    pub(super) async fn act_on_bucket(
        &self,
        operation: &str,
        bucket: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Response, Refusal> {
        match operation {
            "ListObjects" | "ListObjectsV2" | "ListObjectVersions" => {
                let view = self.view().await;
                let content = view
                    .buckets
                    .get(bucket)
                    .ok_or_else(|| Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist"))?;
                Ok(listing::objects(operation, request, content))
            }
            "GetBucketLifecycleConfiguration" | "PutBucketLifecycleConfiguration" => {
                self.act_on_lifecycle(bucket, request).await
            }
            "GetBucketOwnershipControls" => {
                let view = self.view().await;
                if view.buckets.get(bucket).is_some_and(|content| content.ownership_controls.is_none()) {
                    let text = "The bucket ownership controls were not found";
                    return Err(Refusal::new(404, "OwnershipControlsNotFoundError", text));
                }
                Ok(self.pass(bucket, None, request).await)
            }
            "PutBucketNotificationConfiguration" => self.put_notifications(bucket, request).await,
            "PutBucketVersioning" => self.put_versioning(bucket, request).await,
            "GetBucketLocation" => Ok(location(&self.region)),
            "GetBucketAcl" => Ok(owners_acl()),
            "PutBucketAcl" => Err(no_acls()),
            "DeleteObjects" => self.delete_objects(bucket, request, caller).await,
            "PutBucketPolicy" => self.put_policy(bucket, request, caller).await,
            "DeleteBucketPolicy" => self.delete_policy(bucket, request).await,
            "GetBucketTagging" | "GetBucketEncryption" | "PutBucketTagging" | "PutBucketCors" => {
                self.act_on_setting(operation, bucket, request).await
            }
            "ListMultipartUploads" => self.list_uploads(bucket, request),
            _ => {
                let answer = self.pass(bucket, None, request).await;
                if operation == "DeleteBucket" && answer.status().is_success() {
                    self.iam.resource_policies(&self.region).buckets.set(bucket, None);
                    self.freed.give_up(bucket);
                    self.not_yet.forget(bucket);
                    self.uploads.forget_bucket(bucket).map_err(|fault| self.unwritten(&fault.to_string()))?;
                }
                Ok(answer)
            }
        }
    }

    async fn act_on_setting(&self, operation: &str, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        if operation == "PutBucketTagging" {
            tags::check_document(&request.body, tags::Of::Bucket)?;
        }
        let answer = self.pass(bucket, None, request).await;
        let found = answer.status().is_success();
        match operation {
            "GetBucketTagging" if found && !contains(&answer, "<Tag>") => {
                Err(Refusal::new(404, "NoSuchTagSet", "The TagSet does not exist"))
            }
            // Every bucket encrypts, asked or not (aws-facts §4.1).
            "GetBucketEncryption" if !found => Ok(xml(200, default_encryption())),
            _ => Ok(answer),
        }
    }

    /// Nothing ages here; the rules are kept, for the sizes at which AWS begins by itself.
    async fn act_on_lifecycle(&self, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        const SIZES: &str = "x-amz-transition-default-minimum-object-size";
        const DEFAULT: &str = "all_storage_classes_128K";
        if request.header(SIZES).is_some_and(|wanted| wanted != DEFAULT) {
            let text = format!("the local AWS knows no {SIZES} but {DEFAULT}");
            return Err(Refusal::new(501, "NotImplemented", text));
        }
        let mut answer = self.pass(bucket, None, request).await;
        if answer.status().is_success() {
            answer.headers_mut().insert(SIZES, HeaderValue::from_static(DEFAULT));
        }
        Ok(answer)
    }

    async fn put_notifications(&self, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        let wanted = notification::read(&request.body).ok_or_else(malformed)?;
        notification::check_document(&request.body)?;
        notification::check(&wanted)?;
        let skip = request.header("x-amz-skip-destination-validation") == Some("true");
        if !skip {
            let source = format!("arn:aws:s3:::{bucket}");
            for one in &wanted {
                if !self.lambda.permits(&one.function, "s3.amazonaws.com", &source).await {
                    return Err(Refusal::new(
                        400,
                        "InvalidArgument",
                        "Unable to validate the following destination configurations",
                    ));
                }
            }
        }
        self.not_yet.changed(bucket, self.notifications(bucket).await);
        let document = notification::write(&wanted);
        let answer = self.sub_call(Method::PUT, bucket, None, "notification", document).await;
        succeeded(&answer)?;
        Ok(empty(200))
    }
}

/// Where a bucket is. Nothing stands for us-east-1 (S3 API reference, GetBucketLocation).
fn location(region: &str) -> Response {
    let region = if region == "us-east-1" { "" } else { region };
    xml(200, format!("<LocationConstraint xmlns=\"{NAMESPACE}\">{region}</LocationConstraint>"))
}

/// Buckets and objects belong to their owner and to nobody else: lists are off (aws-facts §4.1).
pub(super) fn owners_acl() -> Response {
    let owner = format!("<ID>{}</ID>", crate::ACCOUNT);
    xml(
        200,
        format!(
            "<AccessControlPolicy xmlns=\"{NAMESPACE}\"><Owner>{owner}</Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">{owner}</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
        ),
    )
}

pub(super) fn no_acls() -> Refusal {
    Refusal::new(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

/// A `Tagging` document.
pub(super) fn tagging(tags: impl Iterator<Item = (String, String)>) -> String {
    let tags: String = tags
        .map(|(key, value)| {
            let (key, value) = (escape(&key), escape(&value));
            format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
        })
        .collect();
    format!("<Tagging xmlns=\"{NAMESPACE}\"><TagSet>{tags}</TagSet></Tagging>")
}

fn default_encryption() -> String {
    format!(
        "<ServerSideEncryptionConfiguration xmlns=\"{NAMESPACE}\"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
    )
}

fn contains(answer: &Response, part: &str) -> bool {
    String::from_utf8_lossy(answer.body()).contains(part)
}

fn succeeded(answer: &Response) -> Result<(), Refusal> {
    if answer.status().is_success() { Ok(()) } else { Err(refusal_in(answer)) }
}

pub(super) fn malformed() -> Refusal {
    let text = "The XML you provided was not well-formed or did not validate against our published schema";
    Refusal::new(400, "MalformedXML", text)
}

fn check_name(bucket: &str) -> Result<(), Refusal> {
    let letters = bucket.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    let edges = |edge: Option<char>| edge.is_some_and(|edge| edge.is_ascii_alphanumeric());
    let fits = (3..=63).contains(&bucket.len())
        && letters
        && edges(bucket.chars().next())
        && edges(bucket.chars().last())
        && !bucket.contains("..")
        && bucket.parse::<Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| bucket.starts_with(prefix))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|suffix| bucket.ends_with(suffix));
    if fits { Ok(()) } else { Err(Refusal::new(400, "InvalidBucketName", "The specified bucket is not valid.")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_are_those_of_aws() {
        for good in ["abc", "postagram-images-000000000000-us-east-1", "a.b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "ab",
            "Abc",
            "-abc",
            "abc-",
            "a..b",
            "a_b",
            "é-bucket",
            "192.168.0.1",
            "xn--a",
            "a-s3alias",
            &"a".repeat(64),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
