//! What is not packed: files of other tools, of this machine, and with secrets.

use std::{fs::Metadata, path::Path};

use super::Packing;

/// Files that are never packed: those of other tools, those of this machine, and those with secrets. `.gitignore` is
/// not read: it often lists build output, which has to be deployed.
const LEFT_OUT: &[&str] = &[
    ".aws",
    ".deployer",
    ".DS_Store",
    ".env",
    ".git",
    ".hg",
    ".mypy_cache",
    ".netrc",
    ".nox",
    ".npmrc",
    ".pytest_cache",
    ".ruff_cache",
    ".ssh",
    ".svn",
    ".terraform",
    ".tox",
    "__pycache__",
];

/// The beginning of files with secrets, such as `.env.production`, and the one that has none.
const SECRETS: &str = ".env.";
const EXAMPLE: &str = ".env.example";

/// A part of the names of Terraform's states, which contain secrets, and the end of the names of its variables.
const STATE: &str = ".tfstate";
const VARIABLES: &str = ".tfvars";

/// The ends of the names of files that may be private keys.
const KEYS: &[&str] = &[".key", ".pem"];

/// The folder that is not packed if a command installs it from the manifest beside it: packages of Node.js may contain
/// programs for another system.
const INSTALLED: &str = "node_modules";
const MANIFEST: &str = "package.json";

/// The programs that install the packages of Node.js.
const INSTALLERS: &[&str] = &["bun", "npm", "pnpm", "yarn"];

/// The file that marks a virtual environment of Python, which holds paths of this machine.
const ENVIRONMENT: &str = "pyvenv.cfg";

impl Packing<'_> {
    /// Whether `setup` installs packages of Node.js.
    fn installs_packages(&self) -> bool {
        let mut words = self.setup.unwrap_or_default().split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| INSTALLERS.contains(&word))
    }
}

pub(super) fn is_left_out(path: &Path, name: &str, metadata: &Metadata, packing: Packing<'_>) -> bool {
    LEFT_OUT.contains(&name)
        || (name.starts_with(SECRETS) && name != EXAMPLE)
        || (metadata.is_file() && (name.contains(STATE) || name.ends_with(VARIABLES)))
        || (metadata.is_file() && name.ends_with(".pyc"))
        || (name == INSTALLED && path.with_file_name(MANIFEST).is_file() && packing.installs_packages())
        || (packing.description.file_name().is_some_and(|own| own == name) && is_same(path, packing.description))
        || (metadata.is_dir() && path.join(ENVIRONMENT).is_file())
}

/// Whether two paths lead to the same file.
fn is_same(path: &Path, other: &Path) -> bool {
    matches!((path.canonicalize(), other.canonicalize()), (Ok(path), Ok(other)) if path == other)
}

/// Whether a file has the name and the header of a private key. Certificates may be in the same file.
pub(super) fn is_private_key(name: &str, bytes: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let is_header =
        |line: &[u8]| line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(b"PRIVATE KEY-----");
    KEYS.iter().any(|end| name.ends_with(end)) && bytes.split(|byte| *byte == b'\n').any(is_header)
}
