//! The zip of a function's folder, for a runtime that Lambda manages.

use std::{
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, DateTime, System, ZipWriter, write::SimpleFileOptions};

use super::folder::{Entry, FolderError, Packing, What, content, sorted_entries};

/// Lambda's limits for a direct upload, in bytes: of the files, and of their zip (docs/aws.md §7.1).
const MOST_BYTES: u64 = 250 << 20;
const MOST_ZIPPED: u64 = 50 << 20;

/// A function's folder, packed.
#[derive(Debug)]
pub struct FunctionFolder {
    /// The zip.
    pub zip: Vec<u8>,
    folder: PathBuf,
    names: Vec<String>,
    links: Vec<String>,
}

impl FunctionFolder {
    /// Packs a folder.
    ///
    /// Guarantees: those of [`archive`](super::archive), so that an unchanged folder is never uploaded again.
    ///
    /// Errors: those of [`archive`](super::archive), and a folder beyond the limits of Lambda.
    pub fn pack(folder: &Path, packing: Packing<'_>) -> Result<FunctionFolder, FolderError> {
        FunctionFolder::pack_within(folder, packing, MOST_BYTES, MOST_ZIPPED)
    }

    fn pack_within(
        folder: &Path,
        packing: Packing<'_>,
        most_bytes: u64,
        most_zipped: u64,
    ) -> Result<FunctionFolder, FolderError> {
        let too_large = |how, most| FolderError::TooLargeForFunction { path: folder.into(), how, most };
        let (mut left, mut names, mut links) = (most_bytes, Vec::new(), Vec::new());
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for Entry { name, path, what } in sorted_entries(folder, packing)? {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(2)) // as for programs
                .last_modified_time(DateTime::default()) // 1980: the times of files say nothing about the code
                .system(System::Unix); // as for programs
            let added = match what {
                What::File { is_executable } => {
                    let bytes = content(folder, &name, &path, &mut left).map_err(|error| match error {
                        FolderError::TooLarge(_) => too_large("unpacked", most_bytes),
                        other => other,
                    })?;
                    let options = options.unix_permissions(if is_executable { 0o755 } else { 0o644 });
                    let started = zip.start_file(&name, options);
                    names.push(name);
                    started.and_then(|()| Ok(zip.write_all(&bytes)?))
                }
                What::Link(target) => {
                    // The same on systems whose paths have backslashes.
                    let target = target.to_string_lossy().replace('\\', "/");
                    let added = zip.add_symlink(&name, target, options.unix_permissions(0o777));
                    links.push(name);
                    added
                }
            };
            added.expect("writing to memory does not fail");
        }
        let zip = zip.finish().expect("writing to memory does not fail").into_inner();
        match zip.len() as u64 > most_zipped {
            true => Err(too_large("in a zip", most_zipped)),
            false => Ok(FunctionFolder { zip, folder: folder.into(), names, links }),
        }
    }

    /// Whether it has a file of this name, or a link that leads to one.
    pub fn has(&self, file: &str) -> bool {
        let is_within = |link: &String| {
            file.strip_prefix(link.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.names.iter().any(|name| name == file)
            || (self.links.iter().any(is_within) && self.folder.join(file).is_file())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs::{File, Permissions, create_dir_all, set_permissions, write},
        io::Read as _,
        os::unix::fs::{PermissionsExt as _, symlink},
        time::{Duration, SystemTime},
    };

    use zip::ZipArchive;

    use super::*;
    use crate::package::folder::tests::folder;

    fn pack(folder: &Path) -> Result<FunctionFolder, FolderError> {
        FunctionFolder::pack(folder, Packing { description: Path::new("/stack.yaml"), setup: None })
    }

    /// The entries of a zip in their order: name, mode, and content or target.
    fn unpacked(zip: &[u8]) -> Vec<(String, u32, String)> {
        let mut archive = ZipArchive::new(Cursor::new(zip)).unwrap();
        let entries = (0..archive.len()).map(|at| {
            let mut entry = archive.by_index(at).unwrap();
            let time = entry.last_modified().unwrap();
            assert_eq!((time.year(), time.month(), time.day()), (1980, 1, 1));
            let (name, mode) = (entry.name().unwrap().to_string(), entry.unix_mode().unwrap());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            (name, mode, content)
        });
        entries.collect()
    }

    #[test]
    fn the_same_files_give_the_same_zip_whatever_their_times_modes_and_order() {
        let files = [("app.py", "print()"), ("run!", "#!/bin/sh"), ("lib/a/b.py", "b"), ("lib-a.py", "c")];
        let (one, other) = (folder(&files), folder(&[files[3], files[1], files[2], files[0]]));
        let later = SystemTime::now() + Duration::from_secs(100_000);
        File::options().write(true).open(other.path().join("app.py")).unwrap().set_modified(later).unwrap();
        set_permissions(other.path().join("app.py"), Permissions::from_mode(0o644)).unwrap();
        write(other.path().join(".env"), "TOKEN=hunter2").unwrap();
        create_dir_all(other.path().join("__pycache__")).unwrap();
        write(other.path().join("__pycache__/app.pyc"), "").unwrap();
        let packed = pack(one.path()).unwrap();
        assert_eq!(packed.zip, pack(other.path()).unwrap().zip);
        let entry = |name: &str, mode: u32, content: &str| (name.to_owned(), 0o100_000 | mode, content.to_owned());
        let expected = [
            entry("app.py", 0o644, "print()"),
            entry("lib-a.py", 0o644, "c"),
            entry("lib/a/b.py", 0o644, "b"),
            entry("run", 0o755, "#!/bin/sh"),
        ];
        assert_eq!(unpacked(&packed.zip), expected);
        assert!(packed.has("app.py") && packed.has("lib/a/b.py") && !packed.has("lib") && !packed.has("b.py"));
        write(other.path().join("lib-a.py"), "d").unwrap();
        assert_ne!(packed.zip, pack(other.path()).unwrap().zip, "another content");
    }

    #[test]
    fn packages_are_packed_with_their_links() {
        let folder = folder(&[("package.json", "{}"), ("node_modules/left/cli.js!", "x"), ("shared/app.js", "y")]);
        create_dir_all(folder.path().join("node_modules/.bin")).unwrap();
        symlink("../left/cli.js", folder.path().join("node_modules/.bin/left")).unwrap();
        symlink("shared", folder.path().join("lib")).unwrap();
        let packed = pack(folder.path()).unwrap();
        let found = unpacked(&packed.zip);
        let link = found.iter().find(|(name, ..)| name == "node_modules/.bin/left").unwrap();
        assert_eq!((link.1, link.2.as_str()), (0o120_777, "../left/cli.js"));
        assert!(packed.has("lib/app.js") && !packed.has("lib/other.js") && !packed.has("lib"));
        symlink("/etc/passwd", folder.path().join("out")).unwrap();
        assert!(matches!(pack(folder.path()), Err(FolderError::LeadsOut { .. })));
    }

    #[test]
    fn folders_beyond_the_limits_of_lambda_are_refused() {
        let folder = folder(&[("a.bin", "0123456789"), ("b.bin", "abcdefghij")]);
        let packing = Packing { description: Path::new("/stack.yaml"), setup: None };
        let refused = |most_bytes, most_zipped| {
            let packed = FunctionFolder::pack_within(folder.path(), packing, most_bytes, most_zipped);
            packed.err().map(|error| error.to_string().replace(&*folder.path().to_string_lossy(), "app"))
        };
        assert_eq!(refused(20, 1000), None);
        let unpacked = "app is too large for a function: more than 0 MiB unpacked";
        assert_eq!(refused(19, 1000).as_deref(), Some(unpacked));
        assert_eq!(refused(20, 20).as_deref(), Some("app is too large for a function: more than 0 MiB in a zip"));
        File::create(folder.path().join("large")).unwrap().set_len(MOST_BYTES).unwrap();
        let error = pack(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("is too large for a function: more than 250 MiB unpacked"), "{error}");
        assert!(error.hint().contains("bucket"), "{}", error.hint());
        assert!(matches!(pack(&folder.path().join("none")), Err(FolderError::Io { .. })));
    }
}
