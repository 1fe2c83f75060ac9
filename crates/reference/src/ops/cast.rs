//! Changes of element type.

use pellucid_graph::ElementType;

use crate::Array;
use crate::call::{Call, Operator, Outcome};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("Cast", cast), ("CastLike", cast_like)];

fn cast(call: &Call<'_>) -> Outcome {
    let code = call.node.int("to", 0);
    let element = i32::try_from(code).ok().and_then(ElementType::from_onnx_code);
    let element = element
        .ok_or_else(|| Problem::from(format!("attribute to is {code}, not the code of a known type")))?;
    Ok(vec![to_element(call.input(0)?, element)])
}

fn cast_like(call: &Call<'_>) -> Outcome {
    let like = call.input(1)?;
    let element = call.input_element(1).filter(|element| like.holds(*element)).unwrap_or(match like {
        Array::Float(_) => ElementType::F64,
        Array::Int(_) => ElementType::I64,
        Array::Bool(_) => ElementType::Bool,
    });
    Ok(vec![to_element(call.input(0)?, element)])
}

fn to_element(array: &Array, element: ElementType) -> Array {
    if element.is_float() {
        return Array::Float(array.to_floats());
    }
    if element == ElementType::Bool {
        return Array::Bool(match array {
            Array::Float(x) => x.mapv(|x| x != 0.0),
            Array::Int(x) => x.mapv(|x| x != 0),
            Array::Bool(x) => x.clone(),
        });
    }
    Array::Int(match array {
        Array::Float(x) => x.mapv(|x| wrap(truncate(x), element)),
        Array::Int(x) => x.mapv(|x| wrap(x, element)),
        Array::Bool(x) => x.mapv(i64::from),
    })
}

/// Toward zero, saturating; NaN is 0.
#[expect(clippy::cast_possible_truncation, reason = "`as` does what is documented")]
pub(crate) fn truncate(x: f64) -> i64 {
    x as i64
}

/// The value of `x`'s lowest bits as an integer of `element`; other types leave it as it is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "taking the lowest bits is what it is for"
)]
fn wrap(x: i64, element: ElementType) -> i64 {
    match element {
        ElementType::I8 => i64::from(x as i8),
        ElementType::I16 => i64::from(x as i16),
        ElementType::I32 => i64::from(x as i32),
        ElementType::U8 => i64::from(x as u8),
        ElementType::U16 => i64::from(x as u16),
        ElementType::U32 => i64::from(x as u32),
        _ => x,
    }
}

/// An array's integers wrapped to the width of `element`, where that is known.
pub(crate) fn wrap_to(array: Array, element: Option<ElementType>) -> Array {
    match (array, element) {
        (Array::Int(array), Some(element)) if element.size() < 8 && !element.is_float() => {
            Array::Int(array.mapv_into(|x| wrap(x, element)))
        }
        (array, _) => array,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bools, floats, ints, node};

    fn to(element: ElementType, array: Array) -> Array {
        node("Cast").int("to", element.onnx_code().into()).run(&[array])
    }

    #[test]
    fn floats_become_integers_toward_zero() {
        let x = floats(&[4], &[1.9, -1.9, f64::NAN, 300.0]);
        assert_eq!(to(ElementType::I64, x.clone()), ints(&[4], &[1, -1, 0, 300]));
        assert_eq!(to(ElementType::U8, x.clone()), ints(&[4], &[1, 255, 0, 44]));
        assert_eq!(to(ElementType::Bool, x), bools(&[4], &[true; 4]));
    }

    #[test]
    fn integers_wrap_and_floats_do_not_round() {
        assert_eq!(to(ElementType::I8, ints(&[2], &[200, -129])), ints(&[2], &[-56, 127]));
        assert_eq!(to(ElementType::F16, floats(&[1], &[0.1])), floats(&[1], &[0.1]));
        assert_eq!(to(ElementType::F32, bools(&[2], &[true, false])), floats(&[2], &[1.0, 0.0]));
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        let error = node("Cast").int("to", 8).try_run(&[Some(ints(&[], &[1]))]);
        assert!(error.is_err());
    }

    #[test]
    fn the_type_to_copy_is_the_declared_one() {
        let found = node("CastLike")
            .elements(&[ElementType::F32, ElementType::I8])
            .run(&[floats(&[1], &[200.0]), ints(&[1], &[0])]);
        assert_eq!(found, ints(&[1], &[-56]));
    }
}
