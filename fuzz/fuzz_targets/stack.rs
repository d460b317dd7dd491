//! `stack.yaml`: any text is a description or a list of what is wrong with it.
#![no_main]

use deployer::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Err(errors) = Config::parse("stack.yaml", &String::from_utf8_lossy(text)) {
        assert!(!errors.to_string().is_empty());
    }
});
