//! Softmax over flattened axes, and normalisation.

use super::{base, data, take_float, take_int};
use crate::dim::Dim;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;
use crate::tensor::Tensor;

/// `Softmax`, `LogSoftmax` and `Hardmax` before opset 13 work on the matrix `[∏ sizes before axis, ∏ from axis on]`.
///
/// Where at most one of the axes from `axis` on is longer than one, this is the form of today along it; otherwise the
/// matrix is made.
pub(super) fn coerced(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let axis = take_int(node, "axis")?.unwrap_or(1);
    let input = data(node)?;
    if let Some(shape) = target.value(input).shape.clone() {
        let rank = i64::try_from(shape.len()).map_err(|_| "too many axes".to_owned())?;
        let from = if axis < 0 { axis + rank } else { axis };
        let Some(rest) =
            usize::try_from(from).ok().filter(|_| from <= rank).and_then(|from| shape.get(from..))
        else {
            return Err(format!("axis {axis} is outside a tensor of {rank} axes"));
        };
        let mut long = rest.iter().enumerate().filter(|(_, size)| size.value() != Some(1));
        if let (Some((offset, _)), None) = (long.next(), long.next()) {
            let offset = i64::try_from(offset).map_err(|_| "too many axes".to_owned())?;
            node.attributes.insert("axis".to_owned(), Attribute::Int(from + offset));
            return Ok(());
        }
    }
    let name = base(node);
    let shape = shape_of(target, input, &name)?;
    let matrix = NewNode::new("Flatten", &[input], "").with("axis", Attribute::Int(axis));
    let matrix = target.node(matrix, &format!("{name}.matrix"))?;
    let mut softmax = NewNode::new(&node.operator, &[matrix], "").with("axis", Attribute::Int(1));
    softmax.name = std::mem::take(&mut node.name);
    softmax.metadata.clone_from(&node.metadata);
    let normalised = target.node(softmax, &format!("{name}.normalised"))?;
    "Reshape".clone_into(&mut node.operator);
    node.inputs = vec![Some(normalised), Some(shape)];
    Ok(())
}

/// The sizes of a value as a value: a constant where they are known.
fn shape_of(target: &mut Target<'_>, value: ValueId, name: &str) -> Result<ValueId, String> {
    let sizes: Option<Vec<i64>> =
        target.value(value).shape.as_ref().and_then(|shape| shape.iter().map(Dim::value).collect());
    match sizes {
        // A size of zero would be read as one to copy.
        Some(sizes) if !sizes.contains(&0) => {
            target.constant(&format!("{name}.shape"), Tensor::integers(&sizes))
        }
        _ => target.node(NewNode::new("Shape", &[value], ""), &format!("{name}.shape")),
    }
}

/// `BatchNormalization` before opset 14: more than one output meant training, and opset 7 could normalise each
/// position on its own, which is arithmetic.
pub(super) fn batch(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let positions = take_int(node, "spatial")?.unwrap_or(1) == 0;
    if node.outputs.iter().skip(1).any(|output| !output.is_empty()) {
        return Err("it is in training mode: export the network in evaluation mode".to_owned());
    }
    node.outputs.truncate(1);
    if !positions {
        return Ok(());
    }
    let [Some(input), Some(scale), Some(shift), Some(mean), Some(variance)] = node.inputs[..] else {
        return Err("five inputs were expected".to_owned());
    };
    let epsilon = take_float(node, "epsilon")?.unwrap_or(1e-5);
    node.attributes.clear();
    let name = base(node);
    let element = target.value(variance).element.ok_or("the element type of the variance is not known")?;
    let epsilon = target.constant(&format!("{name}.epsilon"), Tensor::scalar(element, f64::from(epsilon)))?;
    let mut op = |operator: &str, inputs: &[ValueId]| {
        target.node(NewNode::new(operator, inputs, ""), &format!("{name}.{operator}"))
    };
    let sum = op("Add", &[variance, epsilon])?;
    let deviation = op("Sqrt", &[sum])?;
    let factor = op("Div", &[scale, deviation])?;
    let centred = op("Sub", &[input, mean])?;
    let scaled = op("Mul", &[centred, factor])?;
    "Add".clone_into(&mut node.operator);
    node.inputs = vec![Some(scaled), Some(shift)];
    Ok(())
}

/// `GroupNormalization` since opset 21 scales each channel, where the form of opset 18 scaled each group: written as
/// instance normalisation of the groups, then scale and shift of the channels.
pub(super) fn group(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    // The precision of the statistics is the engine's affair.
    take_int(node, "stash_type")?;
    let groups = take_int(node, "num_groups")?.ok_or("attribute \"num_groups\" is missing")?;
    let [Some(input), Some(scale), Some(shift)] = node.inputs[..] else {
        return Err("three inputs were expected".to_owned());
    };
    let facts = target.value(input);
    let (Some(element), Some(rank)) = (facts.element, facts.shape.as_ref().map(Vec::len)) else {
        return Err("the element type or the number of axes of the input is not known".to_owned());
    };
    let count = usize::try_from(groups).ok().filter(|count| (1..=1 << 20).contains(count));
    let Some(count) = count.filter(|_| rank >= 2) else {
        return Err(format!("{groups} groups of a tensor of {rank} axes make no sense"));
    };
    let name = base(node);
    let shape = shape_of(target, input, &name)?;
    let grouped = target.constant(&format!("{name}.grouped.shape"), Tensor::integers(&[0, groups, -1]))?;
    let grouped = target.node(NewNode::new("Reshape", &[input, grouped], ""), &format!("{name}.grouped"))?;
    let constant = |value: f64| {
        Tensor::from_values(element, vec![count], &vec![value; count]).map_err(|error| error.to_string())
    };
    let one = target.constant(&format!("{name}.one"), constant(1.0)?)?;
    let zero = target.constant(&format!("{name}.zero"), constant(0.0)?)?;
    let mut normalised = NewNode::new("InstanceNormalization", &[grouped, one, zero], "");
    normalised.name = std::mem::take(&mut node.name);
    normalised.attributes = std::mem::take(&mut node.attributes);
    normalised.metadata.clone_from(&node.metadata);
    let normalised = target.node(normalised, &format!("{name}.normalised"))?;
    let restored = NewNode::new("Reshape", &[normalised, shape], "");
    let restored = target.node(restored, &format!("{name}.restored"))?;
    let mut channels = vec![1; rank - 1];
    channels[0] = -1;
    let channels = target.constant(&format!("{name}.channels"), Tensor::integers(&channels))?;
    let scale = target.node(NewNode::new("Reshape", &[scale, channels], ""), &format!("{name}.scale"))?;
    let shift = target.node(NewNode::new("Reshape", &[shift, channels], ""), &format!("{name}.shift"))?;
    let scaled = target.node(NewNode::new("Mul", &[restored, scale], ""), &format!("{name}.scaled"))?;
    "Add".clone_into(&mut node.operator);
    node.inputs = vec![Some(scaled), Some(shift)];
    Ok(())
}
