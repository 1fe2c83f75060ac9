//! Inner layers: finding one by name, and choosing the one that class activation maps look at.

use std::collections::BTreeSet;

use pellucid_graph::{Dim, Graph, NodeId, ValueId};

use crate::error::{CompileError, Result};
use crate::suggest::nearest;
use crate::walk::path;

/// The value that `name` names: a value, a node, or a module as exporters note it (its last output).
pub fn find(graph: &Graph, name: &str) -> Result<ValueId> {
    if let Some(id) = graph.find(name) {
        return Ok(id);
    }
    let of_node = |id: NodeId| graph.node(id).outputs.iter().flatten().next().copied();
    if let Some(id) = graph.node_ids().find(|id| graph.node(*id).name == name).and_then(of_node) {
        return Ok(id);
    }
    let in_module = |id: &NodeId| modules(graph, *id).iter().any(|module| module == name);
    if let Some(id) = graph.node_ids().rev().find(in_module).and_then(of_node) {
        return Ok(id);
    }
    let mut names: Vec<String> = graph.values().iter().map(|value| value.name.clone()).collect();
    for id in graph.node_ids() {
        names.extend(modules(graph, id));
    }
    let meant = nearest(name, names.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
    Err(CompileError::Setting(format!(
        "no value, node or module is named {name:?}{meant} (`pellucid show` lists the values)"
    )))
}

/// Dotted paths of the modules a node belongs to, outermost first.
///
/// The newer PyTorch exporter notes them in the metadata `pkg.torch.onnx.name_scopes`, a list as Python prints it;
/// the older one in the node's name, `/layer1/layer1.0/relu/Relu`.
pub fn modules(graph: &Graph, id: NodeId) -> Vec<String> {
    let node = graph.node(id);
    if let Some(scopes) = node.metadata.get("pkg.torch.onnx.name_scopes") {
        let listed = scopes.trim_matches(|c| c == '[' || c == ']').split(',');
        return listed
            .map(|scope| scope.trim().trim_matches(|c| c == '\'' || c == '"').to_owned())
            .filter(|scope| !scope.is_empty())
            .collect();
    }
    let Some(path) = node.name.strip_prefix('/') else {
        return Vec::new();
    };
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    let mut modules: Vec<String> = Vec::new();
    for part in parts {
        // The older exporter repeats the parent's path in the names of a Sequential's children.
        let dotted = match modules.last() {
            Some(parent) if !part.starts_with(&format!("{}.", last(parent))) => format!("{parent}.{part}"),
            Some(parent) => {
                let stem = parent.strip_suffix(last(parent)).unwrap_or_default();
                format!("{stem}{part}")
            }
            None => part.to_owned(),
        };
        modules.push(dotted);
    }
    modules
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The last value between the inputs and `score` that has the input's number of axes and more than one position, so the
/// last one before space is pooled away. What is computed of pooled values alone has no space, whatever its sizes:
/// a normalisation that moves the channels to the end gives `[n, 1, 1, c]`.
pub fn last_spatial(graph: &Graph, score: ValueId) -> Result<ValueId> {
    let inputs = graph.inputs();
    let mut with_space: BTreeSet<ValueId> = inputs.iter().copied().collect();
    let mut chosen = None;
    for id in path(graph, &[score], inputs) {
        let node = graph.node(id);
        if !graph.dependencies(id).iter().any(|input| with_space.contains(input)) {
            continue;
        }
        for output in node.outputs.iter().flatten() {
            let shape = graph.value(*output).shape.as_deref();
            let pooled = shape.is_some_and(|shape| shape.len() >= 3 && !has_positions(shape));
            if !pooled {
                with_space.insert(*output);
            }
            let Some(shape) = shape else { continue };
            let like_an_input = inputs.iter().any(|input| {
                graph.value(*input).shape.as_ref().is_some_and(|wanted| wanted.len() == shape.len())
            });
            if like_an_input && has_positions(shape) {
                chosen = Some(*output);
            }
        }
    }
    chosen.ok_or_else(|| {
        CompileError::Model(
            "no value between input and score has channels and space, so there is no layer to look at: \
             name one with --layer, or use a method without a layer"
                .to_owned(),
        )
    })
}

/// Whether there is more than one position behind the axes of rows and channels, or may be.
fn has_positions(shape: &[Dim]) -> bool {
    shape.len() >= 3 && shape[2..].iter().any(|dim| dim.value().is_none_or(|size| size > 1))
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Attribute, ElementType, NewNode};

    use super::*;

    /// A map, its mean, and the mean with its channels moved to the end, as the head of `ConvNeXt` has it.
    #[test]
    fn channels_at_the_end_are_no_space() {
        let mut graph = Graph::new();
        let shape = [2, 3, 4, 4].map(Dim::known);
        let x = graph.add_input("x", ElementType::F32, Some(shape.to_vec())).unwrap();
        let map = graph.push_one(NewNode::new("Relu", &[x], "map")).unwrap();
        let mean = graph.push_one(NewNode::new("GlobalAveragePool", &[map], "mean")).unwrap();
        let last = NewNode::new("Transpose", &[mean], "last");
        let last = graph.push_one(last.with("perm", Attribute::Ints(vec![0, 2, 3, 1]))).unwrap();
        // A gate of pooled values leaves the map its space.
        let gate = graph.push_one(NewNode::new("Sigmoid", &[mean], "gate")).unwrap();
        let gated = graph.push_one(NewNode::new("Mul", &[map, gate], "gated")).unwrap();
        assert_eq!(last_spatial(&graph, last).unwrap(), map);
        assert_eq!(last_spatial(&graph, gated).unwrap(), gated);
    }
}
