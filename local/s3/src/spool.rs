//! Large uploads are written to files as they arrive, and never held in memory.

use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};

use super::blobs::{Writer, blocking};
use super::checksum::{Algorithm, Digests};
use super::store::unwritten;
use identity::signature::{Payload, is_chunked};
use kit::answer::Refusal;
use kit::call::{Call, Request};
use kit::chunked::{Trailers, incomplete};
use kit::upload::Upload;

/// The largest object that one request may write or copy (S3 user guide, "Uploading objects" and "Copying objects").
pub(super) const LARGEST: u64 = 5 << 30;
/// The largest body that is held in memory: smaller ones are not worth a file before they are accepted.
const IN_MEMORY: u64 = 1 << 20;
/// How many bytes are collected before they are processed.
const PORTION: usize = 1 << 20;

/// The directory of uploads that are not complete yet.
pub struct Spool(PathBuf);

/// An upload that is arriving. Dropping it removes what has arrived.
pub struct Incoming {
    /// The bytes that are not processed yet.
    waiting: Vec<u8>,
    work: Result<Box<Work>, Refusal>,
}

struct Work {
    payload: Payload,
    /// The announced size in bytes.
    size: u64,
    written: u64,
    writer: Writer,
    digests: Digests,
}

impl Spool {
    /// Opens the spool, and removes what a killed server left.
    pub fn open(state: &Path) -> io::Result<Spool> {
        let dir = state.join("uploads");
        match std::fs::remove_dir_all(&dir) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(fault),
            _ => Ok(Spool(dir)),
        }
    }

    /// Starts an upload for a body of `length` bytes; `None` if this body needs no file. `payload` proves that its head
    /// was signed.
    pub fn receive(
        &self,
        call: &Call,
        head: &Request,
        length: u64,
        payload: Payload,
    ) -> Result<Option<Incoming>, Refusal> {
        let is_upload = call.service == "s3" && matches!(call.operation.as_str(), "PutObject" | "UploadPart");
        if !is_upload || length <= IN_MEMORY {
            return Ok(None);
        }
        let size = if is_chunked(head) { decoded_length(head)? } else { length };
        if size > LARGEST {
            let text = "Your proposed upload exceeds the maximum allowed size";
            return Err(Refusal::new(400, "EntityTooLarge", text));
        }
        let writer = Writer::create(&self.0).map_err(|fault| unwritten(&fault.to_string()))?;
        let digests = Digests::of(Algorithm::wanted(head, call.operation == "UploadPart"));
        let work = Ok(Box::new(Work { payload, size, written: 0, writer, digests }));
        Ok(Some(Incoming { waiting: Vec::new(), work }))
    }
}

impl Incoming {
    /// Takes bytes as they arrive. The rest of a refused body is read and discarded, because its sender reads the
    /// response only afterwards.
    pub async fn take(&mut self, bytes: &[u8]) {
        if self.work.is_err() {
            return;
        }
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PORTION {
            self.step().await;
        }
    }

    /// Ends the upload, and returns it if it is complete and as it was signed.
    pub async fn end(mut self) -> Result<Upload, Refusal> {
        self.step().await;
        let work = self.work?;
        blocking(move || work.end()).await.map_err(|fault| unwritten(&fault.to_string()))?
    }

    async fn step(&mut self) {
        let mut portion = mem::take(&mut self.waiting);
        let work = mem::replace(&mut self.work, Err(incomplete()));
        let done = blocking(move || {
            let work = work.and_then(|mut work| work.take(&portion).map(|()| work));
            portion.clear();
            (portion, work)
        });
        match done.await {
            Ok((portion, work)) => (self.waiting, self.work) = (portion, work),
            Err(fault) => self.work = Err(unwritten(&fault.to_string())),
        }
    }
}

impl Work {
    fn take(&mut self, portion: &[u8]) -> Result<(), Refusal> {
        let Work { payload, size, written, writer, digests } = self;
        payload.take(portion, |bytes| {
            *written += bytes.len() as u64;
            if *written > *size {
                return Err(incomplete());
            }
            digests.take(bytes);
            writer.take(bytes).map_err(|fault| unwritten(&fault.to_string()))
        })
    }

    fn end(self) -> Result<Upload, Refusal> {
        let trailers = self.payload.end()?;
        if self.written != self.size {
            return Err(incomplete());
        }
        upload(self.writer, self.digests, trailers).map_err(|fault| unwritten(&fault.to_string()))
    }
}

/// The upload that was written, with the digests computed meanwhile.
pub(super) fn upload(writer: Writer, digests: Digests, trailers: Trailers) -> io::Result<Upload> {
    let (file, size, blocks) = writer.end()?;
    let (md5, checksums) = digests.end();
    Ok(Upload { file, size, blocks, md5, checksums, trailers })
}

/// The decoded length that an `aws-chunked` body announces.
pub(super) fn decoded_length(request: &Request) -> Result<u64, Refusal> {
    let Some(length) = request.header("x-amz-decoded-content-length") else {
        return Err(Refusal::new(411, "MissingContentLength", "You must provide the Content-Length HTTP header."));
    };
    length.parse().map_err(|_| incomplete())
}
