//! Inner layers and their units: finding one by name, and choosing the one that class activation maps look at.

use std::collections::BTreeSet;

use pellucid_graph::{Dim, Graph, NodeId, Value, ValueId, display_shape};

use crate::error::{CompileError, Result};
use crate::space::channel_axes;
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

/// A hidden unit: a layer and a place in it, written `LAYER[3]` or `LAYER[3,1,2]`.
///
/// The place counts behind the axis of rows. With fewer numbers than axes the unit is the mean over the axes that are
/// left, so that `LAYER[3]` of a layer `[n, channels, height, width]` is the mean of channel 3: a number of a unit's
/// size, whatever the resolution. (Captum's neuron selector takes a sum where it is given a slice.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neuron {
    /// The layer: a value, node or module.
    pub layer: String,
    /// The place in it, from 0.
    pub index: Vec<usize>,
}

impl std::fmt::Display for Neuron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let index: Vec<String> = self.index.iter().map(ToString::to_string).collect();
        write!(f, "{}[{}]", self.layer, index.join(","))
    }
}

impl std::str::FromStr for Neuron {
    type Err = CompileError;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.trim().strip_suffix(']').and_then(|text| text.rsplit_once('['));
        let read = parts.and_then(|(layer, index)| {
            let index =
                index.split(',').map(|place| place.trim().parse().ok()).collect::<Option<Vec<_>>>()?;
            (!layer.is_empty()).then(|| Self { layer: layer.to_owned(), index })
        });
        read.ok_or_else(|| {
            CompileError::Setting(format!(
                "neuron {text:?}: expected a layer and a place in it counted from 0, such as LAYER[3] or LAYER[3,1,2]"
            ))
        })
    }
}

impl Neuron {
    /// Refuses a place that `layer` does not have.
    pub(crate) fn require_within(&self, layer: &Value) -> Result<()> {
        let shape = layer.shape.as_deref().unwrap_or_default();
        let wrong = |problem: String| {
            let shape = display_shape(shape);
            Err(CompileError::Setting(format!("neuron {self}: the layer has shape {shape}, {problem}")))
        };
        if self.index.len() >= shape.len() {
            let most = shape.len().saturating_sub(1);
            return wrong(format!("so a place has at most {most} numbers; found {}", self.index.len()));
        }
        for (number, (place, dim)) in self.index.iter().zip(&shape[1..]).enumerate() {
            if let Some(size) = dim.size()
                && *place >= size
            {
                return wrong(format!("so number {} must be below {size}; found {place}", number + 1));
            }
        }
        Ok(())
    }
}

/// Refuses what is no layer: constants, and values that are not floating-point or do not have the inputs' rows as
/// their first axis.
pub(crate) fn require_rows(graph: &Graph, layer: ValueId) -> Result<()> {
    let value = graph.value(layer);
    let wrong = |problem: String| {
        let name = &value.name;
        Err(CompileError::Setting(format!(
            "layer {name:?} {problem}: name a value that is computed of an input"
        )))
    };
    if value.constant().is_some() {
        return wrong("is a constant of the model".to_owned());
    }
    if let Some(element) = value.element.filter(|element| !element.is_float()) {
        return wrong(format!("holds {}, which have no derivative", element.name()));
    }
    let rows = |id: ValueId| graph.value(id).shape.as_ref().map(|shape| shape.first().cloned());
    match rows(layer) {
        None => wrong("has a shape that is not known before running".to_owned()),
        Some(first)
            if graph.inputs().iter().any(|input| rows(*input) == Some(first.clone())) && first.is_some() =>
        {
            Ok(())
        }
        Some(_) => wrong(format!(
            "has shape {}, whose first axis is not the rows",
            display_shape(value.shape.as_deref().unwrap_or_default())
        )),
    }
}

/// Refuses a layer that `score` does not depend on, so that no signal would reach it.
pub(crate) fn require_reached(graph: &Graph, layer: ValueId, score: ValueId) -> Result<()> {
    if layer != score && !path(graph, &[score], &[layer]).is_empty() {
        return Ok(());
    }
    let (layer, score) = (&graph.value(layer).name, &graph.value(score).name);
    Err(CompileError::Setting(if layer == score {
        format!("layer {layer:?} is what is explained itself: name an earlier one")
    } else {
        format!(
            "{score:?} does not depend on layer {layer:?}: name a layer on the way from an input to it \
             (`pellucid coverage --nodes` lists the way)"
        )
    }))
}

/// Whether everything that `score` depends on in the inputs passes `layer`: then a complete method's values there sum
/// to the score's whole difference, otherwise to the part that passes.
pub fn separates(graph: &Graph, layer: ValueId, score: ValueId) -> bool {
    let others: Vec<ValueId> = graph.inputs().iter().copied().filter(|input| *input != layer).collect();
    let mut around: BTreeSet<ValueId> = others.iter().copied().collect();
    for id in path(graph, &[score], &others) {
        if graph.dependencies(id).iter().any(|input| around.contains(input)) {
            around.extend(graph.node(id).outputs.iter().flatten().copied().filter(|output| *output != layer));
        }
    }
    !around.contains(&score)
}

/// Where the newer PyTorch exporter notes a node's modules.
const SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// Whether an exporter noted which modules a node belongs to, so that [`modules`] of it are all, be there none.
pub fn modules_are_noted(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    node.metadata.contains_key(SCOPES) || node.name.starts_with('/')
}

/// Dotted paths of the modules a node belongs to, outermost first.
///
/// The newer PyTorch exporter notes them in the metadata `pkg.torch.onnx.name_scopes`, a list as Python prints it;
/// the older one in the node's name, `/layer1/layer1.0/relu/Relu`, where the path of the whole model is empty.
pub fn modules(graph: &Graph, id: NodeId) -> Vec<String> {
    let node = graph.node(id);
    if let Some(scopes) = node.metadata.get(SCOPES) {
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
        // The older exporter repeats names of parents in those of a Sequential's children: `features.0` holds
        // `features.0.0`.
        let repeated = part.rsplit_once('.').map(|(before, _)| before);
        let dotted = match (modules.last(), repeated) {
            (Some(parent), Some(before)) if parent == before => part.to_owned(),
            (Some(parent), Some(before)) if parent.ends_with(&format!(".{before}")) => {
                format!("{}{part}", parent.strip_suffix(before).unwrap_or_default())
            }
            (Some(parent), _) => format!("{parent}.{part}"),
            (None, _) => part.to_owned(),
        };
        modules.push(dotted);
    }
    modules
}

/// The last value between the inputs and `score` that has the input's number of axes and more than one position, so the
/// last one before space is pooled away. What is computed of pooled values alone has no space, whatever its sizes:
/// a normalisation that moves the channels to the end gives `[n, 1, 1, c]`. Nor is it a value whose channels are known to
/// stand behind its space. Of an input that is a flat row, it is the last value that is known to have channels and space.
pub fn last_spatial(graph: &Graph, score: ValueId) -> Result<ValueId> {
    last_spatial_of(graph, score, |_| true)
}

/// The same among the values that `may` says.
pub(crate) fn last_spatial_of(
    graph: &Graph,
    score: ValueId,
    may: impl Fn(ValueId) -> bool,
) -> Result<ValueId> {
    let inputs = graph.inputs();
    let axes = channel_axes(graph);
    let mut with_space: BTreeSet<ValueId> = inputs.iter().copied().collect();
    let (mut chosen, mut other) = (None, None);
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
            if !has_positions(shape) || !may(*output) {
                continue;
            }
            match axes[output.index()] {
                None | Some(1) if like_an_input => chosen = Some(*output),
                Some(1) => other = Some(*output),
                _ => {}
            }
        }
    }
    chosen.or(other).ok_or_else(|| {
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

    #[test]
    fn paths_are_those_of_the_modules() {
        let mut graph = Graph::new();
        let shape = [Dim::known(1)].to_vec();
        let mut value = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
        let mut of = |path: &str| {
            let node = NewNode { name: path.to_owned(), ..NewNode::new("Relu", &[value], path) };
            value = graph.push_one(node).unwrap();
            modules(&graph, graph.producer_of(value).unwrap()).join(" ")
        };
        assert_eq!(of("/layer1/layer1.0/relu/Relu"), "layer1 layer1.0 layer1.0.relu");
        assert_eq!(of("/features/features.0/features.0.2/Relu"), "features features.0 features.0.2");
        assert_eq!(
            of("/features/features.1/conv/conv.0/conv.0.2/Relu"),
            "features features.1 features.1.conv features.1.conv.0 features.1.conv.0.2"
        );
        assert_eq!(of("/encoder/layers.0/act/Relu"), "encoder encoder.layers.0 encoder.layers.0.act");
        assert_eq!(of("/Relu"), "");
    }
}
