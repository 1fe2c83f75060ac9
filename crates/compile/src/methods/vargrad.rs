//! `VarGrad`.

use super::{Claim, Definition, Form, Source, points};
use crate::method::{Method, Statistic};

pub(super) const DEFINITION: Definition = Definition {
    name: "vargrad",
    summary: "The variance of the gradient over inputs with added noise, with its standard error",
    formula: "A = mean over i of (∂f(x + εᵢ)/∂x − their mean)², εᵢ ~ N(0, noise · (max x − min x))",
    conventions: "Divided by the number of samples, as Captum's NoiseTunnel with vargrad, not by one less. The standard \
                  error is that of many samples, √((m₄ − m₂²)/samples) of the central moments.",
    source: Source {
        authors: "J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt, B. Kim",
        year: 2018,
        title: "Sanity Checks for Saliency Maps",
        id: "arXiv:1810.03292",
    },
    parameters: &[points::SAMPLES, points::NOISE],
    claims: &[Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a sample",
    signed: false,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(Method { points: points::noise(settings), statistic: Statistic::Variance, ..Method::GRADIENT })
    }),
};
