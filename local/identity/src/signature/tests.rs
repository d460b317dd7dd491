//! Valid signatures of every form, and the errors for invalid ones.

use kit::answer::Protocol;
use kit::region_names::GLOBAL;
use time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity as SignerIdentity;
use aws_smithy_runtime_api::http::Headers;
use bytes::Bytes;

use std::sync::Arc;

use super::*;
use kit::ACCESS_KEY;
use kit::SECRET_KEY;

/// A call of the service that the request is signed for, S3 by default.
fn identify(request: &Request) -> Call {
    let scope = kit::call::credential(request);
    let service = scope.as_deref().and_then(|scope| scope.rsplit('/').nth(1)).unwrap_or("s3");
    let protocol = match service {
        "s3" => Protocol::RestXml,
        "dynamodb" => Protocol::Json10,
        "lambda" | "sqs" => Protocol::RestJson,
        _ => Protocol::Query,
    };
    Call::of(service, "PutObject", protocol, kit::call::Input::of(protocol, request))
}

struct Signer {
    key: String,
    secret: String,
    token: Option<String>,
    service: &'static str,
    region: &'static str,
    life: Option<std::time::Duration>,
    time: std::time::SystemTime,
}

impl Signer {
    fn user(service: &'static str) -> Signer {
        let (key, secret) = (ACCESS_KEY.into(), SECRET_KEY.into());
        let time = std::time::SystemTime::now();
        Signer { key, secret, token: None, service, region: "us-east-1", life: None, time }
    }

    /// Signs with the crate that the SDKs use.
    fn sign(&self, method: &str, uri: &str, body: &str) -> Request {
        let payload = match self.life {
            Some(_) => SignableBody::UnsignedPayload,
            None => SignableBody::Bytes(body.as_bytes()),
        };
        let identity = self.identity();
        with_body(self.sign_head(method, uri, payload, self.params(&identity)).0, body)
    }

    /// A request whose body has two chunks, signed one after the other.
    fn sign_stream(&self, mode: &str, trailer: Option<(&'static str, &'static str)>) -> Request {
        let identity = self.identity();
        let payload = SignableBody::Precomputed(mode.to_owned());
        let uri = "http://127.0.0.1:1/bucket/key";
        let (request, mut last) = self.sign_head("PUT", uri, payload, self.params(&identity));
        let mut body = String::new();
        for chunk in ["wiki", "pedia", ""] {
            last = v4::sign_chunk(&chunk.into(), &last, &self.params(&identity)).unwrap().into_parts().1;
            let end = if chunk.is_empty() { "" } else { "\r\n" };
            body += &format!("{:x};chunk-signature={last}\r\n{chunk}{end}", chunk.len());
        }
        if let Some((name, value)) = trailer {
            let mut trailers = Headers::new();
            trailers.insert(name, value);
            last = v4::sign_trailer(&trailers, &last, &self.params(&identity)).unwrap().into_parts().1;
            body += &format!("{name}:{value}\r\nx-amz-trailer-signature:{last}\r\n");
        }
        with_body(request, &(body + "\r\n"))
    }

    fn identity(&self) -> SignerIdentity {
        Credentials::new(&self.key, &self.secret, self.token.clone(), None, "test").into()
    }

    fn params<'a>(&'a self, identity: &'a SignerIdentity) -> v4::SigningParams<'a, SigningSettings> {
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        if self.life.is_none() {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings.session_token_mode = SessionTokenMode::Include;
        if self.life.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = self.life;
        }
        v4::SigningParams::builder()
            .identity(identity)
            .region(self.region)
            .name(self.service)
            .time(self.time)
            .settings(settings)
            .build()
            .unwrap()
    }

    /// A request without its body, and its signature.
    fn sign_head(
        &self,
        method: &str,
        uri: &str,
        payload: SignableBody,
        params: v4::SigningParams<SigningSettings>,
    ) -> (Request, String) {
        let headers = [("host", "127.0.0.1:1"), ("x-amz-meta-colour", "red")];
        let headers = headers.into_iter().take(if self.life.is_some() { 1 } else { 2 });
        let signable = SignableRequest::new(method, uri, headers.clone(), payload).unwrap();
        let (instructions, signature) = sign(signable, &params.into()).unwrap().into_parts();
        let builder = http::Request::builder().method(method).uri(uri);
        let mut built = headers.fold(builder, |builder, (name, value)| builder.header(name, value)).body(()).unwrap();
        instructions.apply_to_request_http1x(&mut built);
        let request = Request {
            method: built.method().clone(),
            path: built.uri().path().to_owned(),
            query: built.uri().query().unwrap_or_default().to_owned(),
            headers: built.headers().clone(),
            body: Bytes::new(),
            upload: None,
        };
        (request, signature)
    }
}

fn with_body(request: Request, body: &str) -> Request {
    Request { body: Bytes::copy_from_slice(body.as_bytes()), ..request }
}

fn check(request: &Request, access: &Access, later: Duration) -> Result<Identity, String> {
    let now = OffsetDateTime::now_utc() + later;
    verify(request, &identify(request), access, GLOBAL, now).map_err(|refusal| refusal.code)
}

fn access() -> (tempfile::TempDir, Access) {
    let dir = tempfile::tempdir().unwrap();
    let access = Access::open(dir.path().join("credentials.json"), Arc::default()).unwrap();
    (dir, access)
}

#[test]
fn signatures_of_the_sdk_are_accepted_and_altered_ones_are_not() {
    let (_dir, access) = access();
    for (service, uri) in [
        ("s3", "http://127.0.0.1:1/bucket/a%20b%2Bc/%C3%A9?x-id=GetObject&prefix=a%2Fb"),
        ("lambda", "http://127.0.0.1:1/2017-03-31/tags/arn%3Aaws%3Alambda?tagKeys=a&tagKeys=b"),
    ] {
        let request = Signer::user(service).sign("PUT", uri, "body");
        assert!(check(&request, &access, Duration::ZERO).is_ok(), "{service}");
        let changed = Request { path: request.path.replace('a', "b"), ..request };
        assert!(check(&changed, &access, Duration::ZERO).is_err(), "{service}");
    }
}

#[test]
fn the_signature_detects_every_alteration() {
    let (_dir, access) = access();
    let signed = Signer::user("s3").sign("PUT", "http://127.0.0.1:1/bucket/key?x-id=PutObject", "body");
    assert!(check(&signed, &access, Duration::ZERO).is_ok());
    let with = |change: fn(&mut Request)| {
        let mut request = signed.clone();
        change(&mut request);
        check(&request, &access, Duration::ZERO).unwrap_err()
    };
    let authorization = |from: &'static str, to: &'static str| {
        let mut request = signed.clone();
        let text = request.header("authorization").unwrap().replace(from, to);
        request.headers.insert("authorization", text.parse().unwrap());
        check(&request, &access, Duration::ZERO).unwrap_err()
    };
    assert_eq!(with(|request| request.method = http::Method::DELETE), "SignatureDoesNotMatch");
    assert_eq!(with(|request| request.path = "/bucket/other".into()), "SignatureDoesNotMatch");
    assert_eq!(with(|request| request.query = "x-id=PutObject&versionId=1".into()), "SignatureDoesNotMatch");
    assert_eq!(with(|request| request.query = String::new()), "SignatureDoesNotMatch");
    assert_eq!(with(|request| request.body = "else".into()), "XAmzContentSHA256Mismatch");
    let header = |request: &mut Request| drop(request.headers.insert("x-amz-meta-colour", "blue".parse().unwrap()));
    assert_eq!(with(header), "SignatureDoesNotMatch");
    assert_eq!(with(|request| drop(request.headers.remove("x-amz-meta-colour"))), "SignatureDoesNotMatch");
    let added = |request: &mut Request| drop(request.headers.insert("x-amz-acl", "private".parse().unwrap()));
    assert_eq!(with(added), "AccessDenied");
    let host = |request: &mut Request| drop(request.headers.insert("host", "127.0.0.1:2".parse().unwrap()));
    assert_eq!(with(host), "SignatureDoesNotMatch");
    let hash = |request: &mut Request| {
        request.headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    };
    assert_eq!(with(hash), "SignatureDoesNotMatch");
    assert_eq!(authorization("SignedHeaders=host;", "SignedHeaders="), "SignatureDoesNotMatch");
    assert_eq!(authorization("Signature=", "Signature=0"), "SignatureDoesNotMatch");
    assert_eq!(authorization("us-east-1", "eu-west-1"), "SignatureDoesNotMatch");
    assert_eq!(authorization("us-east-1", "eu-west-9"), "AuthorizationHeaderMalformed");
    assert_eq!(authorization("aws4_request", "aws5_request"), "AuthorizationHeaderMalformed");
    // A signature for another service is not valid for this one.
    assert_eq!(authorization("/s3/", "/sqs/"), "InvalidSignatureException");
}

#[test]
fn of_a_stream_every_chunk_and_the_trailer_are_signed() {
    let (_dir, access) = access();
    let changed = |request: &Request, from: &str, to: &str| {
        let body = std::str::from_utf8(&request.body).unwrap().replacen(from, to, 1);
        check(&with_body(request.clone(), &body), &access, Duration::ZERO).map(drop)
    };
    let refused = |code: &str| Err(code.to_owned());
    let trailer = Some(("x-amz-checksum-crc32", "rarALg=="));
    for (mode, trailer) in
        [("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", None), ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailer)]
    {
        let signed = Signer::user("s3").sign_stream(mode, trailer);
        assert_eq!(changed(&signed, "", ""), Ok(()), "{mode}");
        assert_eq!(changed(&signed, "wiki", "wika"), refused("SignatureDoesNotMatch"), "{mode}");
        assert_eq!(changed(&signed, "pedia", "pedie"), refused("SignatureDoesNotMatch"), "{mode}");
        assert_eq!(changed(&signed, "0;chunk-signature=", "0;c="), refused("SignatureDoesNotMatch"), "{mode}");
        assert_eq!(changed(&signed, "0;chunk-signature=", "9;chunk-signature="), refused("IncompleteBody"), "{mode}");
        if trailer.is_some() {
            assert_eq!(changed(&signed, "rarA", "rarB"), refused("SignatureDoesNotMatch"));
            assert_eq!(changed(&signed, "x-amz-trailer-signature", "x-other"), refused("SignatureDoesNotMatch"));
        }
    }
    let unknown = Signer::user("s3").sign_stream("STREAMING-UNSIGNED-PAYLOAD", None);
    assert_eq!(changed(&unknown, "", ""), refused("InvalidArgument"));
}

#[test]
fn an_unauthenticated_request_is_recognised_by_its_head() {
    let (_dir, access) = access();
    let head = |request: &Request| {
        let head = Request { body: Bytes::new(), ..request.clone() };
        check_head(&head, &identify(&head), &access, GLOBAL, OffsetDateTime::now_utc())
            .map(drop)
            .map_err(|refusal| refusal.code)
    };
    for service in ["s3", "dynamodb"] {
        let uri = "http://127.0.0.1:1/bucket/key";
        let signed = Signer::user(service).sign("PUT", uri, "body");
        assert_eq!(head(&signed), Ok(()), "{service}");
        let unsigned = Request { headers: http::HeaderMap::new(), ..signed };
        assert!(head(&unsigned).is_err(), "{service}");
        let stranger = Signer { key: "AKIASTRANGER".into(), ..Signer::user(service) };
        assert!(head(&stranger.sign("PUT", uri, "body")).is_err(), "{service}");
    }
    let signed = Signer::user("s3").sign("PUT", "http://127.0.0.1:1/bucket/key", "body");
    let changed = Request { path: "/bucket/other".to_owned(), ..signed };
    assert_eq!(head(&changed), Err("SignatureDoesNotMatch".to_owned()));
}

#[test]
fn only_s3_takes_a_body_that_is_not_signed() {
    let (_dir, access) = access();
    for (service, accepted) in [("s3", true), ("lambda", false)] {
        let signer = Signer::user(service);
        let identity = signer.identity();
        let uri = "http://127.0.0.1:1/2015-03-31/functions";
        let (request, _) = signer.sign_head("POST", uri, SignableBody::UnsignedPayload, signer.params(&identity));
        assert_eq!(check(&with_body(request, "{}"), &access, Duration::ZERO).is_ok(), accepted, "{service}");
    }
}

#[test]
fn a_signature_is_for_a_region_that_exists_and_a_quarter_of_an_hour() {
    let (_dir, access) = access();
    for (service, expected) in [("s3", "AuthorizationHeaderMalformed"), ("dynamodb", "InvalidSignatureException")] {
        let signed = |region| Signer { region, ..Signer::user(service) }.sign("GET", "http://127.0.0.1:1/bucket", "");
        assert!(check(&signed("eu-west-1"), &access, Duration::ZERO).is_ok());
        assert_eq!(check(&signed("eu-west-9"), &access, Duration::ZERO).unwrap_err(), expected);
    }
    let request = Signer::user("s3").sign("GET", "http://127.0.0.1:1/bucket", "");
    for (later, accepted) in [(14, true), (-14, true), (16, false), (-16, false)] {
        let checked = check(&request, &access, Duration::minutes(later));
        assert_eq!(checked.is_ok(), accepted, "{later} minutes");
        assert!(accepted || checked == Err("RequestTimeTooSkewed".to_owned()));
    }
}

#[test]
fn a_presigned_url_is_valid_for_its_request_only() {
    let (_dir, access) = access();
    let signer = Signer { life: Some(std::time::Duration::from_secs(60)), ..Signer::user("s3") };
    let signed = signer.sign("GET", "http://127.0.0.1:1/bucket/key", "");
    let query = |from: &str, to: &str| {
        let request = Request { query: signed.query.replace(from, to), ..signed.clone() };
        check(&request, &access, Duration::ZERO).unwrap_err()
    };
    assert_eq!(query("X-Amz-Expires=60", "X-Amz-Expires=6000"), "SignatureDoesNotMatch");
    assert_eq!(query("X-Amz-Expires=60", "X-Amz-Expires=604801"), "AuthorizationQueryParametersError");
    assert_eq!(query("us-east-1", "eu-west-9"), "AuthorizationHeaderMalformed");
    assert_eq!(query("us-east-1", "eu-west-1"), "SignatureDoesNotMatch");
    assert_eq!(query("X-Amz-Signature=", "X-Amz-Other="), "AuthorizationQueryParametersError");
    let other = Request { path: "/bucket/other".to_owned(), ..signed.clone() };
    assert_eq!(check(&other, &access, Duration::ZERO).unwrap_err(), "SignatureDoesNotMatch");
    assert_eq!(check(&signed, &access, -Duration::minutes(16)).unwrap_err(), "AccessDenied");
}

#[test]
fn a_presigned_url_expires() {
    let (_dir, access) = access();
    let signer = Signer { life: Some(std::time::Duration::from_secs(60)), ..Signer::user("s3") };
    let request = signer.sign("GET", "http://127.0.0.1:1/bucket/key", "");
    assert!(check(&request, &access, Duration::seconds(50)).is_ok());
    assert_eq!(check(&request, &access, Duration::seconds(61)).unwrap_err(), "AccessDenied");
    let mut added = request.clone();
    added.headers.insert("x-amz-acl", "public-read".parse().unwrap());
    assert_eq!(check(&added, &access, Duration::ZERO).unwrap_err(), "AccessDenied");
    let changed = Request { method: http::Method::PUT, ..request };
    assert_eq!(check(&changed, &access, Duration::ZERO).unwrap_err(), "SignatureDoesNotMatch");
}

#[test]
fn temporary_credentials_need_their_token_and_end() {
    let (_dir, access) = access();
    let issued = access.issue("web", "i-1", Duration::minutes(10)).unwrap();
    let mut signer = Signer { key: issued.access_key, secret: issued.secret_key, ..Signer::user("s3") };
    let without = signer.sign("GET", "http://127.0.0.1:1/bucket/key", "");
    assert_eq!(check(&without, &access, Duration::ZERO).unwrap_err(), "InvalidToken");
    signer.token = Some(access.issue("web", "i-2", Duration::minutes(10)).unwrap().token);
    let with_anothers = signer.sign("GET", "http://127.0.0.1:1/bucket/key", "");
    assert_eq!(check(&with_anothers, &access, Duration::ZERO).unwrap_err(), "InvalidToken");
    signer.token = Some(issued.token);
    let with = signer.sign("GET", "http://127.0.0.1:1/bucket/key", "");
    assert!(check(&with, &access, Duration::ZERO).unwrap().session.is_some());
    assert_eq!(check(&with, &access, Duration::minutes(11)).unwrap_err(), "ExpiredToken");
}

#[test]
fn unknown_access_keys_are_refused() {
    let (_dir, access) = access();
    let signer = Signer { key: "AKIASTRANGER".into(), ..Signer::user("s3") };
    let request = signer.sign("GET", "http://127.0.0.1:1/bucket/key", "");
    assert_eq!(check(&request, &access, Duration::ZERO).unwrap_err(), "InvalidAccessKeyId");
    let unsigned = Request { headers: http::HeaderMap::new(), ..request };
    assert_eq!(check(&unsigned, &access, Duration::ZERO).unwrap_err(), "AccessDenied");
}
