//! How good a model is on rows whose right answers are known: measures with intervals, what is mistaken for what, whether
//! probabilities can be believed, the worst mistakes, and two models side by side.
//!
//! Rows pass once, some at a time; what is kept of them are sums, so memory does not grow with their number. Measures
//! follow scikit-learn's conventions. Where rows come from is the caller's ([`Answered`]).

mod bootstrap;
mod calibration;
mod classes;
mod mistakes;
mod multi_label;
mod paired;
mod run;
mod scheme;
mod values;

use ndarray::Array2;
use serde::Serialize;

use crate::attribution::Explanation;
use crate::error::Error;
use crate::explain::{Limits, Options};
use crate::input::{Inputs, Shapes};
use crate::model::Model;

pub use calibration::{Bin, Calibration};
pub use mistakes::{Mistake, Said};
pub use paired::{Difference, McNemar, Paired};
pub use run::evaluate;

/// Right answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answers {
    /// A class a row, by its place among the model's outputs.
    Classes(Vec<usize>),
    /// Some numbers a row, `[n, outputs]`: values, or 0 and 1 for each label.
    Numbers(Array2<f32>),
}

impl Answers {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Numbers(numbers) => numbers.nrows(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Some rows at a time, in order.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Inputs, Error>> + 'a>;

/// Rows whose right answers are known, as a model takes them.
pub trait Answered {
    /// What people know the rows by.
    fn name(&self) -> String;

    /// Names of the classes or labels, where the rows come with some.
    fn labels(&self) -> Option<&[String]> {
        None
    }

    /// Sizes of every input; the first, the number of rows, does not matter.
    fn shapes(&self) -> Shapes;

    /// The right answers.
    fn answers(&self) -> &Answers;

    /// All rows in order, `rows` at a time.
    fn batches(&self, rows: usize) -> Batches<'_>;

    /// Some rows by their places, with pictures where they are such.
    ///
    /// # Errors
    /// Files that cannot be read.
    fn rows(&self, places: &[usize]) -> Result<Inputs, Error>;
}

/// What is asked of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Which one of several classes it is.
    Classification,
    /// Which labels it has, any number of them.
    MultiLabel,
    /// Numbers.
    Regression,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Classification, Self::MultiLabel, Self::Regression];

    /// Name, as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
        }
    }
}

/// A model and the rows it is measured on.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model.
    pub model: &'a Model,
    /// The rows, prepared for this model.
    pub data: &'a dyn Answered,
}

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct EvaluateOptions {
    /// What is asked of a row; by the answers where it is `None`.
    pub task: Option<Task>,
    /// The output that is measured; the first where it is `None`.
    pub score: Option<String>,
    /// A row also counts as right in the top-k accuracy where its class is among so many best.
    pub top: usize,
    /// Bins of the reliability diagram.
    pub bins: usize,
    /// Replicates of the bootstrap; 0 for no intervals.
    pub replicates: usize,
    /// Probability with which an interval holds what it is of.
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Mistakes that are kept.
    pub mistakes: usize,
    /// How the worst mistakes of the first model are explained; targets are chosen by the mistakes.
    pub explain: Option<Options>,
    /// Engine, threads, memory.
    pub limits: Limits,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self {
            task: None,
            score: None,
            top: 5,
            bins: 15,
            replicates: 1000,
            level: 0.95,
            seed: 0,
            mistakes: 12,
            explain: None,
            limits: Limits::default(),
        }
    }
}

/// How good models are on the same rows.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// What the rows are known by.
    pub data: String,
    /// Number of rows.
    pub rows: usize,
    /// What was asked of a row.
    pub task: Task,
    /// Names of classes, labels or outputs.
    pub names: Vec<String>,
    /// Replicates of the bootstrap.
    pub replicates: usize,
    /// Probability with which an interval holds what it is of.
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// What was measured of each model.
    pub reports: Vec<Report>,
    /// The first model less the second, where there are two.
    pub paired: Option<Paired>,
    /// The worst mistakes of the first model, worst first.
    pub mistakes: Vec<Mistake>,
    /// The rows of the mistakes.
    #[serde(skip)]
    pub mistaken: Option<Inputs>,
    /// Their explanation, where one was asked for.
    #[serde(skip)]
    pub explanation: Option<Explanation>,
    /// The method of that.
    pub explained_by: Option<String>,
    /// What should be known to read it right.
    pub notes: Vec<String>,
    /// The command line that was given, where there was one.
    pub command: String,
    /// Engine that computed.
    pub engine: String,
    /// Version of Pellucid.
    pub version: String,
}

/// What was measured of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub model: String,
    /// What its numbers are.
    pub unit: String,
    /// Measures of the whole.
    pub measures: Vec<Measure>,
    /// Measures by class, label or output.
    pub parts: Vec<PartReport>,
    /// Of a classification: what is taken for what.
    pub confusion: Option<Confusion>,
    /// Where there are probabilities.
    pub calibration: Option<Calibration>,
    /// Of values: where predictions lie, by output.
    pub densities: Vec<Density>,
}

/// A number, and how sure it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// What it is.
    pub name: String,
    /// Itself; `None` where it is not defined.
    pub value: Option<f64>,
    /// The interval that holds what it is of.
    pub interval: Option<[f64; 2]>,
    /// Whether it is a share, from 0 to 1.
    pub is_share: bool,
    /// Whether more is better.
    pub more_is_better: bool,
}

/// Measures of a class, label or output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartReport {
    /// Its name.
    pub name: String,
    /// Rows of it.
    pub rows: u64,
    /// Rows that were taken for it.
    pub predicted: Option<u64>,
    /// Its measures.
    pub measures: Vec<Measure>,
}

/// A confusion matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Number of classes.
    pub classes: usize,
    /// Right class, predicted class and rows, where there are any; by class.
    pub counts: Vec<(usize, usize, u64)>,
}

impl Confusion {
    /// Pairs of classes that were mistaken, most rows first.
    pub fn mistaken(&self) -> Vec<(usize, usize, u64)> {
        let mut pairs: Vec<(usize, usize, u64)> =
            self.counts.iter().copied().filter(|(truth, predicted, _)| truth != predicted).collect();
        pairs.sort_by_key(|(truth, predicted, rows)| (std::cmp::Reverse(*rows), *truth, *predicted));
        pairs
    }

    /// Rows of each class.
    pub fn truths(&self) -> Vec<u64> {
        let mut rows = vec![0; self.classes];
        for (truth, _, count) in &self.counts {
            rows[*truth] += count;
        }
        rows
    }
}

/// How many rows have which truth and which prediction: a grid of equal steps from the least to the largest truth; what is
/// predicted outside counts at the edge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Density {
    /// Steps along each side.
    pub steps: usize,
    /// Least truth.
    pub low: f64,
    /// Largest truth.
    pub high: f64,
    /// Rows of each place, truth by truth.
    pub counts: Vec<u64>,
}

/// A measure of this name; NaN is one that is not defined.
fn measured(
    (name, is_share, more_is_better): (String, bool, bool),
    value: f64,
    interval: Option<[f64; 2]>,
) -> Measure {
    Measure {
        name,
        value: Some(value).filter(|value| !value.is_nan()),
        interval: interval.filter(|_| !value.is_nan()),
        is_share,
        more_is_better,
    }
}
