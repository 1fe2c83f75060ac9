//! The most memory that values take together in a forward pass.

use std::collections::BTreeMap;

use pellucid_graph::{Graph, ValueId};

use super::parameters::dependent;

/// Operators that give the same numbers in the same order: an engine gives the same memory another shape.
const VIEWS: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"];

/// Bytes at the peak, inputs included, values being let go of after their last use; `None` where a size is not known.
pub(super) fn peak(graph: &Graph) -> Option<u64> {
    let depends = dependent(graph);
    // A view lives in the memory of what it shows.
    let mut owner: Vec<usize> = (0..graph.values().len()).collect();
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for (step, id) in graph.node_ids().enumerate() {
        let node = graph.node(id);
        if let (true, Some(input), Some(output)) =
            (VIEWS.contains(&node.operator.as_str()), node.input(0), node.output(0))
        {
            owner[output.index()] = owner[input.index()];
        }
        for value in graph.dependencies(id) {
            last.insert(owner[value.index()], step);
        }
    }
    let count = graph.nodes().len();
    for output in graph.outputs() {
        last.insert(owner[output.index()], count);
    }
    let bytes = |id: ValueId| -> Option<u64> {
        let value = graph.value(id);
        let elements: usize =
            value.static_shape()?.iter().try_fold(1usize, |product, size| product.checked_mul(*size))?;
        let size = value.element.map_or(4, pellucid_graph::ElementType::size);
        u64::try_from(elements.checked_mul(size)?).ok()
    };
    let mut live = 0u64;
    let mut held: BTreeMap<usize, u64> = BTreeMap::new();
    for id in graph.inputs() {
        let bytes = bytes(*id)?;
        held.insert(id.index(), bytes);
        live += bytes;
    }
    let mut peak = live;
    for (step, id) in graph.node_ids().enumerate() {
        for output in graph.node(id).outputs.iter().flatten() {
            let place = output.index();
            if depends[place] && owner[place] == place && last.contains_key(&place) {
                let bytes = bytes(*output)?;
                held.insert(place, bytes);
                live = live.saturating_add(bytes);
            }
        }
        peak = peak.max(live);
        held.retain(|place, bytes| {
            let done = last.get(place).is_none_or(|last| *last <= step);
            if done {
                live = live.saturating_sub(*bytes);
            }
            !done
        });
    }
    Some(peak)
}
