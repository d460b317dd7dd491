//! The bytes of objects: a file for each upload or part, with checksums that are verified on every read.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store;

/// What has a checksum of its own, so that a range is checked without the rest of the object.
const BLOCK: u64 = 1 << 20;

/// Some bytes on disk. The state of the store names every one there must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    /// The name of the file; nothing needs none.
    pub id: String,
    pub size: u64,
    /// The CRC-32 of each block.
    sums: Vec<u32>,
}

/// The directory of all blobs.
#[derive(Debug, Clone)]
pub(super) struct Blobs {
    dir: PathBuf,
}

/// Why bytes cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file is not there. It may have been replaced a moment ago.
    Missing(PathBuf),
    /// The file does not hold what was written to it.
    Damaged(PathBuf),
    Failed(PathBuf, io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Trouble::Missing(file) => write!(f, "{} is missing", file.display()),
            Trouble::Damaged(file) => write!(f, "{} is damaged: it does not have its checksum", file.display()),
            Trouble::Failed(file, fault) => write!(f, "{}: {fault}", file.display()),
        }
    }
}

impl Blobs {
    pub(super) fn new(dir: PathBuf) -> Blobs {
        Blobs { dir }
    }

    /// Looks whether everything is there with its size, and removes what nothing refers to: a server was killed before it
    /// could say what the bytes are, or after it had said that they are nobody's.
    ///
    /// Errors: a file is missing or has another size, and is named.
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

    /// Reads a range of the bytes that some blobs hold one after another.
    pub(super) async fn read(&self, from: Vec<Blob>, range: Range<u64>) -> Result<Bytes, Trouble> {
        let blobs = self.clone();
        let dir = self.dir.clone();
        let read = blocking(move || blobs.read_now(&from, range)).await;
        read.map_err(|fault| Trouble::Failed(dir, fault))?
    }

    fn read_now(&self, from: &[Blob], range: Range<u64>) -> Result<Bytes, Trouble> {
        let mut bytes = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or_default());
        let mut begin = 0;
        for blob in from {
            let (start, end) = (range.start.max(begin), range.end.min(begin + blob.size));
            if start < end {
                self.read_part(blob, start - begin..end - begin, &mut bytes)?;
            }
            begin += blob.size;
        }
        Ok(bytes.into())
    }

    /// Reads every block that the range touches, and keeps what is in the range.
    fn read_part(&self, blob: &Blob, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), Trouble> {
        let path = self.file(blob);
        let failed = |fault: io::Error| match fault.kind() {
            ErrorKind::NotFound => Trouble::Missing(path.clone()),
            ErrorKind::UnexpectedEof => Trouble::Damaged(path.clone()),
            _ => Trouble::Failed(path.clone(), fault),
        };
        let mut file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != blob.size {
            return Err(Trouble::Damaged(path));
        }
        let first = range.start / BLOCK;
        file.seek(SeekFrom::Start(first * BLOCK)).map_err(failed)?;
        let mut block = Vec::new();
        for at in first..range.end.div_ceil(BLOCK) {
            let begin = at * BLOCK;
            let size = BLOCK.min(blob.size - begin);
            block.resize(size as usize, 0);
            file.read_exact(&mut block).map_err(failed)?;
            if blob.sums.get(at as usize) != Some(&crc32fast::hash(&block)) {
                return Err(Trouble::Damaged(path));
            }
            let (start, end) = (range.start.max(begin) - begin, range.end.min(begin + size) - begin);
            bytes.extend_from_slice(&block[start as usize..end as usize]);
        }
        Ok(())
    }

    /// Removes unreferenced bytes. What cannot be removed is removed by the next server.
    pub(super) fn remove<'a>(&self, gone: impl IntoIterator<Item = &'a Blob>) {
        for blob in gone.into_iter().filter(|blob| blob.size > 0) {
            if let Err(fault) = std::fs::remove_file(self.file(blob)) {
                tracing::warn!(%fault, blob.id, "bytes that nothing refers to could not be removed");
            }
        }
    }

    fn file(&self, blob: &Blob) -> PathBuf {
        self.dir.join(&blob.id)
    }
}

/// Work on files, which may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
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
