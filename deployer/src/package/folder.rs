//! The archive of a folder with a program in any language.

mod error;
mod left_out;
mod link;

use std::{
    fs::symlink_metadata,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::machine::{
    files::{FileError, read_regular_file},
    platform::{is_executable, kind},
};

pub use error::FolderError;
use error::io_error;
use left_out::{is_left_out, is_private_key};
use link::leads_out;

/// The most files of a folder.
pub const MOST_FILES: usize = 20_000;

/// The most bytes of its files: the archive is held in memory.
pub const MOST_BYTES: u64 = 256 << 20;

/// The usual name of a description, which does not belong to the program even if another one is used.
const DESCRIPTION: &str = "stack.yaml";

/// The settings that decide how a folder is packed.
#[derive(Debug, Clone, Copy)]
pub struct Packing<'a> {
    /// The description of the stack, which does not belong to the program.
    pub description: &'a Path,
    /// The command that prepares the folder on the instance.
    pub setup: Option<&'a str>,
}

/// The time of every entry, 1980: the times of files say nothing about the program.
const TIME: u64 = 315_532_800;

/// Packs a folder as `tar.gz`.
///
/// Guarantees: the same files give the same bytes on every system, whatever their times, owners and order, so that an
/// unchanged service is not rolled out again. Of the modes only what Git keeps is kept: whether a file is executable.
/// Empty folders are left out, as in Git. The hash of a program is that of its object in the bucket, and so that of the
/// compressed bytes: another release of the deployer may compress in another way, and rolls every folder out once.
pub fn archive(folder: &Path, packing: Packing<'_>) -> Result<Vec<u8>, FolderError> {
    let entries = sorted_entries(folder, packing)?;
    let mut left = MOST_BYTES;
    // Every plan compresses again, and a higher level saves a tenth of the size at most.
    let packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(2));
    let mut archive = Builder::new(packed);
    for Entry { name, path, what } in &entries {
        let mut header = Header::new_gnu();
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        let added = match what {
            What::File { is_executable } => {
                let bytes = content(folder, name, path, &mut left)?;
                header.set_entry_type(EntryType::Regular);
                header.set_mode(if *is_executable { 0o755 } else { 0o644 });
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, name, bytes.as_slice())
            }
            What::Link(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, name, target)
            }
        };
        added.map_err(|source| io_error(path, source))?;
    }
    let finished = archive.into_inner().and_then(|mut packed| packed.flush().and_then(|()| packed.finish()));
    finished.map_err(|source| io_error(folder, source))
}

/// A file or link to pack.
pub(super) struct Entry {
    /// Its path in the archive.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) what: What,
}

pub(super) enum What {
    File { is_executable: bool },
    Link(PathBuf),
}

/// Reads a file of a folder, and subtracts its size from the bytes `left`.
pub(super) fn content(folder: &Path, name: &str, path: &Path, left: &mut u64) -> Result<Vec<u8>, FolderError> {
    let bytes = read_regular_file(path, *left).map_err(|error| match error {
        FileError::TooLarge { .. } => FolderError::TooLarge(folder.into()),
        other => FolderError::File(other),
    })?;
    if is_private_key(name, &bytes) {
        return Err(FolderError::PrivateKey(path.into()));
    }
    *left -= bytes.len() as u64;
    Ok(bytes)
}

/// The files and links of a folder, sorted by their names.
///
/// Errors: there are none.
pub(super) fn sorted_entries(folder: &Path, packing: Packing<'_>) -> Result<Vec<Entry>, FolderError> {
    let mut entries = entries(folder, packing)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if entries.is_empty() { Err(FolderError::Empty(folder.into())) } else { Ok(entries) }
}

/// The files and links of a folder, in any order.
fn entries(folder: &Path, packing: Packing<'_>) -> Result<Vec<Entry>, FolderError> {
    let about = std::fs::metadata(folder).map_err(|source| io_error(folder, source))?;
    if !about.is_dir() {
        let kind = if about.is_file() { "a file" } else { kind(about.file_type()) };
        return Err(FolderError::NotAFolder { path: folder.into(), kind });
    }
    let (mut entries, mut ahead) = (Vec::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((within, before)) = ahead.pop() {
        for found in std::fs::read_dir(&within).map_err(|source| io_error(&within, source))? {
            let path = found.map_err(|source| io_error(&within, source))?.path();
            let own = path.file_name().and_then(|name| name.to_str());
            let own = own.filter(|name| !name.contains(|c: char| c.is_control() || c == '\\'));
            let Some(own) = own else { return Err(FolderError::Name { path }) };
            let about = symlink_metadata(&path).map_err(|source| io_error(&path, source))?;
            if is_left_out(&path, own, &about, packing) || (before.is_empty() && own == DESCRIPTION) {
                continue;
            }
            let name = format!("{before}{own}");
            match () {
                () if about.is_dir() => ahead.push((path, format!("{name}/"))),
                () if about.is_file() => {
                    let what = What::File { is_executable: is_executable(&about) };
                    entries.push(Entry { name, path, what });
                }
                () if about.is_symlink() => {
                    let target = std::fs::read_link(&path).map_err(|source| io_error(&path, source))?;
                    if leads_out(folder, &name, &target) {
                        return Err(FolderError::LeadsOut { path, target });
                    }
                    entries.push(Entry { name, path, what: What::Link(target) });
                }
                () => return Err(FolderError::Special { path, kind: kind(about.file_type()) }),
            }
            if entries.len() > MOST_FILES {
                return Err(FolderError::TooMany(folder.into()));
            }
        }
    }
    Ok(entries)
}

#[cfg(all(test, unix))]
pub(super) mod tests {
    use std::{
        collections::BTreeMap,
        fs::{File, Permissions, create_dir_all, set_permissions, write},
        io::Read as _,
        os::unix::fs::{PermissionsExt as _, symlink},
        time::{Duration, SystemTime},
    };

    use flate2::read::GzDecoder;

    use super::*;

    /// A folder with these files, in which the ones that end with `!` are executable.
    pub fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name.trim_end_matches('!'));
            create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, content).unwrap();
            set_permissions(&path, Permissions::from_mode(if name.ends_with('!') { 0o700 } else { 0o600 })).unwrap();
        }
        folder
    }

    /// The entries of an archive in their order: name, mode, and content or target.
    fn unpacked(bytes: &[u8]) -> Vec<(String, u32, String)> {
        let mut archive = tar::Archive::new(GzDecoder::new(bytes));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let (mode, mut content) = (entry.header().mode().unwrap(), String::new());
            match entry.link_name().unwrap() {
                Some(target) => content = format!("→ {}", target.display()),
                None => drop(entry.read_to_string(&mut content).unwrap()),
            }
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (TIME, 0));
            (name, mode, content)
        });
        entries.collect()
    }

    /// Packs a folder with the description beside it.
    fn archive(folder: &Path) -> Result<Vec<u8>, FolderError> {
        super::archive(folder, Packing { description: Path::new("/stack.yaml"), setup: None })
    }

    fn names(folder: &Path, setup: Option<&str>) -> Vec<String> {
        let packing = Packing { description: Path::new("/stack.yaml"), setup };
        unpacked(&super::archive(folder, packing).unwrap()).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whatever_their_times_modes_and_order() {
        let files = [("main.py", "print()"), ("start!", "#!/bin/sh"), ("a/b/c.txt", "c"), ("a-b", "d")];
        let (one, other) = (folder(&files), folder(&[files[3], files[1], files[2], files[0]]));
        let later = SystemTime::now() + Duration::from_secs(100_000);
        File::options().write(true).open(other.path().join("main.py")).unwrap().set_modified(later).unwrap();
        set_permissions(other.path().join("main.py"), Permissions::from_mode(0o644)).unwrap();
        let bytes = archive(one.path()).unwrap();
        assert_eq!(bytes, archive(other.path()).unwrap());
        let expected = [("a-b", 0o644, "d"), ("a/b/c.txt", 0o644, "c"), ("main.py", 0o644, "print()")];
        let mut expected = BTreeMap::from(expected.map(|(name, mode, content)| (name.to_owned(), (mode, content))));
        expected.insert("start".into(), (0o755, "#!/bin/sh"));
        let found = unpacked(&bytes);
        let in_order: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(in_order, ["a-b", "a/b/c.txt", "main.py", "start"]);
        for (name, mode, content) in &found {
            assert_eq!(expected.get(name), Some(&(*mode, content.as_str())), "{name}");
        }
        write(other.path().join("a-b"), "e").unwrap();
        assert_ne!(bytes, archive(other.path()).unwrap(), "another content");
        set_permissions(one.path().join("a-b"), Permissions::from_mode(0o755)).unwrap();
        assert_ne!(bytes, archive(one.path()).unwrap(), "another mode");
    }

    /// A change of these bytes rolls every folder out once: the changelog has to mention it.
    #[test]
    fn the_bytes_are_those_of_earlier_releases() {
        let long = "a service in any language, packed\n".repeat(5000) + &"0123456789abcdef".repeat(300);
        let bytes = archive(folder(&[("main.py", &long), ("lib/start!", "#!/bin/sh\n")]).path()).unwrap();
        expect_test::expect!["62924e5732b772ecb3846b28e9003a0894559188a680752cfd0b80a2b669f974"]
            .assert_eq(&crate::package::sha256_hex(&bytes));
    }

    #[test]
    fn what_belongs_to_this_machine_is_left_out() {
        let folder = folder(&[
            ("main.py", ""),
            (".env", "TOKEN=1"),
            (".git/HEAD", ""),
            (".deployer/local/state", ""),
            ("__pycache__/main.pyc", ""),
            ("lib/old.pyc", ""),
            ("lib/__pycache__/x", ""),
            ("virtual/pyvenv.cfg", ""),
            ("virtual/bin/python", ""),
            (".python-version", "3.12"),
            ("stack.yaml", ""),
            ("lib/stack.yaml", ""),
        ]);
        assert_eq!(names(folder.path(), None), [".python-version", "lib/stack.yaml", "main.py"]);
    }

    #[test]
    fn packages_of_node_are_left_out_where_setup_installs_them() {
        let folder = folder(&[
            ("package.json", "{}"),
            ("node_modules/left/index.js", ""),
            ("node_modules/left/node_modules/pad/index.js", ""),
            ("vendored/node_modules/right/index.js", ""),
        ]);
        let vendored = "vendored/node_modules/right/index.js";
        for setup in ["npm ci", "cd /tmp\n/usr/bin/npm-22 install", "corepack enable && pnpm i", "yarn;", "bun install"]
        {
            assert_eq!(names(folder.path(), Some(setup)), ["package.json", vendored], "{setup}");
        }
        for setup in [None, Some("python3 -m venv .venv"), Some("echo bundled"), Some("./npmlike")] {
            assert_eq!(names(folder.path(), setup).len(), 4, "{setup:?}");
        }
    }

    #[test]
    fn the_description_is_left_out_whatever_its_name() {
        let folder = folder(&[("main.py", ""), ("prod.yaml", ""), ("lib/prod.yaml", ""), ("stack.yaml", "")]);
        let packed = |description: &Path| {
            let archive = super::archive(folder.path(), Packing { description, setup: None }).unwrap();
            unpacked(&archive).into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
        };
        let all = ["lib/prod.yaml", "main.py", "prod.yaml"];
        assert_eq!(packed(&folder.path().join("stack.yaml")), all);
        assert_eq!(packed(&folder.path().join("prod.yaml")), all[..2]);
        assert_eq!(packed(&folder.path().join("lib/../prod.yaml")), all[..2]);
        assert_eq!(packed(&folder.path().join("lib/prod.yaml")), all[1..]);
    }

    #[test]
    fn files_with_secrets_are_left_out() {
        let folder = folder(&[
            (".env.example", ""),
            (".env.production", ""),
            ("lib/.env.local", ""),
            (".ssh/id_ed25519", ""),
            (".aws/credentials", ""),
            (".netrc", ""),
            (".npmrc", ""),
            (".terraform/providers/x", ""),
            ("terraform.tfstate", ""),
            ("terraform.tfstate.backup", ""),
            ("production.tfvars", ""),
            ("main.tf", ""),
            ("environment.py", ""),
        ]);
        assert_eq!(names(folder.path(), None), [".env.example", "environment.py", "main.tf"]);
    }

    #[test]
    fn a_private_key_is_refused_and_a_certificate_is_not() {
        let (begin, end) = ("-----BEGIN ", "-----\nMII\n");
        for (name, kind, is_key) in [
            ("server.key", "PRIVATE KEY", true),
            ("tls/SERVER.PEM", "RSA PRIVATE KEY", true),
            ("ec.pem", "EC PRIVATE KEY", true),
            ("ssh.key", "OPENSSH PRIVATE KEY", true),
            ("ca.pem", "CERTIFICATE", false),
            ("public.key", "PUBLIC KEY", false),
            ("keys.py", "PRIVATE KEY", false),
        ] {
            let text = format!("{begin}{kind}{end}");
            let packed = archive(folder(&[(name, &text)]).path());
            let Some(error) = packed.err() else {
                assert!(!is_key, "{name}");
                continue;
            };
            let expected =
                format!("{name} is a private key, which everyone who may read the deployed program could read");
            assert!(is_key && error.to_string().ends_with(&expected), "{error}");
            assert!(error.hint().contains("deployer secret set"));
        }
        let both = format!("{begin}CERTIFICATE{end}{begin}PRIVATE KEY-----\r\nMII\r\n");
        let packed = archive(folder(&[("both.pem", &both)]).path());
        assert!(matches!(packed, Err(FolderError::PrivateKey(_))));
        assert!(archive(folder(&[("notes.key", "C major")]).path()).is_ok());
    }

    #[test]
    fn links_within_the_folder_are_kept_and_others_refused() {
        let folder = folder(&[("lib/main.js", "x")]);
        for (target, is_kept) in
            [("lib/main.js", true), ("./lib/../lib", true), ("../x", false), ("/etc/passwd", false)]
        {
            let link = folder.path().join("link");
            symlink(target, &link).unwrap();
            match archive(folder.path()) {
                Ok(bytes) => assert!(is_kept && unpacked(&bytes)[1].2 == format!("→ {target}"), "{target}"),
                Err(error) => {
                    let expected = format!("link is a link to {target}, outside of the folder");
                    assert!(!is_kept && error.to_string().ends_with(&expected), "{error}");
                }
            }
            std::fs::remove_file(link).unwrap();
        }
        symlink("../../x", folder.path().join("lib/up")).unwrap();
        assert!(matches!(archive(folder.path()), Err(FolderError::LeadsOut { .. })));
    }

    #[test]
    fn links_are_followed_through_other_links() {
        let folder = folder(&[("lib/main.js", "x")]);
        let link = |target: &str, name: &str| symlink(target, folder.path().join(name)).unwrap();
        link(".", "here");
        link("../lib", "lib/again");
        link("lib/again/again/main.js", "main.js");
        link("round", "round");
        link("later/built.js", "built.js");
        assert!(archive(folder.path()).is_ok());
        link("here/here/../passwd", "out");
        let error = archive(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("out is a link to here/here/../passwd, outside of the folder"), "{error}");
    }

    #[test]
    fn long_names_are_kept() {
        let name = format!("{}/{}.txt", "d".repeat(120), "f".repeat(200));
        assert_eq!(names(folder(&[(&name, "x")]).path(), None), [name]);
    }

    #[test]
    fn what_cannot_be_packed_is_named_with_a_remedy() {
        let some = folder(&[("pipes/a", ""), ("file", "x"), (".git/HEAD", "")]);
        let path = |name: &str| some.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(path("pipes/pipe")).status().unwrap().success());
        for (name, expected) in [
            ("missing", "failed to read"),
            ("file", "is a file, not a folder"),
            ("pipes", "pipes/pipe is a FIFO"),
            (".git/..", "is a FIFO"),
        ] {
            let error = archive(&path(name)).unwrap_err();
            assert!(error.to_string().contains(expected) && !error.hint().is_empty(), "{name}: {error}");
        }
        let empty = folder(&[("__pycache__/x", "")]);
        assert!(archive(empty.path()).unwrap_err().to_string().ends_with("has no files to deploy"));
        let odd = folder(&[("a\nb", "")]);
        assert!(archive(odd.path()).unwrap_err().to_string().contains("control characters"));
        let large = folder(&[("small", "x")]);
        File::create(large.path().join("large")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(archive(large.path()).unwrap_err().to_string().contains("more than 256 MiB"));
    }
}
