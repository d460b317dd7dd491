//! The way to AWS: certificates, proxies and endpoints.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    case::{Case, ID, SECRET, STACK, check_all},
    servers::{Answer, serve},
};
use crate::support::Project;

/// The certificates of this machine, replaced by something else.
const CERTIFICATES: &[Case] = &[
    Case {
        what: "a device",
        variables: &[ID, SECRET, ("SSL_CERT_FILE", "/dev/null")],
        error: "SSL_CERT_FILE: failed to read /dev/null: it is a device, not a regular file",
        ..WITHOUT_CERTIFICATES
    },
    Case {
        what: "no directory, and a file of something else",
        variables: &[ID, SECRET, ("SSL_CERT_DIR", "~/none"), ("SSL_CERT_FILE", "~/stack.yaml")],
        error: "this machine has no CA certificates to verify AWS",
        ..WITHOUT_CERTIFICATES
    },
    Case {
        what: "a missing bundle",
        variables: &[ID, SECRET, ("AWS_CA_BUNDLE", "~/none")],
        error: "AWS_CA_BUNDLE: failed to read ~/none: No such file or directory (os error 2)",
        ..WITHOUT_CERTIFICATES
    },
    Case {
        what: "a bundle of something else",
        variables: &[ID, SECRET, ("AWS_CA_BUNDLE", "~/stack.yaml")],
        error: "AWS_CA_BUNDLE: ~/stack.yaml holds no CA certificate",
        ..WITHOUT_CERTIFICATES
    },
];
const WITHOUT_CERTIFICATES: Case = Case { hint: "AWS_CA_BUNDLE", code: 78, ..Case::NONE };

#[test]
fn missing_ca_certificates_are_reported_in_one_line() {
    check_all(CERTIFICATES);
}

/// Calls to AWS are sent where the SDK sends them: through a proxy, past it, or to other endpoints.
#[test]
fn calls_use_the_configured_proxies_and_endpoints() {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let all = requests.clone();
    let proxy = serve(move |request| {
        all.lock().push(request.lines().next().unwrap_or_default().to_owned());
        Answer::Says(403, "text/plain", "no".into())
    });
    let china = Some("CONNECT sts.cn-north-1.amazonaws.com.cn:443 HTTP/1.1");
    let gov_cloud = Some("CONNECT sts.us-gov-west-1.amazonaws.com:443 HTTP/1.1");
    for (region, variables, expected) in [
        ("us-east-1", &[("HTTPS_PROXY", &*proxy)][..], Some("CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1")),
        ("us-east-1", &[("ALL_PROXY", &*proxy)], Some("CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1")),
        ("us-east-1", &[("HTTP_PROXY", &*proxy)], None),
        ("us-east-1", &[("HTTPS_PROXY", &*proxy), ("NO_PROXY", "example.com,.amazonaws.com")], None),
        (
            "us-east-1",
            &[("HTTPS_PROXY", &*proxy), ("AWS_USE_FIPS_ENDPOINT", "true")],
            Some("CONNECT sts-fips.us-east-1.amazonaws.com:443 HTTP/1.1"),
        ),
        (
            "us-east-1",
            &[("HTTPS_PROXY", &*proxy), ("AWS_USE_DUALSTACK_ENDPOINT", "true")],
            Some("CONNECT sts.us-east-1.api.aws:443 HTTP/1.1"),
        ),
        ("cn-north-1", &[("HTTPS_PROXY", &*proxy)], china),
        ("us-gov-west-1", &[("HTTPS_PROXY", &*proxy)], gov_cloud),
    ] {
        requests.lock().clear();
        let project = Project::with(&STACK.replace("us-east-1", region));
        let said = project.run_with(&["plan"], &[&[ID, SECRET], variables].concat());
        assert_eq!(said.code, 77, "{}", said.all());
        let requests = requests.lock().clone();
        assert_eq!(requests.first().map(String::as_str), expected, "{variables:?}: {requests:?} {}", said.all());
        if let Some((name, _)) = variables.first().filter(|_| expected.is_some()) {
            assert!(said.stderr.contains(&format!("cannot be reached by way of {name}")), "{}", said.all());
        }
    }
}

#[test]
fn the_aws_configuration_does_not_affect_the_local_aws() {
    let project = Project::with(STACK);
    project.done(&["local", "start"]);
    for variable in [
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_RETRY_MODE", "legacy"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_STS", "nonsense"),
        ("AWS_CONFIG_FILE", "/dev/zero"),
        ("AWS_PROFILE", "missing"),
        ("AWS_ACCESS_KEY_ID", "half"),
        ("AWS_REGION", "nowhere"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "required"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nowhere"),
    ] {
        let said = project.run_with(&["plan", "--local", "--detailed-exitcode"], &[variable]);
        assert_eq!(said.code, 2, "{variable:?}: {}", said.all());
    }
}
