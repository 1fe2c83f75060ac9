//! Batches, made by worker threads ahead of need, in an order that follows from a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use pellucid::Error;

use crate::augment::Augment;
use crate::dataset::{Dataset, Targets};
use crate::random::Stream;

/// What the batches of one pass over the data hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Rows of each batch.
    pub batches: Vec<Vec<usize>>,
    /// What is changed of pictures.
    pub augment: Augment,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Which pass it is: each draws anew.
    pub epoch: u64,
    /// Whether classes become distributions over this many classes, as mixing rows needs.
    pub probabilities: Option<usize>,
}

impl Plan {
    /// A pass over all rows in random order, in batches of `batch` rows; the rows that do not fill one are left out of
    /// this pass.
    ///
    /// # Panics
    /// Where `batch` is 0.
    pub fn shuffled(rows: usize, batch: usize, seed: u64, epoch: u64) -> Self {
        let mut order: Vec<usize> = (0..rows).collect();
        Stream::new(seed, &[0x0bde, epoch]).shuffle(&mut order);
        let batches = order.chunks_exact(batch.min(rows.max(1))).map(<[usize]>::to_vec).collect();
        Self { batches, augment: Augment::default(), seed, epoch, probabilities: None }
    }

    /// A pass over all rows in their order, in batches of `batch` rows; the rows that do not fill one are left out. What is
    /// drawn follows from `seed` and `epoch`.
    ///
    /// # Panics
    /// Where `batch` is 0.
    pub fn unshuffled(rows: usize, batch: usize, seed: u64, epoch: u64) -> Self {
        let order: Vec<usize> = (0..rows).collect();
        let batches = order.chunks_exact(batch.min(rows.max(1))).map(<[usize]>::to_vec).collect();
        Self { batches, augment: Augment::default(), seed, epoch, probabilities: None }
    }

    /// A pass over all rows in their order, the last batch being what is left.
    ///
    /// # Panics
    /// Where `batch` is 0.
    pub fn in_order(rows: usize, batch: usize) -> Self {
        let order: Vec<usize> = (0..rows).collect();
        let batches = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Self { batches, augment: Augment::default(), seed: 0, epoch: 0, probabilities: None }
    }
}

/// Rows and targets of one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Numbers of the rows, one after the other.
    pub rows: Vec<f32>,
    /// Number of rows.
    pub len: usize,
    /// The targets.
    pub targets: BatchTargets,
}

/// What the rows of a batch should give.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchTargets {
    /// A class a row.
    Classes(Vec<i64>),
    /// Numbers, row by row: of distributions over classes, values or labels.
    Numbers(Vec<f32>),
}

/// Batches of a pass, in order.
pub struct Batches {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    next: usize,
    count: usize,
}

struct Shared {
    data: Arc<Dataset>,
    plan: Plan,
    state: Mutex<State>,
    changed: Condvar,
    /// Batches that may be ready and not yet taken.
    ahead: usize,
}

#[derive(Default)]
struct State {
    /// The batch that is made next.
    taken: usize,
    /// Batches given away.
    given: usize,
    ready: BTreeMap<usize, Result<Batch, Error>>,
    stop: bool,
}

impl Batches {
    /// Starts making the batches from number `first` on, by `workers` threads, at most `ahead` before they are asked
    /// for. What a batch holds does not depend on either.
    pub fn start(data: Arc<Dataset>, plan: Plan, first: usize, workers: usize, ahead: usize) -> Self {
        let count = plan.batches.len();
        let state = State { taken: first, given: first, ..State::default() };
        let shared = Arc::new(Shared {
            data,
            plan,
            state: Mutex::new(state),
            changed: Condvar::new(),
            ahead: ahead.max(1),
        });
        let workers = (0..workers.max(1))
            .filter_map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name("batches".to_owned()).spawn(move || work(&shared)).ok()
            })
            .collect();
        Self { shared, workers, next: first, count }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let number = self.next;
        self.next += 1;
        if self.workers.is_empty() {
            return Some(make(&self.shared.data, &self.shared.plan, number));
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(batch) = state.ready.remove(&number) {
                state.given = number + 1;
                self.shared.changed.notify_all();
                return Some(batch);
            }
            if self.workers.iter().all(JoinHandle::is_finished) {
                return Some(make(&self.shared.data, &self.shared.plan, number));
            }
            let waited = self.shared.changed.wait_timeout(state, std::time::Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn work(shared: &Shared) {
    loop {
        let number = {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if state.stop || state.taken >= shared.plan.batches.len() {
                    return;
                }
                if state.taken < state.given + shared.ahead {
                    break;
                }
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.taken += 1;
            state.taken - 1
        };
        let batch = make(&shared.data, &shared.plan, number);
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ready.insert(number, batch);
        shared.changed.notify_all();
    }
}

/// One batch of a pass.
fn make(data: &Dataset, plan: &Plan, number: usize) -> Result<Batch, Error> {
    let rows = &plan.batches[number];
    let size = data.row_len();
    let mut values = vec![0.0; rows.len() * size];
    let black = data.black();
    let last = data.is_channels_last();
    let picture: Option<[usize; 3]> = data.shape.as_slice().try_into().ok();
    for (row, out) in rows.iter().zip(values.chunks_exact_mut(size)) {
        data.read(*row, out)?;
        if let (true, Some(shape)) = (plan.augment.changes_rows(), picture) {
            let place = u64::try_from(*row).unwrap_or_default();
            let mut stream = Stream::new(plan.seed, &[0xa06e, plan.epoch, place]);
            if last {
                let [height, width, channels] = shape;
                let mut planes = transposed(out, channels);
                plan.augment.apply(&mut planes, [channels, height, width], &black, &mut stream);
                out.copy_from_slice(&transposed(&planes, height * width));
            } else {
                plan.augment.apply(out, shape, &black, &mut stream);
            }
        }
    }
    let mut targets = match (&data.targets, plan.probabilities) {
        (Targets::Classes(classes), None) => {
            BatchTargets::Classes(rows.iter().map(|row| classes[*row]).collect())
        }
        (Targets::Classes(classes), Some(count)) => {
            let mut shares = vec![0.0; rows.len() * count];
            for (row, shares) in rows.iter().zip(shares.chunks_exact_mut(count)) {
                let class = usize::try_from(classes[*row]).ok();
                if let Some(share) = class.and_then(|class| shares.get_mut(class)) {
                    *share = 1.0;
                }
            }
            BatchTargets::Numbers(shares)
        }
        (Targets::Numbers(numbers), _) => {
            BatchTargets::Numbers(rows.iter().flat_map(|row| numbers.row(*row).to_vec()).collect())
        }
    };
    if plan.augment.mixup > 0.0
        && let BatchTargets::Numbers(shares) = &mut targets
    {
        let place = u64::try_from(number).unwrap_or_default();
        let mut stream = Stream::new(plan.seed, &[0x3149, plan.epoch, place]);
        let alpha = plan.augment.mixup;
        let (one, other) = (stream.gamma(alpha), stream.gamma(alpha));
        #[expect(clippy::cast_possible_truncation, reason = "rows are float32")]
        let share = if one + other > 0.0 { (one / (one + other)) as f32 } else { 1.0 };
        mix(&mut values, rows.len(), share);
        mix(shares, rows.len(), share);
    }
    Ok(Batch { rows: values, len: rows.len(), targets })
}

/// Columns, of which there are `columns`, become rows.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

/// Each row becomes `share` of itself and the rest of the row as far from the other end.
fn mix(values: &mut [f32], rows: usize, share: f32) {
    let before = values.to_vec();
    let size = values.len() / rows.max(1);
    for row in 0..rows {
        let other = rows - 1 - row;
        for column in 0..size {
            let (a, b) = (before[row * size + column], before[other * size + column]);
            values[row * size + column] = share * a + (1.0 - share) * b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Rows;

    fn data() -> Arc<Dataset> {
        let bytes = (0..40u8).flat_map(|row| [row; 4]).collect();
        let classes = Targets::Classes((0..40).map(|row| row % 4).collect());
        Arc::new(Dataset::new("d", Rows::Bytes(bytes), classes, vec![1, 2, 2], String::new()).unwrap())
    }

    fn all(workers: usize, first: usize, augment: &Augment) -> Vec<Batch> {
        let mut plan = Plan::shuffled(40, 6, 3, 1);
        plan.augment = augment.clone();
        plan.probabilities = (augment.mixup > 0.0).then_some(4);
        Batches::start(data(), plan, first, workers, 2).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn batches_do_not_depend_on_workers_or_where_a_run_begins() {
        let augment = Augment { flip: true, shift: 1, mixup: 0.4, ..Augment::default() };
        let one = all(1, 0, &augment);
        assert_eq!(one.len(), 6);
        assert_eq!(one, all(3, 0, &augment));
        assert_eq!(one[2..], all(2, 2, &augment));
    }

    #[test]
    fn every_pass_has_another_order_and_each_row_once() {
        let (first, second) = (Plan::shuffled(40, 5, 3, 0), Plan::shuffled(40, 5, 3, 1));
        assert_ne!(first.batches, second.batches);
        let mut rows: Vec<usize> = first.batches.concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..40).collect::<Vec<_>>());
        assert_eq!(first.batches, Plan::shuffled(40, 5, 3, 0).batches);
        let last = Plan::in_order(7, 3).batches;
        assert_eq!(last, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    }

    #[test]
    fn rows_in_their_order_are_whole_batches() {
        let plan = Plan::unshuffled(7, 3, 5, 2);
        assert_eq!(plan.batches, [vec![0, 1, 2], vec![3, 4, 5]]);
        assert_eq!((plan.seed, plan.epoch), (5, 2));
        assert_eq!(Plan::unshuffled(2, 3, 5, 2).batches, [vec![0, 1]]);
    }

    #[test]
    fn channels_that_come_last_are_changed_as_those_that_come_first() {
        let augment =
            Augment { flip: true, shift: 1, rotate: 20.0, colour: 0.3, erase: 0.5, ..Augment::default() };
        let made = |layout: &str, shape: [usize; 3]| {
            let bytes = (0..3 * 4 * 5 * 6u16).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
            let classes = Targets::Classes(vec![0; 6]);
            let mut data =
                Dataset::new("d", Rows::Bytes(bytes), classes, vec![3, 4, 5], String::new()).unwrap();
            let mut image = pellucid::preprocessing::ImageInput::default();
            image.set("layout", layout).unwrap();
            image.set("mean", "1,2,3").unwrap();
            data.prepare(&image, &shape).unwrap();
            let plan = Plan { augment: augment.clone(), ..Plan::in_order(6, 6) };
            Batches::start(Arc::new(data), plan, 0, 1, 1).next().unwrap().unwrap().rows
        };
        let (first, last) = (made("NCHW", [3, 4, 5]), made("NHWC", [4, 5, 3]));
        for (first, last) in first.chunks_exact(60).zip(last.chunks_exact(60)) {
            assert_eq!(transposed(last, 3), first);
        }
    }

    #[test]
    fn mixing_keeps_distributions() {
        for batch in all(2, 0, &Augment { mixup: 0.4, ..Augment::default() }) {
            let BatchTargets::Numbers(shares) = batch.targets else { panic!("classes were not spread") };
            for row in shares.chunks_exact(4) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
            }
        }
    }

    #[test]
    fn a_pass_may_be_left_early() {
        let mut batches = Batches::start(data(), Plan::shuffled(40, 6, 3, 1), 0, 2, 1);
        assert!(batches.next().is_some());
        drop(batches);
    }
}
