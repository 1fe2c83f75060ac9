//! The examples that a model is looked at with: held, or read some at a time.

use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::file;
use crate::input::{Inputs, Shapes};
use crate::model::Model;
use crate::photograph;
use crate::stream::RowFiles;

/// Examples for a model.
#[derive(Debug)]
pub struct Examples<'a> {
    model: &'a Model,
    kept: Kept,
    shapes: Shapes,
    rows: usize,
}

#[derive(Debug)]
enum Kept {
    Held(Inputs),
    Rows(RowFiles),
    Pictures(Vec<PathBuf>),
}

impl<'a> Examples<'a> {
    /// Opens files: `.npy` and uncompressed `.npz` files and pictures are read some rows at a time, others at once.
    ///
    /// # Errors
    /// As [`Model::read`]; of what is read later, in [`Examples::read`].
    pub fn open<P: AsRef<Path>>(model: &'a Model, paths: &[P]) -> Result<Self, Error> {
        if let Some(files) = model.row_files(paths)? {
            let (shapes, rows) = (files.shapes(), files.len());
            return Ok(Self { model, kept: Kept::Rows(files), shapes, rows });
        }
        let mut pictures = !paths.is_empty();
        for path in paths {
            pictures = pictures && is_picture(path.as_ref())?;
        }
        if pictures {
            let paths: Vec<PathBuf> = paths.iter().map(|path| path.as_ref().to_owned()).collect();
            let shapes = model.read(&paths[..1])?.shapes();
            model.check_batch(paths.len())?;
            return Ok(Self { model, shapes, rows: paths.len(), kept: Kept::Pictures(paths) });
        }
        Ok(Self::held(model, model.read(paths)?))
    }

    /// Examples that are in memory.
    pub fn held(model: &'a Model, inputs: Inputs) -> Self {
        Self { model, shapes: inputs.shapes(), rows: inputs.len(), kept: Kept::Held(inputs) }
    }

    /// Number of examples.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Sizes of every input; the first, the number of rows, does not matter.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Some of the examples.
    ///
    /// # Errors
    /// Files that were changed since, or cannot be used after all; examples of several sizes.
    pub fn read(&self, rows: Range<usize>) -> Result<Inputs, Error> {
        let inputs = match &self.kept {
            Kept::Held(inputs) if rows == (0..inputs.len()) => inputs.clone(),
            Kept::Held(inputs) => inputs.slice(rows),
            Kept::Rows(files) => files.read(rows)?,
            Kept::Pictures(paths) => self.model.read(&paths[rows])?,
        };
        inputs.require(&self.shapes)?;
        Ok(inputs)
    }
}

fn is_picture(path: &Path) -> Result<bool, Error> {
    let mut first = [0; 16];
    let mut file = file::open(path)?;
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut read = 0;
    while read < first.len() {
        match file.read(&mut first[read..]).map_err(failed)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(photograph::format(&first[..read]).is_some())
}
