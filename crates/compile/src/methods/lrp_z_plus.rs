//! LRP-z⁺ at every layer.

use super::lrp;
use super::{Definition, Form};

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-z-plus",
    summary: "LRP-z⁺ at every layer: relevance is shared by what raises a result",
    formula: "R_x = (x⁺ · W⁺ᵀ + x⁻ · W⁻ᵀ) (R_y / (W⁺x⁺ + W⁻x⁻ + b⁺))",
    conventions: lrp::CONVENTIONS,
    source: lrp::FIRST,
    parameters: &[lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| Ok(lrp::method(lrp::z_plus_everywhere(settings), settings))),
};
