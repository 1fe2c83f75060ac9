//! Operators that move numbers: reshaping, joining, cutting, copying, looking up.

use pellucid_graph::Attribute;

use super::{Operator, moves};
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::step::{MADE_ELEMENTS, Signals, Step, countable, position};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("Concat", moves, concat),
    Operator::new("DepthToSpace", moves, depth_to_space),
    Operator::new("Expand", moves, same_sum),
    Operator::new("Flatten", moves, same_elements),
    Operator::new("Gather", moves, gather),
    Operator::new("GatherElements", moves, gather_elements),
    Operator::new("Pad", moves, pad),
    Operator::new("Reshape", moves, same_elements),
    Operator::new("ScatterElements", moves, scatter_elements),
    Operator::new("Slice", moves, slice),
    Operator::new("SpaceToDepth", moves, space_to_depth),
    Operator::new("Split", moves, split),
    Operator::new("Squeeze", moves, same_elements),
    Operator::new("Tile", moves, tile),
    Operator::new("Transpose", moves, transpose),
    Operator::new("Trilu", moves, triangle),
    Operator::new("Unsqueeze", moves, same_elements),
];

/// The same elements under the input's sizes.
fn same_elements<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(s.only_first(s.dy()?.reshape_like(s.x(0)?)?))
}

/// The walk sums over the axes that were copied.
fn same_sum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(s.only_first(s.dy()?))
}

/// Axes back in the old order.
fn transpose<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let dy = s.dy()?;
    let rank = dy.rank()?;
    let order = match s.node.ints("perm") {
        Some(order) => order.iter().map(|axis| position(*axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut inverse = vec![0; rank];
    for (to, from) in order.iter().enumerate() {
        inverse[*from] = to;
    }
    Ok(s.only_first(dy.transpose(&inverse)))
}

/// Each input gets its own part of dy.
fn concat<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let dy = s.dy()?;
    let axis = s.axis("axis", 0, dy.rank()?)?;
    let mut start = 0;
    let mut signals = Vec::new();
    for index in 0..s.input_count() {
        let size = signed(s.x(index)?.size(axis)?);
        signals.push(s.wants(index).then(|| dy.slice(axis, start, start + size, 1)));
        start += size;
    }
    Ok(signals)
}

/// The parts' signals joined; a part that nobody takes contributes zeros.
fn split<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let axis = s.axis("axis", 0, s.x(0)?.rank()?)?;
    let mut parts = Vec::new();
    for index in 0..s.node.outputs.len() {
        parts.push(match (s.signal(index), s.output(index)) {
            (Some(signal), _) => signal,
            (None, Some(output)) => s.zeros_for(output)?,
            (None, None) => {
                return Err(CompileError::Model(format!("output {index} of this Split has no name")));
            }
        });
    }
    Ok(s.only_first(s.builder().concat(&parts, axis)))
}

/// dy between the zeros that were cut off or stepped over.
fn slice<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let rank = x.rank()?;
    let (starts, ends) = (s.integers(1)?, s.integers(2)?);
    let axes = match s.input(3) {
        Some(_) => s.integers(3)?.into_iter().map(|axis| position(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = if s.input(4).is_some() { s.integers(4)? } else { vec![1; starts.len()] };
    if [ends.len(), axes.len(), steps.len()].iter().any(|length| *length != starts.len()) {
        return Err(CompileError::Model("starts, ends, axes and steps differ in length".to_owned()));
    }
    let mut signal = s.dy()?;
    for (index, axis) in axes.into_iter().enumerate() {
        let full = s.y()?.shape()?[axis] == x.shape()?[axis] && steps[index] == 1;
        if !full {
            signal = unslice(signal, axis, signed(x.size(axis)?), starts[index], steps[index])?;
        }
    }
    Ok(s.only_first(signal))
}

/// Puts a slice back where it was along `axis`, zeros elsewhere.
fn unslice(v: Var<'_>, axis: usize, size: i64, start: i64, step: i64) -> Result<Var<'_>> {
    let count = signed(v.size(axis)?);
    let from_front = if start < 0 { start.saturating_add(size) } else { start };
    let first = if step > 0 { from_front.clamp(0, size) } else { from_front.clamp(-1, size - 1) };
    if count == 0 {
        return Err(CompileError::Model("an empty slice carries no signal".to_owned()));
    }
    let (low, stride, v) = if step > 0 {
        (first, step, v)
    } else {
        // The same elements, met in the other direction.
        (first + step * (count - 1), step.saturating_neg(), v.slice(axis, -1, -count - 1, -1))
    };
    let rank = v.rank()?;
    let spread = if stride > 1 && count > 1 { zeros_between(v, axis, count, stride)? } else { v };
    let length = stride * (count - 1) + 1;
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    before[axis] = low;
    after[axis] = size - low - length;
    Ok(spread.pad(&before, &after, 0.0))
}

/// `stride − 1` zeros between neighbours along `axis`.
fn zeros_between(v: Var<'_>, axis: usize, count: i64, stride: i64) -> Result<Var<'_>> {
    let rank = v.rank()?;
    let (before, mut after) = (vec![0; rank + 1], vec![0; rank + 1]);
    after[axis + 1] = stride - 1;
    let mut shape = v.shape()?;
    shape[axis] = pellucid_graph::Dim::known(count * stride);
    let padded = v.unsqueeze(&[axis + 1]).pad(&before, &after, 0.0);
    Ok(padded.reshape_to(&shape)?.slice(axis, 0, stride * (count - 1) + 1, 1))
}

/// Pads, or elements cut off, past which positions could leave the numbers they are counted in.
const FARTHEST_PAD: u64 = 1 << 40;

/// Constant padding is cut off; repeated elements get the sum of their copies' signals.
fn pad<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let rank = x.rank()?;
    let amounts = s.integers(1)?;
    let axes = match s.input(3) {
        Some(_) => s.integers(3)?.into_iter().map(|axis| position(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if amounts.len() != 2 * axes.len() {
        return Err(CompileError::Model(format!("{} pads for {} axes", amounts.len(), axes.len())));
    }
    let mode = s.node.string("mode", "constant").to_owned();
    let mut signal = s.dy()?;
    for (index, axis) in axes.iter().enumerate() {
        let (before, after) = (amounts[index], amounts[axes.len() + index]);
        if before == 0 && after == 0 {
            continue;
        }
        let size = signed(x.size(*axis)?);
        if before.unsigned_abs() > FARTHEST_PAD || after.unsigned_abs() > FARTHEST_PAD {
            return Err(CompileError::Model(format!("pads of {before} and {after} reach too far")));
        }
        signal = if mode == "constant" {
            if size + before.min(0) + after.min(0) <= 0 {
                // Nothing of the input is left.
                return Ok(vec![None; s.input_count()]);
            }
            unpad(signal, *axis, size, before, after)
        } else {
            let padded = signed(s.y()?.size(*axis)?);
            countable([padded], MADE_ELEMENTS, "elements along a padded axis")?;
            let from: Vec<i64> = (-before..size + after).map(|p| source(&mode, p, size)).collect();
            add_up(signal, *axis, &from, size)?
        };
    }
    Ok(s.only_first(signal))
}

fn unpad(v: Var<'_>, axis: usize, size: i64, before: i64, after: i64) -> Var<'_> {
    let start = before.max(0);
    let kept = size + before.min(0) + after.min(0);
    let cut = v.slice(axis, start, start + kept, 1);
    let rank = axis + 1;
    let Ok(full) = cut.rank() else { return cut };
    let (mut low, mut high) = (vec![0; full.max(rank)], vec![0; full.max(rank)]);
    low[axis] = (-before).max(0);
    high[axis] = (-after).max(0);
    cut.pad(&low, &high, 0.0)
}

/// Which element stands at position `p` of an axis that is padded by repetition.
fn source(mode: &str, p: i64, size: i64) -> i64 {
    match mode {
        "edge" => p.clamp(0, size - 1),
        _ if size == 1 => 0,
        _ => {
            let period = 2 * (size - 1);
            let phase = p.rem_euclid(period);
            phase.min(period - phase)
        }
    }
}

/// Sums the elements of `axis` into `size` bins: element i goes to bin `bins[i]`.
fn add_up<'g>(v: Var<'g>, axis: usize, bins: &[i64], size: i64) -> Result<Var<'g>> {
    let rank = v.rank()?;
    let mut shape = vec![1; rank];
    shape[axis] = -1;
    let indices = v.builder().integers(bins).reshape(&shape).expand_like(v)?;
    let mut sizes = v.shape()?;
    sizes[axis] = pellucid_graph::Dim::known(size);
    // Zeros of the new sizes: the first element of the axis, times 0, copied.
    let zeros = (v.slice(axis, 0, 1, 1) * 0.0).tile_axis(axis, size)?;
    Ok(scatter_add(zeros, indices, v, axis))
}

fn scatter_add<'g>(zeros: Var<'g>, indices: Var<'g>, updates: Var<'g>, axis: usize) -> Var<'g> {
    zeros.builder().op(
        "ScatterElements",
        &[zeros, indices, updates],
        &[("axis", Attribute::Int(signed(axis))), ("reduction", Attribute::String("add".to_owned()))],
    )
}

impl<'g> Var<'g> {
    /// `count` copies of an axis of size 1.
    fn tile_axis(self, axis: usize, count: i64) -> Result<Var<'g>> {
        let mut repeats = vec![1; self.rank()?];
        repeats[axis] = count;
        Ok(self.builder().op("Tile", &[self, self.builder().integers(&repeats)], &[]))
    }
}

/// A looked-up element gets the sum of the signals of all its copies.
fn gather<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, indices, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let axis = s.axis("axis", 0, x.rank()?)?;
    let index_rank = indices.rank()?;
    // One element, as `x[:, 0]` is exported: dy between zeros.
    if let (Some([only]), Ok(size)) = (indices.contents().as_deref(), x.size(axis)) {
        let kept = if index_rank == 0 { dy.unsqueeze(&[axis]) } else { dy.reshape_to(&one_at(x, axis)?)? };
        return Ok(vec![Some(unslice(kept, axis, signed(size), *only, 1)?), None]);
    }
    let mut shape = vec![1; x.rank()?];
    shape[axis] = -1;
    let mut flat = x.shape()?;
    let count = indices.shape()?.iter().try_fold(pellucid_graph::Dim::known(1), |n, d| n.times(d));
    flat[axis] =
        count.ok_or_else(|| CompileError::Model("the number of indices must be known".to_owned()))?;
    let updates = dy.reshape_to(&flat)?;
    let all = indices.cast(pellucid_graph::ElementType::I64).reshape(&shape).expand_like(updates)?;
    Ok(vec![Some(scatter_add(s.zeros_for(x)?, all, updates, axis)), None])
}

/// The shape of `x` with one element along `axis`.
fn one_at(x: Var<'_>, axis: usize) -> Result<pellucid_graph::Shape> {
    let mut shape = x.shape()?;
    shape[axis] = pellucid_graph::Dim::known(1);
    Ok(shape)
}

/// As `gather`, one index an element.
fn gather_elements<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let axis = s.axis("axis", 0, x.rank()?)?;
    Ok(vec![Some(scatter_add(s.zeros_for(x)?, s.x(1)?, s.dy()?, axis)), None])
}

/// With addition, dx = dy and updates get dy at their index; without, overwritten elements get nothing.
fn scatter_elements<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, indices, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let axis = s.axis("axis", 0, x.rank()?)?;
    let attribute = ("axis", Attribute::Int(signed(axis)));
    let updates = s
        .wants(2)
        .then(|| s.builder().op("GatherElements", &[dy, indices], std::slice::from_ref(&attribute)));
    let dx = match s.node.string("reduction", "none") {
        "add" => dy,
        "none" => {
            let zeros = s.zeros_for(s.x(2)?)?;
            s.builder().op("ScatterElements", &[dy, indices, zeros], &[attribute])
        }
        other => {
            return Err(CompileError::Model(format!(
                "reduction {other:?} has no derivative here; none and add have"
            )));
        }
    };
    Ok(vec![Some(dx), None, updates])
}

/// Every copy's signal is summed.
fn tile<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let repeats = s.integers(1)?;
    let shape = x.shape()?;
    let mut split = Vec::new();
    let mut copies = Vec::new();
    for (repeat, dim) in repeats.iter().zip(&shape) {
        copies.push(split.len());
        split.push(pellucid_graph::Dim::known(*repeat));
        split.push(dim.clone());
    }
    Ok(s.only_first(s.dy()?.reshape_to(&split)?.sum(&copies, Keep::None)))
}

/// Space back to depth, in the order the mode names.
fn depth_to_space<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let block = s.node.int("blocksize", 1);
    let known = |axis: usize| x.size(axis).map(signed);
    let (channels, height, width) = (known(1)? / (block * block), known(2)?, known(3)?);
    let split = dy.reshape(&[-1, channels, height, block, width, block]);
    let order: &[usize] =
        if s.node.string("mode", "DCR") == "CRD" { &[0, 1, 3, 5, 2, 4] } else { &[0, 3, 5, 1, 2, 4] };
    Ok(s.only_first(split.transpose(order).reshape_like(x)?))
}

/// Depth back to space.
fn space_to_depth<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let block = s.node.int("blocksize", 1);
    let attributes = [("blocksize", Attribute::Int(block)), ("mode", Attribute::String("DCR".to_owned()))];
    Ok(s.only_first(s.builder().op("DepthToSpace", &[s.dy()?], &attributes)))
}

/// dx = the same triangle of dy
fn triangle<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let mut inputs = vec![s.dy()?];
    inputs.extend(s.input(1));
    let upper = ("upper", Attribute::Int(s.node.int("upper", 1)));
    Ok(s.only_first(s.builder().op("Trilu", &inputs, &[upper])))
}
