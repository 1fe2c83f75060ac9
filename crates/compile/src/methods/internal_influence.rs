//! Internal influence.

use super::{Definition, Form, Source, grad_cam, points};
use crate::method::{Collect, Method};

pub(super) const DEFINITION: Definition = Definition {
    name: "internal-influence",
    summary: "The mean derivative of the score by each unit of a layer, over inputs between a baseline and the input",
    formula: "A = ∫₀¹ ∂f/∂h(b + α·(x − b)) dα, h the layer",
    conventions: "The distribution of interest is the uniform one on the straight path from the baseline, as in Captum's \
                  InternalInfluence, and the quantity of interest the target's score. Values are derivatives, in the \
                  score's unit by the layer's: they sum to nothing.",
    source: Source {
        authors: "K. Leino, S. Sen, A. Datta, M. Fredrikson, L. Li",
        year: 2018,
        title: "Influence-Directed Explanations for Deep Convolutional Networks",
        id: "arXiv:1802.03788",
    },
    parameters: &[grad_cam::LAYER, points::QUADRATURE, points::STEPS, points::TOLERANCE, points::CHUNK],
    claims: &[],
    cost: "one forward and backward down to the layer a point",
    signed: true,
    baseline: true,
    layer: true,
    form: Form::Compiled(|settings| {
        Ok(Method { points: points::path(settings), collect: Collect::Layer, ..Method::GRADIENT })
    }),
};
