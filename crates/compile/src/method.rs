//! A method as data: where the model is evaluated, how a signal travels back, what is read off.

use std::borrow::Cow;

use pellucid_graph::Graph;

use crate::error::Result;
use crate::passes;
use crate::readout::Readout;
use crate::rules::RuleMap;

/// Rule for placing points on the straight path from the baseline to the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quadrature {
    /// Gauss-Legendre nodes: exact for polynomials of degree 2·steps − 1.
    GaussLegendre,
    /// Evenly spaced points, both ends included, the ends at half weight.
    Trapezoid,
    /// Nested halving where the path needs it, until the gap is below `tolerance` times |score − baseline score| and
    /// the quadrature error below `tolerance` times Σ|values|. Runs on the host only.
    Adaptive {
        /// Largest relative error.
        tolerance: f64,
    },
}

/// Where the model is evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Points {
    /// At the input.
    Once,
    /// Along the straight path from a baseline to the input.
    Path {
        /// How points are placed.
        quadrature: Quadrature,
        /// How many points; for adaptive quadrature, the most.
        steps: usize,
    },
    /// Around the input: at the input plus each sample of a noise.
    Noise {
        /// How many samples.
        samples: usize,
        /// Standard deviation, as a share of each row's range.
        noise: f64,
    },
    /// On straight paths from drawn baselines to the input (plus noise), each at one drawn position.
    Background {
        /// How many samples.
        samples: usize,
        /// Standard deviation of the noise, as a share of each row's range.
        noise: f64,
    },
    /// At the input, compared with every row of a background in turn.
    Each,
}

impl Points {
    /// Whether a point lies between a baseline and the input.
    pub fn has_baseline(self) -> bool {
        matches!(self, Self::Path { .. } | Self::Background { .. })
    }

    /// Whether noise is added to the input.
    pub fn has_noise(self) -> bool {
        matches!(self, Self::Noise { .. }) || matches!(self, Self::Background { noise, .. } if noise > 0.0)
    }

    /// Whether rows of a background stand for a baseline.
    pub fn has_background(self) -> bool {
        matches!(self, Self::Background { .. } | Self::Each)
    }

    /// Number of drawn points; `None` where none is drawn.
    pub fn samples(self) -> Option<usize> {
        match self {
            Self::Noise { samples, .. } | Self::Background { samples, .. } => Some(samples),
            Self::Once | Self::Path { .. } | Self::Each => None,
        }
    }
}

/// Whose signals are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collect {
    /// Those of every float input.
    Inputs,
    /// Those of one inner value.
    Layer,
    /// Those of every float input, and Grad-CAM's map of one inner value.
    InputsAndMap,
}

/// What becomes of the readouts at the points, each of its weight; the weights sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// Σ weight · readout.
    Mean,
    /// Σ weight · readout².
    MeanSquare,
    /// Σ weight · readout² − (Σ weight · readout)².
    Variance,
}

/// What the walk starts from, at the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// 1: a signal is a derivative, or a factor that stands for one.
    One,
    /// The score: a signal is relevance, a share of the score.
    Score,
}

/// What becomes of the graph before it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepare {
    /// Nothing: the compiled graph begins with the model as it was loaded.
    Nothing,
    /// Batch normalisations are folded into the layers beside them; the compiled graph begins with that model.
    Fold,
}

/// A method.
#[derive(Debug, Clone)]
pub struct Method {
    /// Where the model is evaluated.
    pub points: Points,
    /// What becomes of the readouts at the points.
    pub statistic: Statistic,
    /// What becomes of the graph first.
    pub prepare: Prepare,
    /// What the walk starts from.
    pub seed: Seed,
    /// How a signal travels back.
    pub rules: RuleMap,
    /// Whose signals are read.
    pub collect: Collect,
    /// What is read off.
    pub readout: Readout,
}

impl Method {
    /// The derivative at the input by every input: what other methods say their difference from.
    pub const GRADIENT: Self = Self {
        points: Points::Once,
        statistic: Statistic::Mean,
        prepare: Prepare::Nothing,
        seed: Seed::One,
        rules: RuleMap::GRADIENT,
        collect: Collect::Inputs,
        readout: Readout::Signal,
    };

    /// A layer as it is, without any derivative: what methods that evaluate the model from outside look at.
    pub const LAYER: Self = Self {
        points: Points::Once,
        statistic: Statistic::Mean,
        prepare: Prepare::Nothing,
        seed: Seed::One,
        rules: RuleMap::GRADIENT,
        collect: Collect::Layer,
        readout: Readout::Value,
    };

    /// How many of `collected` values a readout is made of: the layer of a map is looked at, and not read itself.
    pub(crate) fn read(&self, collected: usize) -> usize {
        collected - usize::from(self.collect == Collect::InputsAndMap)
    }

    /// Whether the values sum, in the limit of many points, to the score less the baseline's: the derivative itself,
    /// its mean, times the difference from the baseline, without noise.
    ///
    /// Or at once: of rules that carry every difference from a baseline whole.
    pub fn is_complete(&self) -> bool {
        if self.rules.compares() {
            return self.rules.is_additive()
                && self.collect != Collect::InputsAndMap
                && self.readout == Readout::TimesDifference;
        }
        self.points.has_baseline()
            && !self.points.has_noise()
            && self.statistic == Statistic::Mean
            && self.seed == Seed::One
            && self.rules.is_derivative()
            && self.collect != Collect::InputsAndMap
            && matches!(self.readout, Readout::TimesDifference | Readout::TimesChange | Readout::TimesTangent)
    }

    /// The same to an inner layer instead of the inputs; `None` for methods that are of the inputs by definition.
    ///
    /// The layer stands where the input stood: what multiplies by the input multiplies by the layer's value, and a
    /// path or a drawn baseline is one of the layer's values, from what they are at the baseline to what they are at
    /// the input ([`Method::moves_layer`]). Noise is added to the model's inputs all the same.
    #[must_use]
    pub fn to_layer(self) -> Option<Self> {
        let to_inputs = self.collect == Collect::Inputs && self.readout.is_of_any_value();
        to_inputs.then_some(Self { collect: Collect::Layer, ..self })
    }

    /// Whether points are placed among the values of the layer, in place of those of the inputs.
    pub fn moves_layer(&self) -> bool {
        self.collect == Collect::Layer
            && self.points.has_baseline()
            && self.readout == Readout::TimesDifference
    }

    /// Whether signals are relevance, shares of the score.
    pub fn is_relevance(&self) -> bool {
        self.seed == Seed::Score
    }

    /// The graph that is compiled: the model, or what [`Method::prepare`] makes of it.
    ///
    /// # Errors
    /// A model whose parameters cannot be folded.
    pub fn prepared<'a>(&self, graph: &'a Graph) -> Result<Cow<'a, Graph>> {
        match self.prepare {
            Prepare::Nothing => Ok(Cow::Borrowed(graph)),
            Prepare::Fold => passes::fold_batch_normalization(graph).map(Cow::Owned),
        }
    }

    /// The same at other points; `None` where the method has points of its own.
    #[must_use]
    pub fn at(self, points: Points) -> Option<Self> {
        if self.points != Points::Once || self.rules.compares() {
            return None;
        }
        let compared = points.has_baseline() && self.collect == Collect::Inputs;
        let readout = if compared { self.readout.from_baseline() } else { self.readout };
        Some(Self { points, readout, ..self })
    }
}

/// Points in [0, 1] and their weights, which sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodes {
    /// Positions; 0 is the baseline, 1 the input.
    pub positions: Vec<f64>,
    /// Weights.
    pub weights: Vec<f64>,
}

/// The points of a fixed rule with `steps` evaluations; adaptive quadrature has none.
///
/// Gauss-Legendre nodes are the roots of the Legendre polynomial, found by Newton's method from Chebyshev's
/// approximation. Source: G. H. Golub, J. H. Welsch (1969), Calculation of Gauss Quadrature Rules,
/// doi:10.1090/S0025-5718-69-99647-1.
pub fn nodes(quadrature: Quadrature, steps: usize) -> Option<Nodes> {
    match quadrature {
        Quadrature::GaussLegendre => Some(gauss_legendre(steps.max(1))),
        Quadrature::Trapezoid => {
            let steps = steps.max(2);
            let last = (steps - 1) as f64;
            let positions = (0..steps).map(|i| i as f64 / last).collect();
            let weights =
                (0..steps).map(|i| if i == 0 || i == steps - 1 { 0.5 / last } else { 1.0 / last }).collect();
            Some(Nodes { positions, weights })
        }
        Quadrature::Adaptive { .. } => None,
    }
}

fn gauss_legendre(steps: usize) -> Nodes {
    let n = steps as f64;
    let mut nodes = Nodes { positions: vec![0.0; steps], weights: vec![0.0; steps] };
    for i in 0..steps.div_ceil(2) {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut derivative = 0.0;
        // Newton's method converges quadratically from here; 100 rounds are never reached.
        for _ in 0..100 {
            let (mut previous, mut value) = (0.0, 1.0);
            for k in 0..steps {
                let k = k as f64;
                (previous, value) = (value, ((2.0 * k + 1.0) * x * value - k * previous) / (k + 1.0));
            }
            derivative = n * (x * value - previous) / (x * x - 1.0);
            let change = value / derivative;
            x -= change;
            if change.abs() < 1e-15 {
                break;
            }
        }
        let weight = 1.0 / ((1.0 - x * x) * derivative * derivative);
        nodes.positions[i] = f64::midpoint(1.0, -x);
        nodes.positions[steps - 1 - i] = f64::midpoint(1.0, x);
        nodes.weights[i] = weight;
        nodes.weights[steps - 1 - i] = weight;
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadratures_integrate_what_they_promise() {
        for steps in [1usize, 2, 5, 32, 50, 200] {
            let rule = nodes(Quadrature::GaussLegendre, steps).unwrap();
            let degree = i32::try_from((2 * steps - 1).min(60)).unwrap();
            let integral: f64 =
                rule.positions.iter().zip(&rule.weights).map(|(x, w)| w * x.powi(degree)).sum();
            assert!((integral - 1.0 / f64::from(degree + 1)).abs() < 1e-13, "{steps} steps: {integral}");
            assert!(rule.positions.windows(2).all(|pair| pair[0] < pair[1]), "positions rise");
        }
        let rule = nodes(Quadrature::Trapezoid, 11).unwrap();
        let integral: f64 = rule.positions.iter().zip(&rule.weights).map(|(x, w)| w * x).sum();
        assert!((integral - 0.5).abs() < 1e-15);
    }
}
