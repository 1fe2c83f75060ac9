//! Weights from files: PyTorch's state dictionaries (`.pth`, `.pt`; the archives of today and the streams of before 1.6)
//! and safetensors.
//!
//! Files may come from somebody hostile. A pickle is read by a machine of our own that knows what tensors need and runs
//! nothing; every size is compared with the bytes that are there before memory is taken; tensors stay slices of the file
//! until somebody asks for one. There is no model here and no engine.

#![deny(clippy::as_conversions)]

mod archive;
mod dictionary;
mod fitting;
mod pickle;
mod safe;
mod stored;
mod stream;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use pellucid_graph::{ElementType, Tensor};

pub use fitting::{Fitted, Wanted};
pub use pellucid::Error;
use stored::Stored;

/// Largest file: 16 GiB.
const MOST_BYTES: u64 = 16 << 30;

/// Which form a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What `torch.save` writes since PyTorch 1.6: a ZIP archive of a pickle and storages.
    TorchArchive,
    /// What it wrote before: pickles one after the other, then storages.
    TorchStream,
    /// safetensors.
    Safetensors,
}

impl Form {
    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::TorchArchive => "PyTorch's ZIP form",
            Self::TorchStream => "PyTorch's form of before 1.6",
            Self::Safetensors => "safetensors",
        }
    }
}

/// Named tensors of a file.
#[derive(Debug, Clone)]
pub struct StateDictionary {
    place: String,
    form: Form,
    /// Keys that the dictionary was found under, from outside to inside.
    within: Vec<String>,
    bytes: Bytes,
    tensors: BTreeMap<String, Stored>,
    /// Names whose values are no tensors.
    others: Vec<String>,
}

/// Reads a file of any of the forms; which it is, its first bytes say.
///
/// # Errors
/// Files that cannot be read, of another form, over 16 GiB; pickles that hold anything but a state dictionary, or name
/// anything that tensors do not need; sizes that the file does not have.
pub fn open(path: &Path) -> Result<StateDictionary, Error> {
    let bytes = pellucid::file::read(path, MOST_BYTES)?;
    decode(&path.display().to_string(), bytes.into())
}

/// Reads the bytes of a file; `place` is named in errors.
///
/// # Errors
/// As [`open`].
pub fn decode(place: &str, bytes: Bytes) -> Result<StateDictionary, Error> {
    let (form, read) = if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        (Form::TorchArchive, archive::read(&bytes))
    } else if stream::is_stream(&bytes) {
        (Form::TorchStream, stream::read(&bytes))
    } else if safe::is_safetensors(&bytes) {
        (Form::Safetensors, safe::read(&bytes))
    } else {
        return Err(wrong(place, unknown(&bytes)));
    };
    let dictionary::Found { within, tensors, others } = read.map_err(|problem| wrong(place, problem))?;
    Ok(StateDictionary { place: place.to_owned(), form, within, bytes, tensors, others })
}

fn wrong(place: &str, problem: impl Into<String>) -> Error {
    Error::Input { place: place.to_owned(), problem: problem.into() }
}

/// What is said of a file of no known form.
fn unknown(bytes: &[u8]) -> String {
    let what = if bytes.get(257..262) == Some(b"ustar") {
        "it is of the form that PyTorch wrote before 0.1.10; write it anew with a later one"
    } else if bytes.first() == Some(&0x80) {
        "it is a pickle without tensors, or was not written by torch.save"
    } else if bytes.is_empty() {
        "it is empty"
    } else {
        "it is of no kind that can be read"
    };
    format!("{what}; expected a state dictionary of torch.save (.pth, .pt) or .safetensors")
}

impl StateDictionary {
    /// The file, as errors name it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The form of the file.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Keys that the dictionary stands under in the file, from outside to inside; none where it is all.
    pub fn within(&self) -> &[String] {
        &self.within
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Element type and sizes of a tensor.
    pub fn shape(&self, name: &str) -> Option<(ElementType, &[usize])> {
        self.tensors.get(name).map(|stored| (stored.element, stored.shape.as_slice()))
    }

    /// A tensor; where its numbers lie together, it is a slice of the file.
    ///
    /// # Errors
    /// A name that does not exist; a tensor whose elements lie apart and would take more than 4 GiB.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let stored = self.tensors.get(name).ok_or_else(|| Error::Unknown {
            kind: "tensor",
            found: name.to_owned(),
            valid: self.names().map(str::to_owned).collect(),
        })?;
        stored.tensor(&self.bytes).map_err(|problem| wrong(&self.place, format!("{name:?}: {problem}")))
    }
}
