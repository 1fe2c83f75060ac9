//! The deconvolutional network.

use super::{Definition, Form, Source};
use crate::method::Method;
use crate::rules::{Deconvnet, RuleMap};

pub(super) const DEFINITION: Definition = Definition {
    name: "deconvnet",
    summary: "The gradient, where every rectifier passes positive signals whatever the unit did",
    formula: "at a rectifier: dx = max(0, dy); elsewhere the derivative",
    conventions: "",
    source: Source {
        authors: "M. D. Zeiler, R. Fergus",
        year: 2014,
        title: "Visualizing and Understanding Convolutional Networks",
        id: "arXiv:1311.2901",
    },
    parameters: &[],
    claims: &[],
    cost: "1 forward and 1 backward",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|_| Ok(Method { rules: RuleMap::at_rectifiers(Deconvnet), ..Method::GRADIENT })),
};
