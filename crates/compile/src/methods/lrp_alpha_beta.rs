//! LRP-αβ at every layer.

use super::lrp;
use super::{Definition, Form};
use crate::rules::{RuleMap, When};

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-alpha-beta",
    summary: "LRP-αβ at every layer: what raises a result gets α times its relevance, what lowers it −β times",
    formula: "R_x = α · c⁺(R_y / z⁺) − β · c⁻(R_y / z⁻), z⁺ = W⁺x⁺ + W⁻x⁻ + b⁺, z⁻ = W⁻x⁺ + W⁺x⁻ + b⁻, c(s) = x · ∂z/∂xᵀ s",
    conventions: lrp::CONVENTIONS,
    source: lrp::FIRST,
    parameters: &[lrp::ALPHA, lrp::BETA, lrp::STABILIZER, lrp::RULES],
    claims: &[],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(lrp::method(RuleMap::GRADIENT.with(When::Layer, lrp::alpha_beta(settings)?), settings))
    }),
};
