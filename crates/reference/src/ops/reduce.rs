//! Reductions over axes: sums, norms, extremes, means, and the positions of extremes.

use ndarray::{ArrayD, Axis};

use crate::Array;
use crate::call::{Call, Operator, Outcome, axes, flat, lanes, signed, wrong_kind};
use crate::error::Problem;
use crate::ops::binary::{max, min};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("ArgMax", |call| extreme(call, |a, b| a > b, |a, b| a > b)),
    ("ArgMin", |call| extreme(call, |a, b| a < b, |a, b| a < b)),
    ("ReduceL1", |call| sum(call, f64::abs, i64::wrapping_abs, |sum| sum)),
    ("ReduceL2", |call| sum(call, |x| x * x, |x| x.wrapping_mul(x), f64::sqrt)),
    ("ReduceLogSum", |call| sum(call, |x| x, |x| x, f64::ln)),
    ("ReduceLogSumExp", log_sum_exp),
    ("ReduceMax", |call| limit(call, (f64::NEG_INFINITY, i64::MIN, false), max, i64::max, |a, b| a || b)),
    ("ReduceMean", mean),
    ("ReduceMin", |call| limit(call, (f64::INFINITY, i64::MAX, true), min, i64::min, |a, b| a && b)),
    ("ReduceProd", product),
    ("ReduceSum", |call| sum(call, |x| x, |x| x, |sum| sum)),
    ("ReduceSumSquare", |call| sum(call, |x| x * x, |x| x.wrapping_mul(x), |sum| sum)),
];

/// The axes to reduce, rising; `None` where the node asks to reduce none.
fn chosen(call: &Call<'_>, rank: usize) -> Result<Option<Vec<usize>>, Problem> {
    let mut listed = match call.list(1)? {
        Some(listed) if !listed.is_empty() => axes(&listed, rank)?,
        _ if call.node.int("noop_with_empty_axes", 0) != 0 => return Ok(None),
        _ => (0..rank).collect(),
    };
    listed.sort_unstable();
    Ok(Some(listed))
}

/// Folds `axes` (rising) of an array from `start`; they stay with size 1 where `keep`.
pub(crate) fn fold<T: Copy>(
    array: &ArrayD<T>,
    axes: &[usize],
    keep: bool,
    start: T,
    function: impl Fn(T, T) -> T,
) -> ArrayD<T> {
    let mut result = array.clone();
    for axis in axes.iter().rev() {
        result = result.fold_axis(Axis(*axis), start, |a, b| function(*a, *b));
        if keep {
            result.insert_axis_inplace(Axis(*axis));
        }
    }
    result
}

fn keep(call: &Call<'_>) -> bool {
    call.node.int("keepdims", 1) != 0
}

/// `finish` of the sum of `map` of the elements. Integers are finished as floats and cut off.
fn sum(call: &Call<'_>, map: fn(f64) -> f64, map_int: fn(i64) -> i64, finish: fn(f64) -> f64) -> Outcome {
    let axes = chosen(call, call.input(0)?.rank())?;
    let axes = axes.as_deref().unwrap_or_default();
    let unfinished = call.node.operator == "ReduceSum" || call.node.operator == "ReduceSumSquare";
    match call.input(0)? {
        Array::Float(x) => {
            let sum = fold(&x.mapv(map), axes, keep(call), 0.0, |a, b| a + b);
            Ok(vec![Array::Float(sum.mapv_into(finish))])
        }
        Array::Int(x) => {
            let sum = fold(&x.mapv(map_int), axes, keep(call), 0, i64::wrapping_add);
            let finish = |sum: i64| super::cast::truncate(finish(sum as f64));
            // Through a float only where there is something to finish: sums past 2^53 stay exact.
            Ok(vec![Array::Int(if unfinished { sum } else { sum.mapv_into(finish) })])
        }
        other @ Array::Bool(_) => Err(wrong_kind(0, other, "float or int")),
    }
}

fn product(call: &Call<'_>) -> Outcome {
    let axes = chosen(call, call.input(0)?.rank())?;
    let axes = axes.as_deref().unwrap_or_default();
    match call.input(0)? {
        Array::Float(x) => Ok(vec![Array::Float(fold(x, axes, keep(call), 1.0, |a, b| a * b))]),
        Array::Int(x) => Ok(vec![Array::Int(fold(x, axes, keep(call), 1, i64::wrapping_mul))]),
        other @ Array::Bool(_) => Err(wrong_kind(0, other, "float or int")),
    }
}

/// The mean of nothing is NaN; a mean of integers is cut off, that of none an error.
fn mean(call: &Call<'_>) -> Outcome {
    let input = call.input(0)?;
    let axes = chosen(call, input.rank())?;
    let axes = axes.as_deref().unwrap_or_default();
    let count: usize = axes.iter().map(|axis| input.shape()[*axis]).product();
    match input {
        Array::Float(x) => {
            let sum = fold(x, axes, keep(call), 0.0, |a, b| a + b);
            Ok(vec![Array::Float(sum / count as f64)])
        }
        Array::Int(x) => {
            let sum = fold(x, axes, keep(call), 0, i64::wrapping_add);
            if count == 0 && !sum.is_empty() {
                return Err("the mean of no integers is not a number".into());
            }
            Ok(vec![Array::Int(sum.mapv_into(|sum| sum / signed(count.max(1))))])
        }
        other @ Array::Bool(_) => Err(wrong_kind(0, other, "float or int")),
    }
}

fn limit(
    call: &Call<'_>,
    start: (f64, i64, bool),
    of_floats: fn(f64, f64) -> f64,
    of_ints: fn(i64, i64) -> i64,
    of_truths: fn(bool, bool) -> bool,
) -> Outcome {
    let axes = chosen(call, call.input(0)?.rank())?;
    let axes = axes.as_deref().unwrap_or_default();
    let keep = keep(call);
    Ok(vec![match call.input(0)? {
        Array::Float(x) => Array::Float(fold(x, axes, keep, start.0, of_floats)),
        Array::Int(x) => Array::Int(fold(x, axes, keep, start.1, of_ints)),
        Array::Bool(x) => Array::Bool(fold(x, axes, keep, start.2, of_truths)),
    }])
}

/// `ln Σ eˣ`, the largest element taken out so that nothing overflows.
fn log_sum_exp(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    let axes = chosen(call, x.ndim())?;
    let axes = axes.as_deref().unwrap_or_default();
    // Of an infinite largest element the plain formula is right, and the difference would be NaN.
    let largest = fold(x, axes, true, f64::NEG_INFINITY, max);
    let largest = largest.mapv_into(|x| if x.is_finite() { x } else { 0.0 });
    let shifted = (x - &largest).mapv_into(f64::exp);
    let mut result = fold(&shifted, axes, true, 0.0, |a, b| a + b).mapv_into(f64::ln) + &largest;
    if !keep(call) {
        for axis in axes.iter().rev() {
            result = result.index_axis_move(Axis(*axis), 0);
        }
    }
    Ok(vec![Array::Float(result)])
}

/// Position of the extreme along an axis: the first, or the last with `select_last_index`. The first NaN beats all.
fn extreme(call: &Call<'_>, of_floats: fn(&f64, &f64) -> bool, of_ints: fn(&i64, &i64) -> bool) -> Outcome {
    let input = call.input(0)?;
    let axis = call.axis("axis", 0, input.rank())?;
    let (outer, n, inner) = lanes(input.shape(), axis);
    let last = call.node.int("select_last_index", 0) != 0;
    let mut shape = input.shape().to_vec();
    shape[axis] = 1;
    call.limits.allow(&shape)?;
    if n == 0 && outer * inner > 0 {
        return Err(format!("axis {axis} is empty and has no extreme").into());
    }
    let mut positions = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| (o * n + k) * inner + i;
            let position = match input {
                Array::Float(x) => {
                    let x = flat(x);
                    let first_nan = (0..n).find(|k| x[at(*k)].is_nan());
                    first_nan.unwrap_or_else(|| best(n, last, |a, b| of_floats(&x[at(a)], &x[at(b)])))
                }
                Array::Int(x) => {
                    let x = flat(x);
                    best(n, last, |a, b| of_ints(&x[at(a)], &x[at(b)]))
                }
                other @ Array::Bool(_) => return Err(wrong_kind(0, other, "float or int")),
            };
            positions.push(signed(position));
        }
    }
    if !keep(call) {
        shape.remove(axis);
    }
    Ok(vec![Array::Int(call.limits.array(&shape, positions)?)])
}

/// The first of `n` positions that none beats, or the last.
fn best(n: usize, last: bool, beats: impl Fn(usize, usize) -> bool) -> usize {
    let mut found = 0;
    for candidate in 1..n {
        if beats(candidate, found) || (last && !beats(found, candidate)) {
            found = candidate;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, counted, floats, ints, node};

    #[test]
    fn sums_over_axes_with_and_without_them() {
        let x = counted(&[2, 3]);
        assert_eq!(node("ReduceSum").run(&[x.clone(), ints(&[1], &[1])]), floats(&[2, 1], &[3.0, 12.0]));
        let found = node("ReduceSum").int("keepdims", 0).run(&[x.clone(), ints(&[1], &[-2])]);
        assert_eq!(found, floats(&[3], &[3.0, 5.0, 7.0]));
        assert_eq!(node("ReduceSum").int("keepdims", 0).run(std::slice::from_ref(&x)), floats(&[], &[15.0]));
        assert_eq!(node("ReduceSum").int("noop_with_empty_axes", 1).run(std::slice::from_ref(&x)), x);
        assert_eq!(node("ReduceMean").run(&[x.clone(), ints(&[2], &[0, 1])]), floats(&[1, 1], &[2.5]));
        assert_eq!(node("ReduceL2").run(&[floats(&[2], &[3.0, -4.0])]), floats(&[1], &[5.0]));
        assert_eq!(node("ReduceL1").run(&[ints(&[2], &[3, -4])]), ints(&[1], &[7]));
        assert_eq!(node("ReduceProd").run(&[ints(&[3], &[3, -4, 2])]), ints(&[1], &[-24]));
        assert!(node("ReduceSum").fail(&[x, ints(&[1], &[2])]).contains("axis 2"));
    }

    #[test]
    fn extremes_of_nothing_and_of_nan() {
        let empty = floats(&[2, 0], &[]);
        let axes = ints(&[1], &[1]);
        let found = node("ReduceMax").run(&[empty.clone(), axes.clone()]);
        assert_eq!(found, floats(&[2, 1], &[f64::NEG_INFINITY; 2]));
        assert_eq!(node("ReduceSum").run(&[empty, axes]), floats(&[2, 1], &[0.0; 2]));
        let nan = node("ReduceMax").run(&[floats(&[2], &[f64::NAN, 1.0])]);
        assert!(nan.as_float().unwrap()[[0]].is_nan());
    }

    #[test]
    fn log_of_large_exponentials() {
        let found = node("ReduceLogSumExp").run(&[floats(&[2], &[1000.0, 1000.0])]);
        assert_close("large", &found, &floats(&[1], &[1000.0 + std::f64::consts::LN_2]), 1e-12);
        let infinite = [f64::INFINITY, 0.0];
        assert_eq!(
            node("ReduceLogSumExp").int("keepdims", 0).run(&[floats(&[2], &infinite)]),
            floats(&[], &[f64::INFINITY])
        );
    }

    #[test]
    fn ties_go_to_the_first_unless_the_last_is_asked_for() {
        let x = floats(&[2, 3], &[1.0, 5.0, 5.0, 2.0, 2.0, 0.0]);
        assert_eq!(node("ArgMax").int("axis", 1).run(std::slice::from_ref(&x)), ints(&[2, 1], &[1, 0]));
        let found = node("ArgMax").int("axis", -1).int("select_last_index", 1).int("keepdims", 0);
        assert_eq!(found.run(std::slice::from_ref(&x)), ints(&[2], &[2, 1]));
        assert_eq!(node("ArgMin").run(&[x]), ints(&[1, 3], &[0, 1, 1]));
        assert_eq!(node("ArgMin").run(&[floats(&[3], &[1.0, f64::NAN, 0.0])]), ints(&[1], &[1]));
    }
}
