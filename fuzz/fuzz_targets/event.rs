//! Events of S3 as the labeler reads them, the keys, users and file names in them, and pictures.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Repeats a finding of this target by hand.
#[allow(dead_code)]
#[path = "../../labeler/examples/read_event.rs"]
mod read_event;

fuzz_target!(|bytes: &[u8]| {
    read_event::look(bytes);
});
