//! Conductance.

use super::{Claim, Definition, Form, Source, grad_cam, points};
use crate::method::{Collect, Method};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "conductance",
    summary: "How much of the score's change from a baseline to the input flows through each unit of a layer",
    formula: "A = ∫₀¹ ∂f/∂h(x_α) · (∂h/∂x(x_α) · (x − b)) dα, x_α = b + α·(x − b), h the layer",
    conventions: "The layer's own change along the path is its directional derivative, computed exactly at every point. \
                  Captum's LayerConductance takes the difference of the layer's values at neighbouring points times the \
                  derivative at the earlier one, and leaves out the path before its first and after its last point: a \
                  sum of order 1/steps. Both tend to the same number; an example to check by hand: f = h², h = x, from 0 \
                  to 1 the conductance is 1; two Gauss-Legendre points give 1 here, while Captum's points 0.113, 0.5, 0.887 \
                  for two steps give 2·0.113·0.387 + 2·0.5·0.387 = 0.475. Values sum to the score less the baseline's \
                  where everything that the score depends on passes the layer; where not, there is no gap.",
    source: Source {
        authors: "K. Dhamdhere, M. Sundararajan, Q. Yan",
        year: 2018,
        title: "How Important Is a Neuron?",
        id: "arXiv:1805.12233",
    },
    parameters: &[grad_cam::LAYER, points::QUADRATURE, points::STEPS, points::TOLERANCE, points::CHUNK],
    claims: &[Claim::LayerCompleteness],
    cost: "one forward and backward a point, and one forward with directions down to the layer",
    signed: true,
    baseline: true,
    layer: true,
    form: Form::Compiled(|settings| {
        Ok(Method {
            points: points::path(settings),
            collect: Collect::Layer,
            readout: Readout::TimesTangent,
            ..Method::GRADIENT
        })
    }),
};
