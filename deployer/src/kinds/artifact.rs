//! Programs in the artifact bucket. The key contains the hash of the content; S3's checksum shows whether the object
//! still matches it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    cloud::aws::{Aws, found, gone},
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// A program, identified by its bucket and key.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The bucket that holds it.
    pub bucket: String,
    /// The object key, which contains the hash of the content.
    pub key: String,
    /// The bytes to upload.
    pub content: Content,
}

/// The bytes of a program.
#[derive(Clone)]
pub enum Content {
    /// A file: the program itself.
    File(PathBuf),
    /// The archive of a folder.
    Bytes(Arc<[u8]>),
}

impl Default for Content {
    /// No content, for programs that are only read or removed.
    fn default() -> Self {
        Content::Bytes(Arc::default())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::File(path) => write!(f, "{}", path.display()),
            Content::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// The settings of a program, apart from its key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The SHA-256 that S3 computed, in hexadecimal. We store no object without one.
    pub sha256: Option<String>,
}

/// The place to fetch it from.
#[derive(Debug, Clone)]
pub struct Output {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

impl Resource for Artifact {
    const KIND: &'static str = "artifact";
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.key
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.s3.head_object().bucket(&self.bucket).key(&self.key).checksum_mode(ChecksumMode::Enabled);
        let Some(there) = found(call.send().await)? else { return Ok(Observed::Absent) };
        let sha256 = match keeps_checksums(&there) {
            true => there.checksum_sha256().and_then(|sha256| STANDARD.decode(sha256).ok()).map(hex::encode),
            false => self.sha256_of_content(aws, there.content_length().unwrap_or_default()).await?,
        };
        Ok(Observed::Present(self.live(Settings { sha256 })))
    }

    async fn create(&self, aws: &Aws, want: &Settings, _tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        self.upload(aws, want).await?;
        Ok(Some(self.live(want.clone())))
    }

    async fn update(&self, aws: &Aws, want: &Settings, _live: &Live<Self>) -> Result<(), Fault> {
        self.upload(aws, want).await
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.s3.delete_object().bucket(&self.bucket).key(&self.key).send().await)
    }
}

/// The size of one ranged download.
const PIECE: i64 = 4 << 20;
/// How long an interrupted download is retried.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(60);

/// Whether the store keeps checksums at all. S3 has one for every object, choosing the algorithm when the upload named
/// none ("Checking object integrity in Amazon S3"); other implementations of its API may have none.
fn keeps_checksums(there: &HeadObjectOutput) -> bool {
    let all = [
        there.checksum_sha256(),
        there.checksum_crc64_nvme(),
        there.checksum_crc32(),
        there.checksum_crc32_c(),
        there.checksum_sha1(),
    ];
    all.iter().any(Option::is_some)
}

impl Artifact {
    fn live(&self, settings: Settings) -> Live<Self> {
        let output = Output { bucket: self.bucket.clone(), key: self.key.clone() };
        Live { settings, output, owner: Owner::Parent }
    }

    async fn sha256_of_content(&self, aws: &Aws, bytes: i64) -> Result<Option<String>, Fault> {
        let mut sha256 = Sha256::new();
        let whole = self.read_content(aws, bytes, |piece| sha256.update(piece)).await?;
        Ok(whole.then(|| hex::encode(sha256.finalize())))
    }

    /// Downloads this many bytes in ranges, so that no single answer is large. Returns whether it is there.
    async fn read_content(&self, aws: &Aws, bytes: i64, mut take: impl FnMut(&[u8])) -> Result<bool, Fault> {
        let mut at = 0;
        while at < bytes {
            let range = format!("bytes={at}-{}", at + PIECE - 1);
            let call = aws.s3.get_object().bucket(&self.bucket).key(&self.key).range(range);
            let Some(there) = found(call.send().await)? else { return Ok(false) };
            let cut_off = |why: &str| Fault::new("GetObject", "NoConnection", why).within(CUT_OFF_WITHIN);
            let piece = there.body.collect().await.map_err(|error| cut_off(&error.to_string()))?.into_bytes();
            if piece.is_empty() {
                return Err(cut_off("an empty piece of the program"));
            }
            at += piece.len() as i64;
            take(&piece);
        }
        Ok(true)
    }

    /// Downloads it.
    ///
    /// Errors: what was downloaded is not the program that its key names.
    pub async fn download(&self, aws: &Aws) -> Result<Vec<u8>, Fault> {
        let there = aws.s3.head_object().bucket(&self.bucket).key(&self.key).send().await?;
        let mut content = Vec::new();
        let bytes = there.content_length().unwrap_or_default();
        self.read_content(aws, bytes, |piece| content.extend_from_slice(piece)).await?;
        match self.key.ends_with(&hex::encode(Sha256::digest(&content))) {
            true => Ok(content),
            false => {
                Err(Fault::new("GetObject", "OtherProgram", format!("{} is not the program of its name", self.key)))
            }
        }
    }

    /// Streams from a file, so that a program is never in memory as a whole. S3 rejects a body that does not match
    /// the checksum: the file may have changed since it was read.
    async fn upload(&self, aws: &Aws, want: &Settings) -> Result<(), Fault> {
        let body = match &self.content {
            Content::Bytes(bytes) => ByteStream::from(Bytes::from_owner(bytes.clone())),
            Content::File(path) => match ByteStream::from_path(path).await {
                Ok(body) => body,
                Err(error) => {
                    let message = format!("{}: {error}", path.display());
                    return Err(Fault::new("PutObject", "UnreadableProgram", message));
                }
            },
        };
        let bytes = body.size_hint().1.unwrap_or_default();
        let patient = aws_sdk_s3::config::Builder::new().timeout_config(aws.upload_within(bytes as usize));
        let sha256 =
            want.sha256.as_ref().and_then(|sha256| hex::decode(sha256).ok()).map(|bytes| STANDARD.encode(bytes));
        let call = aws.s3.put_object().bucket(&self.bucket).key(&self.key).body(body);
        let call = call.checksum_algorithm(ChecksumAlgorithm::Sha256).set_checksum_sha256(sha256);
        call.customize().config_override(patient).send().await?;
        Ok(())
    }
}
