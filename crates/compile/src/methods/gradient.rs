//! The gradient.

use super::{Claim, Definition, Form, Source};
use crate::method::Method;

pub(super) const DEFINITION: Definition = Definition {
    name: "gradient",
    summary: "The derivative of the score by each input number, with its sign",
    formula: "A = ∂f(x)/∂x",
    conventions: "",
    source: Source {
        authors: "K. Simonyan, A. Vedaldi, A. Zisserman",
        year: 2014,
        title: "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps",
        id: "arXiv:1312.6034",
    },
    parameters: &[],
    claims: &[Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "1 forward and 1 backward",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|_| Ok(Method::GRADIENT)),
};
