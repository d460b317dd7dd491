//! The body of a large upload: a file, and what was computed of its bytes as they arrived.

use std::path::{Path, PathBuf};

/// A body on disk, whole and verified against the signature of its head.
#[derive(Debug)]
pub struct Upload {
    /// The file, which is removed unless it is kept.
    pub file: Temporary,
    /// Its size in bytes.
    pub size: u64,
    /// The CRC-32 of each block, as blobs have it.
    pub blocks: Vec<u32>,
    /// Its MD5.
    pub md5: Vec<u8>,
    /// Checksums by the header that announces them.
    pub checksums: Vec<(&'static str, Vec<u8>)>,
    /// Headers that came after the bytes.
    pub trailers: Vec<(String, String)>,
}

/// A file that goes when nobody has kept it.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// A file that is removed when this is dropped.
    pub fn new(path: PathBuf) -> Temporary {
        Temporary(path)
    }

    /// Makes it a lasting file of another name.
    pub fn keep(&self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.0, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // One that was kept has another name.
        let _ = std::fs::remove_file(&self.0);
    }
}
