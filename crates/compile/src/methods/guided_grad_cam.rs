//! Guided Grad-CAM.

use super::{Definition, Form, Parameter, ParameterKind, Source};
use crate::method::{Collect, Method};
use crate::readout::{Interpolation, Readout};
use crate::rules::{GuidedBackprop, RuleMap};

pub(super) const DEFINITION: Definition = Definition {
    name: "guided-grad-cam",
    summary: "Guided backpropagation where Grad-CAM finds the target: fine as the one, of one class as the other",
    formula: "A = G ⊙ upsampled(M), G guided-backprop's and M grad-cam's, at the input's resolution",
    conventions: "The map is upsampled linearly with half-pixel centres, as the paper's figure is; Captum's default is \
                  interpolation=nearest. It is not scaled, so that A is in the unit of both factors.",
    source: Source {
        authors: "R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra",
        year: 2017,
        title: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        id: "arXiv:1610.02391",
    },
    parameters: &[
        super::grad_cam::LAYER,
        Parameter {
            name: "interpolation",
            summary: "how the map is brought to the input's resolution",
            kind: ParameterKind::Choice(&["linear", "nearest"]),
            default: "linear",
        },
    ],
    claims: &[],
    cost: "1 forward, 1 backward and 1 backward down to the layer",
    signed: true,
    baseline: false,
    layer: true,
    form: Form::Compiled(|settings| {
        let interpolation = match settings.text("interpolation") {
            Some("nearest") => Interpolation::Nearest,
            _ => Interpolation::Linear,
        };
        Ok(Method {
            rules: RuleMap::at_rectifiers(GuidedBackprop),
            collect: Collect::InputsAndMap,
            readout: Readout::TimesMap(interpolation),
            ..Method::GRADIENT
        })
    }),
};
