//! The body of a large upload: a file, and the checksums computed while it arrived.

use std::path::{Path, PathBuf};

/// A body on disk, complete and verified against the signature in the request's headers.
#[derive(Debug)]
pub struct Upload {
    /// The file, which is removed unless it is kept.
    pub file: Temporary,
    /// Its size in bytes.
    pub size: u64,
    /// The CRC-32 of each block, as stored with blobs.
    pub blocks: Vec<u32>,
    /// Its MD5.
    pub md5: Vec<u8>,
    /// Checksums, by the header that announced them.
    pub checksums: Vec<(&'static str, Vec<u8>)>,
    /// The headers after the body.
    pub trailers: Vec<(String, String)>,
}

/// A file that is removed on drop unless it was kept.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// A file that is removed when this is dropped.
    pub fn new(path: PathBuf) -> Temporary {
        Temporary(path)
    }

    /// Moves the file to `path` and keeps it.
    pub fn keep(&self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.0, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A file that was kept no longer has this path.
        let _ = std::fs::remove_file(&self.0);
    }
}
