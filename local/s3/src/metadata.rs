//! Metadata of objects: what an upload sets, and how reads return it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::lock::{self, Retention};
use super::request::S3Request;
use super::store::{BucketSettings, Class, Metadata};
use super::xml::unserved;
use super::{encryption, tags};
use kit::answer::Refusal;

/// Headers of an upload that are returned with the object, besides user-defined metadata.
const KEPT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    REDIRECT,
];
/// The header with the address to which a website would redirect its readers.
pub(super) const REDIRECT: &str = "x-amz-website-redirect-location";
const METADATA: &str = "x-amz-meta-";
/// The maximum size of the user-defined metadata in bytes (S3 user guide, "Working with object metadata").
const MOST_METADATA: usize = 2048;
/// The maximum size of an upload's headers in bytes.
const MOST_HEADERS: usize = 8192;
/// The default content type.
const SOME_BYTES: &str = "binary/octet-stream";

/// The storage classes that differ only in price: their objects can be read at once. Others would have to be restored
/// first.
const CLASSES: &[&str] =
    &["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];
const OTHER_CLASSES: &[&str] =
    &["GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP"];

impl Metadata {
    /// Parses the headers of an upload.
    pub(super) fn of(request: &S3Request) -> Result<Metadata, Refusal> {
        check_encryption(request.header(ENCRYPTION))?;
        Ok(Metadata {
            headers: headers(&request.http.headers)?,
            tags: tags::of_header(request)?,
            class: class(request.header("x-amz-storage-class"))?,
            retention: Retention::in_headers(
                request.header("x-amz-object-lock-mode"),
                request.header("x-amz-object-lock-retain-until-date"),
            )?,
            is_held: lock::hold(request.header("x-amz-object-lock-legal-hold"))?,
            key: None,
        })
    }

    /// Sets the headers of a response to a reader.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        for (name, text) in &self.headers {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), shown(name, text)) else { continue };
            headers.insert(name, value);
        }
        encryption::write(self.key.as_ref(), headers);
        if self.class != Class::default() {
            set(headers, "x-amz-storage-class", &self.class.0);
        }
        if !self.tags.is_empty() {
            set(headers, "x-amz-tagging-count", &self.tags.len().to_string());
        }
    }
}

/// The header with the encryption of an object.
pub(super) const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// An object is encrypted as its bucket says, or with S3's own keys if the upload names these. Uploads that name a key of KMS
/// themselves are not implemented.
pub(super) fn check_encryption(wanted: Option<&str>) -> Result<(), Refusal> {
    match wanted {
        None | Some("AES256") => Ok(()),
        Some(kms @ ("aws:kms" | "aws:kms:dsse")) => Err(unserved(&format!("{ENCRYPTION}: {kms}"))),
        Some(_) => {
            let text = "The encryption request that you specified is not valid. The valid value is AES256.";
            Err(Refusal::new(400, "InvalidEncryptionAlgorithmError", text))
        }
    }
}

pub(super) fn class(wanted: Option<&str>) -> Result<Class, Refusal> {
    match wanted {
        None => Ok(Class::default()),
        Some(name) if CLASSES.contains(&name) => Ok(Class(name.to_owned())),
        Some(name) if OTHER_CLASSES.contains(&name) => Err(unserved(&format!("the storage class {name}"))),
        Some(_) => Err(Refusal::new(400, "InvalidStorageClass", "The storage class you specified is not valid")),
    }
}

/// Checks a canned ACL. There are no ACLs where the bucket owner owns everything (docs/aws.md §4.1); elsewhere, only
/// those that grant nothing to others are accepted.
pub(super) fn check_acl(settings: &BucketSettings, acl: Option<&str>) -> Result<(), Refusal> {
    let Some(acl) = acl else { return Ok(()) };
    let is_public = ["public-read", "public-read-write", "authenticated-read"].contains(&acl);
    let is_owners = ["private", "bucket-owner-read", "bucket-owner-full-control"].contains(&acl);
    if !is_public && !is_owners && acl != "aws-exec-read" {
        return Err(Refusal::new(400, "InvalidArgument", ""));
    }
    if settings.is_owner_enforced() {
        return if acl == "bucket-owner-full-control" { Ok(()) } else { Err(no_acls()) };
    }
    match (is_owners, is_public && settings.blocks("BlockPublicAcls")) {
        (true, _) => Ok(()),
        (false, true) => Err(Refusal::new(403, "AccessDenied", "Access Denied")),
        (false, false) => Err(unserved(&format!("the access control list {acl}"))),
    }
}

pub(super) fn no_acls() -> Refusal {
    Refusal::new(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

fn headers(sent: &HeaderMap) -> Result<std::collections::BTreeMap<String, String>, Refusal> {
    let total: usize = sent.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if total > MOST_HEADERS {
        let text = "Your request header section exceeds the maximum allowed request header section size.";
        return Err(Refusal::new(400, "RequestHeaderSectionTooLarge", text));
    }
    let mut kept = std::collections::BTreeMap::new();
    let mut metadata = 0;
    for name in sent.keys().map(HeaderName::as_str) {
        let key = name.strip_prefix(METADATA);
        if key.is_none() && !KEPT.contains(&name) {
            continue;
        }
        let values: Vec<String> = sent.get_all(name).iter().map(text).collect();
        let value = values.join(",");
        metadata += key.map_or(0, |key| key.len() + value.len());
        kept.insert(name.to_owned(), value);
    }
    if metadata > MOST_METADATA {
        let text = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(Refusal::new(400, "MetadataTooLarge", text));
    }
    // `aws-chunked` describes the transfer of the body, not the object.
    if let Some(encodings) = kept.remove("content-encoding") {
        let others: Vec<&str> =
            encodings.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "aws-chunked").collect();
        if !others.is_empty() {
            kept.insert("content-encoding".to_owned(), others.join(", "));
        }
    }
    kept.entry("content-type".to_owned()).or_insert_with(|| SOME_BYTES.to_owned());
    if let Some(place) = kept.get(REDIRECT)
        && !["/", "http://", "https://"].iter().any(|start| place.starts_with(start))
    {
        let text = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
        return Err(Refusal::new(400, "InvalidRedirectLocation", text));
    }
    Ok(kept)
}

/// S3 reads bytes beyond ASCII as ISO 8859-1, and decodes words that are encoded as in RFC 2047 ("User-defined object
/// metadata").
fn text(value: &HeaderValue) -> String {
    let text: String = value.as_bytes().iter().copied().map(char::from).collect();
    decoded(&text).unwrap_or(text)
}

fn decoded(text: &str) -> Option<String> {
    let rest = text.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = rest.splitn(3, '?');
    let (charset, encoding, word) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = match encoding {
        _ if !charset.eq_ignore_ascii_case("utf-8") => return None,
        "B" | "b" => BASE64_STANDARD.decode(word).ok()?,
        "Q" | "q" => {
            let escaped = word.replace('%', "%25").replace('_', "%20").replace('=', "%");
            percent_encoding::percent_decode_str(&escaped).collect()
        }
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

fn shown(name: &str, text: &str) -> Result<HeaderValue, header::InvalidHeaderValue> {
    if text.is_ascii() {
        return HeaderValue::from_str(text);
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
    match bytes {
        Some(bytes) if !name.starts_with(METADATA) => HeaderValue::from_bytes(&bytes),
        _ => HeaderValue::from_str(&format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(text))),
    }
}

/// Sets a header, if the text is a valid value.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, text: &str) {
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(sent: &[(&'static str, &[u8])]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let sent = sent.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap()));
        let metadata =
            Metadata { headers: headers(&sent.collect()).map_err(|refusal| refusal.code)?, ..Metadata::default() };
        let mut written = HeaderMap::new();
        metadata.write(&mut written);
        written.remove(ENCRYPTION);
        Ok(written.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect())
    }

    #[test]
    fn headers_come_back_as_they_went_and_metadata_beyond_ascii_as_s3_writes_it() {
        let read_back = |name: &'static str, value: &[u8]| {
            let all = kept(&[(name, value)]).unwrap();
            all.into_iter()
                .find(|(found, _)| found == name)
                .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
        };
        assert_eq!(read_back("x-amz-meta-a", b"plain text").unwrap(), "plain text");
        // The example of the user guide.
        let example = "=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?=";
        assert_eq!(read_back("x-amz-meta-nonascii", "ÄMÄZÕÑ S3".as_bytes()).unwrap(), example);
        assert_eq!(read_back("x-amz-meta-nonascii", example.as_bytes()).unwrap(), example);
        assert_eq!(read_back("x-amz-meta-q", b"=?UTF-8?Q?caf=C3=A9_noir?=").unwrap(), "=?UTF-8?B?Y2Fmw6kgbm9pcg==?=");
        assert_eq!(read_back("x-amz-meta-q", b"=?UTF-8?B?!?=").unwrap(), "=?UTF-8?B?!?=");
        assert_eq!(read_back("content-disposition", b"inline").unwrap(), "inline");
        assert_eq!(read_back("content-encoding", b"gzip, aws-chunked").unwrap(), "gzip");
        assert_eq!(read_back("content-encoding", b"aws-chunked"), None);
        assert_eq!(kept(&[]).unwrap(), [("content-type".to_owned(), SOME_BYTES.into())]);
    }

    #[test]
    fn oversized_metadata_and_headers_are_refused() {
        let (most, more) = (vec![b'v'; 2047], vec![b'v'; 2048]);
        assert!(kept(&[("x-amz-meta-k", &most)]).is_ok());
        assert_eq!(kept(&[("x-amz-meta-k", &more)]).unwrap_err(), "MetadataTooLarge");
        assert_eq!(kept(&[("cache-control", &[b'v'; 8192])]).unwrap_err(), "RequestHeaderSectionTooLarge");
        assert_eq!(kept(&[(REDIRECT, b"ftp://x")]).unwrap_err(), "InvalidRedirectLocation");
    }

    #[test]
    fn unsupported_settings_are_refused_and_unknown_ones_have_the_errors_of_s3() {
        let code = |checked: Result<(), Refusal>| checked.err().map(|refusal| refusal.code).unwrap_or_default();
        assert_eq!(code(check_encryption(Some("aws:kms"))), "NotImplemented");
        assert_eq!(code(check_encryption(Some("ROT13"))), "InvalidEncryptionAlgorithmError");
        assert_eq!(code(class(Some("STANDARD_IA")).map(drop)), "");
        assert_eq!(code(class(Some("GLACIER")).map(drop)), "NotImplemented");
        assert_eq!(code(class(Some("CHEAP")).map(drop)), "InvalidStorageClass");
        let open = BucketSettings::default();
        for (acl, expected) in [("private", ""), ("public-read", "NotImplemented"), ("everybody", "InvalidArgument")] {
            assert_eq!(code(check_acl(&open, Some(acl))), expected, "{acl}");
        }
    }
}
