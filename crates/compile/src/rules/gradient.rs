//! The derivative.

use super::Rule;
use crate::error::Result;
use crate::step::{Signals, Step};

/// dx = vjp(dy): the chain rule.
///
/// Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986), Learning representations by back-propagating errors,
/// doi:10.1038/323533a0.
#[derive(Debug)]
pub struct Gradient;

impl Rule for Gradient {
    fn name(&self) -> &'static str {
        "gradient"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        step.vjp()
    }
}
