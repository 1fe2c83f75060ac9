//! Runs a graph over any number of rows, in batches.
//!
//! How rows are split depends on the model, the batch asked for and the declared memory budget, never on what memory
//! happens to be free, so that the same call gives the same bits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use pellucid_graph::Graph;
use pellucid_runtime::{Options as EngineOptions, RuntimeError, Session, largest_batch, open};

use super::Limits;
use super::evaluator::{Arrays, join};
use super::progress::Progress;
use crate::array::Array;
use crate::error::Error;

/// Activation memory that a batch takes where nothing else is asked for. Larger batches of a large network are slower:
/// their activations leave the processor's caches; smaller ones of a small network too: a run has its fixed cost.
const BATCH_BYTES: u64 = 32 << 20;

/// Most rows in a batch where nothing else is asked for.
const MOST_ROWS: usize = 64;

/// Batches a thread that are prepared at once.
const AHEAD: usize = 4;

/// A session that takes any number of rows.
pub(crate) struct Runner<'p> {
    /// Computes one batch at a time with every thread.
    session: Box<dyn Session>,
    /// Compute a batch each at the same time, with one thread each: operators do not all use every thread. Opened once
    /// there are so many batches.
    side_by_side: Vec<Box<dyn Session>>,
    /// How many of them there may be; 1 where one batch runs at a time.
    threads: usize,
    graph: Graph,
    alone: EngineOptions,
    batch: usize,
    fixed: Option<usize>,
    progress: &'p dyn Progress,
    /// Rows evaluated forward so far.
    pub(crate) evaluations: u64,
    /// Rows passed back so far from a forward pass that targets shared.
    pub(crate) backwards: u64,
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
        Ok(Self {
            session,
            side_by_side: Vec::new(),
            threads: if limits.memory.is_none() { threads.max(1) } else { 1 },
            graph: graph.clone(),
            alone,
            batch,
            fixed,
            progress,
            evaluations: 0,
            backwards: 0,
            expected: 0,
        })
    }

    /// Rows that are worth preparing at once: some batches for each thread, so that none waits for another after each.
    pub(crate) fn wave(&self) -> usize {
        match self.threads {
            1 => self.batch,
            threads => self.batch * threads * AHEAD,
        }
    }

    /// Some of the graph's values for `count` rows of `inputs`. How rows are split into batches does not depend on
    /// the number of threads.
    pub(crate) fn run(
        &mut self,
        inputs: &[(String, Array)],
        count: usize,
        wanted: &[&str],
    ) -> Result<Vec<Array>, Error> {
        let fixed = self.fixed;
        let parts =
            self.batches(count, &|session, range| run_batch(session, fixed, inputs, count, range, wanted))?;
        joined(&parts, wanted.len())
    }

    /// As [`Runner::run`], each batch by itself: for values that have no row for each of the batch, such as sums over it.
    pub(crate) fn run_batches(
        &mut self,
        inputs: &[(String, Array)],
        count: usize,
        wanted: &[&str],
    ) -> Result<Vec<Vec<Array>>, Error> {
        let fixed = self.fixed;
        self.batches(count, &|session, range| run_batch(session, fixed, inputs, count, range, wanted))
    }

    /// As [`Runner::run`], for each of some `targets`: inputs that only the values after `boundary` depend on. The
    /// values before it are computed once, those after it once a target.
    pub(crate) fn run_targets(
        &mut self,
        inputs: &[(String, Array)],
        count: usize,
        targets: &[Arrays],
        boundary: &[String],
        wanted: &[&str],
    ) -> Result<Vec<Vec<Array>>, Error> {
        let fixed = self.fixed;
        let before: Vec<&str> = boundary.iter().map(String::as_str).collect();
        let parts = self.batches(count, &|session, range| {
            let rows = cut(fixed, inputs, count, &range)?;
            let shared = session.run(&borrowed(&rows), &before)?;
            let mut results = Vec::new();
            for target in targets {
                let target = cut(fixed, target, count, &range)?;
                let mut fed = borrowed(&rows);
                fed.extend(before.iter().copied().zip(&shared));
                fed.extend(borrowed(&target));
                let found = session.run(&fed, wanted)?;
                results.extend(found.into_iter().map(|result| shortened(result, fixed, range.len())));
            }
            Ok(results)
        })?;
        self.backwards += (count * targets.len()) as u64;
        let all = joined(&parts, wanted.len() * targets.len())?;
        Ok(all.chunks(wanted.len().max(1)).map(<[Array]>::to_vec).collect())
    }

    /// `work` on every batch of `count` rows, of which each counts as one evaluation of the model.
    fn batches(&mut self, count: usize, work: &Work<'_>) -> Result<Vec<Vec<Array>>, Error> {
        let batches: Vec<Range<usize>> =
            (0..count).step_by(self.batch).map(|start| start..count.min(start + self.batch)).collect();
        if batches.len() > 1 && self.threads > 1 {
            return self.at_the_same_time(&batches, work);
        }
        let mut parts: Vec<Vec<Array>> = Vec::new();
        for range in batches {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let rows = range.len() as u64;
            self.split(range, work, &mut parts)?;
            self.evaluated(rows);
        }
        Ok(parts)
    }

    /// Counts rows that were evaluated, and tells of them.
    fn evaluated(&mut self, rows: u64) {
        self.evaluations += rows;
        self.progress.report(self.evaluations, self.expected.max(self.evaluations));
    }

    /// `work` on a batch, in halves where it does not fit the memory allowed: how much a run takes depends on what is
    /// asked for and fed, and batches were sized for the attributions.
    fn split(&self, range: Range<usize>, work: &Work<'_>, parts: &mut Vec<Vec<Array>>) -> Result<(), Error> {
        match work(&*self.session, range.clone()) {
            Err(Error::Runtime(RuntimeError::Memory { .. })) if range.len() > 1 && self.fixed.is_none() => {
                let middle = range.start + range.len() / 2;
                self.split(range.start..middle, work, parts)?;
                self.split(middle..range.end, work, parts)
            }
            result => {
                parts.push(result?);
                Ok(())
            }
        }
    }

    /// `work` on batches at the same time, one a thread: who is done takes the next. Which thread computes a batch does not
    /// change it.
    fn at_the_same_time(
        &mut self,
        batches: &[Range<usize>],
        work: &Work<'_>,
    ) -> Result<Vec<Vec<Array>>, Error> {
        let mut sessions = std::mem::take(&mut self.side_by_side);
        while sessions.len() < self.threads.min(batches.len()) {
            sessions.push(open(&self.graph, &self.alone)?);
        }
        let next = AtomicUsize::new(0);
        // A result is taken before its thread goes on, so that threads do not run ahead of a wish to stop.
        let (sender, receiver) = mpsc::sync_channel(0);
        let mut found: BTreeMap<usize, Result<Vec<Array>, Error>> = BTreeMap::new();
        let mut cancelled = self.progress.is_cancelled();
        std::thread::scope(|scope| {
            let running: Vec<_> = sessions
                .iter()
                .filter(|_| !cancelled)
                .map(|session| {
                    let (sender, next) = (sender.clone(), &next);
                    scope.spawn(move || {
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            let Some(range) = batches.get(number) else { break };
                            if sender.send((number, work(&**session, range.clone()))).is_err() {
                                break;
                            }
                        }
                    })
                })
                .collect();
            drop(sender);
            for (number, result) in receiver {
                if result.is_ok() {
                    self.evaluated(batches[number].len() as u64);
                }
                cancelled = cancelled || self.progress.is_cancelled();
                if cancelled || result.is_err() {
                    next.store(batches.len(), Ordering::Relaxed);
                }
                found.insert(number, result);
            }
            // A thread that failed left its batch out, which is seen below.
            for thread in running {
                let _ = thread.join();
            }
        });
        self.side_by_side = sessions;
        // Not where the last batch is done already: nothing is left to stop.
        if cancelled && found.len() < batches.len() {
            return Err(Error::Cancelled);
        }
        let parts = found.into_values().collect::<Result<Vec<_>, _>>()?;
        if parts.len() < batches.len() {
            return Err(Error::Internal("a thread failed".to_owned()));
        }
        Ok(parts)
    }
}

/// What is done with the rows of a batch.
type Work<'a> = dyn Fn(&dyn Session, Range<usize>) -> Result<Vec<Array>, Error> + Sync + 'a;

/// Some rows of every array; a file of fixed batch gets whole batches.
fn cut(
    fixed: Option<usize>,
    arrays: &[(String, Array)],
    all: usize,
    range: &Range<usize>,
) -> Result<Arrays, Error> {
    let padding = fixed.map_or(0, |fixed| fixed.saturating_sub(range.len()));
    arrays
        .iter()
        .map(|(name, array)| {
            let part = if *range == (0..all) { array.clone() } else { array.rows(range.clone()) };
            Ok((name.clone(), if padding == 0 { part } else { padded(&part, padding)? }))
        })
        .collect()
}

fn borrowed(arrays: &Arrays) -> Vec<(&str, &Array)> {
    arrays.iter().map(|(name, array)| (name.as_str(), array)).collect()
}

/// Without the rows that only filled a batch.
fn shortened(result: Array, fixed: Option<usize>, count: usize) -> Array {
    let whole = fixed.is_some_and(|fixed| fixed > count && result.shape().first() == Some(&fixed));
    if whole { result.rows(0..count) } else { result }
}

fn joined(parts: &[Vec<Array>], count: usize) -> Result<Vec<Array>, Error> {
    (0..count).map(|position| join(&parts.iter().map(|part| &part[position]).collect::<Vec<_>>())).collect()
}

/// Some of a session's values for one batch.
fn run_batch(
    session: &dyn Session,
    fixed: Option<usize>,
    inputs: &[(String, Array)],
    all: usize,
    range: Range<usize>,
    wanted: &[&str],
) -> Result<Vec<Array>, Error> {
    let rows = cut(fixed, inputs, all, &range)?;
    let results = session.run(&borrowed(&rows), wanted)?;
    Ok(results.into_iter().map(|result| shortened(result, fixed, range.len())).collect())
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

#[cfg(test)]
mod tests {
    use pellucid_testkit::golden;

    use super::*;
    use crate::explain::Silent;
    use crate::model::Model;

    /// Wants the run to end once it was told five times.
    struct FiveTimes(AtomicUsize);

    impl Progress for FiveTimes {
        fn report(&self, _done: u64, _total: u64) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn is_cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) >= 5
        }
    }

    #[test]
    fn threads_give_what_one_gives_and_stop_when_they_are_asked_to() {
        let golden = golden::load_one("cnn");
        let model = Model::open(golden.variants[0].path()).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
        let x = Array::F32(golden.input().mapv(|value| value as f32));
        let rows = vec![(model.inputs().next().unwrap().name.clone(), join(&[&x; 8]).unwrap())];
        let count = rows[0].1.shape()[0];
        let output = model.graph().value(model.graph().outputs()[0]).name.clone();
        let run = |threads, progress: &dyn Progress| {
            let limits = Limits { batch: Some(1), threads: Some(threads), ..Limits::default() };
            let mut runner = Runner::new(model.graph(), &[&output], &limits, progress).unwrap();
            runner
                .run(&rows, count, &[&output])
                .map(|found| (found, runner.evaluations, runner.side_by_side.len()))
        };
        let (one, done, alone) = run(1, &Silent).unwrap();
        assert_eq!((done, alone), (count as u64, 0));
        let (three, done, together) = run(3, &Silent).unwrap();
        assert_eq!((done, together), (count as u64, 3), "sessions are there for the next run");
        assert_eq!(one, three);
        let five = FiveTimes(AtomicUsize::new(0));
        assert!(matches!(run(3, &five), Err(Error::Cancelled)));
        let told = five.0.into_inner();
        assert!(
            told <= 5 + 3 && 5 + 3 < count,
            "{told} of {count}: what was under way was finished, and no more"
        );
    }
}
