//! LRP with z⁺ at convolutions and ε at fully connected layers.

use super::lrp;
use super::{Definition, Form};
use crate::rules::RuleMap;

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-epsilon-plus",
    summary: "LRP with z⁺ at convolutions and ε at fully connected layers",
    formula: "convolutions: z⁺; fully connected layers: ε",
    conventions: lrp::CONVENTIONS,
    source: lrp::OVERVIEW,
    parameters: &[lrp::EPSILON, lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        let layers = RuleMap::GRADIENT.with(lrp::convolution(), lrp::z_plus(settings));
        Ok(lrp::method(layers.with(lrp::dense(), lrp::epsilon(settings)), settings))
    }),
};
