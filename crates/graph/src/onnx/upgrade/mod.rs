//! From the opset of a file to the form of opset 18: one function a family of operators.
//!
//! What an older form kept in attributes becomes inputs; what a newer form added is dropped where it says nothing,
//! and refused where opset 18 cannot express it. A rewrite is exact, or the node is refused.

mod form;
mod inputs;
mod later;
mod normalise;
mod pad;
mod quantize;
mod resize;

use super::build::Target;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::operators;
use crate::tensor::Tensor;

pub(super) use form::check;

/// Whether an operator of `ai.onnx` is one that is read.
pub(super) fn known(operator: &str, opset: i64) -> bool {
    operators::lookup(operator).is_some()
        || operator == "Constant"
        || (operator == "Upsample" && opset < 10)
        || (operator == "Scatter" && opset < 11)
}

/// Brings `node`, whose meaning is that of `opset`, to the form of opset 18.
pub(super) fn upgrade(target: &mut Target<'_>, node: &mut NewNode, opset: i64) -> Result<(), String> {
    match node.operator.as_str() {
        "Slice" if opset < 10 => inputs::slice(target, node),
        "Pad" if opset < 11 => inputs::pad(target, node),
        "Pad" if opset >= 18 => pad::wrap(target, node),
        "Clip" if opset < 11 => inputs::clip(target, node),
        "Squeeze" | "Unsqueeze" | "ReduceSum" if opset < 13 => inputs::axes(target, node),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean"
        | "ReduceMin" | "ReduceProd" | "ReduceSumSquare"
            if opset < 18 =>
        {
            inputs::axes(target, node)
        }
        "ReduceMax" | "ReduceMin" if opset >= 20 => later::reduce(target, node),
        "Split" if opset < 18 => inputs::split(target, node),
        "Dropout" if opset < 12 => inputs::dropout(target, node, opset),
        "TopK" if opset < 10 => inputs::top_k(target, node),
        "Scatter" => {
            "ScatterElements".clone_into(&mut node.operator);
            Ok(())
        }
        "OneHot" if opset < 11 => inputs::one_hot(target, node),
        "Softmax" | "LogSoftmax" | "Hardmax" if opset < 13 => normalise::coerced(target, node),
        "BatchNormalization" if opset < 14 => normalise::batch(target, node),
        "GroupNormalization" if opset >= 21 => normalise::group(target, node),
        "Upsample" => resize::upsample(target, node),
        "Resize" if opset < 11 => resize::asymmetric(target, node),
        "Resize" => resize::resize(target, node),
        "IsInf" if opset >= 20 => later::is_inf(target, node),
        "AveragePool" if opset >= 19 => later::average_pool(node),
        "Cast" | "CastLike" if opset >= 19 => later::cast(node),
        "QuantizeLinear" | "DequantizeLinear" if opset >= 19 => quantize::linear(target, node),
        _ => Ok(()),
    }
}

/// What a node made for `node` is named after: its first output.
fn base(node: &NewNode) -> String {
    node.outputs.iter().find(|output| !output.is_empty()).cloned().unwrap_or_default()
}

/// Takes an attribute away.
fn take(node: &mut NewNode, name: &str) -> Option<Attribute> {
    node.attributes.remove(name)
}

fn take_ints(node: &mut NewNode, name: &str) -> Result<Option<Vec<i64>>, String> {
    match take(node, name) {
        None => Ok(None),
        Some(Attribute::Ints(values)) => Ok(Some(values)),
        Some(_) => Err(format!("attribute {name:?} is not a list of integers")),
    }
}

fn take_int(node: &mut NewNode, name: &str) -> Result<Option<i64>, String> {
    match take(node, name) {
        None => Ok(None),
        Some(Attribute::Int(value)) => Ok(Some(value)),
        Some(_) => Err(format!("attribute {name:?} is not an integer")),
    }
}

fn take_float(node: &mut NewNode, name: &str) -> Result<Option<f32>, String> {
    match take(node, name) {
        None => Ok(None),
        Some(Attribute::Float(value)) => Ok(Some(value)),
        Some(_) => Err(format!("attribute {name:?} is not a number")),
    }
}

fn take_string(node: &mut NewNode, name: &str) -> Result<Option<String>, String> {
    match take(node, name) {
        None => Ok(None),
        Some(Attribute::String(value)) => Ok(Some(value)),
        Some(_) => Err(format!("attribute {name:?} is not text")),
    }
}

/// The first input.
fn data(node: &NewNode) -> Result<ValueId, String> {
    node.inputs.first().copied().flatten().ok_or_else(|| "the first input is missing".to_owned())
}

/// Makes a constant an input of `node`.
fn set_input(
    target: &mut Target<'_>,
    node: &mut NewNode,
    position: usize,
    name: &str,
    tensor: Tensor,
) -> Result<(), String> {
    let id = target.constant(&format!("{}.{name}", base(node)), tensor)?;
    while node.inputs.len() <= position {
        node.inputs.push(None);
    }
    node.inputs[position] = Some(id);
    Ok(())
}
