//! The registry of all methods: those that compile to a graph, and those that evaluate the model from outside.

mod cam;

pub use cam::{ABLATION_CAM, EIGEN_CAM, SCORE_CAM};
use pellucid_compile::methods as compiled;
pub use pellucid_compile::methods::{COMMON, Claim, Definition, Form, Parameter, ParameterKind, Source};

use crate::error::Error;

/// Occlusion, which evaluates the model with windows covered.
pub const OCCLUSION: Definition = Definition {
    name: "occlusion",
    summary: "How much the score loses when a window of the input is covered by the baseline",
    formula: "A_i = mean over windows W with i ∈ W of f(x) − f(x with W set to the baseline)",
    conventions: "As Captum's Occlusion: a window spans the channels unless its size says otherwise, and its drop goes to \
                  each of its numbers, so every channel has the whole drop. A picture counts it once. The last window along \
                  an axis is cut at the edge. Sizes are of channels before space, also where the model has its channels \
                  last or takes a picture as a flat row.",
    source: Source {
        authors: "M. D. Zeiler, R. Fergus",
        year: 2014,
        title: "Visualizing and Understanding Convolutional Networks",
        id: "arXiv:1311.2901",
    },
    parameters: &[
        Parameter {
            name: "window",
            summary: "size of the window: one number for every spatial axis, or sizes of the last axes joined by x; \
                      without it a seventh of the input's size, or single numbers of a vector",
            kind: ParameterKind::Sizes,
            default: "",
        },
        Parameter {
            name: "stride",
            summary: "step of the window, as window; without it half a window",
            kind: ParameterKind::Sizes,
            default: "",
        },
    ],
    claims: &[],
    cost: "one forward a window",
    signed: true,
    baseline: true,
    layer: false,
    form: Form::Host,
};

/// RISE, which evaluates the model under random masks.
pub const RISE: Definition = Definition {
    name: "rise",
    summary: "The mean of random masks, each weighted by the score that it leaves, with its standard error",
    formula: "A = 1/(keep · N) · Σᵢ f(b + Mᵢ·(x − b)) · Mᵢ, Mᵢ a grid of cells kept with probability keep, enlarged \
              linearly and shifted",
    conventions: "One map for all channels, [n, 1, …], also where the model has its channels last; of a vector, every number is a cell. What is masked becomes the \
                  baseline, zero unless given. All rows see the same masks. Enlarging goes between the centres of \
                  cells, the edge repeated; the paper's authors reflect it. A score's constant part shows as one, \
                  since masks cover half of everything: differences within a map count.",
    source: Source {
        authors: "V. Petsiuk, A. Das, K. Saenko",
        year: 2018,
        title: "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        id: "arXiv:1806.07421",
    },
    parameters: &[
        Parameter {
            name: "samples",
            summary: "masks",
            kind: ParameterKind::Integer { min: 1, max: 1_000_000 },
            default: "2000",
        },
        Parameter {
            name: "grid",
            summary: "cells along each spatial axis: one number, or sizes joined by x",
            kind: ParameterKind::Sizes,
            default: "7",
        },
        Parameter {
            name: "keep",
            summary: "probability that a cell is kept",
            kind: ParameterKind::Number { min: 0.01, max: 1.0 },
            default: "0.5",
        },
    ],
    claims: &[],
    cost: "one forward a mask",
    signed: true,
    baseline: true,
    layer: false,
    form: Form::Host,
};

/// Every method, sorted by name.
pub fn all() -> Vec<&'static Definition> {
    let mut all: Vec<&'static Definition> = compiled::ALL.to_vec();
    all.extend([&ABLATION_CAM, &EIGEN_CAM, &OCCLUSION, &RISE, &SCORE_CAM]);
    all.sort_by_key(|definition| definition.name);
    all
}

/// The method named `name`.
///
/// # Errors
/// [`Error::Unknown`] with every name.
pub fn find(name: &str) -> Result<&'static Definition, Error> {
    all().into_iter().find(|definition| definition.name == name).ok_or_else(|| Error::Unknown {
        kind: "method",
        found: name.to_owned(),
        valid: all().iter().map(|definition| definition.name.to_owned()).collect(),
    })
}
