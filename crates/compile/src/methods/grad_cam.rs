//! Grad-CAM.

use super::{Definition, Form, Parameter, ParameterKind, Source};
use crate::method::{Collect, Method};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "grad-cam",
    summary: "Where a layer's channels speak for the target, each weighted by its mean derivative",
    formula: "A = max(0, Σ_c mean_space(∂f/∂a_c) · a_c), [n, 1, …] at the layer's resolution",
    conventions: "",
    source: Source {
        authors: "R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra",
        year: 2017,
        title: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        id: "arXiv:1610.02391",
    },
    parameters: &[Parameter {
        name: "layer",
        summary: "the value to look at, as --layer; without it the last spatial value before it is pooled away",
        kind: ParameterKind::Text,
        default: "",
    }],
    claims: &[],
    cost: "1 forward and 1 backward down to the layer",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Compiled(|_| {
        Ok(Method {
            collect: Collect::Layer,
            readout: Readout::ChannelWeighted,
            ..Method::GRADIENT
        })
    }),
};
