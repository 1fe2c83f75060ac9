//! The norm rule: in proportion.

use super::parts::stabilized;
use super::{Rule, Site};
use crate::error::Result;
use crate::step::{Signals, Step};

/// Relevance is shared in proportion to what each input contributes: Rₓ = x · vjp(Rᵧ / y), for sums, differences,
/// means and average pooling, which have no weights of their own. So a residual sum `x + f(x)` gives each its share,
/// and not to both all of it.
///
/// Functions of degree 1, such as a norm, conserve relevance too (Euler's theorem).
///
/// Source: C. J. Anders, D. Neumann, W. Samek, K.-R. Müller, S. Lapuschkin (2021), Software for Dataset-wide XAI: From
/// Local Explanations to Global Insights with Zennit, `CoRelAy`, and `ViRelAy`, arXiv:2106.13200; it is LRP-ε of S. Bach
/// et al. (2015), doi:10.1371/journal.pone.0130140, where there is no weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let s = step.dy()? / stabilized(step.y()?, self.stabilizer);
        let mut contributions = step.times_inputs(step.with_signal(s).vjp()?);
        // What does not depend on the input keeps its share: no signal goes there.
        for (index, contribution) in contributions.iter_mut().enumerate() {
            if !step.is_signal(index) {
                *contribution = None;
            }
        }
        Ok(contributions)
    }

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        site.adds_constant().then_some("a constant takes a share")
    }
}
