//! Pictures as objects of the bucket: addresses for browsers, and removal.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use posts::{ObjectName, PostId, User};

use crate::error::Error;

/// How long a picture's address lives.
const LIFE: Duration = Duration::from_secs(3600);
/// How long the same address is given for a picture, so that browsers need not load it again.
const WINDOW: Duration = Duration::from_secs(1800);
/// For how long an address is good at least, however late in its window it is given: half its life.
pub(crate) const PROMISED: Duration = Duration::from_secs(LIFE.as_secs() - WINDOW.as_secs());
/// How long an upload may begin after it was asked for.
const UPLOAD_LIFE: Duration = Duration::from_secs(900);

/// The bucket of the pictures.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    client: Client,
    bucket: String,
}

impl Pictures {
    pub(crate) fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket }
    }

    /// The address at which anybody can see a picture for a while.
    pub(crate) async fn address(&self, key: &str) -> Result<String, Error> {
        let get = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            // A picture never changes under its name: while its address is the same, no browser asks twice.
            .response_cache_control(format!("private, max-age={}, immutable", WINDOW.as_secs()));
        let signed = get.presigned(signing(window_start(SystemTime::now()), LIFE)).await?;
        Ok(signed.uri().to_owned())
    }

    /// The address to which the author can PUT a picture with exactly this content type.
    pub(crate) async fn upload_address(&self, name: &ObjectName, content_type: &str) -> Result<String, Error> {
        let put = self.client.put_object().bucket(&self.bucket).key(name.to_string()).content_type(content_type);
        let signed = put.presigned(signing(SystemTime::now(), UPLOAD_LIFE)).await?;
        Ok(signed.uri().to_owned())
    }

    /// Asks for the bucket, to see whether there is an answer.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        self.client.head_bucket().bucket(&self.bucket).send().await?;
        Ok(())
    }

    /// Removes every picture of a post, also those that never were labelled.
    pub(crate) async fn remove(&self, user: &User, post: PostId) -> Result<(), Error> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(ObjectName::prefix(user, post));
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let keys: Vec<_> = page?.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect();
            for key in keys {
                // One call for each: a post has one picture, rarely two, and this call needs no checksum of a body.
                self.client.delete_object().bucket(&self.bucket).key(key).send().await?;
            }
        }
        Ok(())
    }
}

fn signing(start: SystemTime, life: Duration) -> PresigningConfig {
    PresigningConfig::builder().start_time(start).expires_in(life).build().expect("every lifetime here is under a week")
}

fn window_start(now: SystemTime) -> SystemTime {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since - since % WINDOW.as_secs())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::{Credentials, Region};
    use poem::http::Uri;

    use super::*;

    /// Made as the program makes it, so that what is tested is what is used.
    async fn pictures() -> Pictures {
        let shared = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(Credentials::for_tests()))
            .build();
        let settings = crate::Settings::read(|name| matches!(name, "BUCKET" | "DYNAMO_TABLE").then(|| "b".to_owned()));
        crate::Clients::new(&shared, &settings.unwrap()).await.unwrap().pictures
    }

    fn parameters(address: &str) -> Vec<(String, String)> {
        let address: Uri = address.parse().unwrap();
        let pairs = address.query().unwrap().split('&').map(|pair| pair.split_once('=').unwrap());
        let mut pairs: Vec<_> = pairs.map(|(name, value)| (name.to_lowercase(), value.to_lowercase())).collect();
        pairs.sort();
        pairs
    }

    fn value(address: &str, name: &str) -> String {
        parameters(address).into_iter().find(|(key, _)| key == name).unwrap().1
    }

    #[tokio::test]
    async fn an_upload_signs_the_content_type_and_nothing_else() {
        let id = PostId::new();
        let name = ObjectName::new(User::parse("ada").unwrap(), id, &"cat.jpg".parse().unwrap());
        let address = pictures().await.upload_address(&name, "image/jpeg").await.unwrap();
        assert_eq!(value(&address, "x-amz-signedheaders"), "content-type%3bhost");
        assert_eq!(value(&address, "x-amz-expires"), "900");
        assert!(parameters(&address).iter().all(|(name, _)| !name.contains("checksum")), "{address}");
    }

    #[tokio::test]
    async fn a_picture_needs_no_header() {
        let address = pictures().await.address("ada/x/cat.jpg").await.unwrap();
        assert_eq!(value(&address, "x-amz-signedheaders"), "host");
        assert_eq!(value(&address, "x-amz-expires"), "3600");
        assert!(parameters(&address).iter().all(|(name, _)| !name.contains("checksum")), "{address}");
    }

    #[test]
    fn an_address_is_the_same_for_a_window_and_never_older_than_half_its_life() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let start = window_start(at(1_700_000_000));
        for late in [0, 1, WINDOW.as_secs() - 1] {
            let now = start + Duration::from_secs(late);
            assert_eq!(window_start(now), start);
            assert!(start + LIFE > now + PROMISED);
        }
        assert_eq!(window_start(start + WINDOW), start + WINDOW);
        assert!(PROMISED * 2 >= LIFE);
    }
}
