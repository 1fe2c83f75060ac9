//! Any bytes are an IDX array as large as its sizes say, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = pellucid_data::idx::decode("fuzz", bytes) {
        assert_eq!(read.shape.iter().product::<usize>(), read.bytes.len());
    }
});
