//! LRP-ε at every layer.

use super::lrp;
use super::{Claim, Definition, Form};
use crate::rules::{RuleMap, When};

pub(super) const DEFINITION: Definition = Definition {
    name: "lrp-epsilon",
    summary: "LRP-ε at every layer: relevance is shared by what each input contributes to a sum",
    formula: "R_x = x · Wᵀ (R_y / (y + ε · sign y)), y = W x + b",
    conventions: lrp::CONVENTIONS,
    source: lrp::FIRST,
    parameters: &[lrp::EPSILON, lrp::STABILIZER, lrp::RULES],
    claims: &[Claim::Conservation],
    cost: "1 forward and 1 backward",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(lrp::method(RuleMap::GRADIENT.with(When::Layer, lrp::epsilon(settings)), settings))
    }),
};
