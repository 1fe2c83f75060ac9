//! SmoothGrad.

use super::{Claim, Definition, Form, Parameter, ParameterKind, Source};
use crate::method::{Method, Points};

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
    parameters: &[
        Parameter {
            name: "samples",
            summary: "noisy copies of the input",
            kind: ParameterKind::Integer { min: 1, max: 100_000 },
            default: "25",
        },
        Parameter {
            name: "noise",
            summary: "standard deviation as a share of each row's range",
            kind: ParameterKind::Number { min: 0.0, max: 10.0 },
            default: "0.15",
        },
    ],
    claims: &[Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a sample",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(Method {
            points: Points::Noise {
                samples: settings.integer("samples"),
                noise: settings.number("noise"),
            },
            ..Method::GRADIENT
        })
    }),
};
