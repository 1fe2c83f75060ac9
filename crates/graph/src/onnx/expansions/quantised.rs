//! Operators on quantised numbers: dequantise, float operator, quantise.
//!
//! Runtimes multiply and add the stored integers; in floats the same numbers come out up to rounding, which may move
//! a result that lies between two stored numbers to its neighbour.

use super::product::{CONV, keep};
use super::site::{Site, channels_first, channels_last, transposed};
use crate::element::ElementType;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::tensor::Tensor;

/// The scale and the zero point that begin at an input, one number for all or one a slice.
pub(super) type Pair = (ValueId, Option<ValueId>);

/// A scale or zero point of one number as a scalar: files give it as a list, too.
fn parameter(site: &mut Site<'_, '_>, value: ValueId) -> Result<ValueId, String> {
    if site.rank(value)? != 1 || site.size(value, 0).ok() != Some(1) {
        return Ok(value);
    }
    match site.numbers(value) {
        Some(numbers) => {
            let tensor = Tensor::from_values(site.element(value)?, Vec::new(), &numbers);
            site.constant(tensor.map_err(|error| error.to_string())?)
        }
        None => site.reshape(value, &[]),
    }
}

/// The scale at `position` and the zero point after it, of equal shapes.
pub(super) fn pair(site: &mut Site<'_, '_>, scale: usize, zero: usize) -> Result<Pair, String> {
    let scale = site.input(scale)?;
    let scale = parameter(site, scale)?;
    let Some(zero) = site.maybe(zero) else { return Ok((scale, None)) };
    let zero = parameter(site, zero)?;
    let (of_scale, of_zero) = (site.rank(scale)?, site.rank(zero)?);
    if of_scale == of_zero {
        return Ok((scale, Some(zero)));
    }
    let (one, other) = if of_scale == 0 { (scale, zero) } else { (zero, scale) };
    let count = site.size(other, 0)?;
    let same = alike(site, one, count)?;
    Ok(if of_scale == 0 { (same, Some(zero)) } else { (scale, Some(same)) })
}

/// `count` copies of the one number of a constant.
fn alike(site: &mut Site<'_, '_>, one: ValueId, count: usize) -> Result<ValueId, String> {
    let number = site.numbers(one).and_then(|numbers| numbers.first().copied());
    let number = number.ok_or("a scale and its zero point have different shapes, and are no constants")?;
    if count > 1 << 20 {
        return Err(format!("{count} scales are more than is reasonable"));
    }
    let tensor = Tensor::from_values(site.element(one)?, vec![count], &vec![number; count]);
    site.constant(tensor.map_err(|error| error.to_string())?)
}

/// `DequantizeLinear`, with scales along `axis` where there are several.
pub(super) fn dequantized(
    site: &mut Site<'_, '_>,
    x: ValueId,
    (scale, zero): Pair,
    axis: usize,
) -> Result<ValueId, String> {
    let node = linear(site, "DequantizeLinear", x, (scale, zero), axis)?;
    site.add(node)
}

fn linear(
    site: &mut Site<'_, '_>,
    operator: &str,
    x: ValueId,
    (scale, zero): Pair,
    axis: usize,
) -> Result<NewNode, String> {
    let mut inputs = vec![x, scale];
    inputs.extend(zero);
    let node = NewNode::new(operator, &inputs, "");
    match site.rank(scale)? {
        0 => Ok(node),
        1 => {
            let axis = i64::try_from(axis).map_err(|_| "too many axes".to_owned())?;
            Ok(node.with("axis", Attribute::Int(axis)))
        }
        rank => Err(format!("scales of {rank} axes are not supported")),
    }
}

/// The input at `position`, dequantised by the scale and zero point after it.
fn input(site: &mut Site<'_, '_>, position: usize) -> Result<ValueId, String> {
    let x = site.input(position)?;
    let by = pair(site, position + 1, position + 2)?;
    dequantized(site, x, by, 0)
}

/// Ends with `y` quantised by the scale and zero point at `scale` and after it.
fn output(site: &mut Site<'_, '_>, y: ValueId, scale: usize) -> Result<(), String> {
    let by = pair(site, scale, scale + 1)?;
    let axis = site.rank(y)?.saturating_sub(2);
    let node = linear(site, "QuantizeLinear", y, by, axis)?;
    site.finish(0, node).map(drop)
}

/// A convolution, its kernel's scales by output channel, its bias stored with the product of both scales.
pub(super) fn convolution(site: &mut Site<'_, '_>) -> Result<(), String> {
    let last = site.int("channels_last", 0)? != 0;
    let mut x = input(site, 0)?;
    let weights = site.input(3)?;
    let by_channel = pair(site, 4, 5)?;
    let weights = dequantized(site, weights, by_channel, 0)?;
    let rank = site.rank(weights)?;
    if last {
        x = site.transpose(x, &channels_first(rank))?;
    }
    let mut inputs = vec![x, weights];
    if let Some(bias) = site.maybe(8) {
        let of_x = site.input(1)?;
        let of_x = parameter(site, of_x)?;
        let scale = site.op("Mul", &[of_x, by_channel.0])?;
        let bias = site.cast(bias, ElementType::F32)?;
        inputs.push(site.op("Mul", &[bias, scale])?);
    }
    let conv = keep(site, NewNode::new("Conv", &inputs, ""), &CONV);
    let mut y = site.add(conv)?;
    if last {
        y = site.transpose(y, &channels_last(rank))?;
    }
    output(site, y, 6)
}

/// A matrix product, with scales by row of the first factor and by column of the second.
pub(super) fn matrix_product(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (a, b) = (site.input(0)?, site.input(3)?);
    let (by_row, by_column) = (pair(site, 1, 2)?, pair(site, 4, 5)?);
    let (rows, columns) = (site.rank(a)?.saturating_sub(2), site.rank(b)?.saturating_sub(1));
    let factors = [dequantized(site, a, by_row, rows)?, dequantized(site, b, by_column, columns)?];
    let y = site.op("MatMul", &factors)?;
    output(site, y, 6)
}

/// α·a′·b′ + c, where c is stored with the product of both scales and α; a float where no scale is given for it.
pub(super) fn gemm(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (a, b) = (site.input(0)?, site.input(3)?);
    let flag = |site: &mut Site<'_, '_>, name: &str| Ok::<bool, String>(site.int(name, 0)? != 0);
    let (turned_a, turned_b) = (flag(site, "transA")?, flag(site, "transB")?);
    let alpha = site.float("alpha", 1.0)?;
    let (by_row, by_column) = (pair(site, 1, 2)?, pair(site, 4, 5)?);
    let a = dequantized(site, a, by_row, usize::from(turned_a))?;
    let b = dequantized(site, b, by_column, usize::from(!turned_b))?;
    let product = NewNode::new("Gemm", &[a, b], "")
        .with("alpha", Attribute::Float(alpha))
        .with("transA", Attribute::Int(i64::from(turned_a)))
        .with("transB", Attribute::Int(i64::from(turned_b)));
    let mut last = product;
    if let Some(c) = site.maybe(6) {
        let product = site.add(last)?;
        let scale = site.op("Mul", &[by_row.0, by_column.0])?;
        let alpha = site.scalar(scale, f64::from(alpha))?;
        let scale = site.op("Mul", &[scale, alpha])?;
        let c = site.cast(c, ElementType::F32)?;
        let c = site.op("Mul", &[c, scale])?;
        last = NewNode::new("Add", &[product, c], "");
    }
    if site.maybe(7).is_none() {
        return site.finish(0, last).map(drop);
    }
    let y = site.add(last)?;
    output(site, y, 7)
}

/// `Add` or `Mul` of two quantised tensors.
pub(super) fn binary(site: &mut Site<'_, '_>, operator: &str) -> Result<(), String> {
    let inputs = [input(site, 0)?, input(site, 3)?];
    let y = site.op(operator, &inputs)?;
    output(site, y, 6)
}

/// A function of one number.
pub(super) fn unary(site: &mut Site<'_, '_>, operator: &str) -> Result<(), String> {
    let x = input(site, 0)?;
    let node = keep(site, NewNode::new(operator, &[x], ""), &["alpha"]);
    let y = site.add(node)?;
    output(site, y, 3)
}

/// Ends with a pool, whose channels may come last.
fn pool(site: &mut Site<'_, '_>, operator: &str, attributes: &[&str]) -> Result<(), String> {
    let last = site.int("channels_last", 0)? != 0;
    let mut x = input(site, 0)?;
    let rank = site.rank(x)?;
    if last {
        x = site.transpose(x, &channels_first(rank))?;
    }
    let node = keep(site, NewNode::new(operator, &[x], ""), attributes);
    let y = site.add(node)?;
    let y = if last { site.add(transposed(y, &channels_last(rank))?)? } else { y };
    output(site, y, 3)
}

pub(super) fn average_pool(site: &mut Site<'_, '_>) -> Result<(), String> {
    let attributes = ["auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"];
    pool(site, "AveragePool", &attributes)
}

pub(super) fn global_average_pool(site: &mut Site<'_, '_>) -> Result<(), String> {
    pool(site, "GlobalAveragePool", &[])
}

/// Scale and zero point of the output come first, then each part with its own.
pub(super) fn concat(site: &mut Site<'_, '_>) -> Result<(), String> {
    let mut parts = Vec::new();
    for position in (2..site.input_count()).step_by(3) {
        parts.push(input(site, position)?);
    }
    let node = keep(site, NewNode::new("Concat", &parts, ""), &["axis"]);
    let y = site.add(node)?;
    output(site, y, 0)
}

/// Before opset 13 all axes from `axis` on counted as one: only the last axis means the same in both.
pub(super) fn softmax(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (axis, opset) = (site.int("axis", -1)?, site.int("opset", 13)?);
    let x = input(site, 0)?;
    let last =
        axis == -1 || usize::try_from(axis).is_ok_and(|axis| site.rank(x).is_ok_and(|rank| axis + 1 == rank));
    if opset < 13 && !last {
        return Err(format!("axis {axis} in the meaning of opset {opset} is not the last"));
    }
    let y = site.add(NewNode::new("Softmax", &[x], "").with("axis", Attribute::Int(axis)))?;
    output(site, y, 3)
}

/// Condition, two tensors with their scales and zero points, those of the output.
pub(super) fn choose(site: &mut Site<'_, '_>) -> Result<(), String> {
    let inputs = [site.input(0)?, input(site, 1)?, input(site, 4)?];
    let y = site.op("Where", &inputs)?;
    output(site, y, 7)
}
