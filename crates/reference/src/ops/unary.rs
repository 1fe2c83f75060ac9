//! Functions of one element: signs, rounding, roots, exponentials, trigonometry, tests of floats.

use crate::Array;
use crate::call::{Call, Operator, Outcome, wrong_kind};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("Abs", |call| number(call, f64::abs, i64::wrapping_abs)),
    ("Acos", |call| float(call, f64::acos)),
    ("Acosh", |call| float(call, f64::acosh)),
    ("Asin", |call| float(call, f64::asin)),
    ("Asinh", |call| float(call, f64::asinh)),
    ("Atan", |call| float(call, f64::atan)),
    ("Atanh", |call| float(call, f64::atanh)),
    ("Ceil", |call| float(call, f64::ceil)),
    ("Cos", |call| float(call, f64::cos)),
    ("Cosh", |call| float(call, f64::cosh)),
    ("Erf", |call| float(call, libm::erf)),
    ("Exp", |call| float(call, f64::exp)),
    ("Floor", |call| float(call, f64::floor)),
    ("IsInf", is_inf),
    ("IsNaN", |call| Ok(vec![Array::Bool(call.float(0)?.mapv(f64::is_nan))])),
    ("Log", |call| float(call, f64::ln)),
    ("Neg", |call| number(call, |x| -x, i64::wrapping_neg)),
    ("Not", |call| Ok(vec![Array::Bool(call.truth(0)?.mapv(|x| !x))])),
    ("Reciprocal", |call| float(call, f64::recip)),
    ("Round", |call| float(call, f64::round_ties_even)),
    ("Sign", |call| number(call, sign, i64::signum)),
    ("Sin", |call| float(call, f64::sin)),
    ("Sinh", |call| float(call, f64::sinh)),
    ("Sqrt", |call| float(call, f64::sqrt)),
    ("Tan", |call| float(call, f64::tan)),
    ("Tanh", |call| float(call, f64::tanh)),
];

/// A function of floats.
pub(crate) fn float(call: &Call<'_>, function: impl Fn(f64) -> f64) -> Outcome {
    Ok(vec![Array::Float(call.float(0)?.mapv(function))])
}

/// A function of floats and its counterpart of integers.
pub(crate) fn number(call: &Call<'_>, of_float: impl Fn(f64) -> f64, of_int: impl Fn(i64) -> i64) -> Outcome {
    match call.input(0)? {
        Array::Float(x) => Ok(vec![Array::Float(x.mapv(of_float))]),
        Array::Int(x) => Ok(vec![Array::Int(x.mapv(of_int))]),
        other @ Array::Bool(_) => Err(wrong_kind(0, other, "float or int")),
    }
}

/// −1, 0 or 1; unlike `f64::signum`, zero has none. NaN stays NaN.
fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

fn is_inf(call: &Call<'_>) -> Outcome {
    let negative = call.node.int("detect_negative", 1) != 0;
    let positive = call.node.int("detect_positive", 1) != 0;
    let found = |x: f64| x.is_infinite() && if x > 0.0 { positive } else { negative };
    Ok(vec![Array::Bool(call.float(0)?.mapv(found))])
}

#[cfg(test)]
mod tests {
    use crate::testing::{floats, ints, node};

    #[test]
    fn halves_round_to_even() {
        let found = node("Round").run(&[floats(&[5], &[0.5, 1.5, 2.5, -0.5, -1.5])]);
        assert_eq!(found, floats(&[5], &[0.0, 2.0, 2.0, -0.0, -2.0]));
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(node("Sign").run(&[floats(&[3], &[-2.0, 0.0, 3.0])]), floats(&[3], &[-1.0, 0.0, 1.0]));
        assert_eq!(node("Sign").run(&[ints(&[2], &[-7, 0])]), ints(&[2], &[-1, 0]));
    }

    #[test]
    fn erf_is_accurate() {
        // erf(1) to 16 digits.
        let found = node("Erf").run(&[floats(&[1], &[1.0])]);
        assert!((found.as_float().unwrap()[[0]] - 0.842_700_792_949_714_9).abs() < 1e-15);
    }

    #[test]
    fn a_kind_that_an_operator_lacks_is_an_error() {
        let error = node("Exp").fail(&[ints(&[1], &[1])]);
        assert!(error.starts_with("Exp node \"tested\": "), "{error}");
    }
}
