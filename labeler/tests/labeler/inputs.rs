//! Arbitrary events: the corpus of the fuzzers, and inputs too large to be stored in it.

use std::fs;
use std::process::Command;

use testkit::inputs::{corpus, limited};
use testkit::programs::example;

#[allow(dead_code)] // it is also an example program
#[path = "../../examples/read_event.rs"]
mod read_event;

#[test]
fn every_event_of_the_corpus_is_read_record_by_record() {
    let (mut pictures, mut skipped) = (0, 0);
    for file in corpus("event") {
        let (here, there) = read_event::look(&fs::read(file).unwrap());
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
        let program = example("read_event");
        let output = limited(Command::new(program).arg(&file)).output().expect("a shell can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {} {errors}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{what}");
    }
}
