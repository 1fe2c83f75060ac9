//! Functions of two or more arrays, broadcast: arithmetic, comparison, logic, choice.

use ndarray::ArrayD;

use crate::Array;
use crate::call::{Call, Operator, Outcome};
use crate::error::Problem;
use crate::ops::broadcast::{try_zip, zip};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("Add", |call| arithmetic(call, |a, b| a + b, |a, b| Ok(a.wrapping_add(b)))),
    ("And", |call| logic(call, |a, b| a && b)),
    ("Div", |call| arithmetic(call, |a, b| a / b, divide)),
    ("Equal", equal),
    ("Greater", |call| compare(call, |a, b| a > b, |a, b| a > b)),
    ("GreaterOrEqual", |call| compare(call, |a, b| a >= b, |a, b| a >= b)),
    ("Less", |call| compare(call, |a, b| a < b, |a, b| a < b)),
    ("LessOrEqual", |call| compare(call, |a, b| a <= b, |a, b| a <= b)),
    ("Max", |call| fold(call, max, i64::max)),
    ("Mean", mean),
    ("Min", |call| fold(call, min, i64::min)),
    ("Mod", modulo),
    ("Mul", |call| arithmetic(call, |a, b| a * b, |a, b| Ok(a.wrapping_mul(b)))),
    ("Or", |call| logic(call, |a, b| a || b)),
    ("Pow", power),
    ("Sub", |call| arithmetic(call, |a, b| a - b, |a, b| Ok(a.wrapping_sub(b)))),
    ("Sum", |call| fold(call, |a, b| a + b, i64::wrapping_add)),
    ("Where", choose),
    ("Xor", |call| logic(call, |a, b| a != b)),
];

/// The larger; NaN where either is.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller; NaN where either is.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// The complaint that two inputs do not go together.
fn mismatch(first: &Array, second: &Array, expected: &str) -> Problem {
    format!("its inputs are {} and {} arrays, {expected} was expected", first.kind(), second.kind()).into()
}

const NUMBERS: &str = "floats or integers, both the same,";

fn arithmetic(
    call: &Call<'_>,
    of_floats: fn(f64, f64) -> f64,
    of_ints: fn(i64, i64) -> Result<i64, Problem>,
) -> Outcome {
    let result = match (call.input(0)?, call.input(1)?) {
        (Array::Float(a), Array::Float(b)) => Array::Float(zip(call.limits, a, b, of_floats)?),
        (Array::Int(a), Array::Int(b)) => Array::Int(try_zip(call.limits, a, b, of_ints)?),
        (a, b) => return Err(mismatch(a, b, NUMBERS)),
    };
    Ok(vec![result])
}

fn divide(a: i64, b: i64) -> Result<i64, Problem> {
    if b == 0 { Err("an integer is divided by zero".into()) } else { Ok(a.wrapping_div(b)) }
}

fn modulo(call: &Call<'_>) -> Outcome {
    if call.node.int("fmod", 0) != 0 {
        return arithmetic(
            call,
            |a, b| a % b,
            |a, b| if b == 0 { Err("an integer is divided by zero".into()) } else { Ok(a.wrapping_rem(b)) },
        );
    }
    let of_floats = |a: f64, b: f64| {
        let rest = a % b;
        if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
    };
    let of_ints = |a: i64, b: i64| {
        if b == 0 {
            return Err("an integer is divided by zero".into());
        }
        let rest = a.wrapping_rem(b);
        Ok(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
    };
    arithmetic(call, of_floats, of_ints)
}

/// The base's kind is the result's; integer powers wrap, fractions of them are cut off.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the fraction is to be cut off")]
fn power(call: &Call<'_>) -> Outcome {
    let through_float = |a: i64, b: f64| (a as f64).powf(b) as i64;
    let result = match (call.input(0)?, call.input(1)?) {
        (Array::Float(a), Array::Float(b)) => Array::Float(zip(call.limits, a, b, f64::powf)?),
        (Array::Float(a), Array::Int(b)) => Array::Float(zip(call.limits, a, b, |a, b| a.powf(b as f64))?),
        (Array::Int(a), Array::Float(b)) => Array::Int(zip(call.limits, a, b, through_float)?),
        (Array::Int(a), Array::Int(b)) => {
            Array::Int(zip(call.limits, a, b, |a, b| match u32::try_from(b) {
                Ok(exponent) => a.wrapping_pow(exponent),
                Err(_) => through_float(a, b as f64),
            })?)
        }
        (a, b) => return Err(mismatch(a, b, "numbers")),
    };
    Ok(vec![result])
}

fn compare(call: &Call<'_>, of_floats: fn(&f64, &f64) -> bool, of_ints: fn(&i64, &i64) -> bool) -> Outcome {
    let result = match (call.input(0)?, call.input(1)?) {
        (Array::Float(a), Array::Float(b)) => zip(call.limits, a, b, |a, b| of_floats(&a, &b))?,
        (Array::Int(a), Array::Int(b)) => zip(call.limits, a, b, |a, b| of_ints(&a, &b))?,
        (a, b) => return Err(mismatch(a, b, NUMBERS)),
    };
    Ok(vec![Array::Bool(result)])
}

#[expect(clippy::float_cmp, reason = "the operator asks for exact equality")]
fn equal(call: &Call<'_>) -> Outcome {
    let result = match (call.input(0)?, call.input(1)?) {
        (Array::Float(a), Array::Float(b)) => zip(call.limits, a, b, |a, b| a == b)?,
        (Array::Int(a), Array::Int(b)) => zip(call.limits, a, b, |a, b| a == b)?,
        (Array::Bool(a), Array::Bool(b)) => zip(call.limits, a, b, |a, b| a == b)?,
        (a, b) => return Err(mismatch(a, b, "two arrays of one kind")),
    };
    Ok(vec![Array::Bool(result)])
}

fn logic(call: &Call<'_>, function: fn(bool, bool) -> bool) -> Outcome {
    Ok(vec![Array::Bool(zip(call.limits, call.truth(0)?, call.truth(1)?, function)?)])
}

/// Inputs combined from the first to the last.
fn fold(call: &Call<'_>, of_floats: fn(f64, f64) -> f64, of_ints: fn(i64, i64) -> i64) -> Outcome {
    let mut result = call.input(0)?.clone();
    if matches!(result, Array::Bool(_)) {
        return Err("input 0 is a bool array, floats or integers were expected".into());
    }
    for index in 1..call.inputs.len() {
        result = match (&result, call.input(index)?) {
            (Array::Float(a), Array::Float(b)) => Array::Float(zip(call.limits, a, b, of_floats)?),
            (Array::Int(a), Array::Int(b)) => Array::Int(zip(call.limits, a, b, of_ints)?),
            (a, b) => return Err(mismatch(a, b, NUMBERS)),
        };
    }
    Ok(vec![result])
}

fn mean(call: &Call<'_>) -> Outcome {
    let count = call.inputs.len() as f64;
    let sum = fold(call, |a, b| a + b, i64::wrapping_add)?;
    match sum.into_iter().next() {
        Some(Array::Float(sum)) => Ok(vec![Array::Float(sum / count)]),
        _ => Err("its inputs are integers, floats were expected".into()),
    }
}

fn choose(call: &Call<'_>) -> Outcome {
    let condition = call.truth(0)?;
    let result = match (call.input(1)?, call.input(2)?) {
        (Array::Float(a), Array::Float(b)) => Array::Float(select(call, condition, a, b)?),
        (Array::Int(a), Array::Int(b)) => Array::Int(select(call, condition, a, b)?),
        (Array::Bool(a), Array::Bool(b)) => Array::Bool(select(call, condition, a, b)?),
        (a, b) => return Err(mismatch(a, b, "two arrays of one kind")),
    };
    Ok(vec![result])
}

fn select<T: Copy>(
    call: &Call<'_>,
    condition: &ArrayD<bool>,
    a: &ArrayD<T>,
    b: &ArrayD<T>,
) -> Result<ArrayD<T>, Problem> {
    let pairs = zip(call.limits, a, b, |a, b| (a, b))?;
    zip(call.limits, condition, &pairs, |condition, (a, b)| if condition { a } else { b })
}

#[cfg(test)]
mod tests {
    use crate::testing::{bools, floats, ints, node};

    #[test]
    fn integers_divide_toward_zero() {
        let (a, b) = (ints(&[4], &[7, -7, 7, -7]), ints(&[4], &[2, 2, -2, -2]));
        assert_eq!(node("Div").run(&[a.clone(), b.clone()]), ints(&[4], &[3, -3, -3, 3]));
        assert_eq!(node("Mod").run(&[a.clone(), b.clone()]), ints(&[4], &[1, 1, -1, -1]));
        assert_eq!(node("Mod").int("fmod", 1).run(&[a.clone(), b]), ints(&[4], &[1, -1, 1, -1]));
        let error = node("Div").fail(&[a, ints(&[], &[0])]);
        assert_eq!(error, "Div node \"tested\": an integer is divided by zero");
        let smallest = node("Div").run(&[ints(&[1], &[i64::MIN]), ints(&[1], &[-1])]);
        assert_eq!(smallest, ints(&[1], &[i64::MIN]));
    }

    #[test]
    fn shapes_broadcast_both_ways() {
        let found = node("Sub").run(&[floats(&[2, 1], &[1.0, 2.0]), floats(&[3], &[10.0, 20.0, 30.0])]);
        assert_eq!(found, floats(&[2, 3], &[-9.0, -19.0, -29.0, -8.0, -18.0, -28.0]));
        let error = node("Sub").fail(&[floats(&[2], &[1.0, 2.0]), floats(&[3], &[0.0; 3])]);
        assert!(error.contains("do not broadcast"), "{error}");
    }

    #[test]
    fn nan_wins_on_either_side() {
        let (a, b) = (floats(&[2], &[f64::NAN, 1.0]), floats(&[2], &[1.0, f64::NAN]));
        for operator in ["Min", "Max"] {
            let found = node(operator).run(&[a.clone(), b.clone()]);
            assert!(found.as_float().unwrap().iter().all(|x| x.is_nan()), "{operator}");
        }
    }

    #[test]
    fn powers_keep_the_kind_of_the_base() {
        let found = node("Pow").run(&[ints(&[3], &[2, -3, 2]), ints(&[3], &[10, 3, -1])]);
        assert_eq!(found, ints(&[3], &[1024, -27, 0]));
        assert_eq!(node("Pow").run(&[floats(&[1], &[4.0]), ints(&[1], &[2])]), floats(&[1], &[16.0]));
        assert_eq!(node("Pow").run(&[ints(&[1], &[4]), floats(&[1], &[0.5])]), ints(&[1], &[2]));
    }

    #[test]
    fn where_broadcasts_three() {
        let found = node("Where").run(&[
            bools(&[2, 1], &[true, false]),
            floats(&[3], &[1.0, 2.0, 3.0]),
            floats(&[], &[0.0]),
        ]);
        assert_eq!(found, floats(&[2, 3], &[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn sums_of_several() {
        let inputs = [floats(&[2], &[1.0, 2.0]), floats(&[1], &[10.0]), floats(&[], &[100.0])];
        assert_eq!(node("Sum").run(&inputs), floats(&[2], &[111.0, 112.0]));
        assert_eq!(node("Mean").run(&inputs), floats(&[2], &[37.0, 112.0 / 3.0]));
    }
}
