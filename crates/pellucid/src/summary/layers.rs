//! The rows of a summary.

use pellucid_compile::layer::modules;
use pellucid_compile::{Kind, ops};
use pellucid_graph::{Dim, Graph, Node, NodeId, ValueId, display_shape};

use super::costs::multiply_adds;
use super::parameters::{Found, Parameter, dependent};
use super::receptive::fields;
use super::weights::WeightStatistics;
use super::{Layer, Parameters};

/// A row for every node that depends on an input and computes: what only moves numbers has none.
pub(super) fn layers(graph: &Graph, found: &Found, weights: bool) -> Vec<Layer> {
    let depends = dependent(graph);
    let fields = fields(graph);
    let mut layers = Vec::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        let Some(output) = node.output(0).filter(|output| depends[output.index()]) else { continue };
        let own = found.of.get(&id.index()).map_or(&[][..], Vec::as_slice);
        if own.is_empty() && !computes(graph, node, output) {
            continue;
        }
        let value = graph.value(output);
        let input = node.inputs.iter().flatten().find(|input| depends[input.index()]);
        layers.push(Layer {
            name: name(graph, id, own),
            kind: node.operator.clone(),
            value: value.name.clone(),
            input_shape: input.and_then(|input| shape(graph, *input)),
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
            weights: if weights { described(graph, node, own) } else { None },
        });
    }
    layers
}

fn computes(graph: &Graph, node: &Node, output: ValueId) -> bool {
    let float = graph.value(output).element.is_some_and(pellucid_graph::ElementType::is_float);
    let kind = ops::lookup(&node.operator).map(|operator| (operator.kind)(graph, node));
    float && !matches!(kind, None | Some(Kind::Move | Kind::Flat | Kind::Quantised))
}

fn shape(graph: &Graph, value: ValueId) -> Option<String> {
    graph.value(value).shape.as_deref().map(display_shape)
}

fn bytes(graph: &Graph, value: ValueId) -> Option<u64> {
    let value = graph.value(value);
    let elements =
        value.static_shape()?.iter().try_fold(1usize, |product, size| product.checked_mul(*size))?;
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
        let kind = if parameter.statistic { &mut parameters.statistics } else { &mut parameters.trainable };
        *kind += count;
    }
    parameters
}

/// The weight of a layer that has one: the first parameter of two axes or more.
fn described(graph: &Graph, node: &Node, own: &[Parameter]) -> Option<WeightStatistics> {
    let weight = own.iter().find(|parameter| {
        graph.constant(parameter.constant).is_some_and(|tensor| tensor.shape().len() >= 2)
    })?;
    let tensor = graph.constant(weight.constant)?;
    let last = tensor.shape().len() - 1;
    let axis = match node.operator.as_str() {
        "ConvTranspose" => 1,
        "Gemm" if node.int("transB", 0) == 0 => last,
        "MatMul" if weight.position == 1 => last,
        _ => 0,
    };
    WeightStatistics::of(&graph.value(weight.constant).name, tensor, axis)
}

/// The module whose parameter it takes; the module that the exporter noted; or the value.
fn name(graph: &Graph, id: NodeId, own: &[Parameter]) -> String {
    for parameter in own {
        let constant = &graph.value(parameter.constant).name;
        if let Some((module, last)) = constant.rsplit_once('.')
            && matches!(
                last,
                "weight" | "bias" | "weight_bias" | "gamma" | "beta" | "running_mean" | "running_var"
            )
        {
            return module.to_owned();
        }
    }
    let node = graph.node(id);
    let mut path = modules(graph, id);
    // The newer exporter's last scope is the function that was called.
    if node.metadata.contains_key("pkg.torch.onnx.name_scopes") {
        path.pop();
    }
    match path.pop() {
        Some(module) => module,
        None if !node.name.is_empty() => node.name.clone(),
        None => node.output(0).map_or_else(String::new, |id| graph.value(id).name.clone()),
    }
}
