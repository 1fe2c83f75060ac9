//! Linear quantisation, computed in floats: integers here are 32 bits wide and do not saturate by themselves.

use pellucid_graph::{Attribute, ElementType, ValueId};

use super::arithmetic::exact_quotient;
use super::rewrite::{Rewrite, Step, never};
use super::{Rule, Takes};

use Rule::By;

pub(super) const RULES: &[(&str, Rule)] =
    &[("DequantizeLinear", By(dequantize)), ("QuantizeLinear", By(quantize))];

/// A parameter that stands for slices of `x` along the node's axis, shaped to broadcast.
fn along_axis(r: &mut Rewrite<'_>, x: ValueId, parameter: ValueId) -> Step<ValueId> {
    if r.rank(parameter)? == 0 {
        return Ok(parameter);
    }
    if r.rank(parameter)? > 1 {
        return never("blocked quantisation is not computed");
    }
    let rank = r.rank(x)?;
    let axis = r.axis("axis", 1, rank)?;
    let mut shape = vec![1; rank];
    shape[axis] = -1;
    r.reshape(parameter, &shape)
}

/// `(x − zero) · scale`.
fn dequantize(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, scale) = (r.x(0)?, r.x(1)?);
    let scale = along_axis(r, x, scale)?;
    let mut y = r.cast(x, ElementType::F32)?;
    if let Some(zero) = r.maybe(2) {
        let zero = along_axis(r, x, zero)?;
        let zero = r.cast(zero, ElementType::F32)?;
        y = r.op("Sub", &[y, zero])?;
    }
    let y = r.op("Mul", &[y, scale])?;
    r.done(y)
}

/// `clamp(round(x / scale) + zero)` to the range of the output's type.
fn quantize(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, scale) = (r.x(0)?, r.x(1)?);
    r.require(x, Takes::Floats)?;
    let target = r.source_element(2).unwrap_or(ElementType::U8);
    let (low, high) = match target {
        ElementType::U8 => (0.0, 255.0),
        ElementType::I8 => (-128.0, 127.0),
        ElementType::U16 => (0.0, 65535.0),
        ElementType::I16 => (-32768.0, 32767.0),
        other => return never(format!("quantising to {other} is not computed")),
    };
    let scale = along_axis(r, x, scale)?;
    let y = exact_quotient(r, x, scale)?;
    let mut y = r.op("Round", &[y])?;
    if let Some(zero) = r.maybe(2) {
        let zero = along_axis(r, x, zero)?;
        let zero = r.cast(zero, ElementType::F32)?;
        y = r.op("Add", &[y, zero])?;
    }
    let (low, high) = (r.float(low)?, r.float(high)?);
    let y = r.op("Clip", &[y, low, high])?;
    let to = Attribute::Int(i64::from(ElementType::I64.onnx_code()));
    let y = r.add(super::rewrite::node("Cast", &[y]).with("to", to))?;
    r.done(y)
}
