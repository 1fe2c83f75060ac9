//! Input times gradient.

use super::{Claim, Definition, Form, Source};
use crate::method::Method;
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "input-x-gradient",
    summary: "Each input number times the derivative of the score by it: its first-order share",
    formula: "A = x · ∂f(x)/∂x",
    conventions: "",
    source: Source {
        authors: "A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje",
        year: 2016,
        title: "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
        id: "arXiv:1605.01713",
    },
    parameters: &[],
    claims: &[Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "1 forward and 1 backward",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|_| Ok(Method { readout: Readout::TimesInput, ..Method::GRADIENT })),
};
