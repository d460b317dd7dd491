//! The zip of a function, and hashes in AWS's formats.

use std::io::{Cursor, Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, DateTime, System, ZipWriter, write::SimpleFileOptions};

/// The zip of a function on a custom runtime: the program as `bootstrap`, executable (docs/aws.md §7.1).
///
/// Guarantees: the same program gives the same bytes on every system, so that an unchanged function is never uploaded
/// again.
pub fn function_zip(program: &[u8]) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(2)) // every plan compresses again, and more effort saves a tenth of the size at most
        .last_modified_time(DateTime::default()) // 1980: the time of the build says nothing about the program
        .large_file(program.len() > u32::MAX as usize)
        .system(System::Unix) // permissions in a zip that names Windows as its system count for nothing
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", options)
        .and_then(|()| Ok(zip.write_all(program)?))
        .and_then(|()| zip.finish())
        .expect("writing to memory does not fail")
        .into_inner()
}

/// Returns the SHA-256 in the format of Lambda's `CodeSha256`.
pub fn sha256_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(bytes))
}

/// Returns the SHA-256 in hexadecimal, for object keys.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use zip::ZipArchive;

    use super::*;

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        let program = b"\x7fELF".repeat(10_000);
        let first = function_zip(&program);
        // Zip times have steps of two seconds, so a time taken from the clock would show only sometimes: the stored
        // time is compared as well.
        assert_eq!(first, function_zip(&program));
        let mut archive = ZipArchive::new(Cursor::new(&first)).unwrap();
        let stored = archive.by_index(0).unwrap().last_modified().unwrap();
        assert_eq!((stored.year(), stored.month(), stored.day()), (1980, 1, 1));
        assert!(first.len() < program.len() / 10, "{} bytes", first.len());
    }

    #[test]
    fn it_holds_one_executable_bootstrap() {
        let zip = function_zip(b"program");
        let mut archive = ZipArchive::new(Cursor::new(zip)).unwrap();
        assert_eq!(archive.len(), 1);
        let mut bootstrap = archive.by_index(0).unwrap();
        assert_eq!(bootstrap.name().unwrap(), "bootstrap");
        assert_eq!(bootstrap.unix_mode().map(|mode| mode & 0o7777), Some(0o755));
        let mut content = Vec::new();
        bootstrap.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"program");
    }

    #[test]
    fn hashes_are_written_as_aws_writes_them() {
        assert_eq!(sha256_base64(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
