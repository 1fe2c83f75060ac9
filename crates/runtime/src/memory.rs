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
    let kept: BTreeSet<ValueId> = graph.outputs().iter().copied().collect();
    let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (step, id) in order.iter().enumerate() {
        for value in graph.dependencies(*id) {
            last.insert(value, step);
        }
    }
    let made = |id: &ValueId| matches!(graph.value(*id).origin, Origin::Node(..));
    let held = graph.value_ids().filter(|id| !made(id)).fold(0u64, |sum, id| sum.saturating_add(bytes(id)));
    let (mut live, mut computed) = (0u64, 0u64);
    for (step, id) in order.iter().enumerate() {
        let node = graph.node(*id);
        for output in node.outputs.iter().flatten() {
            live = live.saturating_add(bytes(*output));
        }
        computed = computed.max(live.saturating_add(workspace(graph, *id)));
        let read: BTreeSet<ValueId> = graph.dependencies(*id).into_iter().collect();
        let unread = node.outputs.iter().flatten().filter(|output| !last.contains_key(output));
        let done = read.iter().filter(|value| last.get(value) == Some(&step));
        for value in done.chain(unread) {
            if made(value) && !kept.contains(value) {
                live = live.saturating_sub(bytes(*value));
            }
        }
    }
    Bytes { held, computed }
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
