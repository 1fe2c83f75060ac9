//! Where a value's channels are: in front of space, as the standard's operators have them, or behind it, as Keras has them.

use std::collections::BTreeSet;

use pellucid_graph::{Dim, Graph, Node, ValueId};

/// Operators that take and give channels at axis 1, with space behind them.
const WITH_CHANNELS: [&str; 17] = [
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "LpPool",
    "MaxPool",
    "MaxUnpool",
    "QLinearConv",
    "SpaceToDepth",
];

/// Operators whose axes have nothing to do with each other.
const MIXING: [&str; 4] = ["Einsum", "If", "Loop", "Scan"];

/// The axis of every value's channels, by [`ValueId::index`]; `None` where nothing in the graph tells.
///
/// The operators of the standard that know channels have them at axis 1. From there the axis is followed to what is computed
/// before and after: through `Transpose`, through a `Reshape` that only moves axes of size 1, and through nodes that keep
/// the number of axes. So an input whose channels stand last, as Keras's exporters leave it, is told by the `Transpose` that
/// its first convolution needs.
///
/// Cost: three passes over the nodes; nothing is evaluated.
pub fn channel_axes(graph: &Graph) -> Vec<Option<usize>> {
    let mut axes: Vec<Option<usize>> = vec![None; graph.values().len()];
    let has_channels = |node: &Node| WITH_CHANNELS.contains(&node.operator.as_str());
    let keeps_axes = |node: &&Node| !has_channels(node) && !MIXING.contains(&node.operator.as_str());
    for node in graph.nodes().iter().filter(|node| has_channels(node)) {
        for value in [node.inputs.first(), node.outputs.first()].into_iter().flatten().flatten() {
            axes[value.index()] = rank(graph, *value).filter(|rank| *rank >= 3).map(|_| 1);
        }
    }
    for node in graph.nodes().iter().rev().filter(keeps_axes) {
        for input in node.inputs.iter().flatten().filter(|input| graph.value(**input).constant().is_none()) {
            let known = axes[input.index()];
            let found = || {
                node.outputs
                    .iter()
                    .flatten()
                    .find_map(|output| before(graph, node, (*input, *output), axes[output.index()]?))
            };
            axes[input.index()] = known.or_else(found);
        }
    }
    for node in graph.nodes().iter().filter(keeps_axes) {
        for output in node.outputs.iter().flatten() {
            let known = axes[output.index()];
            let found = || {
                node.inputs
                    .iter()
                    .flatten()
                    .find_map(|input| after(graph, node, (*input, *output), axes[input.index()]?))
            };
            axes[output.index()] = known.or_else(found);
        }
    }
    axes
}

fn rank(graph: &Graph, value: ValueId) -> Option<usize> {
    graph.value(value).shape.as_ref().map(Vec::len)
}

/// Where an axis of a node's input is in its output.
fn after(graph: &Graph, node: &Node, (input, output): (ValueId, ValueId), axis: usize) -> Option<usize> {
    let (taken, given) = shapes(graph, (input, output))?;
    match node.operator.as_str() {
        "Transpose" => order(node, taken.len())?.iter().position(|from| *from == axis),
        "Reshape" => reshaped(taken, given, axis),
        _ => Some(axis),
    }
}

/// Where an axis of a node's output is in its input.
fn before(graph: &Graph, node: &Node, (input, output): (ValueId, ValueId), axis: usize) -> Option<usize> {
    let (taken, given) = shapes(graph, (input, output))?;
    match node.operator.as_str() {
        "Transpose" => order(node, taken.len())?.get(axis).copied(),
        "Reshape" => reshaped(given, taken, axis),
        _ => Some(axis),
    }
}

/// The shapes of both, of as many axes.
fn shapes(graph: &Graph, (input, output): (ValueId, ValueId)) -> Option<(&[Dim], &[Dim])> {
    let (taken, given) = (graph.value(input).shape.as_deref()?, graph.value(output).shape.as_deref()?);
    (taken.len() == given.len() && taken.len() >= 3).then_some((taken, given))
}

/// For each axis of a `Transpose`'s output, the input's.
pub(crate) fn order(node: &Node, rank: usize) -> Option<Vec<usize>> {
    let Some(order) = node.ints("perm") else { return Some((0..rank).rev().collect()) };
    let axis = |axis: &i64| {
        let from_start = if *axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { *axis };
        usize::try_from(from_start).ok().filter(|axis| *axis < rank)
    };
    order.iter().map(axis).collect::<Option<Vec<usize>>>().filter(|order| order.len() == rank)
}

/// Those of `values` whose channels stand behind their space.
pub(crate) fn channels_last(graph: &Graph, values: &[ValueId]) -> BTreeSet<ValueId> {
    if values.is_empty() {
        return BTreeSet::new();
    }
    let axes = channel_axes(graph);
    let is_last = |id: &ValueId| {
        let axis = axes[id.index()].filter(|axis| *axis > 1);
        axis.is_some() && axis.map(|axis| axis + 1) == rank(graph, *id)
    };
    values.iter().copied().filter(is_last).collect()
}

/// Where an axis of the shape `from` is in `to`, which differs from it by where axes of size 1 stand.
fn reshaped(from: &[Dim], to: &[Dim], axis: usize) -> Option<usize> {
    let is_one = |dim: &Dim| dim.value() == Some(1);
    let of = |shape: &[Dim], one: bool| -> Vec<usize> {
        (0..shape.len()).filter(|axis| is_one(&shape[*axis]) == one).collect()
    };
    let (others, theirs) = (of(from, false), of(to, false));
    let same = others.len() == theirs.len() && others.iter().zip(&theirs).all(|(a, b)| from[*a] == to[*b]);
    let one = from.get(axis).map(is_one)?;
    let place = of(from, one).iter().position(|other| *other == axis)?;
    of(to, one).get(place).copied().filter(|_| same)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Attribute, ElementType, NewNode, Tensor};

    use super::*;

    /// An input scaled, brought to channels first, convolved, and turned back.
    fn keras(turn: impl Fn(&mut Graph, ValueId) -> ValueId, sizes: [i64; 4]) -> (Graph, [ValueId; 4]) {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(sizes.map(Dim::known).to_vec())).unwrap();
        let by = graph.add_constant("by", Tensor::from_f32(vec![1], &[2.0]).unwrap()).unwrap();
        let scaled = graph.push_one(NewNode::new("Mul", &[x, by], "scaled")).unwrap();
        let turned = turn(&mut graph, scaled);
        let channels = usize::try_from(sizes[3]).unwrap();
        let weight = Tensor::from_f32(vec![5, channels, 1, 1], &vec![1.0; 5 * channels]).unwrap();
        let weight = graph.add_constant("w", weight).unwrap();
        let map = graph.push_one(NewNode::new("Conv", &[turned, weight], "map")).unwrap();
        let order = Attribute::Ints(vec![0, 2, 3, 1]);
        let back = graph.push_one(NewNode::new("Transpose", &[map], "back").with("perm", order)).unwrap();
        let last = graph.push_one(NewNode::new("Relu", &[back], "last")).unwrap();
        graph.add_output(last).unwrap();
        (graph, [x, scaled, map, last])
    }

    #[test]
    fn channels_are_followed_to_the_input_and_to_the_end() {
        let (graph, values) = keras(
            |graph, x| {
                let order = Attribute::Ints(vec![0, 3, 1, 2]);
                graph.push_one(NewNode::new("Transpose", &[x], "turned").with("perm", order)).unwrap()
            },
            [2, 6, 7, 3],
        );
        let found = channel_axes(&graph);
        assert_eq!(values.map(|id| found[id.index()]), [Some(3), Some(3), Some(1), Some(3)]);
    }

    #[test]
    fn one_channel_is_moved_by_a_reshape() {
        let (graph, values) = keras(
            |graph, x| {
                let shape =
                    graph.add_constant("shape", Tensor::from_i64(vec![4], &[1, 1, 6, 6]).unwrap()).unwrap();
                graph.push_one(NewNode::new("Reshape", &[x, shape], "turned")).unwrap()
            },
            [1, 6, 6, 1],
        );
        let found = channel_axes(&graph);
        assert_eq!(values.map(|id| found[id.index()]), [Some(3), Some(3), Some(1), Some(3)]);
        assert_eq!(
            reshaped(&[2, 6, 3].map(Dim::known), &[2, 3, 6].map(Dim::known), 1),
            None,
            "numbers are mixed"
        );
    }

    #[test]
    fn nothing_is_said_where_no_operator_knows_channels() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some([2, 6, 7, 3].map(Dim::known).to_vec())).unwrap();
        let y = graph.push_one(NewNode::new("Relu", &[x], "y")).unwrap();
        graph.add_output(y).unwrap();
        assert_eq!(channel_axes(&graph), [None, None]);
    }
}
