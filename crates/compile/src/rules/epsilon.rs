//! LRP-ε.

use super::parts::{Layer, stabilized};
use super::{Rule, Site};
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a layer, relevance is shared by what each input contributes to the sum, the bias included:
/// Rₓ = x · Wᵀ (Rᵧ / (y + ε · sign y)), y = W x + b.
///
/// What the bias and ε take is lost: without biases and as ε → 0 relevance is conserved.
///
/// Source: S. Bach, A. Binder, G. Montavon, F. Klauschen, K.-R. Müller, W. Samek (2015), On Pixel-Wise Explanations for
/// Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation, doi:10.1371/journal.pone.0130140.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epsilon {
    /// ε, above 0.
    pub epsilon: f64,
}

impl Rule for Epsilon {
    fn name(&self) -> &'static str {
        "epsilon"
    }

    fn describe(&self) -> String {
        format!("epsilon(epsilon={})", self.epsilon)
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        let s = step.dy()? / stabilized(layer.y, self.epsilon);
        Ok(layer.signals(layer.itself().contribution(s)?))
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        site.biased.then_some("a bias takes a share")
    }
}
