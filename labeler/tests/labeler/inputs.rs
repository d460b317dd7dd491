//! Events of any kind: the corpus of the fuzzers once more, and what is too large to be kept in it.

use std::fs;
use std::path::Path;

use posts::{FileName, ObjectName, User};
use serde_json::Value;

fn look(bytes: &[u8]) -> (usize, usize) {
    let (mut pictures, mut skipped) = (0, 0);
    if let Ok(event) = serde_json::from_slice::<Value>(bytes) {
        for picture in labeler::pictures(&event, "photos") {
            match picture {
                Ok(picture) => {
                    assert_eq!(picture.key().parse::<ObjectName>().as_ref(), Ok(&picture.object));
                    pictures += 1;
                }
                Err(why) => {
                    assert!(!why.to_string().is_empty());
                    skipped += 1;
                }
            }
        }
    }
    let _ = User::from_header(bytes);
    let text = String::from_utf8_lossy(bytes);
    if let Ok(object) = ObjectName::from_event(&text) {
        assert_eq!(object.to_string().parse(), Ok(object));
    }
    if let Ok(name) = text.parse::<FileName>() {
        assert!(name.to_string().len() <= FileName::MAX_BYTES);
    }
    (pictures, skipped)
}

#[test]
fn every_event_of_the_corpus_is_read_record_by_record() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/event");
    let (mut pictures, mut skipped) = (0, 0);
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        let (here, there) = look(&fs::read(entry.unwrap().path()).unwrap());
        pictures += here;
        skipped += there;
    }
    assert!(pictures >= 2 && skipped >= 5, "{pictures} pictures, {skipped} skipped");
}

#[test]
fn large_and_deep_events_come_to_an_end() {
    let large = 10 << 20;
    let records = format!("{{\"Records\":[{}{{}}]}}", "{},".repeat(large / 3));
    assert_eq!(look(records.as_bytes()), (0, large / 3 + 1));
    assert_eq!(look(format!("{{\"Records\":{}", "[".repeat(large)).as_bytes()), (0, 0));
    assert_eq!(look("/".repeat(large).as_bytes()), (0, 0));
    assert_eq!(look("%".repeat(large).as_bytes()), (0, 0));
    assert_eq!(look(&vec![0; large]), (0, 0));
    assert_eq!(look("\u{10ffff}".repeat(large / 4).as_bytes()), (0, 0));
}
