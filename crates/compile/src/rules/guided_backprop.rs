//! Guided backpropagation.

use super::Rule;
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a rectifier, only positive signals pass, and only where the unit is active: dx = vjp(max(0, dy)).
///
/// Source: J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller (2015), Striving for Simplicity: The All
/// Convolutional Net, arXiv:1412.6806.
#[derive(Debug)]
pub struct GuidedBackprop;

impl Rule for GuidedBackprop {
    fn name(&self) -> &'static str {
        "guided-backprop"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        step.with_signal(step.dy()?.relu()).vjp()
    }
}
