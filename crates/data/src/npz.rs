//! Rows and targets in `.npz` files, and in pairs of `.npy` files.
//!
//! Rows are called `x`, `input`, `inputs`, `images`, `data` or `features`, targets `y`, `target`, `targets`, `label` or
//! `labels`; with `_train` or `_test` (also in front) the file holds both parts. Bytes are pictures, `[n, h, w]`,
//! `[n, h, w, 1 or 3]` or `[n, 1 or 3, h, w]`; other numbers are taken as they are.

use std::path::Path;

use bytes::Bytes;
use ndarray::Array2;
use pellucid::npy::{RawArray, is_npy, is_npz, raw_npz};
use pellucid::{Array, Error};
use pellucid_graph::ElementType;

use crate::dataset::{Dataset, Rows, Targets};
use crate::open::{Part, hash_of, read_whole};

const ROWS: [&str; 7] = ["x", "input", "inputs", "images", "data", "features", "image"];
const TARGETS: [&str; 6] = ["y", "target", "targets", "label", "labels", "classes"];

/// Largest sum of the arrays of a file once unpacked, in bytes.
const MOST_BYTES: u64 = 8 << 30;

/// Reads one part of a file; `targets` names another file of targets, where rows stand alone.
///
/// # Errors
/// Files that are no NPY or NPZ, that lack rows or targets, or whose arrays do not fit each other. `None` where the
/// file does not hold the part.
pub fn read(path: &Path, targets: Option<&Path>, part: Part) -> Result<Option<Dataset>, Error> {
    let place = path.display().to_string();
    let bytes = read_whole(path)?;
    let hash = hash_of([bytes.as_slice()]);
    if is_npy(&bytes) {
        let Some(targets) = targets else {
            return Err(Error::Input {
                place,
                problem: "it holds rows alone; give their targets with --targets, or an .npz of both"
                    .to_owned(),
            });
        };
        if part == Part::Test {
            return Ok(None);
        }
        let rows = RawArray::new(&place, &Bytes::from(bytes))?;
        let told = targets.display().to_string();
        let given = read_whole(targets)?;
        let hash = format!("{hash}+{}", hash_of([given.as_slice()]));
        return dataset(&place, &rows, &RawArray::new(&told, &Bytes::from(given))?, hash).map(Some);
    }
    if !is_npz(&bytes) {
        return Err(Error::Input { place, problem: "it is neither NPY nor NPZ".to_owned() });
    }
    let arrays = raw_npz(&place, &bytes, MOST_BYTES)?;
    let names = || arrays.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    // Rows and targets are spelled alike: those of another part do not belong to them.
    let spelled = |stems: &[&str], spelling: usize| {
        stems.iter().find_map(|stem| {
            let wanted = part.spellings(stem).into_iter().nth(spelling)?;
            arrays.iter().find(|(name, _)| *name == wanted).map(|(_, array)| array)
        })
    };
    let pairs: Vec<_> = (0..part.spellings("").len())
        .map(|spelling| (spelled(&ROWS, spelling), spelled(&TARGETS, spelling)))
        .collect();
    let whole = pairs.iter().find(|pair| matches!(pair, (Some(_), Some(_))));
    let half = pairs.iter().find(|(rows, targets)| rows.is_some() || targets.is_some());
    match whole.or(half).copied().unwrap_or_default() {
        (Some(rows), Some(targets)) => dataset(&place, rows, targets, hash).map(Some),
        (None, None) if part == Part::Test => Ok(None),
        (rows, _) => Err(Error::Input {
            place,
            problem: format!(
                "it has no {}, such as {:?}; it has {}",
                if rows.is_none() { "rows" } else { "targets" },
                if rows.is_none() { ROWS[0] } else { TARGETS[0] },
                names()
            ),
        }),
    }
}

fn dataset(place: &str, rows: &RawArray, targets: &RawArray, hash: String) -> Result<Dataset, Error> {
    let wrong = |problem: String| Error::Input { place: place.to_owned(), problem };
    let Some((_, sizes)) = rows.shape().split_first() else {
        return Err(wrong("its rows are one number, expected an axis of rows".to_owned()));
    };
    let targets = of_targets(place, &targets.array()?.array)?;
    let (rows, shape) = if rows.element() == ElementType::U8 {
        let (pictures, shape) = pictures(place, rows, sizes)?;
        (Rows::Bytes(pictures), shape)
    } else {
        let values: Vec<f32> = rows.array()?.array.to_f32().iter().copied().collect();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let row = at / sizes.iter().product::<usize>().max(1);
            return Err(wrong(format!("row {row} holds a number that is not finite")));
        }
        (Rows::Floats(values), sizes.to_vec())
    };
    Dataset::new(place, rows, targets, shape, hash)
}

/// Bytes with channels first.
fn pictures(place: &str, array: &RawArray, sizes: &[usize]) -> Result<(Vec<u8>, Vec<usize>), Error> {
    let (shape, channels_last) = match sizes {
        [columns] => (vec![1, 1, *columns], false),
        [height, width] => (vec![1, *height, *width], false),
        [channels @ (1 | 3), height, width] => (vec![*channels, *height, *width], false),
        [height, width, channels @ (1 | 3)] => (vec![*channels, *height, *width], true),
        _ => {
            return Err(Error::Input {
                place: place.to_owned(),
                problem: format!(
                    "its bytes have the sizes {sizes:?} a row, expected pictures: [h, w], [h, w, 1 or 3] or [1 or 3, h, w]"
                ),
            });
        }
    };
    let held;
    let bytes = if let Some(bytes) = array.bytes() {
        bytes
    } else {
        let numbers = array.array()?.array;
        let byte = |value: &i64| u8::try_from(*value).unwrap_or(u8::MAX);
        held =
            numbers.as_i64().map_or_else(Vec::new, |numbers| numbers.iter().map(byte).collect::<Vec<u8>>());
        &held
    };
    if !channels_last {
        return Ok((bytes.to_vec(), shape));
    }
    let broken = |error: ndarray::ShapeError| Error::Internal(error.to_string());
    let rows = array.shape().first().copied().unwrap_or_default();
    let all = ndarray::ArrayView4::from_shape((rows, shape[1], shape[2], shape[0]), bytes).map_err(broken)?;
    Ok((all.permuted_axes([0, 3, 1, 2]).iter().copied().collect(), shape))
}

fn of_targets(place: &str, array: &Array) -> Result<Targets, Error> {
    let wrong = |problem: String| Error::Input { place: place.to_owned(), problem };
    let shape = array.shape().to_vec();
    match (array, shape.as_slice()) {
        (Array::I64(classes), [_] | [_, 1]) => Ok(Targets::Classes(classes.iter().copied().collect())),
        (Array::Bool(classes), [_]) => {
            Ok(Targets::Classes(classes.iter().map(|class| i64::from(*class)).collect()))
        }
        (numbers, [rows, ..]) if *rows > 0 => {
            let outputs = shape[1..].iter().product();
            let values: Vec<f32> = numbers.to_f32().iter().copied().collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(wrong("a target is not finite".to_owned()));
            }
            Array2::from_shape_vec((*rows, outputs), values)
                .map(Targets::Numbers)
                .map_err(|error| wrong(error.to_string()))
        }
        _ => Err(wrong(format!("its targets have the shape {shape:?}, expected [n] or [n, outputs]"))),
    }
}
