//! Events of S3 as the labeler reads them, and the keys, users and file names in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use posts::{FileName, ObjectName, User};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = serde_json::from_slice(bytes) {
        for picture in labeler::pictures(&event, "photos") {
            match picture {
                // What is read from an event names the object again.
                Ok(picture) => assert_eq!(picture.key().parse::<ObjectName>().as_ref(), Ok(&picture.object)),
                Err(skipped) => assert!(!skipped.to_string().is_empty()),
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
});
