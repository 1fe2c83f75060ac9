//! Pooling of any spatial rank, with ceil mode, dilation and counted padding.

use pellucid_graph::window::{FixedAxis, Window};
use pellucid_graph::{Attribute, ElementType, Graph, Node, display_shape};

use super::convolution::{offsets, transpose_of};
use super::reduction::part_of;
use super::{Operator, pool, selects};
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::kind::{Kind, Role};
use crate::reference::{LEAST, chord};
use crate::step::{MADE_ELEMENTS, Signals, Step, countable};

/// Positions that a window of a maximum may have: each becomes nodes.
const MAXIMUM_POSITIONS: i64 = 1 << 10;

const NORM: &str = "where a window holds zeros alone: 0";

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("AveragePool", pool, average_pool),
    Operator::new("GlobalAveragePool", pool, global_average_pool),
    Operator::new("GlobalLpPool", normed, global_norm).difference(global_norm_difference).convention(NORM),
    Operator::new("GlobalMaxPool", selects, global_max_pool)
        .difference(global_max_difference)
        .convention("of tied maxima the first takes the signal, as PyTorch's max-pooling"),
    Operator::new("LpPool", normed, norm).difference(norm_difference).convention(NORM),
    Operator::new("MaxPool", selects, max_pool)
        .difference(max_pool_difference)
        .convention("of tied maxima the first in the window takes the signal, as PyTorch's max-pooling"),
];

fn normed(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Other)
}

fn windows(s: &Step<'_>) -> Result<Vec<FixedAxis>> {
    let shape = s.input_shape()?;
    let window = Window::of_pool(&s.node, &shape[2.min(shape.len())..]).map_err(CompileError::Model)?;
    window.fixed().ok_or_else(|| {
        CompileError::Model(format!(
            "the spatial sizes of {} must be known: give the sizes of the inputs",
            display_shape(&shape)
        ))
    })
}

/// The same windows, with the reach of the last one counted as padding.
fn covered(axes: &[FixedAxis]) -> Vec<FixedAxis> {
    axes.iter()
        .map(|axis| FixedAxis { pad_end: axis.pad_end + axis.extra_end, extra_end: 0, ..*axis })
        .collect()
}

/// [n, c, …] as [n·c, 1, …]: each channel is pooled by itself.
fn by_itself(v: Var<'_>, channels: i64, sizes: impl Iterator<Item = i64>) -> Var<'_> {
    let shape: Vec<i64> = [-1, channels].into_iter().chain(sizes).collect();
    v.reshape(&shape)
}

/// dx = Σ over windows of dy / count
fn average_pool<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let axes = windows(s)?;
    let padding_counts = s.node.int("count_include_pad", 0) != 0;
    countable(axes.iter().map(|axis| axis.output), MADE_ELEMENTS, "windows")?;
    let mut counts = vec![1.0];
    for axis in &axes {
        let along: Vec<f64> = (0..axis.output).map(|o| counted(axis, o, padding_counts)).collect();
        counts = counts.iter().flat_map(|count| along.iter().map(move |more| count * more)).collect();
    }
    let sizes = || axes.iter().map(|axis| axis.output);
    let known: Option<Vec<usize>> = sizes().map(|size| usize::try_from(size).ok()).collect();
    let mut shape = vec![1, 1];
    shape.extend(known.ok_or_else(|| CompileError::Model("a window has no size".to_owned()))?);
    let share = dy / dy.builder().values(dy.element(), shape, &counts);
    Ok(s.only_first(spread(share, x, &axes)?))
}

/// For every element of `x`, the sum of `v` over the windows that it is in.
fn spread<'g>(v: Var<'g>, x: Var<'g>, axes: &[FixedAxis]) -> Result<Var<'g>> {
    let elements = countable(axes.iter().map(|axis| axis.kernel), MADE_ELEMENTS, "positions of a window")?;
    let kernel: Vec<usize> =
        [1, 1].into_iter().chain(axes.iter().filter_map(|axis| usize::try_from(axis.kernel).ok())).collect();
    let ones = v.builder().values(v.element(), kernel, &vec![1.0; elements]);
    let by_channel = by_itself(v, 1, axes.iter().map(|axis| axis.output));
    transpose_of(by_channel, ones, &covered(axes), 1).reshape_like(x)
}

/// y = (Σ |x|ᵖ)^(1/p) over a window: dx = sign x · |x|^(p − 1) · Σ over windows of dy · y^(1 − p)
fn norm<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let p = s.node.int("p", 2);
    let sums = spread(share_of_norm(s, p)?, x, &windows(s)?)?;
    Ok(s.only_first(sums * signed_power(x, p)))
}

/// As `norm`, over all positions.
fn global_norm<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let p = s.node.int("p", 2);
    Ok(s.only_first(share_of_norm(s, p)? * signed_power(s.x(0)?, p)))
}

/// dy · y^(1 − p), where a norm of 0 counts as 1: its elements are zeros, and so is what they get.
fn share_of_norm<'g>(s: &Step<'g>, p: i64) -> Result<Var<'g>> {
    let (y, dy) = (s.y()?, s.dy()?);
    if p == 1 {
        return Ok(dy);
    }
    let safe = y + y.equals(y.scalar(0.0));
    Ok(if p == 2 { dy / safe } else { dy * safe.powf(1.0 - p as f64) })
}

/// sign x · |x|^(p − 1)
fn signed_power(x: Var<'_>, p: i64) -> Var<'_> {
    match p {
        1 => x.apply("Sign"),
        2 => x,
        _ => x.apply("Sign") * x.apply("Abs").powf(p as f64 - 1.0),
    }
}

/// How many elements the mean at output `o` divides by, along one axis. The reach past the padding never counts.
fn counted(axis: &FixedAxis, o: i64, padding_counts: bool) -> f64 {
    let (low, high) =
        if padding_counts { (-axis.pad_begin, axis.input + axis.pad_end) } else { (0, axis.input) };
    let start = o * axis.stride - axis.pad_begin;
    // How many k from 0 have start + k · dilation < limit.
    let before = |limit: i64| {
        let room = limit - start + axis.dilation - 1;
        room.div_euclid(axis.dilation).clamp(0, axis.kernel)
    };
    (before(high) - before(low)).max(1) as f64
}

/// The elements of each window stand along a new axis, their first maximum is marked, and the marks times dy go back
/// through the transpose of the convolution that would pick each element.
fn max_pool<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let axes = maximum_windows(s)?;
    let elements = window_elements(x, &axes);
    let marks = first_maximum(elements, 2, offsets(&axes).len())?.cast(dy.element());
    Ok(s.only_first(put_back(s, marks * dy.unsqueeze(&[2]), &axes)?))
}

/// Δy of each window goes to where the greater of y and y₀ stands, which by itself differs at least as much.
fn max_pool_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (s.x(0)?, s.y()?, s.dy()?);
    let axes = maximum_windows(s)?;
    let elements = [x, s.reference(x)].map(|x| window_elements(x, &axes));
    let outputs = [y, s.reference(y)].map(|y| y.cast(elements[0].element()).unsqueeze(&[2]));
    let marked = marked_difference(elements, outputs, offsets(&axes).len())?.cast(dy.element());
    Ok(s.only_first(put_back(s, marked * dy.unsqueeze(&[2]), &axes)?))
}

/// Along axis 2, of `size` elements: Δy / Δx at the element that is the greater of the two maxima, 0 elsewhere. Of several
/// it is that which is the greatest on the other side, so that a baseline of one number everywhere gives the rest of a
/// window nothing; then the first.
fn marked_difference<'g>(elements: [Var<'g>; 2], outputs: [Var<'g>; 2], size: usize) -> Result<Var<'g>> {
    let [x, x0] = elements;
    let [y, y0] = outputs;
    let own = y.builder().op("GreaterOrEqual", &[y, y0], &[]);
    let greatest = x.builder().op("Equal", &[own.choose(x, x0), own.choose(y, y0)], &[]);
    let other = greatest.choose(own.choose(x0, x), x.scalar(f64::from(f32::MIN)));
    let marks = first_maximum(other, 2, size)?.cast(x.element());
    let whole = (marks * (x - x0)).sum(&[2], Keep::Axes);
    Ok(marks * part_of(y - y0, whole))
}

/// The windows of a maximum, the indices unread.
fn maximum_windows(s: &Step<'_>) -> Result<Vec<FixedAxis>> {
    if s.signal(1).is_some() {
        return Err(CompileError::Model("the indices carry no signal".to_owned()));
    }
    let axes = covered(&windows(s)?);
    countable(axes.iter().map(|axis| axis.kernel), MAXIMUM_POSITIONS, "positions of a maximum's window")?;
    Ok(axes)
}

/// [n, c, …] as [n, c, positions of a window, …].
fn window_elements<'g>(x: Var<'g>, axes: &[FixedAxis]) -> Var<'g> {
    let rank = axes.len();
    let mut before = vec![0; rank + 2];
    let mut after = vec![0; rank + 2];
    for (position, axis) in axes.iter().enumerate() {
        before[position + 2] = axis.pad_begin;
        after[position + 2] = axis.pad_end;
    }
    // Quantised numbers are compared as floats, which hold them exactly.
    let x = if x.element().is_float() { x } else { x.cast(ElementType::F32) };
    // The lowest number of a float32: padding never wins, and stays finite in every engine.
    let padded = x.pad(&before, &after, f64::from(f32::MIN));
    let mut elements = Vec::new();
    for offset in offsets(axes) {
        let mut seen = padded;
        for (position, (axis, k)) in axes.iter().zip(offset).enumerate() {
            let start = k * axis.dilation;
            seen = seen.slice(position + 2, start, start + axis.stride * (axis.output - 1) + 1, axis.stride);
        }
        elements.push(seen.unsqueeze(&[2]));
    }
    x.builder().concat(&elements, 2)
}

/// A signal at every position of every window, [n, c, positions, …], summed to the input's elements.
fn put_back<'g>(s: &Step<'g>, signal: Var<'g>, axes: &[FixedAxis]) -> Result<Var<'g>> {
    let positions = offsets(axes).len();
    let shape: Vec<i64> =
        [-1, signed(positions)].into_iter().chain(axes.iter().map(|axis| axis.output)).collect();
    let picks = one_hot_kernels(s, axes, positions)?;
    transpose_of(signal.reshape(&shape), picks, axes, 1).reshape_like(s.x(0)?)
}

/// Truth of "is the first maximum along `axis`", for an axis of `size` elements.
fn first_maximum(v: Var<'_>, axis: usize, size: usize) -> Result<Var<'_>> {
    let builder = v.builder();
    let first = builder.op(
        "ArgMax",
        &[v],
        &[("axis", Attribute::Int(signed(axis))), ("keepdims", Attribute::Int(1))],
    );
    let mut shape = vec![1; v.rank()?];
    shape[axis] = signed(size);
    let numbers: Vec<i64> = (0..signed(size)).collect();
    Ok(builder.op("Equal", &[first, builder.integers(&numbers).reshape(&shape)], &[]))
}

/// [k, 1, kernel…]: the k-th kernel is 1 at the k-th position and 0 elsewhere.
fn one_hot_kernels<'g>(s: &Step<'g>, axes: &[FixedAxis], positions: usize) -> Result<Var<'g>> {
    let mut weights = vec![0.0; positions * positions];
    for position in 0..positions {
        weights[position * positions + position] = 1.0;
    }
    let shape: Vec<usize> = [positions, 1]
        .into_iter()
        .chain(axes.iter().filter_map(|axis| usize::try_from(axis.kernel).ok()))
        .collect();
    Ok(s.builder().values(s.dy()?.element(), shape, &weights))
}

fn spatial(x: Var<'_>) -> Result<Vec<usize>> {
    Ok((2..x.rank()?).collect())
}

/// dx = dy / positions
fn global_average_pool<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let mut positions = 1.0;
    for axis in spatial(x)? {
        positions *= signed(x.size(axis)?.max(1)) as f64;
    }
    Ok(s.only_first(dy / positions))
}

/// dx = dy at the first maximum
fn global_max_pool<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let sizes = spatial(x)?.into_iter().map(|axis| x.size(axis).map(signed)).collect::<Result<Vec<_>>>()?;
    let positions = countable(sizes, MADE_ELEMENTS, "positions of a global maximum")?;
    let channels = signed(x.size(1)?);
    let flat = x.reshape(&[-1, channels, signed(positions)]);
    let marks = first_maximum(flat, 2, positions)?.cast(dy.element());
    let signal = marks * dy.reshape(&[-1, channels, 1]);
    Ok(s.only_first(signal.reshape_like(x)?))
}

fn global_max_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (s.x(0)?, s.y()?, s.dy()?);
    let sizes = spatial(x)?.into_iter().map(|axis| x.size(axis).map(signed)).collect::<Result<Vec<_>>>()?;
    let positions = countable(sizes, MADE_ELEMENTS, "positions of a global maximum")?;
    let channels = signed(x.size(1)?);
    let elements = [x, s.reference(x)].map(|x| x.reshape(&[-1, channels, signed(positions)]));
    let outputs = [y, s.reference(y)].map(|y| y.reshape(&[-1, channels, 1]));
    let marked = marked_difference(elements, outputs, positions)? * dy.reshape(&[-1, channels, 1]);
    Ok(s.only_first(marked.reshape_like(x)?))
}

/// y = S^(1/p), S = Σ |x|ᵖ over a window: Δy = Δy / ΔS · Σ Δx · Δ|x|ᵖ / Δx
fn norm_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let sums = spread(difference_of_root(s)?, s.x(0)?, &windows(s)?)?;
    Ok(s.only_first(sums * difference_of_power(s)?))
}

fn global_norm_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(s.only_first(difference_of_root(s)? * difference_of_power(s)?))
}

/// dy · Δy / Δ(yᵖ)
fn difference_of_root<'g>(s: &Step<'g>) -> Result<Var<'g>> {
    let (y, dy, p) = (s.y()?, s.dy()?, s.node.int("p", 2));
    let y0 = s.reference(y);
    Ok(match p {
        1 => dy,
        2 => dy / (y + y0 + LEAST),
        _ => {
            let p = p as f64;
            let powers = [y, y0].map(|y| y.powf(p));
            let safe = y + y.equals(y.scalar(0.0));
            dy * chord(powers, [y, y0], safe.powf(1.0 - p) * (1.0 / p))
        }
    })
}

/// Δ|x|ᵖ / Δx
fn difference_of_power<'g>(s: &Step<'g>) -> Result<Var<'g>> {
    let (x, p) = (s.x(0)?, s.node.int("p", 2));
    let x0 = s.reference(x);
    Ok(match p {
        1 => (x + x0) / (x.apply("Abs") + x0.apply("Abs") + LEAST),
        2 => x + x0,
        _ => {
            let powers = [x, x0].map(|x| x.apply("Abs").powf(p as f64));
            chord([x, x0], powers, signed_power(x, p) * p as f64)
        }
    })
}
