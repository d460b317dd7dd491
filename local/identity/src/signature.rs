//! Verifies Signature Version 4: the signer of a request, and that it has not been altered since.

mod chain;
mod payload;
mod v2;

use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::credentials::{Access, Identity};
use kit::answer::{Protocol, Refusal, expired_token};
use kit::call::{Call, Request, pairs};
use kit::region_names::{GLOBAL, REGIONS};
pub use payload::{Payload, is_chunked};

/// Canonical requests percent-encode everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The maximum lifetime of a presigned URL, in seconds (docs/aws.md §4.4).
const LONGEST: i64 = 604_800;
/// The maximum clock skew.
const SKEW: Duration = Duration::minutes(15);

/// Verifies the signature of `request`, and returns its caller.
///
/// Guarantees that path, query, signed headers and the body, whole or in chunks, are what the owner of the key signed.
/// `region` is the bucket's, which a Version 2 signature does not name.
pub fn verify(
    request: &Request,
    call: &Call,
    access: &Access,
    region: &str,
    now: OffsetDateTime,
) -> Result<Identity, Refusal> {
    let words = Words { protocol: call.protocol, s3: call.service == "s3" };
    if words.s3 && v2::is_signed(request) {
        return v2::verify(request, access, region, &words, now);
    }
    let (signed, identity) = claimed(request, &words, access, now)?;
    let key = signing_key(&identity.secret_key, &signed.scope);
    if signed.expected(request, &key, words.s3) != signed.signature {
        return Err(words.mismatch());
    }
    signed.check_headers(request, &words)?;
    // A body on disk was verified as it arrived.
    if words.s3 && request.upload.is_none() {
        let mut payload = Payload::of(request, &signed, key, words)?;
        payload.take(&request.body, |_| Ok(()))?;
        payload.end()?;
    }
    Ok(identity)
}

/// Refuses a request whose head alone shows that no known caller signed it. The body has not arrived yet; the returned
/// [`Payload`] verifies that of an S3 request as it arrives.
///
/// For S3, the signature of the head is verified here. Elsewhere the signature covers the body as well, and is verified
/// with it.
pub fn check_head(
    head: &Request,
    call: &Call,
    access: &Access,
    region: &str,
    now: OffsetDateTime,
) -> Result<Payload, Refusal> {
    let words = Words { protocol: call.protocol, s3: call.service == "s3" };
    if words.s3 && v2::is_signed(head) {
        v2::verify(head, access, region, &words, now)?;
        return Ok(Payload::unsigned(head));
    }
    let (signed, identity) = claimed(head, &words, access, now)?;
    let key = signing_key(&identity.secret_key, &signed.scope);
    if words.s3 && signed.expected(head, &key, true) != signed.signature {
        return Err(words.mismatch());
    }
    signed.check_headers(head, &words)?;
    if words.s3 { Payload::of(head, &signed, key, words) } else { Ok(Payload::unsigned(head)) }
}

/// The signature and the identity that a request claims, after checking its time, scope and session token.
fn claimed(
    request: &Request,
    words: &Words,
    access: &Access,
    now: OffsetDateTime,
) -> Result<(Signed, Identity), Refusal> {
    let Some(signed) = Signed::read(request, words)? else {
        return Err(words.unsigned());
    };
    let identity = access.identity(&signed.access_key).ok_or_else(|| words.unknown_key())?;
    signed.check_time(words, now)?;
    signed.check_scope(words)?;
    check_session(&identity, signed.token.as_deref(), words, now)?;
    Ok((signed, identity))
}

/// Verifies the policy of a form that a browser sends, signed with either version, and returns its signer.
pub fn verify_form(
    field: &dyn Fn(&str) -> Option<String>,
    call: &Call,
    access: &Access,
    region: &str,
    now: OffsetDateTime,
) -> Result<Identity, Refusal> {
    let words = Words { protocol: call.protocol, s3: true };
    let policy = field("policy").ok_or_else(|| words.unsigned())?;
    let token = field("x-amz-security-token");
    let missing = |name: &str| {
        let text = format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
        );
        Refusal::new(400, "InvalidArgument", text)
    };
    let need = |name: &str| field(name).ok_or_else(|| missing(name));
    let (identity, expected, signature) = if let Some(access_key) = field("awsaccesskeyid") {
        v2::check_region(region)?;
        let identity = access.identity(&access_key).ok_or_else(|| words.unknown_key())?;
        let expected = v2::mac(&identity.secret_key, &policy);
        (identity, expected, need("signature")?)
    } else {
        if need("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
            return Err(v2::unsupported());
        }
        let credential = need("x-amz-credential")?;
        let (access_key, scope) = credential.split_once('/').ok_or_else(|| words.malformed())?;
        let (access_key, scope) = (access_key.to_owned(), scope.to_owned());
        let identity = access.identity(&access_key).ok_or_else(|| words.unknown_key())?;
        let (date, signature) = (need("x-amz-date")?, need("x-amz-signature")?);
        let (headers, token, expires) = (Vec::new(), token.clone(), None);
        let signed = Signed { access_key, scope, date, headers, signature: signature.clone(), token, expires };
        signed.check_scope(&words)?;
        let key = signing_key(&identity.secret_key, &signed.scope);
        (identity, hex::encode(hmac(&key, policy.as_bytes())), signature)
    };
    check_session(&identity, token.as_deref(), &words, now)?;
    if expected == signature { Ok(identity) } else { Err(words.mismatch()) }
}

/// Temporary credentials require their token, and expire.
fn check_session(identity: &Identity, token: Option<&str>, words: &Words, now: OffsetDateTime) -> Result<(), Refusal> {
    let Some(session) = &identity.session else { return Ok(()) };
    if token != Some(session.token.as_str()) {
        return Err(words.bad_token());
    }
    if session.expires <= now { Err(words.expired_token()) } else { Ok(()) }
}

/// The signature of a request and the values it was made with.
struct Signed {
    access_key: String,
    /// `20260101/us-east-1/s3/aws4_request`
    scope: String,
    date: String,
    headers: Vec<String>,
    signature: String,
    token: Option<String>,
    /// Seconds, for presigned URLs only.
    expires: Option<i64>,
}

impl Signed {
    fn read(request: &Request, words: &Words) -> Result<Option<Signed>, Refusal> {
        if request.header("authorization").is_some() {
            Signed::from_header(request).ok_or_else(|| words.malformed()).map(Some)
        } else if request.has("X-Amz-Signature") || request.has("X-Amz-Algorithm") {
            let signed = Signed::from_query(request).ok_or_else(|| words.malformed_query())?;
            Ok(Some(signed))
        } else {
            Ok(None)
        }
    }

    fn from_header(request: &Request) -> Option<Signed> {
        let parts = request.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256")?;
        let part = |name: &str| parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let (access_key, scope) = part("Credential")?.split_once('/')?;
        Some(Signed {
            access_key: access_key.to_owned(),
            scope: scope.to_owned(),
            date: request.header("x-amz-date")?.to_owned(),
            headers: part("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: part("Signature")?.to_owned(),
            token: request.header("x-amz-security-token").map(str::to_owned),
            expires: None,
        })
    }

    fn from_query(request: &Request) -> Option<Signed> {
        let credential = request.parameter("X-Amz-Credential")?;
        let (access_key, scope) = credential.split_once('/')?;
        let expires = request.parameter("X-Amz-Expires")?.parse().ok()?;
        Some(Signed {
            access_key: access_key.to_owned(),
            scope: scope.to_owned(),
            date: request.parameter("X-Amz-Date")?,
            headers: request.parameter("X-Amz-SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: request.parameter("X-Amz-Signature")?,
            token: request.parameter("X-Amz-Security-Token"),
            expires: (0..=LONGEST).contains(&expires).then_some(expires).map(Some)?,
        })
    }

    fn check_time(&self, words: &Words, now: OffsetDateTime) -> Result<(), Refusal> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = PrimitiveDateTime::parse(&self.date, format).map_err(|_| words.malformed())?.assume_utc();
        // An expiry time beyond the calendar's range has not been reached.
        let is_over = |seconds| date.checked_add(Duration::seconds(seconds)).is_some_and(|end| end <= now);
        match self.expires {
            Some(seconds) if is_over(seconds) => Err(Refusal::new(403, "AccessDenied", "Request has expired")),
            Some(_) if date > now + SKEW => Err(Refusal::new(403, "AccessDenied", "Request is not valid yet")),
            None if (date - now).abs() > SKEW => Err(words.skewed()),
            _ => Ok(()),
        }
    }

    /// Checks that the scope names the day of the date, and a region that exists.
    fn check_scope(&self, words: &Words) -> Result<(), Refusal> {
        let parts: Vec<&str> = self.scope.split('/').collect();
        let [day, signed_for, _, "aws4_request"] = parts.as_slice() else {
            return Err(words.malformed());
        };
        if self.date.get(..8) != Some(*day) {
            return Err(words.malformed());
        }
        if REGIONS.contains(signed_for) { Ok(()) } else { Err(words.wrong_region(signed_for, GLOBAL)) }
    }

    /// Checks that `host` and, for S3, every `x-amz-` header is signed: neither a proxy nor the user of a presigned URL
    /// may add to what its signer allowed.
    fn check_headers(&self, request: &Request, words: &Words) -> Result<(), Refusal> {
        let is_signed = |name: &str| self.headers.iter().any(|signed| signed == name);
        if !is_signed("host") {
            return Err(words.malformed());
        }
        let unsigned = |name: &str| name.starts_with("x-amz-") && !is_signed(name);
        if words.s3 && request.headers.keys().any(|name| unsigned(name.as_str())) {
            let text = "There were headers present in the request which were not signed";
            return Err(Refusal::new(403, "AccessDenied", text));
        }
        Ok(())
    }

    /// The signature that the owner of the signing key would have made.
    fn expected(&self, request: &Request, key: &[u8], s3: bool) -> String {
        let canonical = self.canonical(request, s3);
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope,
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        hex::encode(hmac(key, text.as_bytes()))
    }

    fn canonical(&self, request: &Request, s3: bool) -> String {
        // S3 signs the path as it is sent; all others encode it once more.
        let path = match request.path.as_str() {
            "" => "/".to_owned(),
            path if s3 => path.to_owned(),
            path => path.split('/').map(encode).collect::<Vec<_>>().join("/"),
        };
        let mut query: Vec<(String, String)> = pairs(&request.query)
            .filter(|(key, _)| self.expires.is_none() || key != "X-Amz-Signature")
            .map(|(key, value)| (encode(&key), encode(&value)))
            .collect();
        query.sort();
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let headers: String =
            self.headers.iter().map(|name| format!("{name}:{}\n", header_text(request, name))).collect();
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{}",
            request.method,
            query.join("&"),
            self.headers.join(";"),
            self.payload(request, s3)
        )
    }

    fn payload(&self, request: &Request, s3: bool) -> String {
        match request.header("x-amz-content-sha256").filter(|_| s3) {
            Some(announced) => announced.to_owned(),
            None if self.expires.is_some() && s3 => "UNSIGNED-PAYLOAD".to_owned(),
            None => hex::encode(Sha256::digest(&request.body)),
        }
    }
}

/// Derives the signing key from `secret_key` for the day, region and service of `scope`.
fn signing_key(secret_key: &str, scope: &str) -> Vec<u8> {
    scope.split('/').fold(format!("AWS4{secret_key}").into_bytes(), |key, part| hmac(&key, part.as_bytes()))
}

fn header_text(request: &Request, name: &str) -> String {
    let values = request.headers.get_all(name).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    });
    values.collect::<Vec<_>>().join(",")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// Error responses, whose codes depend on the protocol.
#[derive(Clone, Copy)]
struct Words {
    protocol: Protocol,
    s3: bool,
}

impl Words {
    fn unsigned(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => Refusal::new(403, "AccessDenied", "Access Denied"),
            Protocol::Ec2 => {
                Refusal::new(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
            }
            _ => Refusal::new(403, "MissingAuthenticationToken", "Missing Authentication Token"),
        }
    }

    fn malformed(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => {
                Refusal::new(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
            }
            _ => Refusal::new(400, "IncompleteSignature", "The request signature does not conform to AWS standards."),
        }
    }

    fn malformed_query(&self) -> Refusal {
        Refusal::new(
            400,
            "AuthorizationQueryParametersError",
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires (0 to 604800) parameters.",
        )
    }

    fn unknown_key(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => Refusal::new(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            ),
            Protocol::Ec2 => self.unsigned(),
            Protocol::Query => {
                Refusal::new(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
            }
            _ => Refusal::new(
                400,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
        }
    }

    fn bad_token(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => {
                Refusal::new(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
            }
            _ => self.unknown_key(),
        }
    }

    fn expired_token(&self) -> Refusal {
        expired_token(self.protocol)
    }

    fn skewed(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => Refusal::new(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
            Protocol::Ec2 => Refusal::new(400, "RequestExpired", "Request has expired."),
            _ => self.mismatch(),
        }
    }

    fn mismatch(&self) -> Refusal {
        const TEXT: &str = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
        match self.protocol {
            Protocol::RestXml | Protocol::Query => Refusal::new(403, "SignatureDoesNotMatch", TEXT),
            Protocol::Ec2 => self.unsigned(),
            _ => Refusal::new(403, "InvalidSignatureException", TEXT),
        }
    }

    fn wrong_region(&self, signed_for: &str, region: &str) -> Refusal {
        let text = "Credential should be scoped to a valid region. ";
        match self.protocol {
            Protocol::RestXml => Refusal::new(
                400,
                "AuthorizationHeaderMalformed",
                format!(
                    "The authorization header is malformed; the region '{signed_for}' is wrong; expecting '{region}'"
                ),
            ),
            Protocol::Query => Refusal::new(403, "SignatureDoesNotMatch", text),
            Protocol::Ec2 => self.unsigned(),
            _ => Refusal::new(403, "InvalidSignatureException", text),
        }
    }
}

#[cfg(test)]
mod tests {
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
            let mut built =
                headers.fold(builder, |builder, (name, value)| builder.header(name, value)).body(()).unwrap();
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
            assert_eq!(
                changed(&signed, "0;chunk-signature=", "9;chunk-signature="),
                refused("IncompleteBody"),
                "{mode}"
            );
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
            let signed =
                |region| Signer { region, ..Signer::user(service) }.sign("GET", "http://127.0.0.1:1/bucket", "");
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
}
