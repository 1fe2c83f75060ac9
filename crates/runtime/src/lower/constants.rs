//! Constants as rten takes them, and nodes whose inputs are all constant.

use pellucid_graph::{ElementType, Tensor, ValueId};
use pellucid_reference::{Array, evaluate};

use super::arithmetic::transposes_matrix;
use super::lowered as lowered_element;
use super::rewrite::{Rewrite, Step};
use crate::{Engine, folding, weights};

/// Bytes that a folded constant may always have; a larger one is placed in the graph only for nodes that read it.
pub(super) const SMALL: usize = 1 << 20;

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
        let Some(tensor) = tensor_of(rewrite, *id) else { return Ok(false) };
        tensors.push(Some(tensor));
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
    if let [Some(output)] = node.outputs[..]
        && rewrite.source.value(output).element == Some(ElementType::F32)
        && let Some(tensor) = folding::compute(rewrite.source, node, &tensors)
    {
        rewrite.hold(output, tensor)?;
        return Ok(true);
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
        rewrite.hold(output, tensor)?;
    }
    Ok(true)
}

/// The tensor of a constant value of the source: its own, so that narrow types keep their meaning, or what was
/// folded.
fn tensor_of(rewrite: &Rewrite<'_>, id: ValueId) -> Option<Tensor> {
    let given = rewrite.source.constant(id);
    let folded = || rewrite.made.folded.get(&id).map(|folded| &folded.tensor);
    let placed = || rewrite.values[id.index()].and_then(|id| rewrite.graph.constant(id));
    given.or_else(folded).or_else(placed).cloned()
}

/// A constant under other sizes.
fn reshape(rewrite: &mut Rewrite<'_>) -> Step<bool> {
    let (Some(input), Some(output)) = (rewrite.node.input(0), rewrite.node.output(0)) else {
        return Ok(false);
    };
    let folded = rewrite.made.folded.get(&input).map(|folded| &folded.tensor);
    let placed = || rewrite.values[input.index()].and_then(|id| rewrite.graph.constant(id));
    let Some(tensor) = folded.or_else(placed) else { return Ok(false) };
    let Some(shape) = rewrite.source.value(output).static_shape() else { return Ok(false) };
    let Ok(tensor) = tensor.reshaped(shape) else { return Ok(false) };
    rewrite.hold(output, tensor)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Dim, Graph, NewNode};

    use super::*;
    use crate::lower::lower;
    use crate::{Options, open};

    /// What leads to a large constant is not held beside it, and is still found by its name.
    #[test]
    fn only_what_is_read_of_large_constants_is_held() {
        let side = 768;
        let count = u16::try_from(side).unwrap();
        let values: Vec<f32> = (0..count).flat_map(|k| vec![f32::from(k) - 300.0; side]).collect();
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::known(1), Dim::known(768)])).unwrap();
        let weight = Tensor::from_f32(vec![side, side], &values).unwrap();
        assert!(weight.bytes().len() > SMALL);
        let weight = graph.add_constant("weight", weight).unwrap();
        let two = graph.add_constant("two", Tensor::from_f32(Vec::new(), &[2.0]).unwrap()).unwrap();
        let positive = graph.push_one(NewNode::new("Relu", &[weight], "positive")).unwrap();
        let doubled = graph.push_one(NewNode::new("Mul", &[positive, two], "doubled")).unwrap();
        let y = graph.push_one(NewNode::new("MatMul", &[x, doubled], "y")).unwrap();
        graph.set_outputs(vec![y]);
        let lowered = lower(&graph, Engine::Rten, false).unwrap();
        let large = lowered.graph.value_ids().filter_map(|id| lowered.graph.constant(id));
        assert_eq!(
            large.filter(|tensor| tensor.bytes().len() > SMALL).count(),
            2,
            "the weight and its double"
        );
        let session = open(&graph, &Options::default()).unwrap();
        let x = crate::Array::F32(ndarray::ArrayD::ones(vec![1, side]));
        let results = session.run(&[("x", &x)], &["y", "positive"]).unwrap();
        let wanted: f64 = values.iter().map(|value| f64::from(value.max(0.0)) * 2.0).sum();
        assert!(
            (results[0].to_f64().sum() / wanted - 1.0).abs() < 1e-5,
            "{} {wanted}",
            results[0].to_f64().sum()
        );
        let positive: Vec<f64> = values.iter().map(|value| f64::from(value.max(0.0))).collect();
        assert_eq!(results[1].to_f64().into_iter().collect::<Vec<f64>>(), positive);
    }
}
