//! Numbers as small integers and back.

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::ElementType;

use crate::array::Array;
use crate::call::{Call, Operator, Outcome, flat, lanes, wrong_kind};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] =
    &[("DequantizeLinear", dequantize), ("QuantizeLinear", quantize)];

/// For every element of an array of `shape`, which of `count` scales is its own: one for all, or one along `axis`.
fn scale_of(call: &Call<'_>, shape: &[usize], count: usize) -> Result<Vec<usize>, Problem> {
    let total = call.limits.allow(shape)?;
    if count == 1 {
        return Ok(vec![0; total]);
    }
    let axis = call.axis("axis", 1, shape.len())?;
    let (_, size, inner) = lanes(shape, axis);
    if count != size {
        return Err(format!("{count} scales for an axis of {size}").into());
    }
    Ok((0..total).map(|at| (at / inner) % size).collect())
}

fn zero_points(call: &Call<'_>, count: usize) -> Result<Vec<i64>, Problem> {
    let points = call.list(2)?.unwrap_or_else(|| vec![0; count]);
    if points.len() == count {
        Ok(points)
    } else {
        Err(format!("{} zero points for {count} scales", points.len()).into())
    }
}

fn limits(element: ElementType) -> Result<(f64, f64), Problem> {
    Ok(match element {
        ElementType::U8 => (0.0, 255.0),
        ElementType::I8 => (-128.0, 127.0),
        ElementType::U16 => (0.0, 65_535.0),
        ElementType::I16 => (-32_768.0, 32_767.0),
        ElementType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        other => return Err(format!("nothing is quantised to {other}").into()),
    })
}

/// round(x / scale), halves to even, plus the zero point, within the type's limits.
fn quantize(call: &Call<'_>) -> Outcome {
    if let other @ Array::Bool(_) = call.input(0)? {
        return Err(wrong_kind(0, other, "float or int"));
    }
    let (x, scales) = (&call.input(0)?.to_floats(), call.float(1)?);
    let which = scale_of(call, x.shape(), scales.len())?;
    let points = zero_points(call, scales.len())?;
    let (low, high) = limits(call.output_element(0).unwrap_or(ElementType::U8))?;
    let scales = flat(scales);
    let values = flat(x)
        .iter()
        .zip(&which)
        .map(|(x, s)| {
            super::cast::truncate(((x / scales[*s]).round_ties_even() + points[*s] as f64).clamp(low, high))
        })
        .collect();
    Ok(vec![Array::Int(ArrayD::from_shape_vec(IxDyn(x.shape()), values)?)])
}

/// (x − zero point) · scale
fn dequantize(call: &Call<'_>) -> Outcome {
    let (x, scales) = (call.int(0)?, call.float(1)?);
    let which = scale_of(call, x.shape(), scales.len())?;
    let points = zero_points(call, scales.len())?;
    let scales = flat(scales);
    let values =
        flat(x).iter().zip(&which).map(|(x, s)| x.wrapping_sub(points[*s]) as f64 * scales[*s]).collect();
    Ok(vec![Array::Float(ArrayD::from_shape_vec(IxDyn(x.shape()), values)?)])
}

#[cfg(test)]
mod tests {
    use crate::testing::{floats, ints, node};
    use pellucid_graph::ElementType;

    #[test]
    fn halves_go_to_even_and_ends_saturate() {
        let x = floats(&[5], &[1.0, 3.0, 5.0, -1000.0, 1000.0]);
        let bare = node("QuantizeLinear").run(&[x.clone(), floats(&[], &[2.0])]);
        assert_eq!(bare, ints(&[5], &[0, 2, 2, 0, 255]));
        let shifted = node("QuantizeLinear")
            .elements(&[ElementType::F32, ElementType::F32, ElementType::I8])
            .run(&[x, floats(&[], &[2.0]), ints(&[], &[10])]);
        assert_eq!(shifted, ints(&[5], &[10, 12, 12, -128, 127]));
    }

    #[test]
    fn dequantisation_is_by_axis() {
        let found = node("DequantizeLinear").int("axis", 1).run(&[
            ints(&[1, 2, 2], &[1, 2, 3, 4]),
            floats(&[2], &[0.5, 2.0]),
            ints(&[2], &[1, 0]),
        ]);
        assert_eq!(found, floats(&[1, 2, 2], &[0.0, 0.5, 6.0, 8.0]));
    }
}
