//! A request as its operation reads it. A parameter or header that S3 acts on and the operation does not is refused by
//! name.

use http::{HeaderName, HeaderValue};

use super::operation::S3Operation;
use super::xml::unserved;
use identity::permissions::Caller;
use kit::answer::Refusal;
use kit::call::{Request, pairs};

/// A request on a bucket or an object.
pub(super) struct S3Request<'a> {
    pub row: &'static S3Operation,
    /// Its body is complete, and its headers include those in the query of a presigned URL.
    pub http: Request,
    pub bucket: String,
    /// Empty if the request is for a bucket.
    pub key: String,
    pub caller: &'a Caller,
}

/// Headers that any request may have.
const ALWAYS: &[&str] = &[
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expected-bucket-owner",
    // Only the owner ever pays here, so it changes nothing.
    "x-amz-request-payer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// Parameters that have a meaning on S3 (`s3` model of botocore, query strings of all operations); it ignores others.
const PARAMETERS: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "append",
    "attributes",
    "continuation-token",
    "cors",
    "delete",
    "delimiter",
    "encoding-type",
    "encryption",
    "fetch-owner",
    "id",
    "intelligent-tiering",
    "inventory",
    "key-marker",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "part-number-marker",
    "partNumber",
    "policy",
    "policyStatus",
    "prefix",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "start-after",
    "tagging",
    "torrent",
    "upload-id-marker",
    "uploadId",
    "uploads",
    "version-id-marker",
    "versionId",
    "versioning",
    "versions",
    "website",
];

impl<'a> S3Request<'a> {
    /// Parses a request whose body is complete.
    pub(super) fn of(
        row: &'static S3Operation,
        mut http: Request,
        (bucket, key): (String, String),
        caller: &'a Caller,
    ) -> Result<S3Request<'a>, Refusal> {
        lift_headers(&mut http);
        for (name, _) in pairs(&http.query) {
            let is_read = name == row.flag || row.parameters.contains(&name.as_str());
            if !is_read && PARAMETERS.contains(&name.as_str()) {
                return Err(unserved(&format!("the parameter {name} of {}", row.name)));
            }
        }
        for name in http.headers.keys().map(HeaderName::as_str) {
            let is_read = !name.starts_with("x-amz-")
                || name.starts_with("x-amz-meta-")
                || ALWAYS.contains(&name)
                || row.headers.contains(&name);
            if !is_read {
                return Err(unserved(&format!("the header {name} of {}", row.name)));
            }
        }
        if key.len() > 1024 {
            return Err(Refusal::new(400, "KeyTooLongError", "Your key is too long"));
        }
        if http.header("x-amz-expected-bucket-owner").is_some_and(|owner| owner != kit::ACCOUNT) {
            return Err(Refusal::new(403, "AccessDenied", "Access Denied"));
        }
        Ok(S3Request { row, http, bucket, key, caller })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.http.header(name)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.http.parameter(name)
    }

    /// A parameter's text; empty if it is missing.
    pub(super) fn text(&self, name: &str) -> String {
        self.parameter(name).unwrap_or_default()
    }

    /// The requested version, if any.
    pub(super) fn version(&self) -> Result<Option<String>, Refusal> {
        match self.parameter("versionId") {
            Some(id) if id.is_empty() => {
                Err(Refusal::new(400, "InvalidArgument", "Version id cannot be the empty string"))
            }
            id => Ok(id),
        }
    }

    /// The size of a page, at most `most`.
    pub(super) fn size(&self, name: &str, most: usize) -> Result<usize, Refusal> {
        Ok(self.count(name)?.map_or(most, |asked| asked.min(most)))
    }

    /// A parameter that is a nonnegative integer.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        match text.parse::<i32>() {
            Ok(number) if number >= 0 => Ok(usize::try_from(number).ok()),
            Ok(_) => {
                let text = format!("Argument {name} must be an integer between 0 and 2147483647");
                Err(Refusal::new(400, "InvalidArgument", text))
            }
            Err(_) => {
                let text = format!("Provided {name} not an integer or within integer range");
                Err(Refusal::new(400, "InvalidArgument", text))
            }
        }
    }

    /// Whether names in the response are to be URL-encoded (`encoding-type=url`).
    pub(super) fn is_encoded(&self) -> Result<bool, Refusal> {
        match self.parameter("encoding-type").as_deref() {
            None => Ok(false),
            Some("url") => Ok(true),
            Some(_) => Err(Refusal::new(400, "InvalidArgument", "Invalid Encoding Method specified in Request")),
        }
    }
}

/// Adds the headers in the query of a presigned URL to those of the request.
fn lift_headers(request: &mut Request) {
    for (name, value) in pairs(&request.query).collect::<Vec<_>>() {
        // Those of the signature are read when it is verified.
        if !name.starts_with("x-amz-") || name.starts_with("x-amz-signature") {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            request.headers.entry(name).or_insert(value);
        }
    }
}
