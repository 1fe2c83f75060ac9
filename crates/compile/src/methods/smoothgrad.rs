//! SmoothGrad.

use super::{Claim, Definition, Form, Source, points};
use crate::method::Method;

pub(super) const DEFINITION: Definition = Definition {
    name: "smoothgrad",
    summary: "The mean gradient over inputs with added noise, with its standard error",
    formula: "A = mean over i of ∂f(x + εᵢ)/∂x, εᵢ ~ N(0, noise · (max x − min x))",
    conventions: "",
    source: Source {
        authors: "D. Smilkov, N. Thorat, B. Kim, F. Viégas, M. Wattenberg",
        year: 2017,
        title: "SmoothGrad: removing noise by adding noise",
        id: "arXiv:1706.03825",
    },
    parameters: &[points::SAMPLES, points::NOISE],
    claims: &[Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a sample",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| Ok(Method { points: points::noise(settings), ..Method::GRADIENT })),
};
