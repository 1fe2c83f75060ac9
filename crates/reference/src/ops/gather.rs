//! Looking elements up by index.

use ndarray::{ArrayD, IxDyn};

use crate::array::{Array, same_kind};
use crate::call::{Call, Operator, Outcome, advance, flat, lanes, position, strides};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] =
    &[("Gather", gather), ("GatherElements", gather_elements), ("GatherND", gather_nd)];

/// An index into an axis, or the complaint that it is outside.
pub(crate) fn index_into(index: i64, size: usize) -> Result<usize, Problem> {
    position(index, size).ok_or_else(|| format!("index {index} is outside an axis of {size}").into())
}

/// Elements of an array at flat positions.
fn picked(call: &Call<'_>, array: &Array, shape: &[usize], positions: &[usize]) -> Result<Array, Problem> {
    call.limits.allow(shape)?;
    Ok(same_kind!(array, x => {
        let elements = flat(x);
        ArrayD::from_shape_vec(IxDyn(shape), positions.iter().map(|p| elements[*p]).collect())?
    }))
}

fn gather(call: &Call<'_>) -> Outcome {
    let (array, indices) = (call.input(0)?, call.int(1)?);
    let axis = call.axis("axis", 0, array.rank())?;
    let (outer, size, inner) = lanes(array.shape(), axis);
    let mut shape = array.shape()[..axis].to_vec();
    shape.extend_from_slice(indices.shape());
    shape.extend_from_slice(&array.shape()[axis + 1..]);
    let count = call.limits.allow(&shape)?;
    let looked = indices.iter().map(|index| index_into(*index, size)).collect::<Result<Vec<_>, _>>()?;
    let mut positions = Vec::with_capacity(count);
    for o in 0..outer {
        for k in &looked {
            let start = (o * size + k) * inner;
            positions.extend(start..start + inner);
        }
    }
    Ok(vec![picked(call, array, &shape, &positions)?])
}

/// Flat positions in `shape` of what each element of `indices` names along `axis`.
pub(crate) fn element_positions(
    shape: &[usize],
    indices: &ArrayD<i64>,
    axis: usize,
) -> Result<Vec<usize>, Problem> {
    let fits = indices.ndim() == shape.len()
        && indices.shape().iter().zip(shape).enumerate().all(|(a, (i, x))| a == axis || i <= x);
    if !fits {
        return Err(
            format!("indices of shape {:?} do not fit an array of shape {shape:?}", indices.shape()).into()
        );
    }
    let steps = strides(shape);
    let mut place = vec![0; shape.len()];
    let mut positions = Vec::with_capacity(indices.len());
    for index in indices {
        let along = index_into(*index, shape[axis])?;
        let at = |a: usize| if a == axis { along } else { place[a] };
        positions.push((0..shape.len()).map(|a| at(a) * steps[a]).sum());
        advance(&mut place, indices.shape());
    }
    Ok(positions)
}

fn gather_elements(call: &Call<'_>) -> Outcome {
    let (array, indices) = (call.input(0)?, call.int(1)?);
    let axis = call.axis("axis", 0, array.rank())?;
    let positions = element_positions(array.shape(), indices, axis)?;
    Ok(vec![picked(call, array, indices.shape(), &positions)?])
}

/// For every tuple of `indices` (its last axis): where the slice that it names starts in `shape`, the slice's shape
/// being what follows the indexed axes.
pub(crate) fn tuple_starts(
    shape: &[usize],
    indices: &ArrayD<i64>,
    batch: usize,
) -> Result<(Vec<usize>, Vec<usize>), Problem> {
    let rank = indices.ndim();
    let depth = *indices.shape().last().ok_or("indices have no axis; a tuple of indices was expected")?;
    if batch >= rank || batch + depth > shape.len() || shape[..batch] != indices.shape()[..batch] {
        return Err(format!(
            "indices of shape {:?} do not fit an array of shape {shape:?} with {batch} batch axes",
            indices.shape()
        )
        .into());
    }
    let steps = strides(shape);
    let tail = shape[batch + depth..].to_vec();
    let batches: usize = shape[..batch].iter().product();
    let tuples: usize = indices.shape()[..rank - 1].iter().product();
    let per_batch = tuples.checked_div(batches).unwrap_or(0);
    let whole: usize = shape[batch..].iter().product();
    let elements = flat(indices);
    let mut starts = Vec::with_capacity(tuples);
    for tuple in 0..tuples {
        let mut start = tuple.checked_div(per_batch).unwrap_or(0) * whole;
        for d in 0..depth {
            start += index_into(elements[tuple * depth + d], shape[batch + d])? * steps[batch + d];
        }
        starts.push(start);
    }
    Ok((starts, tail))
}

fn gather_nd(call: &Call<'_>) -> Outcome {
    let (array, indices) = (call.input(0)?, call.int(1)?);
    let batch = usize::try_from(call.node.int("batch_dims", 0)).map_err(|_| "batch_dims is negative")?;
    let (starts, tail) = tuple_starts(array.shape(), indices, batch)?;
    let mut shape = indices.shape()[..indices.ndim() - 1].to_vec();
    shape.extend_from_slice(&tail);
    call.limits.allow(&shape)?;
    let size: usize = tail.iter().product();
    let positions: Vec<usize> = starts.into_iter().flat_map(|start| start..start + size).collect();
    Ok(vec![picked(call, array, &shape, &positions)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{counted, floats, ints, node};

    #[test]
    fn indices_count_from_the_end_and_repeat() {
        let x = counted(&[3, 2]);
        let found = node("Gather").run(&[x.clone(), ints(&[3], &[-1, 0, 0])]);
        assert_eq!(found, floats(&[3, 2], &[4.0, 5.0, 0.0, 1.0, 0.0, 1.0]));
        let found = node("Gather").int("axis", 1).run(&[x.clone(), ints(&[], &[1])]);
        assert_eq!(found, floats(&[3], &[1.0, 3.0, 5.0]));
        let found = node("GatherElements").int("axis", 0).run(&[x.clone(), ints(&[2, 2], &[0, 2, 1, 0])]);
        assert_eq!(found, floats(&[2, 2], &[0.0, 5.0, 2.0, 1.0]));
        let found = node("GatherND").run(&[x, ints(&[2, 2], &[0, 1, 2, 0])]);
        assert_eq!(found, floats(&[2], &[1.0, 4.0]));
    }

    #[test]
    fn tuples_are_shared_by_batches_and_may_be_empty() {
        let x = counted(&[2, 2, 2]);
        let shared = node("GatherND").int("batch_dims", 1).run(&[x, ints(&[2, 1], &[1, -2])]);
        assert_eq!(shared, floats(&[2, 2], &[2.0, 3.0, 4.0, 5.0]));
        let whole = node("GatherND").run(&[counted(&[2]), ints(&[2, 0], &[])]);
        assert_eq!(whole, floats(&[2, 2], &[0.0, 1.0, 0.0, 1.0]));
    }

    #[test]
    fn indices_outside_are_errors() {
        let x = counted(&[2, 3]);
        let error = node("Gather").fail(&[x.clone(), ints(&[1], &[2])]);
        assert_eq!(error, "Gather node \"tested\": index 2 is outside an axis of 2");
        for index in [3, -4, i64::MIN, i64::MAX] {
            let along = node("GatherElements").int("axis", 1).fail(&[x.clone(), ints(&[1, 1], &[index])]);
            assert!(along.contains("outside"), "{along}");
            let tuple = node("GatherND").fail(&[x.clone(), ints(&[1, 2], &[0, index])]);
            assert!(tuple.contains("outside"), "{tuple}");
        }
        assert!(node("GatherND").fail(&[x.clone(), ints(&[1, 3], &[0; 3])]).starts_with("GatherND node"));
        let tall = node("GatherElements").int("axis", 1).fail(&[x, ints(&[3, 1], &[0; 3])]);
        assert!(tall.starts_with("GatherElements node"), "{tall}");
    }
}
