//! `Resize`.
//!
//! rten computes cubic interpolation as linear, knows neither `antialias` nor `exclude_outside` nor half of the
//! coordinate modes, resizes two axes at most, and computes coordinates in `float32`, where a rounding takes the
//! neighbour of the nearest element. So nothing of it is used: the nearest elements are gathered, and any other
//! interpolation is a matrix product an axis, with the weights that the interpreter uses.

use pellucid_graph::interpolation::{self, Axis, Mode};
use pellucid_graph::{Attribute, Dim, ValueId};

use super::rewrite::{Refusal, Rewrite, Step, never, node, whole};
use super::{Rule, Takes};

pub(super) const RULES: &[(&str, Rule)] = &[("Resize", Rule::By(resize))];

/// Weights past this many bytes are not made: an axis of 16,384 to as many.
const LARGEST_MATRIX: usize = 1 << 28;

fn resize(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let axes = axes(r, x)?;
    let mut y = x;
    for (position, axis) in axes.iter().enumerate() {
        if !axis.is_identity() {
            y = along(r, y, position, axis)?;
        }
    }
    r.done(y)
}

/// The interpolation of every axis. A size that is free must stay as it is: it stands as 1.
fn axes(r: &Rewrite<'_>, x: ValueId) -> Step<Vec<Axis>> {
    let shape = r.shape(x)?;
    let free: Vec<bool> = shape.iter().map(|size| size.size().is_none()).collect();
    let input: Vec<usize> = shape.iter().map(|size| size.size().unwrap_or(1)).collect();
    let roi = r.numbers(1)?;
    let scales = r.numbers(2)?;
    let sizes = match r.maybe(3) {
        None => None,
        Some(id) => Some(wanted_sizes(r, id, &shape)?),
    };
    if free.contains(&true) && r.node.string("keep_aspect_ratio_policy", "stretch") != "stretch" {
        return Err(Refusal::Sizes("keep_aspect_ratio_policy needs every size".to_owned()));
    }
    let axes = interpolation::axes(r.node, &input, roi.as_deref(), scales.as_deref(), sizes.as_deref())
        .map_err(Refusal::Never)?;
    for ((axis, free), size) in axes.iter().zip(free).zip(&shape) {
        if free && !axis.is_identity() {
            return Err(Refusal::Sizes(format!("size {size} must be a number to be resized")));
        }
    }
    Ok(axes)
}

/// Input `sizes`, where the free size of an axis that stays is 1.
fn wanted_sizes(r: &Rewrite<'_>, id: ValueId, shape: &[Dim]) -> Step<Vec<i64>> {
    let value = r.graph.value(id);
    if let Some(numbers) = r.graph.constant(id).and_then(pellucid_graph::Tensor::to_i64) {
        return Ok(numbers);
    }
    let unknown = || Refusal::Sizes("input 3 must be known before the run, and is not".to_owned());
    let contents = value.contents.as_ref().ok_or_else(unknown)?;
    let whole_rank = contents.len() == shape.len();
    contents
        .iter()
        .enumerate()
        .map(|(position, wanted)| match wanted.value() {
            Some(size) => Ok(size),
            None if whole_rank && *wanted == shape[position] => Ok(1),
            None => Err(unknown()),
        })
        .collect()
}

fn along(r: &mut Rewrite<'_>, x: ValueId, position: usize, axis: &Axis) -> Step<ValueId> {
    let outside = axis.outside();
    let holes = outside.contains(&true);
    if let (Mode::Nearest(_), false) = (axis.config.mode, holes) {
        let places: Option<Vec<i64>> =
            axis.taps().iter().map(|taps| taps.first().map(|(place, _)| whole(*place))).collect();
        let Some(places) = places else { return never("an output has no nearest input") };
        let places = r.integers(&places)?;
        return r.add(node("Gather", &[x, places]).with("axis", Attribute::Int(whole(position))));
    }
    r.require(x, Takes::Floats)?;
    let bytes = axis.input.checked_mul(axis.output).and_then(|count| count.checked_mul(8));
    if bytes.is_none_or(|bytes| bytes > LARGEST_MATRIX) {
        return never(format!("interpolating {} elements to {} is too large", axis.input, axis.output));
    }
    let y = product(r, x, position, axis)?;
    if !holes {
        return Ok(y);
    }
    // Rows of outputs outside are zero: the extrapolation value is added there.
    let value = r.node.float("extrapolation_value", 0.0);
    let fill: Vec<f32> = outside.iter().map(|outside| if *outside { value } else { 0.0 }).collect();
    let mut shape = vec![1; r.rank(x)?];
    shape[position] = axis.output;
    let fill = r.floats(shape, &fill)?;
    r.op("Add", &[y, fill])
}

/// The weights times one axis: from the left for the last but one, from the right for the last and all others, which
/// are put last for it.
fn product(r: &mut Rewrite<'_>, x: ValueId, position: usize, axis: &Axis) -> Step<ValueId> {
    let rank = r.rank(x)?;
    #[expect(clippy::cast_possible_truncation, reason = "weights are rounded to the engine's precision")]
    let weights: Vec<f32> = axis.matrix().into_iter().map(|weight| weight as f32).collect();
    if position + 2 == rank {
        let matrix = r.floats(vec![axis.output, axis.input], &weights)?;
        return r.op("MatMul", &[matrix, x]);
    }
    let mut turned = vec![0.0; weights.len()];
    for row in 0..axis.output {
        for column in 0..axis.input {
            turned[column * axis.output + row] = weights[row * axis.input + column];
        }
    }
    let matrix = r.floats(vec![axis.input, axis.output], &turned)?;
    if position + 1 == rank {
        return r.op("MatMul", &[x, matrix]);
    }
    let mut order: Vec<i64> = (0..whole(rank)).collect();
    order.swap(position, rank - 1);
    let y = r.transpose(x, &order)?;
    let y = r.op("MatMul", &[y, matrix])?;
    r.transpose(y, &order)
}
