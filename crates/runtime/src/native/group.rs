//! Which nodes of a graph are computed together as one [`Program`].
//!
//! Groups grow from the end of the graph: a node joins what reads it, unless something else would then have to run both
//! before and after the group. So a map that a derivative needs again is computed again from what it is made of, and
//! only what others read is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pellucid_graph::{ElementType, Graph, Node, NodeId, ValueId};

use super::Least;
use super::operation::Operation;
use super::program::{Extent, Id, Origin, Program, Space};

/// Nodes that are one program.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) program: Program,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
}

/// A group that grows.
struct Growing {
    shape: Vec<usize>,
    nodes: BTreeSet<NodeId>,
}

/// The groups of `graph`, nodes in `taken` left out.
pub(super) fn groups(graph: &Graph, taken: &BTreeSet<NodeId>, least: Least) -> Vec<Group> {
    let consumers = graph.consumers();
    let mut growing: Vec<Growing> = Vec::new();
    let mut member: HashMap<NodeId, usize> = HashMap::new();
    for id in graph.node_ids().rev() {
        if taken.contains(&id) {
            continue;
        }
        let readers: BTreeSet<NodeId> = graph
            .node(id)
            .outputs
            .iter()
            .flatten()
            .flat_map(|output| consumers[output.index()].iter().copied())
            .collect();
        let near: BTreeSet<usize> = readers.iter().filter_map(|reader| member.get(reader).copied()).collect();
        let joined = near.into_iter().find(|at| {
            role(graph, id, &growing[*at].shape, least).is_some()
                && !reaches(graph, &consumers, &growing, &member, &readers, *at)
        });
        let at = match (joined, own_space(graph, id, least)) {
            (Some(at), _) => at,
            (None, Some(shape)) => {
                growing.push(Growing { shape, nodes: BTreeSet::new() });
                growing.len() - 1
            }
            (None, None) => continue,
        };
        growing[at].nodes.insert(id);
        member.insert(id, at);
    }
    growing.iter().filter_map(|growing| finished(graph, &consumers, growing, least)).collect()
}

/// Whether the group at `at` depends on a node outside it that depends on one of `readers`.
fn reaches(
    graph: &Graph,
    consumers: &[Vec<NodeId>],
    growing: &[Growing],
    member: &HashMap<NodeId, usize>,
    readers: &BTreeSet<NodeId>,
    at: usize,
) -> bool {
    let end = growing[at].nodes.last().copied();
    let mut seen = BTreeSet::new();
    let mut left: Vec<NodeId> =
        readers.iter().copied().filter(|reader| member.get(reader) != Some(&at)).collect();
    while let Some(next) = left.pop() {
        let group = member.get(&next).copied();
        if group == Some(at) {
            return true;
        }
        if !seen.insert(next) {
            continue;
        }
        // All of a group runs before what reads any of it.
        let together: Vec<NodeId> = match group {
            Some(group) => growing[group].nodes.iter().copied().filter(|node| *node != next).collect(),
            None => Vec::new(),
        };
        left.extend(together.into_iter().filter(|node| !seen.contains(node)));
        for output in graph.node(next).outputs.iter().flatten() {
            left.extend(consumers[output.index()].iter().copied().filter(|reader| {
                !seen.contains(reader)
                    && (end.is_none_or(|end| *reader <= end) || member.contains_key(reader))
            }));
        }
    }
    false
}

/// Sizes of numbers, and of what compares numbers, which a program holds as 0 and 1.
fn shape_of(graph: &Graph, id: ValueId) -> Option<Vec<usize>> {
    let value = graph.value(id);
    (is_number(graph, id) || compares(graph, id)).then(|| value.static_shape()).flatten()
}

fn is_number(graph: &Graph, id: ValueId) -> bool {
    graph.value(id).element == Some(ElementType::F32)
}

fn compares(graph: &Graph, id: ValueId) -> bool {
    let producer = graph.producer_of(id).map(|node| graph.node(node));
    producer.is_some_and(|node| {
        node.operator == "Equal" && node.input(0).is_some_and(|input| is_number(graph, input))
    })
}

/// How a value stands in maps of `shape`.
fn extent(graph: &Graph, id: ValueId, shape: &[usize], least: Least) -> Option<Extent> {
    let found = shape_of(graph, id)?;
    if found == shape {
        return Some(Extent::Full);
    }
    let length: usize = found.iter().product();
    if length == 1 && found.len() <= shape.len() {
        return Some(Extent::Single);
    }
    let channels = channels(shape, least)?;
    let by_channel = length == channels
        && (found.len() == 1
            || (found.len() + 1 >= shape.len()
                && found.len() <= shape.len()
                && found[found.len() + 1 - shape.len()] == channels));
    by_channel.then_some(Extent::Channel)
}

/// Channels of maps whose planes are large enough.
fn channels(shape: &[usize], least: Least) -> Option<usize> {
    let [_, channels, space @ ..] = shape else { return None };
    (*channels > 1 && !space.is_empty() && space.iter().product::<usize>() >= least.plane)
        .then_some(*channels)
}

/// The operation of a node of numbers.
fn operation(graph: &Graph, node: &Node) -> Option<Operation> {
    let limit = |at: usize| {
        let limit = node.input(at).and_then(|id| graph.constant(id)).filter(|limit| limit.len() == 1);
        limit.and_then(|limit| limit.to_f32().first().copied())
    };
    Some(match node.operator.as_str() {
        "Add" => Operation::Add,
        "Sub" => Operation::Sub,
        "Mul" => Operation::Mul,
        "Div" => Operation::Div,
        "Max" if node.inputs.len() == 2 => Operation::Max,
        "Min" if node.inputs.len() == 2 => Operation::Min,
        "Neg" => Operation::Neg,
        "Abs" => Operation::Abs,
        "Sqrt" => Operation::Sqrt,
        "Reciprocal" => Operation::Reciprocal,
        "Relu" => Operation::Relu,
        "Clip" => Operation::Clip(limit(1)?, limit(2)?),
        "Equal" => Operation::Equal,
        "HardSigmoid" => Operation::HardSigmoid(node.float("alpha", 0.2), node.float("beta", 0.5)),
        _ => return None,
    })
}

/// What a node does in maps of `shape`, and how its result stands there; `None` where it has no place.
fn role(graph: &Graph, id: NodeId, shape: &[usize], least: Least) -> Option<(Operation, Extent)> {
    let node = graph.node(id);
    let [Some(output)] = node.outputs[..] else { return None };
    let inputs: Vec<ValueId> = node.inputs.iter().copied().collect::<Option<_>>()?;
    let first = *inputs.first()?;
    let result = extent(graph, output, shape, least)?;
    match node.operator.as_str() {
        "ReduceMean" | "ReduceSum" => {
            let sums = extent(graph, first, shape, least)? == Extent::Full
                && result == Extent::Channel
                && over_all_but_channels(graph, node, &inputs, shape.len());
            let mean = node.operator == "ReduceMean";
            sums.then_some((if mean { Operation::Mean } else { Operation::Sum }, result))
        }
        "Cast" => {
            let as_number = is_number(graph, output)
                && compares(graph, first)
                && extent(graph, first, shape, least)? == result;
            as_number.then_some((Operation::Same, result))
        }
        "Reshape" | "Squeeze" | "Unsqueeze" => {
            let same = result == Extent::Channel && extent(graph, first, shape, least)? == Extent::Channel;
            same.then_some((Operation::Same, result))
        }
        _ => {
            let operation = operation(graph, node)?;
            let extents: Vec<Extent> =
                inputs.iter().map(|input| extent(graph, *input, shape, least)).collect::<Option<_>>()?;
            // A row of as many numbers as there are channels lies along the last axis, not along them.
            let row = |id: &ValueId| graph.value(*id).shape.as_ref().is_some_and(|shape| shape.len() == 1);
            let along = inputs.iter().zip(&extents).any(|(id, extent)| *extent == Extent::Channel && row(id));
            let lies = match result {
                Extent::Full => !along && extents.contains(&Extent::Full),
                Extent::Channel => {
                    !extents.contains(&Extent::Full)
                        && extents.contains(&Extent::Channel)
                        && rows_alone(graph, &inputs, &extents, output)
                }
                Extent::Single => false,
            };
            lies.then_some((operation, result))
        }
    }
}

/// Whether numbers by channel meet as they lie: rows with rows, columns with columns.
fn rows_alone(graph: &Graph, inputs: &[ValueId], extents: &[Extent], output: ValueId) -> bool {
    let rank = |id: ValueId| graph.value(id).shape.as_ref().map_or(0, Vec::len);
    let row = rank(output) == 1;
    inputs.iter().zip(extents).all(|(id, extent)| *extent == Extent::Single || (rank(*id) == 1) == row)
}

/// Whether a reduction leaves channels alone.
fn over_all_but_channels(graph: &Graph, node: &Node, inputs: &[ValueId], rank: usize) -> bool {
    let axes = match inputs.get(1) {
        Some(axes) => graph.constant(*axes).and_then(pellucid_graph::Tensor::to_i64),
        None => node.ints("axes").map(<[i64]>::to_vec),
    };
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let axes: Option<BTreeSet<usize>> = axes.map(|axes| {
        axes.iter()
            .filter_map(|axis| usize::try_from(if *axis < 0 { axis + signed } else { *axis }).ok())
            .collect()
    });
    axes.is_some_and(|axes| axes.into_iter().eq((0..rank).filter(|axis| *axis != 1)))
}

/// The maps that a node would start a group of.
fn own_space(graph: &Graph, id: NodeId, least: Least) -> Option<Vec<usize>> {
    let node = graph.node(id);
    let sums = matches!(node.operator.as_str(), "ReduceMean" | "ReduceSum");
    let full = if sums { node.input(0)? } else { node.output(0)? };
    let shape = shape_of(graph, full)?;
    role(graph, id, &shape, least).map(|_| shape)
}

/// The program of a group, where it is worth one.
fn finished(graph: &Graph, consumers: &[Vec<NodeId>], growing: &Growing, least: Least) -> Option<Group> {
    let Growing { shape, nodes } = growing;
    let length: usize = shape.iter().product();
    let mut values: Vec<(Extent, Origin)> = Vec::new();
    let mut ids: BTreeMap<ValueId, Id> = BTreeMap::new();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let mut full = 0;
    for id in nodes {
        let node = graph.node(*id);
        let (operation, result) = role(graph, *id, shape, least)?;
        let count = match operation {
            Operation::Add
            | Operation::Sub
            | Operation::Mul
            | Operation::Div
            | Operation::Max
            | Operation::Min
            | Operation::Equal => 2,
            _ => 1,
        };
        let mut read = Vec::new();
        for input in node.inputs.iter().flatten().take(count) {
            let known = if let Some(known) = ids.get(input) {
                *known
            } else {
                values.push((extent(graph, *input, shape, least)?, Origin::Input(inputs.len())));
                inputs.push(*input);
                ids.insert(*input, values.len() - 1);
                values.len() - 1
            };
            read.push(known);
        }
        full += usize::from(read.iter().any(|read| values[*read].0 == Extent::Full));
        values.push((result, Origin::Computed(operation, *read.first()?, read.get(1).copied())));
        let output = node.output(0)?;
        ids.insert(output, values.len() - 1);
        let leaves = graph.outputs().contains(&output)
            || consumers[output.index()].iter().any(|reader| !nodes.contains(reader));
        if leaves {
            outputs.push(output);
        }
    }
    let reads =
        values.iter().any(|(extent, origin)| *extent == Extent::Full && matches!(origin, Origin::Input(_)));
    // Engines give and take truth values as another type.
    let numbers = inputs.iter().chain(&outputs).all(|id| is_number(graph, *id));
    let worth = (full >= 2 && length >= least.pair) || (full >= 1 && length >= least.alone);
    if !reads || !worth || !numbers || outputs.is_empty() {
        return None;
    }
    let by_channel = values.iter().any(|(extent, _)| *extent == Extent::Channel);
    let space = match (by_channel, shape.as_slice()) {
        (true, [rows, channels, plane @ ..]) => {
            Space { rows: *rows, channels: *channels, plane: plane.iter().product() }
        }
        _ => Space { rows: 1, channels: 1, plane: length },
    };
    let kept = outputs.iter().map(|output| ids[output]).collect();
    Some(Group { nodes: nodes.clone(), program: Program::new(space, values, kept), inputs, outputs })
}
