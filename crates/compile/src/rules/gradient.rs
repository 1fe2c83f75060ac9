//! The derivative.

use super::{Rule, Site};
use crate::error::Result;
use crate::kind::{Form, Kind};
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

    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        match site.kind {
            Kind::Move => None,
            Kind::Select => site.picks_constant().then_some("a constant may be picked"),
            Kind::Linear(Form::Sum | Form::Difference) if site.signals() == 1 => None,
            Kind::Flat => Some("its derivative is zero"),
            _ => Some("a derivative is no share of relevance"),
        }
    }
}
