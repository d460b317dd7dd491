//! The default encryption of a bucket: with a key of S3, or with one of KMS.

use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};

use super::{Bucket, Settings};
use crate::{
    cloud::aws::{Aws, found},
    engine::Fault,
};

/// The default encryption of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encryption {
    /// The algorithm: `AES256` or `aws:kms`.
    pub algorithm: String,
    /// The KMS key, by ARN or alias.
    pub key: Option<String>,
    /// Whether S3 derives keys for objects from one of the bucket.
    pub bucket_key: bool,
}

impl Settings {
    /// The same, encrypted with this key of KMS if there is one.
    pub fn encrypted_with(self, key: Option<String>) -> Settings {
        match key {
            Some(_) => Settings { encryption: ServerSideEncryption::AwsKms.to_string(), key, bucket_key: true, ..self },
            None => self,
        }
    }

    pub(super) fn encryption(&self) -> Encryption {
        Encryption { algorithm: self.encryption.clone(), key: self.key.clone(), bucket_key: self.bucket_key }
    }
}

impl Bucket {
    /// No configuration means the default (docs/aws.md §4.3).
    pub(super) async fn encryption(&self, aws: &Aws) -> Result<Encryption, Fault> {
        let call = aws.s3.get_bucket_encryption().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let answer = found(call.send().await)?;
        let rule = answer
            .as_ref()
            .and_then(|answer| answer.server_side_encryption_configuration())
            .and_then(|configuration| configuration.rules().first());
        let default = rule.and_then(|rule| rule.apply_server_side_encryption_by_default());
        let algorithm = default.map_or(&ServerSideEncryption::Aes256, |default| default.sse_algorithm());
        // Without KMS, a bucket key has no effect.
        let is_kms = *algorithm != ServerSideEncryption::Aes256;
        Ok(Encryption {
            algorithm: algorithm.to_string(),
            key: default.and_then(|default| default.kms_master_key_id()).map(str::to_owned),
            bucket_key: is_kms && rule.and_then(|rule| rule.bucket_key_enabled()).unwrap_or(false),
        })
    }

    pub(super) async fn put_encryption(&self, aws: &Aws, want: &Encryption) -> Result<(), Fault> {
        let default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::from(want.algorithm.as_str()))
            .set_kms_master_key_id(want.key.clone())
            .build()
            .expect("the algorithm is given");
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default);
        let rule = rule.set_bucket_key_enabled(want.key.as_ref().map(|_| want.bucket_key)).build();
        let encryption = ServerSideEncryptionConfiguration::builder().rules(rule).build().expect("a rule is given");
        let call = aws.s3.put_bucket_encryption().bucket(&self.name).set_expected_bucket_owner(self.owner());
        call.server_side_encryption_configuration(encryption).send().await?;
        Ok(())
    }
}
