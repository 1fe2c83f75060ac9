//! Convolutions of any spatial rank, with groups, dilation and asymmetric padding.
//!
//! The derivative for the data is the transposed convolution with the same weights; that for the weights is a convolution
//! of the input with the signal, or, of several groups or unknown sizes, a matrix product for each kernel position, over the
//! strided slice of the input that the position sees.

use pellucid_graph::window::{FixedAxis, Window};
use pellucid_graph::{Attribute, Graph, Node};

use super::{Operator, product};
use crate::build::{Builder, Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::kind::{Form, Kind};
use crate::step::{Signals, Step, countable, known_sizes};

/// Positions that a kernel may have whose derivative is asked for: each becomes nodes.
const KERNEL_POSITIONS: i64 = 1 << 12;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("Conv", kind, convolution).bias(2),
    Operator::new("ConvTranspose", kind, transposed_convolution).bias(2),
];

fn kind(graph: &Graph, node: &Node) -> Kind {
    product(graph, node, Form::Convolution)
}

/// Attributes that give `axes` explicitly.
pub(super) fn attributes(axes: &[FixedAxis], group: i64) -> Vec<(&'static str, Attribute)> {
    let ints = |value: fn(&FixedAxis) -> i64| axes.iter().map(value).collect::<Vec<i64>>();
    let mut pads = ints(|axis| axis.pad_begin);
    pads.extend(ints(|axis| axis.pad_end));
    vec![
        ("strides", Attribute::Ints(ints(|axis| axis.stride))),
        ("dilations", Attribute::Ints(ints(|axis| axis.dilation))),
        ("pads", Attribute::Ints(pads)),
        ("group", Attribute::Int(group)),
    ]
}

/// The transpose of the convolution over `axes`: brings a signal at its output back to its input's sizes.
pub(super) fn transpose_of<'g>(dy: Var<'g>, weights: Var<'g>, axes: &[FixedAxis], group: i64) -> Var<'g> {
    // Inputs at the end that no window saw: their signal is zero, and they must be there all the same.
    let unseen = axes
        .iter()
        .map(|axis| {
            (axis.input + axis.pad_begin + axis.pad_end - axis.reach() - axis.stride * (axis.output - 1))
                .max(0)
        })
        .collect();
    let mut attributes = attributes(axes, group);
    attributes.push(("output_padding", Attribute::Ints(unseen)));
    dy.builder().op("ConvTranspose", &[dy, weights], &attributes)
}

/// Spatial windows in numbers. With stride 1 an unknown input size is no obstacle: any size stands for it.
fn windows(s: &Step<'_>, kernel: &[i64], transposed: bool) -> Result<Vec<FixedAxis>> {
    let shape = s.input_shape()?;
    let of = if transposed { Window::of_conv_transpose } else { Window::of_conv };
    let window = of(&s.node, &shape[2.min(shape.len())..], kernel).map_err(CompileError::Model)?;
    window.fixed().ok_or_else(|| {
        CompileError::Model(format!(
            "the spatial sizes of {} must be known: give the sizes of the inputs",
            pellucid_graph::display_shape(&shape)
        ))
    })
}

fn kernel_of(weights: Var<'_>) -> Result<Vec<i64>> {
    let shape = weights.shape()?;
    known_sizes(&shape[2.min(shape.len())..], "the kernel's sizes")
}

/// y = W ∗ x + b: dx = Wᵀ ∗ dy, dW[k] = Σ dy · x at offset k, db = Σ dy
fn convolution<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, weights, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let axes = windows(s, &kernel_of(weights)?, false)?;
    let group = s.node.int("group", 1);
    let dx = s.wants(0).then(|| transpose_of(dy, weights, &axes, group));
    let dweights = if s.wants(1) { Some(weight_derivative(dy, x, weights, &axes, group)?) } else { None };
    let mut signals = vec![dx, dweights];
    if s.input_count() > 2 {
        signals.push(if s.wants(2) { Some(over_channels(dy)?) } else { None });
    }
    Ok(signals)
}

/// y = Wᵀ ∗ x + b: dx = W ∗ dy, dW[k] = Σ x · dy at offset k, db = Σ dy
fn transposed_convolution<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, weights, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let group = s.node.int("group", 1);
    // Seen from the other side: a convolution whose input is dy and whose output is x. What output_padding adds at
    // the end undoes padding there first; only positions past it are reached by no window, and cut off.
    let mut seen = dy;
    let mut reached: Vec<FixedAxis> =
        windows(s, &kernel_of(weights)?, true)?.iter().map(FixedAxis::transposed).collect();
    for (position, axis) in reached.iter_mut().enumerate() {
        let needed = axis.stride * (axis.output - 1) + axis.reach() - axis.pad_begin;
        axis.pad_end = (needed - axis.input).max(0);
        if needed < axis.input {
            seen = seen.slice(position + 2, 0, needed.max(0), 1);
            axis.input = needed.max(0);
        }
    }
    let dx = s.wants(0).then(|| dy.builder().op("Conv", &[seen, weights], &attributes(&reached, group)));
    let dweights =
        if s.wants(1) { Some(weight_derivative(x, seen, weights, &reached, group)?) } else { None };
    let mut signals = vec![dx, dweights];
    if s.input_count() > 2 {
        signals.push(if s.wants(2) { Some(over_channels(dy)?) } else { None });
    }
    Ok(signals)
}

fn over_channels(dy: Var<'_>) -> Result<Var<'_>> {
    let others: Vec<usize> = (0..dy.rank()?).filter(|axis| *axis != 1).collect();
    Ok(dy.sum(&others, Keep::None))
}

/// Σ over batch and positions of `small` [n, g·a, o…] times `large` [n, g·b, i…] at each kernel offset:
/// [g·a, b, k…].
fn weight_derivative<'g>(
    small: Var<'g>,
    large: Var<'g>,
    weights: Var<'g>,
    axes: &[FixedAxis],
    group: i64,
) -> Result<Var<'g>> {
    let builder: &'g Builder = small.builder();
    let (rows, columns) = (signed(small.size(1)?) / group, signed(large.size(1)?) / group);
    countable(axes.iter().map(|axis| axis.kernel), KERNEL_POSITIONS, "positions of a kernel")?;
    let positions = signed(countable(axes.iter().map(|axis| axis.output), i64::MAX, "positions of a map")?);
    if [small, large].into_iter().all(|v| v.shape().is_ok_and(|shape| all_known(&shape))) {
        return as_convolution(small, large, axes, group);
    }
    let padded = padded(large, axes, 2);
    let left = small.reshape(&[-1, group, rows, positions]);
    let mut parts = Vec::new();
    for offset in offsets(axes) {
        let seen = window(padded, axes, &offset, 2);
        let right = seen.reshape(&[-1, group, columns, positions]).transpose(&[0, 1, 3, 2]);
        parts.push(left.matmul(right).sum(&[0], Keep::None).reshape(&[group * rows, columns, 1]));
    }
    builder.concat(&parts, 2).reshape_to(&weights.shape()?)
}

/// [g·a, b, k…] where all sizes are known: the convolution of `large`, its first two axes swapped, with `small`, swapped too,
/// in which strides and dilations have changed places. What no window saw at the end is cut off first. Of several groups, the
/// rows of each lie side by side as channels: [b, g·n, i…].
///
/// One node, so that an engine's lowering can choose how it is computed.
fn as_convolution<'g>(small: Var<'g>, large: Var<'g>, axes: &[FixedAxis], group: i64) -> Result<Var<'g>> {
    let mut seen = large;
    let mut after = Vec::new();
    for (position, axis) in axes.iter().enumerate() {
        let end = axis.stride * (axis.output - 1) + axis.reach() - axis.input - axis.pad_begin;
        if end < 0 {
            seen = seen.slice(position + 2, 0, axis.input + end, 1);
        }
        after.push(end.max(0));
    }
    let ints = |value: fn(&FixedAxis) -> i64| Attribute::Ints(axes.iter().map(value).collect());
    let pads = axes.iter().map(|axis| axis.pad_begin).chain(after).collect();
    let attributes = [
        ("strides", ints(|axis| axis.dilation)),
        ("dilations", ints(|axis| axis.stride)),
        ("pads", Attribute::Ints(pads)),
        ("group", Attribute::Int(group)),
    ];
    let swapped: Vec<usize> = [1, 0].into_iter().chain(2..axes.len() + 2).collect();
    let shape = seen.shape()?;
    let sizes = known_sizes(&shape, "the input's sizes")?;
    let columns = sizes[1] / group;
    let side_by_side: Vec<i64> =
        [columns, group * sizes[0]].into_iter().chain(sizes[2..].iter().copied()).collect();
    // With one column a group the rows are side by side once they are swapped; written so, a runtime's kernel can find it.
    let seen = match (group, columns) {
        (1, _) => seen.transpose(&swapped),
        (_, 1) => seen.transpose(&swapped).reshape(&side_by_side),
        _ => {
            let split: Vec<i64> =
                [sizes[0], group, columns].into_iter().chain(sizes[2..].iter().copied()).collect();
            let order: Vec<usize> = [2, 1, 0].into_iter().chain(3..split.len()).collect();
            seen.reshape(&split).transpose(&order).reshape(&side_by_side)
        }
    };
    let inputs = [seen, small.transpose(&swapped)];
    Ok(small.builder().op("Conv", &inputs, &attributes).transpose(&swapped))
}

fn all_known(shape: &[pellucid_graph::Dim]) -> bool {
    shape.iter().all(|size| size.value().is_some())
}

/// `v` with zeros around its spatial axes, the first of which is `first`.
fn padded<'g>(v: Var<'g>, axes: &[FixedAxis], first: usize) -> Var<'g> {
    let mut before = vec![0; axes.len() + 2];
    let mut after = vec![0; axes.len() + 2];
    for (position, axis) in axes.iter().enumerate() {
        before[position + first] = axis.pad_begin;
        after[position + first] = axis.pad_end.max(0);
    }
    v.pad(&before, &after, 0.0)
}

/// What a kernel position sees, of a padded input whose first spatial axis is `first`.
fn window<'g>(padded: Var<'g>, axes: &[FixedAxis], offset: &[i64], first: usize) -> Var<'g> {
    let mut seen = padded;
    for (position, (axis, k)) in axes.iter().zip(offset).enumerate() {
        let start = k * axis.dilation;
        let end = start + axis.stride * (axis.output - 1) + 1;
        let whole = axis.stride == 1
            && start == 0
            && seen.size(position + first).is_ok_and(|size| signed(size) == end);
        if !whole {
            seen = seen.slice(position + first, start, end, axis.stride);
        }
    }
    seen
}

/// Every position of a kernel, in row-major order.
pub(super) fn offsets(axes: &[FixedAxis]) -> Vec<Vec<i64>> {
    let mut all = vec![Vec::new()];
    for axis in axes {
        all = all
            .into_iter()
            .flat_map(|prefix: Vec<i64>| {
                (0..axis.kernel).map(move |k| prefix.iter().copied().chain([k]).collect())
            })
            .collect();
    }
    all
}
