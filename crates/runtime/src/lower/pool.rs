//! Pooling.

use pellucid_graph::{Attribute, ElementType, NewNode, ValueId, Window, WindowAxis};

use super::convolution::pads;
use super::rewrite::{Refusal, Rewrite, Step, known, never, node, whole};
use super::{Rule, Takes};

use Rule::{By, Same};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("AveragePool", By(average_pool)),
    ("GlobalAveragePool", Same(Takes::Floats, &[])),
    ("GlobalLpPool", By(global_lp_pool)),
    ("GlobalMaxPool", Same(Takes::Floats, &[])),
    ("LpPool", By(lp_pool)),
    ("MaxPool", By(max_pool)),
];

/// The node's windows over input 0.
fn windows(r: &Rewrite<'_>, x: ValueId) -> Step<Vec<WindowAxis>> {
    r.require(x, Takes::Floats)?;
    let spatial = r.shape(x)?.get(2..).unwrap_or_default().to_vec();
    Ok(Window::of_pool(r.node, &spatial).map_err(Refusal::Never)?.axes)
}

/// A pool over some axes, its geometry written out: rten does not read `SAME_LOWER`.
fn with_geometry(new: NewNode, axes: &[WindowAxis], pads: &[(i64, i64)], ceil: bool) -> NewNode {
    let list = |pick: fn(&WindowAxis) -> i64| Attribute::Ints(axes.iter().map(pick).collect());
    let pads = pads.iter().map(|pad| pad.0).chain(pads.iter().map(|pad| pad.1)).collect();
    new.with("kernel_shape", list(|axis| axis.kernel))
        .with("strides", list(|axis| axis.stride))
        .with("pads", Attribute::Ints(pads))
        .with("ceil_mode", Attribute::Int(i64::from(ceil)))
}

fn same(new: &NewNode, x: ValueId) -> NewNode {
    NewNode { inputs: vec![Some(x)], ..new.clone() }
}

/// Pools over one or two axes as they are; over three, rten lacking them, over the last two and then over depth:
/// maxima of maxima, means of means (windows and their padding are boxes, so counts multiply).
fn separable(
    r: &mut Rewrite<'_>,
    x: ValueId,
    axes: &[WindowAxis],
    pads: &[(i64, i64)],
    ceil: bool,
    new: &NewNode,
) -> Step<ValueId> {
    match axes.len() {
        1 | 2 => r.add(with_geometry(same(new, x), axes, pads, ceil)),
        3 => {
            let shape = r.sizes_but_first(x)?;
            let [channels, depth, height, width] = shape[..] else {
                return never(format!("{} axes, expected 5", shape.len() + 1));
            };
            let images = r.reshape(x, &[0, whole(channels * depth), whole(height), whole(width)])?;
            let y = r.add(with_geometry(same(new, images), &axes[1..], &pads[1..], ceil))?;
            let shape = r.sizes_but_first(y)?;
            let (height, width) = (shape[1], shape[2]);
            let columns = r.reshape(y, &[0, whole(channels), whole(depth), whole(height * width)])?;
            let unit = WindowAxis { kernel: 1, stride: 1, dilation: 1, ..axes[0].clone() };
            let deep = [axes[0].clone(), unit];
            let y = r.add(with_geometry(same(new, columns), &deep, &[pads[0], (0, 0)], ceil))?;
            let depth = r.sizes_but_first(y)?[1];
            r.reshape(y, &[0, whole(channels), whole(depth), whole(height), whole(width)])
        }
        count => never(format!("{count} spatial axes; 1 to 3 are computed")),
    }
}

/// rten has no dilation and no index output. What `ceil_mode` adds at the end is padding, which no maximum sees.
fn max_pool(r: &mut Rewrite<'_>) -> Step<()> {
    let given = r.x(0)?;
    // Quantised numbers have 8 bits: a float holds them exactly.
    let quantised = !r.element(given)?.is_float();
    let x = if quantised { r.cast(given, ElementType::F32)? } else { given };
    let axes = windows(r, x)?;
    if r.wants(1) {
        if quantised {
            return never("the indices of quantised maxima are not computed");
        }
        return max_pool_with_indices(r, x, &axes);
    }
    let y = maxima(r, x, &axes)?;
    let y = if quantised { r.cast(y, ElementType::I64)? } else { y };
    r.done(y)
}

fn maxima(r: &mut Rewrite<'_>, x: ValueId, axes: &[WindowAxis]) -> Step<ValueId> {
    if axes.iter().any(|axis| axis.dilation != 1) {
        return dilated(r, x, axes);
    }
    let mut pads = pads(axes)?;
    let mut ceil = r.node.int("ceil_mode", 0) != 0;
    if let Some(extra) = axes.iter().map(|axis| axis.extra_end).collect::<Option<Vec<i64>>>() {
        for (pad, extra) in pads.iter_mut().zip(extra) {
            pad.1 += extra;
        }
        ceil = false;
    }
    separable(r, x, axes, &pads, ceil, &node("MaxPool", &[x]))
}

/// The elements at offset `k` of every window along one spatial axis of an input padded for it.
fn offset(r: &mut Rewrite<'_>, x: ValueId, position: usize, axis: &WindowAxis, k: i64) -> Step<ValueId> {
    let count = whole(known(&axis.output)?);
    r.stride(x, position + 2, k * axis.dilation, count, axis.stride)
}

fn padded(r: &mut Rewrite<'_>, x: ValueId, axes: &[WindowAxis], value: f32) -> Step<ValueId> {
    let mut x = x;
    for (position, (axis, (begin, end))) in axes.iter().zip(pads(axes)?).enumerate() {
        let extra = axis
            .extra_end
            .ok_or_else(|| Refusal::Sizes(format!("the output depends on size {}", axis.input)))?;
        x = r.pad(x, position + 2, begin, end + extra, value)?;
    }
    Ok(x)
}

/// The maximum of strided slices, axis by axis.
fn dilated(r: &mut Rewrite<'_>, x: ValueId, axes: &[WindowAxis]) -> Step<ValueId> {
    let mut y = padded(r, x, axes, f32::NEG_INFINITY)?;
    for (position, axis) in axes.iter().enumerate() {
        let slices =
            (0..axis.kernel).map(|k| offset(r, y, position, axis, k)).collect::<Step<Vec<ValueId>>>()?;
        y = if let [slice] = slices[..] { slice } else { r.op("Max", &slices)? };
    }
    Ok(y)
}

/// Largest number of elements in a window whose maximum is searched one by one.
const LARGEST_WINDOW: i64 = 1024;

/// The first maximum of every window and its index in the input, found by going through the window's offsets.
fn max_pool_with_indices(r: &mut Rewrite<'_>, x: ValueId, axes: &[WindowAxis]) -> Step<()> {
    let volume: i64 = axes.iter().map(|axis| axis.kernel).product();
    if volume > LARGEST_WINDOW {
        return never(format!(
            "indices of windows of {volume} elements; at most {LARGEST_WINDOW} are computed"
        ));
    }
    let index = indices(r, x, axes)?;
    let values = padded(r, x, axes, f32::NEG_INFINITY)?;
    let index = padded_integers(r, index, axes)?;
    let mut best: Option<(ValueId, ValueId)> = None;
    for flat in 0..volume {
        let (mut value, mut place) = (values, index);
        let mut rest = flat;
        for (position, axis) in axes.iter().enumerate().rev() {
            value = offset(r, value, position, axis, rest % axis.kernel)?;
            place = offset(r, place, position, axis, rest % axis.kernel)?;
            rest /= axis.kernel;
        }
        best = Some(match best {
            None => (value, place),
            Some((top, at)) => {
                // A first maximum stays unless a later one is larger; padding gives way to any element.
                let zero = r.integer(0)?;
                let larger = r.op("Greater", &[value, top])?;
                let unset = r.op("Less", &[at, zero])?;
                let better = r.op("Or", &[larger, unset])?;
                let top = r.op("Where", &[better, value, top])?;
                (top, r.op("Where", &[better, place, at])?)
            }
        });
    }
    let Some((top, at)) = best else { return never("the window is empty") };
    r.done_at(1, at);
    r.done(top)
}

/// Flat positions of the input's elements, all of its axes counted.
fn indices(r: &mut Rewrite<'_>, x: ValueId, axes: &[WindowAxis]) -> Step<ValueId> {
    let shape = r.sizes(x)?;
    let count: usize = shape.iter().product();
    if i32::try_from(count).is_err() {
        return never(format!("indices up to {count} are outside rten's 32-bit integers"));
    }
    // With storage_order 1 the spatial axes count from the first to the last.
    let spatial: Vec<usize> = shape[2..].to_vec();
    let planes = whole(shape[..2].iter().product());
    let volume: i64 = whole(spatial.iter().product());
    let mut strides = vec![1i64; axes.len()];
    let order: Vec<usize> = if r.node.int("storage_order", 0) == 0 {
        (0..axes.len()).rev().collect()
    } else {
        (0..axes.len()).collect()
    };
    let mut step = 1;
    for axis in order {
        strides[axis] = step;
        step *= whole(spatial[axis]);
    }
    let mut numbers = Vec::with_capacity(count);
    for plane in 0..planes {
        for position in 0..volume {
            let (mut rest, mut flat) = (position, plane * volume);
            for axis in (0..axes.len()).rev() {
                flat += rest % whole(spatial[axis]) * strides[axis];
                rest /= whole(spatial[axis]);
            }
            numbers.push(flat);
        }
    }
    let tensor = pellucid_graph::Tensor::from_i64(shape, &numbers)
        .map_err(|error| Refusal::Never(error.to_string()))?;
    r.constant(tensor)
}

fn padded_integers(r: &mut Rewrite<'_>, x: ValueId, axes: &[WindowAxis]) -> Step<ValueId> {
    let rank = axes.len() + 2;
    let mut list = vec![0; 2 * rank];
    for (position, (axis, (begin, end))) in axes.iter().zip(pads(axes)?).enumerate() {
        list[position + 2] = begin;
        list[rank + position + 2] = end + axis.extra_end.unwrap_or(0);
    }
    let list = r.integers(&list)?;
    let value = r.integer(-1)?;
    r.op("Pad", &[x, list, value])
}

/// Means over windows; rten counts padding as ONNX does.
fn average_pool(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let axes = windows(r, x)?;
    if axes.iter().any(|axis| axis.dilation != 1) {
        return never("dilated windows of means are not computed");
    }
    let pads = pads(&axes)?;
    let ceil = r.node.int("ceil_mode", 0) != 0;
    let counted = r.node.int("count_include_pad", 0);
    let new = node("AveragePool", &[x]).with("count_include_pad", Attribute::Int(counted));
    let y = separable(r, x, &axes, &pads, ceil, &new)?;
    r.done(y)
}

/// Not in rten: `(Σ |x|^p)^(1/p)` over windows, the sum as a mean times the window's volume.
fn lp_pool(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let axes = windows(r, x)?;
    if axes.iter().any(|axis| axis.dilation != 1) {
        return never("dilated windows of norms are not computed");
    }
    let mut ends = pads(&axes)?;
    for (pad, axis) in ends.iter_mut().zip(&axes) {
        pad.1 += axis
            .extra_end
            .ok_or_else(|| Refusal::Sizes(format!("the output depends on size {}", axis.input)))?;
    }
    let volume: i64 = axes.iter().map(|axis| axis.kernel).product();
    let p = norm(r)?;
    let powers = power(r, x, p)?;
    let new = node("AveragePool", &[powers]).with("count_include_pad", Attribute::Int(1));
    let mean = separable(r, powers, &axes, &ends, false, &new)?;
    #[expect(clippy::cast_precision_loss, reason = "windows are far smaller than 2^24")]
    let volume = r.float(volume as f32)?;
    let sum = r.op("Mul", &[mean, volume])?;
    let y = root(r, sum, p)?;
    r.done(y)
}

fn norm(r: &Rewrite<'_>) -> Step<i16> {
    let p = r.node.int("p", 2);
    match i16::try_from(p) {
        Ok(p) if p >= 1 => Ok(p),
        _ => never(format!("p is {p}, expected a positive number")),
    }
}

/// `|x|^p`.
fn power(r: &mut Rewrite<'_>, x: ValueId, p: i16) -> Step<ValueId> {
    match p {
        1 => r.op("Abs", &[x]),
        2 => r.op("Mul", &[x, x]),
        p => {
            let size = r.op("Abs", &[x])?;
            let exponent = r.float(f32::from(p))?;
            r.op("Pow", &[size, exponent])
        }
    }
}

/// `x^(1/p)`.
fn root(r: &mut Rewrite<'_>, x: ValueId, p: i16) -> Step<ValueId> {
    match p {
        1 => Ok(x),
        2 => r.op("Sqrt", &[x]),
        p => {
            let exponent = r.float(1.0 / f32::from(p))?;
            r.op("Pow", &[x, exponent])
        }
    }
}

/// Not in rten: the same over everything.
fn global_lp_pool(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Takes::Floats)?;
    let axes: Vec<i64> = (2..whole(r.rank(x)?)).collect();
    let p = norm(r)?;
    let powers = power(r, x, p)?;
    let sum = r.reduce("ReduceSum", powers, &axes)?;
    let y = root(r, sum, p)?;
    r.done(y)
}
