//! IDX files, the form of MNIST and its relatives, plain or packed by gzip.
//!
//! Two zero bytes, a byte for the element type, one for the number of axes, the sizes as 32-bit numbers, the elements;
//! all big-endian. Sizes are compared with the bytes that are there before memory is taken.

#![deny(clippy::as_conversions)]

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use pellucid::Error;
use sha2::{Digest, Sha256};

/// Most bytes of an unpacked file.
const MOST_BYTES: u64 = 4 << 30;
/// Most axes.
const MOST_AXES: usize = 8;

/// An array of bytes, as IDX files of pictures and classes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// Sizes.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub bytes: Vec<u8>,
    /// SHA-256 of the unpacked file, in hexadecimal.
    pub hash: String,
}

/// Whether a file's name says that it is IDX: `…-idx3-ubyte`, `….idx`, or one of them with `.gz`.
pub fn is_named(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.ends_with("-ubyte") || Path::new(name).extension().is_some_and(|ending| ending == "idx")
}

/// Reads a file.
///
/// # Errors
/// Files that cannot be read, of another kind, of another element type than bytes, over 4 GiB, cut, or longer than
/// their sizes say.
pub fn read(path: &Path) -> Result<Idx, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let place = path.display().to_string();
    if !metadata.is_file() {
        return Err(Error::Input { place, problem: "it is no file, expected IDX".to_owned() });
    }
    let mut start = [0; 2];
    let mut file = File::open(path).map_err(failed)?;
    let packed = file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
    let file = BufReader::new(File::open(path).map_err(failed)?);
    if packed { decode(&place, MultiGzDecoder::new(file)) } else { decode(&place, file) }
}

/// Reads what `reader` gives; `place` is named in errors.
///
/// # Errors
/// As [`read`].
pub fn decode(place: &str, mut reader: impl Read) -> Result<Idx, Error> {
    let wrong = |problem: String| Error::Input { place: place.to_owned(), problem };
    let cut = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => wrong("it ends inside its header; the file is cut".to_owned()),
        _ => wrong(format!("it cannot be unpacked: {}", error.to_string().to_lowercase())),
    };
    let mut start = [0; 4];
    reader.read_exact(&mut start).map_err(cut)?;
    let [0, 0, kind, axes] = start else {
        return Err(wrong("it is not an IDX file: the first two bytes are not 0".to_owned()));
    };
    if kind != 0x08 {
        return Err(wrong(format!("its elements are of type 0x{kind:02x}, expected bytes, 0x08")));
    }
    let axes = usize::from(axes);
    if axes == 0 || axes > MOST_AXES {
        return Err(wrong(format!("it has {axes} axes, expected 1 to {MOST_AXES}")));
    }
    let mut hash = Sha256::new_with_prefix(start);
    let mut shape = Vec::new();
    let mut count: u64 = 1;
    for _ in 0..axes {
        let mut size = [0; 4];
        reader.read_exact(&mut size).map_err(cut)?;
        hash.update(size);
        let size = u32::from_be_bytes(size);
        shape.push(usize::try_from(size).unwrap_or(usize::MAX));
        count = count.saturating_mul(u64::from(size));
    }
    // Beside a size of 0 any others are as many bytes, and no product of theirs is safe.
    if count == 0 {
        return Err(wrong(format!("its sizes are {shape:?}: it holds nothing")));
    }
    if count > MOST_BYTES {
        return Err(wrong(format!("its sizes {shape:?} are {count} bytes, expected at most {MOST_BYTES}")));
    }
    let mut bytes = Vec::new();
    reader.by_ref().take(count).read_to_end(&mut bytes).map_err(|error| {
        wrong(format!("it cannot be read to its end: {}", error.to_string().to_lowercase()))
    })?;
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found < count {
        return Err(wrong(format!(
            "its sizes {shape:?} promise {count} bytes, and {found} follow; the file is cut"
        )));
    }
    let mut more = [0; 1];
    if reader.read(&mut more).is_ok_and(|read| read > 0) {
        return Err(wrong(format!("more follows than the {count} bytes that its sizes {shape:?} promise")));
    }
    hash.update(&bytes);
    Ok(Idx { shape, bytes, hash: crate::open::hexadecimal(&hash.finalize()) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, u8::try_from(shape.len()).unwrap()];
        for size in shape {
            file.extend(size.to_be_bytes());
        }
        file.extend(bytes);
        file
    }

    #[test]
    fn plain_and_packed_files_are_read() {
        let plain = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let read = decode("f", plain.as_slice()).unwrap();
        assert_eq!(
            (read.shape.as_slice(), read.bytes.as_slice()),
            ([2, 3].as_slice(), [1, 2, 3, 4, 5, 6].as_slice())
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-idx2-ubyte.gz");
        let mut packed =
            flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        packed.finish().unwrap();
        assert_eq!(super::read(&path).unwrap(), read);
        assert!(is_named(&path));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |bytes: &[u8]| decode("f", bytes).unwrap_err().to_string();
        assert_eq!(told(&[0, 0]), "f: it ends inside its header; the file is cut");
        assert_eq!(told(b"abcdefgh"), "f: it is not an IDX file: the first two bytes are not 0");
        assert_eq!(told(&[0, 0, 0x0d, 1]), "f: its elements are of type 0x0d, expected bytes, 0x08");
        assert_eq!(told(&[0, 0, 8, 0]), "f: it has 0 axes, expected 1 to 8");
        assert_eq!(
            told(&file(&[2, 3], &[1])),
            "f: its sizes [2, 3] promise 6 bytes, and 1 follow; the file is cut"
        );
        assert_eq!(told(&file(&[1], &[1, 2])), "f: more follows than the 1 bytes that its sizes [1] promise");
        assert_eq!(told(&file(&[2, 0], &[])), "f: its sizes are [2, 0]: it holds nothing");
        let nothing = told(&file(&[u32::MAX, u32::MAX, u32::MAX, 0], &[]));
        assert!(nothing.ends_with("it holds nothing"), "{nothing}");
        let huge = told(&file(&[u32::MAX, u32::MAX, 7], &[]));
        assert!(huge.contains("expected at most 4294967296"), "{huge}");
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        let good = file(&[2, 2, 2], &[9; 8]);
        for length in 0..good.len() {
            assert!(decode("f", &good[..length]).is_err());
        }
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[place] ^= 1 << bit;
                let _ = decode("f", changed.as_slice());
            }
        }
    }
}
