//! `.env`: whatever the file contains, our values are in it afterwards, and merging them again changes nothing.
#![no_main]

use std::collections::BTreeMap;

use deployer::output::env_file::merge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let values = BTreeMap::from([("BUCKET".to_owned(), "a \"b\" $c\\".to_owned()), ("TABLE".to_owned(), String::new())]);
    if let Ok(once) = merge(&String::from_utf8_lossy(text), &values) {
        assert_eq!(merge(&once, &values).as_ref(), Ok(&once));
    }
});
