//! How the weights of a layer are distributed.

use pellucid_graph::Tensor;
use serde::Serialize;

/// Bins of a histogram.
const BINS: usize = 32;

/// Channels whose norm is below this share of the median channel's are dead.
const DEAD: f64 = 1e-6;

/// Channels that agree in direction beyond this cosine, and in norm to the same share, are duplicates.
const SAME: f64 = 1.0 - 1e-6;

/// How the numbers of a weight are distributed. Channels are those of the output, the first axis (the second of a
/// transposed convolution's and of a matrix that is multiplied from the right).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightStatistics {
    /// Name of the weight.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Σ w / n.
    pub mean: f64,
    /// √(Σ (w − mean)² / n).
    pub std: f64,
    /// Fourth central moment / std⁴, less 3, which is a normal distribution's.
    pub excess_kurtosis: f64,
    /// Share of exact zeros.
    pub sparsity: f64,
    /// Smallest, 1 %, 25 %, 50 %, 75 %, 99 %, largest: nearest ranks.
    pub quantiles: [f64; 7],
    /// Counts of [`WeightStatistics::quantiles`]' range in equal bins.
    pub histogram: Vec<u64>,
    /// Euclidean norm of each channel.
    pub channel_norms: Vec<f64>,
    /// Channels that are as good as zero.
    pub dead_channels: Vec<usize>,
    /// Channels that are the same as an earlier one, with that one.
    pub duplicate_channels: Vec<(usize, usize)>,
    /// std / √(2 / fan-in): 1 as He et al. (2015), Delving Deep into Rectifiers, arXiv:1502.01852, initialise.
    pub he_ratio: f64,
    /// Numbers that are not finite.
    pub not_finite: u64,
}

impl WeightStatistics {
    /// Of `tensor`, whose output channels lie along `axis`; `None` where it is empty or not of numbers.
    pub(super) fn of(name: &str, tensor: &Tensor, axis: usize) -> Option<Self> {
        let shape = tensor.shape().to_vec();
        let all = tensor.to_f32();
        let values: Vec<f32> = all.iter().copied().filter(|value| value.is_finite()).collect();
        if values.is_empty() || axis >= shape.len() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let moment = |power: i32| {
            values.iter().map(|value| (f64::from(*value) - mean).powi(power)).sum::<f64>() / count
        };
        let variance = moment(2);
        let kurtosis = if variance > 0.0 { moment(4) / (variance * variance) - 3.0 } else { 0.0 };
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let quantiles =
            [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0].map(|share| f64::from(ranked(&sorted, share)));
        let channels = by_channel(&all, &shape, axis);
        let norms: Vec<f64> = channels.iter().map(|channel| norm(channel)).collect();
        let fan_in = channels.first().map_or(1, Vec::len).max(1);
        Some(Self {
            name: name.to_owned(),
            mean,
            std: variance.sqrt(),
            excess_kurtosis: kurtosis,
            sparsity: zeros as f64 / count,
            histogram: histogram(&values, quantiles[0], quantiles[6]),
            quantiles,
            dead_channels: dead(&norms),
            duplicate_channels: duplicates(&channels, &norms),
            channel_norms: norms,
            he_ratio: variance.sqrt() / (2.0 / fan_in as f64).sqrt(),
            not_finite: (all.len() - values.len()) as u64,
            shape,
        })
    }
}

fn ranked(sorted: &[f32], share: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let rank = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[rank.min(sorted.len() - 1)]
}

fn histogram(values: &[f32], low: f64, high: f64) -> Vec<u64> {
    let mut counts = vec![0; BINS];
    let width = (high - low).max(f64::MIN_POSITIVE);
    for value in values {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped below")]
        let bin = ((f64::from(*value) - low) / width * BINS as f64) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    counts
}

/// The numbers of each channel.
fn by_channel(values: &[f32], shape: &[usize], axis: usize) -> Vec<Vec<f32>> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut channels: Vec<Vec<f32>> =
        vec![Vec::with_capacity(values.len() / shape[axis].max(1)); shape[axis]];
    for (number, part) in values.chunks(inner.max(1)).enumerate() {
        channels[number % shape[axis]].extend_from_slice(part);
    }
    channels
}

fn norm(channel: &[f32]) -> f64 {
    channel.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

fn dead(norms: &[f64]) -> Vec<usize> {
    let mut sorted = norms.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    (0..norms.len()).filter(|channel| norms[*channel] <= DEAD * middle).collect()
}

/// Channels of the same norm and direction: neighbours in the order of norms are compared, as duplicates must be.
fn duplicates(channels: &[Vec<f32>], norms: &[f64]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..channels.len()).filter(|channel| norms[*channel] > 0.0).collect();
    order.sort_unstable_by(|a, b| norms[*a].total_cmp(&norms[*b]).then(a.cmp(b)));
    let mut found = Vec::new();
    for (place, first) in order.iter().enumerate() {
        for second in &order[place + 1..] {
            if norms[*first] < norms[*second] * SAME {
                break;
            }
            let dot: f64 = channels[*first]
                .iter()
                .zip(&channels[*second])
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum();
            if dot >= SAME * norms[*first] * norms[*second] {
                found.push((*first.max(second), *first.min(second)));
            }
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|(channel, _)| *channel);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_and_duplicate_channels_are_found() {
        let weight = [1.0, 2.0, 0.0, 0.0, 3.0, -1.0, 1.0, 2.0];
        let tensor = Tensor::from_f32(vec![4, 2], &weight).unwrap();
        let found = WeightStatistics::of("w", &tensor, 0).unwrap();
        assert_eq!(found.dead_channels, [1]);
        assert_eq!(found.duplicate_channels, [(3, 0)]);
        assert_eq!(found.histogram.iter().sum::<u64>(), 8);
        assert!((found.mean - 1.0).abs() < 1e-12 && (found.sparsity - 0.25).abs() < 1e-12);
        let across = WeightStatistics::of("w", &tensor, 1).unwrap();
        assert_eq!(across.channel_norms.len(), 2);
        assert!((across.channel_norms[0] - 11f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn moments_are_those_of_their_definitions() {
        let tensor = Tensor::from_f32(vec![4], &[-1.0, -1.0, 1.0, 1.0]).unwrap();
        let found = WeightStatistics::of("w", &tensor, 0).unwrap();
        assert!((found.std - 1.0).abs() < 1e-12 && (found.excess_kurtosis + 2.0).abs() < 1e-12);
        assert!((found.quantiles[0] + 1.0).abs() < 1e-12 && (found.quantiles[6] - 1.0).abs() < 1e-12);
    }
}
