//! Class activation maps that need no derivative.

use pellucid_compile::methods::{Definition, Form, Parameter, ParameterKind, Source};

const LAYER: Parameter = Parameter {
    name: "layer",
    summary: "the value to look at, as --layer; without it the last spatial value before it is pooled away",
    kind: ParameterKind::Text,
    default: "",
};

/// Ablation-CAM, which evaluates what follows the layer without each of its channels.
pub const ABLATION_CAM: Definition = Definition {
    name: "ablation-cam",
    summary: "Where a layer's channels speak for the target, each weighted by what the score loses without it",
    formula: "A = max(0, Σ_c w_c · a_c), w_c = (f(x) − f(x with a_c set to 0)) / |f(x)|",
    conventions: "The paper divides by f(x) itself, for scores above 0; by a negative one the map would show what speaks \
                  against the target: with f = −2, and −3 without the channel, its weight is 1/2 here and −1/2 there. \
                  The map stays at the layer's resolution and in its own unit; pytorch-grad-cam scales each map to 0…1 \
                  and resizes it to the input. Where no value of the layer is 0 it also replaces a channel by its \
                  smallest value less 1e7 instead of 0.",
    source: Source {
        authors: "S. Desai, H. G. Ramaswamy",
        year: 2020,
        title: "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
        id: "doi:10.1109/WACV45572.2020.9093360",
    },
    parameters: &[LAYER],
    claims: &[],
    cost: "1 forward, and one from the layer on for each channel that is not 0 everywhere",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Host,
};

/// Eigen-CAM, which projects a layer's activations on their first principal direction.
pub const EIGEN_CAM: Definition = Definition {
    name: "eigen-cam",
    summary: "Where a layer is most active along the one direction of its channels that holds most of it, whatever the \
              target",
    formula: "A = max(0, a · v), a the layer as [positions, channels], v the first right singular vector of a",
    conventions: "A singular vector has no sign of its own: the value of largest magnitude is made positive. \
                  pytorch-grad-cam takes each channel's mean away first, which the paper does not: centre=yes. Behind a \
                  rectifier the projection is nowhere negative, and nothing is cut off, unless it is centred. The map \
                  stays at the layer's resolution and in the layer's unit; pytorch-grad-cam scales it to 0…1 and resizes \
                  it to the input, and keeps the sign that its decomposition happens to give.",
    source: Source {
        authors: "M. B. Muhammad, M. Yeasin",
        year: 2020,
        title: "Eigen-CAM: Class Activation Map using Principal Components",
        id: "arXiv:2008.00299",
    },
    parameters: &[
        LAYER,
        Parameter {
            name: "centre",
            summary: "whether each channel's mean is taken away first",
            kind: ParameterKind::Choice(&["no", "yes"]),
            default: "no",
        },
    ],
    claims: &[],
    cost: "1 forward",
    signed: false,
    baseline: false,
    layer: true,
    form: Form::Host,
};

/// Score-CAM, which evaluates the model on inputs that each channel's map leaves.
pub const SCORE_CAM: Definition = Definition {
    name: "score-cam",
    summary: "Where a layer's channels speak for the target, each weighted by the score of the input that its map leaves",
    formula: "A = max(0, Σ_c w_c · a_c), w = softmax_c(f(b + H_c ⊙ (x − b)) − f(b)), H_c the map a_c upsampled to the \
              input and scaled to 0…1, b the baseline",
    conventions: "Scores are logits, as elsewhere; f(b), the same for all channels, is without effect on the softmax and \
                  not evaluated. Maps are upsampled linearly with half-pixel centres, as the authors' code does; \
                  pytorch-grad-cam aligns corners. A channel that is the same everywhere cannot be scaled and is left \
                  out, as by the authors; pytorch-grad-cam counts it in the softmax. What is masked becomes the \
                  baseline, zero unless given. The map stays at the layer's resolution and in its own unit; \
                  pytorch-grad-cam scales each map to 0…1 and resizes it to the input.",
    source: Source {
        authors: "H. Wang, Z. Wang, M. Du, F. Yang, Z. Zhang, S. Ding, P. Mardziel, X. Hu",
        year: 2020,
        title: "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        id: "arXiv:1910.01279",
    },
    parameters: &[LAYER],
    claims: &[],
    cost: "1 forward, and one for each channel that is not the same everywhere",
    signed: false,
    baseline: true,
    layer: true,
    form: Form::Host,
};
