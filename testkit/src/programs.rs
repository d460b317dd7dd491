//! Programs that tests start, and folders that tests may write to.

use std::path::{Path, PathBuf};

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of this build's programs.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    test.ancestors().nth(2).expect("tests are built into `deps` of the build folder").to_owned()
}

/// A program of this workspace, built together with this test.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = profile().join(name);
    assert!(program.is_file(), "{} is not there: cargo build --workspace --bins", program.display());
    program
}

/// An example of this workspace, built together with this test.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let program = profile().join("examples").join(name);
    assert!(program.is_file(), "{} is not there: cargo build --workspace --examples", program.display());
    program
}

/// A folder for files that outlive a test: compiled programs, tables, screenshots.
#[must_use]
pub fn scratch() -> PathBuf {
    let folder = profile().with_file_name("tmp");
    std::fs::create_dir_all(&folder).expect("the build folder can be written to");
    folder
}

/// A tool that `.ci/setup` installs, by its path within `.venv`.
#[must_use]
pub fn tool(path: &str) -> PathBuf {
    let tool = root().join(".venv").join(path);
    assert!(tool.exists(), "{} is not there: run .ci/setup", tool.display());
    tool
}
