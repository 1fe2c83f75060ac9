//! Quantisation since opset 19: a type without a zero point, and scales in blocks.

use super::{base, data, set_input, take_int};
use crate::dim::Dim;
use crate::element::ElementType;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;
use crate::tensor::Tensor;

/// `QuantizeLinear` and `DequantizeLinear` since opset 19.
pub(super) fn linear(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    // How 8-bit floats saturate, which there are none of here.
    take_int(node, "saturate")?;
    if let Some(value) = take_int(node, "precision")?
        && value != 0
    {
        return Err(format!("attribute \"precision\" = {value} does not exist in opset 18"));
    }
    if let Some(code) = take_int(node, "output_dtype")?
        && code != 0
    {
        output_type(target, node, code)?;
    }
    match take_int(node, "block_size")? {
        None | Some(0) => Ok(()),
        Some(block) => blocked(target, node, block),
    }
}

/// The type that `QuantizeLinear` stores becomes that of a zero point of 0; `DequantizeLinear` gives its scale's type.
fn output_type(target: &mut Target<'_>, node: &mut NewNode, code: i64) -> Result<(), String> {
    let wanted = i32::try_from(code).ok().and_then(ElementType::from_onnx_code);
    let wanted = wanted.ok_or_else(|| format!("output_dtype {code} is no element type that is read"))?;
    let scale = node.inputs.get(1).copied().flatten().ok_or("the second input, the scale, is missing")?;
    let like =
        if node.operator == "QuantizeLinear" { node.inputs.get(2).copied().flatten() } else { Some(scale) };
    match like {
        Some(like) if target.value(like).element == Some(wanted) => Ok(()),
        Some(_) => Err(format!("output_dtype is {wanted}, which differs from what the inputs say")),
        None => {
            let shape = target.value(scale).static_shape().ok_or("the shape of the scale is not known")?;
            let count = shape.iter().product();
            let zeros = Tensor::from_values(wanted, shape, &vec![0.0; count]);
            set_input(target, node, 2, "zero", zeros.map_err(|error| error.to_string())?)
        }
    }
}

/// Scales and zero points that stand for blocks along an axis are repeated; what is left is arithmetic.
fn blocked(target: &mut Target<'_>, node: &mut NewNode, block: i64) -> Result<(), String> {
    let input = data(node)?;
    let axis = take_int(node, "axis")?.unwrap_or(1);
    let scale = node.inputs.get(1).copied().flatten().ok_or("the second input, the scale, is missing")?;
    let zero = node.inputs.get(2).copied().flatten();
    let name = base(node);
    let along = Blocks::of(target, input, axis, block)?;
    let element = target.value(scale).element.ok_or("the element type of the scale is not known")?;
    let wide = along.repeat(target, scale, &name)?;
    if node.operator == "QuantizeLinear" {
        let stored = match zero {
            None => ElementType::U8,
            Some(zero) => {
                let constant = target.value(zero).constant();
                if !constant.is_some_and(|tensor| tensor.to_f64().iter().all(|zero| zero.abs() < 0.5)) {
                    return Err("zero points in blocks are supported where they are 0".to_owned());
                }
                target.value(zero).element.ok_or("the element type of the zero points is not known")?
            }
        };
        let steps = target.node(NewNode::new("Div", &[input, wide], ""), &format!("{name}.steps"))?;
        let one = target.constant(&format!("{name}.one"), Tensor::scalar(element, 1.0))?;
        let zero = target.constant(&format!("{name}.zero"), Tensor::scalar(stored, 0.0))?;
        node.inputs = vec![Some(steps), Some(one), Some(zero)];
        return Ok(());
    }
    let to = Attribute::Int(i64::from(element.onnx_code()));
    let cast = |value: ValueId| NewNode::new("Cast", &[value], "").with("to", to.clone());
    let mut steps = target.node(cast(input), &format!("{name}.stored"))?;
    if let Some(zero) = zero {
        let zero = along.repeat(target, zero, &name)?;
        let zero = target.node(cast(zero), &format!("{name}.zero"))?;
        steps = target.node(NewNode::new("Sub", &[steps, zero], ""), &format!("{name}.steps"))?;
    }
    "Mul".clone_into(&mut node.operator);
    node.inputs = vec![Some(steps), Some(wide)];
    Ok(())
}

/// Blocks along an axis.
struct Blocks {
    axis: usize,
    block: i64,
    size: i64,
}

impl Blocks {
    fn of(target: &Target<'_>, input: ValueId, axis: i64, block: i64) -> Result<Self, String> {
        let shape =
            target.value(input).shape.as_ref().ok_or("the number of axes of the input is not known")?;
        let rank = i64::try_from(shape.len()).map_err(|_| "too many axes".to_owned())?;
        let from_front = if axis < 0 { axis.saturating_add(rank) } else { axis };
        let position = usize::try_from(from_front).ok().filter(|position| *position < shape.len());
        let axis = position.ok_or_else(|| format!("axis {axis} is outside a tensor of {rank} axes"))?;
        let size = shape[axis].value().ok_or("blocks need an axis of known size")?;
        if !(1..=1 << 24).contains(&block) || size > 1 << 32 {
            return Err(format!("blocks of {block} along an axis of {size} make no sense"));
        }
        Ok(Self { axis, block, size })
    }

    /// Each element of `value` along the axis as often as a block is long.
    fn repeat(&self, target: &mut Target<'_>, value: ValueId, name: &str) -> Result<ValueId, String> {
        let shape = target.value(value).shape.as_ref();
        let sizes: Option<Vec<i64>> = shape.and_then(|shape| shape.iter().map(Dim::value).collect());
        let mut sizes = sizes.ok_or("scales in blocks need known sizes")?;
        let blocks = *sizes.get(self.axis).ok_or("scales have fewer axes than what they scale")?;
        let axis = i64::try_from(self.axis).map_err(|_| "too many axes".to_owned())?;
        let wide = blocks
            .checked_mul(self.block)
            .filter(|wide| *wide >= self.size && *wide < self.size + self.block);
        let wide =
            wide.ok_or_else(|| format!("{blocks} blocks of {} do not fit {}", self.block, self.size))?;
        let mut op = |operator: &str, value: ValueId, lists: &[&[i64]]| -> Result<ValueId, String> {
            let mut inputs = vec![value];
            for list in lists {
                inputs.push(target.constant(&format!("{name}.sizes"), Tensor::integers(list))?);
            }
            target.node(NewNode::new(operator, &inputs, ""), &format!("{name}.{operator}"))
        };
        let column = op("Unsqueeze", value, &[&[axis + 1]])?;
        sizes.insert(self.axis + 1, self.block);
        let copies = op("Expand", column, &[&sizes])?;
        sizes.remove(self.axis + 1);
        sizes[self.axis] = wide;
        let joined = op("Reshape", copies, &[&sizes])?;
        if wide == self.size { Ok(joined) } else { op("Slice", joined, &[&[0], &[self.size], &[axis]]) }
    }
}
