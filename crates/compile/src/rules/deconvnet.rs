//! The deconvolutional network.

use super::Rule;
use crate::error::Result;
use crate::step::{Signals, Step};

/// At a rectifier, positive signals pass whatever the unit did: dx = max(0, dy).
///
/// Source: M. D. Zeiler, R. Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv:1311.2901.
#[derive(Debug)]
pub struct Deconvnet;

impl Rule for Deconvnet {
    fn name(&self) -> &'static str {
        "deconvnet"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        Ok(step.only_first(step.dy()?.relu()))
    }
}
