//! Outputs by their ending, written whole or not at all.
//!
//! Every name is checked before any work is done; everything is rendered before anything is written; every file
//! appears under its name only once it is whole.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ndarray::{Array1, ArrayD, Axis};

use crate::array::Array;
use crate::attribution::{Attribution, Explanation, Prediction};
use crate::error::Error;
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
    /// Forms of a prediction.
    pub const OF_PREDICTIONS: &[Self] = &[Self::Npz, Self::Npy, Self::Json];

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

    /// Whether a file holds one row only.
    fn is_of_one_row(self) -> bool {
        matches!(self, Self::Png | Self::Svg)
    }
}

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
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
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
            let several = explanation.explained[0].attribution.values.len();
            if several > 1 {
                return Err(Error::Setting {
                    name: "output".to_owned(),
                    problem: format!(
                        "an .npy file holds one array, and there are {several} inputs; choose .npz"
                    ),
                });
            }
            Ok(npy::encode(&arrays(explanation)?.swap_remove(0).1))
        }
    }
}

/// JSON that people can read: objects over several lines, lists of numbers on one.
fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = String::new();
    indent(value, 0, &mut text);
    text.push('\n');
    text.into_bytes()
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
    explanation.check()?;
    let several_inputs = explanation.explained[0].attribution.values.len() > 1;
    let mut arrays = Vec::new();
    for (index, (input, _)) in explanation.explained[0].attribution.values.iter().enumerate() {
        let name = if several_inputs { format!("attribution:{input}") } else { "attribution".to_owned() };
        let parts =
            explanation.explained.iter().map(|explained| explained.attribution.values[index].1.clone());
        arrays.push((name, Array::F32(stacked(parts.collect())?)));
    }
    match explanation.prediction.outputs.as_slice() {
        [(_, only)] => arrays.push(("prediction".to_owned(), only.clone())),
        outputs => {
            arrays.push((
                "prediction".to_owned(),
                Array::F32(explanation.prediction.scores.clone().into_dyn()),
            ));
            arrays
                .extend(outputs.iter().map(|(name, output)| (format!("prediction:{name}"), output.clone())));
        }
    }
    let targets = |of: &dyn Fn(&crate::attribution::Target) -> Option<usize>| {
        explanation
            .explained
            .iter()
            .map(|explained| {
                let indices: Option<Array1<i64>> = explained
                    .targets
                    .iter()
                    .map(|target| of(target).map(|index| i64::try_from(index).unwrap_or(i64::MAX)))
                    .collect();
                indices.map(Array1::into_dyn)
            })
            .collect::<Option<Vec<_>>>()
    };
    if let Some(indices) = targets(&|target| Some(target.index)) {
        arrays.push(("target".to_owned(), Array::I64(stacked(indices)?)));
    }
    if let Some(indices) = targets(&|target| target.minus.as_ref().map(|minus| minus.index)) {
        arrays.push(("target_minus".to_owned(), Array::I64(stacked(indices)?)));
    }
    let vector = |of: &dyn Fn(&Attribution) -> Option<ArrayD<f32>>| {
        explanation.explained.iter().map(|explained| of(&explained.attribution)).collect::<Option<Vec<_>>>()
    };
    let dynamic = |values: &Option<Array1<f32>>| values.clone().map(Array1::into_dyn);
    let optional: [(&str, Option<Vec<ArrayD<f32>>>); 5] = [
        ("score", vector(&|attribution| Some(attribution.score.clone().into_dyn()))),
        ("baseline_score", vector(&|attribution| dynamic(&attribution.baseline_score))),
        ("gap", vector(&|attribution| dynamic(&attribution.gap))),
        ("quadrature_error", vector(&|attribution| dynamic(&attribution.quadrature_error))),
        ("std_error", vector(&|attribution| attribution.std_error.clone())),
    ];
    for (name, parts) in optional {
        if let Some(parts) = parts {
            arrays.push((name.to_owned(), Array::F32(stacked(parts)?)));
        }
    }
    let evaluations: i64 = explanation
        .explained
        .iter()
        .map(|explained| i64::try_from(explained.attribution.evaluations).unwrap_or(i64::MAX))
        .fold(0, i64::saturating_add);
    arrays.push(("evaluations".to_owned(), Array::I64(ndarray::arr0(evaluations).into_dyn())));
    Ok(arrays)
}

/// One array as it is, several behind a new first axis.
fn stacked<T: Clone>(mut parts: Vec<ArrayD<T>>) -> Result<ArrayD<T>, Error> {
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    ndarray::stack(Axis(0), &views)
        .map_err(|error| Error::Internal(format!("targets have attributions of several shapes: {error}")))
}

/// Writes files, each under its name only once every one of them is whole; returns their names.
///
/// # Errors
/// A file that cannot be written. None has appeared then, unless the renaming of a finished file failed.
pub fn write_whole(files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<PathBuf>, Error> {
    let mut finished = Vec::new();
    for (path, bytes) in files {
        let failed = |source| Error::Write { path: path.clone(), source };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
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
        let mut file = builder.tempfile_in(folder).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.flush()).map_err(failed)?;
        File::sync_all(file.as_file()).map_err(failed)?;
        finished.push((path, file));
    }
    let mut written = Vec::new();
    for (path, file) in finished {
        file.persist(path).map_err(|error| Error::Write { path: path.clone(), source: error.error })?;
        written.push(path.clone());
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
