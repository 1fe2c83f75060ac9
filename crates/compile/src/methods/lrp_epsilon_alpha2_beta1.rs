//! LRP with α = 2.

use super::lrp;
use super::{Definition, Form};
use crate::rules::RuleMap;

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-epsilon-alpha2-beta1",
    summary: "LRP with α = 2, β = 1 at convolutions and ε at fully connected layers",
    formula: "convolutions: αβ with α = 2, β = 1; fully connected layers: ε",
    conventions: lrp::CONVENTIONS,
    source: lrp::BEST_PRACTICE,
    parameters: &[lrp::EPSILON, lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        let layers = RuleMap::GRADIENT.with(lrp::convolution(), lrp::alpha2_beta1(settings));
        Ok(lrp::method(layers.with(lrp::dense(), lrp::epsilon(settings)), settings))
    }),
};
