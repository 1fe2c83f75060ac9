//! NumPy's `.npy` and `.npz`: reading under limits, and writing.
//!
//! Plain numbers only: arrays of Python objects (which hold programs), of records and of text are refused. An array
//! takes memory only after its header was found to agree with the bytes that are there.

#![deny(clippy::as_conversions)]

use std::io::{Cursor, Read, Write};
use std::path::Path;

use bytes::Bytes;
use ndarray::ArrayD;
use pellucid_graph::{ElementType, Tensor, element_count};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::array::Array;
use crate::error::Error;
use crate::file;
use crate::input::InputLimits;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header; that of an array of 32 axes has less than a thousand bytes.
const LONGEST_HEADER: usize = 1 << 16;
/// Most axes, which is NumPy's own limit of old.
const MOST_AXES: usize = 32;
/// Most arrays in one `.npz`.
pub(crate) const MOST_ARRAYS: usize = 4096;

/// An array as its file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Npy {
    /// Element type in the file.
    pub element: ElementType,
    /// The contents.
    pub array: Array,
}

/// Whether bytes are an `.npy` file.
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Whether bytes are a ZIP archive, as `.npz` files are.
pub fn is_npz(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// Reads a file of either kind: its arrays by name; the one of an `.npy` file is called `array`.
///
/// # Errors
/// Files over 2 GiB, or over 4 GiB once unpacked, and what [`decode`] and [`decode_npz`] refuse.
pub fn read_arrays(path: &Path) -> Result<Vec<(String, Array)>, Error> {
    let limits = InputLimits::default();
    let place = path.display().to_string();
    let bytes = file::read(path, limits.file_bytes)?;
    if is_npy(&bytes) {
        return Ok(vec![("array".to_owned(), decode(&place, &Bytes::from(bytes))?.array)]);
    }
    if is_npz(&bytes) {
        let arrays = decode_npz(&place, &bytes, limits.array_bytes)?;
        return Ok(arrays.into_iter().map(|(name, npy)| (name, npy.array)).collect());
    }
    Err(Error::input(place, "it is of no kind that can be read, expected NPY or NPZ"))
}

/// Reads an `.npy` file; `place` is named in errors.
pub fn decode(place: &str, bytes: &Bytes) -> Result<Npy, Error> {
    RawArray::new(place, bytes)?.array()
}

/// An array whose header was read, and whose numbers are still the bytes of its file.
#[derive(Debug, Clone)]
pub struct RawArray {
    place: String,
    layout: Layout,
    contents: Bytes,
}

impl RawArray {
    /// The array of an `.npy` file; `place` is named in errors.
    ///
    /// # Errors
    /// A header that is none, or promises other bytes than follow.
    pub fn new(place: &str, bytes: &Bytes) -> Result<Self, Error> {
        let layout = Layout::parse(place, bytes, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        let contents = bytes.slice(layout.start..);
        Ok(Self { place: place.to_owned(), layout, contents })
    }

    /// Element type in the file.
    pub fn element(&self) -> ElementType {
        self.layout.element
    }

    /// Sizes of the array.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The numbers, integers as `int64`.
    ///
    /// # Errors
    /// Text and other elements that no array here has.
    pub fn array(&self) -> Result<Npy, Error> {
        self.layout.array(&self.place, self.layout.shape.clone(), self.contents.clone())
    }

    /// The numbers as they are in the file, in the order of its axes, where each is a byte of `uint8`.
    pub fn bytes(&self) -> Option<&[u8]> {
        let plain = self.layout.element == ElementType::U8 && !self.layout.fortran_order;
        plain.then_some(&self.contents)
    }
}

/// Most bytes that stand in front of an array's numbers.
pub(crate) const LONGEST_START: usize = 12 + LONGEST_HEADER;

/// Where an array's numbers lie in its file, and what they are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    /// Bytes from the file's start to the numbers.
    pub(crate) start: usize,
    fortran_order: bool,
    big_endian: bool,
}

impl Layout {
    /// What `first`, the first [`LONGEST_START`] bytes or all, says of a file of `length` bytes. The file is as long as
    /// its header promises.
    pub(crate) fn parse(place: &str, first: &[u8], length: u64) -> Result<Self, Error> {
        let wrong = |problem: String| Error::input(place, problem);
        let header = Header::parse(first).map_err(wrong)?;
        let element = header.element().map_err(wrong)?;
        let count =
            element_count(&header.shape).and_then(|count| count.checked_mul(element.size())).ok_or_else(
                || wrong(format!("the shape {:?} in its header is larger than any memory", header.shape)),
            )?;
        let start = u64::try_from(header.length).unwrap_or(u64::MAX);
        let follow = length.saturating_sub(start);
        if u64::try_from(count).ok() != Some(follow) {
            return Err(wrong(format!(
                "its header promises {} of {element} ({count} bytes), and {follow} bytes follow; the file is cut or \
                 damaged",
                shape_text(&header.shape),
            )));
        }
        let Header { big_endian, fortran_order, shape, length: start, .. } = header;
        Ok(Self { element, shape, start, fortran_order, big_endian })
    }

    /// Whether a row's numbers lie together.
    pub(crate) fn is_by_rows(&self) -> bool {
        !self.fortran_order && !self.shape.is_empty()
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        // The file is as long as all rows: this fits.
        self.shape.iter().skip(1).product::<usize>() * self.element.size()
    }

    /// The array of `shape` that `bytes` hold: the whole file's, or some rows.
    pub(crate) fn array(&self, place: &str, mut shape: Vec<usize>, bytes: Bytes) -> Result<Npy, Error> {
        let contents = if self.big_endian { swapped(&bytes, self.element.size()) } else { bytes };
        // In Fortran order the bytes are those of the transposed array.
        if self.fortran_order {
            shape.reverse();
        }
        let tensor = Tensor::new(self.element, shape, contents)
            .map_err(|error| Error::input(place, error.to_string()))?;
        let array = Array::from_tensor(&tensor);
        Ok(Npy { element: self.element, array: if self.fortran_order { transposed(&array) } else { array } })
    }
}

/// Reads an `.npz` file: its arrays by name, in the file's order, at most `limit` bytes of them once unpacked.
pub fn decode_npz(place: &str, bytes: &[u8], limit: u64) -> Result<Vec<(String, Npy)>, Error> {
    raw_npz(place, bytes, limit)?.into_iter().map(|(name, raw)| Ok((name, raw.array()?))).collect()
}

/// Unpacks an `.npz` file as [`decode_npz`] does, and leaves the numbers of its arrays as they are.
///
/// # Errors
/// As [`decode_npz`].
pub fn raw_npz(place: &str, bytes: &[u8], limit: u64) -> Result<Vec<(String, RawArray)>, Error> {
    let wrong = |problem: String| Error::input(place, problem);
    let broken = |error: &dyn std::fmt::Display| {
        wrong(format!("it is not a whole NPZ file: {}", error.to_string().to_lowercase()))
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    if archive.len() > MOST_ARRAYS {
        return Err(wrong(format!("{} arrays found, expected at most {MOST_ARRAYS}", archive.len())));
    }
    let mut left = limit;
    let mut arrays: Vec<(String, RawArray)> = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?.into_owned();
        let key = name
            .strip_suffix(".npy")
            .ok_or_else(|| wrong(format!("{name:?} found inside, expected .npy files only")))?
            .to_owned();
        if arrays.iter().any(|(known, _)| *known == key) {
            return Err(wrong(format!("{key:?} is there twice")));
        }
        // The size the archive declares may lie: what is read counts.
        let mut contents = Vec::new();
        entry.take(left.saturating_add(1)).read_to_end(&mut contents).map_err(|error| broken(&error))?;
        left = u64::try_from(contents.len())
            .ok()
            .and_then(|length| left.checked_sub(length))
            .ok_or_else(|| wrong(format!("unpacked it is larger than the limit of {}", file::size(limit))))?;
        let array = RawArray::new(&format!("{place}, array {key:?}"), &Bytes::from(contents))?;
        arrays.push((key, array));
    }
    Ok(arrays)
}

/// What stands in front of the numbers.
struct Header {
    descr: String,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Bytes from the file's start to the numbers.
    length: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let cut = || "it ends inside its header; the file is cut".to_owned();
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is not an NPY file")?;
        let (&[major, _], rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (declared, size_bytes, rest) = match major {
            1 => {
                let (size, rest) = rest.split_first_chunk().ok_or_else(cut)?;
                (usize::from(u16::from_le_bytes(*size)), 2, rest)
            }
            2 | 3 => {
                let (size, rest) = rest.split_first_chunk().ok_or_else(cut)?;
                (usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX), 4, rest)
            }
            other => return Err(format!("it is of NPY version {other}, expected 1, 2 or 3")),
        };
        if declared > LONGEST_HEADER {
            return Err(format!("its header has {declared} bytes, expected at most {LONGEST_HEADER}"));
        }
        let text = rest.get(..declared).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "its header is not text".to_owned())?;
        let mut header = Literal { rest: text }.header()?;
        header.length = MAGIC.len() + 2 + size_bytes + declared;
        Ok(header)
    }

    fn element(&self) -> Result<ElementType, String> {
        Ok(match self.descr.as_str() {
            "f2" => ElementType::F16,
            "f4" => ElementType::F32,
            "f8" => ElementType::F64,
            "i1" => ElementType::I8,
            "i2" => ElementType::I16,
            "i4" => ElementType::I32,
            "i8" => ElementType::I64,
            "u1" => ElementType::U8,
            "u2" => ElementType::U16,
            "u4" => ElementType::U32,
            "u8" => ElementType::U64,
            "b1" => ElementType::Bool,
            "O" | "O8" => {
                return Err(
                    "it holds Python objects, expected numbers; save it with .astype(np.float32)".to_owned()
                );
            }
            other => {
                return Err(format!("its elements are of type {other:?}, expected numbers or truth values"));
            }
        })
    }
}

/// A reader of the one Python expression that a header is: a dictionary of three entries.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.eat('}') {
            let key = self.string()?;
            self.expect(':')?;
            match key {
                "descr" if self.peek('[') => {
                    return Err(
                        "its elements are records, expected numbers; save one array a file".to_owned()
                    );
                }
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran_order = Some(self.truth()?),
                "shape" => shape = Some(self.shape()?),
                other => return Err(format!("its header has an entry {other:?} that NumPy does not write")),
            }
            if !self.eat(',') && !self.peek('}') {
                return Err(self.wrong());
            }
        }
        if !self.rest.trim().is_empty() {
            return Err(self.wrong());
        }
        let missing = |key| format!("its header lacks {key:?}");
        let descr = descr.ok_or_else(|| missing("descr"))?;
        let plain = descr.trim_start_matches(['<', '>', '|', '=']);
        Ok(Header {
            descr: plain.to_owned(),
            big_endian: descr.starts_with('>'),
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            length: 0,
        })
    }

    fn wrong(&self) -> String {
        let near: String = self.rest.trim_start().chars().take(12).collect();
        format!("its header cannot be read near {near:?}")
    }

    fn peek(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.starts_with(wanted)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.eat(wanted) { Ok(()) } else { Err(self.wrong()) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat('\'') {
            '\''
        } else if self.eat('"') {
            '"'
        } else {
            return Err(self.wrong());
        };
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.wrong())?;
        self.rest = rest;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, String> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.wrong())
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.eat(')') {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let size = self.rest[..end].parse().map_err(|_| self.wrong())?;
            // Written so by Python 2.
            self.rest = self.rest[end..].trim_start_matches('L');
            shape.push(size);
            if shape.len() > MOST_AXES {
                return Err(format!("its header has more than {MOST_AXES} axes"));
            }
            if !self.eat(',') && !self.peek(')') {
                return Err(self.wrong());
            }
        }
        Ok(shape)
    }
}

fn swapped(bytes: &[u8], size: usize) -> Bytes {
    let mut swapped = bytes.to_vec();
    swapped.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    Bytes::from(swapped)
}

fn transposed(array: &Array) -> Array {
    fn turn<T: Clone>(array: &ArrayD<T>) -> ArrayD<T> {
        array.t().as_standard_layout().into_owned()
    }
    match array {
        Array::F32(array) => Array::F32(turn(array)),
        Array::F64(array) => Array::F64(turn(array)),
        Array::I64(array) => Array::I64(turn(array)),
        Array::Bool(array) => Array::Bool(turn(array)),
    }
}

/// Sizes as they are written in messages: `[2, 3, 224, 224]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}

/// The bytes of an `.npy` file.
///
/// # Panics
/// For arrays of thousands of axes.
pub fn encode(array: &Array) -> Vec<u8> {
    let mut bytes = header(array, array.shape());
    bytes.extend(contents(array));
    bytes
}

/// What stands in front of the numbers of an array of the elements of `like` and of shape `shape`.
pub(crate) fn header(like: &Array, shape: &[usize]) -> Vec<u8> {
    let descr = match like {
        Array::F32(_) => "<f4",
        Array::F64(_) => "<f8",
        Array::I64(_) => "<i8",
        Array::Bool(_) => "|b1",
    };
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", sizes.join(", "));
    // The numbers start at a multiple of 64 bytes; the header ends with a line feed.
    let before = MAGIC.len() + 4;
    let padded = (before + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', padded - before - header.len() - 1));
    header.push('\n');
    let length = u16::try_from(header.len()).expect("32 sizes of 20 digits are shorter than 64 KiB");
    let mut bytes = Vec::with_capacity(padded);
    bytes.extend(MAGIC);
    bytes.extend([1, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes
}

/// The numbers of an array in row-major order.
pub(crate) fn contents(array: &Array) -> Vec<u8> {
    fn flat<T: Clone, const N: usize>(array: &ArrayD<T>, bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
        let mut flat = Vec::with_capacity(array.len() * N);
        array.iter().for_each(|value| flat.extend(bytes(value)));
        flat
    }
    match array {
        Array::F32(array) => flat(array, |value| value.to_le_bytes()),
        Array::F64(array) => flat(array, |value| value.to_le_bytes()),
        Array::I64(array) => flat(array, |value| value.to_le_bytes()),
        Array::Bool(array) => flat(array, |value| [u8::from(*value)]),
    }
}

/// The bytes of an `.npz` file, compressed; the same arrays give the same bytes.
pub fn encode_npz(arrays: &[(String, Array)]) -> Result<Vec<u8>, Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::Internal(format!("an NPZ file cannot be packed: {error}"));
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .large_file(array.shape().iter().product::<usize>() > 1 << 28);
        writer.start_file(format!("{name}.npy"), options).map_err(|error| failed(&error))?;
        writer.write_all(&encode(array)).map_err(|error| failed(&error))?;
    }
    Ok(writer.finish().map_err(|error| failed(&error))?.into_inner())
}

#[cfg(test)]
mod tests;
