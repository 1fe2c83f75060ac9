//! Products of integers, and quantisation by scales that are found while running.
//!
//! The products are computed in floats. Their sums are `int32` in the file; a `Cast` that turns them into floats is
//! given the float product itself, so that signals pass.

use super::product::{CONV, keep};
use super::quantised::{Pair, dequantized, pair};
use super::site::{Site, cast_to};
use crate::element::ElementType;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::tensor::Tensor;

/// x − zero as a float, the zero points along `axis` where there are several.
fn shifted(
    site: &mut Site<'_, '_>,
    x: ValueId,
    zero: Option<ValueId>,
    axis: usize,
) -> Result<ValueId, String> {
    let Some(zero) = zero else { return site.cast(x, ElementType::F32) };
    let one = match site.rank(zero)? {
        0 => Tensor::scalar(ElementType::F32, 1.0),
        1 => {
            let count = site.size(zero, 0)?;
            if count > 1 << 20 {
                return Err(format!("{count} zero points are more than is reasonable"));
            }
            Tensor::from_values(ElementType::F32, vec![count], &vec![1.0; count])
                .map_err(|error| error.to_string())?
        }
        rank => return Err(format!("zero points of {rank} axes are not supported")),
    };
    let one = site.constant(one)?;
    dequantized(site, x, (one, Some(zero)), axis)
}

/// Ends with the integers that a float value holds.
fn whole(site: &mut Site<'_, '_>, product: NewNode) -> Result<(), String> {
    let float = site.add(product)?;
    let whole = site.finish(0, cast_to(float, ElementType::I32))?;
    site.same_numbers(whole, float);
    Ok(())
}

/// (x − x₀) ∗ (w − w₀)
pub(super) fn convolution(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, w) = (site.input(0)?, site.input(1)?);
    let (of_x, of_w) = (site.maybe(2), site.maybe(3));
    let inputs = [shifted(site, x, of_x, 0)?, shifted(site, w, of_w, 0)?];
    let conv = keep(site, NewNode::new("Conv", &inputs, ""), &CONV);
    whole(site, conv)
}

/// (a − a₀)·(b − b₀), the zero points by row of a and by column of b
pub(super) fn matrix_product(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (a, b) = (site.input(0)?, site.input(1)?);
    let (of_a, of_b) = (site.maybe(2), site.maybe(3));
    let (rows, columns) = (site.rank(a)?.saturating_sub(2), site.rank(b)?.saturating_sub(1));
    let factors = [shifted(site, a, of_a, rows)?, shifted(site, b, of_b, columns)?];
    whole(site, NewNode::new("MatMul", &factors, ""))
}

/// The product of two dequantised matrices, and a bias.
fn dequantised_product(
    site: &mut Site<'_, '_>,
    a: ValueId,
    b: (ValueId, Pair),
    bias: Option<ValueId>,
) -> Result<(), String> {
    let columns = site.rank(b.0)?.saturating_sub(1);
    let b = dequantized(site, b.0, b.1, columns)?;
    match bias {
        None => site.done("MatMul", &[a, b]),
        Some(bias) => {
            let product = site.op("MatMul", &[a, b])?;
            site.done("Add", &[product, bias])
        }
    }
}

/// a′·b′ + bias of two quantised matrices.
pub(super) fn matrix_product_to_float(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (a, b) = (site.input(0)?, site.input(1)?);
    let (by_row, by_column) = (pair(site, 2, 4)?, pair(site, 3, 5)?);
    let rows = site.rank(a)?.saturating_sub(2);
    let a = dequantized(site, a, by_row, rows)?;
    dequantised_product(site, a, (b, by_column), site.maybe(6))
}

/// a·b′ + bias, where a is quantised by its own range first.
pub(super) fn dynamic_matrix_product(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (a, b) = (site.input(0)?, site.input(1)?);
    let by_column = pair(site, 2, 3)?;
    // The node has one output: the scale is none of them.
    let (scale, zero) = own_range(site, a, usize::MAX)?;
    let zero = site.add(zero)?;
    let stored = site.op("QuantizeLinear", &[a, scale, zero])?;
    let a = dequantized(site, stored, (scale, Some(zero)), 0)?;
    dequantised_product(site, a, (b, by_column), site.maybe(4))
}

/// x in 8 bits, by a scale and a zero point that cover its range and 0.
pub(super) fn dynamic_quantize(site: &mut Site<'_, '_>) -> Result<(), String> {
    let x = site.input(0)?;
    let (scale, zero) = own_range(site, x, 1)?;
    let zero = site.finish(2, zero)?;
    site.done("QuantizeLinear", &[x, scale, zero])
}

/// Scale and zero point of a tensor's own range: (max(x, 0) − min(x, 0)) / 255, which is 1 where all is 0, and
/// round(−min(x, 0) / scale). The scale is added, its zero point is the last node.
fn own_range(site: &mut Site<'_, '_>, x: ValueId, scale: usize) -> Result<(ValueId, NewNode), String> {
    let zero = site.scalar(x, 0.0)?;
    let mut ends = Vec::new();
    for (reduction, choice) in [("ReduceMax", "Max"), ("ReduceMin", "Min")] {
        let end = site.add(NewNode::new(reduction, &[x], "").with("keepdims", Attribute::Int(0)))?;
        ends.push(site.op(choice, &[end, zero])?);
    }
    let (high, low) = (ends[0], ends[1]);
    let width = site.op("Sub", &[high, low])?;
    let steps = site.scalar(x, 255.0)?;
    let step = site.op("Div", &[width, steps])?;
    let empty = site.op("Equal", &[width, zero])?;
    let one = site.scalar(x, 1.0)?;
    let step = site.finish(scale, NewNode::new("Where", &[empty, one, step], ""))?;
    let place = site.op("Div", &[low, step])?;
    let place = site.op("Sub", &[zero, place])?;
    let place = site.op("Clip", &[place, zero, steps])?;
    let place = site.op("Round", &[place])?;
    Ok((step, cast_to(place, ElementType::U8)))
}
