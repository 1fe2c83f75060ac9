//! How the weights of a layer are distributed, how they compare with the usual initialisation, and what is remarkable.

mod channels;
mod initial;
pub(super) mod numbers;
mod spectrum;
mod words;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pellucid_graph::{Graph, Node, Tensor};
use serde::Serialize;

use super::layers::Layers;
use super::parameters::{Found, Parameter};

pub use self::initial::Initialisation;
pub use self::spectrum::Spectrum;

/// What a parameter is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Of a convolution.
    Kernel,
    /// Of a fully connected layer or a projection.
    Matrix,
    /// Of a recurrent layer, from step to step.
    Recurrent,
    /// Rows that are looked up: an embedding.
    Table,
    /// Added.
    Bias,
    /// Of a normalisation: what is multiplied.
    Scale,
    /// Of a normalisation: what is added.
    Shift,
    /// Running mean of a batch normalisation.
    RunningMean,
    /// Running variance of a batch normalisation.
    RunningVariance,
    /// Anything else.
    Other,
}

impl Role {
    /// Of the input of `node` at `position`.
    pub(super) fn of(node: &Node, position: usize) -> Self {
        match (node.operator.as_str(), position) {
            ("Conv" | "ConvTranspose", 1) => Self::Kernel,
            ("Gemm" | "MatMul", 0 | 1) | ("Einsum", _) | ("LSTM" | "GRU" | "RNN", 1) => Self::Matrix,
            ("LSTM" | "GRU" | "RNN", 2) => Self::Recurrent,
            ("Gather", 0) => Self::Table,
            ("Conv" | "ConvTranspose" | "Gemm", 2)
            | ("LSTM" | "GRU" | "RNN", 3)
            | ("Add" | "Sub" | "Sum", _) => Self::Bias,
            (operator, 1) if operator.ends_with("Normalization") => Self::Scale,
            (operator, 2) if operator.ends_with("Normalization") => Self::Shift,
            ("BatchNormalization", 3) => Self::RunningMean,
            ("BatchNormalization", 4) => Self::RunningVariance,
            _ => Self::Other,
        }
    }

    /// Whether it is a running mean or variance.
    pub fn is_statistic(self) -> bool {
        matches!(self, Self::RunningMean | Self::RunningVariance)
    }

    /// Whether it is a matrix of products, with output channels and inputs.
    pub fn is_product(self) -> bool {
        matches!(self, Self::Kernel | Self::Matrix | Self::Recurrent | Self::Table)
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Matrix => "matrix",
            Self::Recurrent => "recurrent",
            Self::Table => "table",
            Self::Bias => "bias",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::RunningMean => "running mean",
            Self::RunningVariance => "running variance",
            Self::Other => "other",
        }
    }
}

/// How the numbers of a parameter are distributed. Channels are those of the output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightStatistics {
    /// Name of the parameter.
    pub name: String,
    /// Name of its layer, which tells more where an exporter numbered the parameters.
    pub layer: String,
    /// What it is to its layer.
    pub role: Role,
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
    /// Counts in equal bins from the smallest to the largest.
    pub histogram: Vec<u64>,
    /// Euclidean norm of each output channel.
    pub channel_norms: Vec<f64>,
    /// Channels that are as good as zero: below a millionth of the median norm.
    pub dead_channels: Vec<usize>,
    /// Channels that are the same as an earlier one, with that one: norms and direction agree to a millionth.
    pub duplicate_channels: Vec<(usize, usize)>,
    /// How it compares with what its kind is usually initialised to.
    pub initialisation: Option<Initialisation>,
    /// Singular values of the matrix of output channels × inputs, where they were computed.
    pub spectrum: Option<Spectrum>,
    /// Numbers that are not finite; they count nowhere else.
    pub not_finite: u64,
    /// What is remarkable, in words.
    pub remarks: Vec<String>,
}

/// How a parameter lies in its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) role: Role,
    /// Axis of output channels.
    pub(super) axis: usize,
    /// Groups of channels that see different inputs.
    pub(super) groups: usize,
}

impl Place {
    pub(super) fn of(node: &Node, parameter: &Parameter, rank: usize) -> Self {
        let last = rank.saturating_sub(1);
        let across = match node.operator.as_str() {
            "Gemm" => node.int("transB", 0) == 0,
            "MatMul" => parameter.position == 1,
            _ => false,
        };
        let axis = match (node.operator.as_str(), parameter.role) {
            _ if rank < 2 => 0,
            ("ConvTranspose", Role::Kernel) | ("LSTM" | "GRU" | "RNN", _) => 1,
            (_, Role::Matrix) if across != parameter.transposed => last,
            (_, Role::Matrix) => last - 1,
            _ => 0,
        };
        let groups = match parameter.role {
            Role::Kernel => usize::try_from(node.int("group", 1)).unwrap_or(1).max(1),
            _ => 1,
        };
        Self { role: parameter.role, axis, groups }
    }
}

impl WeightStatistics {
    /// `None` where the tensor has no finite number.
    fn of(name: &str, tensor: &Tensor, place: Place, singular_values: usize) -> Option<Self> {
        let shape = tensor.shape().to_vec();
        let numbers = numbers::Numbers::of(tensor)?;
        let channels = channels::Channels::of(tensor, place);
        let spectrum = if place.role.is_product() && place.groups == 1 && numbers.not_finite == 0 {
            spectrum::Spectrum::of(tensor, place.axis, singular_values)
        } else {
            None
        };
        let mut found = Self {
            name: name.to_owned(),
            layer: String::new(),
            role: place.role,
            mean: numbers.mean,
            std: numbers.std,
            excess_kurtosis: numbers.excess_kurtosis,
            sparsity: numbers.sparsity,
            quantiles: numbers.quantiles,
            histogram: numbers.histogram,
            channel_norms: channels.norms,
            dead_channels: channels.dead,
            duplicate_channels: channels.duplicates,
            initialisation: None,
            spectrum,
            not_finite: numbers.not_finite,
            remarks: Vec::new(),
            shape,
        };
        found.initialisation = Initialisation::of(&found, place.axis, place.groups);
        found.remarks = words::remarks(&found);
        Some(found)
    }

    /// Its name for people: that of the parameter, with the layer's before it where that tells more.
    pub fn title(&self) -> String {
        if self.name.starts_with(&self.layer) {
            self.name.clone()
        } else {
            format!("{} ({})", self.layer, self.name)
        }
    }

    /// The largest |w|.
    pub fn largest(&self) -> f64 {
        self.quantiles[6].abs().max(self.quantiles[0].abs())
    }

    /// Euclidean norm of all of it.
    pub fn norm(&self) -> f64 {
        self.channel_norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt()
    }
}

/// Reads every parameter and describes it, several at a time.
pub(super) fn describe(graph: &Graph, found: &Found, singular_values: usize, layers: &mut Layers) {
    let mut jobs: Vec<(usize, &str, &Tensor, Place)> = Vec::new();
    for (layer, id) in layers.nodes.iter().enumerate() {
        let node = graph.node(*id);
        for parameter in found.of.get(&id.index()).into_iter().flatten().filter(|parameter| !parameter.again)
        {
            let value = graph.value(parameter.constant);
            let Some(tensor) = value.constant() else { continue };
            jobs.push((layer, &value.name, tensor, Place::of(node, parameter, tensor.shape().len())));
        }
    }
    // The largest first, so that threads end together.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|job| std::cmp::Reverse(jobs[*job].2.len()));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, WeightStatistics)>> = Mutex::new(Vec::new());
    let work = || {
        while let Some(job) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (_, name, tensor, place) = jobs[*job];
            if let Some(statistics) = WeightStatistics::of(name, tensor, place, singular_values) {
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((*job, statistics));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(job, _)| *job);
    for (job, statistics) in done {
        let layer = &mut layers.rows[jobs[job].0];
        layer.weights.push(WeightStatistics { layer: layer.name.clone(), ..statistics });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(shape: [usize; 2], values: &[f32], axis: usize) -> WeightStatistics {
        let tensor = Tensor::from_f32(shape.to_vec(), values).unwrap();
        WeightStatistics::of("w", &tensor, Place { role: Role::Matrix, axis, groups: 1 }, 64).unwrap()
    }

    #[test]
    fn dead_and_duplicate_channels_are_found() {
        let weight = [1.0, 2.0, 0.0, 0.0, 3.0, -1.0, 1.0, 2.0];
        let found = matrix([4, 2], &weight, 0);
        assert_eq!(found.dead_channels, [1]);
        assert_eq!(found.duplicate_channels, [(3, 0)]);
        assert_eq!(found.histogram.iter().sum::<u64>(), 8);
        assert!((found.mean - 1.0).abs() < 1e-12 && (found.sparsity - 0.25).abs() < 1e-12);
        let across = matrix([4, 2], &weight, 1);
        assert_eq!(across.channel_norms.len(), 2);
        assert!((across.channel_norms[0] - 11f64.sqrt()).abs() < 1e-12);
        // The same columns, seen from the other side.
        let turned = matrix([2, 4], &[1.0, 0.0, 3.0, 1.0, 2.0, 0.0, -1.0, 2.0], 1);
        assert_eq!((turned.dead_channels, turned.duplicate_channels), (vec![1], vec![(3, 0)]));
    }

    #[test]
    fn a_channel_that_points_elsewhere_is_no_duplicate() {
        assert!(matrix([2, 2], &[1.0, 2.0, 2.0, 1.0], 0).duplicate_channels.is_empty());
        assert!(matrix([2, 2], &[1.0, 2.0, -1.0, -2.0], 0).duplicate_channels.is_empty());
        assert!(matrix([2, 2], &[1.0, 2.0, 1.001, 2.002], 0).duplicate_channels.is_empty(), "twice as long");
    }
}
