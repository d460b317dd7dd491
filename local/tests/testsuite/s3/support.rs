//! Helpers shared by several modules.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Tag, Tagging};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};

pub async fn bucket(s3: &aws_sdk_s3::Client) -> &'static str {
    s3.create_bucket().bucket("images-of-ada").send().await.unwrap();
    "images-of-ada"
}

pub fn encoded(key: &str) -> String {
    percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The `Content-MD5` of a body.
pub fn md5(body: &str) -> String {
    BASE64_STANDARD.encode(Md5::digest(body))
}

pub fn a_minute() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(60)).unwrap()
}

pub fn tagging(key: &str) -> Tagging {
    Tagging::builder().tag_set(Tag::builder().key(key).value("v").build().unwrap()).build().unwrap()
}
