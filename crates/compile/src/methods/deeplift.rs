//! `DeepLIFT`.

use super::{Claim, Definition, Form, Source};
use crate::method::Method;
use crate::readout::Readout;
use crate::rules::{Rescale, RuleMap, When};

pub(super) const DEFINITION: Definition = Definition {
    name: "deeplift",
    summary: "How much each input number adds to what the score differs from that of a baseline, its difference followed \
              through every operator",
    formula: "A = m · (x − b), m = ∂f/∂x with each derivative of a nonlinear operator replaced by a quotient of \
              differences, Δy / Δx, so that Σ A = f(x) − f(b)",
    conventions: "",
    source: Source {
        authors: "A. Shrikumar, P. Greenside, A. Kundaje",
        year: 2017,
        title: "Learning Important Features Through Propagating Activation Differences",
        id: "arXiv:1704.02685",
    },
    parameters: &[],
    claims: &[Claim::Completeness, Claim::Linearity, Claim::Dummy],
    cost: "2 forward and 1 backward",
    signed: true,
    baseline: true,
    layer: false,
    form: Form::Compiled(|_| {
        Ok(Method {
            rules: RuleMap::GRADIENT.with(When::Always, Rescale),
            readout: Readout::TimesDifference,
            ..Method::GRADIENT
        })
    }),
};
