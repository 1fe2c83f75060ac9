//! Which values cannot be negative: what a rule may leave out then. Not a derivative.

use pellucid_graph::{Graph, Node, ValueId};

/// Elements of a constant that are looked at.
const LOOKED_AT: usize = 1 << 16;

/// Operators whose results are never negative.
const NEVER: &[&str] = &["Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"];

/// Operators that give no negative number of none: moves, sums, means, maxima, products.
const OF_NONE: &[&str] = &[
    "Add",
    "AveragePool",
    "Cast",
    "Concat",
    "DepthToSpace",
    "Div",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mul",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Sum",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// For every value of the graph, whether it is known that no number of it is negative.
pub(crate) fn nonnegative(graph: &Graph) -> Vec<bool> {
    let mut known = vec![false; graph.values().len()];
    for id in graph.value_ids() {
        known[id.index()] = graph
            .constant(id)
            .is_some_and(|tensor| tensor.len() <= LOOKED_AT && tensor.to_f64().iter().all(|v| *v >= 0.0));
    }
    for id in graph.node_ids() {
        let node = graph.node(id);
        let sign = is_nonnegative(graph, node, &known);
        for output in node.outputs.iter().flatten() {
            known[output.index()] = sign;
        }
    }
    known
}

fn is_nonnegative(graph: &Graph, node: &Node, known: &[bool]) -> bool {
    let operator = node.operator.as_str();
    let of = |id: ValueId| known[id.index()];
    if NEVER.contains(&operator) {
        return true;
    }
    if operator == "Clip" {
        return node.input(1).is_some_and(|low| graph.value(low).fixed && of(low))
            || node.input(0).is_some_and(of);
    }
    // Axes and sizes say nothing of numbers, and are not floats.
    let numbers = node
        .inputs
        .iter()
        .flatten()
        .filter(|id| graph.value(**id).element.is_none_or(pellucid_graph::ElementType::is_float));
    OF_NONE.contains(&operator) && numbers.into_iter().all(|id| of(*id))
}
