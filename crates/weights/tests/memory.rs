//! What hostile files take while they are refused: a bounded number of bytes, counted.

use std::sync::{Mutex, PoisonError};

use peak_alloc::PeakAlloc;
use pellucid_weights::decode;

/// Counts the bytes that are held.
#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

/// Held by the test that counts: what another one takes at the same time would be counted too.
static ALONE: Mutex<()> = Mutex::new(());

/// The most a pickle may take: what a million steps push, twice, as lists grow by doubling.
const MOST: usize = 400 << 20;

const START: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";

/// The peak over what was held before, while a stream of this pickle is refused.
fn peak(pickle: &[u8]) -> usize {
    let file = [START, b"\x80\x02", pickle].concat();
    let bytes = bytes::Bytes::from(file);
    let before = HELD.current_usage();
    HELD.reset_peak_usage();
    assert!(decode("f", bytes.clone()).is_err());
    HELD.peak_usage().saturating_sub(before)
}

#[test]
fn no_pickle_takes_more_than_its_steps_may() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let many = 8 << 20;
    for (what, pickle) in [
        ("lists", b"]".repeat(many)),
        ("dictionaries", b"}".repeat(many)),
        ("marks", b"(".repeat(many)),
        ("tuples of three", [b"NNN".as_slice(), &b"\x87NN".repeat(many / 3)].concat()),
        ("notes", [b"N".as_slice(), &b"\x94".repeat(many)].concat()),
        ("dictionaries of one list", {
            let list =
                [b"(".as_slice(), &b"NN\x86".repeat(100_000), b"lq\x00ccollections\nOrderedDict\nq\x01"]
                    .concat();
            [list, b"h\x01h\x00\x85R".repeat(100_000)].concat()
        }),
        ("storages", {
            let name = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NK\x01tq\x00";
            [name.as_slice(), &b"h\x00Q".repeat(many / 3)].concat()
        }),
    ] {
        let taken = peak(&pickle);
        assert!(taken < MOST, "{what}: {taken} bytes");
    }
}

#[test]
fn promises_take_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for pickle in
        [b"X\xff\xff\xff\xff".as_slice(), b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", b"B\xff\xff\xff\xff"]
    {
        assert!(peak(pickle) < 1 << 20);
    }
    let header = [(1u64 << 39).to_le_bytes().as_slice(), b"{"].concat();
    let before = HELD.current_usage();
    HELD.reset_peak_usage();
    let told = decode("f", header.into()).unwrap_err().to_string();
    assert!(told.contains("expected at most"), "{told}");
    assert!(HELD.peak_usage().saturating_sub(before) < 1 << 20);
}
