//! `LayerCAM`.

use super::{Definition, Form, Source};
use crate::method::{Collect, Method};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "layer-cam",
    summary: "Where a layer's channels speak for the target, each position weighted by its own derivative where \
                  that is positive; for early layers too",
    formula: "A = max(0, Σ_c max(0, ∂f/∂a_c) · a_c), [n, 1, …] at the layer's resolution",
    conventions: "The map stays at the layer's resolution and in its own unit; pytorch-grad-cam scales each map to 0…1 \
                  and resizes it to the input. The paper's fusion of several layers, by tanh(2·A / max A) and their \
                  largest value, is not part of it.",
    source: Source {
        authors: "P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei",
        year: 2021,
        title: "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        id: "doi:10.1109/TIP.2021.3089943",
    },
    parameters: &[super::grad_cam::LAYER],
    claims: &[],
    cost: "1 forward and 1 backward down to the layer",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Compiled(|_| {
        Ok(Method { collect: Collect::Layer, readout: Readout::PositiveChannelSum, ..Method::GRADIENT })
    }),
};
