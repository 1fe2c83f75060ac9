//! Any bytes are arrays of NumPy's, alone or in an archive, or an error.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pellucid::npy;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = npy::decode("fuzz", &Bytes::copy_from_slice(bytes)) {
        let again =
            npy::decode("fuzz", &Bytes::from(npy::encode(&read.array))).expect("what is written can be read");
        assert_eq!(again.array.shape(), read.array.shape());
    }
    if npy::is_npz(bytes) {
        let _ = npy::decode_npz("fuzz", bytes, 1 << 24);
    }
});
