//! LRP with z^B at the first convolution.

use super::lrp;
use super::{Definition, Form};
use crate::rules::RuleMap;

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-epsilon-gamma-box",
    summary: "LRP with z^B at the first convolution, γ at other convolutions and ε at fully connected layers",
    formula: "first convolution: z^B; other convolutions: γ; fully connected layers: ε",
    conventions: lrp::CONVENTIONS,
    source: lrp::OVERVIEW,
    parameters: &[lrp::EPSILON, lrp::GAMMA, lrp::LOW, lrp::HIGH, lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        let layers = RuleMap::GRADIENT.with(lrp::first(lrp::convolution()), lrp::z_box(settings)?);
        let layers = layers.with(lrp::convolution(), lrp::gamma(settings));
        Ok(lrp::method(layers.with(lrp::dense(), lrp::epsilon(settings)), settings))
    }),
};
