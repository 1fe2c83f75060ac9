//! Running sums and largest elements.

use ndarray::{ArrayD, IxDyn};

use crate::array::Array;
use crate::call::{Call, Operator, Outcome, axis, flat, lanes, signed};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("CumSum", cumulative_sum), ("TopK", top_k)];

fn running<T: Copy>(
    x: &ArrayD<T>,
    axis: usize,
    flags: (bool, bool),
    zero: T,
    add: impl Fn(T, T) -> T,
) -> Result<ArrayD<T>, Problem> {
    let (exclusive, reverse) = flags;
    let (outer, size, inner) = lanes(x.shape(), axis);
    let elements = flat(x);
    let mut sums = elements.to_vec();
    for o in 0..outer {
        for i in 0..inner {
            let mut sum = zero;
            for step in 0..size {
                let k = if reverse { size - 1 - step } else { step };
                let at = (o * size + k) * inner + i;
                let next = add(sum, elements[at]);
                sums[at] = if exclusive { sum } else { next };
                sum = next;
            }
        }
    }
    Ok(ArrayD::from_shape_vec(IxDyn(x.shape()), sums)?)
}

fn cumulative_sum(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let along = call.scalar(1, call.int(1)?)?;
    let along = axis(along, array.rank())?;
    let flags = (call.node.int("exclusive", 0) != 0, call.node.int("reverse", 0) != 0);
    Ok(vec![match array {
        Array::Float(x) => running(x, along, flags, 0.0, |a, b| a + b)?.into(),
        Array::Int(x) => running(x, along, flags, 0, i64::wrapping_add)?.into(),
        Array::Bool(_) => return Err("truth values have no sum".into()),
    }])
}

/// Of equal elements the one of the lowest index comes first. NaN counts as larger than every number.
fn top_k(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let along = call.axis("axis", -1, array.rank())?;
    let k = call.list(1)?.and_then(|list| list.first().copied()).ok_or("input 1 is missing")?;
    let (outer, size, inner) = lanes(array.shape(), along);
    let k = usize::try_from(k)
        .ok()
        .filter(|k| *k <= size)
        .ok_or_else(|| Problem::from(format!("{k} elements were asked for, the axis has {size}")))?;
    let largest = call.node.int("largest", 1) != 0;
    let mut shape = array.shape().to_vec();
    shape[along] = k;
    let count = call.limits.allow(&shape)?;
    let mut order = vec![0usize; count];
    let rank_of = |a: usize, b: usize| match array {
        // Both zeros are equal, and every NaN is larger than every number, whatever its sign.
        Array::Float(x) => {
            let (a, b) = (flat(x)[a], flat(x)[b]);
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        Array::Int(x) => flat(x)[a].cmp(&flat(x)[b]),
        Array::Bool(x) => flat(x)[a].cmp(&flat(x)[b]),
    };
    let mut indices = vec![0i64; count];
    for o in 0..outer {
        for i in 0..inner {
            let at = |position: usize| (o * size + position) * inner + i;
            let mut positions: Vec<usize> = (0..size).collect();
            positions.sort_by(|a, b| {
                let order = rank_of(at(*a), at(*b));
                if largest { order.reverse() } else { order }.then(a.cmp(b))
            });
            for (place, position) in positions.iter().take(k).enumerate() {
                order[(o * k + place) * inner + i] = at(*position);
                indices[(o * k + place) * inner + i] = signed(*position);
            }
        }
    }
    macro_rules! picked {
        ($x:expr) => {{
            let elements = flat($x);
            call.limits.array(&shape, order.iter().map(|at| elements[*at]).collect())?.into()
        }};
    }
    let values = match array {
        Array::Float(x) => picked!(x),
        Array::Int(x) => picked!(x),
        Array::Bool(x) => picked!(x),
    };
    Ok(vec![values, call.limits.array(&shape, indices)?.into()])
}

#[cfg(test)]
mod tests {
    use crate::testing::{floats, ints, node};

    #[test]
    fn sums_run_either_way() {
        let x = floats(&[4], &[1.0, 2.0, 3.0, 4.0]);
        let zero = ints(&[], &[0]);
        assert_eq!(node("CumSum").run(&[x.clone(), zero.clone()]), floats(&[4], &[1.0, 3.0, 6.0, 10.0]));
        let found = node("CumSum").int("reverse", 1).int("exclusive", 1).run(&[x, zero]);
        assert_eq!(found, floats(&[4], &[9.0, 7.0, 4.0, 0.0]));
    }

    #[test]
    fn the_lowest_index_of_ties_comes_first() {
        let x = floats(&[4], &[1.0, 3.0, 3.0, 2.0]);
        let found = node("TopK").outputs(2).run_all(&[x, ints(&[1], &[2])]);
        assert_eq!(found, [floats(&[2], &[3.0, 3.0]), ints(&[2], &[1, 2])]);
        let x = floats(&[4], &[-0.0, 0.0, -f64::NAN, -1.0]);
        let largest = node("TopK").outputs(2).run_all(&[x.clone(), ints(&[1], &[3])]);
        assert_eq!(largest[1], ints(&[3], &[2, 0, 1]));
        let least = node("TopK").int("largest", 0).outputs(2).run_all(&[x.clone(), ints(&[1], &[2])]);
        assert_eq!(least[1], ints(&[2], &[3, 0]));
        for count in [5, -1] {
            let error = node("TopK").outputs(2).fail(&[x.clone(), ints(&[1], &[count])]);
            assert!(error.starts_with("TopK node"), "{error}");
        }
    }
}
