//! Constants as rten takes them, and nodes whose inputs are all constant.

use pellucid_graph::{ElementType, Tensor};
use pellucid_reference::{Array, evaluate};

use super::arithmetic::transposes_matrix;
use super::lowered as lowered_element;
use super::rewrite::{Rewrite, Step};
use crate::Engine;
use crate::weights;

/// Bytes that a folded constant may always have.
const SMALL: usize = 1 << 20;

/// Rules that may make no node of these: the constant is shared, not copied.
const ALIASES: &[&str] = &["Cast", "CastLike", "Dropout", "Identity"];

/// Nodes that give a constant another shape: its bytes are shared.
const RESHAPES: &[&str] = &["Flatten", "Reshape", "Squeeze", "Unsqueeze"];

/// The tensor in the element type it is computed in: floats as `float32`, integers as `int64`, `bool` as it is.
///
/// rten 0.27 has no 16-bit float and reads `float64` as `float32`; widening here lets sessions share the result.
pub(super) fn lowered(tensor: &Tensor) -> Tensor {
    let target = lowered_element(tensor.element());
    if tensor.element() == target {
        return tensor.clone();
    }
    if target == ElementType::F32 {
        return weights::widened(tensor);
    }
    let shape = tensor.shape().to_vec();
    let values = tensor.to_i64().unwrap_or_default();
    Tensor::from_i64(shape, &values).unwrap_or_else(|_| tensor.clone())
}

/// Replaces a node of constants by what the interpreter computes for it, unless that is much larger than its inputs.
///
/// Nothing is left to compute in every run of the transpositions and reshapes that exporters and derivatives put on
/// weights.
pub(super) fn fold(rewrite: &mut Rewrite<'_>) -> Step<bool> {
    let node = rewrite.node;
    let bodies = node.attributes.values().any(|a| matches!(a, pellucid_graph::Attribute::Graph(_)));
    if bodies || node.inputs.is_empty() || node.inputs.iter().all(Option::is_none) {
        return Ok(false);
    }
    if transposes_matrix(node) && rewrite.consumers(0).all(|consumer| consumer == "MatMul") {
        // Products read it as it lies.
        return Ok(false);
    }
    if ALIASES.contains(&node.operator.as_str()) {
        return Ok(false);
    }
    if RESHAPES.contains(&node.operator.as_str()) {
        return reshape(rewrite);
    }
    let mut tensors = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let Some(id) = input else {
            tensors.push(None);
            continue;
        };
        // The source's own tensor, so that narrow types keep their meaning.
        let Some(tensor) = rewrite
            .source
            .constant(*id)
            .or_else(|| rewrite.values[id.index()].and_then(|id| rewrite.graph.constant(id)))
        else {
            return Ok(false);
        };
        tensors.push(Some(tensor.clone()));
    }
    let given: usize = tensors.iter().flatten().map(|tensor| tensor.bytes().len()).sum();
    let mut made = 0usize;
    for output in node.outputs.iter().flatten() {
        let value = rewrite.source.value(*output);
        let (Some(shape), Some(_)) = (value.static_shape(), value.element) else { return Ok(false) };
        let bytes = pellucid_graph::element_count(&shape).and_then(|count| count.checked_mul(8));
        made = made.saturating_add(bytes.unwrap_or(usize::MAX));
    }
    if made > SMALL && (made > given.saturating_mul(2) || rewrite.engine == Engine::Onnxruntime) {
        // onnxruntime folds it itself when it loads the graph, and holds no copy beside.
        return Ok(false);
    }
    let Some(arrays) = tensors
        .iter()
        .map(|tensor| tensor.as_ref().map(Array::try_from).transpose().ok())
        .collect::<Option<Vec<Option<Array>>>>()
    else {
        return Ok(false);
    };
    let inputs: Vec<Option<&Array>> = arrays.iter().map(Option::as_ref).collect();
    // What the interpreter cannot fold, the rules may still lower.
    let Ok(results) = evaluate(rewrite.source, node, &inputs) else { return Ok(false) };
    let mut folded = Vec::new();
    for (output, result) in node.outputs.iter().zip(results) {
        let Some(output) = output else { continue };
        let Some(element) = rewrite.source.value(*output).element else { return Ok(false) };
        let Ok(tensor) = result.to_tensor(lowered_element(element)) else { return Ok(false) };
        folded.push((*output, tensor));
    }
    for (output, tensor) in folded {
        let constant = rewrite.constant(tensor)?;
        rewrite.values[output.index()] = Some(constant);
    }
    Ok(true)
}

/// A constant under other sizes.
fn reshape(rewrite: &mut Rewrite<'_>) -> Step<bool> {
    let (Some(input), Some(output)) = (rewrite.node.input(0), rewrite.node.output(0)) else {
        return Ok(false);
    };
    let Some(tensor) = rewrite.values[input.index()].and_then(|id| rewrite.graph.constant(id)) else {
        return Ok(false);
    };
    let Some(shape) = rewrite.source.value(output).static_shape() else { return Ok(false) };
    let Ok(tensor) = tensor.reshaped(shape) else { return Ok(false) };
    let constant = rewrite.constant(tensor)?;
    rewrite.values[output.index()] = Some(constant);
    Ok(true)
}
