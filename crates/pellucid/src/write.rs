//! Outputs by their ending, written whole or not at all.
//!
//! Every name is checked before any work is done; everything is rendered before anything is written; every file
//! appears under its name only once it is whole.

mod evaluation;
mod inside;
mod summary;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ndarray::{Array1, ArrayD, Axis};
use tempfile::NamedTempFile;

use crate::array::Array;
use crate::attribution::{Attribution, Explained, Explanation, Prediction, Target};
use crate::compare::Comparison;
use crate::error::Error;
use crate::file;
use crate::npy;
use crate::render::{self, json};

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The picture of one row.
    Png,
    /// The picture of one row, with real text.
    Svg,
    /// The report on every row.
    Html,
    /// Every array by name.
    Npz,
    /// The attribution, or the prediction, alone.
    Npy,
    /// Everything as text.
    Json,
}

impl Format {
    /// Forms of an explanation.
    pub const OF_EXPLANATIONS: &[Self] =
        &[Self::Png, Self::Svg, Self::Html, Self::Npz, Self::Npy, Self::Json];
    /// Forms of a comparison.
    pub const OF_COMPARISONS: &[Self] = &[Self::Png, Self::Svg, Self::Html, Self::Json];
    /// Forms of a summary.
    pub const OF_SUMMARIES: &[Self] = &[Self::Html, Self::Json, Self::Png, Self::Svg];
    /// Forms of a difference between two models.
    pub const OF_DIFFERENCES: &[Self] = &[Self::Html, Self::Json, Self::Png, Self::Svg];
    /// Forms of an evaluation.
    pub const OF_EVALUATIONS: &[Self] = &[Self::Html, Self::Json, Self::Png, Self::Svg];
    /// Forms of a prediction.
    pub const OF_PREDICTIONS: &[Self] = &[Self::Npz, Self::Npy, Self::Json];

    /// Forms of an inspection.
    pub const OF_INSPECTIONS: &[Self] = &[Self::Png, Self::Svg, Self::Npz, Self::Json];

    /// The ending, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
            Self::Html => "html",
            Self::Npz => "npz",
            Self::Npy => "npy",
            Self::Json => "json",
        }
    }

    /// Whether it is written row by row, however many there are.
    fn is_by_rows(self) -> bool {
        matches!(self, Self::Npz | Self::Npy)
    }

    /// Whether a file holds one row only.
    fn is_of_one_row(self) -> bool {
        matches!(self, Self::Png | Self::Svg)
    }
}

/// Rows of more bytes than this are not held at once for an output that needs them all.
const WHOLE_BYTES: u64 = 256 << 20;

/// Rows of fewer bytes than this are not worth writing one by one.
const FEW_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Destination {
    File(PathBuf, Format),
    /// Gets a PNG for every row.
    Folder(PathBuf),
}

/// Where outputs go, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs(Vec<Destination>);

impl Outputs {
    /// Checks the names of outputs, before any work: endings among `formats`; folders exist and can be written to; no
    /// name twice; no file of `inputs` overwritten. A name without an ending is a folder.
    ///
    /// # Errors
    /// The first name that cannot be written, and what to do.
    pub fn new<P: AsRef<Path>, I: AsRef<Path>>(
        paths: &[P],
        formats: &[Format],
        inputs: &[I],
    ) -> Result<Self, Error> {
        let inputs: Vec<PathBuf> =
            inputs.iter().filter_map(|input| input.as_ref().canonicalize().ok()).collect();
        let mut destinations = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let destination = destination(path, formats)?;
            if path.canonicalize().is_ok_and(|path| inputs.contains(&path)) {
                return Err(refused(path, "it is one of the inputs; choose another name"));
            }
            if destinations.contains(&destination) {
                return Err(refused(path, "it is named twice; name every output once"));
            }
            destinations.push(destination);
        }
        Ok(Self(destinations))
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether rows of `bytes` bytes together are better read, explained and written a few at a time: always where every
    /// output is written row by row and they are not few, and where there is no output but they are many.
    ///
    /// # Errors
    /// Outputs that hold every row at once, for rows that are too many for it.
    pub fn stream(&self, rows: usize, bytes: u64) -> Result<bool, Error> {
        if self.0.is_empty() {
            return Ok(bytes > WHOLE_BYTES);
        }
        let whole = self.0.iter().find_map(|destination| match destination {
            Destination::File(_, format) if format.is_by_rows() => None,
            Destination::File(path, _) | Destination::Folder(path) => Some(path),
        });
        match whole {
            None => Ok(bytes > FEW_BYTES),
            Some(path) if bytes > WHOLE_BYTES => Err(refused(
                path,
                format!(
                    "it holds every row at once, and {rows} rows of {} are too many for it, the limit is {}; name \
                     files ending in .npz or .npy, which are written row by row, or give fewer rows",
                    file::size(bytes),
                    file::size(WHOLE_BYTES)
                ),
            )),
            Some(_) => Ok(false),
        }
    }

    /// The files that are written row by row.
    pub(crate) fn by_rows(&self) -> impl Iterator<Item = (&Path, Format)> {
        self.0.iter().filter_map(|destination| match destination {
            Destination::File(path, format) => Some((path.as_path(), *format)),
            Destination::Folder(_) => None,
        })
    }

    /// Checks that the outputs can hold so many rows: known once inputs were read, and before they are explained.
    pub fn check_rows(&self, rows: usize) -> Result<(), Error> {
        for destination in &self.0 {
            if let Destination::File(path, format) = destination
                && format.is_of_one_row()
                && rows != 1
            {
                return Err(refused(
                    path,
                    format!(
                        "it holds one picture, and there are {rows} rows; name a folder that exists for a picture of \
                         each, or a file ending in .html for a report on all"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Writes an explanation to every output; returns the files written.
    ///
    /// # Errors
    /// Pictures of several rows in one file; files that cannot be written. Nothing was written then, unless the
    /// renaming of a finished file failed.
    pub fn write_explanation(&self, explanation: &Explanation) -> Result<Vec<PathBuf>, Error> {
        self.check_rows(explanation.rows())?;
        let mut files = Vec::new();
        for destination in &self.0 {
            match destination {
                Destination::File(path, format) => {
                    files.push((path.clone(), explanation_as(explanation, *format)?));
                }
                Destination::Folder(folder) => {
                    for (row, name) in names_in_folder(explanation).into_iter().enumerate() {
                        files.push((folder.join(name), render::png(explanation, row)?));
                    }
                }
            }
        }
        write_whole(&files)
    }

    /// Writes a comparison to every output, every row in one picture; returns the files written.
    ///
    /// # Errors
    /// Folders; files that cannot be written.
    pub fn write_comparison(&self, comparison: &Comparison) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            let (path, format) = match destination {
                Destination::File(path, format) => (path, format),
                Destination::Folder(folder) => {
                    return Err(refused(
                        folder,
                        "a comparison is one file; name one ending in .png, .svg, .html or .json",
                    ));
                }
            };
            let bytes = match format {
                Format::Svg => render::comparison_svg(comparison)?,
                Format::Html => render::comparison_html(comparison)?,
                Format::Json => pretty(&json::comparison(comparison)),
                _ => render::comparison_png(comparison)?,
            };
            files.push((path.clone(), bytes));
        }
        write_whole(&files)
    }

    /// Writes a prediction to every output; `rows` are the names of its rows. Returns the files written.
    pub fn write_prediction(
        &self,
        model: &str,
        prediction: &Prediction,
        rows: &[&str],
    ) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for destination in &self.0 {
            let Destination::File(path, format) = destination else { continue };
            let bytes = match format {
                Format::Npz => npy::encode_npz(&prediction.outputs)?,
                Format::Json => pretty(&json::prediction(model, prediction, rows, json::Values::Whole)),
                _ => npy::encode(&Array::F32(prediction.scores.clone().into_dyn())),
            };
            files.push((path.clone(), bytes));
        }
        write_whole(&files)
    }
}

fn refused(path: &Path, problem: impl Into<String>) -> Error {
    Error::Output { path: path.to_owned(), problem: problem.into() }
}

/// Checks that a file can be written, before any work: its folder exists and can be written to, and it is none of
/// `inputs`.
///
/// # Errors
/// What stands in the way, and what to do.
pub fn check_file<I: AsRef<Path>>(path: &Path, inputs: &[I]) -> Result<(), Error> {
    let same = |input: &I| input.as_ref().canonicalize().ok();
    if path.canonicalize().is_ok_and(|path| inputs.iter().filter_map(same).any(|input| input == path)) {
        return Err(refused(path, "it is one of the inputs; choose another name"));
    }
    if path.is_dir() {
        return Err(refused(path, "it is a folder; name a file"));
    }
    in_folder(path)
}

fn in_folder(path: &Path) -> Result<(), Error> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(refused(
            path,
            format!("the folder {} does not exist; create it first", folder.display()),
        ));
    }
    writable(folder, path)
}

fn destination(path: &Path, formats: &[Format]) -> Result<Destination, Error> {
    let pictures = formats.contains(&Format::Png);
    let endings: Vec<String> = formats.iter().map(|format| format!(".{}", format.ending())).collect();
    let endings = endings.join(" ");
    if path.is_dir() {
        if !pictures {
            return Err(refused(path, format!("it is a folder, expected a file ending in {endings}")));
        }
        writable(path, path)?;
        return Ok(Destination::Folder(path.to_owned()));
    }
    let Some(ending) = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()) else {
        return Err(refused(
            path,
            if pictures {
                format!("there is no such folder; create it, or name a file ending in {endings}")
            } else {
                format!("it has no ending, expected one of {endings}")
            },
        ));
    };
    let format = formats
        .iter()
        .find(|format| format.ending() == ending || (**format == Format::Html && ending == "htm"))
        .ok_or_else(|| refused(path, format!("ending .{ending} found, expected one of {endings}")))?;
    in_folder(path)?;
    Ok(Destination::File(path.to_owned(), *format))
}

/// Tries a file without a name, so that a folder that cannot be written to is known before hours of work.
fn writable(folder: &Path, path: &Path) -> Result<(), Error> {
    tempfile::tempfile_in(folder).map_err(|source| Error::Write { path: path.to_owned(), source })?;
    Ok(())
}

/// Names of the rows' pictures within a folder: the input's name without what could lead out of it, each once.
fn names_in_folder(explanation: &Explanation) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (number, row) in explanation.inputs.rows().iter().enumerate() {
        let stem = match row.name.rsplit_once('.') {
            // The row's number follows the ending: "x.npy[3]" becomes "x-3".
            Some((stem, ending)) => match ending.split_once('[') {
                Some((_, row)) => format!("{stem}-{}", row.trim_end_matches(']')),
                None => stem.to_owned(),
            },
            None => row.name.clone(),
        };
        let plain: String = stem
            .chars()
            .take(120)
            .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
            .collect();
        let plain = plain.trim_matches(['.', '-']);
        let plain = if plain.is_empty() { format!("row-{number}") } else { plain.to_owned() };
        let taken = |name: &String| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let mut name = format!("{plain}.png");
        let mut copy = 2;
        while taken(&name) {
            name = format!("{plain}-{copy}.png");
            copy += 1;
        }
        names.push(name);
    }
    names
}

fn explanation_as(explanation: &Explanation, format: Format) -> Result<Vec<u8>, Error> {
    match format {
        Format::Png => render::png(explanation, 0),
        Format::Svg => render::svg(explanation, 0),
        Format::Html => render::html(explanation),
        Format::Json => Ok(pretty(&json::explanation(explanation, json::Values::Whole))),
        Format::Npz => npy::encode_npz(&arrays(explanation)?),
        Format::Npy => {
            require_one_array(explanation)?;
            Ok(npy::encode(&arrays(explanation)?.swap_remove(0).1))
        }
    }
}

/// An `.npy` file holds one array.
pub(crate) fn require_one_array(explanation: &Explanation) -> Result<(), Error> {
    let several = explanation.explained[0].attribution.values.len();
    if several > 1 {
        return Err(Error::Setting {
            name: "output".to_owned(),
            problem: format!("an .npy file holds one array, and there are {several} inputs; choose .npz"),
        });
    }
    Ok(())
}

/// JSON that people can read: objects over several lines, lists of numbers on one.
fn pretty(value: &serde_json::Value) -> Vec<u8> {
    pretty_text(value).into_bytes()
}

fn pretty_text(value: &serde_json::Value) -> String {
    let mut text = String::new();
    indent(value, 0, &mut text);
    text.push('\n');
    text
}

fn indent(value: &serde_json::Value, depth: usize, text: &mut String) {
    use serde_json::Value;
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            text.push('{');
            for (place, (key, entry)) in entries.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                line(text, depth + 1);
                text.push_str(&Value::String(key.clone()).to_string());
                text.push_str(": ");
                indent(entry, depth + 1, text);
            }
            line(text, depth);
            text.push('}');
        }
        Value::Array(items) if !items.iter().all(is_plain) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                line(text, depth + 1);
                indent(item, depth + 1, text);
            }
            line(text, depth);
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// What an `.npz` file of an explanation holds. With several targets, everything but the prediction has a leading axis
/// of targets.
pub fn arrays(explanation: &Explanation) -> Result<Vec<(String, Array)>, Error> {
    let mut arrays = columns(explanation)?
        .into_iter()
        .map(|(name, parts)| Ok((name, stacked(parts)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let evaluations: i64 = explanation
        .explained
        .iter()
        .map(|explained| i64::try_from(explained.attribution.evaluations).unwrap_or(i64::MAX))
        .fold(0, i64::saturating_add);
    arrays.push(("evaluations".to_owned(), Array::I64(ndarray::arr0(evaluations).into_dyn())));
    Ok(arrays)
}

/// What an explanation says of every row, by name: an array `[n, …]` for each target, or one where targets are
/// indifferent.
pub(crate) fn columns(explanation: &Explanation) -> Result<Vec<(String, Vec<Array>)>, Error> {
    explanation.check()?;
    let several_inputs = explanation.explained[0].attribution.values.len() > 1;
    let mut columns: Vec<(String, Vec<Array>)> = Vec::new();
    for (index, (input, _)) in explanation.explained[0].attribution.values.iter().enumerate() {
        let name = if several_inputs { format!("attribution:{input}") } else { "attribution".to_owned() };
        let part = |explained: &Explained| Array::F32(explained.attribution.values[index].1.clone());
        columns.push((name, explanation.explained.iter().map(part).collect()));
    }
    match explanation.prediction.outputs.as_slice() {
        [(_, only)] => columns.push(("prediction".to_owned(), vec![only.clone()])),
        outputs => {
            let scores = Array::F32(explanation.prediction.scores.clone().into_dyn());
            columns.push(("prediction".to_owned(), vec![scores]));
            columns.extend(
                outputs.iter().map(|(name, output)| (format!("prediction:{name}"), vec![output.clone()])),
            );
        }
    }
    let of_classes = explanation.neuron.is_none();
    let signed = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    let targets = |of: &dyn Fn(&Target) -> i64| -> Vec<Array> {
        let indices = |explained: &Explained| explained.targets.iter().map(of).collect::<Array1<i64>>();
        explanation.explained.iter().map(|explained| Array::I64(indices(explained).into_dyn())).collect()
    };
    let vector = |of: &dyn Fn(&Attribution) -> Option<ArrayD<f32>>| {
        let part = |explained: &Explained| of(&explained.attribution).map(Array::F32);
        explanation.explained.iter().map(part).collect::<Option<Vec<_>>>()
    };
    let dynamic = |values: &Option<Array1<f32>>| values.clone().map(Array1::into_dyn);
    // −1 takes nothing away, where other targets do.
    let contrasts = explanation.explained.iter().flat_map(|explained| &explained.targets);
    let minus = |target: &Target| target.minus.as_ref().map_or(-1, |minus| signed(minus.index));
    let with_contrast = contrasts.into_iter().any(|target| target.minus.is_some());
    let optional: [(&str, Option<Vec<Array>>); 7] = [
        ("target", of_classes.then(|| targets(&|target| signed(target.index)))),
        ("target_minus", with_contrast.then(|| targets(&minus))),
        ("score", vector(&|attribution| Some(attribution.score.clone().into_dyn()))),
        ("baseline_score", vector(&|attribution| dynamic(&attribution.baseline_score))),
        ("gap", vector(&|attribution| dynamic(&attribution.gap))),
        ("gap_std_error", vector(&|attribution| dynamic(&attribution.gap_std_error))),
        ("quadrature_error", vector(&|attribution| dynamic(&attribution.quadrature_error))),
    ];
    columns
        .extend(optional.into_iter().filter_map(|(name, parts)| parts.map(|parts| (name.to_owned(), parts))));
    for (index, (input, _)) in explanation.explained[0].attribution.values.iter().enumerate() {
        let name = if several_inputs { format!("std_error:{input}") } else { "std_error".to_owned() };
        let errors = vector(&|attribution| attribution.std_error.as_ref()?.get(index).cloned());
        columns.extend(errors.map(|errors| (name, errors)));
    }
    Ok(columns)
}

/// One array as it is, several behind a new first axis.
fn stacked(mut parts: Vec<Array>) -> Result<Array, Error> {
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    macro_rules! stack {
        ($kind:ident) => {{
            let views: Vec<_> = parts
                .iter()
                .filter_map(|part| if let Array::$kind(array) = part { Some(array.view()) } else { None })
                .collect();
            ndarray::stack(Axis(0), &views).map(Array::$kind)
        }};
    }
    let stacked = if let Some(Array::I64(_)) = parts.first() { stack!(I64) } else { stack!(F32) };
    stacked.map_err(|error| Error::Internal(format!("targets have attributions of several shapes: {error}")))
}

/// Writes files, each under its name only once every one of them is whole; returns their names.
///
/// # Errors
/// A file that cannot be written. None has appeared then, unless the renaming of a finished file failed.
pub fn write_whole(files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<PathBuf>, Error> {
    let mut finished = Vec::new();
    for (path, bytes) in files {
        let mut file = unnamed(path)?;
        file.write_all(bytes).map_err(|source| Error::Write { path: path.clone(), source })?;
        finished.push((path.clone(), file));
    }
    appear(finished)
}

/// A file that will appear under `path`, or not at all.
pub(crate) fn unnamed(path: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".pellucid-").suffix(".part");
    // The ordinary permissions of a new file, from which the system takes the user's mask.
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::Permissions::from_mode(0o666)
    };
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(folder_of(path)).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Gives whole files their names, once the disk has all of them.
pub(crate) fn appear(finished: Vec<(PathBuf, NamedTempFile)>) -> Result<Vec<PathBuf>, Error> {
    for (path, file) in &finished {
        let synced = file.as_file().flush().and_then(|()| File::sync_all(file.as_file()));
        synced.map_err(|source| Error::Write { path: path.clone(), source })?;
    }
    let mut written = Vec::new();
    for (path, file) in finished {
        file.persist(&path).map_err(|error| Error::Write { path: path.clone(), source: error.error })?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
