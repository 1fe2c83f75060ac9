//! Gradient SHAP.

use super::{Claim, Definition, Form, Parameter, Source, expected_gradients, points};
use crate::method::{Method, Points};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "gradient-shap",
    summary: "Expected gradients of inputs with added noise, with their standard error",
    formula: "A = mean over i of (x + εᵢ − bᵢ) · ∂f(bᵢ + αᵢ·(x + εᵢ − bᵢ))/∂x, εᵢ ~ N(0, noise · (max x − min x)), \
              bᵢ drawn from the background, αᵢ ~ U(0, 1)",
    conventions: "A background is --background FILE, [k, …]; without it, zero. The same backgrounds and positions are \
                  drawn for every row. As Captum's GradientShap and SHAP's GradientExplainer, whose noise is 0 unless \
                  set, and in the input's unit rather than a share of its range. With noise=0 it is expected-gradients.",
    source: Source {
        authors: "S. M. Lundberg, S.-I. Lee",
        year: 2017,
        title: "A Unified Approach to Interpreting Model Predictions",
        id: "arXiv:1705.07874",
    },
    parameters: &[expected_gradients::SAMPLES, Parameter { default: "0.1", ..points::NOISE }],
    claims: &[Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a sample",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        Ok(Method {
            points: Points::Background {
                samples: settings.integer("samples"),
                noise: settings.number("noise"),
            },
            readout: Readout::TimesDifference,
            ..Method::GRADIENT
        })
    }),
};
