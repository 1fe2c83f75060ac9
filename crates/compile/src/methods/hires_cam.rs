//! `HiResCAM`.

use super::{Definition, Form, Source};
use crate::method::{Collect, Method};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "hires-cam",
    summary: "What each position of a layer adds to the score, as its derivative there says",
    formula: "A = Σ_c ∂f/∂a_c · a_c, [n, 1, …] at the layer's resolution",
    conventions: "Both signs are kept, as the paper defines the map: where the layer is followed by pooling or \
                  flattening and one linear layer only, the values sum to the score less that layer's bias. The map \
                  stays at the layer's resolution and in its own unit; pytorch-grad-cam cuts negative parts off, \
                  scales each map to 0…1 and resizes it to the input.",
    source: Source {
        authors: "R. L. Draelos, L. Carin",
        year: 2020,
        title: "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
        id: "arXiv:2011.08891",
    },
    parameters: &[super::grad_cam::LAYER],
    claims: &[],
    cost: "1 forward and 1 backward down to the layer",
    signed: true,
    baseline: false,
    layer: true,
    form: Form::Compiled(|_| {
        Ok(Method { collect: Collect::Layer, readout: Readout::ChannelSum, ..Method::GRADIENT })
    }),
};
