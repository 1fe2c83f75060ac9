//! Memory of a run, known before it starts.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{ElementType, Graph, NodeId, Origin, ValueId, element_count};

use crate::Session;
use crate::error::RuntimeError;

/// Bytes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes {
    /// Constants, once, and what is fed.
    pub(crate) held: u64,
    /// The most that computed values take together.
    pub(crate) computed: u64,
}

/// Bytes of running the nodes of `graph`, all of whose sizes are bound, in `order`: outputs are kept, every other value
/// lives from the node that makes it to the last that reads it. `width` is the bytes of an element.
pub(crate) fn bytes(graph: &Graph, order: &[NodeId], width: impl Fn(ElementType) -> u64) -> Bytes {
    let bytes = |id: ValueId| {
        let value = graph.value(id);
        let width = width(value.element.unwrap_or(ElementType::F32));
        value
            .static_shape()
            .and_then(|shape| element_count(&shape))
            .map_or(0, |count| u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(width))
    };
    let held = graph
        .value_ids()
        .filter(|id| !is_made(graph, *id))
        .fold(0u64, |sum, id| sum.saturating_add(bytes(id)));
    let own: Vec<ValueId> = graph.value_ids().collect();
    let computed = most_live(graph, order, &own, &bytes, &|id| workspace(graph, id));
    Bytes { held, computed }
}

/// Operators that give the same numbers in the same order: an engine may give the same memory another shape.
const VIEWS: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"];

/// Bytes that the inputs of `graph` and what is computed of them take together at the peak of a forward pass, in the
/// order of the file: inputs are held throughout, every other value lives from the node that makes it to the last that
/// reads it, and what only changes a shape takes no memory of its own. Weights, what is computed of weights alone, packed
/// weights and engines' workspace come on top. `None` where a size is not known.
pub fn live_bytes(graph: &Graph) -> Option<u64> {
    let mut owner: Vec<ValueId> = graph.value_ids().collect();
    let mut read: BTreeSet<ValueId> = graph.outputs().iter().copied().collect();
    for id in graph.node_ids() {
        let node = graph.node(id);
        read.extend(graph.dependencies(id));
        if let (true, Some(input), Some(output)) =
            (VIEWS.contains(&node.operator.as_str()), node.input(0), node.output(0))
        {
            owner[output.index()] = owner[input.index()];
        }
    }
    let known = |id: &ValueId| {
        let value = graph.value(*id);
        let count = element_count(&value.static_shape()?)?;
        let width = value.element.map_or(4, ElementType::size);
        u64::try_from(count.checked_mul(width)?).ok()
    };
    let counted = |id: &ValueId| !graph.value(*id).fixed && read.contains(id);
    let sizes: BTreeMap<ValueId, u64> = graph
        .value_ids()
        .filter(counted)
        .map(|id| known(&id).map(|bytes| (id, bytes)))
        .collect::<Option<_>>()?;
    let inputs: u64 = graph.inputs().iter().map(|id| sizes.get(id).copied().unwrap_or(0)).sum();
    let order: Vec<NodeId> = graph.node_ids().collect();
    let size = |id: ValueId| sizes.get(&id).copied().unwrap_or(0);
    Some(inputs.saturating_add(most_live(graph, &order, &owner, &size, &|_| 0)))
}

fn is_made(graph: &Graph, id: ValueId) -> bool {
    matches!(graph.value(id).origin, Origin::Node(..))
}

/// The most that computed values take together. A value lives in the memory of its `owner`, itself or an earlier one,
/// whose `size` is counted; a node takes `workspace` while it computes.
fn most_live(
    graph: &Graph,
    order: &[NodeId],
    owner: &[ValueId],
    size: &dyn Fn(ValueId) -> u64,
    workspace: &dyn Fn(NodeId) -> u64,
) -> u64 {
    let owner = |id: &ValueId| owner[id.index()];
    let kept: BTreeSet<ValueId> = graph.outputs().iter().map(owner).collect();
    let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (step, id) in order.iter().enumerate() {
        for value in graph.dependencies(*id) {
            last.insert(owner(&value), step);
        }
    }
    let (mut live, mut most) = (0u64, 0u64);
    for (step, id) in order.iter().enumerate() {
        let made: Vec<ValueId> = graph
            .node(*id)
            .outputs
            .iter()
            .flatten()
            .copied()
            .filter(|output| owner(output) == *output)
            .collect();
        for output in &made {
            live = live.saturating_add(size(*output));
        }
        most = most.max(live.saturating_add(workspace(*id)));
        let read: BTreeSet<ValueId> = graph.dependencies(*id).iter().map(owner).collect();
        let unread = made.iter().filter(|output| !last.contains_key(output));
        for value in read.iter().filter(|value| last.get(value) == Some(&step)).chain(unread) {
            if is_made(graph, *value) && !kept.contains(value) {
                live = live.saturating_sub(size(*value));
            }
        }
    }
    most
}
/// Bytes that a node needs beside its inputs and outputs: the columns of a transposed convolution.
fn workspace(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    if node.operator != "ConvTranspose" {
        return 0;
    }
    let sizes = |position: usize| node.input(position).and_then(|id| graph.value(id).static_shape());
    let (Some(x), Some(weight)) = (sizes(0), sizes(1)) else { return 0 };
    let count = x
        .iter()
        .skip(2)
        .chain(weight.iter().skip(1))
        .try_fold(4u64, |product, size| product.checked_mul(u64::try_from(*size).ok()?));
    count.unwrap_or(u64::MAX)
}

/// The largest size, at most `most`, that `symbol` may have in a run of `outputs` within the session's memory, the
/// other symbols standing for `sizes`. It depends on the declared limit alone, so work is always split the same way.
///
/// # Errors
/// [`RuntimeError::Memory`] where not even 1 fits; otherwise those of [`Session::peak_bytes`].
pub fn largest_batch(
    session: &dyn Session,
    symbol: &str,
    sizes: &BTreeMap<String, i64>,
    outputs: &[&str],
    most: usize,
) -> Result<usize, RuntimeError> {
    let Some(allowed) = session.memory() else { return Ok(most) };
    let needs = |batch: usize| {
        let mut sizes = sizes.clone();
        sizes.insert(symbol.to_owned(), i64::try_from(batch).unwrap_or(i64::MAX));
        session.peak_bytes(&sizes, outputs)
    };
    let needed = needs(1)?;
    if needed > allowed {
        return Err(RuntimeError::Memory { needed, allowed });
    }
    let (mut fits, mut exceeds) = (1, most.saturating_add(1).max(2));
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        if needs(middle)? <= allowed {
            fits = middle;
        } else {
            exceeds = middle;
        }
    }
    Ok(fits.min(most.max(1)))
}
