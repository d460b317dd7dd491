//! User data, its commands, the units it writes and their environment files: they reach nothing outside the instance.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime can be started"));

fuzz_target!(|text: &[u8]| {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("a directory can be made");
    RUNTIME.block_on(local::inputs::boot(&root, &String::from_utf8_lossy(text)));
    let beside = std::fs::read_dir(dir.path()).expect("the directory can be read").count();
    assert_eq!(beside, 1, "something was written beside the instance's root");
});
