//! Identifies the call of a request: its service, and its operation with the service's row for it.

use http::Method;

use compute::{cloudwatch, service_quotas, waf};
use domains::{acm, route53};
use functions::lambda;
use identity::iam;
use identity::sts;
use kit::answer::Protocol::{self, Ec2, Json10, Json11, Query, RestJson, RestXml};
use kit::call::{Call, Input, Request, Rows, credential};
use secrets::{parameters, secrets_manager};

/// A service.
pub(crate) struct Service {
    /// Its name in signatures.
    pub name: &'static str,
    /// Its title in this server's README.
    #[cfg_attr(not(test), expect(dead_code, reason = "the README is compared in tests"))]
    pub title: &'static str,
    /// The protocol that its SDKs speak.
    protocol: Protocol,
    /// How the header `x-amz-target` of its requests begins. Empty unless it has a JSON protocol.
    targets: &'static [&'static str],
    pub rows: fn() -> Rows,
}

/// All services. Any other is refused with 501.
pub(crate) const SERVICES: &[Service] = &[
    service("acm", "Certificate Manager", Json11, &["CertificateManager"], acm::rows),
    service("autoscaling", "Auto Scaling", Query, &[], compute::autoscaling_rows),
    service("dynamodb", "DynamoDB", Json10, &["DynamoDB_", "DynamoDBStreams_"], tables::rows),
    service("ec2", "EC2", Ec2, &[], compute::ec2_rows),
    service("elasticloadbalancing", "Elastic Load Balancing", Query, &[], compute::elb_rows),
    service("iam", "IAM", Query, &[], iam::rows),
    service("lambda", "Lambda", RestJson, &[], lambda::rows),
    service("logs", "CloudWatch Logs", Json11, &["Logs_"], logs::rows),
    service("monitoring", "CloudWatch", Query, &["GraniteService"], cloudwatch::rows),
    service("rekognition", "Rekognition", Json11, &["RekognitionService"], rekognition::rows),
    service("route53", "Route 53", RestXml, &[], route53::rows),
    service("s3", "S3", RestXml, &[], s3::rows),
    service("secretsmanager", "Secrets Manager", Json11, &["secretsmanager"], secrets_manager::rows),
    service("servicequotas", "Service Quotas", Json11, &["ServiceQuotasV20190624"], service_quotas::rows),
    service("ssm", "Systems Manager", Json11, &["AmazonSSM"], parameters::rows),
    service("sts", "STS", Query, &[], sts::rows),
    service("wafv2", "WAF", Json11, &["AWSWAF_20190729"], waf::rows),
];

const fn service(
    name: &'static str,
    title: &'static str,
    protocol: Protocol,
    targets: &'static [&'static str],
    rows: fn() -> Rows,
) -> Service {
    Service { name, title, protocol, targets, rows }
}

/// Identifies the call of `request`.
///
/// The credential scope names the service. Without a signature, it is inferred from the request's shape.
pub(crate) fn identify(request: &Request) -> Call {
    match signed_for(request).as_deref().or_else(|| by_target(request)) {
        Some("s3") => s3_call(request),
        Some("lambda") => {
            let input = Input::of(RestJson, request);
            let (operation, row) = lambda::identify(&request.method, input.rest());
            Call { row, ..Call::of("lambda", operation, RestJson, input) }
        }
        Some("route53") => {
            let input = Input::of(RestXml, request);
            let (operation, row) = route53::identify(&request.method, input.rest());
            // Its errors have the form of the Query protocol's.
            Call { row, ..Call::of("route53", &operation, Query, input) }
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

fn known(service: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|known| known.name == service)
}

/// A call of the operation with this name.
fn named(service: &str, operation: &str, protocol: Protocol, input: Input) -> Call {
    let rows = known(service).map(|known| (known.rows)());
    let row = rows.and_then(|mut rows| rows.find(|row| row.name == operation));
    Call { row, ..Call::of(service, operation, protocol, input) }
}

fn s3_call(request: &Request) -> Call {
    let (operation, row) = s3::identify(request);
    Call { row, ..Call::of("s3", operation, RestXml, Input::of(RestXml, request)) }
}

fn query_call(service: &str, request: &Request) -> Call {
    let protocol = match known(service).map(|known| known.protocol) {
        Some(protocol @ (Ec2 | Query)) => protocol,
        _ if is_form(request) => Query,
        _ => RestJson,
    };
    let input = match protocol {
        RestJson => Input::Form(request.form()),
        protocol => Input::of(protocol, request),
    };
    let operation = input.text("Action").unwrap_or(&request.path).to_owned();
    named(service, &operation, protocol, input)
}

fn json_of(service: &str, request: &Request) -> Protocol {
    let kind = request.header("content-type").unwrap_or_default();
    let is_older = known(service).is_some_and(|known| known.protocol == Json10);
    if is_older || kind.contains("json-1.0") { Json10 } else { Json11 }
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

/// Returns the service that the request's target names.
fn by_target(request: &Request) -> Option<&'static str> {
    let target = request.header("x-amz-target")?;
    let is_its = |service: &&Service| service.targets.iter().any(|prefix| target.starts_with(prefix));
    SERVICES.iter().find(is_its).map(|service| service.name)
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

    fn summary(call: &Call) -> (&str, &str, bool) {
        (&call.service, &call.operation, call.mutating())
    }

    #[test]
    fn the_credential_scope_names_the_service() {
        let signed =
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
        let form = "application/x-www-form-urlencoded";
        let headers = [("authorization", signed), ("content-type", form)];
        let call = identify(&request(Method::POST, "/", &headers, "Action=CreateRole&RoleName=x"));
        assert_eq!(summary(&call), ("iam", "CreateRole", true));
    }

    #[test]
    fn the_target_names_the_operation() {
        let headers = [("x-amz-target", "DynamoDB_20120810.UpdateItem")];
        let call = identify(&request(Method::POST, "/", &headers, "{}"));
        assert_eq!(summary(&call), ("dynamodb", "UpdateItem", true));
        assert_eq!(call.protocol, Json10);
    }

    #[test]
    fn a_bare_path_is_s3() {
        let call = identify(&request(Method::GET, "/bucket/a/b?X-Amz-Signature=0", &[], ""));
        assert_eq!(summary(&call), ("s3", "GetObject", false));
        let call = identify(&request(Method::PUT, "/bucket/?cors", &[], ""));
        assert_eq!(summary(&call), ("s3", "PutBucketCors", true));
    }
}
