//! What is fed to a model: photographs and NumPy files, checked against the model's inputs, rows on the batch axis.
//!
//! A photograph is prepared as the model's description says. Rows of `.npy` and `.npz` files are taken as they are,
//! batch axis first. Several files are stacked.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ndarray::{ArrayD, Axis, Dimension, IxDyn};
use pellucid_graph::{ElementType, Value, display_shape};

use crate::array::Array;
use crate::error::Error;
use crate::file;
use crate::model::{Model, is_flat, no_preprocessing};
use crate::npy::{self, Npy, shape_text};
use crate::photograph::{self, Photograph};

/// What input files may ask of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputLimits {
    /// Largest file, in bytes. Default: 2 GiB.
    pub file_bytes: u64,
    /// Most bytes of arrays once unpacked, for one file. Default: 4 GiB.
    pub array_bytes: u64,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self { file_bytes: 2 << 30, array_bytes: 4 << 30 }
    }
}

/// One row of the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The file it comes from, without folders; with the row's number where the file has several: `x.npy[3]`.
    pub name: String,
    /// The photograph, where it is one.
    pub photograph: Option<Arc<Photograph>>,
}

impl Row {
    /// Row number `row` of a file's `count`.
    pub(crate) fn of_array(file: &str, row: usize, count: usize) -> Self {
        Self { name: if count == 1 { file.to_owned() } else { format!("{file}[{row}]") }, photograph: None }
    }
}

/// Sizes of every input by name, rows first.
pub type Shapes = Vec<(String, Vec<usize>)>;

/// A batch: an array for every input of a model, all with the same number of rows on the first axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    arrays: Vec<(String, Array)>,
    rows: Vec<Row>,
}

impl Inputs {
    /// A batch from arrays in the order of a model's inputs, and what is known of its rows.
    ///
    /// # Errors
    /// No array, no row, or arrays with other numbers of rows.
    pub fn new(arrays: Vec<(String, Array)>, rows: Vec<Row>) -> Result<Self, Error> {
        for (name, array) in &arrays {
            if array.shape().first() != Some(&rows.len()) {
                return Err(Error::input(
                    format!("input {name:?}"),
                    format!(
                        "{} found, expected {} rows on the first axis",
                        shape_text(array.shape()),
                        rows.len()
                    ),
                ));
            }
        }
        if rows.is_empty() || arrays.is_empty() {
            return Err(Error::input("input", "no row found, expected at least one"));
        }
        Ok(Self { arrays, rows })
    }

    /// A batch from arrays alone; rows are called `row 0`, `row 1` …
    pub fn from_arrays(arrays: Vec<(String, Array)>) -> Result<Self, Error> {
        let count = arrays.first().and_then(|(_, array)| array.shape().first().copied()).unwrap_or(0);
        let rows = (0..count).map(|row| Row { name: format!("row {row}"), photograph: None }).collect();
        Self::new(arrays, rows)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: there is at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Arrays by input name, `[n, …]`.
    pub fn arrays(&self) -> &[(String, Array)] {
        &self.arrays
    }

    /// The array for an input.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.iter().find(|(known, _)| known == name).map(|(_, array)| array)
    }

    /// Sizes of every input, rows first.
    pub fn shapes(&self) -> Shapes {
        self.arrays.iter().map(|(name, array)| (name.clone(), array.shape().to_vec())).collect()
    }

    /// Checks that these rows have the sizes of `shapes`, whose number of rows does not matter.
    pub(crate) fn require(&self, shapes: &Shapes) -> Result<(), Error> {
        for (name, expected) in shapes {
            let found = self.get(name).map(Array::shape).unwrap_or_default();
            if found.len() != expected.len() || found.iter().skip(1).ne(expected.iter().skip(1)) {
                return Err(Error::input(
                    format!("input {name:?}"),
                    format!(
                        "rows of shape {} found, expected {}, for which the model was made ready",
                        shape_text(found.get(1..).unwrap_or_default()),
                        shape_text(expected.get(1..).unwrap_or_default())
                    ),
                ));
            }
        }
        Ok(())
    }

    /// What is known of each row.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// Where the range leaves the batch.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let arrays =
            self.arrays.iter().map(|(name, array)| (name.clone(), array.rows(range.clone()))).collect();
        Self { arrays, rows: self.rows[range].to_vec() }
    }
}

impl Model {
    /// Reads files as one batch: PNG, JPEG, WebP, `.npy` and `.npz`, told apart by their first bytes.
    ///
    /// # Errors
    /// Files that cannot be read or are of another kind; photographs for a model that does not say how to prepare
    /// them; arrays of another shape or type than the model's inputs; values that are not finite, with their row.
    pub fn read<P: AsRef<Path>>(&self, paths: &[P]) -> Result<Inputs, Error> {
        self.read_with(paths, &InputLimits::default())
    }

    /// As [`Model::read`], under other limits.
    pub fn read_with<P: AsRef<Path>>(&self, paths: &[P], limits: &InputLimits) -> Result<Inputs, Error> {
        if paths.is_empty() {
            return Err(Error::input("input", "no file found, expected at least one"));
        }
        let mut rows = Vec::new();
        let mut parts: Vec<Vec<Array>> = vec![Vec::new(); self.graph().inputs().len()];
        let mut places = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let place = path.display().to_string();
            let bytes = file::read(path, limits.file_bytes)?;
            let name =
                path.file_name().map_or_else(|| place.clone(), |name| name.to_string_lossy().into_owned());
            let read = self.read_one(&place, &name, bytes, limits)?;
            for (part, array) in parts.iter_mut().zip(read.arrays) {
                part.push(array);
            }
            places.push(path.display().to_string());
            rows.extend(read.rows);
        }
        let mut arrays = Vec::new();
        for (input, parts) in self.inputs().zip(parts) {
            arrays.push((input.name.clone(), concatenate(&input.name, &parts, &places)?));
        }
        self.check_batch(rows.len())?;
        Inputs::new(arrays, rows)
    }

    /// Checks a batch of the caller's own making against the model, as files are checked.
    pub fn check_inputs(&self, inputs: Inputs) -> Result<Inputs, Error> {
        let mut arrays = Vec::new();
        let named: Vec<&str> = inputs.arrays.iter().map(|(name, _)| name.as_str()).collect();
        self.check_names("inputs", &named)?;
        for input in self.inputs() {
            let Some(array) = inputs.get(&input.name).cloned() else { continue };
            let npy = Npy { element: array.element(), array };
            arrays.push((input.name.clone(), fit(&format!("input {:?}", input.name), input, npy)?));
        }
        self.check_batch(inputs.len())?;
        Inputs::new(arrays, inputs.rows)
    }

    /// Reads the bytes of one file, which people know as `name`.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn read_bytes(&self, name: &str, bytes: &[u8]) -> Result<Inputs, Error> {
        let read = self.read_one(name, name, bytes.to_vec(), &InputLimits::default())?;
        let arrays = self.inputs().map(|input| input.name.clone()).zip(read.arrays).collect();
        self.check_batch(read.rows.len())?;
        Inputs::new(arrays, read.rows)
    }

    fn read_one(
        &self,
        place: &str,
        name: &str,
        bytes: Vec<u8>,
        limits: &InputLimits,
    ) -> Result<FileRows, Error> {
        if npy::is_npy(&bytes) {
            let [input] = self.graph().inputs() else {
                return Err(Error::input(
                    place,
                    format!(
                        "one array found, expected {}; save them with np.savez(…)",
                        list(&self.inputs().map(|input| input.name.as_str()).collect::<Vec<_>>())
                    ),
                ));
            };
            let npy = npy::decode(place, &Bytes::from(bytes))?;
            FileRows::from_arrays(name, vec![fit(place, self.graph().value(*input), npy)?], place)
        } else if npy::is_npz(&bytes) {
            let mut found = npy::decode_npz(place, &bytes, limits.array_bytes)?;
            drop(bytes);
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            self.check_names(place, &names)?;
            let mut arrays = Vec::new();
            for input in self.inputs() {
                let index = found.iter().position(|(name, _)| *name == input.name);
                let (name, npy) = found.swap_remove(index.expect("every name was checked"));
                arrays.push(fit(&format!("{place}, array {name:?}"), input, npy)?);
            }
            FileRows::from_arrays(name, arrays, place)
        } else if photograph::format(&bytes).is_some() {
            self.read_photograph(place, name.to_owned(), &bytes)
        } else {
            Err(Error::input(
                place,
                "it is of no kind that can be read, expected PNG, JPEG, WebP, NPY or NPZ",
            ))
        }
    }

    fn read_photograph(&self, place: &str, name: String, bytes: &[u8]) -> Result<FileRows, Error> {
        let [input] = self.graph().inputs() else {
            return Err(Error::input(
                place,
                format!(
                    "one picture found, expected {}; prepare them yourself and save them with np.savez(…)",
                    list(&self.inputs().map(|input| input.name.as_str()).collect::<Vec<_>>())
                ),
            ));
        };
        let input = self.graph().value(*input);
        let image = self
            .description()
            .preprocessing
            .get(&input.name)
            .ok_or_else(|| Error::NoPreprocessing(no_preprocessing(place, self, input)))?;
        let picture = photograph::decode(place, bytes)?;
        let (values, geometry) = image.apply(place, &picture)?;
        let array = Array::F32(of_input(input, values));
        let prepared = format!("{place}, prepared as the model's preprocessing says");
        let array = fit(&prepared, input, Npy { element: ElementType::F32, array })?;
        let photograph = Some(Arc::new(Photograph { picture, geometry }));
        Ok(FileRows { arrays: vec![array], rows: vec![Row { name, photograph }] })
    }

    pub(crate) fn check_names(&self, place: &str, found: &[&str]) -> Result<(), Error> {
        let expected: Vec<&str> = self.inputs().map(|input| input.name.as_str()).collect();
        let missing: Vec<&str> = expected.iter().copied().filter(|name| !found.contains(name)).collect();
        let strange: Vec<&str> = found.iter().copied().filter(|name| !expected.contains(name)).collect();
        if missing.is_empty() && strange.is_empty() {
            return Ok(());
        }
        Err(Error::input(place, format!("arrays {} found, expected {}", list(found), list(&expected))))
    }

    /// A batch axis of fixed size takes whole batches only, except that single rows are fed one by one.
    pub(crate) fn check_batch(&self, rows: usize) -> Result<(), Error> {
        for input in self.inputs() {
            let fixed =
                input.shape.as_ref().and_then(|shape| shape.first()).and_then(pellucid_graph::Dim::size);
            if let Some(size) = fixed
                && size > 0
                && !rows.is_multiple_of(size)
            {
                return Err(Error::input(
                    format!("input {:?}", input.name),
                    format!(
                        "{rows} rows found, expected a multiple of {size}, the batch size fixed in the model"
                    ),
                ));
            }
        }
        Ok(())
    }
}

struct FileRows {
    /// One for each of the model's inputs, in order.
    arrays: Vec<Array>,
    rows: Vec<Row>,
}

impl FileRows {
    fn from_arrays(name: &str, arrays: Vec<Array>, place: &str) -> Result<Self, Error> {
        let counts: Vec<usize> =
            arrays.iter().map(|array| array.shape().first().copied().unwrap_or(0)).collect();
        let count = counts.first().copied().unwrap_or(0);
        if counts.iter().any(|other| *other != count) {
            return Err(Error::input(
                place,
                format!("arrays of {counts:?} rows found, expected as many in each"),
            ));
        }
        if count == 0 {
            return Err(Error::input(place, "no row found, expected at least one"));
        }
        let rows = (0..count).map(|row| Row::of_array(name, row, count)).collect();
        Ok(Self { arrays, rows })
    }
}

/// `array` in the element type of a model's input, if its shape and type allow it and its values are finite.
pub(crate) fn fit(place: &str, input: &Value, npy: Npy) -> Result<Array, Error> {
    fit_rows(place, input, npy, 0)
}

/// As [`fit`], of rows that `first` others stand before.
pub(crate) fn fit_rows(place: &str, input: &Value, npy: Npy, first: usize) -> Result<Array, Error> {
    let Npy { element, array } = npy;
    let wrong = |problem: String| Err(Error::input(place, problem));
    let name = &input.name;
    check_shape(place, input, array.shape())?;
    if let Some((row, position)) = first_not_finite(&array) {
        return wrong(format!(
            "row {} holds a value that is not finite, at {}; expected numbers only",
            first + row,
            shape_text(&position)
        ));
    }
    let Some(expected) = input.element else { return Ok(array) };
    if expected == element {
        return Ok(array);
    }
    match (expected, array) {
        (ElementType::F64, array @ Array::F32(_)) => Ok(Array::F64(array.to_f32().mapv(f64::from))),
        (expected, array @ Array::F64(_)) if expected.is_float() => {
            let rounded = array.to_f32();
            if rounded.iter().any(|value| !value.is_finite()) {
                return wrong(format!("a value is too large for {expected}, the type of input {name:?}"));
            }
            Ok(Array::F32(rounded))
        }
        (expected, array @ Array::F32(_)) if expected.is_float() => Ok(array),
        (expected, Array::I64(values)) if !expected.is_float() && expected != ElementType::Bool => {
            if let Some(value) = values.iter().find(|value| !fits(**value, expected)) {
                return wrong(format!(
                    "{value} found, which does not fit {expected}, the type of input {name:?}"
                ));
            }
            Ok(Array::I64(values))
        }
        (expected, _) => wrong(format!(
            "elements of {element} found, expected {expected} for input {name:?}; convert them with .astype(\"{expected}\")"
        )),
    }
}

/// Checks the sizes of rows for a model's input; the batch axis is checked when every file is known.
pub(crate) fn check_shape(place: &str, input: &Value, found: &[usize]) -> Result<(), Error> {
    let Some(shape) = &input.shape else { return Ok(()) };
    let agrees = |(axis, (found, expected)): (usize, (&usize, &pellucid_graph::Dim))| {
        axis == 0 || expected.size().is_none_or(|expected| expected == *found)
    };
    if found.len() == shape.len() && found.iter().zip(shape).enumerate().all(agrees) {
        return Ok(());
    }
    let hint = if found.len() + 1 == shape.len() { "; add a batch axis in front" } else { "" };
    Err(Error::input(
        place,
        format!(
            "shape {} found, expected {} for input {:?}{hint}",
            shape_text(found),
            display_shape(shape),
            input.name
        ),
    ))
}

fn fits(value: i64, element: ElementType) -> bool {
    match element {
        ElementType::I8 => i8::try_from(value).is_ok(),
        ElementType::I16 => i16::try_from(value).is_ok(),
        ElementType::I32 => i32::try_from(value).is_ok(),
        ElementType::U8 => u8::try_from(value).is_ok(),
        ElementType::U16 => u16::try_from(value).is_ok(),
        ElementType::U32 => u32::try_from(value).is_ok(),
        ElementType::U64 => value >= 0,
        _ => true,
    }
}

/// The row and the position within it of the first NaN or infinity.
fn first_not_finite(array: &Array) -> Option<(usize, Vec<usize>)> {
    fn search<T>(array: &ArrayD<T>, finite: impl Fn(&T) -> bool) -> Option<Vec<usize>> {
        // The common case is a pass without positions.
        if array.iter().all(&finite) {
            return None;
        }
        array
            .indexed_iter()
            .find(|(_, value)| !finite(value))
            .map(|(position, _)| position.as_array_view().to_vec())
    }
    let position = match array {
        Array::F32(array) => search(array, |value| value.is_finite()),
        Array::F64(array) => search(array, |value| value.is_finite()),
        Array::I64(_) | Array::Bool(_) => None,
    }?;
    let (row, within) = position.split_first()?;
    Some((*row, within.to_vec()))
}

/// A prepared picture as a row of an input: flat where the input takes flat rows.
pub(crate) fn of_input(input: &Value, values: ArrayD<f32>) -> ArrayD<f32> {
    if !is_flat(input) {
        return values.insert_axis(Axis(0));
    }
    let count = values.len();
    // Prepared numbers lie in the order of their axes.
    ArrayD::from_shape_vec(IxDyn(&[1, count]), values.into_iter().collect()).expect("the size is its own")
}

/// Arrays after each other on the batch axis.
pub(crate) fn concatenate(name: &str, parts: &[Array], places: &[String]) -> Result<Array, Error> {
    let first = parts.first().ok_or_else(|| Error::Internal(format!("input {name:?} has no array")))?;
    for (part, place) in parts.iter().zip(places) {
        if part.shape()[1..] != first.shape()[1..] {
            return Err(Error::input(
                place,
                format!(
                    "rows of shape {} found, expected {} as in {}; give inputs of other sizes one by one, or add a \
                     resize to the preprocessing",
                    shape_text(&part.shape()[1..]),
                    shape_text(&first.shape()[1..]),
                    places[0]
                ),
            ));
        }
    }
    macro_rules! join {
        ($kind:ident) => {{
            let views: Vec<_> = parts
                .iter()
                .filter_map(|part| if let Array::$kind(array) = part { Some(array.view()) } else { None })
                .collect();
            if views.len() != parts.len() {
                return Err(Error::Internal(format!("arrays of several types for input {name:?}")));
            }
            Array::$kind(
                ndarray::concatenate(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))?,
            )
        }};
    }
    Ok(match first {
        Array::F32(_) => join!(F32),
        Array::F64(_) => join!(F64),
        Array::I64(_) => join!(I64),
        Array::Bool(_) => join!(Bool),
    })
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests;
