//! The loop: batches in, state from step to step, checkpoints, and the model in the end.

mod about;
mod finish;
mod inside;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use pellucid::{Array, Error, Limits, Model};
use pellucid_compile::training::{Role, TrainingStep, training_step, with_inputs};
use pellucid_data::batches::BatchTargets;
use pellucid_data::random::Stream;
use pellucid_data::{Batches, Dataset, Plan};
use pellucid_graph::Dim;
use pellucid_runtime::{Engine, Kernels, Options, Session, open};

use crate::checkpoint::{Checkpoint, Counts, Epoch, FILE, sweep, write_atomically};
use crate::fit::{Fitted, fit};
use crate::head::headed;
use crate::measure::{Measured, right};
use crate::record::{self, METRICS, SETTINGS, START, read_model, write_model};
use crate::settings::{LossName, Settings};
use crate::steps::Steps;
use crate::watch::{self, Moment, Watcher};

/// Most numbers of a batch: 4 GiB of rows.
const MOST_NUMBERS: usize = 1 << 30;

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The trained model; `None` where the run was cancelled, which left a checkpoint.
    pub model: Option<PathBuf>,
    /// Epochs that were done.
    pub history: Vec<Epoch>,
    /// The epoch whose weights were written, where it is not the last.
    pub best_epoch: Option<u32>,
    /// What was measured on the test rows.
    pub test: Option<Measured>,
    /// Seconds of all parts of the run together.
    pub seconds: f64,
}

/// Trains `model` and keeps everything in `folder`, which is made.
///
/// The folder holds `settings.toml`, `run.json` (hashes of data and model), `start.onnx`, `metrics.csv`, `steps.csv`,
/// the last checkpoint, and in the end `model.onnx`. Each is written beside and renamed: whatever happens, what is there is whole.
///
/// # Errors
/// A folder that holds a run; data that do not fit the model; settings without a meaning; a loss that is no number any
/// more, with what to change; what the engine or the disk says.
pub fn train(
    model: &Model,
    settings: &Settings,
    folder: &Path,
    limits: &Limits,
    watcher: &dyn Watcher,
) -> Result<Outcome, Error> {
    if folder.join(SETTINGS).exists() || folder.join(FILE).exists() {
        return Err(Error::Output {
            path: folder.to_owned(),
            problem: "a run is there already; go on with it by --resume, or name another folder".to_owned(),
        });
    }
    // Once: from here on the file has the new layer, also where the run is gone on with.
    let headed = match settings.head {
        Some(outputs) => Some(headed(model, settings.output.as_deref(), outputs, settings.seed)?),
        None => None,
    };
    let model = headed.as_ref().map_or(model, |headed| &headed.model);
    let fitted = fit(model, settings)?;
    if let Some(headed) = &headed {
        watcher.note(&headed.note);
    }
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    let mut start = fitted.graph.clone();
    start.metadata.extend(fitted.description.to_metadata());
    write_model(&folder.join(START), &start)?;
    // From here on the model is the file's, whichever part of the run it is.
    let run = Run::new(&read_model(folder)?, settings, folder, limits, watcher)?;
    run.record()?;
    write_atomically(&folder.join(SETTINGS), settings.to_toml()?.as_bytes())?;
    run.go(None)
}

/// Goes on with the run in `folder`, to the same bits as if it had never stopped.
///
/// # Errors
/// A folder without a run; data or a model that changed since; and as [`train`].
pub fn resume(folder: &Path, limits: &Limits, watcher: &dyn Watcher) -> Result<Outcome, Error> {
    let path = folder.join(SETTINGS);
    if !path.exists() {
        return Err(Error::Input {
            place: folder.display().to_string(),
            problem: "no run is there: it has no settings.toml; start one with train MODEL".to_owned(),
        });
    }
    sweep(folder);
    let settings = Settings::read(&path)?;
    let run = Run::new(&read_model(folder)?, &settings, folder, limits, watcher)?;
    let checkpoint = if folder.join(FILE).exists() { Some(Checkpoint::read(folder)?) } else { None };
    if let Some(checkpoint) = &checkpoint
        && checkpoint.counts.identity != run.identity
    {
        return Err(Error::Input {
            place: folder.display().to_string(),
            problem: "settings, data, engine or start.onnx are others than those of the checkpoint: the run cannot go on \
                      to the same end; put them back, or start another run"
                .to_owned(),
        });
    }
    run.go(checkpoint)
}

/// A run that is ready to go.
struct Run<'a> {
    settings: &'a Settings,
    folder: &'a Path,
    watcher: &'a dyn Watcher,
    fitted: Fitted,
    step: TrainingStep,
    session: Box<dyn Session>,
    /// The model as it predicts, its weights fed.
    measuring: Box<dyn Session>,
    /// For each constant of the model that is carried: its name, and where its newest (or average) numbers stand in the
    /// state.
    weights: Vec<(String, usize)>,
    batch: usize,
    per_epoch: u64,
    train: Arc<Dataset>,
    threads: usize,
    engine: Engine,
    /// What settings, data, engine and model are, in one hash.
    identity: String,
}

impl<'a> Run<'a> {
    fn new(
        model: &Model,
        settings: &'a Settings,
        folder: &'a Path,
        limits: &Limits,
        watcher: &'a dyn Watcher,
    ) -> Result<Self, Error> {
        let fitted = fit(model, settings)?;
        let mut batch = settings.batch.min(fitted.train.len());
        let mut sizes = fitted.sizes.clone();
        if let Some(symbol) = &fitted.rows {
            sizes.insert(symbol.clone(), i64::try_from(batch).unwrap_or(i64::MAX));
        } else {
            let input = fitted.graph.value(fitted.graph.inputs()[0]);
            let fixed = input.shape.as_ref().and_then(|shape| shape.first()).and_then(Dim::size);
            batch = fixed.unwrap_or(1);
            if batch != settings.batch {
                watcher.note(&format!(
                    "the model takes {batch} rows at a time, no other number: that is the batch; export it with a \
                     free first axis to choose"
                ));
            }
            if batch > fitted.train.len() {
                return Err(Error::Input {
                    place: fitted.train.name.clone(),
                    problem: format!(
                        "{} rows found, and the model takes {batch} at once",
                        fitted.train.len()
                    ),
                });
            }
        }
        require_memory(batch, &fitted.shape)?;
        let bound = fitted.graph.bind(&sizes)?;
        let mut by_class = fitted.train.by_class();
        if fitted.loss == LossName::CrossEntropy {
            by_class.resize(fitted.outputs, 0);
        }
        let config = settings.config(fitted.loss, &by_class);
        let step = training_step(&bound, &config)?;
        let options = Options {
            engine: limits.engine,
            device: limits.device,
            threads: limits.threads,
            memory: limits.memory,
            kernels: Kernels::Worthwhile,
        };
        let session = open(&step.graph, &options)?;
        let weights = measured(&step, settings.average.is_some());
        let names: Vec<String> = weights.iter().map(|(name, _)| name.clone()).collect();
        let measuring = open(&with_inputs(&fitted.graph.bind(&fitted.sizes)?, &names)?, &options)?;
        let per_epoch = u64::try_from(fitted.train.len() / batch).unwrap_or(u64::MAX);
        let threads =
            limits.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let mut run = Self {
            settings,
            folder,
            watcher,
            train: Arc::new(fitted.train.clone()),
            fitted,
            step,
            session,
            measuring,
            weights,
            batch,
            per_epoch,
            threads,
            engine: limits.engine,
            identity: String::new(),
        };
        run.identity = run.identify()?;
        Ok(run)
    }

    fn steps(&self) -> u64 {
        self.per_epoch * u64::from(self.settings.epochs)
    }

    fn go(self, from: Option<Checkpoint>) -> Result<Outcome, Error> {
        let mut place = match from {
            Some(checkpoint) => self.continued(checkpoint)?,
            None => Place::start(&self)?,
        };
        let began = Instant::now();
        let before = place.counts.seconds;
        while place.counts.step < self.steps() && !self.is_settled(&place) {
            if self.epoch(&mut place, began, before)? == Ended::Cancelled {
                self.save(&mut place, began, before)?;
                return Ok(Outcome {
                    model: None,
                    history: place.counts.history,
                    best_epoch: None,
                    test: None,
                    seconds: place.counts.seconds,
                });
            }
        }
        self.finish(place, began, before)
    }

    /// Whether there was no better epoch for as long as was said.
    fn is_settled(&self, place: &Place) -> bool {
        let last = place.counts.history.last().map_or(0, |epoch| epoch.epoch);
        match (self.settings.patience, place.counts.best_epoch) {
            (Some(patience), Some(best)) => last >= best.saturating_add(patience.max(1)),
            _ => false,
        }
    }

    /// The state of a checkpoint.
    fn continued(&self, checkpoint: Checkpoint) -> Result<Place, Error> {
        let Checkpoint { counts, mut state, best } = checkpoint;
        let wrong =
            |problem: String| Error::Input { place: self.folder.join(FILE).display().to_string(), problem };
        let mut carried = Vec::new();
        for value in &self.step.state {
            let array = state
                .remove(&value.input)
                .filter(|array| array.shape() == value.start.shape())
                .ok_or_else(|| wrong(format!("it lacks {:?} as the model has it", value.input)))?;
            carried.push(array);
        }
        if counts.steps != self.steps() || counts.per_epoch != self.per_epoch {
            return Err(wrong("it is of another number of steps".to_owned()));
        }
        Ok(Place { best, ..Place::at(self, counts, carried)? })
    }

    fn epoch(&self, place: &mut Place, began: Instant, before: f64) -> Result<Ended, Error> {
        let epoch = place.counts.step / self.per_epoch;
        let order = if self.settings.data.shuffle { Plan::shuffled } else { Plan::unshuffled };
        let mut plan = order(self.train.len(), self.batch, self.settings.seed, epoch);
        plan.augment = self.settings.augment();
        plan.probabilities = (self.fitted.loss == LossName::CrossEntropy
            && self.settings.augment.mixup > 0.0)
            .then_some(self.fitted.outputs);
        let first = usize::try_from(place.counts.step % self.per_epoch).unwrap_or(usize::MAX);
        let batches = Batches::start(Arc::clone(&self.train), plan, first, self.threads.clamp(1, 4), 4);
        let mut saved = Instant::now();
        for batch in batches {
            let batch = batch?;
            self.one_step(place, batch)?;
            let counts = &place.counts;
            let (done, all) = (counts.step, self.steps());
            let this = began.elapsed().as_secs_f64();
            let here = done.saturating_sub(place.first).max(1);
            self.watcher.step(&Moment {
                epoch: u32::try_from(epoch + 1).unwrap_or(u32::MAX),
                epochs: self.settings.epochs,
                step: done,
                steps: all,
                loss: place.mean_loss(),
                accuracy: self.accuracy(place),
                learning_rate: place.last_rate,
                left: this / here as f64 * all.saturating_sub(done) as f64,
            });
            // After an epoch's last step it is closed first, so that a run that goes on is the same.
            if self.watcher.is_cancelled() && done % self.per_epoch != 0 {
                return Ok(Ended::Cancelled);
            }
            let by_steps = self.settings.checkpoint_steps.is_some_and(|every| done % every == 0);
            if done % self.per_epoch != 0
                && (by_steps || saved.elapsed().as_secs_f64() > self.settings.checkpoint_seconds)
            {
                self.save(place, began, before)?;
                saved = Instant::now();
            }
        }
        self.close_epoch(place, epoch, began, before)?;
        let goes_on = place.counts.step < self.steps() && !self.is_settled(place);
        Ok(if goes_on && self.watcher.is_cancelled() { Ended::Cancelled } else { Ended::Whole })
    }

    fn one_step(&self, place: &mut Place, batch: pellucid_data::Batch) -> Result<(), Error> {
        let rate =
            self.settings.learning_rate() * self.settings.schedule.factor(place.counts.step, self.steps());
        let scalar = |value: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "engines compute in float32")]
            let value = value as f32;
            Array::F32(ArrayD::from_elem(IxDyn(&[]), value))
        };
        let learning_rate = scalar(rate);
        let momentum = scalar(self.settings.optimizer.momentum);
        let dropped = self.dropped(place.counts.step)?;
        let rows = self.rows(batch.rows, batch.len)?;
        let targets = self.targets(&batch.targets, batch.len)?;
        let step = &self.step;
        let mut fed: Vec<(&str, &Array)> = vec![
            (&self.fitted.input, &rows),
            (&step.targets, &targets),
            (&step.learning_rate, &learning_rate),
        ];
        fed.extend(step.momentum.as_ref().map(|name| (name.as_str(), &momentum)));
        fed.extend(
            step.dropped.iter().zip(&dropped).map(|(dropped, factors)| (dropped.input.as_str(), factors)),
        );
        fed.extend(
            step.state.iter().zip(&place.state).map(|(carried, array)| (carried.input.as_str(), array)),
        );
        let mut wanted: Vec<&str> = vec![&step.loss, &step.prediction, &step.norm];
        wanted.extend(step.state.iter().map(|carried| carried.updated.as_str()));
        let mut results = self.session.run(&fed, &wanted)?.into_iter();
        let mut number = || results.next().map_or(f64::NAN, |array| array.to_f64().sum());
        let loss = number();
        let predictions = results.next().map(|array| array.to_f32()).unwrap_or_default();
        let norm = results.next().map_or(f64::NAN, |array| array.to_f64().sum());
        // Derivatives that are no numbers make weights of none.
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Error::Setting {
                name: "the run diverged".to_owned(),
                problem: watch::not_a_number(self.settings, place.counts.step, rate, &place.losses),
            });
        }
        self.session.recycle(std::mem::replace(&mut place.state, results.collect()));
        place.steps.add(place.counts.step + 1, rate, loss, norm)?;
        place.last_rate = rate;
        place.last_norm = norm;
        place.losses.push(loss);
        place.losses.drain(..place.losses.len().saturating_sub(20));
        let counts = &mut place.counts;
        counts.step += 1;
        let rows = u64::try_from(batch.len).unwrap_or_default();
        counts.loss_bits = (f64::from_bits(counts.loss_bits) + loss * rows as f64).to_bits();
        counts.rows += rows;
        if self.fitted.loss == LossName::CrossEntropy {
            let flat: Vec<f32> = predictions.iter().copied().collect();
            counts.right += right(&flat, &batch.targets, batch.len);
        }
        Ok(())
    }

    fn accuracy(&self, place: &Place) -> Option<f64> {
        let counted = self.fitted.loss == LossName::CrossEntropy && place.counts.rows > 0;
        counted.then(|| place.counts.right as f64 / place.counts.rows as f64)
    }

    fn rows(&self, values: Vec<f32>, rows: usize) -> Result<Array, Error> {
        let shape = [&[rows], self.fitted.shape.as_slice()].concat();
        Array::from_f32(&shape, values)
            .ok_or_else(|| Error::Internal(format!("a batch does not have the sizes {shape:?}")))
    }

    /// Targets in the shape that the step takes.
    fn targets(&self, targets: &BatchTargets, rows: usize) -> Result<Array, Error> {
        let made = match targets {
            BatchTargets::Classes(classes) => Array::from_i64(&[rows], classes.clone()),
            BatchTargets::Numbers(numbers) => {
                let id = self.step.graph.find(&self.step.targets);
                let shape = id.and_then(|id| self.step.graph.value(id).static_shape());
                Array::from_f32(&shape.unwrap_or_else(|| vec![rows, self.fitted.outputs]), numbers.clone())
            }
        };
        made.ok_or_else(|| Error::Internal("targets do not have the shape that the step takes".to_owned()))
    }

    /// What is dropped in a step, by its number.
    fn dropped(&self, step: u64) -> Result<Vec<Array>, Error> {
        let mut made = Vec::new();
        for (at, dropped) in (0u64..).zip(&self.step.dropped) {
            let shape: Option<Vec<usize>> = dropped.shape.iter().map(Dim::size).collect();
            let shape = shape.ok_or_else(|| {
                Error::Internal(format!("the shape of {:?} is not known before running", dropped.input))
            })?;
            let mut stream = Stream::new(self.settings.seed, &[0xd809, step, at]);
            #[expect(clippy::cast_possible_truncation, reason = "factors are float32")]
            let kept = (1.0 / (1.0 - dropped.ratio)) as f32;
            let count = shape.iter().product();
            let values = (0..count).map(|_| if stream.unit() < dropped.ratio { 0.0 } else { kept }).collect();
            made.extend(Array::from_f32(&shape, values));
        }
        Ok(made)
    }

    fn close_epoch(&self, place: &mut Place, epoch: u64, began: Instant, before: f64) -> Result<(), Error> {
        let held = match &self.fitted.validation {
            Some(data) => Some(self.measure(place, data)?),
            None => None,
        };
        let number = u32::try_from(epoch + 1).unwrap_or(u32::MAX);
        let row = Epoch {
            epoch: number,
            step: place.counts.step,
            learning_rate: place.last_rate,
            loss: place.mean_loss(),
            accuracy: self.accuracy(place),
            validation_loss: held.map(|held| held.mean_loss()),
            validation_accuracy: held.and_then(|held| held.accuracy()),
            norm: place.last_norm,
            seconds: before + began.elapsed().as_secs_f64(),
        };
        let counts = &mut place.counts;
        (counts.loss_bits, counts.rows, counts.right) = (0, 0, 0);
        let better = row
            .validation_loss
            .filter(|loss| loss.is_finite())
            .is_some_and(|loss| counts.best_bits.is_none_or(|best| loss < f64::from_bits(best)));
        if better {
            counts.best_bits = row.validation_loss.map(f64::to_bits);
            counts.best_epoch = Some(number);
            if self.settings.patience.is_some() {
                place.best =
                    self.weights.iter().map(|(name, at)| (name.clone(), place.state[*at].clone())).collect();
            }
        }
        self.watcher.epoch(&row);
        place.counts.history.push(row);
        for note in self.said(place)? {
            self.watcher.note(&note);
        }
        self.save(place, began, before)?;
        write_atomically(&self.folder.join(METRICS), record::metrics(&place.counts.history).as_bytes())
    }

    fn save(&self, place: &mut Place, began: Instant, before: f64) -> Result<(), Error> {
        place.steps.sync()?;
        place.counts.seconds = before + began.elapsed().as_secs_f64();
        let counts = Counts {
            version: 1,
            steps: self.steps(),
            per_epoch: self.per_epoch,
            identity: self.identity.clone(),
            ..place.counts.clone()
        };
        let state = self.step.state.iter().zip(&place.state);
        let state = state.map(|(carried, array)| (carried.input.clone(), array.clone())).collect();
        Checkpoint { counts, state, best: place.best.clone() }.write(self.folder)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Cancelled,
}

/// Where a run is.
struct Place {
    counts: Counts,
    /// What is carried, in the order of the step's state.
    state: Vec<Array>,
    best: BTreeMap<String, Array>,
    last_norm: f64,
    last_rate: f64,
    /// What each step came to.
    steps: Steps,
    /// Losses of the last steps.
    losses: Vec<f64>,
    /// The step at which this part of the run began.
    first: u64,
}

impl Place {
    fn start(run: &Run<'_>) -> Result<Self, Error> {
        let state = run.step.state.iter().map(|carried| Array::from_tensor(&carried.start)).collect();
        Self::at(run, Counts { identity: run.identity.clone(), ..Counts::default() }, state)
    }

    /// Where a run goes on with this state.
    fn at(run: &Run<'_>, counts: Counts, state: Vec<Array>) -> Result<Self, Error> {
        let first = counts.step;
        let steps = Steps::open(run.folder, first)?;
        let (best, losses) = (BTreeMap::new(), Vec::new());
        Ok(Self { counts, state, best, last_norm: 0.0, last_rate: 0.0, steps, losses, first })
    }

    fn mean_loss(&self) -> f64 {
        f64::from_bits(self.counts.loss_bits) / self.counts.rows.max(1) as f64
    }
}

/// Refuses batches that no machine prepares, before memory is taken for them.
fn require_memory(batch: usize, shape: &[usize]) -> Result<(), Error> {
    let numbers = shape.iter().try_fold(batch, |product, size| product.checked_mul(*size));
    if numbers.is_some_and(|numbers| numbers <= MOST_NUMBERS) {
        return Ok(());
    }
    Err(Error::Setting {
        name: "batch".to_owned(),
        problem: format!("{batch} rows of {shape:?} found, expected at most {MOST_NUMBERS} numbers at once"),
    })
}

/// For each constant of the model that is carried, where what is measured stands in the state.
fn measured(step: &TrainingStep, averaged: bool) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, carried) in step.state.iter().enumerate() {
        match &carried.role {
            Role::Model if !averaged => found.push((carried.input.clone(), at)),
            Role::Average(name) if averaged => found.push((name.clone(), at)),
            _ => {}
        }
    }
    found
}
