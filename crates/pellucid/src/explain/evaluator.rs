//! Runs a compiled program over rows, in batches.
//!
//! How rows are split depends on the model, the batch asked for and the declared memory budget, never on what memory
//! happens to be free, so that the same call gives the same bits.

use std::collections::BTreeMap;

use ndarray::{Array1, ArrayD, Axis, IxDyn, concatenate};
use pellucid_compile::{Method, Program, Request, program};
use pellucid_graph::Graph;
use pellucid_runtime::{Session, largest_batch, open};

use super::Limits;
use super::progress::Progress;
use crate::array::Array;
use crate::error::Error;

/// Rows run as one batch where nothing else is asked for: large enough to keep two threads busy, small enough that a
/// large network stays within common memory.
const DEFAULT_BATCH: usize = 8;

/// Named arrays, all of the same number of rows.
pub(crate) type Arrays = Vec<(String, Array)>;

/// A session that takes any number of rows.
pub(crate) struct Runner<'p> {
    session: Box<dyn Session>,
    batch: usize,
    fixed: Option<usize>,
    progress: &'p dyn Progress,
    /// Rows evaluated so far.
    pub(crate) evaluations: u64,
    /// Rows that will be evaluated, as far as it is known.
    pub(crate) expected: u64,
}

impl<'p> Runner<'p> {
    /// Opens a session for `graph`, whose inputs' sizes are known but for the rows. The memory of a batch is that of
    /// computing `outputs`.
    pub(crate) fn new(
        graph: &Graph,
        outputs: &[&str],
        limits: &Limits,
        progress: &'p dyn Progress,
    ) -> Result<Self, Error> {
        let session = open(graph, &limits.engine_options())?;
        let fixed = fixed_rows(graph)?;
        let wanted = limits.batch.unwrap_or(DEFAULT_BATCH).max(1);
        let batch = match (fixed, graph.symbols().first()) {
            (Some(fixed), _) => fixed,
            (None, Some(symbol)) => largest_batch(&*session, symbol, &BTreeMap::new(), outputs, wanted)?,
            (None, None) => wanted,
        };
        Ok(Self { session, batch, fixed, progress, evaluations: 0, expected: 0 })
    }

    /// Rows in one batch.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Some of the graph's values for `count` rows of `inputs`.
    pub(crate) fn run(
        &mut self,
        inputs: &Arrays,
        count: usize,
        wanted: &[&str],
    ) -> Result<Vec<Array>, Error> {
        let mut parts: Vec<Vec<Array>> = Vec::new();
        let mut start = 0;
        while start < count {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let end = count.min(start + self.batch);
            parts.push(self.run_batch(inputs, count, start..end, wanted)?);
            self.evaluations += (end - start) as u64;
            self.progress.report(self.evaluations, self.expected.max(self.evaluations));
            start = end;
        }
        (0..wanted.len())
            .map(|position| join(&parts.iter().map(|part| &part[position]).collect::<Vec<_>>()))
            .collect()
    }

    fn run_batch(
        &self,
        inputs: &Arrays,
        all: usize,
        range: std::ops::Range<usize>,
        wanted: &[&str],
    ) -> Result<Vec<Array>, Error> {
        let count = range.len();
        let padding = self.fixed.map_or(0, |fixed| fixed.saturating_sub(count));
        let mut cut = Vec::new();
        for (name, array) in inputs {
            let part = if range == (0..all) { array.clone() } else { array.rows(range.clone()) };
            cut.push((name.as_str(), if padding == 0 { part } else { padded(&part, padding)? }));
        }
        let borrowed: Vec<(&str, &Array)> = cut.iter().map(|(name, array)| (*name, array)).collect();
        let results = self.session.run(&borrowed, wanted)?;
        let shorten = |result: Array| {
            let whole = padding > 0 && result.shape().first() == Some(&(count + padding));
            if whole { result.rows(0..count) } else { result }
        };
        Ok(results.into_iter().map(shorten).collect())
    }
}

/// A file of fixed batch runs whole batches: the last row stands in for those that are missing.
fn padded(part: &Array, padding: usize) -> Result<Array, Error> {
    let count = part.shape().first().copied().unwrap_or_default();
    let last = part.rows(count.saturating_sub(1)..count);
    let mut pieces = vec![part];
    pieces.extend(std::iter::repeat_n(&last, padding));
    join(&pieces)
}

/// A compiled method, ready to run.
pub(crate) struct Evaluator<'p> {
    pub(crate) program: Program,
    pub(crate) runner: Runner<'p>,
}

/// What one pass gives: the score of each row and, for each input (or the layer), signals or finished attributions.
pub(crate) struct Passed {
    pub(crate) scores: Array1<f32>,
    pub(crate) values: Vec<ArrayD<f32>>,
}

impl<'p> Evaluator<'p> {
    /// Compiles `method` for `graph`, whose sizes are known but for the rows, and opens a session.
    pub(crate) fn new(
        graph: &Graph,
        method: &Method,
        request: &Request,
        limits: &Limits,
        progress: &'p dyn Progress,
    ) -> Result<Self, Error> {
        let program = program(graph, method, request)?;
        let outputs: Vec<&str> = program.attributions.iter().map(|(_, output)| output.as_str()).collect();
        let runner = Runner::new(&program.graph, &outputs, limits, progress)?;
        Ok(Self { program, runner })
    }

    /// Rows in one batch.
    pub(crate) fn batch(&self) -> usize {
        self.runner.batch()
    }

    /// Announces `rows` more evaluations.
    pub(crate) fn expect(&mut self, rows: usize) {
        self.runner.expected += rows as u64;
    }

    /// Some of the program's values for `rows`, of which `targets` says the class of each.
    pub(crate) fn run(
        &mut self,
        rows: &Arrays,
        targets: &[i64],
        wanted: &[&str],
    ) -> Result<Vec<Array>, Error> {
        let mut inputs = rows.clone();
        if let Some(target) = &self.program.target {
            let classes = ArrayD::from_shape_vec(IxDyn(&[targets.len()]), targets.to_vec())
                .map_err(|error| Error::Internal(error.to_string()))?;
            inputs.push((target.clone(), Array::I64(classes)));
        }
        self.runner.run(&inputs, targets.len(), wanted)
    }

    /// Scores and signals (or finished attributions) of `rows`.
    pub(crate) fn pass(&mut self, rows: &Arrays, targets: &[i64]) -> Result<Passed, Error> {
        let names: Vec<String> = std::iter::once(&self.program.score)
            .chain(self.program.attributions.iter().map(|(_, output)| output))
            .cloned()
            .collect();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut results = self.run(rows, targets, &wanted)?.into_iter();
        let scores = results.next().map(|array| array.to_f32()).unwrap_or_default();
        Ok(Passed {
            scores: scores.into_iter().collect(),
            values: results.map(|array| array.to_f32()).collect(),
        })
    }
}

/// The number of rows the file insists on; an error where its inputs insist on different ones.
fn fixed_rows(graph: &Graph) -> Result<Option<usize>, Error> {
    let mut fixed = None;
    for id in graph.inputs() {
        let value = graph.value(*id);
        let rows = value.shape.as_ref().and_then(|shape| shape.first()).and_then(pellucid_graph::Dim::size);
        match (fixed, rows) {
            (Some(before), Some(now)) if before != now => {
                return Err(Error::Model {
                    place: value.name.clone(),
                    problem: format!(
                        "it takes {now} rows where another input takes {before}; every input needs the same rows"
                    ),
                });
            }
            (None, Some(_)) => fixed = rows,
            _ => {}
        }
    }
    Ok(fixed)
}

/// Arrays of one element type, one after the other along the first axis.
pub(crate) fn join(parts: &[&Array]) -> Result<Array, Error> {
    macro_rules! join {
        ($variant:ident) => {{
            let views: Vec<_> = parts
                .iter()
                .filter_map(|part| match part {
                    Array::$variant(array) => Some(array.view()),
                    _ => None,
                })
                .collect();
            concatenate(Axis(0), &views)
                .map(Array::$variant)
                .map_err(|error| Error::Internal(error.to_string()))
        }};
    }
    match parts.first() {
        Some(Array::F32(_)) => join!(F32),
        Some(Array::F64(_)) => join!(F64),
        Some(Array::I64(_)) => join!(I64),
        Some(Array::Bool(_)) => join!(Bool),
        None => Err(Error::Internal("there is nothing to join".to_owned())),
    }
}
