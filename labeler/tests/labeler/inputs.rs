//! Arbitrary events: the corpus of the fuzzers, and inputs too large to be stored in it.

use std::fs;
use std::path::Path;
use std::process::Command;

#[allow(dead_code)] // it is also an example program
#[path = "../../examples/read_event.rs"]
mod read_event;

/// The limits for a large event: KiB of address space, and seconds of processor time. Both are far beyond the actual
/// use.
const MEMORY: u64 = 2 << 20;
const SECONDS: u64 = 120;

#[test]
fn every_event_of_the_corpus_is_read_record_by_record() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/event");
    let (mut pictures, mut skipped) = (0, 0);
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        let (here, there) = read_event::look(&fs::read(entry.unwrap().path()).unwrap());
        pictures += here;
        skipped += there;
    }
    assert!(pictures >= 2 && skipped >= 5, "{pictures} pictures, {skipped} skipped");
}

#[test]
fn large_and_deep_events_are_read_within_limits_of_memory_and_time() {
    let large = 10 << 20;
    let records = format!("{{\"Records\":[{}{{}}]}}", "{},".repeat(large / 3));
    let all = format!("0 pictures, {} skipped\n", large / 3 + 1);
    let cases = [
        ("many records", records.into_bytes(), all.as_str()),
        ("deep", format!("{{\"Records\":{}", "[".repeat(large)).into_bytes(), "0 pictures, 0 skipped\n"),
        ("slashes", "/".repeat(large).into_bytes(), "0 pictures, 0 skipped\n"),
        ("per cent", "%".repeat(large).into_bytes(), "0 pictures, 0 skipped\n"),
        ("NUL", vec![0; large], "0 pictures, 0 skipped\n"),
        ("wide letters", "\u{10ffff}".repeat(large / 4).into_bytes(), "0 pictures, 0 skipped\n"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("event");
    for (what, event, expected) in cases {
        fs::write(&file, event).unwrap();
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("ulimit -v {MEMORY} && ulimit -t {SECONDS} && exec \"$@\""));
        let output = limited
            .arg("sh")
            .arg(testkit::programs::example("read_event"))
            .arg(&file)
            .output()
            .expect("a shell can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {} {errors}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{what}");
    }
}
