//! Reads `.npz` files of float64 arrays, as the scripts in the repository's `goldens/` folder write them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use ndarray_npy::NpzReader;

/// The repository's `goldens/` folder.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens")
}

/// Every array of the file at `path`.
///
/// # Panics
/// Where the file is missing or holds anything else.
pub fn arrays(path: &Path) -> BTreeMap<String, ArrayD<f64>> {
    let broken = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error}", path.display()) };
    let file = File::open(path).unwrap_or_else(|error| broken(&error));
    let mut npz = NpzReader::new(file).unwrap_or_else(|error| broken(&error));
    let names = npz.names().unwrap_or_else(|error| broken(&error));
    names
        .into_iter()
        .map(|name| {
            let array = npz.by_name(&name).unwrap_or_else(|error| broken(&error));
            (name, array)
        })
        .collect()
}
