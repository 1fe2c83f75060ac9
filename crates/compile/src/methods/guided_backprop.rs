//! Guided backpropagation.

use super::{Definition, Form, Source};
use crate::method::Method;
use crate::rules::{GuidedBackprop, RuleMap};

pub(super) const DEFINITION: Definition = Definition {
    name: "guided-backprop",
    summary: "The gradient, where every rectifier passes only positive signals to active units",
    formula: "at a rectifier: dx = vjp(max(0, dy)); elsewhere the derivative",
    conventions: "",
    source: Source {
        authors: "J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller",
        year: 2015,
        title: "Striving for Simplicity: The All Convolutional Net",
        id: "arXiv:1412.6806",
    },
    parameters: &[],
    claims: &[],
    cost: "1 forward and 1 backward",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|_| {
        Ok(Method { rules: RuleMap::at_rectifiers(GuidedBackprop), ..Method::GRADIENT })
    }),
};
