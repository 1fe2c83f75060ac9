//! How a weight compares with what layers of its kind are usually initialised to.
//!
//! Sources: K. He et al. (2015), Delving Deep into Rectifiers, arXiv:1502.01852; X. Glorot and Y. Bengio (2010),
//! Understanding the difficulty of training deep feedforward neural networks, AISTATS; PyTorch's layers draw weights
//! evenly from ±1/√fan-in.

use serde::Serialize;

use super::{Role, WeightStatistics};

/// What a weight is usually initialised to, and how far it is from that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Initialisation {
    /// What is usual for its kind.
    pub usual: &'static str,
    /// The usual standard deviation; 0 where all numbers are the same.
    pub std: f64,
    /// Standard deviation / the usual one, where that is not 0.
    pub ratio: Option<f64>,
    /// Inputs that an output adds up, of kernels and matrices.
    pub fan_in: Option<usize>,
    /// Outputs that an input goes to.
    pub fan_out: Option<usize>,
    /// What it is distributed like, where that is an initialisation: then it was hardly trained, or not at all.
    pub like: Option<&'static str>,
}

impl Initialisation {
    /// Of a parameter that is described, whose output channels lie along `axis`.
    pub(super) fn of(weight: &WeightStatistics, axis: usize, groups: usize) -> Option<Self> {
        let plain = |usual, std: f64, like| {
            let ratio = (std > 0.0).then(|| weight.std / std);
            Some(Self { usual, std, ratio, fan_in: None, fan_out: None, like })
        };
        match weight.role {
            Role::Scale | Role::RunningVariance => {
                plain("all 1", 0.0, constant(weight, 1.0).then_some("all 1"))
            }
            Role::Shift | Role::RunningMean => plain("all 0", 0.0, constant(weight, 0.0).then_some("all 0")),
            Role::Table => plain("normal, std 1", 1.0, normal(weight, 1.0).then_some("normal, std 1")),
            Role::Kernel | Role::Matrix | Role::Recurrent => {
                let (fan_in, fan_out) = fans(weight, axis, groups)?;
                let he = (2.0 / fan_in as f64).sqrt();
                Some(Self {
                    usual: "He: std √(2 / fan-in)",
                    std: he,
                    ratio: Some(weight.std / he),
                    fan_in: Some(fan_in),
                    fan_out: Some(fan_out),
                    like: like(weight, fan_in as f64, fan_out as f64),
                })
            }
            Role::Bias | Role::Other => None,
        }
    }
}

/// Numbers that an output adds up, and outputs that an input goes to.
fn fans(weight: &WeightStatistics, axis: usize, groups: usize) -> Option<(usize, usize)> {
    let shape = &weight.shape;
    let (rank, channels) = (shape.len(), *shape.get(axis)?);
    let all: usize = shape.iter().product();
    if rank < 2 || channels == 0 || all == 0 {
        return None;
    }
    let fan_in = all / channels;
    let fan_out = match weight.role {
        Role::Kernel => channels * shape[2..].iter().product::<usize>() / groups,
        _ => channels,
    };
    Some((fan_in, fan_out.max(1)))
}

fn constant(weight: &WeightStatistics, value: f64) -> bool {
    weight.quantiles[0].to_bits() == value.to_bits() && weight.quantiles[6].to_bits() == value.to_bits()
}

fn count(weight: &WeightStatistics) -> f64 {
    weight.shape.iter().product::<usize>() as f64
}

/// Fewer numbers than this look like anything.
const FEW: f64 = 200.0;

/// Whether it is distributed like a normal distribution of mean 0 and `std`: mean, spread and kurtosis within four
/// standard errors, and a hundredth for rounding.
fn normal(weight: &WeightStatistics, std: f64) -> bool {
    let n = count(weight);
    n >= FEW
        && (weight.std / std - 1.0).abs() < 0.01 + 4.0 / (2.0 * n).sqrt()
        && weight.mean.abs() < (0.01 + 4.0 / n.sqrt()) * std
        && weight.excess_kurtosis.abs() < 0.01 + 4.0 * (24.0 / n).sqrt()
}

/// Whether it is spread evenly over ±`bound`.
fn uniform(weight: &WeightStatistics, bound: f64) -> bool {
    let n = count(weight);
    // The largest of n is below the bound by about bound / n.
    n >= FEW
        && weight.largest() <= bound * (1.0 + 1e-6)
        && weight.largest() > bound * (1.0 - 20.0 / n)
        && weight.mean.abs() < (0.01 + 4.0 / n.sqrt()) * bound
        && (weight.excess_kurtosis + 1.2).abs() < 0.01 + 4.0 / n.sqrt()
}

/// The initialisation that it is distributed like.
fn like(weight: &WeightStatistics, fan_in: f64, fan_out: f64) -> Option<&'static str> {
    let normals = [
        ("He, normal, by fan-in", (2.0 / fan_in).sqrt()),
        ("He, normal, by fan-out", (2.0 / fan_out).sqrt()),
        ("Glorot, normal", (2.0 / (fan_in + fan_out)).sqrt()),
        ("LeCun, normal", (1.0 / fan_in).sqrt()),
        ("normal, std 0.01", 0.01),
        ("normal, std 0.02", 0.02),
    ];
    let uniforms = [
        ("PyTorch's, even within ±1/√fan-in", (1.0 / fan_in).sqrt()),
        ("He, even, by fan-in", (6.0 / fan_in).sqrt()),
        ("Glorot, even", (6.0 / (fan_in + fan_out)).sqrt()),
    ];
    let even = uniforms.into_iter().find(|(_, bound)| uniform(weight, *bound)).map(|(name, _)| name);
    let bell = || normals.into_iter().find(|(_, std)| normal(weight, *std)).map(|(name, _)| name);
    even.or_else(bell)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::Tensor;

    use super::super::Place;
    use super::*;

    fn described(shape: [usize; 2], value: impl Fn(usize) -> f32) -> WeightStatistics {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(value).collect();
        let tensor = Tensor::from_f32(shape.to_vec(), &values).unwrap();
        WeightStatistics::of("w", &tensor, Place { role: Role::Matrix, axis: 0, groups: 1 }, 0).unwrap()
    }

    #[test]
    fn what_was_never_trained_is_recognised() {
        // Evenly spread over ±1/√100.
        let even = described([50, 100], |k| 0.2 * ((k * 1223 % 5000) as f32 / 4999.0 - 0.5));
        let found = even.initialisation.unwrap();
        assert_eq!((found.fan_in, found.fan_out), (Some(100), Some(50)));
        assert_eq!(found.like, Some("PyTorch's, even within ±1/√fan-in"));
        assert!((found.ratio.unwrap() - 1.0 / 6f64.sqrt()).abs() < 1e-3);
        assert!(even.remarks.iter().any(|remark| remark.contains("never trained")), "{:?}", even.remarks);
    }

    #[test]
    fn what_was_trained_is_not() {
        let trained = described([50, 100], |k| 0.2 * ((k * 1223 % 5000) as f32 / 4999.0 - 0.5).powi(3));
        assert_eq!(trained.initialisation.unwrap().like, None);
        assert!(trained.remarks.is_empty(), "{:?}", trained.remarks);
    }
}
