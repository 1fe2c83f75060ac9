//! Pooling: the largest, the mean or the norm under each window, and over whole planes.

use ndarray::ArrayD;
use pellucid_graph::window::Window;

use crate::Array;
use crate::call::{Call, Operator, Outcome, advance, flat, signed, wrong_kind};
use crate::error::Problem;
use crate::ops::binary::max;
use crate::ops::reduce;
use crate::ops::window::{Windows, dims};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("AveragePool", average),
    ("GlobalAveragePool", global_average),
    ("GlobalLpPool", global_norm),
    ("GlobalMaxPool", global_max),
    ("LpPool", norm),
    ("MaxPool", maximum),
];

/// The windows of a pooling node over `shape`, and the shape of its output.
fn windows(call: &Call<'_>, shape: &[usize]) -> Result<(Windows, Vec<usize>), Problem> {
    if shape.len() < 3 {
        return Err(format!("x has shape {shape:?}, at least 3 axes were expected").into());
    }
    let windows = Windows::new(Window::of_pool(call.node, &dims(&shape[2..])))?;
    let mut output = shape[..2].to_vec();
    output.extend(&windows.output);
    call.limits.allow(&output)?;
    Ok((windows, output))
}

/// `function` of every plane of `x` and every window: the plane's elements, the positions covered, the output index.
fn pool<T: Copy, U: Clone>(
    call: &Call<'_>,
    x: &ArrayD<T>,
    start: U,
    function: impl Fn(&Windows, &[T], &[usize], &[usize]) -> U,
) -> Result<ArrayD<U>, Problem> {
    let (windows, shape) = windows(call, x.shape())?;
    let plane: usize = x.shape()[2..].iter().product();
    let planes = shape[0] * shape[1];
    let outputs: usize = windows.output.iter().product();
    let mut values = vec![start; planes * outputs];
    let mut output = vec![0; windows.output.len()];
    for place in 0..outputs {
        let covered = windows.covered(&output);
        for p in 0..planes {
            let elements = &flat(x)[p * plane..(p + 1) * plane];
            values[p * outputs + place] = function(&windows, elements, &covered, &output);
        }
        advance(&mut output, &windows.output);
    }
    call.limits.array(&shape, values)
}

/// The covered position of the largest element: the first of several, and the first NaN before all.
fn largest<T: Copy>(elements: &[T], covered: &[usize], beats: impl Fn(T, T) -> bool) -> Option<usize> {
    let mut places = covered.iter().copied();
    let first = places.next()?;
    Some(places.fold(first, |best, place| if beats(elements[place], elements[best]) { place } else { best }))
}

/// A window over nothing but padding, which dilation can make, gives −∞ (the least integer); it has no index.
fn maximum(call: &Call<'_>) -> Outcome {
    let beats = |new: f64, old: f64| new > old || (new.is_nan() && !old.is_nan());
    let (y, places) = match call.input(0)? {
        Array::Float(x) => (
            Array::Float(pool(call, x, 0.0, |_, elements, covered, _| {
                largest(elements, covered, beats).map_or(f64::NEG_INFINITY, |place| elements[place])
            })?),
            if call.node.outputs.len() > 1 {
                Some(pool(call, x, None, |_, elements, covered, _| largest(elements, covered, beats))?)
            } else {
                None
            },
        ),
        Array::Int(x) => {
            let beats = |new: i64, old: i64| new > old;
            (
                Array::Int(pool(call, x, 0, |_, elements, covered, _| {
                    largest(elements, covered, beats).map_or(i64::MIN, |place| elements[place])
                })?),
                Some(pool(call, x, None, |_, elements, covered, _| largest(elements, covered, beats))?),
            )
        }
        other @ Array::Bool(_) => return Err(wrong_kind(0, other, "float or int")),
    };
    let mut outputs = vec![y];
    if let (Some(places), true) = (places, call.node.outputs.len() > 1) {
        outputs.push(Array::Int(indices(call, &places)?));
    }
    Ok(outputs)
}

/// Positions in whole `x`, of places in their planes; with `storage_order` 1 planes are counted column by column.
fn indices(call: &Call<'_>, places: &ArrayD<Option<usize>>) -> Result<ArrayD<i64>, Problem> {
    let spatial = &call.input(0)?.shape()[2..];
    let plane: usize = spatial.iter().product();
    let outputs: usize = places.shape()[2..].iter().product();
    let by_column = call.node.int("storage_order", 0) != 0;
    let mut indices = Vec::with_capacity(places.len());
    for (position, place) in places.iter().enumerate() {
        let place = place.ok_or("a window covers padding alone and has no index")?;
        let place = if by_column { column_major(place, spatial) } else { place };
        indices.push(signed(position / outputs * plane + place));
    }
    call.limits.array(places.shape(), indices)
}

/// A row-major position of `shape`, counted with the first axis moving fastest.
fn column_major(mut place: usize, shape: &[usize]) -> usize {
    let mut stride: usize = shape.iter().product();
    let mut result = 0;
    for size in shape.iter().rev() {
        stride /= size;
        result += place % size * stride;
        place /= size;
    }
    result
}

/// The sum over what a window covers, divided by how many those are; with `count_include_pad`, padding counts too.
fn average(call: &Call<'_>) -> Outcome {
    let padded = call.node.int("count_include_pad", 0) != 0;
    let y = pool(call, call.float(0)?, 0.0, |windows, elements, covered, output| {
        let count = if padded { windows.counted(output) } else { covered.len() as f64 };
        let sum: f64 = covered.iter().map(|place| elements[*place]).sum();
        if covered.is_empty() { 0.0 } else { sum / count }
    })?;
    Ok(vec![Array::Float(y)])
}

/// The exponent of a norm.
fn exponent(call: &Call<'_>) -> Result<f64, Problem> {
    match call.node.int("p", 2) {
        p if p > 0 => Ok(p as f64),
        p => Err(format!("attribute p is {p}, a positive number was expected").into()),
    }
}

/// `(Σ |x|ᵖ)^(1/p)`.
fn norm(call: &Call<'_>) -> Outcome {
    let p = exponent(call)?;
    let y = pool(call, call.float(0)?, 0.0, |_, elements, covered, _| {
        covered.iter().map(|place| elements[*place].abs().powf(p)).sum::<f64>().powf(p.recip())
    })?;
    Ok(vec![Array::Float(y)])
}

/// Folds every spatial axis of `x`, which stay with size 1.
fn global(
    call: &Call<'_>,
    x: &ArrayD<f64>,
    start: f64,
    function: fn(f64, f64) -> f64,
) -> Result<ArrayD<f64>, Problem> {
    if call.input(0)?.rank() < 2 {
        return Err(format!("x has shape {:?}, at least 2 axes were expected", x.shape()).into());
    }
    let axes: Vec<usize> = (2..x.ndim()).collect();
    Ok(reduce::fold(x, &axes, true, start, function))
}

fn global_average(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    let sum = global(call, x, 0.0, |a, b| a + b)?;
    let count: usize = x.shape()[2..].iter().product();
    Ok(vec![Array::Float(sum / count as f64)])
}

fn global_max(call: &Call<'_>) -> Outcome {
    Ok(vec![Array::Float(global(call, call.float(0)?, f64::NEG_INFINITY, max)?)])
}

fn global_norm(call: &Call<'_>) -> Outcome {
    let p = exponent(call)?;
    let powers = call.float(0)?.mapv(|x| x.abs().powf(p));
    let sum = global(call, &powers, 0.0, |a, b| a + b)?;
    Ok(vec![Array::Float(sum.mapv_into(|sum| sum.powf(p.recip())))])
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, counted, floats, ints, node};

    #[test]
    fn ties_go_to_the_first_in_window_order_and_nan_wins() {
        let x = floats(&[1, 2, 2, 2], &[1.0, 5.0, 5.0, 0.0, 2.0, f64::NAN, 9.0, f64::NAN]);
        let found = node("MaxPool").ints("kernel_shape", &[2, 2]).outputs(2).run_all(&[x]);
        assert_eq!(found[1], ints(&[1, 2, 1, 1], &[1, 5]));
        let y = found[0].as_float().unwrap();
        assert_close("numbers", &floats(&[1], &[y[[0, 0, 0, 0]]]), &floats(&[1], &[5.0]), 0.0);
        assert!(y[[0, 1, 0, 0]].is_nan());
    }

    #[test]
    fn indices_may_count_by_column() {
        let x = floats(&[1, 1, 2, 3], &[0.0, 9.0, 1.0, 2.0, 3.0, 4.0]);
        let pool = || node("MaxPool").ints("kernel_shape", &[2, 2]).outputs(2);
        assert_eq!(pool().run_all(std::slice::from_ref(&x))[1], ints(&[1, 1, 1, 2], &[1, 1]));
        assert_eq!(pool().int("storage_order", 1).run_all(&[x])[1], ints(&[1, 1, 1, 2], &[2, 2]));
    }

    #[test]
    fn padding_counts_only_when_asked_and_never_past_it() {
        // Windows of 3 by 2 over 1 2 3 4 with one zero on each side, rounding up.
        let x = floats(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
        let pool = || {
            node("AveragePool")
                .ints("kernel_shape", &[3])
                .ints("strides", &[2])
                .ints("pads", &[1, 1])
                .int("ceil_mode", 1)
        };
        let bare = pool().run(std::slice::from_ref(&x));
        assert_close("bare", &bare, &floats(&[1, 1, 3], &[1.5, 3.0, 4.0]), 1e-12);
        let padded = pool().int("count_include_pad", 1).run(&[x]);
        assert_close("padded", &padded, &floats(&[1, 1, 3], &[1.0, 3.0, 2.0]), 1e-12);
    }

    #[test]
    fn dilated_windows_skip() {
        let found =
            node("MaxPool").ints("kernel_shape", &[2]).ints("dilations", &[2]).run(&[counted(&[1, 1, 4])]);
        assert_eq!(found, floats(&[1, 1, 2], &[2.0, 3.0]));
        assert_eq!(
            node("MaxPool").ints("kernel_shape", &[2]).run(&[ints(&[1, 1, 2], &[-3, -4])]),
            ints(&[1, 1, 1], &[-3])
        );
    }

    #[test]
    fn norms_and_whole_planes() {
        let x = floats(&[1, 1, 2], &[3.0, -4.0]);
        assert_close(
            "lp",
            &node("LpPool").ints("kernel_shape", &[2]).run(std::slice::from_ref(&x)),
            &floats(&[1, 1, 1], &[5.0]),
            1e-12,
        );
        assert_close(
            "global lp",
            &node("GlobalLpPool").run(std::slice::from_ref(&x)),
            &floats(&[1, 1, 1], &[5.0]),
            1e-12,
        );
        assert_eq!(node("GlobalAveragePool").run(std::slice::from_ref(&x)), floats(&[1, 1, 1], &[-0.5]));
        assert_eq!(node("GlobalMaxPool").run(&[x]), floats(&[1, 1, 1], &[3.0]));
    }

    #[test]
    fn a_kernel_of_two_to_the_31_is_quick() {
        let x = counted(&[1, 1, 2, 2]);
        let size = (1 << 31) - 1;
        let pads = [size - 2; 4];
        let pool = node("AveragePool").ints("kernel_shape", &[size, size]).ints("pads", &pads);
        assert!(pool.ints("strides", &[size, size]).try_run(&[Some(x)]).is_ok());
    }
}
