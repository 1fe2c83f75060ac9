//! The derivative of a convolution for its weights, which is a convolution too: of the input with the signal, the first two
//! axes of both swapped, whose kernel is as large as a map. Engines are slow at those; products are not.

use pellucid_graph::{Attribute, ValueId};

use super::convolution::Axis;
use super::rewrite::{Rewrite, Step, node, whole};

/// Products of channels, joined over kernel positions, may have so many rows for all positions to be one product: with
/// more, copies of the input take longer than products one by one.
const COLUMNS: usize = 64;

/// Positions of a kernel that may become nodes.
const POSITIONS: i64 = 1 << 12;

/// What the input at `position` is, before its first two axes were swapped.
fn before_swap(r: &Rewrite<'_>, position: usize) -> Option<ValueId> {
    let producer = r.source.node(r.source.producer_of(r.node.input(position)?)?);
    let order = producer.ints("perm")?;
    let swaps = producer.operator == "Transpose"
        && order.len() > 2
        && order[..2] == [1, 0]
        && order[2..].iter().copied().eq(2..whole(order.len()));
    swaps.then(|| producer.input(0)).flatten().and_then(|id| r.values[id.index()])
}

/// Writes this convolution, over `axes` and of one group, as products, where it is the derivative for weights: rows and
/// places are summed by one product with the input's channels innermost, `[o, n·p] · [n·p, c]`, so that a kernel position
/// costs one copy of the input and nothing is turned around. Few channels are taken for all positions at once.
pub(super) fn derivative(r: &mut Rewrite<'_>, axes: &[Axis]) -> Step<Option<ValueId>> {
    let (Some(large), Some(small)) = (before_swap(r, 0), before_swap(r, 1)) else { return Ok(None) };
    let (Ok(sizes), Ok(signal)) = (r.sizes(large), r.sizes(small)) else { return Ok(None) };
    let Some(counts) = counts(axes, &sizes) else { return Ok(None) };
    let positions: i64 = counts.iter().product();
    let (columns, rows) = (whole(sizes[1]), whole(signal[1]));
    let swapped = r.x(1)?;
    let left = r.reshape(swapped, &[rows, -1])?;
    let by_position = if sizes[1] * usize::try_from(positions).unwrap_or(usize::MAX) <= COLUMNS {
        let outer = r.x(0)?;
        let padded = padded(r, outer, axes, 2)?;
        let mut seen = Vec::new();
        for offset in offsets(&counts) {
            let window = window(r, padded, axes, &offset, 2)?;
            seen.push(r.reshape(window, &[columns, -1])?);
        }
        let seen = r.concat(&seen, 0)?;
        let product = r.add(node("Gemm", &[left, seen]).with("transB", Attribute::Int(1)))?;
        let product = r.reshape(product, &[rows, positions, columns])?;
        r.transpose(product, &[2, 0, 1])?
    } else {
        let rank = whole(sizes.len());
        let inner: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        let inner = r.transpose(large, &inner)?;
        let padded = padded(r, inner, axes, 1)?;
        let mut parts = Vec::new();
        for offset in offsets(&counts) {
            let window = window(r, padded, axes, &offset, 1)?;
            let window = r.reshape(window, &[-1, columns])?;
            let product = r.op("MatMul", &[left, window])?;
            parts.push(r.reshape(product, &[rows, columns, 1])?);
        }
        let joined = r.concat(&parts, 2)?;
        r.transpose(joined, &[1, 0, 2])?
    };
    let target: Vec<i64> = [columns, rows].into_iter().chain(counts).collect();
    r.reshape(by_position, &target).map(Some)
}

/// Positions of the kernel that the derivative is for, of an input of `sizes`; `None` where they are too many, and with pads
/// that cut.
///
/// Strides of this convolution are the other's dilations, and its dilations that one's strides.
fn counts(axes: &[Axis], sizes: &[usize]) -> Option<Vec<i64>> {
    let count = |(axis, size): (&Axis, &usize)| {
        let reach = (axis.kernel - 1) * axis.dilation + 1;
        (whole(*size) + axis.begin + axis.end - reach) / axis.stride + 1
    };
    let counts: Vec<i64> = axes.iter().zip(&sizes[2..]).map(count).collect();
    let whole_pads = axes.iter().all(|axis| axis.begin >= 0 && axis.end >= 0);
    (whole_pads && (1..=POSITIONS).contains(&counts.iter().product())).then_some(counts)
}

/// The same of several groups, whose rows lie side by side, `[b, g·n, …]`, and meet the signal `[g·a, n, …]`: for each position
/// of the kernel one product a group, of a's rows with what b's columns see, `[g, a, n·p] · [b, g, n·p, 1]`.
pub(super) fn derivative_of_groups(r: &mut Rewrite<'_>, axes: &[Axis], group: i64) -> Step<Option<ValueId>> {
    if before_swap(r, 1).is_none() {
        return Ok(None);
    }
    let (large, small) = (r.x(0)?, r.x(1)?);
    let (Ok(sizes), Ok(signal)) = (r.sizes(large), r.sizes(small)) else { return Ok(None) };
    let Some(counts) = counts(axes, &sizes) else { return Ok(None) };
    let (columns, outputs) = (whole(sizes[0]), whole(signal[0]));
    let left = r.reshape(small, &[1, group, outputs / group, -1])?;
    let padded = padded(r, large, axes, 2)?;
    let mut parts = Vec::new();
    for offset in offsets(&counts) {
        let window = window(r, padded, axes, &offset, 2)?;
        let window = r.reshape(window, &[columns, group, -1, 1])?;
        let product = r.op("MatMul", &[left, window])?;
        parts.push(r.reshape(product, &[columns, outputs, 1])?);
    }
    let joined = r.concat(&parts, 2)?;
    let target: Vec<i64> = [columns, outputs].into_iter().chain(counts).collect();
    r.reshape(joined, &target).map(Some)
}

/// `x` with zeros around its spatial axes, the first of which is `first`.
fn padded(r: &mut Rewrite<'_>, x: ValueId, axes: &[Axis], first: usize) -> Step<ValueId> {
    let mut padded = x;
    for (position, axis) in axes.iter().enumerate() {
        padded = r.pad(padded, position + first, axis.begin, axis.end, 0.0)?;
    }
    Ok(padded)
}

/// What a kernel position sees, of a padded input whose first spatial axis is `first`.
fn window(
    r: &mut Rewrite<'_>,
    padded: ValueId,
    axes: &[Axis],
    offset: &[i64],
    first: usize,
) -> Step<ValueId> {
    let mut seen = padded;
    for (position, (axis, k)) in axes.iter().zip(offset).enumerate() {
        let start = k * axis.stride;
        let end = start + axis.dilation * (axis.kernel - 1) + 1;
        let size = whole(r.sizes(seen)?[position + first]);
        if axis.dilation > 1 || start > 0 || end < size {
            seen = r.slice(seen, position + first, start, end, axis.dilation)?;
        }
    }
    Ok(seen)
}

/// Every position of a kernel of these sizes, in row-major order.
fn offsets(counts: &[i64]) -> Vec<Vec<i64>> {
    let mut all = vec![Vec::new()];
    for count in counts {
        all = all
            .into_iter()
            .flat_map(|prefix: Vec<i64>| {
                (0..*count).map(move |k| prefix.iter().copied().chain([k]).collect())
            })
            .collect();
    }
    all
}
