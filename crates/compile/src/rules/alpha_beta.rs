//! LRP-αβ.

use super::parts::{Layer, negative, positive, stabilized, sum};
use super::{Rule, Site};
use crate::build::Var;
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a layer, what raises the result gets α times the relevance and what lowers it −β times, α − β = 1. With x± and W±
/// the positive and negative parts: Rₓ = α · c⁺(Rᵧ / z⁺) − β · c⁻(Rᵧ / z⁻),
/// z⁺ = W⁺x⁺ + W⁻x⁻ + b⁺, c⁺(s) = x⁺ · W⁺ᵀs + x⁻ · W⁻ᵀs, and z⁻, c⁻ the same with W⁺ and W⁻ exchanged and b⁻.
///
/// What biases take is lost, and where nothing raises (or nothing lowers) a result, α (or −β) times its relevance.
///
/// Source: S. Bach, A. Binder, G. Montavon, F. Klauschen, K.-R. Müller, W. Samek (2015), On Pixel-Wise Explanations for
/// Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation, doi:10.1371/journal.pone.0130140.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlphaBeta {
    /// α = 1 + β.
    pub alpha: f64,
    /// β, at least 0.
    pub beta: f64,
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

/// x · ∂z (Rᵧ / z) of the contributions that raise (or lower) the result.
pub(super) fn share<'g>(layer: &Layer<'g>, dy: Var<'g>, raising: bool, stabilizer: f64) -> Result<Var<'g>> {
    let (up, down) = (positive(layer.w), negative(layer.w));
    let (agree, oppose) = if raising { (up, down) } else { (down, up) };
    let bias = layer.bias.map(if raising { positive } else { negative });
    let first = layer.on(layer.positive_x(), agree, bias)?;
    let second = layer.negative_x().map(|below| layer.on(below, oppose, None)).transpose()?;
    let z = sum(first.y, second.as_ref().map(|part| part.y));
    let s = dy / stabilized(z, stabilizer);
    Ok(sum(first.contribution(s)?, second.map(|part| part.contribution(s)).transpose()?))
}

impl Rule for AlphaBeta {
    fn name(&self) -> &'static str {
        "alpha-beta"
    }

    fn describe(&self) -> String {
        format!("alpha-beta(alpha={}, beta={})", self.alpha, self.beta)
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        let dy = step.dy()?;
        let mut relevance = share(&layer, dy, true, self.stabilizer)? * self.alpha;
        if self.beta != 0.0 {
            relevance = relevance - share(&layer, dy, false, self.stabilizer)? * self.beta;
        }
        Ok(layer.signals(relevance))
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        Some(if site.biased {
            "a bias takes a share, and all is lost where no input raises (or lowers) the result"
        } else {
            "lost where no input raises (or lowers) the result"
        })
    }
}
