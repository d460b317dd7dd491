//! Identifies the call: its service, its operation, and whether it changes anything.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::answer::Protocol;
use crate::{lambda, s3};

/// One request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: Method,
    /// As sent: still percent-encoded, because signatures are computed over it.
    pub path: String,
    /// As sent, without the question mark.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// A header's text, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The decoded value of a query parameter; `?flag` has the empty one.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether a query parameter is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        pairs(&self.query).any(|(key, _)| key == name)
    }

    /// The body of a Query protocol call.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        let in_query = url::form_urlencoded::parse(self.query.as_bytes());
        in_query
            .chain(url::form_urlencoded::parse(&self.body))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }
}

/// The decoded pairs of a query string, where `+` is a plus sign as in every signed AWS request.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A call of a service's operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub service: String,
    pub operation: String,
    pub protocol: Protocol,
}

impl Call {
    /// Whether nobody needs the call any more once its caller has left: it only computes.
    pub(crate) fn ends_with_its_caller(&self) -> bool {
        self.service == "rekognition"
    }

    /// Whether the call may change something: everything that does not say it only reads.
    pub(crate) fn mutating(&self) -> bool {
        const READING: &[&str] = &[
            "AssumeRole",
            "BatchGet",
            "Describe",
            "Detect",
            "Filter",
            "Get",
            "Head",
            "List",
            "Preflight",
            "Query",
            "Scan",
            "Select",
            "Simulate",
            "TransactGet",
        ];
        let invoked = self.service == "lambda" && self.operation.starts_with("Invoke");
        !invoked && !READING.iter().any(|verb| self.operation.starts_with(verb))
    }
}

/// Finds out what `request` calls.
///
/// The credential scope names the service; without a signature the request's shape must do.
pub(crate) fn identify(request: &Request) -> Call {
    match signed_for(request).as_deref().or_else(|| by_target(request)) {
        Some("s3") => s3_call(request),
        Some("lambda") => Call {
            service: "lambda".to_owned(),
            operation: lambda::operation(&request.method, &request.path).to_owned(),
            protocol: Protocol::RestJson,
        },
        Some(service) if request.header("smithy-protocol") == Some("rpc-v2-cbor") => Call {
            service: service.to_owned(),
            operation: request.path.rsplit('/').next().unwrap_or_default().to_owned(),
            protocol: Protocol::Cbor,
        },
        Some(service) => {
            let target = request.header("x-amz-target").and_then(|target| target.rsplit('.').next());
            match target {
                Some(operation) => Call {
                    service: service.to_owned(),
                    operation: operation.to_owned(),
                    protocol: json_of(service, request),
                },
                None => query_call(service, request),
            }
        }
        None if is_form(request) => query_call("unknown", request),
        None => s3_call(request),
    }
}

fn s3_call(request: &Request) -> Call {
    Call { service: "s3".to_owned(), operation: s3::operation(request).to_owned(), protocol: Protocol::RestXml }
}

fn query_call(service: &str, request: &Request) -> Call {
    let operation = request.form().remove("Action").unwrap_or_else(|| request.path.clone());
    let protocol = match service {
        "ec2" => Protocol::Ec2,
        "iam" | "sts" | "autoscaling" | "elasticloadbalancing" | "cloudfront" | "route53" | "unknown" => {
            Protocol::Query
        }
        _ if is_form(request) => Protocol::Query,
        _ => Protocol::RestJson,
    };
    Call { service: service.to_owned(), operation, protocol }
}

fn json_of(service: &str, request: &Request) -> Protocol {
    let kind = request.header("content-type").unwrap_or_default();
    if service == "dynamodb" || kind.contains("json-1.0") { Protocol::Json10 } else { Protocol::Json11 }
}

fn is_form(request: &Request) -> bool {
    request.path == "/"
        && request.method == Method::POST
        && request.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

/// The service in the credential scope.
fn signed_for(request: &Request) -> Option<String> {
    // Read from the right: nothing but the key's id could hold another slash.
    credential(request)?.rsplit('/').nth(1).map(str::to_owned)
}

/// The access key a request says it is signed with, whether or not it is.
pub(crate) fn claimed_key(request: &Request) -> Option<String> {
    credential(request)?.split('/').next().map(str::to_owned)
}

/// The key and its scope: `key/date/region/service/aws4_request`.
fn credential(request: &Request) -> Option<String> {
    match request.header("authorization") {
        Some(authorization) => {
            let (_, rest) = authorization.split_once("Credential=")?;
            Some(rest.split(',').next()?.trim().to_owned())
        }
        None => request.parameter("X-Amz-Credential"),
    }
}

/// The region that a request is signed for, whether or not it is.
pub(crate) fn claimed_region(request: &Request) -> Option<String> {
    credential(request)?.rsplit('/').nth(2).map(str::to_owned)
}

fn by_target(request: &Request) -> Option<&'static str> {
    const TARGETS: &[(&str, &str)] = &[
        ("DynamoDB_", "dynamodb"),
        ("GraniteService", "monitoring"),
        ("DynamoDBStreams_", "dynamodb"),
        ("Logs_", "logs"),
        ("RekognitionService", "rekognition"),
    ];
    let target = request.header("x-amz-target")?;
    TARGETS.iter().find(|(prefix, _)| target.starts_with(prefix)).map(|(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, path: &str, headers: &[(&'static str, &str)], body: &str) -> Request {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn named(call: &Call) -> (&str, &str, bool) {
        (&call.service, &call.operation, call.mutating())
    }

    #[test]
    fn the_credential_scope_names_the_service() {
        let signed =
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
        let form = "application/x-www-form-urlencoded";
        let headers = [("authorization", signed), ("content-type", form)];
        let call = identify(&request(Method::POST, "/", &headers, "Action=CreateRole&RoleName=x"));
        assert_eq!(named(&call), ("iam", "CreateRole", true));
    }

    #[test]
    fn the_target_names_the_operation() {
        let headers = [("x-amz-target", "DynamoDB_20120810.UpdateItem")];
        let call = identify(&request(Method::POST, "/", &headers, "{}"));
        assert_eq!(named(&call), ("dynamodb", "UpdateItem", true));
        assert_eq!(call.protocol, Protocol::Json10);
    }

    #[test]
    fn a_bare_path_is_s3() {
        let call = identify(&request(Method::GET, "/bucket/a/b?X-Amz-Signature=0", &[], ""));
        assert_eq!(named(&call), ("s3", "GetObject", false));
        let call = identify(&request(Method::PUT, "/bucket/?cors", &[], ""));
        assert_eq!(named(&call), ("s3", "PutBucketCors", true));
    }
}
