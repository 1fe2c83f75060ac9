//! What goes into a model: statistics by channel, and whether channels stand in the order that the model knows.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::InspectOptions;
use super::distribution::{Distribution, Sketch};
use super::faults::{Fault, FaultKind};
use super::judge::Resolved;
use super::pass::numbers;
use crate::array::Array;
use crate::error::Error;
use crate::explain::{Predictor, Progress, Silent};
use crate::file;
use crate::input::{Inputs, Shapes};
use crate::model::Model;
use crate::space::channel_axis;

/// Inputs of more channels than this are described as a whole only.
const MOST_CHANNELS: usize = 4096;

/// Rows that are kept, to be shown to the model with channels in other orders, and their most bytes.
const SAMPLE: usize = 512;
const SAMPLE_BYTES: usize = 16 << 20;

/// Fewest rows from which an order of channels is judged.
const FEWEST: usize = 16;

/// Bytes of the largest file of statistics.
const REFERENCE_BYTES: u64 = 64 << 20;

/// Statistics of a channel, or of a feature of an input without channels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// What went into one input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputStatistics {
    /// Its name.
    pub name: String,
    /// All numbers.
    pub values: Option<Distribution>,
    /// By channel, or by feature; empty above 4,096.
    pub channels: Vec<ChannelStatistics>,
    /// Whether every number is whole.
    pub whole: bool,
}

/// Statistics of inputs that are as they should be, as an inspection's JSON holds them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reference {
    inputs: Vec<ReferenceInput>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ReferenceInput {
    name: String,
    channels: Vec<ChannelStatistics>,
}

impl Reference {
    /// Reads an inspection's JSON.
    ///
    /// # Errors
    /// Files that are none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path, REFERENCE_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::input(
                path.display().to_string(),
                format!(
                    "it holds no statistics, expected what `pellucid inspect -o FILE.json` writes: {error}"
                ),
            )
        })
    }
}

/// Watches an input as rows come.
#[derive(Debug, Clone)]
pub(crate) struct InputWatch {
    name: String,
    axis: Option<usize>,
    all: Sketch,
    channels: Vec<Channel>,
    whole: bool,
}

#[derive(Debug, Clone)]
struct Channel {
    count: u64,
    sum: f64,
    square: f64,
    low: f32,
    high: f32,
}

impl InputWatch {
    pub(crate) fn all(model: &Model, shapes: &Shapes) -> Vec<Self> {
        let watch = |(name, shape): &(String, Vec<usize>)| Self {
            axis: channel_axis(model, name, shape).filter(|axis| shape[*axis] <= MOST_CHANNELS),
            name: name.clone(),
            all: Sketch::new(),
            channels: Vec::new(),
            whole: true,
        };
        shapes.iter().map(watch).collect()
    }

    pub(crate) fn add(&mut self, array: &Array) {
        let values = numbers(array);
        for value in values.iter() {
            self.all.add(*value);
            self.whole = self.whole && value.fract() == 0.0;
        }
        let shape = array.shape();
        let Some(count) = self.axis.and_then(|axis| shape.get(axis)).copied().filter(|count| *count > 0)
        else {
            return;
        };
        if self.channels.is_empty() {
            let none =
                Channel { count: 0, sum: 0.0, square: 0.0, low: f32::INFINITY, high: f32::NEG_INFINITY };
            self.channels = vec![none; count];
        }
        let inner: usize = self.axis.map_or(1, |axis| shape[axis + 1..].iter().product());
        for (block, values) in values.chunks(inner.max(1)).enumerate() {
            let channel = &mut self.channels[block % count];
            for value in values {
                let number = f64::from(*value);
                channel.count += 1;
                channel.sum += number;
                channel.square += number * number;
                channel.low = channel.low.min(*value);
                channel.high = channel.high.max(*value);
            }
        }
    }

    pub(crate) fn finish(&self) -> InputStatistics {
        let statistics = |channel: &Channel| {
            let n = channel.count.max(1) as f64;
            let mean = channel.sum / n;
            ChannelStatistics {
                mean,
                std: (channel.square / n - mean * mean).max(0.0).sqrt(),
                min: f64::from(channel.low),
                max: f64::from(channel.high),
            }
        };
        InputStatistics {
            name: self.name.clone(),
            values: self.all.distribution(),
            channels: self.channels.iter().map(statistics).collect(),
            whole: self.whole,
        }
    }
}

/// How inputs differ from what they were once.
pub(crate) fn against(inputs: &[InputStatistics], reference: &Reference) -> Vec<Fault> {
    let mut faults = Vec::new();
    for input in inputs {
        let Some(known) = reference.inputs.iter().find(|known| known.name == input.name) else { continue };
        if known.channels.len() != input.channels.len() || known.channels.is_empty() {
            continue;
        }
        let distance = |order: &[usize]| -> f64 {
            let parts = order.iter().zip(&input.channels).map(|(place, found)| {
                let wanted = known.channels[*place];
                let spread = wanted.std.max(1e-12);
                let ratio = (found.std.max(1e-12) / spread).ln();
                ((found.mean - wanted.mean) / spread).powi(2) + ratio * ratio
            });
            parts.sum()
        };
        let straight: Vec<usize> = (0..input.channels.len()).collect();
        let as_given = distance(&straight);
        let best = orders(input.channels.len())
            .into_iter()
            .map(|order| (distance(&order), order))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((least, order)) = best
            && order != straight
            && as_given > 0.02 * order.len() as f64
            && least < 0.25 * as_given
        {
            faults.push(Fault::new(
                FaultKind::SwappedChannels,
                Some(&input.name),
                format!(
                    "channels of input {:?} are swapped: they have the statistics of the reference's channels {}",
                    input.name,
                    listed(&order)
                ),
            ));
            continue;
        }
        for (place, (found, wanted)) in input.channels.iter().zip(&known.channels).enumerate() {
            let far = (found.mean - wanted.mean).abs() > wanted.std;
            let ratio = found.std / wanted.std.max(1e-12);
            if far || !(0.5..=2.0).contains(&ratio) {
                faults.push(Fault::new(
                    FaultKind::UnnormalisedInput,
                    Some(&input.name),
                    format!(
                        "input {:?} is not normalised as the reference: channel {place} has mean {:.3} and standard \
                         deviation {:.3}, there {:.3} and {:.3}",
                        input.name, found.mean, found.std, wanted.mean, wanted.std
                    ),
                ));
                break;
            }
        }
    }
    faults
}

fn listed(order: &[usize]) -> String {
    order.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// Every order of up to four channels; of more, the reverse alone.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count > 4 {
        return vec![(0..count).collect(), (0..count).rev().collect()];
    }
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..count {
        orders = orders
            .iter()
            .flat_map(|order| {
                let free = (0..count).filter(|place| !order.contains(place));
                free.map(|place| [order.as_slice(), &[place]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    orders
}

/// The first rows, to be shown to the model with channels in other orders.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    arrays: Vec<(String, Vec<Array>)>,
    rows: usize,
    answers: Vec<Option<i64>>,
}

impl Sample {
    pub(crate) fn add(
        &mut self,
        arrays: &[(String, Array)],
        rows: &Range<usize>,
        answers: Option<&Resolved>,
    ) {
        let [(name, array)] = arrays else { return };
        let by_row: usize = array.shape()[1..].iter().product();
        let most = SAMPLE.min(SAMPLE_BYTES / (4 * by_row).max(1)).max(FEWEST);
        let more = most.saturating_sub(self.rows).min(rows.len());
        if more == 0 {
            return;
        }
        if self.arrays.is_empty() {
            self.arrays.push((name.clone(), Vec::new()));
        }
        self.arrays[0].1.push(array.rows(0..more));
        self.answers
            .extend((rows.start..rows.start + more).map(|row| answers.and_then(|all| all.class(row))));
        self.rows += more;
    }

    /// Whether the model knows the examples better with their channels in another order: by its loss where right answers
    /// are known, else by how sure it is. Costs one evaluation a row and order.
    pub(crate) fn faults(
        &self,
        model: &Model,
        options: &InspectOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Fault>, Error> {
        let Some((name, parts)) = self.arrays.first() else { return Ok(Vec::new()) };
        let parts: Vec<&Array> = parts.iter().collect();
        let array = crate::explain::join(&parts)?;
        let axis = channel_axis(model, name, array.shape());
        let Some(axis) = axis.filter(|axis| array.shape()[*axis] == 3 && array.shape().len() == 4) else {
            return Ok(Vec::new());
        };
        if self.rows < FEWEST || progress.is_cancelled() {
            return Ok(Vec::new());
        }
        let shapes = vec![(name.clone(), array.shape().to_vec())];
        let score = options.score.as_deref();
        let mut predictor = Predictor::new(model, &shapes, score, &options.limits, &Silent)?;
        let mut judged: Vec<(Vec<usize>, Vec<f64>)> = Vec::new();
        for order in orders(3) {
            let inputs = Inputs::from_arrays(vec![(name.clone(), reordered(&array, axis, &order))])?;
            let prediction = predictor.predict(&inputs)?;
            if prediction.scores.ncols() < 2 {
                return Ok(Vec::new());
            }
            let costs = prediction.scores.rows().into_iter().zip(&self.answers);
            let costs = costs.map(|(scores, answer)| cost(&scores.to_vec(), *answer)).collect();
            judged.push((order, costs));
        }
        Ok(self.verdict(name, &judged).into_iter().collect())
    }

    fn verdict(&self, name: &str, judged: &[(Vec<usize>, Vec<f64>)]) -> Option<Fault> {
        let mean = |costs: &[f64]| costs.iter().sum::<f64>() / costs.len() as f64;
        let (_, given) = judged.first()?;
        let (order, best) = judged.iter().skip(1).min_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)))?;
        let differences: Vec<f64> = given.iter().zip(best).map(|(given, best)| given - best).collect();
        let gain = mean(&differences);
        let spread = differences.iter().map(|difference| (difference - gain).powi(2)).sum::<f64>();
        let error = (spread / (differences.len() as f64 * (differences.len() as f64 - 1.0))).sqrt();
        // Better by far more than chance, and by what matters.
        if gain < 4.0 * error || gain < 0.1 || gain < 0.2 * mean(given) {
            return None;
        }
        let by_labels = self.answers.iter().all(Option::is_some);
        let what = if by_labels { "the loss" } else { "the surprise (−log of the highest probability)" };
        Some(Fault::new(
            FaultKind::SwappedChannels,
            Some(name),
            format!(
                "channels of input {name:?} are swapped, or those of the first layer: with channels in the order {} {what} \
                 falls from {:.2} to {:.2}",
                listed(order),
                mean(given),
                mean(best)
            ),
        ))
    }
}

/// −log of the probability of the right class, or of the likeliest where none is known.
fn cost(scores: &[f32], answer: Option<i64>) -> f64 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - most).exp()).sum();
    let right = answer.and_then(|class| scores.get(usize::try_from(class).ok()?)).copied().unwrap_or(most);
    sum.ln() - f64::from(right - most)
}

fn reordered(array: &Array, axis: usize, order: &[usize]) -> Array {
    Array::F32(array.to_f32().select(ndarray::Axis(axis), order))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(channels: &[(f64, f64)]) -> InputStatistics {
        let channels = channels.iter().map(|(mean, std)| ChannelStatistics {
            mean: *mean,
            std: *std,
            min: 0.0,
            max: 1.0,
        });
        InputStatistics { name: "x".into(), values: None, channels: channels.collect(), whole: false }
    }

    fn reference(channels: &[(f64, f64)]) -> Reference {
        let text = serde_json::to_string(&serde_json::json!({ "inputs": [input(channels)] })).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn statistics_of_another_time_tell_swapped_from_unnormalised() {
        let known = reference(&[(0.0, 1.0), (0.5, 0.7), (1.0, 0.4)]);
        let kinds = |found: &[(f64, f64)]| -> Vec<FaultKind> {
            against(&[input(found)], &known).into_iter().map(|fault| fault.kind).collect()
        };
        assert_eq!(kinds(&[(0.05, 0.98), (0.5, 0.71), (0.9, 0.42)]), []);
        assert_eq!(kinds(&[(1.0, 0.4), (0.5, 0.7), (0.0, 1.0)]), [FaultKind::SwappedChannels]);
        assert_eq!(kinds(&[(80.0, 60.0), (90.0, 60.0), (70.0, 60.0)]), [FaultKind::UnnormalisedInput]);
    }

    #[test]
    fn a_cost_is_of_the_right_class_or_of_the_likeliest() {
        assert!((cost(&[0.0, 0.0], Some(1)) - 2f64.ln()).abs() < 1e-12);
        assert!((cost(&[0.0, 3f32.ln()], Some(0)) - 4f64.ln()).abs() < 1e-6);
        assert!((cost(&[0.0, 3f32.ln()], None) - (4.0f64 / 3.0).ln()).abs() < 1e-6);
    }
}
