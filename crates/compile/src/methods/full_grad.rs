//! `FullGrad`.

use super::{Claim, Definition, Form, Parameter, ParameterKind, Source};
use crate::method::Method;
use crate::readout::{FullGrad, Readout};

pub(super) const DEFINITION: Definition = Definition {
    name: "full-grad",
    summary: "The score split whole into what the input adds by its gradient and what every bias adds, as one map",
    formula: "f(x) = ∇f · x + Σ_b f_b, f_b = ∂f/∂b ⊙ b; A = ψ(∇f ⊙ x) + Σ_layers Σ_c ψ(f_b), ψ(v) = \
              upsampled(scaled(|v|)), [n, 1, …] at the input's resolution",
    conventions: "The gap says how far ∇f · x and the terms of all biases are from the score. Biases are those of every \
                  linear operator, of BatchNormalization folded or not, and what is left of any other function after \
                  slope × input (the paper's implicit biases, such as 6 · ∂f/∂y where a Clip(0, 6) saturates). The \
                  paper's map leaves out terms without space, those of fully connected layers; form=signed keeps them, \
                  spread evenly, and the sign of all, and its values sum to the score. ψ scales the magnitudes of each \
                  channel to 0…1, as the paper's formula and pytorch-grad-cam do; rescale=layer those of all channels \
                  of a layer together, as the authors' code does. Where a convolution's bias and that of its \
                  BatchNormalization are folded into one, the map of magnitudes differs, the signed one does not. Maps \
                  are upsampled linearly with half-pixel centres (the authors' code aligns corners), and the sum is not \
                  scaled again, as pytorch-grad-cam does, which knows no implicit biases and adds 1e-7 to each maximum.",
    source: Source {
        authors: "S. Srinivas, F. Fleuret",
        year: 2019,
        title: "Full-Gradient Representation for Neural Network Visualization",
        id: "arXiv:1905.00780",
    },
    parameters: &[
        Parameter {
            name: "form",
            summary: "the paper's map of magnitudes, or every term with its sign, summing to the score",
            kind: ParameterKind::Choice(&["saliency", "signed"]),
            default: "saliency",
        },
        Parameter {
            name: "rescale",
            summary: "what saliency scales to 0…1: each channel by itself, or all channels of a layer together",
            kind: ParameterKind::Choice(&["channel", "layer"]),
            default: "channel",
        },
    ],
    claims: &[Claim::FullCompleteness],
    cost: "1 forward and 1 backward, and a pass over every feature map that has a bias",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| {
        let form = match (settings.text("form"), settings.text("rescale")) {
            (Some("signed"), _) => FullGrad::Signed,
            (_, Some("layer")) => FullGrad::ByLayer,
            _ => FullGrad::ByChannel,
        };
        Ok(Method { readout: Readout::FullGrad(form), ..Method::GRADIENT })
    }),
};
