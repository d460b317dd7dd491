//! Objects that are encrypted with keys of KMS, as the default encryption of their bucket says (docs/aws.md §4.3).

use http::HeaderMap;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use kit::answer::Refusal;
use kit::call::{Asked, Need};
use kit::key::{Key, Unusable};

use super::metadata::{ENCRYPTION, set};
use super::object::find;
use super::store::{BucketSettings, State};
use super::xml::{Element, unserved};
use super::{S3, copied, target};

/// The key of a default encryption that names none.
const KEY_OF_S3: &str = "alias/aws/s3";

/// The service, as in the condition key `kms:ViaService`.
const SERVICE: &str = "s3";

/// The key that an object is encrypted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectKey {
    /// The name that the bucket has for it.
    name: String,
    arn: String,
    /// Whether it is derived from a key of the bucket.
    is_bucket_key: bool,
}

impl ObjectKey {
    /// The ETag of an object, which is not the MD5 of its bytes.
    pub(super) fn etag(&self, md5: &[u8]) -> String {
        hex::encode(Md5::new().chain_update(md5).chain_update(&self.arn).finalize())
    }
}

/// Sets the headers with the encryption of an object.
pub(super) fn write(key: Option<&ObjectKey>, headers: &mut HeaderMap) {
    let Some(key) = key else { return set(headers, ENCRYPTION, "AES256") };
    set(headers, ENCRYPTION, "aws:kms");
    set(headers, "x-amz-server-side-encryption-aws-kms-key-id", &key.arn);
    if key.is_bucket_key {
        set(headers, "x-amz-server-side-encryption-bucket-key-enabled", "true");
    }
}

impl BucketSettings {
    /// The name of the default key, and whether the bucket has a key of its own below it; `None` without KMS.
    fn default_key(&self) -> Result<Option<(String, bool)>, Refusal> {
        let Some(text) = self.documents.get("encryption") else { return Ok(None) };
        let document = Element::read(text.as_bytes(), "ServerSideEncryptionConfiguration")?;
        let rule = document.child("Rule");
        let Some((rule, default)) = rule.zip(rule.and_then(|rule| rule.child("ApplyServerSideEncryptionByDefault")))
        else {
            return Ok(None);
        };
        match default.get("SSEAlgorithm") {
            Some("aws:kms") => {
                let name = default.get("KMSMasterKeyID").unwrap_or(KEY_OF_S3).to_owned();
                Ok(Some((name, rule.flag("BucketKeyEnabled")?.unwrap_or(false))))
            }
            Some(other @ "aws:kms:dsse") => Err(unserved(&format!("the bucket's default encryption {other}"))),
            _ => Ok(None),
        }
    }

    /// The key of a new object whose upload names this encryption.
    pub(super) fn key_for(&self, asked: Option<&str>, region: &str) -> Result<Option<ObjectKey>, Refusal> {
        if asked.is_some() {
            return Ok(None);
        }
        let Some((name, is_bucket_key)) = self.default_key()? else { return Ok(None) };
        let key = Key::find(&name, region).map_err(|why| no_key(&name, why))?;
        Ok(Some(ObjectKey { arn: key.arn, name, is_bucket_key }))
    }
}

/// The error for a write to a bucket whose key cannot be used. S3 takes the setting itself with any name.
fn no_key(name: &str, why: Unusable) -> Refusal {
    let text = match why {
        Unusable::Malformed => format!("Invalid keyId '{name}'"),
        Unusable::Elsewhere => format!("Invalid arn {name}"),
        Unusable::Absent => format!("Key '{name}' does not exist"),
    };
    Refusal::new(400, "KMS.NotFoundException", text)
}

impl S3 {
    /// The permissions on keys that a call needs, depending on what exists.
    pub fn key_needs(&self, asked: &Asked) -> Vec<Need> {
        let request = asked.request;
        let (bucket, key) = target(request);
        let (bucket, key) = (bucket.unwrap_or_default(), key.unwrap_or_default());
        let says = |name: &str| request.header(name).is_some() || request.parameter(name).is_some();
        let reads = || self.needs_to_read(&bucket, &key, request.parameter("versionId").as_deref());
        let writes =
            |actions: &[&str]| if says(ENCRYPTION) { Vec::new() } else { self.default_needs(&bucket, actions) };
        match asked.call.operation.as_str() {
            "GetObject" => reads(),
            "HeadObject" if says("x-amz-checksum-mode") => reads(),
            "PutObject" | "PostObject" | "CreateMultipartUpload" => writes(&["GenerateDataKey"]),
            // Parts are read again to join them.
            "UploadPart" => writes(&["Decrypt", "GenerateDataKey"]),
            "CompleteMultipartUpload" => writes(&["Decrypt"]),
            "CopyObject" | "UploadPartCopy" => {
                let source = copied(request).ok();
                let read = source.map(|(bucket, key, version)| self.needs_to_read(&bucket, &key, version.as_deref()));
                read.unwrap_or_default().into_iter().chain(writes(&["GenerateDataKey"])).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The permissions on keys that reading an object needs.
    pub fn needs_to_read(&self, bucket: &str, key: &str, version: Option<&str>) -> Vec<Need> {
        let look = |state: &State| {
            let found = find(state.bucket(bucket).ok()?, key, version).ok()?;
            found.object.metadata.key
        };
        let found = self.store.read(look).and_then(|key| Key::find(&key.name, &self.region).ok());
        found.and_then(|key| key.need("Decrypt", SERVICE, &self.region)).into_iter().collect()
    }

    /// The permissions on keys that writing objects needs.
    pub fn needs_to_write(&self, bucket: &str) -> Vec<Need> {
        self.default_needs(bucket, &["GenerateDataKey"])
    }

    fn default_needs(&self, bucket: &str, actions: &[&str]) -> Vec<Need> {
        let default = self.store.read(|state| state.bucket(bucket).ok()?.settings.default_key().ok()?);
        let key = default.and_then(|(name, _)| Key::find(&name, &self.region).ok());
        let needs =
            key.iter().flat_map(|key| actions.iter().map(move |action| key.need(action, SERVICE, &self.region)));
        needs.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{element, wrap};

    fn bucket(algorithm: &str, key: &str) -> BucketSettings {
        let key = if key.is_empty() { String::new() } else { element("KMSMasterKeyID", key) };
        let default = wrap("ApplyServerSideEncryptionByDefault", &(element("SSEAlgorithm", algorithm) + &key));
        let rule = wrap("Rule", &(default + &element("BucketKeyEnabled", "true")));
        let mut settings = BucketSettings::default();
        settings.documents.insert("encryption".to_owned(), wrap("ServerSideEncryptionConfiguration", &rule));
        settings
    }

    #[test]
    fn the_default_key_of_a_bucket_encrypts_what_names_no_other() {
        let key = |algorithm: &str, key: &str, asked| {
            let found = bucket(algorithm, key).key_for(asked, "us-east-1");
            found.map(|key| key.map(|key| key.name)).map_err(|refusal| refusal.code)
        };
        assert_eq!(key("AES256", "", None), Ok(None));
        assert_eq!(key("aws:kms", "", None), Ok(Some(KEY_OF_S3.to_owned())));
        assert_eq!(key("aws:kms", "alias/app", None), Ok(Some("alias/app".to_owned())));
        assert_eq!(key("aws:kms", "alias/app", Some("AES256")), Ok(None));
        for wrong in ["app", kit::key::ABSENT_ALIAS, "arn:aws:kms:eu-west-3:000000000000:alias/app"] {
            assert_eq!(key("aws:kms", wrong, None), Err("KMS.NotFoundException".to_owned()), "{wrong}");
        }
        assert_eq!(key("aws:kms:dsse", "", None), Err("NotImplemented".to_owned()));
        assert_eq!(BucketSettings::default().key_for(None, "us-east-1").unwrap(), None);
    }

    #[test]
    fn readers_see_the_key_of_an_object() {
        let mut headers = HeaderMap::new();
        let key = bucket("aws:kms", "alias/app").key_for(None, "us-east-1").unwrap();
        write(key.as_ref(), &mut headers);
        assert_eq!(headers[ENCRYPTION], "aws:kms");
        let arn = key.as_ref().unwrap().arn.as_str();
        assert_eq!(headers["x-amz-server-side-encryption-aws-kms-key-id"], arn);
        assert_eq!(headers["x-amz-server-side-encryption-bucket-key-enabled"], "true");
        assert_ne!(key.unwrap().etag(&[0; 16]), hex::encode([0_u8; 16]));
    }
}
