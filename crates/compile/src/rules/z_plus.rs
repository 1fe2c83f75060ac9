//! The z⁺ rule.

use super::alpha_beta::share;
use super::parts::Layer;
use super::{Rule, Site};
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a layer, relevance is shared by what raises the result: LRP-αβ with α = 1, β = 0, for inputs of both signs.
///
/// What a positive bias takes is lost, and all of it where nothing raises the result.
///
/// Source: G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller (2017), Explaining Nonlinear Classification
/// Decisions with Deep Taylor Decomposition, arXiv:1512.02479.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZPlus {
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for ZPlus {
    fn name(&self) -> &'static str {
        "z-plus"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        Ok(layer.signals(share(&layer, step.dy()?, true, self.stabilizer)?))
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        Some(if site.biased {
            "a positive bias takes a share, and all is lost where no input raises the result"
        } else {
            "lost where no input raises the result"
        })
    }
}
