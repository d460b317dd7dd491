//! Writes small files atomically: a reader sees the old content or the new, never a part.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a temporary file next to `path` and renames it.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let beside = beside(path);
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Writes `value` as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

/// Reads a whole file.
///
/// Errors: it is not a regular file: a pipe or a device could be read forever.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    check_regular(path)?;
    std::fs::read(path)
}

/// Fails if the path exists and is not a regular file.
pub fn check_regular(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => {
            Err(io::Error::new(ErrorKind::InvalidInput, format!("{} is not a regular file", path.display())))
        }
        Err(fault) if fault.kind() != ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

/// Reads a JSON file; `None` if it does not exist.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(anyhow::Error::new(fault).context(format!("{} is damaged", path.display()))),
        },
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(anyhow::Error::new(fault).context(format!("failed to read {}", path.display()))),
    }
}

/// Returns a unique path for a temporary file next to `path`.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}{UNFINISHED}", uuid::Uuid::new_v4().simple()));
    path.with_file_name(name)
}

/// The suffix of files that are not complete.
const UNFINISHED: &str = ".new";

/// Removes the temporary files below `dir` that a killed server left behind.
pub fn remove_unfinished(dir: &Path) -> io::Result<()> {
    let listing = match std::fs::read_dir(dir) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
        listing => listing?,
    };
    for entry in listing {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_unfinished(&entry.path())?;
        } else if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_read_back_and_no_temporary_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/state.json");
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
        write_json(&path, &[1, 2]).unwrap();
        write_json(&path, &[3]).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_never_ends_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        for (name, target) in [("endless.json", "/dev/zero"), ("silent.json", "/dev/tty"), ("dir.json", "/")] {
            let path = dir.path().join(name);
            crate::platform::symlink(target, &path).unwrap();
            let refused = format!("{:#}", read_json::<Vec<u8>>(&path).unwrap_err());
            assert!(refused.contains(name) && refused.contains("is not a regular file"), "{refused}");
        }
        let pipe = dir.path().join("pipe.json");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe).is_err());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        std::fs::write(&path, "{").unwrap();
        assert!(read_json::<Vec<u8>>(&path).unwrap_err().to_string().contains("state.json is damaged"));
    }
}
