//! Which constants are parameters, and whose.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Graph, Node, ValueId};

/// The parameters of a graph.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By node: its parameters, each with the position at which the node takes it.
    pub(super) of: BTreeMap<usize, Vec<Parameter>>,
    /// Bytes of all of them, each once.
    pub(super) bytes: u64,
}

/// A parameter of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) constant: ValueId,
    /// Position among the node's inputs.
    pub(super) position: usize,
    /// Whether it is a running mean or variance.
    pub(super) statistic: bool,
    /// Whether an earlier node takes it too.
    pub(super) again: bool,
}

/// Values that depend on an input.
pub(super) fn dependent(graph: &Graph) -> Vec<bool> {
    let mut depends = vec![false; graph.values().len()];
    for id in graph.inputs() {
        depends[id.index()] = true;
    }
    for id in graph.node_ids() {
        if graph.dependencies(id).iter().any(|input| depends[input.index()]) {
            for output in graph.node(id).outputs.iter().flatten() {
                depends[output.index()] = true;
            }
        }
    }
    depends
}

/// The parameters of every node that depends on an input: float constants that reach it past nodes that depend on none,
/// such as the transpose of a weight.
pub(super) fn find(graph: &Graph) -> Found {
    let depends = dependent(graph);
    // Weights that are stored as small integers.
    let restored = graph.nodes().iter().filter(|node| node.operator == "DequantizeLinear");
    let quantised: BTreeSet<ValueId> = restored.filter_map(|node| node.input(0)).collect();
    let mut found = Found::default();
    let mut seen: BTreeSet<ValueId> = BTreeSet::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        if !graph.dependencies(id).iter().any(|input| depends[input.index()]) {
            continue;
        }
        let mut own = Vec::new();
        for (position, input) in node.inputs.iter().enumerate() {
            let Some(input) = input.filter(|input| !depends[input.index()]) else { continue };
            if is_setting(node, position) {
                continue;
            }
            for constant in constants_of(graph, input) {
                if !is_parameter(graph, node, constant, &quantised) {
                    continue;
                }
                let again = !seen.insert(constant);
                if !again {
                    let bytes = graph.constant(constant).map_or(0, |tensor| tensor.bytes().len());
                    found.bytes = found.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
                }
                let statistic = node.operator == "BatchNormalization" && position >= 3;
                own.push(Parameter { constant, position, statistic, again });
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

/// Constants that a value without inputs is computed of, in the order of their first use.
fn constants_of(graph: &Graph, value: ValueId) -> Vec<ValueId> {
    let mut found = Vec::new();
    let mut waiting = vec![value];
    let mut seen = BTreeSet::new();
    while let Some(value) = waiting.pop() {
        if !seen.insert(value) {
            continue;
        }
        if graph.constant(value).is_some() {
            found.push(value);
        } else if let Some(node) = graph.producer_of(value) {
            waiting.extend(graph.dependencies(node).into_iter().rev());
        }
    }
    found
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

/// One number that a module's path names is a parameter; one without is a factor or a limit that an exporter wrote. So are
/// zeros without a name: the newer exporter gives them to convolutions that have no bias.
fn is_parameter(graph: &Graph, node: &Node, constant: ValueId, quantised: &BTreeSet<ValueId>) -> bool {
    let value = graph.value(constant);
    let Some(tensor) = value.constant() else { return false };
    let stored = tensor.element().is_float() || quantised.contains(&constant);
    let named = value.name.contains('.');
    if !named && tensor.len() <= FILLER && tensor.to_f32().iter().all(|value| *value == 0.0) {
        return false;
    }
    stored && (tensor.len() > 1 || LAYERS.contains(&node.operator.as_str()) || named)
}
