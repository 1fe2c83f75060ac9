//! What a run needs to go on: written beside, brought to the disk, and only then named.
//!
//! A checkpoint is a safetensors file: every carried value by its name, and what the run counts. A process that is killed
//! at any instant, or a disk that is full, leaves the last whole one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use pellucid::{Array, Error};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the file in the run's folder.
pub const FILE: &str = "checkpoint.safetensors";

/// Largest checkpoint, in bytes.
const MOST_BYTES: u64 = 64 << 30;

/// What a run counts, beside its tensors. Numbers that go on being added to are kept by their bits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Form of the file.
    pub version: u32,
    /// Steps that are done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of an epoch.
    pub per_epoch: u64,
    /// Bits of the sum of the losses of this epoch's rows so far.
    pub loss_bits: u64,
    /// Rows of this epoch so far.
    pub rows: u64,
    /// Rows of them that were predicted right.
    pub right: u64,
    /// Bits of the best validation loss so far.
    pub best_bits: Option<u64>,
    /// Its epoch.
    pub best_epoch: Option<u32>,
    /// Seconds that the run took so far.
    pub seconds: f64,
    /// The epochs that are done.
    pub history: Vec<Epoch>,
    /// SHA-256 of settings, data and model.
    pub identity: String,
}

/// What is measured of an epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Number, from 1.
    pub epoch: u32,
    /// Steps so far.
    pub step: u64,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean loss over its rows, as each was when it was learned from.
    pub loss: f64,
    /// Share of its rows that were predicted right then.
    pub accuracy: Option<f64>,
    /// Mean loss over the rows held out.
    pub validation_loss: Option<f64>,
    /// Share of the rows held out that are predicted right.
    pub validation_accuracy: Option<f64>,
    /// Norm of all derivatives in its last step.
    pub norm: f64,
    /// Seconds of the run so far.
    pub seconds: f64,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// What is counted.
    pub counts: Counts,
    /// Carried values by name.
    pub state: BTreeMap<String, Array>,
    /// The best weights so far, by the names of the model's constants; empty where they are not kept.
    pub best: BTreeMap<String, Array>,
}

/// Puts `best` in front of names of weights that are the best.
const BEST: &str = "best/";
/// Puts `state` in front of names that are carried.
const STATE: &str = "state/";
const COUNTS: &str = "pellucid.counts";

impl Checkpoint {
    /// The bytes of the file.
    ///
    /// # Errors
    /// None for arrays of `float32` and `float64`, which is what is carried.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let internal =
            |problem: String| Error::Internal(format!("a checkpoint cannot be written: {problem}"));
        let mut bytes: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
        let named = self.state.iter().map(|(name, array)| (format!("{STATE}{name}"), array));
        let best = self.best.iter().map(|(name, array)| (format!("{BEST}{name}"), array));
        for (name, array) in named.chain(best) {
            let (kind, data) = match array {
                Array::F32(values) => (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Array::F64(values) => (Dtype::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                _ => return Err(internal(format!("{name:?} holds no floats"))),
            };
            bytes.insert(name, (kind, array.shape().to_vec(), data));
        }
        let mut hash = Sha256::new();
        for (name, (_, _, data)) in &bytes {
            hash.update(name.as_bytes());
            hash.update(data);
        }
        let counts = serde_json::to_string(&self.counts).map_err(|error| internal(error.to_string()))?;
        hash.update(counts.as_bytes());
        // One entry: several would stand in the file in another order each time.
        let metadata = [(COUNTS.to_owned(), format!("{} {counts}", hex(&hash.finalize())))];
        let mut views = Vec::new();
        for (name, (kind, shape, data)) in &bytes {
            let view =
                TensorView::new(*kind, shape.clone(), data).map_err(|error| internal(error.to_string()))?;
            views.push((name.as_str(), view));
        }
        safetensors::serialize(views, Some(metadata.into_iter().collect()))
            .map_err(|error| internal(error.to_string()))
    }

    /// Reads the file of a run's folder.
    ///
    /// # Errors
    /// Files that cannot be read, that are no checkpoint, or whose contents do not agree with their hash.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let failed = |source| Error::Read { path: path.clone(), source };
        if std::fs::metadata(&path).map_err(failed)?.len() > MOST_BYTES {
            return Err(Error::Input {
                place: path.display().to_string(),
                problem: "it is larger than 64 GiB".to_owned(),
            });
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        Self::decode(&path.display().to_string(), &bytes)
    }

    /// Reads the bytes of a file; `place` is named in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn decode(place: &str, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Input { place: place.to_owned(), problem };
        let broken =
            |error: safetensors::SafeTensorError| wrong(format!("it is no whole checkpoint: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let read = SafeTensors::deserialize(bytes).map_err(broken)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let entry = metadata.get(COUNTS).and_then(|entry| entry.split_once(' '));
        let (sum, text) = entry.ok_or_else(|| wrong(format!("it lacks {COUNTS:?}: it is no checkpoint")))?;
        let mut hash = Sha256::new();
        let mut names = read.names();
        names.sort_unstable();
        let mut checkpoint = Self::default();
        for name in names {
            let view = read.tensor(name).map_err(broken)?;
            hash.update(name.as_bytes());
            hash.update(view.data());
            let array = array(&view).ok_or_else(|| wrong(format!("{name:?} holds no floats")))?;
            if let Some(name) = name.strip_prefix(STATE) {
                checkpoint.state.insert(name.to_owned(), array);
            } else if let Some(name) = name.strip_prefix(BEST) {
                checkpoint.best.insert(name.to_owned(), array);
            }
        }
        hash.update(text.as_bytes());
        if sum != hex(&hash.finalize()) {
            return Err(wrong("its contents do not agree with its hash: it was changed".to_owned()));
        }
        checkpoint.counts = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        Ok(checkpoint)
    }

    /// Writes the file of a run's folder.
    ///
    /// # Errors
    /// What the disk says; the last checkpoint stays then.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        write_atomically(&folder.join(FILE), &self.encode()?)
    }
}

fn array(view: &TensorView<'_>) -> Option<Array> {
    let shape = IxDyn(view.shape());
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => {
            let values = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            ArrayD::from_shape_vec(shape, values).ok().map(Array::F32)
        }
        Dtype::F64 => {
            let values = data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            ArrayD::from_shape_vec(shape, values).ok().map(Array::F64)
        }
        _ => None,
    }
}

/// Writes beside, brings it to the disk, renames, and brings the folder's entry to the disk: whoever looks finds the old
/// file or the new one, also after the power went.
///
/// # Errors
/// What the disk says; the old file stays then, and nothing half-written.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // The name says whose it is, so that what a killed run left is found and removed.
    let mut builder = tempfile::Builder::new();
    builder.prefix(PART).suffix(".part");
    // The ordinary permissions of a new file, from which the system takes the user's mask.
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::Permissions::from_mode(0o666)
    };
    #[cfg(unix)]
    builder.permissions(permissions);
    let mut file = builder.tempfile_in(&folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    // Not every system lets a folder be opened; the file itself is there in any case.
    if let Ok(folder) = File::open(&folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

const PART: &str = ".pellucid-run-";

/// Removes what a killed run left half-written.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PART) && name.ends_with(".part") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let array = |values: Vec<f32>| Array::from_f32(&[values.len()], values).unwrap();
        Checkpoint {
            counts: Counts { step: 3, loss_bits: 0.1f64.to_bits(), ..Counts::default() },
            state: [
                ("w".to_owned(), array(vec![0.1, -0.0])),
                ("velocity:w".to_owned(), array(vec![f32::NAN])),
            ]
            .into(),
            best: [("w".to_owned(), array(vec![1.0]))].into(),
        }
    }

    #[test]
    fn bits_come_and_go_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let one = checkpoint();
        one.write(folder.path()).unwrap();
        let two = Checkpoint::read(folder.path()).unwrap();
        assert_eq!(two.encode().unwrap(), one.encode().unwrap());
        assert_eq!(two.counts, one.counts);
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn changed_and_cut_files_are_refused() {
        let good = checkpoint().encode().unwrap();
        for length in 0..good.len() {
            assert!(Checkpoint::decode("c", &good[..length]).is_err(), "{length}");
        }
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        let error = Checkpoint::decode("c", &changed).unwrap_err().to_string();
        assert_eq!(error, "c: its contents do not agree with its hash: it was changed");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"old").unwrap();
        let missing = folder.path().join("none").join("a");
        assert!(write_atomically(&missing, b"new").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        std::fs::write(folder.path().join(".pellucid-run-x.part"), b"half").unwrap();
        sweep(folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
