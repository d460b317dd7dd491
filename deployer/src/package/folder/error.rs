//! Why a folder cannot be packed.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{MOST_BYTES, MOST_FILES};
use crate::machine::files::FileError;

/// Why a folder cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder could not be read.
    #[error("failed to read {}", .path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(FileError),
    /// It is not a folder.
    #[error("{} is {kind}, not a folder", .path.display())]
    NotAFolder {
        /// Its path.
        path: PathBuf,
        /// Its kind, with the article.
        kind: &'static str,
    },
    /// Nothing is left to pack.
    #[error("{} has no files to deploy", .0.display())]
    Empty(PathBuf),
    /// Something other than a file, a folder or a link.
    #[error("{} is {kind}: only files, folders and links can be deployed", .path.display())]
    Special {
        /// Its path.
        path: PathBuf,
        /// Its kind, with the article.
        kind: &'static str,
    },
    /// A link that leads out of the folder.
    #[error("{} is a link to {}, outside of the folder", .path.display(), .target.display())]
    LeadsOut {
        /// Its path.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
    /// A name that not every system can have.
    #[error("{path:?} is not UTF-8 text, or has control characters")]
    Name {
        /// The path.
        path: PathBuf,
    },
    /// A private key.
    #[error("{} is a private key, which everyone who may read the deployed program could read", .0.display())]
    PrivateKey(PathBuf),
    /// Too many files.
    #[error("{} has more than {MOST_FILES} files", .0.display())]
    TooMany(PathBuf),
    /// Too many bytes.
    #[error("{} has more than {} MiB of files", .0.display(), MOST_BYTES >> 20)]
    TooLarge(PathBuf),
    /// It exceeds a limit of Lambda.
    #[error("{} is too large for a function: more than {} MiB {how}", .path.display(), .most >> 20)]
    TooLargeForFunction {
        /// The folder.
        path: PathBuf,
        /// `in a zip` or `unpacked`.
        how: &'static str,
        /// The limit in bytes.
        most: u64,
    },
}

impl FolderError {
    /// The remedy.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::NotAFolder { .. } => {
                "correct the path of the folder: it begins at the folder of stack.yaml"
            }
            Self::File(_) => "make it readable, or move it out of the folder",
            Self::Empty(_) => "name the folder that holds the program",
            Self::Special { .. } => "remove it, or move it out of the folder",
            Self::LeadsOut { .. } => "copy the file into the folder, or make it a relative link within the folder",
            Self::Name { .. } => "rename it",
            Self::PrivateKey(_) => {
                "move it out of the folder, keep it with `deployer secret set`, and name it in `environment`"
            }
            Self::TooLargeForFunction { .. } => {
                "keep data in a bucket, and leave out packages that the runtime has, such as boto3 and @aws-sdk"
            }
            Self::TooMany(_) | Self::TooLarge(_) => {
                "keep data in a bucket, and install packages of Node.js with `setup: npm ci`: then node_modules is left out"
            }
        }
    }
}

pub(super) fn io_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Io { path: path.into(), source }
}
