//! The code of functions: zips, each unpacked into a directory for the function and code version.

use kit::platform::{PermissionsExt, symlink};
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;

use super::Function;
use kit::store;

/// The maximum size of unpacked code in bytes (docs/aws.md §7.1).
const LARGEST: u64 = 262_144_000;

/// Returns the directory of the code of `function`; `dir` is that of all functions.
pub(super) fn place(dir: &Path, function: &Function) -> PathBuf {
    // Base64 may contain slashes, which a directory's name cannot.
    let version = function.code_sha256.replace('/', "-");
    code_of(dir, &function.name).join(version)
}

/// Returns the directory of all code versions of a function.
pub(super) fn code_of(dir: &Path, name: &str) -> PathBuf {
    dir.join("code").join(name)
}

/// Unpacks `zip` to `place`, atomically.
pub(super) fn unpack(place: &Path, zip: &[u8]) -> Result<(), String> {
    if place.is_dir() {
        return Ok(());
    }
    let beside = store::beside(place);
    let done = fs::create_dir_all(&beside)
        .map_err(|fault| fault.to_string())
        .and_then(|()| unpack_to(&beside, zip))
        .and_then(|()| fs::rename(&beside, place).or_else(|fault| there(place, fault)));
    if done.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    done
}

/// Succeeds if the same code was unpacked concurrently.
fn there(place: &Path, fault: io::Error) -> Result<(), String> {
    if place.is_dir() { Ok(()) } else { Err(fault.to_string()) }
}

fn unpack_to(place: &Path, zip: &[u8]) -> Result<(), String> {
    const BROKEN: &str = "Could not unzip uploaded file. Please check your file, then try to upload again.";
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| BROKEN.to_owned())?;
    let mut room = LARGEST;
    let mut links = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|_| BROKEN.to_owned())?;
        // Names that lead out of the directory are refused.
        let file = place.join(entry.enclosed_name().ok_or(BROKEN)?);
        if entry.is_dir() {
            fs::create_dir_all(&file).map_err(|fault| fault.to_string())?;
            continue;
        }
        let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
        let mut bytes = Vec::new();
        entry.by_ref().take(room + 1).read_to_end(&mut bytes).map_err(|_| BROKEN.to_owned())?;
        room = room
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| format!("Unzipped size must be smaller than {LARGEST} bytes"))?;
        if entry.is_symlink() {
            links.push((file, String::from_utf8(bytes).map_err(|_| BROKEN)?));
            continue;
        }
        write(&file, &bytes, mode).map_err(|fault| fault.to_string())?;
    }
    // Links come last: no file is written by way of one.
    for (file, target) in links {
        link(place, &file, &target).map_err(|fault| fault.to_string())?.ok_or(BROKEN)?;
    }
    Ok(())
}

/// Makes a symbolic link; `None` if it leads out of the directory.
fn link(place: &Path, file: &Path, target: &str) -> io::Result<Option<()>> {
    let Some(parent) = file.parent() else { return Ok(None) };
    let mut depth = parent.strip_prefix(place).map_or(0, |within| within.components().count());
    for part in Path::new(target).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Ok(None),
        }
    }
    fs::create_dir_all(parent)?;
    symlink(target, file).map(Some)
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(file, bytes)?;
    // Some systems' packers do not mark it as executable.
    let mode = if file.file_name().is_some_and(|name| name == "bootstrap") { 0o755 } else { mode | 0o600 };
    fs::set_permissions(file, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// A zip with one file.
    pub(crate) fn zip(name: &str) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(b"#!/bin/sh").unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_bootstrap_can_be_run_whatever_the_zip_says() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("f/1");
        unpack(&place, &zip("bootstrap")).unwrap();
        let mode = fs::metadata(place.join("bootstrap")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn links_are_kept_unless_they_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = |target: &str| {
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            writer.add_symlink("bin/run", target, SimpleFileOptions::default()).unwrap();
            writer.start_file("lib/run.js", SimpleFileOptions::default()).unwrap();
            writer.write_all(b"run").unwrap();
            let place = dir.path().join(target.replace('/', "-"));
            unpack(&place, &writer.finish().unwrap().into_inner()).map(|()| fs::read(place.join("bin/run")).unwrap())
        };
        assert_eq!(unpacked("../lib/run.js").unwrap(), b"run");
        for outside in ["../../run", "/etc/passwd", "../bin/../../x"] {
            assert!(unpacked(outside).unwrap_err().starts_with("Could not unzip"), "{outside}");
        }
    }

    #[test]
    fn an_invalid_zip_or_one_with_escaping_paths_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("f/1");
        for broken in [b"no zip".to_vec(), zip("../out")] {
            assert!(unpack(&place, &broken).unwrap_err().starts_with("Could not unzip"));
        }
        assert_eq!(fs::read_dir(dir.path().join("f")).unwrap().count(), 0);
        assert!(!dir.path().join("out").exists());
    }
}
