//! Grad-CAM.

use super::{Definition, Form, Parameter, ParameterKind, Source};
use crate::method::{Collect, Method};
use crate::readout::Readout;

/// The layer that a class activation map looks at.
pub(super) const LAYER: Parameter = Parameter {
    name: "layer",
    summary: "the value to look at, as --layer; without it the last spatial value before it is pooled away",
    kind: ParameterKind::Text,
    default: "",
};

pub(super) const DEFINITION: Definition = Definition {
    name: "grad-cam",
    summary: "Where a layer's channels speak for the target, each weighted by its mean derivative",
    formula: "A = max(0, Σ_c mean_space(∂f/∂a_c) · a_c), [n, 1, …] at the layer's resolution",
    conventions: "The map stays at the layer's resolution and in its own unit; pytorch-grad-cam scales each map to 0…1 and resizes it \
                  to the input.",
    source: Source {
        authors: "R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra",
        year: 2017,
        title: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        id: "arXiv:1610.02391",
    },
    parameters: &[LAYER],
    claims: &[],
    cost: "1 forward and 1 backward down to the layer",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Compiled(|_| {
        Ok(Method { collect: Collect::Layer, readout: Readout::ChannelWeighted, ..Method::GRADIENT })
    }),
};
