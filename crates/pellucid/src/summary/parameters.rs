//! Which constants are parameters, and whose.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Graph, Node, Tensor, ValueId};

use super::weights::Role;

/// Values behind those that earlier nodes were computed of too, which are looked at again for one input of one node.
const AGAIN: usize = 64;

/// The parameters of a graph.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By node: its parameters, in the order of its inputs.
    pub(super) of: BTreeMap<usize, Vec<Parameter>>,
    /// Bytes of all of them, each once.
    pub(super) bytes: u64,
}

/// A parameter of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) constant: ValueId,
    /// Position among the inputs of the node.
    pub(super) position: usize,
    /// What it is to the node.
    pub(super) role: Role,
    /// Whether the node takes it with its last two axes exchanged.
    pub(super) transposed: bool,
    /// Whether an earlier node takes it too.
    pub(super) again: bool,
}

/// The parameters of every node that depends on an input: float constants that reach it past nodes that depend on none,
/// such as the transpose of a weight. Each is found once; of what dozens of constants are computed to together, nodes
/// that take it again name some of them.
pub(super) fn find(graph: &Graph) -> Found {
    // Weights that are stored as small integers.
    let restored = graph.nodes().iter().filter(|node| node.operator == "DequantizeLinear");
    let quantised: BTreeSet<ValueId> = restored.filter_map(|node| node.input(0)).collect();
    let mut found = Found::default();
    let mut seen: BTreeSet<ValueId> = BTreeSet::new();
    let mut walked = BTreeSet::new();
    let mut fillings: BTreeMap<ValueId, bool> = BTreeMap::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        if graph.dependencies(id).iter().all(|input| graph.value(*input).fixed) {
            continue;
        }
        let mut own = Vec::new();
        for (position, input) in node.inputs.iter().enumerate() {
            let Some(input) = input.filter(|input| graph.value(*input).fixed) else { continue };
            if is_setting(node, position) {
                continue;
            }
            for (constant, transposed) in constants_of(graph, input, &mut walked) {
                let filling = *fillings.entry(constant).or_insert_with(|| is_filling(graph, constant));
                if filling || !is_parameter(graph, node, constant, &quantised) {
                    continue;
                }
                let again = !seen.insert(constant);
                if !again {
                    let bytes = graph.constant(constant).map_or(0, |tensor| tensor.bytes().len());
                    found.bytes = found.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
                }
                own.push(Parameter { constant, position, role: Role::of(node, position), transposed, again });
            }
        }
        if !own.is_empty() {
            found.of.insert(id.index(), own);
        }
    }
    found
}

/// Inputs that set how an operator computes, and are no parameters whatever they hold.
fn is_setting(node: &Node, position: usize) -> bool {
    match node.operator.as_str() {
        "Clip" | "Resize" | "Pad" | "Upsample" | "Dropout" | "QuantizeLinear" | "Pow" | "RoiAlign" => {
            position > 0
        }
        _ => false,
    }
}

/// Constants that a value without inputs is computed of, in the order of their first use, each with whether its last two
/// axes are exchanged on the way. Of values that were `walked` before, only some are looked at.
fn constants_of(graph: &Graph, value: ValueId, walked: &mut BTreeSet<ValueId>) -> Vec<(ValueId, bool)> {
    let mut found = Vec::new();
    let mut spent = 0;
    let mut waiting = vec![(value, false)];
    let mut seen = BTreeSet::new();
    while let Some((value, transposed)) = waiting.pop() {
        if !seen.insert(value) {
            continue;
        }
        let again = !walked.insert(value);
        if graph.constant(value).is_some() {
            found.push((value, transposed));
        } else if let Some(id) = graph.producer_of(value) {
            let transposed = transposed != exchanges(graph, graph.node(id));
            let most = if again { AGAIN - spent } else { usize::MAX };
            let inputs: Vec<ValueId> = graph.node(id).dependencies().take(most).collect();
            if again {
                spent += inputs.len();
            }
            waiting.extend(inputs.into_iter().rev().map(|input| (input, transposed)));
        }
    }
    found
}

/// Whether a node exchanges the last two axes and moves no other.
fn exchanges(graph: &Graph, node: &Node) -> bool {
    if node.operator != "Transpose" {
        return false;
    }
    let rank = node.input(0).and_then(|id| graph.value(id).shape.as_ref()).map_or(0, Vec::len);
    match node.ints("perm") {
        // Without it all axes are reversed.
        None => rank == 2,
        Some(perm) => {
            let exchanged = (0..rank).map(|axis| if axis + 2 < rank { axis } else { 2 * rank - 3 - axis });
            rank >= 2 && perm.iter().copied().eq(exchanged.map(|axis| i64::try_from(axis).unwrap_or(-1)))
        }
    }
}

/// Operators that have parameters by their definition, so that one number is a parameter as well.
const LAYERS: &[&str] = &[
    "Conv",
    "ConvTranspose",
    "Gemm",
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "PRelu",
    "LSTM",
    "GRU",
    "RNN",
];

/// Constants of more elements than this are no filling.
const FILLER: usize = 1 << 14;

/// Zeros without the name of a module's path: the newer exporter gives them to convolutions that have no bias.
fn is_filling(graph: &Graph, constant: ValueId) -> bool {
    let value = graph.value(constant);
    let zeros = |tensor: &Tensor| tensor.len() <= FILLER && tensor.to_f32().iter().all(|value| *value == 0.0);
    !value.name.contains('.') && value.constant().is_some_and(zeros)
}

/// One number that a module's path names is a parameter; one without is a factor or a limit that an exporter wrote.
fn is_parameter(graph: &Graph, node: &Node, constant: ValueId, quantised: &BTreeSet<ValueId>) -> bool {
    let value = graph.value(constant);
    let Some(tensor) = value.constant() else { return false };
    let stored = tensor.element().is_float() || quantised.contains(&constant);
    let named = value.name.contains('.');
    stored && (tensor.len() > 1 || LAYERS.contains(&node.operator.as_str()) || named)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Dim, ElementType, NewNode};

    use super::*;

    #[test]
    fn constants_that_every_node_is_computed_of_do_not_multiply() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::known(2)])).unwrap();
        let constant = |graph: &mut Graph, name: String| {
            graph.add_constant(name, Tensor::from_f32(vec![2], &[1.0, 2.0]).unwrap()).unwrap()
        };
        let count = 2 * AGAIN;
        let mut weight = constant(&mut graph, "w".to_owned());
        for i in 1..count {
            let next = constant(&mut graph, format!("w{i}"));
            weight = graph.push_one(NewNode::new("Add", &[weight, next], format!("sum{i}"))).unwrap();
        }
        let mut y = x;
        for i in 0..3 {
            y = graph.push_one(NewNode::new("Mul", &[y, weight], format!("y{i}"))).unwrap();
        }
        graph.add_output(y).unwrap();
        let found = find(&graph);
        let of: Vec<usize> = found.of.values().map(Vec::len).collect();
        assert_eq!(
            (of.len(), of[0], found.bytes),
            (3, count, 8 * u64::try_from(count).unwrap()),
            "each constant is found, once"
        );
        assert!(of[1] > 0 && of[1] <= AGAIN && of[1] == of[2], "{of:?}");
    }
}
