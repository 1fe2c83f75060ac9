//! Expected gradients.

use super::{Claim, Definition, Form, Parameter, ParameterKind, Source};
use crate::method::{Method, Points};
use crate::readout::Readout;

/// Number of drawn points, for this method and those after it.
pub(super) const SAMPLES: Parameter = Parameter {
    name: "samples",
    summary: "drawn pairs of a background and a position on the path from it",
    kind: ParameterKind::Integer { min: 1, max: 100_000 },
    default: "100",
};

pub(super) const DEFINITION: Definition = Definition {
    name: "expected-gradients",
    summary: "Integrated gradients averaged over a background instead of one baseline, with their standard error",
    formula: "A = mean over i of (x − bᵢ) · ∂f(bᵢ + αᵢ·(x − bᵢ))/∂x, bᵢ drawn from the background, αᵢ ~ U(0, 1)",
    conventions: "A background is --background FILE, [k, …]; without it, zero. The same backgrounds and positions are \
                  drawn for every row. The baseline's score is the mean over the whole background.",
    source: Source {
        authors: "G. Erion, J. D. Janizek, P. Sturmfels, S. M. Lundberg, S.-I. Lee",
        year: 2021,
        title: "Improving performance of deep learning models with axiomatic attribution priors and expected gradients",
        id: "arXiv:1906.10670",
    },
    parameters: &[SAMPLES],
    claims: &[Claim::ExpectedCompleteness, Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a sample, and one forward a row of the background",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(Method {
            points: Points::Background { samples: settings.integer("samples"), noise: 0.0 },
            readout: Readout::TimesDifference,
            ..Method::GRADIENT
        })
    }),
};
