//! Any bytes are a picture within the limits, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = pellucid::photograph::decode("fuzz", bytes);
});
