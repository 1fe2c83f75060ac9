//! LRP-γ, generalised to inputs of both signs.

use super::parts::{Layer, negative, positive, stabilized, sum};
use super::{Rule, Site};
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a layer, contributions that agree in sign with the result count 1 + γ times. With x± and W± the positive and
/// negative parts, where y > 0:
/// z = (W + γW⁺) x⁺ + (W + γW⁻) x⁻ + b + γb⁺, Rₓ = (x⁺ · (W + γW⁺)ᵀ + x⁻ · (W + γW⁻)ᵀ) (Rᵧ / z),
/// and where y < 0 the same with W⁺ and W⁻ exchanged and b⁻. Where y is 0 nothing is passed.
///
/// What the bias takes is lost: without biases relevance is conserved.
///
/// Source: G. Montavon, A. Binder, S. Lapuschkin, W. Samek, K.-R. Müller (2019), Layer-Wise Relevance Propagation: An
/// Overview, doi:10.1007/978-3-030-28954-6_10; for inputs of both signs L. Andéol, Y. Kawakami, Y. Wada, T. Kanamori,
/// K.-R. Müller, G. Montavon (2021), Learning Domain Invariant Representations by Joint Wasserstein Distance
/// Minimization, arXiv:2106.04923.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gamma {
    /// γ, at least 0.
    pub gamma: f64,
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for Gamma {
    fn name(&self) -> &'static str {
        "gamma"
    }

    fn describe(&self) -> String {
        format!("gamma(gamma={})", self.gamma)
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        let (x, below) = (layer.positive_x(), layer.negative_x());
        let up = layer.w + positive(layer.w) * self.gamma;
        let down = layer.w + negative(layer.w) * self.gamma;
        let zero = layer.y.scalar(0.0);
        let mut relevance = None;
        for above in [true, false] {
            let (agree, oppose) = if above { (up, down) } else { (down, up) };
            let bias = layer.bias.map(|b| b + if above { positive(b) } else { negative(b) } * self.gamma);
            let first = layer.on(x, agree, bias)?;
            let second = below.map(|below| layer.on(below, oppose, None)).transpose()?;
            let z = sum(first.y, second.as_ref().map(|part| part.y));
            let here = if above { layer.y.above(zero) } else { layer.y.below(zero) };
            let s = here * step.dy()? / stabilized(z, self.stabilizer);
            let contributions = first.contribution(s)?;
            let more = second.map(|part| part.contribution(s)).transpose()?;
            relevance = Some(sum(sum(contributions, more), relevance));
        }
        Ok(relevance.map_or_else(|| vec![None; step.input_count()], |relevance| layer.signals(relevance)))
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        site.biased.then_some("a bias takes a share")
    }
}
