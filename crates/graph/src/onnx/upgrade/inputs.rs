//! Attributes that became inputs.

use super::{base, data, set_input, take_float, take_int, take_ints};
use crate::element::ElementType;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;
use crate::tensor::Tensor;

/// Before a form had inputs for them, it had one input.
fn only_data(node: &NewNode) -> Result<(), String> {
    if node.inputs.iter().skip(1).any(Option::is_some) {
        return Err("more inputs are given than the operator has in this opset".to_owned());
    }
    Ok(())
}

/// `Slice` before opset 10: starts, ends and axes.
pub(super) fn slice(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    only_data(node)?;
    for (position, name) in [(1, "starts"), (2, "ends"), (3, "axes")] {
        match take_ints(node, name)? {
            Some(values) => set_input(target, node, position, name, Tensor::integers(&values))?,
            None if position < 3 => return Err(format!("attribute {name:?} is missing")),
            None => {}
        }
    }
    Ok(())
}

/// `Pad` before opset 11: pads and value.
pub(super) fn pad(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    only_data(node)?;
    let pads = take_ints(node, "pads")?.ok_or("attribute \"pads\" is missing")?;
    set_input(target, node, 1, "pads", Tensor::integers(&pads))?;
    match take_float(node, "value")? {
        Some(value) if value != 0.0 => {
            let element = element(target, node)?;
            set_input(target, node, 2, "value", Tensor::scalar(element, f64::from(value)))
        }
        _ => Ok(()),
    }
}

/// `Clip` before opset 11: min and max, whose defaults bound nothing.
pub(super) fn clip(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    only_data(node)?;
    for (position, name, unbounded) in [(1, "min", f32::MIN), (2, "max", f32::MAX)] {
        let value = take_float(node, name)?.unwrap_or(unbounded);
        let bounds = if position == 1 { value > unbounded } else { value < unbounded };
        if bounds {
            let element = element(target, node)?;
            set_input(target, node, position, name, Tensor::scalar(element, f64::from(value)))?;
        }
    }
    Ok(())
}

fn element(target: &Target<'_>, node: &NewNode) -> Result<ElementType, String> {
    let value = target.value(data(node)?);
    value.element.ok_or_else(|| format!("the element type of {:?} is not known", value.name))
}

/// Squeezing, unsqueezing and reductions: axes. Reductions without axes reduce over all.
pub(super) fn axes(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    only_data(node)?;
    match take_ints(node, "axes")? {
        Some(axes) if !axes.is_empty() => set_input(target, node, 1, "axes", Tensor::integers(&axes)),
        _ if node.operator == "Unsqueeze" => Err("attribute \"axes\" is missing".to_owned()),
        _ => Ok(()),
    }
}

/// `Split` before opset 18: sizes were an attribute before opset 13; without them the parts are equal.
pub(super) fn split(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    if let Some(sizes) = take_ints(node, "split")?
        && !sizes.is_empty()
    {
        only_data(node)?;
        return set_input(target, node, 1, "split", Tensor::integers(&sizes));
    }
    if node.inputs.get(1).copied().flatten().is_none() {
        let parts = i64::try_from(node.outputs.len()).map_err(|_| "too many outputs".to_owned())?;
        node.attributes.insert("num_outputs".to_owned(), Attribute::Int(parts));
    }
    Ok(())
}

/// `Dropout` before opset 12: ratio. At inference it changes nothing.
pub(super) fn dropout(target: &mut Target<'_>, node: &mut NewNode, opset: i64) -> Result<(), String> {
    only_data(node)?;
    if opset < 10 && node.outputs.get(1).is_some_and(|mask| !mask.is_empty()) {
        return Err(format!(
            "the mask of opset {opset} is not of truth values: export with opset 10 or later"
        ));
    }
    match take_float(node, "ratio")? {
        Some(ratio) => {
            set_input(target, node, 1, "ratio", Tensor::scalar(ElementType::F32, f64::from(ratio)))
        }
        None => Ok(()),
    }
}

/// `TopK` before opset 10: k.
pub(super) fn top_k(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    only_data(node)?;
    let k = take_int(node, "k")?.ok_or("attribute \"k\" is missing")?;
    set_input(target, node, 1, "k", Tensor::integers(&[k]))
}

/// `OneHot` before opset 11: a negative index is outside, where it counts from the end today.
pub(super) fn one_hot(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let indices = data(node)?;
    let depth = node.inputs.get(1).copied().flatten().ok_or("the second input, the depth, is missing")?;
    let element = element(target, node)?;
    let name = base(node);
    let zero = target.constant(&format!("{name}.zero"), Tensor::scalar(element, 0.0))?;
    let shape = target.constant(&format!("{name}.shape"), Tensor::integers(&[]))?;
    let mut op = |new: NewNode| {
        let wanted = format!("{name}.{}", new.operator);
        target.node(new, &wanted)
    };
    let negative = op(NewNode::new("Less", &[indices, zero], ""))?;
    let outside = op(NewNode::new("Reshape", &[depth, shape], ""))?;
    let code = i64::from(element.onnx_code());
    let outside = op(NewNode::new("Cast", &[outside], "").with("to", Attribute::Int(code)))?;
    node.inputs[0] = Some(op(NewNode::new("Where", &[negative, outside, indices], ""))?);
    Ok(())
}
