//! LRP with the flat rule at the first layer.

use super::lrp;
use super::{Definition, Form};

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-epsilon-alpha2-beta1-flat",
    summary: "LRP with the flat rule at the first layer, α = 2, β = 1 at other convolutions and ε at other fully connected layers",
    formula: "first layer: flat; other convolutions: αβ with α = 2, β = 1; other fully connected layers: ε",
    conventions: lrp::CONVENTIONS,
    source: lrp::BEST_PRACTICE,
    parameters: &[lrp::EPSILON, lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        let layers = lrp::flat_first(settings).with(lrp::convolution(), lrp::alpha2_beta1(settings));
        Ok(lrp::method(layers.with(lrp::dense(), lrp::epsilon(settings)), settings))
    }),
};
