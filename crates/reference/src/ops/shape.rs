//! Moves of elements and changes of shape; no arithmetic.

use ndarray::{ArrayD, Axis, IxDyn, Slice};

use crate::array::{Array, same_kind};
use crate::call::{Call, Operator, Outcome, axes, flat, position, signed};
use crate::error::Problem;
use crate::ops::broadcast;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("Concat", concat),
    ("DepthToSpace", depth_to_space),
    ("Dropout", dropout),
    ("Expand", expand),
    ("Flatten", flatten),
    ("Identity", |call| Ok(vec![call.input(0)?.clone()])),
    ("Reshape", reshape),
    ("Slice", slice),
    ("SpaceToDepth", space_to_depth),
    ("Split", split),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
];

/// The same elements in row-major order under another shape of as many.
fn under(call: &Call<'_>, array: &Array, shape: &[usize]) -> Outcome {
    if call.limits.allow(shape)? != array.len() {
        let found = array.shape();
        return Err(format!("{} elements of shape {found:?} do not fit shape {shape:?}", array.len()).into());
    }
    Ok(vec![same_kind!(array, a => call.limits.array(shape, flat(a).to_vec())?)])
}

/// A size that must not be negative.
pub(crate) fn size(value: i64) -> Result<usize, Problem> {
    usize::try_from(value).map_err(|_| format!("size {value} is negative").into())
}

fn reshape(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let wanted = call.list(1)?.ok_or("input 1 is missing")?;
    let keep_zero = call.node.int("allowzero", 0) != 0;
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, value) in wanted.iter().enumerate() {
        shape.push(match value {
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            0 if !keep_zero => *array
                .shape()
                .get(axis)
                .ok_or_else(|| format!("size 0 of {wanted:?} copies an axis that the input lacks"))?,
            value => {
                size(*value).map_err(|_| format!("shape {wanted:?} has a negative size or two of -1"))?
            }
        });
    }
    if let Some(axis) = open {
        let rest = call.limits.allow(&shape)?;
        if rest == 0 || array.len() % rest != 0 {
            let found = array.shape();
            return Err(format!("{} elements of shape {found:?} do not fit {wanted:?}", array.len()).into());
        }
        shape[axis] = array.len() / rest;
    }
    under(call, array, &shape)
}

fn flatten(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let (axis, rank) = (call.node.int("axis", 1), array.rank());
    // Unlike other axes, this one may stand after the last.
    let axis = if axis == signed(rank) { Some(rank) } else { position(axis, rank) };
    let axis = axis.ok_or_else(|| format!("its axis is outside an array of {rank} axes"))?;
    let (before, after) = array.shape().split_at(axis);
    under(call, array, &[before.iter().product(), after.iter().product()])
}

fn squeeze(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let chosen = match call.list(1)? {
        Some(listed) => axes(&listed, array.rank())?,
        None => (0..array.rank()).filter(|axis| array.shape()[*axis] == 1).collect(),
    };
    if let Some(axis) = chosen.iter().find(|axis| array.shape()[**axis] != 1) {
        return Err(format!("axis {axis} of shape {:?} is not of size 1", array.shape()).into());
    }
    let kept = array.shape().iter().enumerate().filter(|(axis, _)| !chosen.contains(axis));
    under(call, array, &kept.map(|(_, size)| *size).collect::<Vec<_>>())
}

fn unsqueeze(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let listed = call.list(1)?.ok_or("input 1 is missing")?;
    let rank = array.rank() + listed.len();
    let chosen = axes(&listed, rank)?;
    let mut sizes = array.shape().iter();
    let shape = (0..rank).map(|axis| if chosen.contains(&axis) { 1 } else { *sizes.next().unwrap_or(&1) });
    under(call, array, &shape.collect::<Vec<_>>())
}

fn transpose(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let order = match call.node.ints("perm") {
        Some(listed) if listed.len() == array.rank() => axes(listed, array.rank())?,
        Some(listed) => {
            return Err(
                format!("perm {listed:?} does not name the {} axes of the input", array.rank()).into()
            );
        }
        None => (0..array.rank()).rev().collect(),
    };
    Ok(vec![same_kind!(array, a => a.view().permuted_axes(order).as_standard_layout().into_owned())])
}

fn expand(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let wanted = call.list(1)?.ok_or("input 1 is missing")?;
    let wanted = wanted.iter().map(|value| size(*value)).collect::<Result<Vec<_>, _>>()?;
    let shape = broadcast::shape(array.shape(), &wanted)?;
    call.limits.allow(&shape)?;
    Ok(vec![same_kind!(array, a => broadcast::view(a, &shape)?.as_standard_layout().into_owned())])
}

fn tile(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let repeats = call.list(1)?.ok_or("input 1 is missing")?;
    if repeats.len() != array.rank() {
        return Err(format!("{} repeats for {} axes", repeats.len(), array.rank()).into());
    }
    let mut shape = Vec::new();
    // Each axis becomes two, the repeats before the elements, which broadcasting then fills.
    let (mut split, mut filled) = (Vec::new(), Vec::new());
    for (count, repeats) in array.shape().iter().zip(&repeats) {
        let repeats = size(*repeats)?;
        shape.push(count.checked_mul(repeats).ok_or("the tiled size overflows")?);
        split.extend([1, *count]);
        filled.extend([repeats, *count]);
    }
    call.limits.allow(&filled)?;
    Ok(vec![same_kind!(array, a => {
        let split = a.view().into_shape_with_order(IxDyn(&split))?;
        let filled = split.broadcast(IxDyn(&filled)).ok_or("the repeats do not broadcast")?;
        call.limits.array(&shape, filled.iter().copied().collect())?
    })])
}

fn concat(call: &Call<'_>) -> Outcome {
    let first = call.input(0)?;
    let axis = call.axis("axis", 0, first.rank())?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for index in 0..call.inputs.len() {
        let own = call.input(index)?.shape();
        let fits = own.len() == shape.len()
            && own.iter().zip(&shape).enumerate().all(|(other, (a, b))| other == axis || a == b);
        if !fits {
            return Err(
                format!("shapes {:?} and {own:?} cannot be joined along axis {axis}", first.shape()).into()
            );
        }
        shape[axis] += own[axis];
    }
    call.limits.allow(&shape)?;
    let mut joined = vec![first];
    for index in 1..call.inputs.len() {
        joined.push(call.input(index)?);
    }
    Ok(vec![join(&joined, axis)?])
}

/// Arrays of one kind joined along `axis`, whose other sizes agree.
pub(crate) fn join(arrays: &[&Array], axis: usize) -> Result<Array, Problem> {
    let refuse = || Problem::from("its inputs are of different kinds");
    let axis = Axis(axis);
    Ok(match arrays.first() {
        Some(Array::Float(_)) => {
            let views = arrays.iter().map(|a| a.as_float().map(|x| x.view()).ok_or_else(refuse));
            Array::Float(ndarray::concatenate(axis, &views.collect::<Result<Vec<_>, _>>()?)?)
        }
        Some(Array::Int(_)) => {
            let views = arrays.iter().map(|a| a.as_int().map(|x| x.view()).ok_or_else(refuse));
            Array::Int(ndarray::concatenate(axis, &views.collect::<Result<Vec<_>, _>>()?)?)
        }
        Some(Array::Bool(_)) => {
            let views = arrays.iter().map(|a| a.as_bool().map(|x| x.view()).ok_or_else(refuse));
            Array::Bool(ndarray::concatenate(axis, &views.collect::<Result<Vec<_>, _>>()?)?)
        }
        None => return Err("nothing is joined".into()),
    })
}

/// Sizes from the `split` input, or as many equal ones as asked for, the last being what is left.
fn split(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let axis = call.axis("axis", 0, array.rank())?;
    let total = array.shape()[axis];
    let sizes = if let Some(sizes) = call.list(1)? {
        let sizes = sizes.iter().map(|value| size(*value)).collect::<Result<Vec<_>, _>>()?;
        let sum = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size));
        if sum != Some(total) {
            return Err(format!("sizes {sizes:?} do not add up to {total} of axis {axis}").into());
        }
        sizes
    } else {
        let listed = signed(call.node.outputs.len());
        let count = size(call.node.int("num_outputs", listed))?;
        if count == 0 || signed(count) != listed {
            return Err(format!("num_outputs is {count}, the node lists {listed} outputs").into());
        }
        let each = total.div_ceil(count);
        (0..count).map(|part| total.saturating_sub(part * each).min(each)).collect()
    };
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let range = Slice::from(start..start + size);
        parts.push(same_kind!(array, a => a.slice_axis(Axis(axis), range).as_standard_layout().into_owned()));
        start += size;
    }
    Ok(parts)
}

/// Where a slice of `length` elements starts, and how many it takes.
fn slice_bounds(length: usize, start: i64, end: i64, step: i64) -> (i64, i64) {
    let length = signed(length);
    let counted = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    if step > 0 {
        let (start, end) = (counted(start).clamp(0, length), counted(end).clamp(0, length));
        (start, if end > start { (end - start - 1) / step + 1 } else { 0 })
    } else {
        let (start, end) = (counted(start).clamp(-1, length - 1), counted(end).clamp(-1, length - 1));
        (start, if start > end { (start - end - 1) / step.saturating_neg() + 1 } else { 0 })
    }
}

fn slice(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let starts = call.list(1)?.ok_or("input 1 is missing")?;
    let ends = call.list(2)?.ok_or("input 2 is missing")?;
    let chosen = match call.list(3)? {
        Some(listed) => axes(&listed, array.rank())?,
        None => (0..starts.len()).collect(),
    };
    let steps = call.list(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if chosen.len() != starts.len() || ends.len() != starts.len() || steps.len() != starts.len() {
        let counts = (starts.len(), ends.len(), chosen.len(), steps.len());
        return Err(format!(
            "starts, ends, axes and steps have {counts:?} entries, as many each were expected"
        )
        .into());
    }
    if chosen.len() > array.rank() || steps.contains(&0) {
        return Err(format!(
            "steps {steps:?} on axes {chosen:?} do not fit an array of {} axes",
            array.rank()
        )
        .into());
    }
    let mut cuts = Vec::new();
    for (entry, axis) in chosen.iter().enumerate() {
        let step = steps[entry].max(-i64::MAX);
        let (start, count) = slice_bounds(array.shape()[*axis], starts[entry], ends[entry], step);
        cuts.push((*axis, start, count, step));
    }
    Ok(vec![same_kind!(array, a => cut(a, &cuts))])
}

/// Takes `count` elements from `start` by `step` of every listed axis.
fn cut<T: Clone>(array: &ArrayD<T>, cuts: &[(usize, i64, i64, i64)]) -> ArrayD<T> {
    let mut view = array.view();
    for (axis, start, count, step) in cuts {
        let indices = 0..*count;
        // ndarray slices forward and then turns around, so a backward slice starts at its last element.
        let first = if *step > 0 || *count == 0 { *start } else { start + (count - 1) * step };
        let stride = isize::try_from(step.abs()).unwrap_or(isize::MAX);
        let first = isize::try_from(first.max(0)).unwrap_or(0);
        let span = isize::try_from(indices.end)
            .unwrap_or(0)
            .saturating_sub(1)
            .saturating_mul(stride)
            .saturating_add(1);
        let end = if *count == 0 { first } else { first.saturating_add(span) };
        view.slice_axis_inplace(Axis(*axis), Slice::new(first, Some(end), stride));
        if *step < 0 {
            view.invert_axis(Axis(*axis));
        }
    }
    view.as_standard_layout().into_owned()
}

/// The shape `[n, c, h, w]` of the input, and the block size.
fn blocks(call: &Call<'_>) -> Result<([usize; 4], usize), Problem> {
    let shape = call.input(0)?.shape();
    let block = call.node.int("blocksize", 0);
    match (shape, usize::try_from(block)) {
        ([n, c, h, w], Ok(block)) if block > 0 => Ok(([*n, *c, *h, *w], block)),
        _ => Err(format!(
            "blocksize is {block} and x has shape {shape:?}, a positive number and 4 axes were expected"
        )
        .into()),
    }
}

/// Splits axes, permutes them and joins them again.
fn rearrange(call: &Call<'_>, split: [usize; 6], order: [usize; 6], joined: [usize; 4]) -> Outcome {
    call.limits.allow(&joined)?;
    Ok(vec![same_kind!(call.input(0)?, a => {
        let split = a.view().into_shape_with_order(IxDyn(&split))?;
        let moved = split.permuted_axes(IxDyn(&order));
        call.limits.array(&joined, moved.iter().copied().collect())?
    })])
}

fn depth_to_space(call: &Call<'_>) -> Outcome {
    let ([n, c, h, w], b) = blocks(call)?;
    let square = b.checked_mul(b).filter(|square| c % square == 0);
    let square = square.ok_or_else(|| format!("{c} channels are not a multiple of blocks of {b} by {b}"))?;
    let c = c / square;
    let joined = [n, c, h * b, w * b];
    match call.node.string("mode", "DCR") {
        "DCR" => rearrange(call, [n, b, b, c, h, w], [0, 3, 4, 1, 5, 2], joined),
        "CRD" => rearrange(call, [n, c, b, b, h, w], [0, 1, 4, 2, 5, 3], joined),
        other => Err(format!("mode is {other:?}, \"DCR\" or \"CRD\" was expected").into()),
    }
}

fn space_to_depth(call: &Call<'_>) -> Outcome {
    let ([n, c, h, w], b) = blocks(call)?;
    if h % b != 0 || w % b != 0 {
        return Err(format!("{h} by {w} is not a multiple of blocks of {b} by {b}").into());
    }
    let (h, w) = (h / b, w / b);
    // Where the input is empty the block may be absurd.
    let channels =
        c.checked_mul(b).and_then(|c| c.checked_mul(b)).ok_or("the number of channels overflows")?;
    rearrange(call, [n, c, h, b, w, b], [0, 3, 5, 1, 2, 4], [n, channels, h, w])
}

/// Everything is kept; the mask says so.
fn dropout(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let training = match call.optional(2) {
        Some(_) => call.scalar(2, call.truth(2)?)?,
        None => false,
    };
    let ratio = match call.optional_float(1)? {
        Some(ratio) => call.scalar(1, ratio)?,
        None => 0.5,
    };
    if training && ratio != 0.0 {
        return Err("dropping in training mode is random and not computed here".into());
    }
    Ok(vec![array.clone(), Array::Bool(call.limits.filled(array.shape(), true)?)])
}

#[cfg(test)]
mod tests {
    use super::slice_bounds;
    use crate::testing::{bools, counted, floats, ints, node};

    #[test]
    fn shapes_copy_and_infer_sizes() {
        let x = counted(&[2, 3, 4]);
        let to = |wanted: &[i64]| node("Reshape").run(&[x.clone(), ints(&[wanted.len()], wanted)]);
        assert_eq!(to(&[0, -1]).shape(), [2, 12]);
        assert_eq!(to(&[-1]).shape(), [24]);
        let fail = |wanted: &[i64]| node("Reshape").fail(&[x.clone(), ints(&[wanted.len()], wanted)]);
        for wanted in [&[-1, -1][..], &[5, -1], &[24, 2], &[1, 1, 1, 0], &[-2], &[i64::MAX, i64::MAX]] {
            assert!(fail(wanted).starts_with("Reshape node"), "{wanted:?}");
        }
        let empty = floats(&[0, 3], &[]);
        let kept = node("Reshape").int("allowzero", 1).run(&[empty, ints(&[2], &[3, 0])]);
        assert_eq!(kept.shape(), [3, 0]);
        assert_eq!(node("Flatten").int("axis", 3).run(std::slice::from_ref(&x)).shape(), [24, 1]);
        assert_eq!(node("Flatten").int("axis", 0).run(&[x]).shape(), [1, 24]);
    }

    #[test]
    fn axes_come_and_go() {
        let x = counted(&[1, 2, 1]);
        assert_eq!(node("Squeeze").run(std::slice::from_ref(&x)).shape(), [2]);
        assert_eq!(node("Squeeze").run(&[x.clone(), ints(&[1], &[-1])]).shape(), [1, 2]);
        assert!(node("Squeeze").fail(&[x.clone(), ints(&[1], &[1])]).starts_with("Squeeze node"));
        assert_eq!(node("Unsqueeze").run(&[x.clone(), ints(&[2], &[-1, 0])]).shape(), [1, 1, 2, 1, 1]);
        assert!(node("Unsqueeze").fail(&[x, ints(&[2], &[0, 0])]).starts_with("Unsqueeze node"));
    }

    #[test]
    fn slices_clamp_and_run_backward() {
        assert_eq!(slice_bounds(5, 1, 100, 2), (1, 2));
        assert_eq!(slice_bounds(5, 4, i64::MIN, -2), (4, 3));
        assert_eq!(slice_bounds(0, 0, 1, 1), (0, 0));
        assert_eq!(slice_bounds(0, -1, i64::MIN, -1), (-1, 0));
        let x = counted(&[2, 5]);
        let run = |start: i64, end: i64, step: i64| {
            let list = |value: i64| ints(&[1], &[value]);
            node("Slice").run(&[x.clone(), list(start), list(end), list(1), list(step)])
        };
        assert_eq!(run(4, i64::MIN, -2), floats(&[2, 3], &[4.0, 2.0, 0.0, 9.0, 7.0, 5.0]));
        assert_eq!(run(1, -1, 1), floats(&[2, 3], &[1.0, 2.0, 3.0, 6.0, 7.0, 8.0]));
        assert_eq!(run(3, 1, 1), floats(&[2, 0], &[]));
        assert_eq!(run(0, 5, i64::MAX), floats(&[2, 1], &[0.0, 5.0]));
        assert_eq!(run(-1, i64::MIN, i64::MIN), floats(&[2, 1], &[4.0, 9.0]));
        let zero =
            node("Slice").fail(&[x, ints(&[1], &[0]), ints(&[1], &[1]), ints(&[1], &[0]), ints(&[1], &[0])]);
        assert!(zero.starts_with("Slice node"), "{zero}");
    }

    #[test]
    fn joins_and_splits() {
        let found =
            node("Concat").int("axis", -1).run(&[ints(&[2, 1], &[1, 2]), ints(&[2, 2], &[3, 4, 5, 6])]);
        assert_eq!(found, ints(&[2, 3], &[1, 3, 4, 2, 5, 6]));
        assert!(
            node("Concat").int("axis", 0).fail(&[ints(&[1], &[1]), floats(&[1], &[1.0])]).contains("Concat")
        );
        let parts = node("Split").int("num_outputs", 3).outputs(3).run_all(&[counted(&[7])]);
        assert_eq!(parts.iter().map(crate::Array::len).collect::<Vec<_>>(), [3, 3, 1]);
        let parts = node("Split").outputs(2).run_all(&[counted(&[3]), ints(&[2], &[1, 2])]);
        assert_eq!(parts[1], floats(&[2], &[1.0, 2.0]));
        assert!(
            node("Split").outputs(2).fail(&[counted(&[3]), ints(&[2], &[1, 1])]).starts_with("Split node")
        );
    }

    #[test]
    fn repeats_and_expansions_are_limited() {
        let x = ints(&[1, 2], &[7, 8]);
        assert_eq!(node("Expand").run(&[x.clone(), ints(&[2], &[2, 1])]), ints(&[2, 2], &[7, 8, 7, 8]));
        assert_eq!(node("Tile").run(&[x.clone(), ints(&[2], &[1, 2])]), ints(&[1, 4], &[7, 8, 7, 8]));
        for operator in ["Expand", "Tile"] {
            let error = node(operator).fail(&[x.clone(), ints(&[2], &[1 << 40, 2])]);
            assert!(error.starts_with(operator), "{error}");
        }
        assert!(node("Tile").fail(&[x, ints(&[2], &[-1, 1])]).starts_with("Tile node"));
    }

    #[test]
    fn transposes_blocks_and_dropout() {
        assert_eq!(
            node("Transpose").run(&[counted(&[2, 3])]),
            floats(&[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0])
        );
        assert_eq!(node("Transpose").ints("perm", &[1, 0, 2]).run(&[counted(&[2, 3, 4])]).shape(), [3, 2, 4]);
        let x = counted(&[1, 4, 1, 1]);
        let spread = node("DepthToSpace").int("blocksize", 2).run(std::slice::from_ref(&x));
        assert_eq!(spread, floats(&[1, 1, 2, 2], &[0.0, 1.0, 2.0, 3.0]));
        assert_eq!(node("SpaceToDepth").int("blocksize", 2).run(&[spread]), x);
        let kept = node("Dropout").outputs(2).run_all(&[counted(&[2])]);
        assert_eq!(kept, [counted(&[2]), bools(&[2], &[true, true])]);
        let random = node("Dropout").fail(&[counted(&[2]), floats(&[], &[0.5]), bools(&[], &[true])]);
        assert!(random.contains("random"), "{random}");
    }
}
