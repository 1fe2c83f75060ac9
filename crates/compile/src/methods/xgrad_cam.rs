//! XGrad-CAM.

use super::{Definition, Form, Source};
use crate::method::{Collect, Method};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "xgrad-cam",
    summary: "Where a layer's channels speak for the target, each weighted by its derivatives where it is active",
    formula: "A = max(0, Σ_c w_c · a_c), w_c = Σ_space a_c · g / Σ_space a_c, g = ∂f/∂a_c",
    conventions: "A channel whose values sum to 0 gets weight 0: behind a rectifier it is 0 everywhere. In a layer \
                  with negative values sums may come near 0, and weights are then large without meaning. The map stays \
                  at the layer's resolution and in its own unit; pytorch-grad-cam scales each map to 0…1 and resizes \
                  it to the input. It also adds 1e-7 to the sum: with a = (1e-7, 0) and g = (1, 5) the weight is 1 by \
                  the paper and 1/2 there.",
    source: Source {
        authors: "R. Fu, Q. Hu, X. Dong, Y. Guo, Y. Gao, B. Li",
        year: 2020,
        title: "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
        id: "arXiv:2008.02312",
    },
    parameters: &[super::grad_cam::LAYER],
    claims: &[],
    cost: "1 forward and 1 backward down to the layer",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Compiled(|_| {
        Ok(Method { collect: Collect::Layer, readout: Readout::ShareWeighted, ..Method::GRADIENT })
    }),
};
