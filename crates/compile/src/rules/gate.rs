//! The gate rule: of a product, the signal takes all.

use pellucid_graph::{Graph, ValueId};

use super::Rule;
use super::parts::stabilized;
use crate::error::Result;
use crate::kind::{Form, Kind, Role};
use crate::ops;
use crate::step::{Signals, Step};

/// At a product of two values that both depend on the model's input, the one that gates the other counts as a constant
/// and the other takes all: squeeze-and-excite, attention weights, gated units. Where neither is a gate each takes half:
/// Rₐ = ½ a · vjp(Rᵧ / y). A quotient gives all to its numerator.
///
/// A gate is the attention weights of a softmax or a sigmoid, moved and scaled or not; else the one of fewer numbers,
/// which is copied to those of the other.
///
/// Source: L. Arras, G. Montavon, K.-R. Müller, W. Samek (2017), Explaining Recurrent Neural Network Predictions in
/// Sentiment Analysis, arXiv:1706.07206; for attention A. Ali, T. Schnake, O. Eberle, G. Montavon, K.-R. Müller, L. Wolf
/// (2022), XAI for Transformers: Better Explanations through Conservative Propagation, arXiv:2202.07304; halves as R.
/// Achtibat et al. (2024), arXiv:2402.05602.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let mut signals = vec![None; step.input_count()];
        if step.kind() == Kind::Quotient {
            signals[0] = Some(step.dy()?);
            return Ok(signals);
        }
        let s = step.dy()? / stabilized(step.y()?, self.stabilizer);
        let takers: Vec<usize> = (0..step.input_count()).filter(|index| step.is_signal(*index)).collect();
        let gate = gate(step);
        let sharing = takers.len() - usize::from(gate.is_some());
        let all = Step { wanted: vec![true; step.input_count()], ..step.with_signal(s) };
        let contributions = step.times_inputs(all.vjp()?);
        for (index, contribution) in contributions.into_iter().enumerate() {
            if takers.contains(&index) && gate != Some(index) {
                signals[index] =
                    contribution.map(|whole| if sharing > 1 { whole / sharing as f64 } else { whole });
            }
        }
        Ok(signals)
    }
}

/// The input that gates the others, where there is one.
fn gate(step: &Step<'_>) -> Option<usize> {
    let graph = step.builder().graph();
    let operands: Vec<(usize, ValueId)> = (0..step.input_count())
        .filter(|index| step.is_signal(*index))
        .filter_map(|index| Some((index, step.node.input(index)?)))
        .collect();
    let [(first, a), (second, b)] = operands[..] else { return None };
    let only = |of_a: bool, of_b: bool| match (of_a, of_b) {
        (true, false) => Some(first),
        (false, true) => Some(second),
        _ => None,
    };
    let bounded = (is_bounded(&graph, a), is_bounded(&graph, b));
    // Of a sigmoid and a tanh it is the sigmoid.
    let unsigned = (bounded.0 && step.is_nonnegative(first), bounded.1 && step.is_nonnegative(second));
    let count = |id: ValueId| {
        let sizes = graph.value(id).static_shape()?;
        Some(sizes.iter().product::<usize>())
    };
    // Rows may be a symbol: then the product of the sizes behind them decides.
    let behind = |id: ValueId| {
        let shape = graph.value(id).shape.clone()?;
        shape.get(1..)?.iter().map(pellucid_graph::Dim::size).try_fold(1, |all, size| Some(all * size?))
    };
    let size = |id: ValueId| count(id).or_else(|| behind(id));
    only(bounded.0, bounded.1).or_else(|| only(unsigned.0, unsigned.1)).or_else(|| {
        let matrix = graph.value(a).shape.as_ref().map(Vec::len)
            == graph.value(b).shape.as_ref().map(Vec::len)
            && !broadcasts(&graph, a, b);
        let (a, b) = (size(a)?, size(b)?);
        if matrix { None } else { only(a < b, b < a) }
    })
}

/// Whether one of two values is copied along an axis to the sizes of the other.
fn broadcasts(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    let (Some(a), Some(b)) = (&graph.value(a).shape, &graph.value(b).shape) else { return false };
    a.iter().rev().zip(b.iter().rev()).all(|(a, b)| a == b || a.value() == Some(1) || b.value() == Some(1))
}

/// Whether a value is a softmax or bounded function, moved and scaled or not.
fn is_bounded(graph: &Graph, mut value: ValueId) -> bool {
    while let Some(id) = graph.producer_of(value) {
        match ops::kind_of(graph, id) {
            Some(Kind::Weights | Kind::Elementwise(Role::Saturating)) => return true,
            Some(Kind::Move | Kind::Linear(Form::Scale)) => {}
            _ => return false,
        }
        let Some(before) = graph.node(id).inputs.iter().flatten().find(|id| !graph.value(**id).fixed) else {
            return false;
        };
        value = *before;
    }
    false
}
