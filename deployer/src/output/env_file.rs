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
mod tests;
