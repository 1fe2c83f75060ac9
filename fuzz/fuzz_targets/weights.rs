//! Any bytes are a state dictionary or an error, and every tensor of one can be read or is refused.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pellucid_weights::{Wanted, decode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(state) = decode("fuzz", Bytes::copy_from_slice(bytes)) else { return };
    let mut wanted = Vec::new();
    for name in state.names() {
        let (_, shape) = state.shape(name).expect("what is named is there");
        // What elements apart are put together to may be up to 4 GiB, which is more than a fuzzer has.
        if shape
            .iter()
            .try_fold(1usize, |count, size| count.checked_mul(*size))
            .is_some_and(|count| count < 1 << 16)
        {
            let tensor = state.tensor(name).expect("a small tensor of a checked file can be read");
            assert_eq!(tensor.shape(), shape);
            wanted.push(Wanted { name: name.to_owned(), shape: shape.to_vec() });
        }
    }
    let _ = state.fit("network", &wanted);
});
