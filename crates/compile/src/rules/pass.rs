//! The pass rule: relevance goes on unchanged.

use super::norm::Norm;
use super::{Rule, Site};
use crate::error::Result;
use crate::kind::{Form, Kind};
use crate::step::{Signals, Step};

/// Rₓ = Rᵧ for the first input that depends on the model's input: activations, normalisations (whose statistics count
/// as constants), factors and constants that are added.
///
/// Where results are fewer than inputs, such as the norm over an axis, relevance is shared as [`Norm`] does.
///
/// Source: for activations S. Bach et al. (2015), doi:10.1371/journal.pone.0130140; for normalisations R. Achtibat, S. M.
/// V. Hatefi, M. Dreyer, A. Jain, T. Wiegand, S. Lapuschkin, W. Samek (2024), `AttnLRP`: Attention-Aware Layer-Wise
/// Relevance Propagation for Transformers, arXiv:2402.05602.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for Pass {
    fn name(&self) -> &'static str {
        "pass"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let mut signals = vec![None; step.input_count()];
        let Some(index) = (0..step.input_count()).find(|index| step.is_signal(*index)) else {
            return Ok(signals);
        };
        let broadcast = matches!(step.kind(), Kind::Linear(Form::Scale | Form::Sum | Form::Difference));
        if !broadcast && step.x(index)?.shape()? != step.y()?.shape()? {
            return Norm { stabilizer: self.stabilizer }.backward(step);
        }
        signals[index] = Some(step.dy()?);
        Ok(signals)
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        let same = site.keeps_shape() || matches!(site.kind, Kind::Linear(_));
        (!same).then_some("a function that is not linear has more inputs than results")
    }
}
