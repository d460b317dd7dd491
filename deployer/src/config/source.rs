//! The file that a description is read from.

use std::{collections::BTreeSet, path::Path};

use super::error::{Errors, Place, Problem};
use crate::machine::files::FileError;

/// The largest file that is read, in bytes.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// The file as errors quote it: without the values of variables.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceFile {
    pub(super) file: String,
    pub(super) text: String,
}

impl SourceFile {
    /// References in the order of the file, each once.
    pub(super) fn errors(self, mut problems: Vec<Problem>) -> Errors {
        problems.sort_by_key(|problem| problem.place);
        let mut seen = BTreeSet::new();
        problems.retain(|problem| seen.insert((problem.place, problem.message.clone())));
        let SourceFile { file, text } = self;
        Errors { file, text, problems }
    }
}

pub(super) fn unreadable(file: &str, error: FileError) -> Errors {
    let help = Some("name the file that describes the stack: --file PATH");
    match error {
        FileError::TooLarge { .. } => too_large(file),
        FileError::NotRegular { kind, .. } => whole(file, format!("cannot be read: it is {kind}, not a file"), help),
        FileError::Io { source, .. } => whole(file, format!("cannot be read: {source}"), help),
        other => whole(file, format!("cannot be read: {other}"), help),
    }
}

pub(super) fn too_large(file: &str) -> Errors {
    whole(file, "is larger than 1 MiB".into(), Some("a stack is described in a page or two"))
}

pub(super) fn whole(file: &str, what: String, help: Option<&str>) -> Errors {
    let problem = Problem { place: Place::default(), message: format!("{file} {what}"), help: help.map(str::to_owned) };
    Errors { file: file.into(), text: String::new(), problems: vec![problem] }
}

/// Relative to the working directory, if it is below it.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
