//! The w² rule.

use super::parts::{Layer, stabilized};
use super::{Rule, Site};
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a layer, relevance is shared by the squares of the weights, whatever the input: Rₓ = (W²)ᵀ (Rᵧ / (W²1 + b²)).
///
/// What the square of the bias takes is lost.
///
/// Source: G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller (2017), Explaining Nonlinear Classification
/// Decisions with Deep Taylor Decomposition, arXiv:1512.02479.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WSquare {
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for WSquare {
    fn name(&self) -> &'static str {
        "w-square"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        let part = layer.on(layer.ones()?, layer.w * layer.w, layer.bias.map(|bias| bias * bias))?;
        Ok(layer.signals(part.back(step.dy()? / stabilized(part.y, self.stabilizer))?))
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        site.biased.then_some("the square of a bias takes a share")
    }
}
