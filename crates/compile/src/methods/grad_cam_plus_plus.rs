//! Grad-CAM++.

use super::{Definition, Form, Source};
use crate::method::{Collect, Method};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "grad-cam-plus-plus",
    summary: "Where a layer's channels speak for the target, each weighted by its positive derivatives, so that \
                  several objects of one class all show",
    formula: "A = max(0, Σ_c w_c · a_c), w_c = Σ_space α · max(0, g), α = g² / (2·g² + Σ_space a_c · g³), g = \
                  ∂f/∂a_c",
    conventions: "α assumes that the class score is exp(f) and that the layer's values are above 0, as behind a \
                  rectifier; the factor exp(f), the same for every position, is left out. The map stays at the layer's \
                  resolution and in its own unit; pytorch-grad-cam scales each map to 0…1 and resizes it to the input. \
                  It also adds 1e-6 below α's fraction line, which is as large as g² itself in large maps: with a = \
                  (1, 1) and g = (1e-3, 1e-3) α is 0.4995 by the paper and 0.3331 there.",
    source: Source {
        authors: "A. Chattopadhay, A. Sarkar, P. Howlader, V. N. Balasubramanian",
        year: 2018,
        title: "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional Networks",
        id: "arXiv:1710.11063",
    },
    parameters: &[super::grad_cam::LAYER],
    claims: &[],
    cost: "1 forward and 1 backward down to the layer",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Compiled(|_| {
        Ok(Method { collect: Collect::Layer, readout: Readout::PositiveWeighted, ..Method::GRADIENT })
    }),
};
