//! Identifies the call of a request: its service, and its operation with the service's row for it.

use http::Method;

use compute::{cloudwatch, service_quotas};
use domains::{acm, route53};
use functions::lambda;
use identity::iam;
use identity::sts;
use kit::answer::Protocol;
use kit::call::{Call, Input, Request, Rows, credential};
use secrets::{parameters, secrets_manager};

/// A service, with its name in signatures and its title in this server's README.
pub(crate) struct Service {
    pub name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the README is compared in tests"))]
    pub title: &'static str,
    pub rows: fn() -> Rows,
}

/// All services. Any other is refused with 501.
pub(crate) const SERVICES: &[Service] = &[
    Service { name: "acm", title: "Certificate Manager", rows: acm::rows },
    Service { name: "autoscaling", title: "Auto Scaling", rows: compute::autoscaling_rows },
    Service { name: "dynamodb", title: "DynamoDB", rows: tables::rows },
    Service { name: "ec2", title: "EC2", rows: compute::ec2_rows },
    Service { name: "elasticloadbalancing", title: "Elastic Load Balancing", rows: compute::elb_rows },
    Service { name: "iam", title: "IAM", rows: iam::rows },
    Service { name: "lambda", title: "Lambda", rows: lambda::rows },
    Service { name: "logs", title: "CloudWatch Logs", rows: logs::rows },
    Service { name: "monitoring", title: "CloudWatch", rows: cloudwatch::rows },
    Service { name: "rekognition", title: "Rekognition", rows: rekognition::rows },
    Service { name: "route53", title: "Route 53", rows: route53::rows },
    Service { name: "s3", title: "S3", rows: s3::rows },
    Service { name: "secretsmanager", title: "Secrets Manager", rows: secrets_manager::rows },
    Service { name: "servicequotas", title: "Service Quotas", rows: service_quotas::rows },
    Service { name: "ssm", title: "Systems Manager", rows: parameters::rows },
    Service { name: "sts", title: "STS", rows: sts::rows },
];

/// Identifies the call of `request`.
///
/// The credential scope names the service. Without a signature, it is inferred from the request's shape.
pub(crate) fn identify(request: &Request) -> Call {
    match signed_for(request).as_deref().or_else(|| by_target(request)) {
        Some("s3") => s3_call(request),
        Some("lambda") => {
            let input = Input::of(Protocol::RestJson, request);
            let (operation, row) = lambda::identify(&request.method, input.rest());
            Call { row, ..Call::of("lambda", operation, Protocol::RestJson, input) }
        }
        Some("route53") => {
            let input = Input::of(Protocol::RestXml, request);
            let (operation, row) = route53::identify(&request.method, input.rest());
            // Its errors have the form of the Query protocol's.
            Call { row, ..Call::of("route53", &operation, Protocol::Query, input) }
        }
        Some(service) if request.header("smithy-protocol") == Some("rpc-v2-cbor") => {
            let operation = request.path.rsplit('/').next().unwrap_or_default();
            named(service, operation, Protocol::Cbor, Input::of(Protocol::Cbor, request))
        }
        Some(service) => match request.header("x-amz-target").and_then(|target| target.rsplit('.').next()) {
            Some(operation) => {
                let protocol = json_of(service, request);
                named(service, operation, protocol, Input::of(protocol, request))
            }
            None => query_call(service, request),
        },
        None if is_form(request) => query_call("unknown", request),
        None => s3_call(request),
    }
}

/// A call of the operation with this name.
fn named(service: &str, operation: &str, protocol: Protocol, input: Input) -> Call {
    let rows = SERVICES.iter().find(|known| known.name == service).map(|known| (known.rows)());
    let row = rows.and_then(|mut rows| rows.find(|row| row.name == operation));
    Call { row, ..Call::of(service, operation, protocol, input) }
}

fn s3_call(request: &Request) -> Call {
    let (operation, row) = s3::identify(request);
    Call { row, ..Call::of("s3", operation, Protocol::RestXml, Input::of(Protocol::RestXml, request)) }
}

fn query_call(service: &str, request: &Request) -> Call {
    let protocol = match service {
        "ec2" => Protocol::Ec2,
        "iam" | "sts" | "autoscaling" | "elasticloadbalancing" | "cloudfront" | "unknown" => Protocol::Query,
        _ if is_form(request) => Protocol::Query,
        _ => Protocol::RestJson,
    };
    let input = match protocol {
        Protocol::RestJson => Input::Form(request.form()),
        protocol => Input::of(protocol, request),
    };
    let operation = input.text("Action").unwrap_or(&request.path).to_owned();
    named(service, &operation, protocol, input)
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

/// Returns the service in the credential scope.
fn signed_for(request: &Request) -> Option<String> {
    // Parse from the right, because only the access key ID could contain another slash.
    credential(request)?.rsplit('/').nth(1).map(str::to_owned)
}

fn by_target(request: &Request) -> Option<&'static str> {
    const TARGETS: &[(&str, &str)] = &[
        ("AmazonSSM", "ssm"),
        ("CertificateManager", "acm"),
        ("DynamoDB_", "dynamodb"),
        ("GraniteService", "monitoring"),
        ("DynamoDBStreams_", "dynamodb"),
        ("Logs_", "logs"),
        ("RekognitionService", "rekognition"),
        ("ServiceQuotasV20190624", "servicequotas"),
        ("secretsmanager", "secretsmanager"),
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

    fn told(call: &Call) -> (&str, &str, bool) {
        (&call.service, &call.operation, call.mutating())
    }

    #[test]
    fn the_credential_scope_names_the_service() {
        let signed =
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
        let form = "application/x-www-form-urlencoded";
        let headers = [("authorization", signed), ("content-type", form)];
        let call = identify(&request(Method::POST, "/", &headers, "Action=CreateRole&RoleName=x"));
        assert_eq!(told(&call), ("iam", "CreateRole", true));
    }

    #[test]
    fn the_target_names_the_operation() {
        let headers = [("x-amz-target", "DynamoDB_20120810.UpdateItem")];
        let call = identify(&request(Method::POST, "/", &headers, "{}"));
        assert_eq!(told(&call), ("dynamodb", "UpdateItem", true));
        assert_eq!(call.protocol, Protocol::Json10);
    }

    #[test]
    fn a_bare_path_is_s3() {
        let call = identify(&request(Method::GET, "/bucket/a/b?X-Amz-Signature=0", &[], ""));
        assert_eq!(told(&call), ("s3", "GetObject", false));
        let call = identify(&request(Method::PUT, "/bucket/?cors", &[], ""));
        assert_eq!(told(&call), ("s3", "PutBucketCors", true));
    }
}
