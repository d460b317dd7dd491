//! What a signature covers.

use sha2::{Digest, Sha256};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use kit::answer::Refusal;
use kit::call::{Request, pairs};
use kit::region_names::{GLOBAL, REGIONS};

use super::words::Words;
use super::{LONGEST, encode, header_text, hmac};

/// The maximum clock skew.
pub(super) const SKEW: Duration = Duration::minutes(15);

/// The signature of a request and the values it was made with.
pub(super) struct Signed {
    pub(super) access_key: String,
    /// `20260101/us-east-1/s3/aws4_request`
    pub(super) scope: String,
    pub(super) date: String,
    pub(super) headers: Vec<String>,
    pub(super) signature: String,
    pub(super) token: Option<String>,
    /// Seconds, for presigned URLs only.
    pub(super) expires: Option<i64>,
}

impl Signed {
    pub(super) fn read(request: &Request, words: &Words) -> Result<Option<Signed>, Refusal> {
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

    pub(super) fn check_time(&self, words: &Words, now: OffsetDateTime) -> Result<(), Refusal> {
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
    pub(super) fn check_scope(&self, words: &Words) -> Result<(), Refusal> {
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
    pub(super) fn check_headers(&self, request: &Request, words: &Words) -> Result<(), Refusal> {
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
    pub(super) fn expected(&self, request: &Request, key: &[u8], s3: bool) -> String {
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
