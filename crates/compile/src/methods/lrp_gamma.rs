//! LRP-γ at every layer.

use super::lrp;
use super::{Claim, Definition, Form};
use crate::rules::{RuleMap, When};

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-gamma",
    summary: "LRP-γ at every layer: contributions that agree in sign with a result count more",
    formula: "where y > 0: R_x = (x⁺ · (W + γW⁺)ᵀ + x⁻ · (W + γW⁻)ᵀ) (R_y / z), z = (W + γW⁺) x⁺ + (W + γW⁻) x⁻ + b + γb⁺; where y < 0 the same with W⁺ and W⁻ exchanged and b⁻",
    conventions: lrp::CONVENTIONS,
    source: lrp::OVERVIEW,
    parameters: &[lrp::GAMMA, lrp::STABILIZER, lrp::RULES],
    claims: &[Claim::Conservation],
    cost: "1 forward and 1 backward, and at each layer up to 4 of its own evaluations",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(lrp::method(RuleMap::GRADIENT.with(When::Layer, lrp::gamma(settings)), settings))
    }),
};
