//! Pictures as objects in the bucket: presigned URLs, and removal.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::types::EncodingType;
use lru::LruCache;
use parking_lot::Mutex;
use posts::{ObjectName, PostId, User, decode_key};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::http::error::{Error, caused};
use crate::storage::sigv4::{Signer, SigningKeys, Use};

/// The lifetime of a picture's URL.
const LIFE: Duration = Duration::from_secs(3600);
/// How long the same URL is returned for a picture, so that browsers can cache it.
const WINDOW: Duration = Duration::from_secs(1800);
/// The minimum validity of a URL when it is returned: half its lifetime. Less only if the credentials expire earlier
/// and their source has no fresher ones.
pub(crate) const PROMISED: Duration = Duration::from_secs(LIFE.as_secs() - WINDOW.as_secs());
/// How long an upload URL is valid.
const UPLOAD_LIFE: Duration = Duration::from_secs(900);
/// The most cached URLs, about 1 KB each; the least recently used are signed again.
const KEPT: NonZeroUsize = NonZeroUsize::new(2000).expect("it is more than none");

/// The bucket for pictures.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    client: Client,
    bucket: String,
    signer: Arc<Signer>,
    given: Arc<Mutex<Given>>,
}

impl Pictures {
    pub(crate) fn new(client: Client, bucket: String, signer: Signer) -> Self {
        Self { client, bucket, signer: Arc::new(signer), given: Arc::default() }
    }

    /// Returns the key and settings that sign URLs, at which anyone can see pictures for a while.
    pub(crate) async fn addresses(&self) -> Result<Addresses<'_>, Error> {
        self.addresses_at(SystemTime::now()).await
    }

    async fn addresses_at(&self, now: SystemTime) -> Result<Addresses<'_>, Error> {
        Ok(Addresses { pictures: self, keys: self.signer.keys(now).await?, window: window_start(now) })
    }

    /// Returns the URL to which the author can PUT a picture with exactly this content type.
    pub(crate) async fn upload_address(&self, name: &ObjectName, content_type: &str) -> Result<String, Error> {
        self.upload_address_at(SystemTime::now(), name, content_type).await
    }

    async fn upload_address_at(&self, now: SystemTime, name: &ObjectName, content_type: &str) -> Result<String, Error> {
        let keys = self.signer.keys(now).await?;
        let (query, content_type) = (&["x-id=PutObject"], Some(content_type));
        let upload = Use { method: "PUT", query, content_type, from: now, life: UPLOAD_LIFE };
        Ok(self.signer.address(&keys, &name.to_string(), &upload))
    }

    fn given(&self) -> parking_lot::MutexGuard<'_, Given> {
        self.given.lock()
    }

    /// Checks that the bucket is accessible.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        answer.map(drop).map_err(|error| Error::of_call("HeadBucket", &error))
    }

    /// Removes every picture of a post, including those that were never labelled.
    pub(crate) async fn remove(&self, user: &User, post: PostId) -> Result<(), Error> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(ObjectName::prefix(user, post));
        // Keys with another slash belong to another user, whose name has this prefix. Keys may contain characters that
        // XML cannot represent: without URL encoding, one of them would make the listing unreadable.
        let mut pages = list.delimiter("/").encoding_type(EncodingType::Url).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Error::of_call("ListObjectsV2", &error))?;
            let encoded = page.encoding_type == Some(EncodingType::Url);
            for key in page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key) {
                let key = if encoded { decode_key(&key) } else { Some(key) };
                let key = key.ok_or_else(|| Error::Refused(caused("S3 lists a key that is not valid text")))?;
                // One call each: a post has one picture, rarely two, and unlike `DeleteObjects` this call supports
                // every key and needs no checksum.
                let deleted = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
                deleted.map_err(|error| Error::of_call("DeleteObject", &error))?;
            }
        }
        Ok(())
    }
}

/// The query parameter that controls how a browser treats the object.
///
/// The uploader chooses an object's bytes and type. With a raster image type nothing in it can run, whatever the bytes;
/// objects of other types are never displayed as documents. In a page, `<img>` shows both.
fn presentation(key: &str) -> &'static str {
    const SHOWN: &[(&str, &str)] = &[
        ("jpg", "response-content-type=image%2Fjpeg"),
        ("jpeg", "response-content-type=image%2Fjpeg"),
        ("jfif", "response-content-type=image%2Fjpeg"),
        ("png", "response-content-type=image%2Fpng"),
        ("gif", "response-content-type=image%2Fgif"),
        ("webp", "response-content-type=image%2Fwebp"),
        ("avif", "response-content-type=image%2Favif"),
    ];
    let file = key.rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    let shown = SHOWN.iter().find(|(name, _)| extension.eq_ignore_ascii_case(name));
    shown.map_or("response-content-disposition=attachment", |(_, parameter)| *parameter)
}

/// The URLs for one answer.
pub(crate) struct Addresses<'a> {
    pictures: &'a Pictures,
    keys: Arc<SigningKeys>,
    window: SystemTime,
}

impl Addresses<'_> {
    /// Returns the URL of the picture with this key.
    pub(crate) async fn of(&self, key: &str) -> Address {
        let Self { pictures, keys, window } = self;
        if let Some(address) = pictures.given().find(keys, *window, key) {
            return address;
        }
        // Signing thousands of new URLs takes some milliseconds, so this yields in between.
        tokio::task::consume_budget().await;
        // A picture never changes under its key: while the URL is the same, browsers can use their cache.
        let cached = format!("private%2C%20max-age%3D{}%2C%20immutable", WINDOW.as_secs());
        let presentation = presentation(key);
        let query = ["x-id=GetObject", &format!("response-cache-control={cached}"), presentation];
        let show = Use { method: "GET", query: &query, content_type: None, from: *window, life: LIFE };
        let address = Address::new(&pictures.signer.address(keys, key, &show));
        pictures.given().keep(keys, *window, key, &address);
        address
    }
}

/// A URL serialised as JSON once, as it is sent many times.
#[derive(Debug, Clone)]
pub(crate) struct Address(Arc<RawValue>);

impl Address {
    pub(crate) fn new(address: &str) -> Self {
        Self(to_raw_value(address).expect("a text can be written").into())
    }
}

impl Address {
    /// The URL itself.
    pub(crate) fn url(&self) -> String {
        serde_json::from_str(self.0.get()).expect("it was written from a text")
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn window_start(now: SystemTime) -> SystemTime {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since - since % WINDOW.as_secs())
}

/// The URLs signed within a window: a repeated request gets the same URL without signing.
///
/// Guarantees: URLs are never reused beyond their window or the lifetime of their credentials, so that each is valid as
/// long as promised.
#[derive(Debug)]
struct Given {
    window: SystemTime,
    keys: Option<Arc<SigningKeys>>,
    addresses: LruCache<String, Address>,
}

impl Default for Given {
    fn default() -> Self {
        Self { window: SystemTime::UNIX_EPOCH, keys: None, addresses: LruCache::new(KEPT) }
    }
}

impl Given {
    fn find(&mut self, keys: &Arc<SigningKeys>, window: SystemTime, key: &str) -> Option<Address> {
        self.forget_unless(keys, window);
        self.addresses.get(key).cloned()
    }

    fn keep(&mut self, keys: &Arc<SigningKeys>, window: SystemTime, key: &str, address: &Address) {
        self.forget_unless(keys, window);
        self.addresses.put(key.to_owned(), address.clone());
    }

    fn forget_unless(&mut self, keys: &Arc<SigningKeys>, window: SystemTime) {
        let same_keys = self.keys.as_ref().is_some_and(|before| Arc::ptr_eq(before, keys));
        if !same_keys || self.window != window {
            self.addresses.clear();
            (self.keys, self.window) = (Some(keys.clone()), window);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::{ProvideCredentials, future};
    use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
    use aws_sdk_s3::presigning::PresigningConfig;

    use super::*;

    const KEY: &str = "ada/x/cat.jpg";

    /// Made as in the program, so that the tests cover the real configuration.
    async fn pictures(
        bucket: &str,
        endpoint: Option<&str>,
        credentials: impl ProvideCredentials + 'static,
    ) -> Pictures {
        let shared = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(Region::new("eu-west-3"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let settings = crate::Settings::read(|name| match name {
            "BUCKET" => Some(bucket.to_owned()),
            "DYNAMO_TABLE" => Some("posts".to_owned()),
            "AWS_ENDPOINT_URL" => endpoint.map(str::to_owned),
            _ => None,
        });
        crate::Clients::new(&shared, &settings.unwrap()).await.unwrap().pictures
    }

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        )
    }

    async fn address_at(pictures: &Pictures, now: SystemTime, key: &str) -> String {
        pictures.addresses_at(now).await.unwrap().of(key).await.url()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Signs with the SDK.
    fn signing(from: SystemTime, life: Duration) -> PresigningConfig {
        PresigningConfig::builder().start_time(from).expires_in(life).build().unwrap()
    }

    #[tokio::test]
    async fn addresses_are_those_of_the_sdk_to_the_byte() {
        let ascii: String = (' '..='~').filter(|letter| *letter != '/').collect();
        let keys =
            ["cat.jpg", "Zoé Мария/猫 🐱.PNG", "a//b/./c+d%41&e=f?g#h", &format!("x/{ascii}/y"), "x\u{FFFF}y.svg"];
        let types = ["image/jpeg", "image/svg+xml", "image/x;  a=\"b\"   c", "application/octet-stream"];
        for (bucket, endpoint) in
            [("b-1", None), ("b.1", None), ("b", Some("http://127.0.0.1:4566")), ("b", Some("http://aws:80/sub"))]
        {
            for token in [None, Some("AQoDYXdzEPT//////////wEXAMPLE+token=/==")] {
                let pictures = pictures(bucket, endpoint, credentials(token)).await;
                let (now, client) = (at(1_790_000_123), &pictures.client);
                for key in keys {
                    let get = client.get_object().bucket(bucket).key(key);
                    let get = get.response_cache_control("private, max-age=1800, immutable");
                    let get = match key.rsplit('.').next() {
                        Some("jpg") => get.response_content_type("image/jpeg"),
                        Some("PNG") => get.response_content_type("image/png"),
                        _ => get.response_content_disposition("attachment"),
                    };
                    let sdk = get.presigned(signing(window_start(now), LIFE)).await.unwrap();
                    assert_eq!(address_at(&pictures, now, key).await, sdk.uri(), "{bucket} {key}");
                }
                for (file, content_type) in keys.iter().zip(types) {
                    let file = file.parse().unwrap();
                    let name = ObjectName::new(User::parse("ada b").unwrap(), PostId::new(), &file);
                    let put = client.put_object().bucket(bucket).key(name.to_string()).content_type(content_type);
                    let sdk = put.presigned(signing(now, UPLOAD_LIFE)).await.unwrap();
                    let ours = pictures.upload_address_at(now, &name, content_type).await.unwrap();
                    assert_eq!(ours, sdk.uri(), "{bucket} {name} {content_type}");
                }
            }
        }
    }

    #[test]
    fn an_object_without_an_image_suffix_is_served_as_a_download() {
        for (file, shown) in [
            ("cat.jpg", "response-content-type=image%2Fjpeg"),
            ("cat.JPEG", "response-content-type=image%2Fjpeg"),
            ("a.svg.png", "response-content-type=image%2Fpng"),
            ("cat.svg", "response-content-disposition=attachment"),
            ("cat.html", "response-content-disposition=attachment"),
            ("cat", "response-content-disposition=attachment"),
            ("png", "response-content-disposition=attachment"),
            ("cat.", "response-content-disposition=attachment"),
        ] {
            assert_eq!(presentation(&format!("a.png/x/{file}")), shown, "{file}");
        }
    }

    #[tokio::test]
    async fn an_upload_signs_the_content_type_and_nothing_else() {
        let name = ObjectName::new(User::parse("ada").unwrap(), PostId::new(), &"cat.jpg".parse().unwrap());
        let pictures = pictures("b", None, credentials(None)).await;
        let address = pictures.upload_address(&name, "image/jpeg").await.unwrap();
        assert!(address.contains("&X-Amz-SignedHeaders=content-type%3Bhost&"), "{address}");
        assert!(address.contains("&X-Amz-Expires=900&"), "{address}");
        assert!(!address.to_lowercase().contains("checksum"), "{address}");
    }

    #[tokio::test]
    async fn a_picture_needs_no_header() {
        let address = address_at(&pictures("b", None, credentials(None)).await, SystemTime::now(), KEY).await;
        assert!(address.contains("&X-Amz-SignedHeaders=host&"), "{address}");
        assert!(address.contains("&X-Amz-Expires=3600&"), "{address}");
        assert!(!address.to_lowercase().contains("checksum"), "{address}");
    }

    #[tokio::test]
    async fn an_address_is_the_same_for_a_window_and_never_older_than_half_its_life() {
        let pictures = pictures("b", None, credentials(None)).await;
        let start = window_start(at(1_790_000_000));
        let first = address_at(&pictures, start, KEY).await;
        for late in [0, 1, WINDOW.as_secs() - 1] {
            let now = start + Duration::from_secs(late);
            assert_eq!(address_at(&pictures, now, KEY).await, first);
            assert!(start + LIFE > now + PROMISED);
        }
        assert_ne!(address_at(&pictures, start + WINDOW, KEY).await, first);
        assert!(PROMISED * 2 >= LIFE);
    }

    #[tokio::test]
    async fn an_evicted_address_is_signed_to_the_same_value() {
        let pictures = pictures("b", None, credentials(None)).await;
        let first = address_at(&pictures, at(1_790_000_000), KEY).await;
        for number in 0..=KEPT.get() {
            address_at(&pictures, at(1_790_000_000), &number.to_string()).await;
        }
        assert_eq!(pictures.given().addresses.len(), KEPT.get());
        assert!(!pictures.given().addresses.contains(KEY));
        assert_eq!(address_at(&pictures, at(1_790_000_000), KEY).await, first);
    }

    /// Returns a new key on each call; the first expires after an hour, the second after two, and so on.
    #[derive(Debug)]
    struct Rolling {
        start: SystemTime,
        asked: Arc<AtomicU64>,
    }

    impl ProvideCredentials for Rolling {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let turn = self.asked.fetch_add(1, Ordering::Relaxed);
            let end = self.start + Duration::from_secs(3600 * (turn + 1));
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("KEY{turn}"), "s", None, Some(end), "test")))
        }
    }

    /// Tomorrow's noon, so that no day ends during the following hours: signing keys change with the day.
    fn noon() -> SystemTime {
        const DAY: u64 = 24 * 3600;
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / DAY;
        at((today + 1) * DAY + DAY / 2)
    }

    #[tokio::test]
    async fn an_address_is_signed_by_credentials_that_last_as_long_as_is_promised() {
        let (start, asked) = (noon(), Arc::new(AtomicU64::new(0)));
        let pictures = pictures("b", None, Rolling { start, asked: asked.clone() }).await;
        let half = PROMISED.as_secs();
        for (second, key) in
            [(0, "KEY0"), (3599 - half, "KEY0"), (3600 - half, "KEY1"), (7199 - half, "KEY1"), (7200 - half, "KEY2")]
        {
            let address = address_at(&pictures, start + Duration::from_secs(second), KEY).await;
            assert!(address.contains(&format!("X-Amz-Credential={key}%2F")), "{second}: {address}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[derive(Debug)]
    struct NoCredentials;

    impl ProvideCredentials for NoCredentials {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("there are none")))
        }
    }

    #[tokio::test]
    async fn without_credentials_the_storage_is_unavailable() {
        let refused = pictures("b", None, NoCredentials).await.addresses().await.map(drop);
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
}
