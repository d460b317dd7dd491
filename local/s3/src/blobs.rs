//! The bytes of objects: a file for each upload or part, with checksums that are verified on every read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checksum::{Algorithm, Digests};
use super::spool::upload;
use kit::store;
use kit::upload::{Temporary, Upload};

/// The size of a block. Each block has its own checksum, so that a range can be verified without the rest of the
/// object.
const BLOCK: u64 = 1 << 20;
/// The size of the write buffer.
const BUFFER: usize = 128 << 10;

/// Some bytes on disk. The state of the store names every blob that must exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    /// The name of the file; empty if there are no bytes.
    pub id: String,
    pub size: u64,
    /// The CRC-32 of each block.
    sums: Vec<u32>,
}

/// The directory of all blobs.
#[derive(Debug, Clone)]
pub(super) struct Blobs {
    dir: PathBuf,
    /// The blobs that are being read, by ID.
    read: Arc<Mutex<BTreeMap<String, Readers>>>,
}

/// The readers of a blob.
#[derive(Debug, Default)]
struct Readers {
    count: usize,
    /// Whether nothing else references the blob, so that it is removed with its last reader.
    is_gone: bool,
}

/// Why bytes cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file does not exist. The object may just have been replaced.
    Missing(PathBuf),
    /// The file no longer has the bytes written to it.
    Damaged(PathBuf),
    Failed(PathBuf, io::Error),
    /// The bytes can be read, but not written to their copy.
    Unwritten(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Trouble::Missing(file) => write!(f, "{} is missing", file.display()),
            Trouble::Damaged(file) => write!(f, "{} is damaged: it does not have its checksum", file.display()),
            Trouble::Failed(file, fault) => write!(f, "{}: {fault}", file.display()),
            Trouble::Unwritten(fault) => fault.fmt(f),
        }
    }
}

impl Blobs {
    pub(super) fn new(dir: PathBuf) -> Blobs {
        Blobs { dir, read: Arc::default() }
    }

    /// Checks that every blob exists with its size, and removes unreferenced files, which a server leaves when it is
    /// killed before it records that the bytes are in use, or after it records that they are unused.
    ///
    /// Errors: a file is missing or has another size; the error names it.
    pub(super) fn check<'a>(&self, all: impl Iterator<Item = &'a Blob>) -> anyhow::Result<()> {
        let mut kept = BTreeSet::new();
        for blob in all.filter(|blob| blob.size > 0) {
            let file = self.file(blob);
            let there =
                std::fs::metadata(&file).with_context(|| format!("{} is missing or unreadable", file.display()))?;
            if there.len() != blob.size {
                bail!("{} is damaged: it has {} bytes instead of {}", file.display(), there.len(), blob.size);
            }
            kept.insert(blob.id.as_str());
        }
        let listing = match std::fs::read_dir(&self.dir) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
            listing => listing?,
        };
        for entry in listing {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes bytes to a file of their own, unreferenced until the store names them.
    pub(super) async fn write(&self, bytes: Bytes) -> io::Result<Blob> {
        let blobs = self.clone();
        blocking(move || blobs.write_now(&bytes)).await?
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<Blob> {
        let size = bytes.len() as u64;
        if size == 0 {
            return Ok(Blob { id: String::new(), size, sums: Vec::new() });
        }
        let sums = bytes.chunks(BLOCK as usize).map(crc32fast::hash).collect();
        let blob = Blob { id: Uuid::new_v4().simple().to_string(), size, sums };
        store::write(&self.file(&blob), bytes)?;
        Ok(blob)
    }

    /// Makes an upload a blob, unreferenced until the store names it.
    pub(super) fn keep(&self, upload: &Upload) -> io::Result<Blob> {
        let Upload { file, size, blocks, .. } = upload;
        if *size == 0 {
            return Ok(Blob { id: String::new(), size: 0, sums: Vec::new() });
        }
        let blob = Blob { id: Uuid::new_v4().simple().to_string(), size: *size, sums: blocks.clone() };
        std::fs::create_dir_all(&self.dir)?;
        file.keep(&self.file(&blob))?;
        Ok(blob)
    }

    /// Reads a range of the concatenated bytes of several blobs.
    pub(super) async fn read(&self, from: Vec<Blob>, range: Range<u64>) -> Result<Bytes, Trouble> {
        self.work(move |blobs| {
            let size = usize::try_from(range.end - range.start).unwrap_or_default();
            let mut reader = blobs.open(from, range)?;
            let first = reader.next()?.unwrap_or_default();
            if first.len() == size {
                return Ok(first);
            }
            let mut bytes = BytesMut::with_capacity(size);
            bytes.extend_from_slice(&first);
            while let Some(more) = reader.next()? {
                bytes.extend_from_slice(&more);
            }
            Ok(bytes.freeze())
        })
        .await
    }

    /// The same as a stream of pieces, for a slow reader. Damage found after the first piece is an error in the stream.
    pub(super) async fn stream(
        &self,
        from: Vec<Blob>,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Trouble> {
        let open = move |blobs: &Blobs| {
            let mut reader = blobs.open(from, range)?;
            Ok((reader.next()?, reader))
        };
        let (first, reader) = self.work(open).await?;
        let rest = try_unfold(reader, |mut reader| async move {
            let (read, reader) = blocking(move || (reader.next(), reader)).await?;
            let read = read.map_err(|trouble| {
                tracing::error!("an object cannot be read to its end: {trouble}");
                io::Error::other(trouble.to_string())
            });
            Ok(read?.map(|bytes| (bytes, reader)))
        });
        Ok(futures::stream::iter(first.map(Ok)).chain(rest).boxed())
    }

    /// Copies a range to a new file.
    pub(super) async fn copy(
        &self,
        from: Vec<Blob>,
        range: Range<u64>,
        algorithms: Vec<Algorithm>,
    ) -> Result<Upload, Trouble> {
        self.work(move |blobs| {
            let mut reader = blobs.open(from, range)?;
            let mut writer = Writer::create(&blobs.dir).map_err(Trouble::Unwritten)?;
            let mut digests = Digests::of(algorithms);
            while let Some(bytes) = reader.next()? {
                digests.take(&bytes);
                writer.take(&bytes).map_err(Trouble::Unwritten)?;
            }
            upload(writer, digests, Vec::new()).map_err(Trouble::Unwritten)
        })
        .await
    }

    /// The checksum of all bytes of several blobs.
    pub(super) async fn checksum(&self, from: Vec<Blob>, algorithm: Algorithm) -> Result<Vec<u8>, Trouble> {
        self.work(move |blobs| {
            let size = from.iter().map(|blob| blob.size).sum();
            let mut reader = blobs.open(from, 0..size)?;
            let mut hasher = algorithm.hasher();
            while let Some(bytes) = reader.next()? {
                hasher.take(&bytes);
            }
            Ok(hasher.end())
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blobs) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let blobs = self.clone();
        let done = blocking(move || work(&blobs)).await;
        done.map_err(|fault| Trouble::Failed(self.dir.clone(), fault))?
    }

    /// Opens a range of several blobs. They are not removed before they are read, even if they become unreferenced.
    ///
    /// Errors: one of them is missing, or has the wrong size.
    fn open(&self, from: Vec<Blob>, range: Range<u64>) -> Result<Reader, Trouble> {
        let mut left = VecDeque::new();
        let mut begin = 0;
        for blob in from {
            let (start, end) = (range.start.max(begin), range.end.min(begin + blob.size));
            let before = begin;
            begin += blob.size;
            if start < end {
                left.push_back((blob, start - before..end - before));
            }
        }
        let ids: Vec<String> = left.iter().map(|(blob, _)| blob.id.clone()).collect();
        let mut read = self.read.lock();
        ids.iter().for_each(|id| read.entry(id.clone()).or_default().count += 1);
        drop(read);
        let reader = Reader { blobs: self.clone(), ids, left, file: None };
        // A blob that was removed before now is detected here.
        for (blob, _) in &reader.left {
            let path = self.file(blob);
            match std::fs::metadata(&path) {
                Ok(there) if there.len() == blob.size => (),
                Ok(_) => return Err(Trouble::Damaged(path)),
                Err(fault) => return Err(Trouble::of(path, fault)),
            }
        }
        Ok(reader)
    }

    /// Removes unreferenced blobs. If that fails, the next server removes them.
    pub(super) fn remove<'a>(&self, gone: impl IntoIterator<Item = &'a Blob>) {
        for blob in gone.into_iter().filter(|blob| blob.size > 0) {
            match self.read.lock().get_mut(&blob.id) {
                Some(readers) => readers.is_gone = true,
                None => self.remove_now(&blob.id),
            }
        }
    }

    fn remove_now(&self, id: &str) {
        if let Err(fault) = std::fs::remove_file(self.dir.join(id)) {
            tracing::warn!(%fault, id, "unreferenced bytes could not be removed");
        }
    }

    fn file(&self, blob: &Blob) -> PathBuf {
        self.dir.join(&blob.id)
    }
}

impl Trouble {
    fn of(path: PathBuf, fault: io::Error) -> Trouble {
        match fault.kind() {
            ErrorKind::NotFound => Trouble::Missing(path),
            ErrorKind::UnexpectedEof => Trouble::Damaged(path),
            _ => Trouble::Failed(path, fault),
        }
    }
}

/// Reads a range of several blobs, one block after another.
struct Reader {
    blobs: Blobs,
    ids: Vec<String>,
    /// The remaining range of each blob.
    left: VecDeque<(Blob, Range<u64>)>,
    /// The file of the first of them, if it is open.
    file: Option<File>,
}

impl Reader {
    /// Reads the next block, and returns its bytes within the range.
    fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let Some((blob, range)) = self.left.front_mut() else { return Ok(None) };
        let path = self.blobs.file(blob);
        let failed = |fault| Trouble::of(path.clone(), fault);
        let at = range.start / BLOCK;
        let begin = at * BLOCK;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = File::open(&path).map_err(failed)?;
                file.seek(SeekFrom::Start(begin)).map_err(failed)?;
                self.file.insert(file)
            }
        };
        let size = BLOCK.min(blob.size - begin);
        let mut block = vec![0; size as usize];
        file.read_exact(&mut block).map_err(failed)?;
        if blob.sums.get(at as usize) != Some(&crc32fast::hash(&block)) {
            return Err(Trouble::Damaged(path));
        }
        let (start, end) = (range.start - begin, range.end.min(begin + size) - begin);
        range.start = begin + end;
        if range.is_empty() {
            self.left.pop_front();
            self.file = None;
        }
        Ok(Some(Bytes::from(block).slice(start as usize..end as usize)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut read = self.blobs.read.lock();
        for id in &self.ids {
            let Some(readers) = read.get_mut(id) else { continue };
            readers.count -= 1;
            if readers.count == 0 {
                let is_gone = readers.is_gone;
                read.remove(id);
                if is_gone {
                    self.blobs.remove_now(id);
                }
            }
        }
    }
}

/// Writes a file, which no version refers to yet, with the checksums of its blocks.
pub(super) struct Writer {
    file: BufWriter<File>,
    temporary: Temporary,
    size: u64,
    blocks: Vec<u32>,
    /// The checksum of the current block so far.
    sum: crc32fast::Hasher,
}

impl Writer {
    /// A new file in `dir`.
    pub(super) fn create(dir: &Path) -> io::Result<Writer> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(Uuid::new_v4().simple().to_string());
        let file = BufWriter::with_capacity(BUFFER, File::create_new(&path)?);
        Ok(Writer { file, temporary: Temporary::new(path), size: 0, blocks: Vec::new(), sum: Default::default() })
    }

    pub(super) fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = (BLOCK - self.size % BLOCK) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.file.write_all(now)?;
            self.sum.update(now);
            self.size += now.len() as u64;
            if self.size.is_multiple_of(BLOCK) {
                self.blocks.push(mem::take(&mut self.sum).finalize());
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the file. Returns it with its size and the checksums of its blocks.
    pub(super) fn end(mut self) -> io::Result<(Temporary, u64, Vec<u32>)> {
        self.file.flush()?;
        if !self.size.is_multiple_of(BLOCK) {
            self.blocks.push(self.sum.finalize());
        }
        Ok((self.temporary, self.size, self.blocks))
    }
}

/// Runs work on files, which may take long, on a thread for blocking work.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_range_is_what_was_written_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(dir.path().join("objects"));
        let bytes: Vec<u8> = (0..2 * BLOCK + 10).map(|number| (number % 251) as u8).collect();
        let one = blobs.write(bytes.clone().into()).await.unwrap();
        let two = blobs.write(Bytes::from_static(b"the end")).await.unwrap();
        let all = [bytes, b"the end".to_vec()].concat();
        let whole = vec![one.clone(), two];
        for range in [0..all.len(), 0..1, 5..5, all.len() - 9..all.len() - 2, BLOCK as usize - 1..BLOCK as usize + 1] {
            let read = blobs.read(whole.clone(), range.start as u64..range.end as u64).await.unwrap();
            assert_eq!(read, all[range.clone()], "{range:?}");
        }
        let copy = blobs.copy(whole.clone(), 3..all.len() as u64 - 3, Vec::new()).await.unwrap();
        let copy = blobs.keep(&copy).unwrap();
        assert_eq!(blobs.read(vec![copy.clone()], 0..copy.size).await.unwrap(), all[3..all.len() - 3]);
        assert_eq!(copy.sums.len(), 3);
        let file = blobs.file(&one);
        let good = std::fs::read(&file).unwrap();
        let mut flipped = good.clone();
        flipped[BLOCK as usize + 3] ^= 1;
        let zeroed = vec![0; good.len()];
        for (what, damaged) in
            [("flipped", Some(flipped)), ("cut", Some(good[1..].to_vec())), ("zeroed", Some(zeroed)), ("missing", None)]
        {
            match &damaged {
                Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let fault = blobs.read(whole.clone(), 0..all.len() as u64).await.unwrap_err().to_string();
            assert!(fault.contains(&one.id), "{what}: {fault}");
            let seen = blobs.check(whole.iter()).err().map(|fault| format!("{fault:#}"));
            assert_eq!(seen.is_some_and(|fault| fault.contains(&one.id)), what == "cut" || what == "missing", "{what}");
        }
    }

    #[tokio::test]
    async fn unreferenced_blobs_are_removed_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(dir.path().join("objects"));
        let kept = blobs.write(Bytes::from_static(b"kept")).await.unwrap();
        let lost = blobs.write(Bytes::from_static(b"lost")).await.unwrap();
        std::fs::write(dir.path().join("objects/half.new"), "half").unwrap();
        blobs.check([&kept].into_iter()).unwrap();
        assert!(blobs.read(vec![lost], 0..1).await.is_err());
        assert_eq!(std::fs::read_dir(dir.path().join("objects")).unwrap().count(), 1);
        assert_eq!(blobs.read(vec![kept], 0..4).await.unwrap(), "kept");
    }
}
