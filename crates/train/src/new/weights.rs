//! A network with weights from a file in place of those that were drawn.

use std::collections::BTreeMap;

use pellucid::Error;
use pellucid_compile::training::with_weights;
use pellucid_graph::{Graph, Tensor};
use pellucid_weights::{StateDictionary, Wanted};

use super::{Design, design, family, is_description};

/// A network with weights of a file.
#[derive(Debug, Clone)]
pub struct Pretrained {
    /// The network.
    pub graph: Graph,
    /// What should be known of the file.
    pub notes: Vec<String>,
}

/// Designs a network and gives it the weights of a state dictionary. Where `design` does not say how many outputs there
/// are, it is as many as the file's last layer has.
///
/// # Errors
/// As [`design`](super::design()); one error that lists every name and size in which the two part.
pub fn pretrained(made: &Design, state: &StateDictionary) -> Result<Pretrained, Error> {
    let mut made = made.clone();
    if made.outputs.is_none() && !is_description(&made.family) {
        let last = format!("{}.weight", family(&made.family)?.head);
        made.outputs = state.sizes_of(&last).and_then(|sizes| sizes.first().copied());
    }
    let graph = design(&made)?;
    let fitted = state.fit(&graph.name, &wanted(&graph))?;
    let tensors: BTreeMap<String, Tensor> = fitted.tensors;
    let count = tensors.len();
    let mut notes = vec![format!("{count} tensors of {} ({})", state.place(), state.form().name())];
    notes.extend(fitted.notes);
    Ok(Pretrained { graph: with_weights(&graph, &tensors)?, notes })
}

/// The weights of a network that was designed: its float constants with axes. Scalars are limits and shares.
fn wanted(graph: &Graph) -> Vec<Wanted> {
    let constants = graph.values().iter().filter_map(|value| Some((value, value.constant()?)));
    let weights = constants.filter(|(_, tensor)| tensor.element().is_float() && !tensor.shape().is_empty());
    weights
        .map(|(value, tensor)| Wanted { name: value.name.clone(), shape: tensor.shape().to_vec() })
        .collect()
}
