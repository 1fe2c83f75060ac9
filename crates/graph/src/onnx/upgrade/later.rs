//! What opsets after 18 added: dropped where it says nothing, refused where opset 18 cannot express it.

use super::{base, data, take_int, take_ints, take_string};
use crate::element::ElementType;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;

/// `IsInf` of opset 20: half-precision numbers, which widen exactly.
pub(super) fn is_inf(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let input = data(node)?;
    if matches!(target.value(input).element, Some(ElementType::F16 | ElementType::BF16)) {
        let to = Attribute::Int(i64::from(ElementType::F32.onnx_code()));
        let name = format!("{}.wide", base(node));
        node.inputs[0] = Some(target.node(NewNode::new("Cast", &[input], "").with("to", to), &name)?);
    }
    Ok(())
}

/// Reductions of opset 20: truth values, which are reduced as the integers 0 and 1.
pub(super) fn reduce(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let input = data(node)?;
    if target.value(input).element != Some(ElementType::Bool) {
        return Ok(());
    }
    let to = |element: ElementType| Attribute::Int(i64::from(element.onnx_code()));
    let name = base(node);
    let cast = NewNode::new("Cast", &[input], "").with("to", to(ElementType::I32));
    node.inputs[0] = Some(target.node(cast, &format!("{name}.whole"))?);
    let reduced = NewNode {
        operator: std::mem::replace(&mut node.operator, "Cast".to_owned()),
        inputs: std::mem::take(&mut node.inputs),
        attributes: std::mem::take(&mut node.attributes),
        metadata: node.metadata.clone(),
        ..NewNode::default()
    };
    node.inputs = vec![Some(target.node(reduced, &format!("{name}.reduced"))?)];
    node.attributes.insert("to".to_owned(), to(ElementType::Bool));
    Ok(())
}

/// `AveragePool` of opset 19: dilations.
pub(super) fn average_pool(node: &mut NewNode) -> Result<(), String> {
    match take_ints(node, "dilations")? {
        Some(dilations) if dilations.iter().any(|dilation| *dilation != 1) => {
            Err(format!("dilations {dilations:?} do not exist in opset 18"))
        }
        _ => Ok(()),
    }
}

/// Casts of opset 19 and 24: how 8-bit floats saturate and round, which there are none of here.
pub(super) fn cast(node: &mut NewNode) -> Result<(), String> {
    take_int(node, "saturate")?;
    take_string(node, "round_mode")?;
    Ok(())
}
