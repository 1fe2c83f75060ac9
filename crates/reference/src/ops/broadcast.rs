//! NumPy's broadcasting: axes are aligned at the end, sizes of 1 repeat.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::call::Limits;
use crate::error::Problem;

/// The common shape of two arrays.
pub(crate) fn shape(first: &[usize], second: &[usize]) -> Result<Vec<usize>, Problem> {
    let rank = first.len().max(second.len());
    let size = |shape: &[usize], axis: usize| {
        // Axes that an array lacks at the front count as 1.
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (size(first, axis), size(second, axis)) {
            (a, b) if a == b => Ok(a),
            (1, other) | (other, 1) => Ok(other),
            (a, b) => {
                Err(format!("shapes {first:?} and {second:?} do not broadcast: {a} and {b} of axis {axis}")
                    .into())
            }
        })
        .collect()
}

/// A view of `array` under `target`, its sizes of 1 repeated.
pub(crate) fn view<'a, T>(array: &'a ArrayD<T>, target: &[usize]) -> Result<ArrayViewD<'a, T>, Problem> {
    array
        .broadcast(IxDyn(target))
        .ok_or_else(|| format!("shape {:?} does not broadcast to {target:?}", array.shape()).into())
}

/// `function` of every pair of elements of two arrays, broadcast.
pub(crate) fn zip<A: Copy, B: Copy, C>(
    limits: Limits,
    first: &ArrayD<A>,
    second: &ArrayD<B>,
    mut function: impl FnMut(A, B) -> C,
) -> Result<ArrayD<C>, Problem> {
    let target = shape(first.shape(), second.shape())?;
    limits.allow(&target)?;
    let values = if let (Some(a), Some(b)) = (first.as_slice(), second.as_slice())
        && first.shape() == second.shape()
    {
        a.iter().zip(b).map(|(a, b)| function(*a, *b)).collect()
    } else {
        let (a, b) = (view(first, &target)?, view(second, &target)?);
        a.iter().zip(b.iter()).map(|(a, b)| function(*a, *b)).collect()
    };
    limits.array(&target, values)
}

/// As [`zip`], where `function` can fail.
pub(crate) fn try_zip<A: Copy, B: Copy, C>(
    limits: Limits,
    first: &ArrayD<A>,
    second: &ArrayD<B>,
    function: impl Fn(A, B) -> Result<C, Problem>,
) -> Result<ArrayD<C>, Problem> {
    let target = shape(first.shape(), second.shape())?;
    limits.allow(&target)?;
    let (a, b) = (view(first, &target)?, view(second, &target)?);
    let values =
        a.iter().zip(b.iter()).map(|(a, b)| function(*a, *b)).collect::<Result<Vec<C>, Problem>>()?;
    limits.array(&target, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_meet_at_the_end() {
        assert_eq!(shape(&[2, 1, 3], &[4, 1]).unwrap(), [2, 4, 3]);
        assert_eq!(shape(&[], &[2, 0]).unwrap(), [2, 0]);
        assert_eq!(shape(&[1], &[0]).unwrap(), [0]);
        assert!(shape(&[2], &[3]).is_err());
        assert!(shape(&[2], &[0]).is_err());
    }

    #[test]
    fn a_product_of_two_small_arrays_is_limited() {
        let limits = Limits { elements: 100, iterations: 1 };
        let row = ArrayD::<f64>::zeros(IxDyn(&[1, 50]));
        let column = ArrayD::<f64>::zeros(IxDyn(&[50, 1]));
        assert!(zip(limits, &row, &column, |a, b| a + b).is_err());
    }
}
