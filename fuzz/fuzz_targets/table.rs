//! Any bytes are a table of numbers with as many targets as rows, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for target in [None, Some("0"), Some("a,1")] {
        if let Ok(read) = pellucid_data::table::decode("fuzz", bytes, target) {
            assert_eq!(read.len(), read.targets.len());
        }
    }
});
