//! Reads the event in a file as the labeler does, and prints the numbers of its pictures and of its skipped records.
//!
//! ```sh
//! cargo run --example read_event fuzz/artifacts/event/crash-…
//! ```

use posts::{FileName, ObjectName, User};
use serde_json::Value;

fn main() {
    let file = std::env::args().nth(1).expect("read_event FILE");
    let bytes = std::fs::read(&file).expect("the file can be read");
    let (pictures, skipped) = look(&bytes);
    println!("{pictures} pictures, {skipped} skipped");
}

/// Reads an event record by record, parses keys, users and file names again after formatting them, and cleans pictures.
pub fn look(bytes: &[u8]) -> (usize, usize) {
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
    if let Some(clean) = labeler::without_metadata(bytes) {
        assert_eq!(labeler::without_metadata(&clean).as_ref(), Some(&clean), "a clean picture is not clean");
    }
    let _ = User::parse(&User::name_in_header(bytes));
    let text = String::from_utf8_lossy(bytes);
    if let Ok(object) = ObjectName::from_event(&text) {
        assert_eq!(object.to_string().parse(), Ok(object));
    }
    if let Ok(name) = text.parse::<FileName>() {
        assert!(name.to_string().len() <= FileName::MAX_BYTES);
    }
    (pictures, skipped)
}
