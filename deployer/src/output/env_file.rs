//! Outputs in the formats that other programs read: `.env`, shell, JSON, YAML.

mod entry;
mod quote;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::shell;
use crate::machine::files::{self, FileError};

use entry::Entry;
use quote::{Quote, for_yaml};

/// The format of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// `NAME=value`, as in a `.env` file.
    #[default]
    Env,
    /// `export NAME='value'`, for `eval` in a shell.
    Shell,
    /// A JSON object.
    Json,
    /// A YAML mapping.
    Yaml,
}

/// Renders outputs in a format; the text ends with a newline unless it is empty.
///
/// Assumes that the names are valid names of environment variables.
pub fn render(format: Format, values: &BTreeMap<String, String>) -> String {
    let lines =
        |line: fn(&str, &str) -> String| -> String { values.iter().map(|(name, value)| line(name, value)).collect() };
    match format {
        Format::Env => lines(|name, value| format!("{name}={}\n", Quote::None.around(value))),
        Format::Shell => lines(|name, value| format!("export {name}={}\n", shell::quoted(value))),
        Format::Json => {
            let text = serde_json::to_string_pretty(values);
            text.expect("a map of strings is JSON") + "\n"
        }
        Format::Yaml => lines(|name, value| format!("{}: {}\n", for_yaml(name), for_yaml(value))),
    }
}

/// Why a `.env` file was not updated. The file is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// It cannot be written.
    #[error("failed to write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// It is not a valid `.env` file.
    #[error("{}: {source}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: OpenQuote,
    },
}

/// A value begins with a quote that is never closed. Anything added below would become part of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quote in line {line} is never closed: close it, or take it away")]
pub struct OpenQuote {
    /// The line, from 1.
    pub line: usize,
}

/// Updates a `.env` file in place, or creates it readable by its owner only, since such files tend to hold secrets.
/// Returns whether it changed.
///
/// Guarantees: readers see either the old file or the new one; permissions stay.
pub fn write(path: &Path, values: &BTreeMap<String, String>) -> Result<bool, Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let malformed = |source| Error::Malformed { path: path.to_owned(), source };
    let real = behind_links(path);
    let existing = match files::read_text_file(&real, MOST) {
        Err(error) if error.is_not_found() => None,
        read => Some(read?),
    };
    let merged = merge(existing.as_deref().unwrap_or_default(), values).map_err(malformed)?;
    if existing.as_deref() == Some(&merged) {
        return Ok(false);
    }
    replace(&real, &merged).map_err(failed)?;
    Ok(true)
}

/// The size limit, far more than a `.env` file needs.
const MOST: u64 = 1 << 20;

/// Follows links: the target is replaced, or created if it does not exist yet.
fn behind_links(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("")).join(target),
        Err(_) => path.to_owned(),
    }
}

/// Returns the text of a `.env` file with these values in it.
///
/// Guarantees: all other lines, comments and blanks stay as they are, and so do the order, `export`, the style of
/// quotes and the line endings; a value that is already right is not touched. New names are appended.
///
/// Errors: a quote is never closed.
pub fn merge(existing: &str, values: &BTreeMap<String, String>) -> Result<String, OpenQuote> {
    let mut merged = String::with_capacity(existing.len());
    let mut found = BTreeSet::new();
    let mut rest = existing;
    // Some editors begin a file with a byte order mark, which is not part of the first name.
    if let Some(text) = existing.strip_prefix(MARK) {
        merged.push(MARK);
        rest = text;
    }
    while !rest.is_empty() {
        let (entry, after) = Entry::first(rest);
        if Quote::is_open(entry.value) {
            let before = &existing[..existing.len() - rest.len()];
            return Err(OpenQuote { line: before.matches('\n').count() + 1 });
        }
        match entry.name.and_then(|name| values.get_key_value(name)) {
            Some((name, value)) => {
                found.insert(name);
                merged.push_str(&entry.with(value));
            }
            None => merged.push_str(entry.text),
        }
        rest = after;
    }
    append(&mut merged, values.iter().filter(|(name, _)| !found.contains(name)));
    Ok(merged)
}

/// The byte order mark.
const MARK: char = '\u{feff}';

fn append<'a>(text: &mut String, values: impl Iterator<Item = (&'a String, &'a String)>) {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let unfinished = !text.is_empty() && !text.ends_with(['\n', MARK]);
    for (name, value) in values {
        if unfinished {
            text.push_str(newline);
        }
        text.push_str(&format!("{name}={}", Quote::None.around(value)));
        if !unfinished {
            text.push_str(newline);
        }
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let existing = fs::metadata(path).ok();
    if existing.as_ref().is_some_and(|existing| existing.permissions().readonly()) {
        // Replacing it would need no permission, but it was made read-only on purpose.
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is read-only (`chmod u+w` lets it be written)",
        ));
    }
    // In the same directory, because a rename is atomic only within one file system.
    let mut file = tempfile::Builder::new().prefix(".env-").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    if let Some(existing) = existing {
        file.as_file().set_permissions(existing.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(existing: &str, values: &BTreeMap<String, String>) -> String {
        merge(existing, values).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        pairs.iter().map(owned).collect()
    }

    /// A description, the file, the values, and the file afterwards.
    type Merge<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

    #[test]
    fn a_merge_changes_the_named_values_and_nothing_else() {
        let table: &[Merge] = &[
            ("an empty file", "", &[("B", "2"), ("A", "1")], "A=1\nB=2\n"),
            ("nothing to say", "A=1\n", &[], "A=1\n"),
            ("a value", "A=1\nB=2\n", &[("A", "3")], "A=3\nB=2\n"),
            ("a new name", "B=2\n", &[("A", "3")], "B=2\nA=3\n"),
            ("comments and blanks", "# mine\n\n  # too\nA=1\n\n", &[("A", "2")], "# mine\n\n  # too\nA=2\n\n"),
            ("a comment that looks like a value", "#A=1\n", &[("A", "2")], "#A=1\nA=2\n"),
            ("a number sign that begins the value", "A=#1\n", &[("A", "2")], "A=2\n"),
            ("a comment after the value", "A=1 # the first\n", &[("A", "2")], "A=2 # the first\n"),
            ("a number sign in the value", "A=1#2\n", &[("A", "2")], "A=2\n"),
            ("no value", "A=\nB= # none\n", &[("A", "1"), ("B", "2")], "A=1\nB=2 # none\n"),
            ("export", "export A=1\n\texport  B = 2\n", &[("A", "3"), ("B", "4")], "export A=3\n\texport  B = 4\n"),
            ("a name that begins like export", "exported=1\n", &[("exported", "2")], "exported=2\n"),
            ("double quotes", "A=\"1\" # x\n", &[("A", "2")], "A=\"2\" # x\n"),
            ("single quotes", "A='1'\n", &[("A", "2")], "A='2'\n"),
            ("a value that needs quotes", "A=1\n", &[("A", "2 3")], "A='2 3'\n"),
            ("a value single quotes cannot hold", "A='1'\n", &[("A", "it's")], "A=\"it's\"\n"),
            ("double quotes and signs", "A=\"1\"\n", &[("A", "a\"b$c\\d`")], "A=\"a\\\"b\\$c\\\\d\\`\"\n"),
            ("a value that is right already", "A = \"1\"  \nB='x'", &[("A", "1"), ("B", "x")], "A = \"1\"  \nB='x'"),
            ("an escaped value that is right already", "A=\"a\\\"b\"\n", &[("A", "a\"b")], "A=\"a\\\"b\"\n"),
            ("windows", "A=1\r\n# x\r\n", &[("A", "2"), ("B", "3")], "A=2\r\n# x\r\nB=3\r\n"),
            ("windows and quotes", "A=\"1\"\r\n", &[("A", "2")], "A=\"2\"\r\n"),
            ("no newline at the end", "B=2\nA=1", &[("A", "2")], "B=2\nA=2"),
            ("no newline at the end, and a new name", "B=2", &[("A", "1"), ("C", "3")], "B=2\nA=1\nC=3"),
            ("the same name twice", "A=1\nA=2\n", &[("A", "3")], "A=3\nA=3\n"),
            ("a longer name", "AB=1\nA=1\n", &[("A", "2")], "AB=1\nA=2\n"),
            ("quotes over lines", "K=\"x\nA=1\ny\"\nA=2\n", &[("A", "3")], "K=\"x\nA=1\ny\"\nA=3\n"),
            ("a value over lines goes whole", "A='x\ny' # z\nB=1\n", &[("A", "1")], "A='1' # z\nB=1\n"),
            ("lines that mean nothing", "what is this\n=1\nA=1\n", &[("A", "2")], "what is this\n=1\nA=2\n"),
            ("an equals sign in the value", "A=b=c\n", &[("A", "d=e")], "A=d=e\n"),
            ("a mark of the encoding", "\u{feff}A=1\nB=2\n", &[("A", "3")], "\u{feff}A=3\nB=2\n"),
            ("a mark and a value that is right already", "\u{feff}A=1\n", &[("A", "1")], "\u{feff}A=1\n"),
            ("a mark and nothing else", "\u{feff}", &[("A", "1")], "\u{feff}A=1\n"),
            (
                "a mark, windows and export",
                "\u{feff}export A='1'\r\n",
                &[("A", "2"), ("B", "3")],
                "\u{feff}export A='2'\r\nB=3\r\n",
            ),
            ("a mark that is not at the beginning", "B=1\n\u{feff}A=1\n", &[("A", "2")], "B=1\n\u{feff}A=1\nA=2\n"),
            ("the same name twice, once exported", "export A=1\nA=\"2\"\n", &[("A", "3")], "export A=3\nA=\"3\"\n"),
            ("other alphabets", "É=1\nA=\"é\"\n", &[("A", "ü")], "É=1\nA=\"ü\"\n"),
        ];
        for (what, existing, new, expected) in table {
            let once = merged(existing, &values(new));
            assert_eq!(&once, expected, "{what}");
            assert_eq!(&merged(&once, &values(new)), expected, "{what}, again");
        }
    }

    #[test]
    fn an_unclosed_quote_is_reported_with_its_line() {
        for (existing, line) in [("K=\"x\nA=1\n", 1), ("A=1\n\nK='", 3), ("A=\"1\n2\"\nexport K=\"x\\\"\n", 3)] {
            assert_eq!(merge(existing, &values(&[("A", "2")])), Err(OpenQuote { line }), "{existing}");
        }
    }

    #[test]
    fn every_format_quotes_special_values() {
        let outputs = values(&[
            ("BUCKET", "postagram-images-000000000000-us-east-1"),
            ("EMPTY", ""),
            ("NAME", "it's \"$HOME\""),
            ("NUMBER", "1"),
            ("TRUE", "true"),
            ("URL", "http://127.0.0.1:8080"),
        ]);
        assert_eq!(
            render(Format::Env, &outputs),
            "BUCKET=postagram-images-000000000000-us-east-1\nEMPTY=\nNAME=\"it's \\\"\\$HOME\\\"\"\nNUMBER=1\n\
             TRUE=true\nURL=http://127.0.0.1:8080\n"
        );
        assert_eq!(
            render(Format::Shell, &outputs),
            "export BUCKET='postagram-images-000000000000-us-east-1'\nexport EMPTY=''\n\
             export NAME='it'\\''s \"$HOME\"'\nexport NUMBER='1'\nexport TRUE='true'\n\
             export URL='http://127.0.0.1:8080'\n"
        );
        assert_eq!(
            render(Format::Json, &outputs),
            "{\n  \"BUCKET\": \"postagram-images-000000000000-us-east-1\",\n  \"EMPTY\": \"\",\n  \
             \"NAME\": \"it's \\\"$HOME\\\"\",\n  \"NUMBER\": \"1\",\n  \"TRUE\": \"true\",\n  \
             \"URL\": \"http://127.0.0.1:8080\"\n}\n"
        );
        assert_eq!(
            render(Format::Yaml, &outputs),
            "BUCKET: postagram-images-000000000000-us-east-1\nEMPTY: \"\"\nNAME: \"it's \\\"$HOME\\\"\"\n\
             NUMBER: \"1\"\n\"TRUE\": \"true\"\nURL: http://127.0.0.1:8080\n"
        );
    }

    /// Unusual values that must survive.
    const STRANGE: &[&str] = &[
        "", " ", "#", "a #b", "a: b", "- a", "yes", "~", "0x10", "1e3", "'", "\"", "$(x)", "`x`", "\\", "\\n", "a\nb",
        "é", "{a}", "&a", "a:", "!x", "%", "@x", "it's", "\"'",
    ];

    #[test]
    fn a_shell_reads_the_written_values() {
        for format in [Format::Shell, Format::Env] {
            for value in STRANGE {
                let script = render(format, &values(&[("V", value)])) + "printf %s \"$V\"";
                let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout), *value, "{script}");
            }
        }
    }

    #[test]
    fn a_yaml_parser_reads_the_written_values() {
        for value in STRANGE {
            let expected = values(&[("V", value), ("on", value)]);
            let text = render(Format::Yaml, &expected);
            let read: BTreeMap<String, String> = serde_yaml::from_str(&text).unwrap();
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn an_env_file_is_created_updated_or_left_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        assert!(write(&path, &values(&[("A", "1")])).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\n");
        assert!(write(&path, &values(&[("A", "2")])).unwrap());
        assert!(!write(&path, &values(&[("A", "2")])).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=2\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing temporary stays");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join(".env"));
        fs::write(&real, "A=1\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        write(&link, &values(&[("A", "2")])).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "A=2\n");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join(".env"));
        std::os::unix::fs::symlink("real", &link).unwrap();
        write(&link, &values(&[("A", "1")])).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "A=1\n");
    }

    #[test]
    fn a_read_only_file_is_an_error_unless_it_is_up_to_date() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        fs::write(&path, "A=1\n").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        assert!(!write(&path, &values(&[("A", "1")])).unwrap());
        let error = write(&path, &values(&[("A", "2")])).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(error.to_string().contains(".env") && cause.contains("read-only"), "{error}: {cause}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\n");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        fs::write(&path, b"A=\xff\n").unwrap();
        let error = write(&path, &values(&[("A", "1")])).unwrap_err();
        assert!(error.to_string().starts_with("failed to read"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"A=\xff\n");
    }
}
