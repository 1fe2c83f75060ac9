//! Integrated gradients.

use super::{Claim, Definition, Form, Source, points};
use crate::method::Method;
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "integrated-gradients",
    summary: "How much each input number adds to the score on the straight way from a baseline to the input",
    formula: "A = (x − b) · ∫₀¹ ∂f(b + α·(x − b))/∂x dα",
    conventions: "",
    source: Source {
        authors: "M. Sundararajan, A. Taly, Q. Yan",
        year: 2017,
        title: "Axiomatic Attribution for Deep Networks",
        id: "arXiv:1703.01365",
    },
    parameters: &[points::QUADRATURE, points::STEPS, points::TOLERANCE, points::CHUNK],
    claims: &[Claim::Completeness, Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a point; adaptive quadrature says how many it took",
    signed: true,
    baseline: true,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(Method { points: points::path(settings), readout: Readout::TimesDifference, ..Method::GRADIENT })
    }),
};
