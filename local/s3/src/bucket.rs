//! Creates, finds and deletes buckets.

use std::net::Ipv4Addr;

use http::HeaderValue;

use super::lock::Lock;
use super::metadata::{check_acl, no_acls, set};
use super::request::S3Request;
use super::settings::{BLOCKS, OWNERSHIP, OWNERSHIPS, TAGGING};
use super::store::{BucketSettings, Change, Versioning, now};
use super::xml::{self, Element, element, wrap};
use super::{NAMESPACE, S3, tags};
use kit::ACCOUNT;
use kit::answer::{Refusal, Response, empty, xml as answer};

/// The header with the namespace of a new bucket.
const NAMESPACE_HEADER: &str = "x-amz-bucket-namespace";

impl S3 {
    /// Whether there is a bucket with this name.
    pub fn exists(&self, bucket: &str) -> bool {
        self.store.read(|state| state.buckets.contains_key(bucket))
    }

    /// `CreateBucket`: by default, a new bucket blocks public access and has ACLs disabled; it gets the tags in the
    /// request (docs/aws.md §4.1).
    pub(super) fn create_bucket(&self, request: &S3Request) -> Result<Response, Refusal> {
        let tags = self.read_configuration(request)?;
        check_name(&request.bucket)?;
        self.check_namespace(request)?;
        let settings = first_settings(request, &tags)?;
        self.store.change(|state, _| {
            let bucket = request.bucket.clone();
            let Some(there) = state.buckets.get(&bucket) else {
                self.blocked_names.refuse(&bucket)?;
                return Ok((vec![Change::NewBucket { bucket, created: now(), settings }], ()));
            };
            if self.region != "us-east-1" {
                let text = "Your previous request to create the named bucket succeeded and you already own it.";
                return Err(Refusal::new(409, "BucketAlreadyOwnedByYou", text));
            }
            if tags.is_empty() {
                return Ok((Vec::new(), ()));
            }
            let mut settings = there.settings.clone();
            settings.documents.insert(TAGGING.to_owned(), tags::document(&tags));
            Ok((vec![Change::Settings { bucket, settings }], ()))
        })?;
        let mut answer = empty(200);
        set(answer.headers_mut(), "location", &format!("/{}", request.bucket));
        Ok(answer)
    }

    /// Names that end in `-an` are those of an account in a region, and need the header that says so (docs/aws.md §4.1).
    fn check_namespace(&self, request: &S3Request) -> Result<(), Refusal> {
        let own = format!("-{ACCOUNT}-{}-an", self.region);
        let invalid = |text: &str| Err(Refusal::new(400, "InvalidBucketName", text));
        match request.header(NAMESPACE_HEADER) {
            Some("account-regional") if request.bucket.strip_suffix(&own).is_none_or(str::is_empty) => {
                invalid("The specified bucket is not valid for the account regional namespace.")
            }
            Some("account-regional") => Ok(()),
            Some("global") | None if request.bucket.ends_with("-an") => invalid("The specified bucket is not valid."),
            Some("global") | None => Ok(()),
            Some(_) => Err(Refusal::new(400, "InvalidArgument", format!("Invalid {NAMESPACE_HEADER} header"))),
        }
    }

    /// The tags of a new bucket. Refuses a bucket for another region.
    fn read_configuration(&self, request: &S3Request) -> Result<Vec<(String, String)>, Refusal> {
        let mut wanted = None;
        let mut found = Vec::new();
        if !request.http.body.iter().all(u8::is_ascii_whitespace) {
            let document = Element::read(&request.http.body, "CreateBucketConfiguration")?;
            document.expect(&["LocationConstraint", "Tags"], &["Location", "Bucket"])?;
            wanted = document
                .get("LocationConstraint")
                .map(str::trim)
                .filter(|wanted| !wanted.is_empty())
                .map(str::to_owned);
            if let Some(set) = document.child("Tags") {
                found = tags::read(set, tags::Of::Bucket)?;
            }
        }
        match (wanted.as_deref(), self.region.as_str()) {
            (None, "us-east-1") => Ok(found),
            (Some("us-east-1"), "us-east-1") => {
                Err(Refusal::new(400, "InvalidLocationConstraint", "The specified location-constraint is not valid"))
            }
            (Some(wanted), region) if wanted == region => Ok(found),
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

    pub(super) fn delete_bucket(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.change(|state, _| {
            if !state.bucket(&request.bucket)?.keys.is_empty() {
                let text = "The bucket you tried to delete is not empty";
                return Err(Refusal::new(409, "BucketNotEmpty", text));
            }
            // Uploads in progress end with their bucket.
            let ours = state.uploads.iter().filter(|(_, upload)| upload.bucket == request.bucket);
            let mut changes: Vec<Change> = ours.map(|(id, _)| Change::End { id: id.clone() }).collect();
            changes.push(Change::NoBucket { bucket: request.bucket.clone() });
            Ok((changes, ()))
        })?;
        self.iam.resource_policies(&self.region).buckets.set(&request.bucket, None);
        self.blocked_names.block(&request.bucket);
        self.propagation.forget(&request.bucket);
        Ok(empty(204))
    }

    pub(super) fn head_bucket(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        let mut answer = empty(200);
        if let Ok(region) = HeaderValue::from_str(&self.region) {
            answer.headers_mut().insert("x-amz-bucket-region", region);
        }
        set(answer.headers_mut(), "content-type", "application/xml");
        Ok(answer)
    }

    pub(super) fn get_location(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        let place = if self.region == "us-east-1" { "" } else { self.region.as_str() };
        Ok(xml::document("LocationConstraint", place))
    }

    pub(super) fn get_bucket_acl(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        Ok(owners_acl())
    }

    pub(super) fn put_bucket_acl(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| check_acl_call(request, &state.bucket(&request.bucket)?.settings))?;
        Ok(empty(200))
    }
}

/// The settings of a new bucket.
fn first_settings(request: &S3Request, tags: &[(String, String)]) -> Result<BucketSettings, Refusal> {
    let ownership = request.header("x-amz-object-ownership").unwrap_or("BucketOwnerEnforced");
    if !OWNERSHIPS.contains(&ownership) {
        return Err(Refusal::new(400, "InvalidArgument", "Invalid x-amz-object-ownership header"));
    }
    let invalid = |code: &str, text: &str| Err(Refusal::new(400, code, text));
    match request.header("x-amz-acl") {
        None | Some("private") => (),
        Some("public-read" | "public-read-write" | "authenticated-read") if ownership != "BucketOwnerEnforced" => {
            let text = "Bucket cannot have public ACLs set with BlockPublicAccess enabled";
            return invalid("InvalidBucketAclWithBlockPublicAccessError", text);
        }
        Some("public-read" | "public-read-write" | "authenticated-read" | "aws-exec-read" | "log-delivery-write") => {
            let text = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
            return invalid("InvalidBucketAclWithObjectOwnership", text);
        }
        Some(_) => return invalid("InvalidArgument", ""),
    }
    let mut settings = BucketSettings::default();
    match request.header("x-amz-bucket-object-lock-enabled") {
        None => (),
        Some(text) if text.eq_ignore_ascii_case("false") => (),
        Some(text) if text.eq_ignore_ascii_case("true") => {
            settings.versioning = Some(Versioning::Enabled);
            settings.lock = Some(Lock::default());
        }
        Some(_) => return invalid("InvalidArgument", "Invalid x-amz-bucket-object-lock-enabled header"),
    }
    let document = |root: &str, inside: &str| format!("<{root} xmlns=\"{NAMESPACE}\">{inside}</{root}>");
    let rule = wrap("Rule", &element("ObjectOwnership", ownership));
    settings.documents.insert(OWNERSHIP.to_owned(), document("OwnershipControls", &rule));
    let blocks: String = BLOCKS.iter().map(|name| element(name, "true")).collect();
    settings.documents.insert("publicAccessBlock".to_owned(), document("PublicAccessBlockConfiguration", &blocks));
    if !tags.is_empty() {
        settings.documents.insert(TAGGING.to_owned(), tags::document(tags));
    }
    Ok(settings)
}

/// The ACL of every bucket and object: only the owner has access.
pub(super) fn owners_acl() -> Response {
    let owner = element("ID", ACCOUNT);
    answer(
        200,
        format!(
            "<AccessControlPolicy xmlns=\"{NAMESPACE}\"><Owner>{owner}</Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">{owner}</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
        ),
    )
}

/// Checks a call that puts an ACL. Only canned ACLs that grant nothing to others are accepted.
pub(super) fn check_acl_call(request: &S3Request, settings: &BucketSettings) -> Result<(), Refusal> {
    if settings.is_owner_enforced() {
        return Err(no_acls());
    }
    match request.header("x-amz-acl") {
        Some(acl) => check_acl(settings, Some(acl)),
        None => Err(xml::unserved("grants of an access control list")),
    }
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
