//! Any number of rows in constant memory: read some at a time, explained or predicted, written row by row.
//!
//! The bits are those of all rows at once: a piece is a whole number of batches, and noise, baselines and classes that
//! are given by row are those of the row's place among all. What is held is one piece of inputs and results, and what
//! the engine needs for its batches; it does not depend on how many rows there are.

mod sink;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use source::RowFiles;

use crate::array::Array;
use crate::attribution::{Attribution, Explained, Explanation, Prediction};
use crate::error::Error;
use crate::explain::{Explainer, Limits, Options, Place, Predictor, Progress};
use crate::model::Model;
use crate::render::words;
use crate::write::{Format, Outputs, columns, require_one_array};
pub(crate) use sink::Sink;

/// Rows whose explanation or prediction is kept to be shown.
const SHOWN: usize = 3;

/// What remains in memory of explaining rows that were written to files.
#[derive(Debug, Clone)]
pub struct Streamed {
    /// The first rows' explanation, to be shown; its evaluations and notes are those of all rows.
    pub first: Explanation,
    /// Number of rows.
    pub rows: usize,
    /// How many explanations of a row and target deserve which trust, by [`Trust::name`](words::Trust::name).
    pub trust: BTreeMap<&'static str, usize>,
    /// The files that were written.
    pub written: Vec<PathBuf>,
}

/// What remains in memory of predicting rows that were written to files.
#[derive(Debug, Clone)]
pub struct StreamedPrediction {
    /// The first rows' prediction, to be shown.
    pub first: Prediction,
    /// The first rows' names.
    pub names: Vec<String>,
    /// Number of rows.
    pub rows: usize,
    /// The files that were written.
    pub written: Vec<PathBuf>,
}

/// Passes on whether to stop; what is told is told by rows.
pub(crate) struct ByRows<'a>(pub(crate) &'a dyn Progress);

impl Progress for ByRows<'_> {
    fn report(&self, _done: u64, _total: u64) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Explains every row of `files` and writes the outputs, which are `.npz` and `.npy` files, whole or not at all.
///
/// Every value is first read once and checked, so that a row that cannot be used is known before hours of work.
///
/// # Errors
/// As [`explain`](crate::explain()); values that are not finite; outputs that cannot be written. Nothing was written
/// then, unless the renaming of a finished file failed.
pub fn explain_files(
    model: &Model,
    files: &RowFiles,
    options: &Options,
    outputs: &Outputs,
    progress: &dyn Progress,
) -> Result<Streamed, Error> {
    files.check(|| !progress.is_cancelled())?;
    let quiet = ByRows(progress);
    let mut explainer = Explainer::new(model, &files.shapes(), options, &quiet)?;
    let all = files.len();
    let mut sink = Sink::new(outputs);
    let mut first: Option<Explanation> = None;
    let mut evaluations: Vec<u64> = Vec::new();
    let mut trust = BTreeMap::new();
    for start in (0..all).step_by(explainer.wave().max(1)) {
        let end = all.min(start + explainer.wave().max(1));
        let part = explainer.part(files.read(start..end)?, Place { first: start, all })?;
        if start == 0 && outputs.by_rows().any(|(_, format)| format == Format::Npy) {
            require_one_array(&part)?;
        }
        evaluations.resize(part.explained.len(), 0);
        for (sum, explained) in evaluations.iter_mut().zip(&part.explained) {
            *sum += explained.attribution.evaluations;
            for row in 0..part.rows() {
                *trust.entry(words::verdict(explained, row).trust.name()).or_default() += 1;
            }
        }
        sink.add(part.rows(), columns(&part)?)?;
        if first.is_none() {
            first = Some(shortened(&part, SHOWN));
        }
        progress.rows(count(end), count(all));
    }
    let mut first = first.ok_or_else(|| Error::Internal("there is no row".to_owned()))?;
    let total = i64::try_from(evaluations.iter().sum::<u64>()).unwrap_or(i64::MAX);
    let totals = [("evaluations".to_owned(), Array::I64(ndarray::arr0(total).into_dyn()))];
    let written = Sink::finish(vec![sink], &totals, &|| !progress.is_cancelled())?;
    for (explained, sum) in first.explained.iter_mut().zip(evaluations) {
        explained.attribution.evaluations = sum;
    }
    first.notes = explainer.notes(all);
    Ok(Streamed { first, rows: all, trust, written })
}

/// Predicts every row of `files` and writes the outputs, which are `.npz` and `.npy` files, whole or not at all.
///
/// # Errors
/// As [`explain_files`].
pub fn predict_files(
    model: &Model,
    files: &RowFiles,
    score: Option<&str>,
    limits: &Limits,
    outputs: &Outputs,
    progress: &dyn Progress,
) -> Result<StreamedPrediction, Error> {
    files.check(|| !progress.is_cancelled())?;
    let quiet = ByRows(progress);
    let mut predictor = Predictor::new(model, &files.shapes(), score, limits, &quiet)?;
    let all = files.len();
    // An `.npy` file holds the scores alone, an `.npz` file every output.
    let (tables, alone): (Vec<_>, Vec<_>) = outputs.by_rows().partition(|(_, format)| *format == Format::Npz);
    let (mut tables, mut alone) = (Sink::of(&tables), Sink::of(&alone));
    let mut first = None;
    for start in (0..all).step_by(predictor.wave().max(1)) {
        let end = all.min(start + predictor.wave().max(1));
        let inputs = files.read(start..end)?;
        let prediction = predictor.predict(&inputs)?;
        let rows = inputs.len();
        let outputs = prediction.outputs.iter().map(|(name, array)| (name.clone(), vec![array.clone()]));
        tables.add(rows, outputs.collect())?;
        let scores = Array::F32(prediction.scores.clone().into_dyn());
        alone.add(rows, vec![("prediction".to_owned(), vec![scores])])?;
        if first.is_none() {
            let names = inputs.rows().iter().take(SHOWN).map(|row| row.name.clone()).collect::<Vec<_>>();
            first = Some((shortened_prediction(&prediction, SHOWN.min(rows)), names));
        }
        progress.rows(count(end), count(all));
    }
    let (first, names) = first.ok_or_else(|| Error::Internal("there is no row".to_owned()))?;
    let written = Sink::finish(vec![tables, alone], &[], &|| !progress.is_cancelled())?;
    Ok(StreamedPrediction { first, names, rows: all, written })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The explanation of its first `most` rows.
fn shortened(whole: &Explanation, most: usize) -> Explanation {
    let rows = most.min(whole.rows());
    let vector = |values: &Option<ndarray::Array1<f32>>| {
        values.as_ref().map(|values| values.slice(ndarray::s![..rows]).to_owned())
    };
    let cut = |values: &ndarray::ArrayD<f32>| {
        values.slice_axis(ndarray::Axis(0), ndarray::Slice::from(..rows)).to_owned()
    };
    let explained = whole
        .explained
        .iter()
        .map(|explained| {
            let attribution = &explained.attribution;
            Explained {
                targets: explained.targets[..rows].to_vec(),
                attribution: Attribution {
                    values: attribution
                        .values
                        .iter()
                        .map(|(name, values)| (name.clone(), cut(values)))
                        .collect(),
                    score: attribution.score.slice(ndarray::s![..rows]).to_owned(),
                    unit: attribution.unit,
                    baseline_score: vector(&attribution.baseline_score),
                    gap: vector(&attribution.gap),
                    relevance: attribution.relevance,
                    gap_std_error: vector(&attribution.gap_std_error),
                    quadrature_error: vector(&attribution.quadrature_error),
                    std_error: attribution.std_error.as_ref().map(|errors| errors.iter().map(cut).collect()),
                    repeated: attribution.repeated.clone(),
                    evaluations: attribution.evaluations,
                },
            }
        })
        .collect();
    Explanation {
        inputs: Arc::new(whole.inputs.slice(0..rows)),
        prediction: shortened_prediction(&whole.prediction, rows),
        explained,
        ..whole.clone()
    }
}

/// The prediction of its first `rows` rows.
fn shortened_prediction(whole: &Prediction, rows: usize) -> Prediction {
    let outputs = whole
        .outputs
        .iter()
        .filter(|(_, array)| array.shape().first().is_some_and(|found| *found >= rows))
        .map(|(name, array)| (name.clone(), array.rows(0..rows)))
        .collect();
    Prediction {
        outputs,
        scores: whole.scores.slice(ndarray::s![..rows, ..]).to_owned(),
        unit: whole.unit,
        labels: whole.labels.clone(),
    }
}
