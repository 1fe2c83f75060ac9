//! Circular padding.

use super::{base, data};
use crate::dim::Dim;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;
use crate::tensor::Tensor;

/// `Pad` with mode `wrap`, which opset 19 has and exporters write into opset 18 too: slices of both ends, joined.
pub(super) fn wrap(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    if !matches!(node.attributes.get("mode"), Some(Attribute::String(mode)) if mode == "wrap") {
        return Ok(());
    }
    let input = data(node)?;
    let Some(shape) = target.value(input).shape.clone() else {
        return Err("mode \"wrap\" needs a known number of axes".to_owned());
    };
    let mut steps = Vec::new();
    for (axis, before, after) in pads(target, node, shape.len())? {
        let size = shape.get(axis).and_then(Dim::value);
        let fits = |pad: i64| size.is_some_and(|size| (0..=size).contains(&pad));
        if before == 0 && after == 0 {
            continue;
        }
        if !fits(before) || !fits(after) {
            return Err(format!(
                "mode \"wrap\" pads axis {axis} by {before} and {after}, where zero up to its known size is supported"
            ));
        }
        steps.push((axis, before, after));
    }
    let name = base(node);
    let mut padded = input;
    for (count, (axis, before, after)) in steps.iter().enumerate() {
        let axis = i64::try_from(*axis).map_err(|_| "too many axes".to_owned())?;
        let mut joined = Vec::with_capacity(3);
        if *before > 0 {
            joined.push(slice(target, padded, &[-before, i64::MAX, axis], &name)?);
        }
        joined.push(padded);
        if *after > 0 {
            joined.push(slice(target, padded, &[0, *after, axis], &name)?);
        }
        let concat = NewNode::new("Concat", &joined, "").with("axis", Attribute::Int(axis));
        if count + 1 == steps.len() {
            become_node(node, concat);
            return Ok(());
        }
        padded = target.node(concat, &format!("{name}.padded"))?;
    }
    become_node(node, NewNode::new("Identity", &[input], ""));
    Ok(())
}

/// Puts another operation in the node's place; name, notes and outputs stay.
fn become_node(node: &mut NewNode, other: NewNode) {
    node.operator = other.operator;
    node.inputs = other.inputs;
    node.attributes = other.attributes;
}

fn slice(target: &mut Target<'_>, value: ValueId, bounds: &[i64; 3], name: &str) -> Result<ValueId, String> {
    let mut inputs = vec![value];
    for bound in bounds {
        inputs.push(target.constant(&format!("{name}.bound"), Tensor::integers(&[*bound]))?);
    }
    target.node(NewNode::new("Slice", &inputs, ""), &format!("{name}.part"))
}

/// Axis, and how much is put before and after.
fn pads(target: &Target<'_>, node: &NewNode, rank: usize) -> Result<Vec<(usize, i64, i64)>, String> {
    let known = |position: usize| -> Result<Option<Vec<i64>>, String> {
        match node.inputs.get(position).copied().flatten() {
            None => Ok(None),
            Some(id) => target
                .integers(id)
                .map(Some)
                .ok_or_else(|| "mode \"wrap\" needs constant pads and axes".to_owned()),
        }
    };
    let pads = known(1)?.ok_or("the second input, pads, is missing")?;
    let axes = match known(3)? {
        None => (0..rank).collect(),
        Some(axes) => {
            let rank = i64::try_from(rank).map_err(|_| "too many axes".to_owned())?;
            axes.iter()
                .map(|axis| {
                    let axis = if *axis < 0 { axis.checked_add(rank) } else { Some(*axis) };
                    axis.filter(|axis| *axis < rank).and_then(|axis| usize::try_from(axis).ok())
                })
                .collect::<Option<Vec<usize>>>()
                .ok_or_else(|| format!("axes {axes:?} are outside a tensor of {rank} axes"))?
        }
    };
    let (before, after) = pads.split_at(pads.len() / 2);
    if before.len() != axes.len() || after.len() != axes.len() {
        return Err(format!("{} pads for {} axes, where two an axis were expected", pads.len(), axes.len()));
    }
    Ok(axes.iter().zip(before).zip(after).map(|((axis, before), after)| (*axis, *before, *after)).collect())
}
