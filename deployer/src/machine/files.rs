//! Reads files whose paths users choose: regular files only, up to a limit.
//!
//! A path may lead to a FIFO without a writer, a device without an end, or a file of many gigabytes.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::platform::{kind, without_waiting};

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not exist, or the system denied access.
    #[error("failed to read {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is not a regular file.
    #[error("failed to read {}: it is {kind}, not a regular file", .path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// Its kind, with the article.
        kind: &'static str,
    },
    /// It is too large.
    #[error("failed to read {}: it is larger than {}", .path.display(), size(*.limit))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// It is not UTF-8 text.
    #[error("failed to read {}: line {line} is not UTF-8", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first line that is not UTF-8, from 1.
        line: usize,
    },
}

impl FileError {
    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a regular file, or a link to one. Never blocks on a FIFO.
pub fn open_regular_file(path: &Path) -> Result<File, FileError> {
    // Checked before opening, because opening a socket fails with an unclear message.
    regular(path, &std::fs::metadata(path).map_err(|source| io_error(path, source))?)?;
    // Opened non-blocking and checked again: the file may have been replaced.
    let file = without_waiting(OpenOptions::new().read(true)).open(path);
    let file = file.map_err(|source| io_error(path, source))?;
    regular(path, &file.metadata().map_err(|source| io_error(path, source))?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
pub fn read_regular_file(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = open_regular_file(path)?;
    let too_large = || FileError::TooLarge { path: path.to_owned(), limit };
    if file.metadata().is_ok_and(|metadata| metadata.len() > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow while it is read, and files in `/proc` do not report their size.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| io_error(path, source))?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// Reads a regular file of at most `limit` bytes of UTF-8. Keeps a byte order mark.
pub fn read_text_file(path: &Path, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read_regular_file(path, limit)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        FileError::NotUtf8 { path: path.to_owned(), line }
    })
}

fn io_error(path: &Path, source: io::Error) -> FileError {
    FileError::Io { path: path.to_owned(), source }
}

fn regular(path: &Path, metadata: &Metadata) -> Result<(), FileError> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(FileError::NotRegular { path: path.to_owned(), kind: kind(metadata.file_type()) }),
    }
}

fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        KIB.. if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    const LIMIT: u64 = 1 << 20;

    #[test]
    fn a_path_that_is_not_a_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("link")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
        std::fs::write(at("latin"), b"A=1\nB=\xe9\n").unwrap();
        for (path, expected) in [
            (at("fifo"), "it is a FIFO, not a regular file"),
            (at("socket"), "it is a socket, not a regular file"),
            (at("link"), "it is a device, not a regular file"),
            ("/dev/zero".into(), "it is a device, not a regular file"),
            (folder.path().to_owned(), "it is a directory, not a regular file"),
            (at("huge"), "it is larger than 1 MiB"),
            (at("latin"), "line 2 is not UTF-8"),
        ] {
            let said = read_text_file(&path, LIMIT).unwrap_err().to_string();
            assert_eq!(said, format!("failed to read {}: {expected}", path.display()));
        }
        assert!(read_text_file(&at("none"), LIMIT).unwrap_err().is_not_found());
        assert!(!read_text_file(&at("loop"), LIMIT).unwrap_err().is_not_found());
    }

    #[test]
    fn a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(read_regular_file(&file, 3).unwrap(), b"abc");
        let said = read_regular_file(&file, 2).unwrap_err().to_string();
        assert!(said.ends_with("it is larger than 2 bytes"), "{said}");
        #[cfg(target_os = "linux")]
        assert!(!read_regular_file(Path::new("/proc/self/stat"), LIMIT).unwrap().is_empty(), "it claims to be empty");
    }
}
