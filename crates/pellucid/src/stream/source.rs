//! Rows of `.npy` and `.npz` files, read some at a time: never a whole file.

#![deny(clippy::as_conversions)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use pellucid_graph::Value;
use zip::{CompressionMethod, ZipArchive};

use crate::array::Array;
use crate::error::Error;
use crate::file;
use crate::input::{Inputs, Row, Shapes, check_shape, concatenate, fit_rows};
use crate::model::Model;
use crate::npy::{self, Layout};

/// Bytes that are checked at once.
const PIECE: usize = 1 << 20;

/// Rows of `.npy` files, and of `.npz` files whose arrays are stored uncompressed, one file after the other; checked
/// against a model's inputs. Rows are read when they are asked for.
#[derive(Debug)]
pub struct RowFiles {
    files: Vec<RowFile>,
    rows: usize,
    bytes: u64,
}

#[derive(Debug)]
struct RowFile {
    /// As people know it.
    name: String,
    place: String,
    rows: usize,
    file: File,
    /// One for each of the model's inputs, in order.
    arrays: Vec<Stored>,
}

/// An array within a file, a row's numbers together.
#[derive(Debug)]
struct Stored {
    /// The input it is for.
    input: Value,
    place: String,
    layout: Layout,
    /// Where its header starts in the file.
    offset: u64,
    /// The checksum that the archive gives.
    checksum: Option<u32>,
}

impl Stored {
    fn numbers(&self) -> u64 {
        self.offset.saturating_add(count(self.layout.start))
    }

    fn bytes(&self) -> u64 {
        count(self.layout.row_bytes()).saturating_mul(count(self.layout.shape[0]))
    }

    /// The bytes of some rows as they lie in the file.
    fn raw(&self, mut file: &File, rows: &Range<usize>) -> Result<Bytes, Error> {
        let row_bytes = self.layout.row_bytes();
        let start = self.numbers().saturating_add(count(row_bytes).saturating_mul(count(rows.start)));
        read_at(&mut file, start, rows.len().saturating_mul(row_bytes))
            .map(Bytes::from)
            .map_err(|error| Error::input(&self.place, changed(&error)))
    }

    fn read(&self, file: &File, rows: Range<usize>) -> Result<Array, Error> {
        let bytes = self.raw(file, &rows)?;
        self.array(bytes, rows)
    }

    /// The array of some rows, checked against the model's input.
    fn array(&self, bytes: Bytes, rows: Range<usize>) -> Result<Array, Error> {
        let mut shape = self.layout.shape.clone();
        shape[0] = rows.len();
        let npy = self.layout.array(&self.place, shape, bytes)?;
        fit_rows(&self.place, &self.input, npy, rows.start)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn changed(error: &std::io::Error) -> String {
    format!(
        "it cannot be read any more: {}; do not change it while it is read",
        error.to_string().to_lowercase()
    )
}

fn read_at(file: &mut &File, start: u64, length: usize) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(std::io::Error::other)?;
    bytes.resize(length, 0);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl Model {
    /// Opens files whose rows can be read some at a time: `.npy` in C order, and `.npz` stored uncompressed, as
    /// `np.save` and `np.savez` write them. `None` where one is of another kind: read them whole, by [`Model::read`].
    ///
    /// Only headers are read, and checked against the files' lengths and the model's inputs.
    ///
    /// # Errors
    /// As [`Model::read`], but for values that are not finite, which [`RowFiles::check`] finds.
    pub fn row_files<P: AsRef<Path>>(&self, paths: &[P]) -> Result<Option<RowFiles>, Error> {
        let mut files: Vec<RowFile> = Vec::new();
        for path in paths {
            let Some(file) = self.row_file(path.as_ref())? else { return Ok(None) };
            if let Some(first) = files.first() {
                same_rows(first, &file)?;
            }
            files.push(file);
        }
        let rows = files.iter().map(|file| file.rows).sum();
        let bytes = files.iter().flat_map(|file| &file.arrays).map(Stored::bytes).sum();
        if files.is_empty() {
            return Ok(None);
        }
        self.check_batch(rows)?;
        Ok(Some(RowFiles { files, rows, bytes }))
    }

    fn row_file(&self, path: &Path) -> Result<Option<RowFile>, Error> {
        let place = path.display().to_string();
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let file = file::open(path)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut first = Vec::new();
        (&file).take(count(npy::LONGEST_START)).read_to_end(&mut first).map_err(failed)?;
        let stored = if npy::is_npy(&first) {
            let layout = Layout::parse(&place, &first, length)?;
            vec![(None, place.clone(), layout, 0, None)]
        } else if npy::is_npz(&first) {
            match entries(&place, &file, length)? {
                Some(stored) => stored,
                None => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        if !stored.iter().all(|(_, _, layout, ..)| layout.is_by_rows()) {
            return Ok(None);
        }
        let name = path.file_name().map_or_else(|| place.clone(), |name| name.to_string_lossy().into_owned());
        let mut arrays = Vec::new();
        match stored.as_slice() {
            [(None, ..)] if self.graph().inputs().len() != 1 => {
                // What is wrong is told by the reader of whole files.
                return Ok(None);
            }
            [(None, ..)] => {}
            named => {
                let names: Vec<&str> = named.iter().filter_map(|(name, ..)| name.as_deref()).collect();
                self.check_names(&place, &names)?;
            }
        }
        for input in self.inputs() {
            let found = stored.iter().find(|(name, ..)| name.as_ref().is_none_or(|name| *name == input.name));
            let Some((_, place, layout, offset, checksum)) = found.cloned() else { return Ok(None) };
            arrays.push(Stored { input: input.clone(), place, layout, offset, checksum });
        }
        let rows = arrays.first().map_or(0, |array| array.layout.shape[0]);
        let counts: Vec<usize> = arrays.iter().map(|array| array.layout.shape[0]).collect();
        if counts.iter().any(|other| *other != rows) {
            return Err(Error::input(
                place,
                format!("arrays of {counts:?} rows found, expected as many in each"),
            ));
        }
        if rows == 0 {
            return Err(Error::input(place, "no row found, expected at least one"));
        }
        // Shape and element type are checked on no row, before any is read.
        for array in &arrays {
            check_shape(&array.place, &array.input, &array.layout.shape)?;
            array.read(&file, 0..0)?;
        }
        Ok(Some(RowFile { name, place, rows, file, arrays }))
    }
}

fn same_rows(first: &RowFile, other: &RowFile) -> Result<(), Error> {
    for (known, array) in first.arrays.iter().zip(&other.arrays) {
        let empty = |stored: &Stored| {
            let mut shape = stored.layout.shape.clone();
            shape[0] = 0;
            Array::F32(ndarray::ArrayD::zeros(shape))
        };
        let places = [first.place.clone(), other.place.clone()];
        concatenate(&known.input.name, &[empty(known), empty(array)], &places)?;
    }
    Ok(())
}

/// Name of the input, place for messages, layout, offset and checksum.
type Entry = (Option<String>, String, Layout, u64, Option<u32>);

/// The arrays of an archive; `None` where one is compressed.
fn entries(place: &str, file: &File, length: u64) -> Result<Option<Vec<Entry>>, Error> {
    let wrong = |problem: String| Error::input(place, problem);
    let broken = |error: &dyn std::fmt::Display| {
        wrong(format!("it is not a whole NPZ file: {}", error.to_string().to_lowercase()))
    };
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| broken(&error))?;
    if archive.len() > npy::MOST_ARRAYS {
        return Err(wrong(format!("{} arrays found, expected at most {}", archive.len(), npy::MOST_ARRAYS)));
    }
    let mut found: Vec<Entry> = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?.into_owned();
        let key = name
            .strip_suffix(".npy")
            .ok_or_else(|| wrong(format!("{name:?} found inside, expected .npy files only")))?
            .to_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Ok(None);
        }
        if found.iter().any(|(known, ..)| known.as_ref() == Some(&key)) {
            return Err(wrong(format!("{key:?} is there twice")));
        }
        let Some(offset) = entry.data_start() else { return Ok(None) };
        let (size, checksum) = (entry.size(), entry.crc32());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(wrong(format!("{key:?} ends past its end; the file is cut or damaged")));
        }
        let mut first = Vec::new();
        entry
            .by_ref()
            .take(count(npy::LONGEST_START).min(size))
            .read_to_end(&mut first)
            .map_err(|error| broken(&error))?;
        let place = format!("{place}, array {key:?}");
        let layout = Layout::parse(&place, &first, size)?;
        found.push((Some(key), place, layout, offset, Some(checksum)));
    }
    Ok(Some(found))
}

impl RowFiles {
    /// Number of rows, of all files together.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one row")]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Bytes of all rows in their files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sizes of every input, rows first.
    pub fn shapes(&self) -> Shapes {
        let arrays = self.files.first().map(|file| file.arrays.as_slice()).unwrap_or_default();
        arrays
            .iter()
            .map(|array| {
                let mut shape = array.layout.shape.clone();
                shape[0] = self.rows;
                (array.input.name.clone(), shape)
            })
            .collect()
    }

    /// Reads everything once, a piece at a time, so that what is wrong is known before work that takes hours; asks
    /// `go_on` between pieces.
    ///
    /// # Errors
    /// Values that are not finite, with their row; archives whose checksums do not agree; [`Error::Cancelled`].
    pub fn check(&self, mut go_on: impl FnMut() -> bool) -> Result<(), Error> {
        for file in &self.files {
            for array in &file.arrays {
                let mut sum = crc32fast::Hasher::new();
                if array.checksum.is_some() {
                    let start = read_at(&mut &file.file, array.offset, array.layout.start)
                        .map_err(|error| Error::input(&array.place, changed(&error)))?;
                    sum.update(&start);
                }
                let rows = (PIECE / array.layout.row_bytes().max(1)).max(1);
                for first in (0..file.rows).step_by(rows) {
                    if !go_on() {
                        return Err(Error::Cancelled);
                    }
                    let range = first..file.rows.min(first + rows);
                    let bytes = array.raw(&file.file, &range)?;
                    if array.checksum.is_some() {
                        sum.update(&bytes);
                    }
                    array.array(bytes, range)?;
                }
                if array.checksum.is_some_and(|expected| expected != sum.finalize()) {
                    return Err(Error::input(
                        &array.place,
                        "it is not a whole NPZ file: its checksum does not agree; the file is damaged",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Some of the rows.
    ///
    /// # Errors
    /// Rows past the end; files that were changed since they were opened; values that are not finite.
    pub fn read(&self, rows: Range<usize>) -> Result<Inputs, Error> {
        let mut parts: Vec<Vec<Array>> = Vec::new();
        let mut places = Vec::new();
        let mut named = Vec::new();
        let mut before = 0;
        for file in &self.files {
            let here = rows.start.max(before)..rows.end.min(before + file.rows);
            if !here.is_empty() {
                let within = here.start - before..here.end - before;
                let arrays = file.arrays.iter().map(|array| array.read(&file.file, within.clone()));
                parts.push(arrays.collect::<Result<_, _>>()?);
                places.push(file.place.clone());
                named.extend(within.map(|row| Row::of_array(&file.name, row, file.rows)));
            }
            before += file.rows;
        }
        if rows.is_empty() || named.len() != rows.len() {
            return Err(Error::Internal(format!("rows {rows:?} of {} were asked for", self.rows)));
        }
        let mut arrays = Vec::new();
        for (index, (name, _)) in self.shapes().into_iter().enumerate() {
            let mut of_input: Vec<Array> = parts.iter().map(|part| part[index].clone()).collect();
            let array = if of_input.len() == 1 {
                of_input.swap_remove(0)
            } else {
                concatenate(&name, &of_input, &places)?
            };
            arrays.push((name, array));
        }
        Inputs::new(arrays, named)
    }
}
