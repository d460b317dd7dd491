//! Buckets.

use super::encryption_key::EncryptionKey;
use super::scalar::Name;

/// A private bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// The CORS rules.
    pub cors: Option<Cors>,
    /// The function to notify of uploads.
    pub on_upload: Option<Upload>,
    /// Whether the deployer refuses to delete it.
    pub protect: bool,
    /// Whether overwritten and deleted objects are kept as older versions.
    pub versioning: bool,
    /// When S3 deletes its objects.
    pub lifecycle: Lifecycle,
    /// The key that its objects are encrypted with; a key of S3 if absent.
    pub key: Option<EncryptionKey>,
    /// Whether its name is in the account's regional namespace, rather than in the global one.
    pub is_account_regional: bool,
}

/// When S3 deletes the objects of a bucket; never if absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifecycle {
    /// The days after the upload of an object.
    pub expire_days: Option<u16>,
    /// The days after an older version was overwritten or deleted.
    pub noncurrent_days: Option<u16>,
}

/// A CORS rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins, or `*`.
    pub origins: Vec<String>,
    /// HTTP methods.
    pub methods: Vec<String>,
    /// Request headers.
    pub headers: Vec<String>,
    /// Response headers.
    pub expose: Vec<String>,
    /// How long a browser may cache the answer to a preflight, in seconds.
    pub max_age_s: Option<u16>,
}

/// An upload notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The name of the function to notify.
    pub function: Name,
    /// The key prefix.
    pub prefix: Option<String>,
    /// The key suffix.
    pub suffix: Option<String>,
}
