//! Requests to every service of the local AWS, written as HTTP is and separated by a line of `%%`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use local::inputs::Doors;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime can be started"));

fuzz_target!(|text: &[u8]| {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    RUNTIME.block_on(async {
        let doors = Doors::open(dir.path()).await.expect("a new local AWS opens");
        doors.put(text).await;
        doors.close().await;
        // Accepted data can be read back after a restart.
        Doors::open(dir.path()).await.expect("what was written opens").close().await;
    });
});
