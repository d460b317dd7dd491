//! The name of a call to AWS, and the format of errors in each service's protocol.

use hyper::{
    Method, Request, Response,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

/// The format of a service's errors (docs/aws.md §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    S3,
    Ec2,
    Query,
    Json,
    Rest,
    Cbor,
}

impl Protocol {
    /// Determines the protocol by the service in the signature's scope.
    pub(super) fn of(request: &Request<Bytes>) -> Protocol {
        match service(request) {
            _ if is_cbor(request) => Protocol::Cbor,
            "s3" => Protocol::S3,
            "ec2" => Protocol::Ec2,
            "lambda" => Protocol::Rest,
            "acm" | "dynamodb" | "logs" | "secretsmanager" | "servicequotas" | "ssm" | "wafv2" => Protocol::Json,
            _ => Protocol::Query,
        }
    }

    /// The throttling error of this kind of service (docs/aws.md §14).
    pub(super) fn throttled(self) -> Response<Bytes> {
        let (status, code) = match self {
            Protocol::S3 => (503, "SlowDown"),
            Protocol::Ec2 => (503, "RequestLimitExceeded"),
            Protocol::Query | Protocol::Cbor => (400, "Throttling"),
            Protocol::Json => (400, "ThrottlingException"),
            Protocol::Rest => (429, "TooManyRequestsException"),
        };
        self.refusal(status, code, "Rate exceeded")
    }

    /// An error in the service's own format.
    pub(super) fn refusal(self, status: u16, code: &str, message: &str) -> Response<Bytes> {
        let escaped = message.replace('&', "&amp;").replace('<', "&lt;");
        let (kind, body) = match self {
            Protocol::S3 => {
                ("application/xml", format!("<Error><Code>{code}</Code><Message>{escaped}</Message></Error>"))
            }
            Protocol::Ec2 => (
                "text/xml",
                format!(
                    "<Response><Errors><Error><Code>{code}</Code><Message>{escaped}</Message></Error></Errors></Response>"
                ),
            ),
            Protocol::Query => (
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escaped}</Message></Error></ErrorResponse>"
                ),
            ),
            Protocol::Json => (
                "application/x-amz-json-1.0",
                serde_json::json!({ "__type": format!("com.amazonaws#{code}"), "message": message }).to_string(),
            ),
            Protocol::Rest => ("application/json", serde_json::json!({ "Message": message }).to_string()),
            Protocol::Cbor => return cbor_error(status, code, message),
        };
        let answer = Response::builder().status(status).header(CONTENT_TYPE, kind).header("x-amzn-errortype", code);
        answer.body(body.into()).expect("a status and three headers")
    }
}

/// Whether a call is in Smithy's RPC v2 CBOR.
fn is_cbor(request: &Request<Bytes>) -> bool {
    request.headers().get(SMITHY).is_some_and(|protocol| protocol == RPC_V2_CBOR)
}

const SMITHY: &str = "smithy-protocol";
const RPC_V2_CBOR: &str = "rpc-v2-cbor";

/// An error as a CBOR map of two texts.
fn cbor_error(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let mut body = vec![0xa2];
    for text in ["__type", &format!("com.amazonaws#{code}"), "message", message] {
        let length = u16::try_from(text.len()).expect("a message is short");
        body.push(0x79);
        body.extend(length.to_be_bytes());
        body.extend(text.as_bytes());
    }
    let answer = Response::builder().status(status).header(CONTENT_TYPE, "application/cbor");
    answer.header(SMITHY, RPC_V2_CBOR).body(body.into()).expect("a status and two headers")
}

fn service(request: &Request<Bytes>) -> &str {
    let signature = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(scope) = signature.and_then(|value| value.split("Credential=").nth(1)) {
        return scope.split('/').nth(3).unwrap_or_default();
    }
    // Only S3 has presigned URLs.
    if request.uri().query().is_some_and(|query| query.contains("X-Amz-Signature=")) { "s3" } else { "" }
}

/// The client's id of a call, which its retries keep.
pub(super) fn number(request: &Request<Bytes>) -> Option<String> {
    let number = request.headers().get("amz-sdk-invocation-id")?;
    number.to_str().ok().map(str::to_owned)
}

/// The name of the operation, such as `CreateTable`.
pub(super) fn operation(request: &Request<Bytes>) -> String {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some((_, operation)) = target.and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let body = std::str::from_utf8(request.body()).unwrap_or_default();
    let path: Vec<&str> = request.uri().path().split('/').filter(|part| !part.is_empty()).collect();
    if is_cbor(request) {
        return path.last().copied().unwrap_or("unknown").to_owned();
    }
    match service(request) {
        "s3" => of_s3(request.method(), &path, request.uri().query().unwrap_or_default()),
        "lambda" => of_lambda(request.method(), &path),
        "route53" => of_route53(request.method(), &path),
        // A page of the local AWS, such as the one that names its DNS.
        "" if request.method() == Method::GET => format!("Get /{}", path.join("/")),
        _ => body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or("unknown").to_owned(),
    }
}

/// The subresources of a bucket.
const OF_A_BUCKET: &[(&str, &str)] = &[
    ("cors", "BucketCors"),
    ("lifecycle", "BucketLifecycleConfiguration"),
    ("policy", "BucketPolicy"),
    ("notification", "BucketNotificationConfiguration"),
    ("publicAccessBlock", "PublicAccessBlock"),
    ("encryption", "BucketEncryption"),
    ("ownershipControls", "BucketOwnershipControls"),
    ("tagging", "BucketTagging"),
    ("versioning", "BucketVersioning"),
    ("location", "BucketLocation"),
];

fn of_s3(method: &Method, path: &[&str], query: &str) -> String {
    let asks = |key: &str| query.split('&').any(|pair| pair.split('=').next() == Some(key));
    let verb = match *method {
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        Method::HEAD => "Head",
        Method::POST => "Post",
        _ => "Get",
    };
    if let Some((_, thing)) = OF_A_BUCKET.iter().find(|(key, _)| asks(key)) {
        return format!("{verb}{thing}");
    }
    match (path.len(), verb) {
        (0, _) => "ListBuckets".into(),
        (1, _) if asks("uploads") => "ListMultipartUploads".into(),
        (1, _) if asks("versions") => "ListObjectVersions".into(),
        (1, "Post") => "DeleteObjects".into(),
        (1, "Put") => "CreateBucket".into(),
        (1, "Get") => "ListObjectsV2".into(),
        (1, verb) => format!("{verb}Bucket"),
        (_, "Delete") if asks("uploadId") => "AbortMultipartUpload".into(),
        (_, verb) => format!("{verb}Object"),
    }
}

fn of_lambda(method: &Method, path: &[&str]) -> String {
    let name = match (method.as_str(), path.get(1).copied(), path.get(3).copied()) {
        ("POST", Some("functions"), None) => "CreateFunction",
        ("GET", Some("functions"), None) if path.len() == 2 => "ListFunctions",
        ("GET", Some("functions"), None) => "GetFunction",
        ("DELETE", Some("functions"), None) => "DeleteFunction",
        ("POST", _, Some("invocations")) => "Invoke",
        ("GET", _, Some("versions")) => "ListVersionsByFunction",
        ("POST", _, Some("versions")) => "PublishVersion",
        ("PUT", _, Some("code")) => "UpdateFunctionCode",
        ("GET", _, Some("configuration")) => "GetFunctionConfiguration",
        ("PUT", _, Some("configuration")) => "UpdateFunctionConfiguration",
        ("GET", _, Some("policy")) => "GetPolicy",
        ("POST", _, Some("policy")) => "AddPermission",
        ("DELETE", _, Some("policy")) => "RemovePermission",
        ("GET", _, Some("event-invoke-config")) => "GetFunctionEventInvokeConfig",
        ("PUT", _, Some("event-invoke-config")) => "PutFunctionEventInvokeConfig",
        ("DELETE", _, Some("event-invoke-config")) => "DeleteFunctionEventInvokeConfig",
        ("PUT", _, Some("concurrency")) => "PutFunctionConcurrency",
        ("DELETE", _, Some("concurrency")) => "DeleteFunctionConcurrency",
        ("GET", Some("tags"), _) => "ListTags",
        ("POST", Some("tags"), _) => "TagResource",
        _ => return format!("{method} /{}", path.join("/")),
    };
    name.to_owned()
}

fn of_route53(method: &Method, path: &[&str]) -> String {
    let name = match (method.as_str(), path.get(1).copied(), path.get(3).copied()) {
        ("POST", Some("hostedzone"), Some("rrset")) => "ChangeResourceRecordSets",
        ("GET", Some("hostedzone"), Some("rrset")) => "ListResourceRecordSets",
        ("GET", Some("hostedzone"), None) if path.len() == 2 => "ListHostedZones",
        ("GET", Some("hostedzone"), None) => "GetHostedZone",
        _ => return format!("{method} /{}", path.join("/")),
    };
    name.to_owned()
}

/// Whether a call changes nothing.
pub fn is_read(operation: &str) -> bool {
    ["Head", "Describe", "Filter", "Get", "List", "Scan"].iter().any(|read| operation.starts_with(read))
}
