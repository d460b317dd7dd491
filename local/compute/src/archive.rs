//! `tar` of a local instance: unpacks below the instance's root.

use std::fs::File;
use std::path::Path;

use flate2::read::GzDecoder;
use tar::Archive;

use super::commands::below;

/// `tar -xzf ARCHIVE -C FOLDER`. Existing files are replaced. Entries that lead out of the folder are left out.
///
/// Errors: tar's message.
pub fn tar(root: &Path, arguments: &[&str], is_full: bool) -> Result<(), String> {
    let ["-xzf", archive, "-C", folder] = arguments else {
        let line = arguments.join(" ");
        return Err(format!("tar {line}: only `tar -xzf ARCHIVE -C FOLDER` exists on a local instance"));
    };
    let file = File::open(below(root, archive)?).map_err(|error| format!("tar ({archive}): Cannot open: {error}"))?;
    let into = below(root, folder)?;
    if !into.is_dir() {
        return Err(format!("tar: {folder}: Cannot open: No such file or directory"));
    }
    if is_full {
        return Err(format!("tar: {folder}: Cannot write: No space left on device"));
    }
    let mut unpacked = Archive::new(GzDecoder::new(file));
    unpacked.set_preserve_permissions(true);
    unpacked.set_overwrite(true);
    unpacked
        .unpack(into)
        .map_err(|error| format!("tar: {archive}: {error}\ntar: Error is not recoverable: exiting now"))
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use kit::platform::PermissionsExt as _;
    use tar::{Builder, EntryType, Header};

    use super::*;

    #[test]
    fn an_archive_is_unpacked_with_its_modes_and_links_and_nothing_outside() {
        let root = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut add = |name: &str, mode: u32, target: Option<&str>| {
            let mut header = Header::new_gnu();
            header.set_mode(mode);
            header.set_size(if target.is_some() { 0 } else { 1 });
            header.set_entry_type(if target.is_some() { EntryType::Symlink } else { EntryType::Regular });
            // The crate refuses such names itself.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if let Some(target) = target {
                header.set_link_name(target).unwrap();
            }
            header.set_cksum();
            builder.append(&header, if target.is_some() { &b""[..] } else { &b"x"[..] }).unwrap();
        };
        add("a/start", 0o755, None);
        add("main", 0o644, None);
        add("link", 0o777, Some("a/start"));
        add("../outside", 0o644, None);
        std::fs::write(root.path().join("files.tar.gz"), builder.into_inner().unwrap().finish().unwrap()).unwrap();
        std::fs::create_dir(root.path().join("files")).unwrap();
        let arguments = ["-xzf", "/files.tar.gz", "-C", "/files"];
        for _ in 0..2 {
            tar(root.path(), &arguments, false).unwrap();
        }
        let mode = |name: &str| root.path().join("files").join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/start"), mode("main"), mode("link")), (0o755, 0o644, 0o755));
        assert!(!root.path().join("outside").exists());
        let check = |arguments: &[&str], is_full: bool, expected: &str| {
            let error = tar(root.path(), arguments, is_full).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&arguments, true, "No space left on device");
        check(&["-xzf", "/none", "-C", "/files"], false, "Cannot open");
        check(&["-xzf", "/files.tar.gz", "-C", "/none"], false, "No such file or directory");
        check(&["-xzf", "/files.tar.gz", "-C", "/../.."], false, "leads out of the instance");
        check(&["-czf", "/files.tar.gz", "/files"], false, "only `tar -xzf");
        std::fs::write(root.path().join("files.tar.gz"), "no archive").unwrap();
        check(&arguments, false, "not recoverable");
    }
}
