//! A web service in one source file, for instances in tests: it reports what it receives and its process id.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::programs::scratch;

const SOURCE: &str = include_str!("tiny_service/main.rs");

/// The path of its program, compiled once for all tests: the same source always gives the same bytes.
pub fn tiny_service() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        SOURCE.hash(&mut hasher);
        let folder = scratch().join(format!("tiny_service-{:016x}", hasher.finish()));
        let program = folder.join("tiny_service");
        if !program.is_file() {
            compile(&folder, &program);
        }
        program
    })
}

fn compile(folder: &Path, program: &Path) {
    std::fs::create_dir_all(folder).expect("the build folder can be written to");
    let own = tempfile::tempdir_in(folder).expect("a folder can be made");
    // Compiled under the same name and without symbols, which would depend on the folder of the compilation.
    let (source, made) = (own.path().join("main.rs"), own.path().join("tiny_service"));
    std::fs::write(&source, SOURCE).expect("the folder can be written to");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(compiler);
    compile.args(["--edition", "2024", "--crate-name", "tiny_service", "-O", "-C", "strip=symbols", "-o"]);
    compile.arg(&made).arg("main.rs").current_dir(own.path());
    assert!(compile.status().is_ok_and(|status| status.success()), "the tiny service does not compile");
    // Renamed, because another test may be about to start the existing file.
    std::fs::rename(made, program).expect("a file can be renamed");
}
