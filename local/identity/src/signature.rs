//! Verifies Signature Version 4: the signer of a request, and that it has not been altered since.

mod chain;
mod payload;
mod signed;
mod v2;
mod words;

use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::credentials::{Access, Identity};
use kit::answer::Refusal;
use kit::call::{Call, Request};
pub use payload::{Payload, is_chunked};

use signed::{SKEW, Signed};
use words::Words;

/// Canonical requests percent-encode everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The maximum lifetime of a presigned URL, in seconds (docs/aws.md §4.4).
const LONGEST: i64 = 604_800;

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

#[cfg(test)]
mod tests;
