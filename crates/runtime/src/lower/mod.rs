//! Lowering: the same graph in forms that an engine computes right, and fast.
//!
//! A rule an operator, one file a family. A rule either keeps the node ([`Rule::Same`]), with only the attributes
//! that are read, or writes other nodes for it ([`Rule::By`]), and says why beside it. What has no rule is refused
//! by name when the graph is opened. The forms are those of rten, which are standard operators that any engine
//! computes; where onnxruntime has a better one, or needs another, it stands in `onnxruntime.rs`. The pass knows the
//! engines' operators; it does not run anything.
//!
//! rten computes with `float32` and 32-bit integers alone, so the lowered graph holds `float32`, `int64` (which
//! rten narrows when it reads the file) and `bool`: see [`lowered`].

mod activation;
mod arithmetic;
mod constants;
mod control;
mod convolution;
mod derivative;
mod index;
mod layout;
mod normalization;
mod onnxruntime;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod rewrite;
mod weights;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pellucid_graph::{ElementType, Graph, GraphError, Origin, ValueId};

pub(crate) use rewrite::Refusal;
use rewrite::{Made, Rewrite};

use crate::Engine;
use crate::error::UnsupportedNode;

/// How a node of one operator is lowered.
#[derive(Clone, Copy)]
enum Rule {
    /// It stays, with these attributes, where its first input is of this kind.
    Same(Takes, &'static [&'static str]),
    /// It is written by this function.
    By(fn(&mut Rewrite<'_>) -> Result<(), Refusal>),
}

/// Kinds of elements that an operator of rten takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// `float32`.
    Floats,
    /// `float32` and integers.
    Numbers,
    /// Anything.
    All,
    /// Truth values.
    Truths,
}

impl Takes {
    fn allows(self, element: ElementType) -> bool {
        match self {
            Self::Floats => element.is_float(),
            Self::Numbers => element != ElementType::Bool,
            Self::All => true,
            Self::Truths => element == ElementType::Bool,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Floats => "floats",
            Self::Numbers => "floats and integers",
            Self::All => "everything",
            Self::Truths => "truth values",
        }
    }
}

static RULES: LazyLock<BTreeMap<&'static str, Rule>> = LazyLock::new(|| {
    [
        activation::RULES,
        arithmetic::RULES,
        control::RULES,
        convolution::RULES,
        index::RULES,
        layout::RULES,
        normalization::RULES,
        pool::RULES,
        quantize::RULES,
        reduce::RULES,
        resize::RULES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
});

/// How `engine` computes `operator`: its own form, or else the one that every engine takes.
fn rule(engine: Engine, operator: &str) -> Option<Rule> {
    let own = match engine {
        Engine::Onnxruntime => onnxruntime::RULES.iter().find(|(name, _)| *name == operator),
        Engine::Rten | Engine::Reference => None,
    };
    own.map(|(_, rule)| *rule).or_else(|| RULES.get(operator).copied())
}

/// The element type in which values of `element` are computed.
pub(crate) fn lowered(element: ElementType) -> ElementType {
    match element {
        ElementType::Bool => ElementType::Bool,
        element if element.is_float() => ElementType::F32,
        _ => ElementType::I64,
    }
}

/// A lowered graph and where the values of its source are in it.
#[derive(Debug)]
pub(crate) struct Lowered {
    /// Inputs and outputs stand in the order of the source.
    pub(crate) graph: Graph,
    /// For every value of the source, the value that holds it; `None` where it cannot be computed, and for a large
    /// constant that was folded into others.
    pub(crate) values: Vec<Option<ValueId>>,
    /// Nodes that the outputs need and that cannot be lowered whatever the sizes.
    pub(crate) refused: Vec<UnsupportedNode>,
    /// Nodes that the outputs need and that can be lowered only once sizes are known.
    pub(crate) waiting: Vec<UnsupportedNode>,
}

/// Lowers every node that can be lowered, and tells which of those that the outputs need cannot. With `native` what the
/// kernels of `native/` compute is left as they look for it.
pub(crate) fn lower(source: &Graph, engine: Engine, native: bool) -> Result<Lowered, GraphError> {
    let mut made = Made::new(native);
    let mut graph = Graph::new();
    graph.name.clone_from(&source.name);
    let mut values: Vec<Option<ValueId>> = vec![None; source.values().len()];
    for id in source.inputs() {
        let value = source.value(*id);
        let element = lowered(value.element.unwrap_or(ElementType::F32));
        values[id.index()] = Some(graph.add_input(made.fresh(), element, value.shape.clone())?);
    }
    let (refused, waiting) = lower_nodes(engine, source, &mut graph, &mut values, &mut made)?;
    graph.set_outputs(source.outputs().iter().filter_map(|id| values[id.index()]).collect());
    Ok(Lowered { graph, values, refused, waiting })
}

/// Nodes that cannot be lowered: for good, and until sizes are known.
type Rejected = (Vec<UnsupportedNode>, Vec<UnsupportedNode>);

/// Lowers constants and nodes of `source` into `graph`; inputs and captures are in `values` already.
fn lower_nodes(
    engine: Engine,
    source: &Graph,
    graph: &mut Graph,
    values: &mut Vec<Option<ValueId>>,
    made: &mut Made,
) -> Result<Rejected, GraphError> {
    for id in source.value_ids() {
        if let Origin::Constant(tensor) = &source.value(id).origin {
            values[id.index()] = Some(graph.add_constant(made.fresh(), constants::lowered(tensor))?);
        }
    }
    // Ids are those of this graph, not of the one around it.
    let outer = std::mem::take(&mut made.folded);
    let needed = needed_nodes(source);
    let consumers = source.consumers();
    let (mut refused, mut waiting) = (Vec::new(), Vec::new());
    for id in source.node_ids() {
        let node = source.node(id);
        let mut rewrite = Rewrite::new(engine, source, node, &consumers, graph, values, made);
        let outcome = rewrite.run();
        rewrite.release();
        let report = |reason: String| UnsupportedNode {
            name: node.name.clone(),
            operator: node.operator.clone(),
            reason,
        };
        match outcome {
            // The node that a dependent one depends on is reported.
            Ok(()) | Err(Refusal::Dependent) => {}
            Err(_) if !needed[id.index()] => {}
            Err(Refusal::Never(reason)) => refused.push(report(reason)),
            Err(Refusal::Sizes(reason)) => waiting.push(report(reason)),
        }
    }
    made.folded = outer;
    Ok((refused, waiting))
}

fn needed_nodes(source: &Graph) -> Vec<bool> {
    let mut needed = vec![false; source.values().len()];
    for output in source.outputs() {
        needed[output.index()] = true;
    }
    let mut nodes = vec![false; source.nodes().len()];
    for id in source.node_ids().rev() {
        if source.node(id).outputs.iter().flatten().any(|output| needed[output.index()]) {
            nodes[id.index()] = true;
            for value in source.dependencies(id) {
                needed[value.index()] = true;
            }
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators of the table that are refused whatever their attributes. None is at present: what is added to the
    /// table needs a rule, or a line here with the reason.
    const REFUSED: &[(&str, &str)] = &[];

    #[test]
    fn every_operator_is_lowered_or_refused() {
        for operator in pellucid_graph::operators::all() {
            let lowered = RULES.contains_key(operator.name);
            let refused = REFUSED.iter().any(|(name, _)| *name == operator.name);
            assert!(lowered != refused, "{} is neither lowered nor refused, or both", operator.name);
        }
        for name in RULES.keys().chain(onnxruntime::RULES.iter().map(|(name, _)| name)) {
            assert!(pellucid_graph::operators::lookup(name).is_some(), "{name} is not in the table");
        }
    }
}
