//! Convolution and its transpose over any number of spatial axes, as matrix products of unrolled windows.

use ndarray::{Array2, ArrayD, ArrayView2};
use pellucid_graph::window::Window;

use crate::Array;
use crate::call::{Call, Operator, Outcome, advance, flat, signed};
use crate::error::Problem;
use crate::ops::window::{Windows, dims};

pub(crate) const OPERATORS: &[(&str, Operator)] =
    &[("Conv", convolution), ("ConvTranspose", transposed_convolution)];

/// Numbers of unrolled windows held at once, so that a large image does not need the whole matrix in memory.
const UNROLLED: usize = 1 << 22;

/// Sizes of `x [n, c, …]`, `w` and the groups, checked against each other.
struct Sizes {
    batch: usize,
    channels: usize,
    groups: usize,
    /// Elements of one channel of `x`.
    plane: usize,
    /// Elements of the kernel.
    kernel: usize,
}

fn sizes(call: &Call<'_>, x: &ArrayD<f64>, w: &ArrayD<f64>) -> Result<Sizes, Problem> {
    let (shape, kernel) = (x.shape(), w.shape());
    if shape.len() < 3 || kernel.len() != shape.len() {
        return Err(format!(
            "x has shape {shape:?} and w {kernel:?}, the same number of axes and at least 3 were expected"
        )
        .into());
    }
    let group = call.node.int("group", 1);
    let groups = usize::try_from(group).ok().filter(|groups| *groups > 0);
    let groups =
        groups.ok_or_else(|| format!("attribute group is {group}, a positive number was expected"))?;
    Ok(Sizes {
        batch: shape[0],
        channels: shape[1],
        groups,
        plane: shape[2..].iter().product(),
        kernel: kernel[2..].iter().product(),
    })
}

fn spatial(shape: &[usize]) -> Vec<i64> {
    shape[2..].iter().map(|size| signed(*size)).collect()
}

/// One number an output channel, zeros where the node has no bias.
fn bias(call: &Call<'_>, channels: usize) -> Result<Vec<f64>, Problem> {
    match call.optional_float(2)? {
        Some(bias) if bias.shape() == [channels] => Ok(flat(bias).to_vec()),
        Some(bias) => Err(format!("the bias has shape {:?}, [{channels}] was expected", bias.shape()).into()),
        None => Ok(vec![0.0; channels]),
    }
}

/// For every element of the kernel (rows) the input position at each output of the range (columns).
fn positions(windows: &Windows, first: &mut [usize], count: usize) -> Vec<Vec<Option<usize>>> {
    let kernel: usize = windows.kernel.iter().product();
    let mut rows = vec![Vec::with_capacity(count); kernel];
    for _ in 0..count {
        let mut element = vec![0; windows.kernel.len()];
        for row in &mut rows {
            row.push(windows.position(first, &element));
            advance(&mut element, &windows.kernel);
        }
        advance(first, &windows.output);
    }
    rows
}

/// `y[n, m, o] = b[m] + Σ w[m, c, k] · x[n, c, position(o, k)]`, `c` over the channels of `m`'s group.
fn convolution(call: &Call<'_>) -> Outcome {
    let (x, w) = (call.float(0)?, call.float(1)?);
    let Sizes { batch, channels, groups, plane, kernel } = sizes(call, x, w)?;
    let (maps, taken) = (w.shape()[0], w.shape()[1]);
    if taken.checked_mul(groups) != Some(channels) || maps % groups != 0 {
        return Err(format!(
            "w has shape {:?}, which does not fit {channels} channels in {groups} groups",
            w.shape()
        )
        .into());
    }
    let windows = Windows::new(Window::of_conv(call.node, &dims(&x.shape()[2..]), &spatial(w.shape())))?;
    let mut shape = vec![batch, maps];
    shape.extend(&windows.output);
    let mut y = call.limits.filled(&shape, 0.0)?;
    let outputs: usize = windows.output.iter().product();
    let (rows, share) = (taken * kernel, maps / groups);
    let bias = bias(call, maps)?;
    let chunk = (UNROLLED / rows.max(1)).max(1);
    let mut first = vec![0; windows.output.len()];
    let y_values = y.as_slice_mut().ok_or("the output is not in row-major order")?;
    for start in (0..outputs).step_by(chunk) {
        let count = chunk.min(outputs - start);
        let positions = positions(&windows, &mut first, count);
        for n in 0..batch {
            for group in 0..groups {
                let mut unrolled = Array2::zeros((rows, count));
                for (row, mut target) in unrolled.outer_iter_mut().enumerate() {
                    let channel = n * channels + group * taken + row / kernel;
                    let source = &flat(x)[channel * plane..(channel + 1) * plane];
                    for (value, place) in target.iter_mut().zip(&positions[row % kernel]) {
                        *value = place.map_or(0.0, |place| source[place]);
                    }
                }
                let weights = &flat(w)[group * share * rows..(group + 1) * share * rows];
                let product = ArrayView2::from_shape((share, rows), weights)?.dot(&unrolled);
                for (m, row) in product.outer_iter().enumerate() {
                    let map = group * share + m;
                    let target = &mut y_values[(n * maps + map) * outputs + start..][..count];
                    for (value, sum) in target.iter_mut().zip(row) {
                        *value = sum + bias[map];
                    }
                }
            }
        }
    }
    Ok(vec![Array::Float(y)])
}

/// `y[n, m, position(i, k)] += w[c, m, k] · x[n, c, i]`, plus `b[m]`; `m` over the maps of `c`'s group.
fn transposed_convolution(call: &Call<'_>) -> Outcome {
    let (x, w) = (call.float(0)?, call.float(1)?);
    let Sizes { batch, channels, groups, plane, kernel } = sizes(call, x, w)?;
    let share = w.shape()[1];
    if w.shape()[0] != channels || channels % groups != 0 {
        return Err(format!(
            "w has shape {:?}, which does not fit {channels} channels in {groups} groups",
            w.shape()
        )
        .into());
    }
    let maps = share.checked_mul(groups).ok_or("the number of output channels overflows")?;
    let forward =
        Windows::new(Window::of_conv_transpose(call.node, &dims(&x.shape()[2..]), &spatial(w.shape())))?;
    let mut shape = vec![batch, maps];
    shape.extend(&forward.output);
    let mut y = call.limits.filled(&shape, 0.0)?;
    let outputs: usize = forward.output.iter().product();
    let (rows, taken) = (share * kernel, channels / groups);
    let bias = bias(call, maps)?;
    let chunk = (UNROLLED / rows.max(1)).max(1);
    let windows = forward.transposed();
    let mut first = vec![0; windows.output.len()];
    let y_values = y.as_slice_mut().ok_or("the output is not in row-major order")?;
    for (index, value) in y_values.iter_mut().enumerate() {
        *value = bias[index / outputs % maps];
    }
    for start in (0..plane).step_by(chunk) {
        let count = chunk.min(plane - start);
        let positions = positions(&windows, &mut first, count);
        for n in 0..batch {
            for group in 0..groups {
                let weights = &flat(w)[group * taken * rows..(group + 1) * taken * rows];
                let signals = &flat(x)[(n * channels + group * taken) * plane..][..taken * plane];
                let signals = ArrayView2::from_shape((taken, plane), signals)?;
                let signals = signals.slice(ndarray::s![.., start..start + count]);
                let product = ArrayView2::from_shape((taken, rows), weights)?.t().dot(&signals);
                for (row, sums) in product.outer_iter().enumerate() {
                    let map = n * maps + group * share + row / kernel;
                    let target = &mut y_values[map * outputs..(map + 1) * outputs];
                    for (sum, place) in sums.iter().zip(&positions[row % kernel]) {
                        if let Some(place) = place {
                            target[*place] += sum;
                        }
                    }
                }
            }
        }
    }
    Ok(vec![Array::Float(y)])
}

#[cfg(test)]
mod tests {
    use crate::testing::{counted, floats, node};

    #[test]
    fn windows_move_by_stride_over_uneven_padding() {
        // x = 0 0 1 2 3 4 (two zeros before, none after), kernel [1, 10], stride 2.
        let x = floats(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
        let w = floats(&[1, 1, 2], &[1.0, 10.0]);
        let found = node("Conv").ints("strides", &[2]).ints("pads", &[2, 0]).run(&[x.clone(), w.clone()]);
        assert_eq!(found, floats(&[1, 1, 3], &[0.0, 21.0, 43.0]));
        let found = node("Conv").ints("dilations", &[2]).run(&[x, w, floats(&[1], &[0.5])]);
        assert_eq!(found, floats(&[1, 1, 2], &[31.5, 42.5]));
    }

    #[test]
    fn groups_see_their_own_channels() {
        let x = floats(&[1, 4, 1], &[1.0, 2.0, 3.0, 4.0]);
        let w = floats(&[2, 2, 1], &[1.0, 10.0, 1.0, 10.0]);
        let found = node("Conv").int("group", 2).run(&[x.clone(), w]);
        assert_eq!(found, floats(&[1, 2, 1], &[21.0, 43.0]));
        let depthwise =
            node("Conv").int("group", 4).run(&[x.clone(), floats(&[4, 1, 1], &[1.0, 2.0, 3.0, 4.0])]);
        assert_eq!(depthwise, floats(&[1, 4, 1], &[1.0, 4.0, 9.0, 16.0]));
        let error = node("Conv").int("group", 3).fail(&[x, floats(&[3, 1, 1], &[0.0; 3])]);
        assert!(error.starts_with("Conv node"), "{error}");
    }

    #[test]
    fn two_and_three_axes_agree_with_sums_by_hand() {
        let ones = floats(&[1, 1, 2, 2], &[1.0; 4]);
        let found = node("Conv").run(&[counted(&[1, 1, 3, 3]), ones]);
        assert_eq!(found, floats(&[1, 1, 2, 2], &[8.0, 12.0, 20.0, 24.0]));
        let ones = floats(&[1, 1, 2, 2, 2], &[1.0; 8]);
        let found = node("Conv").run(&[counted(&[1, 1, 2, 2, 2]), ones]);
        assert_eq!(found, floats(&[1, 1, 1, 1, 1], &[28.0]));
    }

    #[test]
    fn a_transposed_convolution_spreads_each_input() {
        let x = floats(&[1, 1, 2], &[1.0, 2.0]);
        let w = floats(&[1, 1, 3], &[1.0, 10.0, 100.0]);
        let found = node("ConvTranspose").ints("strides", &[2]).run(&[x.clone(), w.clone()]);
        assert_eq!(found, floats(&[1, 1, 5], &[1.0, 10.0, 102.0, 20.0, 200.0]));
        let cut = node("ConvTranspose")
            .ints("strides", &[2])
            .ints("pads", &[1, 1])
            .ints("output_padding", &[1])
            .run(&[x, w, floats(&[1], &[0.5])]);
        assert_eq!(cut, floats(&[1, 1, 4], &[10.5, 102.5, 20.5, 200.5]));
    }

    #[test]
    fn transposed_groups_write_their_own_maps() {
        let x = floats(&[1, 2, 1], &[2.0, 3.0]);
        let w = floats(&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0]);
        let found = node("ConvTranspose").int("group", 2).run(&[x, w]);
        assert_eq!(found, floats(&[1, 4, 1], &[2.0, 20.0, 300.0, 3000.0]));
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let x = counted(&[1, 1, 2]);
        let large = node("Conv").fail(&[x.clone(), counted(&[1, 1, 3])]);
        assert!(large.starts_with("Conv node \"tested\": a window of 3 does not fit"), "{large}");
        let bias = node("Conv").fail(&[x.clone(), counted(&[1, 1, 1]), counted(&[2])]);
        assert!(bias.contains("the bias has shape [2]"), "{bias}");
        let padded = node("Conv").ints("pads", &[1 << 31, 1 << 31]).fail(&[x, counted(&[1, 1, 1])]);
        assert!(padded.contains("past the limit"), "{padded}");
    }
}
