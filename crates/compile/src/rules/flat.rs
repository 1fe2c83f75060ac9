//! The flat rule.

use super::Rule;
use super::parts::{Layer, stabilized};
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a layer, relevance is shared evenly by all inputs that a result is made of: Rₓ = 1ᵀ (Rᵧ / (1 · 1)), weights and
/// inputs being ones and biases zeros.
///
/// Source: S. Lapuschkin, S. Wäldchen, A. Binder, G. Montavon, W. Samek, K.-R. Müller (2019), Unmasking Clever Hans
/// predictors and assessing what machines really learn, doi:10.1038/s41467-019-08987-4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flat {
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for Flat {
    fn name(&self) -> &'static str {
        "flat"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        let weights = layer.w.scalar(1.0).expand_like(layer.w)?;
        let part = layer.on(layer.ones()?, weights, None)?;
        Ok(layer.signals(part.back(step.dy()? / stabilized(part.y, self.stabilizer))?))
    }
}
