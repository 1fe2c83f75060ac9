//! Losses: what a model's answer costs, given the right one. Training steps and errors are derivatives of these.

use pellucid_graph::{Attribute, ElementType};

use crate::build::{Keep, Var};
use crate::error::Result;
use crate::score::one_hot;

/// −log softmax(y)[label] of each row, `[n]`, of logits `[n, classes]` and labels int64 `[n]`.
///
/// A label that is no class counts as a row of loss 0. A class of logit −∞ that is not the label costs nothing.
pub(crate) fn cross_entropy<'g>(y: Var<'g>, classes: usize, labels: Var<'g>) -> Var<'g> {
    let log_probabilities = y.builder().op("LogSoftmax", &[y], &[("axis", Attribute::Int(1))]);
    let right = one_hot(y, classes, labels).cast(ElementType::Bool);
    // Chosen, not multiplied: 0 · −∞ is no number.
    -right.choose(log_probabilities, y.scalar(0.0)).sum(&[1], Keep::None)
}

/// The mean over a row's numbers of (y − wanted)², `[n]`, of values `[n, …]` and what they should be, of the same shape.
pub(crate) fn squared_error<'g>(y: Var<'g>, wanted: Var<'g>) -> Result<Var<'g>> {
    let difference = y - wanted;
    let axes: Vec<usize> = (1..y.rank()?).collect();
    Ok((difference * difference).mean(&axes, Keep::None))
}
