//! What a prediction costs: the definitions of losses, row by row, shared by training and by looking at errors.
//!
//! A loss takes logits where the literature's formula has a softmax or a logistic function: their logarithms are
//! computed without them, which stays finite.

use pellucid_graph::{Attribute, ElementType, Graph, ValueId};

use crate::build::{Keep, Var};
use crate::error::Result;
use crate::score::one_hot;

/// −log `softmax(y)[label]` of each row, `[n]`, of logits `[n, classes]` and labels int64 `[n]`.
///
/// A label that is no class counts as a row of loss 0. A class of logit −∞ that is not the label costs nothing.
///
/// Source: J. S. Bridle (1990), Probabilistic interpretation of feedforward classification network outputs,
/// doi:10.1007/978-3-642-76153-9_28.
pub fn cross_entropy<'g>(y: Var<'g>, classes: usize, labels: Var<'g>) -> Var<'g> {
    let log_probabilities = y.builder().op("LogSoftmax", &[y], &[("axis", Attribute::Int(1))]);
    let right = one_hot(y, classes, labels).cast(ElementType::Bool);
    // Chosen, not multiplied: 0 · −∞ is no number.
    -right.choose(log_probabilities, y.scalar(0.0)).sum(&[1], Keep::None)
}

/// Cross-entropy of each row, `[n]`: −Σ q · ln p over classes, where p is the softmax of `logits`, `[n, classes]`, and `targets`,
/// of the same shape, holds q: 1 at the row's class and 0 elsewhere, or any other weights.
pub fn cross_entropy_of_shares<'g>(logits: Var<'g>, targets: Var<'g>) -> Var<'g> {
    let log_probabilities = logits.builder().op("LogSoftmax", &[logits], &[("axis", Attribute::Int(1))]);
    -(log_probabilities * targets).sum(&[1], Keep::None)
}

/// Cross-entropy of each logit `z` by itself against `targets` t between 0 and 1, of z's shape:
/// −(w · t · ln σ(z) + (1 − t) · ln(1 − σ(z))), where `positive` holds w, 1 without it.
///
/// Since ln(1 − σ(z)) = −softplus(z), that is w · t · softplus(−z) + (1 − t) · softplus(z).
pub fn binary_cross_entropy<'g>(logits: Var<'g>, targets: Var<'g>, positive: Option<Var<'g>>) -> Var<'g> {
    match positive {
        None => logits.apply("Softplus") - logits * targets,
        Some(weights) => {
            // softplus(−z) = softplus(z) − z
            let above = logits.apply("Softplus");
            (targets * weights) * (above - logits) + (1.0 - targets) * above
        }
    }
}

/// Squared difference of each number, (y − t)².
pub fn squared<'g>(prediction: Var<'g>, targets: Var<'g>) -> Var<'g> {
    let difference = prediction - targets;
    difference * difference
}

/// The mean over a row's numbers of (y − wanted)², `[n]`, of values `[n, …]` and what they should be, of the same shape.
pub(crate) fn squared_error<'g>(y: Var<'g>, wanted: Var<'g>) -> Result<Var<'g>> {
    let axes: Vec<usize> = (1..y.rank()?).collect();
    Ok(squared(y, wanted).mean(&axes, Keep::None))
}

/// Huber's loss of each number: d² / 2 for |d| ≤ δ, δ · (|d| − δ / 2) beyond, where d = y − t.
///
/// With c, d held between −δ and δ, both are c · (d − c / 2).
///
/// Source: P. J. Huber (1964), Robust estimation of a location parameter, doi:10.1214/aoms/1177703732.
pub fn huber<'g>(prediction: Var<'g>, targets: Var<'g>, delta: f64) -> Var<'g> {
    let difference = prediction - targets;
    let bounds = [difference.scalar(-delta), difference.scalar(delta)];
    let held = difference.builder().op("Clip", &[difference, bounds[0], bounds[1]], &[]);
    held * (difference - held * 0.5)
}

/// What a final logistic function takes, through Identity: the logits of a model that gives probabilities label by
/// label.
pub(crate) fn before_sigmoid(graph: &Graph, output: ValueId) -> ValueId {
    let mut value = output;
    while let Some(node) = graph.producer_of(value).map(|id| graph.node(id)) {
        match (node.operator.as_str(), node.input(0)) {
            ("Identity", Some(input)) => value = input,
            ("Sigmoid", Some(input)) => return input,
            _ => break,
        }
    }
    output
}

/// Logits of shape [n, classes, 1, …] as [n, classes].
pub(crate) fn by_class(logits: Var<'_>) -> Result<Var<'_>> {
    let space: Vec<usize> = (2..logits.rank()?).collect();
    Ok(logits.squeeze(&space))
}
