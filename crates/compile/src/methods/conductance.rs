//! Conductance.

use super::{Claim, Definition, Form, Parameter, ParameterKind, Source, grad_cam, points};
use crate::method::{Collect, Method};
use crate::readout::Readout;

/// How the layer's change along the path is found.
const FORM: Parameter = Parameter {
    name: "form",
    summary: "how the layer's change is found: changes, between neighbouring points, the closer one where there are \
              rectifiers; derivative, along the path at every point, the closer one where there is no kink",
    kind: ParameterKind::Choice(&["changes", "derivative"]),
    default: "changes",
};

pub(super) const DEFINITION: Definition = Definition {
    name: "conductance",
    summary: "How much of the score's change from a baseline to the input flows through each unit of a layer",
    formula: "A = ∫ ∂f/∂h(x_α) dh(x_α), x_α = b + α·(x − b), α from 0 to 1, h the layer",
    conventions: "With form=changes the layer's change between neighbouring points, both ends of the path included, times \
                  the mean of the derivatives there; it counts kinks before the layer where they are. With \
                  form=derivative the derivative times the layer's own along the path, exact at every point of the \
                  quadrature. Captum's LayerConductance takes the change times the derivative at the earlier point alone, \
                  and leaves out the path before its first and after its last point. All three tend to the same number. \
                  At 50 points, of the largest value: at the last rectifier of a small CNN Captum misses 1e-3, \
                  form=derivative 4e-2, form=changes under 1e-12; at its first convolution 3e-2, 2e-2 and 2e-2; of a \
                  network without kinks 5e-3, under 1e-9 and 3e-5. By hand: f = h², h = x, from 0 to 1 is 1; from the \
                  points 0, 1/2 and 1 form=changes gives (0 + 1)/2 · 1/2 + (1 + 2)/2 · 1/2 = 1, and the earlier \
                  derivatives alone 0 · 1/2 + 1 · 1/2 = 1/2. Values sum to the score less the baseline's where everything \
                  that the score depends on passes the layer; where not, there is no gap. Captum's NeuronConductance splits \
                  a unit's value by input; form=derivative gives what that sums to, at the same points to 1e-7.",
    source: Source {
        authors: "K. Dhamdhere, M. Sundararajan, Q. Yan",
        year: 2018,
        title: "How Important Is a Neuron?",
        id: "arXiv:1805.12233",
    },
    parameters: &[FORM, grad_cam::LAYER, points::QUADRATURE, points::STEPS, points::TOLERANCE, points::CHUNK],
    claims: &[Claim::LayerCompleteness],
    cost: "one forward and backward a point; with form=derivative also a directional derivative down to the layer",
    signed: true,
    baseline: true,
    layer: true,
    form: Form::Compiled(|settings| {
        Ok(Method {
            points: points::path(settings),
            collect: Collect::Layer,
            readout: match settings.text("form") {
                Some("derivative") => Readout::TimesTangent,
                _ => Readout::TimesChange,
            },
            ..Method::GRADIENT
        })
    }),
};
