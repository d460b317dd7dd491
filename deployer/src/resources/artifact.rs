//! Programs in the artifact bucket. The key is made from the content, so that to be there is to be right.

use std::path::PathBuf;

use aws_sdk_s3::primitives::ByteStream;
use serde::Serialize;

use crate::{
    aws::{Aws, found, gone},
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// A program, known by its bucket and key.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The bucket it is in.
    pub bucket: String,
    /// Its key, which holds the hash of its content.
    pub key: String,
    /// Where it comes from.
    pub program: PathBuf,
}

/// What is known of a program beyond its key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Its size.
    pub bytes: u64,
}

/// Where to fetch it from.
#[derive(Debug, Clone)]
pub struct Output {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

impl Resource for Artifact {
    const KIND: &'static str = "artifact";
    const REMOVAL_RANK: u8 = 3;
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.key
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.s3.head_object().bucket(&self.bucket).key(&self.key);
        let Some(there) = found(call.send().await)? else { return Ok(Observed::Absent) };
        Ok(Observed::Present(self.live(there.content_length().unwrap_or_default().unsigned_abs())))
    }

    async fn create(&self, aws: &Aws, want: &Settings, _tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        self.upload(aws).await?;
        Ok(Some(self.live(want.bytes)))
    }

    async fn update(&self, aws: &Aws, _want: &Settings, _live: &Live<Self>) -> Result<(), Fault> {
        self.upload(aws).await
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.s3.delete_object().bucket(&self.bucket).key(&self.key).send().await)
    }
}

impl Artifact {
    fn live(&self, bytes: u64) -> Live<Self> {
        let output = Output { bucket: self.bucket.clone(), key: self.key.clone() };
        Live { settings: Settings { bytes }, output, owner: Owner::Parent }
    }

    /// From the file, piece by piece: a program is never in memory as a whole.
    async fn upload(&self, aws: &Aws) -> Result<(), Fault> {
        let body = match ByteStream::from_path(&self.program).await {
            Ok(body) => body,
            Err(error) => {
                let message = format!("{}: {error}", self.program.display());
                return Err(Fault::new("PutObject", "UnreadableProgram", message));
            }
        };
        let bytes = body.size_hint().1.unwrap_or_default();
        let patient = aws_sdk_s3::config::Builder::new().timeout_config(aws.upload_within(bytes as usize));
        let call = aws.s3.put_object().bucket(&self.bucket).key(&self.key).body(body);
        call.customize().config_override(patient).send().await?;
        Ok(())
    }
}
