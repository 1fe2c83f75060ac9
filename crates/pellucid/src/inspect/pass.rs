//! The one pass over the examples.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::ArrayD;
use pellucid_compile::{Inside, inside};
use pellucid_graph::Graph;
use pellucid_graph::window::{FixedAxis, Window};

use super::channels::{self, InputWatch, Sample};
use super::distribution::Sketch;
use super::faults::{self, Fault};
use super::judge::Resolved;
use super::plan::{Watched, dependent, has_rows, plan};
use super::units::UnitWatch;
use super::{
    ErrorStatistics, Examples, InspectOptions, Inspection, Judge, Judged, LayerInspection, WeightInspection,
    Winners,
};
use crate::array::Array;
use crate::error::Error;
use crate::explain::{Progress, Runner, bound};
use crate::model::Model;
use crate::stream::{ByRows, Sink};
use crate::summary::display_sizes;
use crate::write::{Format, Outputs};

/// A model compiled for looking inside, and what is asked of it for every batch.
struct Prepared {
    graph: Graph,
    inside: Option<Inside>,
    answers: Option<(String, Resolved, usize)>,
    watched: Vec<Watched>,
}

/// Everything that is kept of the rows.
struct Kept {
    layers: Vec<LayerWatch>,
    gradients: Vec<Option<ArrayD<f64>>>,
    objective: f64,
    right: u64,
    inputs: Vec<InputWatch>,
    sample: Sample,
}

struct LayerWatch {
    activation: Sketch,
    units: UnitWatch,
    error: Sketch,
    norms: f64,
    winners: Option<WinnerWatch>,
}

struct WinnerWatch {
    axes: Vec<FixedAxis>,
    /// For every window: its places that are no padding, each with its position in the plane.
    table: Vec<Vec<(usize, usize)>>,
    counts: Vec<u64>,
    windows: u64,
    ties: u64,
}

/// Looks inside `model` while it computes `examples`: one pass forward, and, where it is judged, one pass back; what is
/// held does not grow with the number of examples.
///
/// `outputs` that end in `.npz` get every value of every row as `activation:<value>`, `[n, …]`, and every error as
/// `error:<value>`; gradients of weights, summed over rows and divided by their number, as `gradient:<weight>`. They are
/// written whole or not at all.
///
/// # Errors
/// Models that an engine cannot run or, where they are judged, nodes that have no derivative; answers that do not fit;
/// examples that cannot be read; cancelled runs.
pub fn inspect(
    model: &Model,
    examples: &Examples<'_>,
    options: &InspectOptions,
    outputs: &Outputs,
    progress: &dyn Progress,
) -> Result<Inspection, Error> {
    let all = examples.len();
    let prepared = Prepared::new(model, examples, options)?;
    let quiet = ByRows(progress);
    let files: Vec<_> = outputs.by_rows().filter(|(_, format)| *format == Format::Npz).collect();
    let arrays = if files.is_empty() { Vec::new() } else { prepared.every_array() };
    let names = prepared.names(&arrays);
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut runner = Runner::new(&prepared.graph, &wanted, &options.limits, &quiet)?;
    let mut kept = Kept::new(model, &prepared, examples);
    let mut sink = Sink::of(&files);
    let step = runner.wave().max(1);
    for start in (0..all).step_by(step) {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let rows = start..all.min(start + step);
        let inputs = examples.read(rows.clone())?;
        kept.see_inputs(inputs.arrays(), &prepared, &rows);
        let mut fed = inputs.arrays().to_vec();
        if let Some((name, answers, rank)) = &prepared.answers {
            fed.push((name.clone(), answers.rows(rows.clone(), *rank)?));
        }
        let mut first = start;
        for found in runner.run_batches(&fed, rows.len(), &wanted)? {
            let found: BTreeMap<&str, &Array> = wanted.iter().copied().zip(&found).collect();
            let count = kept.see(&prepared, &found, first)?;
            first += count;
            let columns = arrays.iter().filter_map(|(column, value)| {
                Some((column.clone(), vec![(*found.get(value.as_str())?).clone()]))
            });
            sink.add(count, columns.collect())?;
        }
        progress.rows(rows.end as u64, all as u64);
    }
    let mut inspection = kept.finish(model, &prepared, options, all);
    inspection.faults =
        faults::find(model, &prepared.graph, &prepared.watched, &inspection, &kept.moments())?;
    if let Some(reference) = &options.reference {
        inspection.faults.extend(channels::against(&inspection.inputs, reference));
    }
    let swapped = kept.sample.faults(model, options, progress)?;
    for fault in swapped {
        let known = |known: &Fault| known.kind == fault.kind && known.place == fault.place;
        if !inspection.faults.iter().any(known) {
            inspection.faults.push(fault);
        }
    }
    let totals = prepared.gradient_arrays(&kept, all);
    inspection.written = Sink::finish(vec![sink], &totals, &|| !progress.is_cancelled())?;
    Ok(inspection)
}

impl Prepared {
    fn new(model: &Model, examples: &Examples<'_>, options: &InspectOptions) -> Result<Self, Error> {
        let graph = bound(model.graph(), examples.shapes())?;
        let watched = plan(model, &graph, examples.shapes())?;
        let Some(objective) = options.judge.objective(model)? else {
            return Ok(Self { graph, inside: None, answers: None, watched });
        };
        let inside = inside(&graph, objective, options.score.as_deref())?;
        let mut answers = None;
        if let (Judge::Loss(given), Some((name, kind))) = (&options.judge, &inside.answers) {
            let resolved = Resolved::new(given, model, *kind, examples.len())?;
            let id = inside.graph.find(name);
            let rank = id.and_then(|id| inside.graph.value(id).shape.as_ref().map(Vec::len)).unwrap_or(1);
            answers = Some((name.clone(), resolved, rank));
        }
        Ok(Self { graph: inside.graph.clone(), inside: Some(inside), answers, watched })
    }

    /// Name of the error of a value, where one reaches it.
    fn error_of(&self, value: &str) -> Option<&str> {
        let errors = &self.inside.as_ref()?.errors;
        errors.iter().find(|(name, _)| name == value).map(|(_, error)| error.as_str())
    }

    /// What is fetched of every batch. The first has a row for each of the batch.
    fn names(&self, arrays: &[(String, String)]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if let Some(inside) = &self.inside {
            names.extend([inside.objective.clone(), inside.scored.clone()]);
            names.extend(inside.gradients.iter().map(|(_, gradient)| gradient.clone()));
        }
        for watched in &self.watched {
            names.push(watched.layer.value.clone());
            names.extend(self.error_of(&watched.layer.value).map(str::to_owned));
            if pooled(&self.graph, watched).is_some() {
                names.extend(watched.takes.clone());
            }
        }
        names.extend(arrays.iter().map(|(_, value)| value.clone()));
        let mut once: Vec<String> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if seen.insert(name.clone()) {
                once.push(name);
            }
        }
        once
    }

    /// Columns of an array file, and the values that they hold.
    fn every_array(&self) -> Vec<(String, String)> {
        let mut arrays = Vec::new();
        let depends = dependent(&self.graph);
        let model_values = self.inside.as_ref().map(|inside| inside.model_values);
        for id in self.graph.value_ids().take(model_values.unwrap_or(usize::MAX)) {
            let value = self.graph.value(id);
            let float = value.element.is_some_and(pellucid_graph::ElementType::is_float);
            if depends[id.index()] && float && has_rows(&self.graph, id) {
                arrays.push((format!("activation:{}", value.name), value.name.clone()));
            }
        }
        if let Some(inside) = &self.inside {
            let by_rows = inside
                .errors
                .iter()
                .filter(|(value, _)| self.graph.find(value).is_some_and(|id| has_rows(&self.graph, id)));
            for (value, error) in by_rows {
                arrays.push((format!("error:{value}"), error.clone()));
            }
            arrays.push(("objective".to_owned(), inside.objective.clone()));
        }
        arrays
    }

    /// Gradients of the mean objective, by weight.
    fn gradient_arrays(&self, kept: &Kept, rows: usize) -> Vec<(String, Array)> {
        let Some(inside) = &self.inside else { return Vec::new() };
        let gradients = inside.gradients.iter().zip(&kept.gradients);
        gradients
            .filter_map(|((name, _), gradient)| {
                let gradient = gradient.as_ref()?;
                #[expect(clippy::cast_possible_truncation, reason = "as the weights are")]
                let mean = gradient.mapv(|value| (value / rows as f64) as f32);
                Some((format!("gradient:{name}"), Array::F32(mean)))
            })
            .collect()
    }
}

impl Kept {
    fn new(model: &Model, prepared: &Prepared, examples: &Examples<'_>) -> Self {
        let layer = |watched: &Watched| LayerWatch {
            activation: Sketch::new(),
            units: UnitWatch::new(watched),
            error: Sketch::new(),
            norms: 0.0,
            winners: pooled(&prepared.graph, watched).map(WinnerWatch::new),
        };
        let gradients = prepared.inside.as_ref().map_or(0, |inside| inside.gradients.len());
        Self {
            layers: prepared.watched.iter().map(layer).collect(),
            gradients: vec![None; gradients],
            objective: 0.0,
            right: 0,
            inputs: InputWatch::all(model, examples.shapes()),
            sample: Sample::default(),
        }
    }

    fn see_inputs(&mut self, arrays: &[(String, Array)], prepared: &Prepared, rows: &std::ops::Range<usize>) {
        for (watch, (_, array)) in self.inputs.iter_mut().zip(arrays) {
            watch.add(array);
        }
        let answers = prepared.answers.as_ref().map(|(_, answers, _)| answers);
        self.sample.add(arrays, rows, answers);
    }

    /// A batch that begins with row `first`; returns how many rows it has.
    fn see(
        &mut self,
        prepared: &Prepared,
        found: &BTreeMap<&str, &Array>,
        first: usize,
    ) -> Result<usize, Error> {
        let mut rows = None;
        for (watch, watched) in self.layers.iter_mut().zip(&prepared.watched) {
            let Some(array) = found.get(watched.layer.value.as_str()) else { continue };
            let values = numbers(array);
            values.iter().for_each(|value| watch.activation.add(*value));
            if watched.by_row {
                watch.units.add(&values, array.shape(), watched.axis, first as u64);
                rows = rows.or_else(|| array.shape().first().copied());
            }
            if let (Some(winners), Some(input)) =
                (&mut watch.winners, watched.takes.as_deref().and_then(|takes| found.get(takes)))
            {
                winners.add(&numbers(input), input.shape(), array.shape());
            }
            let Some(error) = prepared.error_of(&watched.layer.value).and_then(|name| found.get(name)) else {
                continue;
            };
            let errors = numbers(error);
            errors.iter().for_each(|value| watch.error.add(*value));
            let by_row: usize = error.shape()[1..].iter().product();
            for row in errors.chunks(by_row.max(1)).filter(|_| watched.by_row) {
                watch.norms += row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            }
        }
        if let Some(inside) = &prepared.inside {
            let objective = found.get(inside.objective.as_str()).map(|array| array.to_f64());
            let objective = objective.unwrap_or_default();
            rows = Some(objective.len());
            self.objective += objective.iter().sum::<f64>();
            self.count_right(prepared, inside, found, first);
            for (sum, (_, gradient)) in self.gradients.iter_mut().zip(&inside.gradients) {
                let Some(gradient) = found.get(gradient.as_str()) else { continue };
                match sum {
                    Some(sum) => *sum += &gradient.to_f64(),
                    None => *sum = Some(gradient.to_f64()),
                }
            }
        }
        rows.ok_or_else(|| Error::Model {
            place: "model".to_owned(),
            problem: "no layer depends on an input, so that there is nothing to look at".to_owned(),
        })
    }

    /// Mean and variance of each unit, by layer.
    fn moments(&self) -> Vec<Vec<(f64, f64)>> {
        self.layers.iter().map(|layer| layer.units.moments()).collect()
    }

    fn count_right(
        &mut self,
        prepared: &Prepared,
        inside: &Inside,
        found: &BTreeMap<&str, &Array>,
        first: usize,
    ) {
        let Some((_, answers, _)) = &prepared.answers else { return };
        let (Some(scores), Some(classes)) = (found.get(inside.scored.as_str()), inside.classes) else {
            return;
        };
        for (row, scores) in numbers(scores).chunks(classes.max(1)).enumerate() {
            let best = scores.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, score)| {
                if *score > best.1 { (class, *score) } else { best }
            });
            let right = answers.class(first + row).and_then(|class| usize::try_from(class).ok());
            self.right += u64::from(right == Some(best.0));
        }
    }

    fn finish(
        &self,
        model: &Model,
        prepared: &Prepared,
        options: &InspectOptions,
        rows: usize,
    ) -> Inspection {
        let n = rows as f64;
        let layers = prepared.watched.iter().zip(&self.layers).map(|(watched, watch)| LayerInspection {
            name: watched.layer.name.clone(),
            kind: watched.layer.kind.clone(),
            value: watched.layer.value.clone(),
            output_shape: watched.layer.output_shape.as_deref().map(display_sizes),
            pre_activation: watched.pre_activation.clone(),
            activation: watch.activation.distribution(),
            not_finite: watch.activation.not_finite(),
            units: watch.units.finish(),
            error: watch.error.distribution().map(|distribution| ErrorStatistics {
                distribution,
                norm: watched.by_row.then(|| watch.norms / n),
            }),
            winners: watch.winners.as_ref().and_then(WinnerWatch::finish),
        });
        let classes = prepared.inside.as_ref().and_then(|inside| inside.classes);
        let right = prepared.answers.as_ref().and_then(|(_, answers, _)| answers.class(0)).and(classes);
        let judged = prepared.inside.as_ref().map(|_| Judged {
            by: if prepared.answers.is_some() { "loss" } else { "score" },
            mean: self.objective / n,
            accuracy: right.map(|_| self.right as f64 / n),
        });
        Inspection {
            model: model.name().to_owned(),
            rows,
            judged,
            inputs: self.inputs.iter().map(InputWatch::finish).collect(),
            layers: layers.collect(),
            weights: self.weights(prepared, options, n),
            faults: Vec::new(),
            notes: Vec::new(),
            written: Vec::new(),
        }
    }

    fn weights(&self, prepared: &Prepared, options: &InspectOptions, n: f64) -> Vec<WeightInspection> {
        let Some(inside) = &prepared.inside else { return Vec::new() };
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let mut weights = Vec::new();
        for ((name, _), gradient) in inside.gradients.iter().zip(&self.gradients) {
            let constant = prepared.graph.find(name).and_then(|id| prepared.graph.constant(id));
            let (Some(gradient), Some(constant)) = (gradient, constant) else { continue };
            let own = norm(&mut constant.to_f64().into_iter());
            let slope = norm(&mut gradient.iter().copied()) / n;
            weights.push(WeightInspection {
                name: name.clone(),
                shape: constant.shape().to_vec(),
                norm: own,
                gradient: slope,
                update: (own > 0.0).then(|| options.learning_rate * slope / own),
            });
        }
        weights
    }
}

/// The windows of a layer that picks the largest of each.
fn pooled(graph: &Graph, watched: &Watched) -> Option<Vec<FixedAxis>> {
    if watched.layer.kind != "MaxPool" {
        return None;
    }
    let id = graph.producer_of(graph.find(&watched.layer.value)?)?;
    let node = graph.node(id);
    let shape = graph.value(node.input(0)?).shape.as_ref()?;
    Window::of_pool(node, shape.get(2..)?).ok()?.fixed()
}

impl WinnerWatch {
    fn new(axes: Vec<FixedAxis>) -> Self {
        let places: i64 = axes.iter().map(|axis| axis.kernel).product();
        let counts = vec![0; usize::try_from(places).unwrap_or(0)];
        Self { counts, axes, table: Vec::new(), windows: 0, ties: 0 }
    }

    /// Every window of every channel and row.
    fn add(&mut self, values: &[f32], input: &[usize], output: &[usize]) {
        if input.len() != self.axes.len() + 2 || output.len() != input.len() {
            return;
        }
        if self.table.is_empty() {
            self.table = windows(&self.axes, &output[2..]);
        }
        let plane: usize = input[2..].iter().product();
        for values in values.chunks(plane.max(1)) {
            for window in &self.table {
                let mut best: Option<(f32, usize)> = None;
                let mut tied = false;
                for (offset, position) in window {
                    let Some(value) = values.get(*position) else { continue };
                    match best {
                        Some((most, _)) if *value < most => {}
                        #[expect(clippy::float_cmp, reason = "a tie is of equal numbers")]
                        Some((most, _)) if *value == most => tied = true,
                        _ => (best, tied) = (Some((*value, *offset)), false),
                    }
                }
                if let Some((_, offset)) = best {
                    self.counts[offset] += 1;
                    self.windows += 1;
                    self.ties += u64::from(tied);
                }
            }
        }
    }

    fn finish(&self) -> Option<Winners> {
        if self.windows == 0 {
            return None;
        }
        let n = self.windows as f64;
        Some(Winners {
            window: self.axes.iter().map(|axis| usize::try_from(axis.kernel).unwrap_or(0)).collect(),
            shares: self.counts.iter().map(|count| *count as f64 / n).collect(),
            ties: self.ties as f64 / n,
        })
    }
}

/// For every window: its places that are no padding, and where in the input's plane they are.
pub(crate) fn windows(axes: &[FixedAxis], output: &[usize]) -> Vec<Vec<(usize, usize)>> {
    let kernel: Vec<usize> = axes.iter().map(|axis| usize::try_from(axis.kernel).unwrap_or(0)).collect();
    let window = |place: usize| {
        let at = unravel(place, output);
        let position = |offset: usize| {
            let within = unravel(offset, &kernel);
            axes.iter().zip(at.iter().zip(&within)).try_fold(0usize, |sum, (axis, (o, k))| {
                let position = axis.position(i64::try_from(*o).ok()?, i64::try_from(*k).ok()?)?;
                Some(sum * usize::try_from(axis.input).ok()? + usize::try_from(position).ok()?)
            })
        };
        let places = 0..kernel.iter().product();
        places.filter_map(|offset| position(offset).map(|position| (offset, position))).collect()
    };
    (0..output.iter().product()).map(window).collect()
}

/// The place along each axis of a number in row-major order.
pub(crate) fn unravel(mut place: usize, sizes: &[usize]) -> Vec<usize> {
    let mut at = vec![0; sizes.len()];
    for (axis, size) in sizes.iter().enumerate().rev() {
        at[axis] = place % (*size).max(1);
        place /= (*size).max(1);
    }
    at
}

/// An array's numbers in row-major order, without a copy where that can be.
pub(crate) fn numbers(array: &Array) -> Cow<'_, [f32]> {
    match array.as_f32().and_then(|array| array.as_slice()) {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(array.to_f32().iter().copied().collect()),
    }
}
