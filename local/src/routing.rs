//! Identifies the call of a request: the service that it is for, and the operation, which each service names itself.

use http::Method;

use crate::answer::Protocol;
use crate::call::{Call, Request, credential};
use crate::{lambda_route, s3};

/// Finds out what `request` calls.
///
/// The credential scope names the service; without a signature the request's shape must do.
pub(crate) fn identify(request: &Request) -> Call {
    match signed_for(request).as_deref().or_else(|| by_target(request)) {
        Some("s3") => s3_call(request),
        Some("lambda") => Call {
            service: "lambda".to_owned(),
            operation: lambda_route::operation(&request.method, &request.path).to_owned(),
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
    use bytes::Bytes;

    use super::*;

    fn request(method: Method, path: &str, headers: &[(&'static str, &str)], body: &str) -> Request {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            upload: None,
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
