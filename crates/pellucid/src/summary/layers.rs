//! The layers of a summary.

use pellucid_compile::layer::{modules, modules_are_noted};
use pellucid_compile::{Kind, ops};
use pellucid_graph::{Dim, Graph, Node, NodeId, ValueId, element_count};

use super::costs::multiply_adds;
use super::parameters::{Found, Parameter};
use super::places::{Place, places};
use super::receptive::fields;
use super::{Layer, Parameters, Size};

/// Layers, and for every value the layer's value or the input that it is or is moved from.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) rows: Vec<Layer>,
    /// For every layer, where it stands in the tree of modules.
    pub(super) places: Vec<Place>,
    /// For every layer, its node.
    pub(super) nodes: Vec<NodeId>,
    pub(super) sources: Vec<Option<ValueId>>,
}

/// A row for every node that depends on an input and computes, or joins what does: what only moves numbers has none.
pub(super) fn layers(graph: &Graph, found: &Found) -> Layers {
    let fields = fields(graph);
    let mut sources: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for id in graph.inputs() {
        sources[id.index()] = Some(*id);
    }
    let (mut layers, mut nodes, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for id in graph.node_ids() {
        let node = graph.node(id);
        let Some(output) = node.output(0).filter(|output| !graph.value(*output).fixed) else { continue };
        let mut from: Vec<ValueId> = Vec::new();
        for source in graph.dependencies(id).into_iter().filter_map(|input| sources[input.index()]) {
            if !from.contains(&source) {
                from.push(source);
            }
        }
        let own = found.of.get(&id.index()).map_or(&[][..], Vec::as_slice);
        if own.is_empty() && !is_layer(graph, node, output, &from) {
            // The first is what is moved; others say where to.
            for output in node.outputs.iter().flatten() {
                sources[output.index()] = from.first().copied();
            }
            continue;
        }
        for output in node.outputs.iter().flatten() {
            sources[output.index()] = Some(node.output(0).unwrap_or(*output));
        }
        let input = graph.dependencies(id).into_iter().find(|input| !graph.value(*input).fixed);
        nodes.push(id);
        let module = module(graph, id, own);
        told.push(module.is_some() || modules_are_noted(graph, id));
        layers.push(Layer {
            name: module.unwrap_or_else(|| own_name(graph, node)),
            kind: node.operator.clone(),
            value: graph.value(output).name.clone(),
            inputs: from.iter().map(|id| graph.value(*id).name.clone()).collect(),
            input_shape: input.and_then(|input| shape(graph, input)),
            output_shape: shape(graph, output),
            kernel: kernel(graph, node),
            parameters: counted(graph, own),
            shared: own
                .iter()
                .filter(|parameter| parameter.again)
                .map(|parameter| graph.value(parameter.constant).name.clone())
                .collect(),
            multiply_adds: multiply_adds(graph, node),
            activation_bytes: bytes(graph, output),
            receptive_field: fields[output.index()].clone(),
            weights: Vec::new(),
        });
    }
    let places = places(&layers, &told);
    Layers { rows: layers, places, nodes, sources }
}

/// Whether a node without parameters computes floats, or joins several values.
fn is_layer(graph: &Graph, node: &Node, output: ValueId, from: &[ValueId]) -> bool {
    let float = graph.value(output).element.is_some_and(pellucid_graph::ElementType::is_float);
    let kind = ops::lookup(&node.operator).map(|operator| (operator.kind)(graph, node));
    let floats = |id: &&ValueId| graph.value(**id).element.is_some_and(pellucid_graph::ElementType::is_float);
    match kind {
        None => true,
        Some(Kind::Move) => float && from.iter().filter(floats).count() > 1,
        Some(Kind::Flat | Kind::Quantised) => false,
        Some(_) => float,
    }
}

/// Sizes of a value.
pub(super) fn shape(graph: &Graph, value: ValueId) -> Option<Vec<Size>> {
    graph.value(value).shape.as_ref().map(|shape| shape.iter().map(Size::from).collect())
}

fn bytes(graph: &Graph, value: ValueId) -> Option<u64> {
    let value = graph.value(value);
    let elements = element_count(&value.static_shape()?)?;
    u64::try_from(elements.checked_mul(value.element?.size())?).ok()
}

fn kernel(graph: &Graph, node: &Node) -> Option<Vec<i64>> {
    if let Some(kernel) = node.ints("kernel_shape") {
        return Some(kernel.to_vec());
    }
    if !matches!(node.operator.as_str(), "Conv" | "ConvTranspose") {
        return None;
    }
    graph.value(node.input(1)?).shape.as_ref()?.get(2..)?.iter().map(Dim::value).collect()
}

fn counted(graph: &Graph, own: &[Parameter]) -> Parameters {
    let mut parameters = Parameters::default();
    for parameter in own.iter().filter(|parameter| !parameter.again) {
        let count = graph.constant(parameter.constant).map_or(0, |tensor| tensor.len() as u64);
        if parameter.role.is_statistic() {
            parameters.statistics += count;
        } else {
            parameters.trainable += count;
        }
    }
    parameters
}

/// The module whose parameter it takes, or that the exporter noted.
fn module(graph: &Graph, id: NodeId, own: &[Parameter]) -> Option<String> {
    for parameter in own {
        let constant = &graph.value(parameter.constant).name;
        if let Some((module, last)) = constant.rsplit_once('.')
            && matches!(
                last,
                "weight" | "bias" | "weight_bias" | "gamma" | "beta" | "running_mean" | "running_var"
            )
        {
            return Some(module.to_owned());
        }
    }
    let node = graph.node(id);
    let mut path = modules(graph, id);
    // The newer exporter's last scope is the function that was called.
    if node.metadata.contains_key("pkg.torch.onnx.name_scopes") {
        path.pop();
    }
    path.pop()
}

/// What a node is called, or the value that it computes.
fn own_name(graph: &Graph, node: &Node) -> String {
    if !node.name.is_empty() {
        return node.name.clone();
    }
    node.output(0).map_or_else(String::new, |id| graph.value(id).name.clone())
}
