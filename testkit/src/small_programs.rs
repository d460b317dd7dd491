//! Programs in one source file each, for the instances and functions of tests. Compiled with optimisation and without
//! symbols, they are a tenth of a package's size: tests upload them hundreds of times.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::programs::scratch;

/// A web service that reports what it receives and its process ID.
pub fn tiny_service() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("tiny_service", include_str!("small_programs/tiny_service.rs")))
}

/// A function that does what its event says.
pub fn echo_function() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("echo_function", include_str!("small_programs/echo_function.rs")))
}

/// The path of the program, compiled once for all tests: the same source always gives the same bytes.
fn compiled(name: &str, source: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let folder = scratch().join(format!("{name}-{:016x}", hasher.finish()));
    let program = folder.join(name);
    if !program.is_file() {
        compile(name, source, &folder, &program);
    }
    program
}

fn compile(name: &str, text: &str, folder: &Path, program: &Path) {
    std::fs::create_dir_all(folder).expect("the build folder can be written to");
    let own = tempfile::tempdir_in(folder).expect("a folder can be made");
    // Compiled under the same name and without symbols, which would depend on the folder of the compilation.
    let (source, made) = (own.path().join("main.rs"), own.path().join(name));
    std::fs::write(&source, text).expect("the folder can be written to");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(compiler);
    compile.args(["--edition", "2024", "--crate-name", name, "-O", "-C", "strip=symbols", "-o"]);
    compile.arg(&made).arg("main.rs").current_dir(own.path());
    assert!(compile.status().is_ok_and(|status| status.success()), "{name} does not compile");
    // Renamed, because another test may be about to start the existing file.
    std::fs::rename(made, program).expect("a file can be renamed");
}
