//! `SmoothGrad`, squared.

use super::{Claim, Definition, Form, Source, points};
use crate::method::{Method, Statistic};

pub(super) const DEFINITION: Definition = Definition {
    name: "squaregrad",
    summary: "The mean squared gradient over inputs with added noise, with its standard error",
    formula: "A = mean over i of (∂f(x + εᵢ)/∂x)², εᵢ ~ N(0, noise · (max x − min x))",
    conventions: "As Captum's NoiseTunnel with smoothgrad_sq.",
    source: Source {
        authors: "S. Hooker, D. Erhan, P.-J. Kindermans, B. Kim",
        year: 2019,
        title: "A Benchmark for Interpretability Methods in Deep Neural Networks",
        id: "arXiv:1806.10758",
    },
    parameters: &[points::SAMPLES, points::NOISE],
    claims: &[Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a sample",
    signed: false,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(Method { points: points::noise(settings), statistic: Statistic::MeanSquare, ..Method::GRADIENT })
    }),
};
