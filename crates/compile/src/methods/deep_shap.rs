//! Deep SHAP.

use super::{Claim, Definition, Form, Source, deeplift};
use crate::method::{Method, Points};

pub(super) const DEFINITION: Definition = Definition {
    name: "deep-shap",
    summary: "DeepLIFT averaged over every row of a background instead of one baseline: an approximation of Shapley values",
    formula: "A = mean over the rows b of the background of m(x, b) · (x − b), m as in deeplift",
    conventions: "A background is --background FILE, [k, …]; without it, zero. Every row of it is taken, none is drawn. The \
                  baseline's score is the mean over the background. Captum's DeepLiftShap, where its rules are additive; \
                  SHAP's DeepExplainer returns another gap where a model calls functions in place of modules \
                  (shap#3938), here values sum to the difference of scores all the same.",
    source: Source {
        authors: "S. M. Lundberg, S.-I. Lee",
        year: 2017,
        title: "A Unified Approach to Interpreting Model Predictions",
        id: "arXiv:1705.07874",
    },
    parameters: &[deeplift::RULE],
    claims: &[Claim::Completeness, Claim::Linearity, Claim::Dummy],
    cost: "2 forward and 1 backward a row of the background",
    signed: true,
    baseline: false,
    layer: false,
    form: Form::Compiled(|settings| Ok(Method { points: Points::Each, ..deeplift::lifted(settings) })),
};
