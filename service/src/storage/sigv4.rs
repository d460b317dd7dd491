//! Signature Version 4, for presigned URLs and for calls.
//!
//! The SDK's signer handles every possible request at many times the cost. The tests compare each signature with the
//! SDK's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{Date, OffsetDateTime};
use tokio::sync::RwLock;

/// Everything except RFC 3986's unreserved characters.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same for object keys, whose slashes stay.
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');
/// After this time, credentials without an expiry are resolved again, as the SDK does: they may have changed.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// An endpoint, with the scope for its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The origin: `https://b.s3.eu-west-3.amazonaws.com`.
    pub origin: String,
    /// The prefix of each path: empty, or `/b` if the bucket has no host name of its own.
    pub path: String,
    pub region: String,
    pub service: String,
}

/// The purpose of a presigned URL.
pub(crate) struct Use<'a> {
    pub method: &'static str,
    /// Encoded query parameters, in the order in which they are written.
    pub query: &'a [&'a str],
    /// The header that the request must have, if any.
    pub content_type: Option<&'a str>,
    pub from: SystemTime,
    pub life: Duration,
}

/// Signs for one destination, with credentials that are resolved again when they expire.
#[derive(Debug)]
pub(crate) struct Signer {
    place: Destination,
    source: SharedCredentialsProvider,
    keys: RwLock<Option<Arc<SigningKeys>>>,
}

/// The parts that all signatures of a day share.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    credentials: Credentials,
    good_until: SystemTime,
    day: Date,
    key: Vec<u8>,
}

impl Signer {
    pub(crate) fn new(place: Destination, source: SharedCredentialsProvider) -> Self {
        Self { place, source, keys: RwLock::default() }
    }

    /// Returns today's signing key. One caller renews it while the others wait.
    pub(crate) async fn keys(&self, now: SystemTime) -> Result<Arc<SigningKeys>, CredentialsError> {
        let good = |keys: &Option<Arc<SigningKeys>>| keys.clone().filter(|keys| keys.are_good(now));
        if let Some(keys) = good(&*self.keys.read().await) {
            return Ok(keys);
        }
        let mut kept = self.keys.write().await;
        if let Some(keys) = good(&kept) {
            return Ok(keys);
        }
        let keys = Arc::new(SigningKeys::new(&self.place, self.source.provide_credentials().await?, now));
        *kept = Some(keys.clone());
        Ok(keys)
    }

    /// Returns the presigned URL of an object for this use.
    pub(crate) fn address(&self, keys: &SigningKeys, key: &str, purpose: &Use<'_>) -> String {
        keys.sign(&self.place, key, purpose)
    }

    /// The URL of the destination itself.
    pub(crate) fn root(&self) -> String {
        let Destination { origin, path, .. } = &self.place;
        format!("{origin}{path}/")
    }

    /// Returns the headers that sign a POST to the destination with this body and these headers.
    pub(crate) fn headers(
        &self,
        keys: &SigningKeys,
        now: SystemTime,
        content_type: &str,
        target: &str,
        body: &[u8],
    ) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let Destination { origin, path, .. } = &self.place;
        let (time, host, token) = (basic_time(now), host(origin), keys.credentials.session_token());
        let (token_line, signed) = match token {
            Some(token) => (
                format!("x-amz-security-token:{}\n", one_spaced(token)),
                "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            ),
            None => (String::new(), "content-type;host;x-amz-date;x-amz-target"),
        };
        let hash = hex::encode(digest(&SHA256, body));
        let request = format!(
            "POST\n{path}/\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{time}\n\
             {token_line}x-amz-target:{target}\n\n{signed}\n{hash}"
        );
        let (scope, signature) = keys.signature(&self.place, &time, &request);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            keys.credentials.access_key_id(),
        );
        let token = token.map(|token| ("x-amz-security-token", token.to_owned()));
        [("x-amz-date", time), ("authorization", authorization)].into_iter().chain(token)
    }
}

impl SigningKeys {
    fn new(place: &Destination, credentials: Credentials, now: SystemTime) -> Self {
        let good_until = credentials.expiry().unwrap_or(now + KEPT);
        let key = generate_signing_key(credentials.secret_access_key(), now, &place.region, &place.service);
        Self { good_until, day: OffsetDateTime::from(now).date(), key: key.as_ref().to_vec(), credentials }
    }

    fn are_good(&self, now: SystemTime) -> bool {
        now < self.good_until && OffsetDateTime::from(now).date() == self.day
    }

    fn sign(&self, place: &Destination, key: &str, purpose: &Use<'_>) -> String {
        let Use { method, query, content_type, from, life } = purpose;
        let Destination { origin, path, .. } = place;
        let time = basic_time(*from);
        let scope = scope(place, &time);
        let path = format!("{path}/{}", utf8_percent_encode(key, IN_PATH));
        let host = host(origin);
        let (headers, signed) = match content_type {
            Some(value) => (format!("content-type:{}\nhost:{host}\n", one_spaced(value)), "content-type;host"),
            None => (format!("host:{host}\n"), "host"),
        };
        let parameters = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires={}",
            utf8_percent_encode(&format!("{}/{scope}", self.credentials.access_key_id()), IN_QUERY),
            life.as_secs(),
        );
        let token = self.credentials.session_token().map(|token| utf8_percent_encode(token, IN_QUERY));
        let token = token.map_or_else(String::new, |token| format!("&X-Amz-Security-Token={token}"));
        let headers_too = format!("&X-Amz-SignedHeaders={}", utf8_percent_encode(signed, IN_QUERY));
        // Parameters are signed in order of their names, capitals first, and written in the SDK's order.
        let mut sorted = query.to_vec();
        sorted.sort_unstable();
        let behind: String = sorted.iter().map(|parameter| format!("&{parameter}")).collect();
        let request = format!(
            "{method}\n{path}\n{parameters}{token}{headers_too}{behind}\n{headers}\n{signed}\nUNSIGNED-PAYLOAD"
        );
        let (_, signature) = self.signature(place, &time, &request);
        let before: String = query.iter().map(|parameter| format!("{parameter}&")).collect();
        format!("{origin}{path}?{before}{parameters}{headers_too}&X-Amz-Signature={signature}{token}")
    }

    /// Returns the signature of a canonical request, with its scope.
    fn signature(&self, place: &Destination, time: &str, request: &str) -> (String, String) {
        let (scope, hash) = (scope(place, time), hex::encode(digest(&SHA256, request.as_bytes())));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let signature = calculate_signature(&self.key, text.as_bytes());
        (scope, signature)
    }
}

fn scope(Destination { region, service, .. }: &Destination, time: &str) -> String {
    format!("{}/{region}/{service}/aws4_request", &time[..8])
}

/// The `Host` header: without a default port.
fn host(origin: &str) -> &str {
    match origin.split_once("://") {
        Some(("http", host)) => host.strip_suffix(":80").unwrap_or(host),
        Some((_, host)) => host.strip_suffix(":443").unwrap_or(host),
        None => origin,
    }
}

/// `20130524T000000Z`.
fn basic_time(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// A header value in canonical form: trimmed, with consecutive blanks collapsed.
fn one_spaced(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;

    use super::*;

    #[tokio::test]
    async fn headers_are_those_of_the_sdk() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_123);
        let (content_type, target) = ("application/x-amz-json-1.0", "DynamoDB_20120810.Query");
        for token in [None, Some("AQoDYXdzEPT//////////wEXAMPLE+token=/==")] {
            for (origin, path) in [("https://dynamodb.eu-west-3.amazonaws.com", ""), ("http://127.0.0.1:4566", "/sub")]
            {
                let (origin, path) = (origin.to_owned(), path.to_owned());
                let place = Destination { origin, path, region: "eu-west-3".into(), service: "dynamodb".into() };
                let credentials = Credentials::new("AKID", "wJalr+secret", token.map(str::to_owned), None, "test");
                let signer = Signer::new(place, SharedCredentialsProvider::new(credentials.clone()));
                let keys = signer.keys(now).await.unwrap();
                let mut ours: Vec<_> = signer.headers(&keys, now, content_type, target, b"{}").collect();

                let identity = credentials.into();
                let signing = v4::SigningParams::builder().identity(&identity).region("eu-west-3").name("dynamodb");
                let signing = signing.time(now).settings(SigningSettings::default()).build().unwrap().into();
                let headers = [("content-type", content_type), ("x-amz-target", target)].into_iter();
                let body = SignableBody::Bytes(b"{}");
                let request = SignableRequest::new("POST", signer.root(), headers, body).unwrap();
                let (signed, _) = sign(request, &signing).unwrap().into_parts();
                let (theirs, _) = signed.into_parts();
                let mut theirs: Vec<_> =
                    theirs.iter().map(|header| (header.name(), header.value().to_owned())).collect();
                ours.sort_unstable();
                theirs.sort_unstable();
                assert_eq!(ours, theirs);
            }
        }
    }

    /// The example in AWS's documentation, "Authenticating Requests: Using Query Parameters".
    #[test]
    fn the_published_example_is_reproduced() {
        let place = Destination {
            origin: "https://examplebucket.s3.amazonaws.com".into(),
            path: String::new(),
            region: "us-east-1".into(),
            service: "s3".into(),
        };
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, None, None, "example");
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let life = Duration::from_secs(86_400);
        let read = Use { method: "GET", query: &[], content_type: None, from, life };
        assert_eq!(
            SigningKeys::new(&place, credentials, from).sign(&place, "test.txt", &read),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
