//! Arrays written row by row, whole or not at all.
//!
//! Rows go to files without a name, which the system takes back whatever happens; once all rows are there, the outputs
//! are put together from them and appear under their names.

use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::array::Array;
use crate::error::Error;
use crate::npy;
use crate::write::{Format, Outputs, appear, folder_of, unnamed};

/// Bytes that are copied before the caller is asked again.
const PIECE: u64 = 8 << 20;

/// Columns of rows, and the files that they will become.
pub(crate) struct Sink {
    files: Vec<(PathBuf, Format)>,
    columns: Vec<Column>,
    rows: usize,
}

/// An array of which rows are added at the end.
struct Column {
    name: String,
    /// An array without rows, of the elements that the column's have.
    like: Array,
    /// Sizes of a row.
    row: Vec<usize>,
    /// For each target one; targets are the first axis where there are several.
    strips: Vec<BufWriter<File>>,
}

impl Sink {
    pub(crate) fn new(outputs: &Outputs) -> Self {
        Self::of(&outputs.by_rows().collect::<Vec<_>>())
    }

    /// For some of the outputs.
    pub(crate) fn of(files: &[(&Path, Format)]) -> Self {
        let files = files.iter().map(|(path, format)| ((*path).to_owned(), *format)).collect();
        Self { files, columns: Vec::new(), rows: 0 }
    }

    /// Adds `rows` rows: the same columns every time. An `.npy` file holds the first.
    pub(crate) fn add(&mut self, rows: usize, columns: Vec<(String, Vec<Array>)>) -> Result<(), Error> {
        self.rows += rows;
        let Some((first, _)) = self.files.first() else { return Ok(()) };
        let (first, all) = (first.clone(), self.files.iter().any(|(_, format)| *format == Format::Npz));
        let wanted = if all { columns.len() } else { 1 };
        for (position, (name, parts)) in columns.into_iter().take(wanted).enumerate() {
            for part in &parts {
                if part.shape().first() != Some(&rows) {
                    return Err(Error::Output {
                        path: first,
                        problem: format!(
                            "{name:?} has shape {:?}, not a row for each of {rows}, so that it cannot be written row by \
                             row; give fewer rows",
                            part.shape()
                        ),
                    });
                }
            }
            if self.columns.len() <= position {
                self.columns.push(Column::new(&first, name, &parts)?);
            }
            self.columns[position].add(&first, &parts)?;
        }
        Ok(())
    }

    /// Puts the outputs together and gives them their names, once all of them are whole; `totals` are arrays that no
    /// row has. Asks `go_on` between pieces.
    pub(crate) fn finish(
        sinks: Vec<Self>,
        totals: &[(String, Array)],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut finished = Vec::new();
        for mut sink in sinks {
            let mut columns = std::mem::take(&mut sink.columns);
            for (path, format) in &sink.files {
                let mut file = unnamed(path)?;
                let mut to = BufWriter::new(file.as_file_mut());
                match (format, columns.first_mut()) {
                    (Format::Npz, _) => sink.npz(path, &mut columns, totals, &mut to, go_on)?,
                    (_, Some(column)) => column.copy(path, sink.rows, &mut to, go_on)?,
                    (_, None) => return Err(Error::Internal("there is nothing to write".to_owned())),
                }
                to.flush().map_err(|source| Error::Write { path: path.clone(), source })?;
                drop(to);
                finished.push((path.clone(), file));
            }
        }
        appear(finished)
    }

    fn npz(
        &self,
        path: &Path,
        columns: &mut [Column],
        totals: &[(String, Array)],
        to: &mut BufWriter<&mut File>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let packed = |error: zip::result::ZipError| match error {
            zip::result::ZipError::Io(source) => Error::Write { path: path.to_owned(), source },
            error => Error::Internal(format!("an NPZ file cannot be packed: {error}")),
        };
        // Stored, so that it can be read row by row again.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default());
        let mut writer = ZipWriter::new(to);
        for column in columns {
            let large = column.bytes(self.rows) > u64::from(u32::MAX) / 2;
            writer.start_file(format!("{}.npy", column.name), options.large_file(large)).map_err(packed)?;
            column.copy(path, self.rows, &mut writer, go_on)?;
        }
        for (name, array) in totals {
            writer.start_file(format!("{name}.npy"), options).map_err(packed)?;
            writer
                .write_all(&npy::encode(array))
                .map_err(|source| Error::Write { path: path.to_owned(), source })?;
        }
        writer.finish().map_err(packed)?;
        Ok(())
    }
}

impl Column {
    fn new(output: &Path, name: String, parts: &[Array]) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: output.to_owned(), source };
        let like = parts
            .first()
            .map(|part| part.rows(0..0))
            .ok_or_else(|| Error::Internal(format!("{name:?} has no target")))?;
        let row = like.shape()[1..].to_vec();
        let strip = |_: &Array| tempfile::tempfile_in(folder_of(output)).map(BufWriter::new).map_err(failed);
        Ok(Self { name, like, row, strips: parts.iter().map(strip).collect::<Result<_, _>>()? })
    }

    fn add(&mut self, output: &Path, parts: &[Array]) -> Result<(), Error> {
        for (strip, part) in self.strips.iter_mut().zip(parts) {
            if part.shape()[1..] != self.row {
                return Err(Error::Internal(format!(
                    "rows of {:?} have the shapes {:?} and {:?}",
                    self.name,
                    self.row,
                    &part.shape()[1..]
                )));
            }
            strip
                .write_all(&npy::contents(part))
                .map_err(|source| Error::Write { path: output.to_owned(), source })?;
        }
        Ok(())
    }

    fn shape(&self, rows: usize) -> Vec<usize> {
        let targets = if self.strips.len() > 1 { vec![self.strips.len()] } else { Vec::new() };
        targets.into_iter().chain([rows]).chain(self.row.iter().copied()).collect()
    }

    fn bytes(&self, rows: usize) -> u64 {
        self.shape(rows)
            .iter()
            .fold(8u64, |product, size| product.saturating_mul(u64::try_from(*size).unwrap_or(u64::MAX)))
    }

    /// Writes the whole array.
    fn copy(
        &mut self,
        path: &Path,
        rows: usize,
        to: &mut impl Write,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        to.write_all(&npy::header(&self.like, &self.shape(rows))).map_err(failed)?;
        for strip in &mut self.strips {
            strip.flush().map_err(failed)?;
            let file = strip.get_mut();
            file.rewind().map_err(failed)?;
            while std::io::copy(&mut file.take(PIECE), to).map_err(failed)? > 0 {
                if !go_on() {
                    return Err(Error::Cancelled);
                }
            }
        }
        Ok(())
    }
}
