//! Buckets that are being made: AWS makes them with their settings and tags at once, here they come one after the other.
//! A server that is killed in between has made nothing, as far as anybody can tell.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::store;

/// A file for each bucket that is not all there yet.
#[derive(Debug)]
pub(super) struct Unfinished {
    dir: PathBuf,
}

impl Unfinished {
    pub(super) fn new(dir: PathBuf) -> Unfinished {
        Unfinished { dir }
    }

    /// The bucket is being made; its name has been checked.
    pub(super) fn begin(&self, bucket: &str) -> io::Result<()> {
        store::write(&self.dir.join(bucket), b"")
    }

    /// It is all there, or gone.
    pub(super) fn end(&self, bucket: &str) -> io::Result<()> {
        match std::fs::remove_file(self.dir.join(bucket)) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }

    /// What an earlier server did not finish.
    pub(super) fn left(&self) -> io::Result<Vec<String>> {
        store::remove_unfinished(&self.dir)?;
        let listing = match std::fs::read_dir(&self.dir) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        listing.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_finished_is_found_by_the_next_server() {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = Unfinished::new(dir.path().join("new"));
        assert!(unfinished.left().unwrap().is_empty());
        unfinished.begin("images").unwrap();
        unfinished.begin("artifacts").unwrap();
        unfinished.end("images").unwrap();
        unfinished.end("never-begun").unwrap();
        assert_eq!(Unfinished::new(dir.path().join("new")).left().unwrap(), ["artifacts"]);
    }
}
