//! Where the bytes of objects are: files under one directory, whatever their keys look like.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWriteExt};
use winterbaume_core::{Vfs, VfsEntry, VfsError, VfsStat};

use crate::store;

/// File systems refuse longer names; keys may be four times as long.
const LONGEST: usize = 120;

/// A store whose paths become files by an encoding that no key can break out of.
#[derive(Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
}

tokio::task_local! {
    /// What went wrong on the disk during the call this task works on.
    static TROUBLE: RefCell<Option<String>>;
}

/// Does some work and tells whether every write of it has reached the disk; winterbaume ignores some that have not.
///
/// After the first failure nothing is removed any more: what the failed write was to replace stays.
pub(super) async fn watched<T>(work: impl Future<Output = T>) -> (T, Option<String>) {
    let watched = async {
        let done = work.await;
        (done, TROUBLE.with(RefCell::take))
    };
    TROUBLE.scope(RefCell::new(None), watched).await
}

fn note_trouble(path: &str, fault: &io::Error) {
    let text = format!("{path}: {fault}");
    // Nobody may be watching: then the fault itself is all there is.
    let _ = TROUBLE.try_with(|trouble| trouble.borrow_mut().get_or_insert(text).len());
}

fn in_trouble() -> bool {
    TROUBLE.try_with(|trouble| trouble.borrow().is_some()).unwrap_or(false)
}

impl Blobs {
    pub(crate) fn new(root: PathBuf) -> Blobs {
        Blobs { root }
    }

    /// Removes what a killed server had not finished to write.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        store::remove_unfinished(&self.root)
    }

    /// The file in which a path's bytes are.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        self.root.join(encode(path))
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;

impl Vfs for Blobs {
    fn put<'a>(
        &'a self,
        path: &'a str,
        data: &'a mut (dyn AsyncRead + Unpin + Send),
    ) -> BoxFuture<'a, Result<u64, VfsError>> {
        Box::pin(async move {
            let written = write(&self.place(path), data).await;
            written.inspect_err(|fault| note_trouble(path, fault)).map_err(VfsError::Io)
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Reader, VfsError>> {
        Box::pin(async move {
            let file = tokio::fs::File::open(self.place(path)).await.map_err(|fault| named(fault, path))?;
            Ok(Box::new(file) as Reader)
        })
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), VfsError>> {
        Box::pin(async move {
            if in_trouble() {
                return Err(VfsError::Io(io::Error::other("a write before this one failed")));
            }
            let file = self.place(path);
            if let Err(fault) = tokio::fs::remove_file(&file).await {
                if fault.kind() != ErrorKind::NotFound {
                    note_trouble(path, &fault);
                }
                return Err(named(fault, path));
            }
            remove_empty_parents(&self.root, &file);
            Ok(())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<VfsEntry>, VfsError>> {
        Box::pin(async move {
            // Everything below a directory is in the directory of its name.
            let dir = prefix.rsplit_once('/').map_or(self.root.clone(), |(dir, _)| self.place(dir));
            let root = self.root.clone();
            let walk = tokio::task::spawn_blocking(move || walk(&root, &dir));
            let mut entries = walk.await.map_err(io::Error::other)??;
            entries.retain(|entry| entry.key.starts_with(prefix));
            entries.sort_by(|one, other| one.key.cmp(&other.key));
            Ok(entries)
        })
    }

    fn stat<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<VfsStat>, VfsError>> {
        Box::pin(async move {
            match tokio::fs::metadata(self.place(path)).await {
                Ok(found) => Ok(Some(VfsStat { size: found.len() })),
                Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
                Err(fault) => Err(VfsError::Io(fault)),
            }
        })
    }
}

/// Writes beside `file` and renames over it; what could not be written leaves nothing behind.
async fn write(file: &Path, data: &mut (dyn AsyncRead + Unpin + Send)) -> io::Result<u64> {
    let beside = store::beside(file);
    let mut writer = create(&beside).await?;
    let written = async {
        let written = tokio::io::copy(data, &mut writer).await?;
        writer.flush().await?;
        tokio::fs::rename(&beside, file).await?;
        Ok(written)
    };
    let written = written.await;
    if written.is_err() {
        let _ = tokio::fs::remove_file(&beside).await;
    }
    written
}

/// Makes the file and the directories above it, which a deletion at the same time may take away again.
async fn create(file: &Path) -> io::Result<tokio::fs::File> {
    for _ in 0..3 {
        if let Some(parent) = file.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        match tokio::fs::File::create(file).await {
            Err(fault) if fault.kind() == ErrorKind::NotFound => continue,
            created => return created,
        }
    }
    Err(ErrorKind::NotFound.into())
}

fn named(fault: io::Error, path: &str) -> VfsError {
    match fault.kind() {
        ErrorKind::NotFound => VfsError::NotFound(path.to_owned()),
        _ => VfsError::Io(fault),
    }
}

/// Each part of the path in letters every file system takes, cut into pieces of a safe length.
///
/// A piece that goes on ends in `+`; the last one ends in `_`, so that no directory has the name of a file.
fn encode(path: &str) -> PathBuf {
    let mut file = PathBuf::new();
    for part in path.split('/') {
        let safe: String = part.bytes().map(letter).collect();
        let mut pieces = safe.as_bytes().chunks(LONGEST).peekable();
        if pieces.peek().is_none() {
            file.push("_");
        }
        while let Some(piece) = pieces.next() {
            let mark = if pieces.peek().is_some() { '+' } else { '_' };
            file.push(format!("{}{mark}", String::from_utf8_lossy(piece)));
        }
    }
    file
}

fn letter(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        byte => format!("={byte:02x}"),
    }
}

/// The path `file` was made from; `None` for files that are none of ours.
fn decode(file: &Path) -> Option<String> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for piece in file.iter() {
        let piece = piece.to_str()?;
        match (piece.strip_suffix('_'), piece.strip_suffix('+')) {
            (Some(last), _) => {
                part.extend(bytes(last)?);
                parts.push(std::mem::take(&mut part));
            }
            (None, Some(more)) => part.extend(bytes(more)?),
            (None, None) => return None,
        }
    }
    String::from_utf8(parts.join(&b'/')).ok()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'=' {
            let (code, tail) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

fn walk(root: &Path, dir: &Path) -> io::Result<Vec<VfsEntry>> {
    let mut found = Vec::new();
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(found),
        Err(fault) => return Err(fault),
    };
    for entry in listing {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(walk(root, &path)?);
        } else if let Some(key) = path.strip_prefix(root).ok().and_then(decode) {
            let size = path.metadata().map_or(0, |file| file.len());
            found.push(VfsEntry { key, size });
        }
    }
    Ok(found)
}

/// An emptied bucket leaves no skeleton of directories behind.
fn remove_empty_parents(root: &Path, file: &Path) {
    let parents = file.ancestors().skip(1).take_while(|parent| *parent != root);
    for parent in parents {
        if std::fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back_from_its_file() {
        let long = "é/".repeat(300);
        for path in ["s3/data/b/a%2Fb/1", "s3/../..", "A/a", "a b/+_=", long.trim_end_matches('/')] {
            let file = encode(path);
            assert_eq!(decode(&file).as_deref(), Some(path));
            assert!(file.iter().all(|piece| piece.len() < 255 && piece != ".."), "{file:?}");
        }
    }

    #[tokio::test]
    async fn what_is_deleted_leaves_no_directories() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(dir.path().to_owned());
        for key in ["b/one", "b/two", "c/one"] {
            assert_eq!(blobs.put(key, &mut b"four".as_slice()).await.unwrap(), 4);
        }
        let listed = blobs.list("b/").await.unwrap();
        assert_eq!(listed.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["b/one", "b/two"]);
        for key in ["b/one", "b/two", "c/one"] {
            blobs.delete(key).await.unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(matches!(blobs.get("b/one").await, Err(VfsError::NotFound(_))));
    }
}
