//! Runs a compiled program over rows, in batches.
//!
//! How rows are split depends on the model, the batch asked for and the declared memory budget, never on what memory
//! happens to be free, so that the same call gives the same bits.

use std::collections::BTreeMap;

use ndarray::{Array1, ArrayD, Axis, IxDyn, concatenate};
use pellucid_compile::{Method, Program, Request, program};
use pellucid_graph::Graph;
use pellucid_runtime::{Options as EngineOptions, Session, largest_batch, open};

use super::Limits;
use super::progress::Progress;
use crate::array::Array;
use crate::error::Error;

/// Activation memory that a batch takes where nothing else is asked for. Larger batches of a large network are slower:
/// their activations leave the processor's caches; smaller ones of a small network too: a run has its fixed cost.
const BATCH_BYTES: u64 = 32 << 20;

/// Most rows in a batch where nothing else is asked for.
const MOST_ROWS: usize = 64;

/// Named arrays, all of the same number of rows.
pub(crate) type Arrays = Vec<(String, Array)>;

/// A session that takes any number of rows.
pub(crate) struct Runner<'p> {
    /// Computes one batch at a time with every thread.
    session: Box<dyn Session>,
    /// Compute a batch each at the same time, with one thread each: operators do not all use every thread. Empty where
    /// one batch runs at a time.
    side_by_side: Vec<Box<dyn Session>>,
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
    /// computing `outputs`. With a memory limit one batch runs at a time.
    pub(crate) fn new(
        graph: &Graph,
        outputs: &[&str],
        limits: &Limits,
        progress: &'p dyn Progress,
    ) -> Result<Self, Error> {
        let session = open(graph, &limits.engine_options())?;
        let fixed = fixed_rows(graph)?;
        let batch = match (fixed, graph.symbols().first()) {
            (Some(fixed), _) => fixed,
            (None, Some(symbol)) => {
                let wanted = match limits.batch {
                    Some(batch) => batch.max(1),
                    None => likely_batch(&*session, symbol, outputs)?,
                };
                largest_batch(&*session, symbol, &BTreeMap::new(), outputs, wanted)?
            }
            (None, None) => limits.batch.unwrap_or(1).max(1),
        };
        let threads =
            limits.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let alone = EngineOptions { threads: Some(1), ..limits.engine_options() };
        let mut side_by_side = Vec::new();
        if threads > 1 && limits.memory.is_none() {
            for _ in 0..threads {
                side_by_side.push(open(graph, &alone)?);
            }
        }
        Ok(Self { session, side_by_side, batch, fixed, progress, evaluations: 0, expected: 0 })
    }

    /// Rows that are worth preparing at once: a batch for each thread.
    pub(crate) fn wave(&self) -> usize {
        self.batch * self.side_by_side.len().max(1)
    }

    /// Some of the graph's values for `count` rows of `inputs`. How rows are split into batches does not depend on
    /// the number of threads.
    pub(crate) fn run(
        &mut self,
        inputs: &[(String, Array)],
        count: usize,
        wanted: &[&str],
    ) -> Result<Vec<Array>, Error> {
        let batches: Vec<std::ops::Range<usize>> =
            (0..count).step_by(self.batch).map(|start| start..count.min(start + self.batch)).collect();
        let mut parts: Vec<Vec<Array>> = Vec::new();
        for wave in batches.chunks(self.wave() / self.batch) {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if wave.len() > 1 && !self.side_by_side.is_empty() {
                parts.extend(self.run_wave(inputs, count, wave, wanted)?);
            } else {
                for range in wave {
                    parts.push(run_batch(&*self.session, self.fixed, inputs, count, range.clone(), wanted)?);
                }
            }
            self.evaluations += wave.iter().map(|range| range.len() as u64).sum::<u64>();
            self.progress.report(self.evaluations, self.expected.max(self.evaluations));
        }
        (0..wanted.len())
            .map(|position| join(&parts.iter().map(|part| &part[position]).collect::<Vec<_>>()))
            .collect()
    }

    /// Batches at the same time, a thread each.
    fn run_wave(
        &self,
        inputs: &[(String, Array)],
        count: usize,
        wave: &[std::ops::Range<usize>],
        wanted: &[&str],
    ) -> Result<Vec<Vec<Array>>, Error> {
        let fixed = self.fixed;
        std::thread::scope(|scope| {
            let running: Vec<_> = wave
                .iter()
                .zip(&self.side_by_side)
                .map(|(range, session)| {
                    scope.spawn(move || run_batch(&**session, fixed, inputs, count, range.clone(), wanted))
                })
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|_| Err(Error::Internal("a thread failed".to_owned())))
                })
                .collect()
        })
    }
}

/// Some of a session's values for one batch.
fn run_batch(
    session: &dyn Session,
    fixed: Option<usize>,
    inputs: &[(String, Array)],
    all: usize,
    range: std::ops::Range<usize>,
    wanted: &[&str],
) -> Result<Vec<Array>, Error> {
    let count = range.len();
    let padding = fixed.map_or(0, |fixed| fixed.saturating_sub(count));
    let mut cut = Vec::new();
    for (name, array) in inputs {
        let part = if range == (0..all) { array.clone() } else { array.rows(range.clone()) };
        cut.push((name.as_str(), if padding == 0 { part } else { padded(&part, padding)? }));
    }
    let borrowed: Vec<(&str, &Array)> = cut.iter().map(|(name, array)| (*name, array)).collect();
    let results = session.run(&borrowed, wanted)?;
    let shorten = |result: Array| {
        let whole = padding > 0 && result.shape().first() == Some(&(count + padding));
        if whole { result.rows(0..count) } else { result }
    };
    Ok(results.into_iter().map(shorten).collect())
}

/// Rows whose activations take about [`BATCH_BYTES`]. It depends on the graph alone.
fn likely_batch(session: &dyn Session, symbol: &str, outputs: &[&str]) -> Result<usize, Error> {
    let bytes = |rows: i64| session.peak_bytes(&BTreeMap::from([(symbol.to_owned(), rows)]), outputs);
    let by_row = bytes(2)?.saturating_sub(bytes(1)?).max(1);
    Ok(usize::try_from(BATCH_BYTES / by_row).unwrap_or(MOST_ROWS).clamp(1, MOST_ROWS))
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

    /// Rows that are worth preparing at once.
    pub(crate) fn wave(&self) -> usize {
        self.runner.wave()
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
