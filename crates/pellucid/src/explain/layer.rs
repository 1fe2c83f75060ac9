//! A layer as methods that need no derivative see it: its activations, weighted by channel.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};

use super::evaluator::{Arrays, Evaluator};
use crate::array::Array;
use crate::error::Error;

/// The layer's name.
pub(super) fn name(evaluator: &Evaluator<'_>) -> Result<String, Error> {
    evaluator.program.layer.clone().ok_or_else(|| Error::Internal("no layer is looked at".to_owned()))
}

/// The activations of the layer, `[n, channels, …]`; one forward evaluation a row.
pub(super) fn activations(evaluator: &mut Evaluator<'_>, inputs: &Arrays) -> Result<Array, Error> {
    let name = name(evaluator)?;
    let rows = inputs.first().map_or(0, |(_, array)| array.shape()[0]);
    evaluator.expect(rows);
    evaluator
        .run(inputs, rows, &[&name])?
        .pop()
        .ok_or_else(|| Error::Internal("no layer was given".to_owned()))
}

/// Channels of a row, `[channels, …]`, that are not the same number everywhere.
pub(super) fn varying(activation: &ArrayViewD<'_, f32>) -> Vec<usize> {
    (0..activation.shape()[0])
        .filter(|channel| {
            let map = activation.index_axis(Axis(0), *channel);
            let first = map.iter().next().copied().unwrap_or_default();
            map.iter().any(|value| value.total_cmp(&first).is_ne())
        })
        .collect()
}

/// `max(0, Σ_c weight_c · a_c)` of a row: `[1, …]`.
pub(super) fn weighted(activation: &ArrayViewD<'_, f32>, weights: &[f64]) -> ArrayD<f32> {
    let mut shape = activation.shape().to_vec();
    shape[0] = 1;
    let mut sum = ArrayD::<f64>::zeros(IxDyn(&shape[1..]));
    for (channel, weight) in weights.iter().enumerate() {
        let add = |sum: &mut f64, value: &f32| *sum += weight * f64::from(*value);
        sum.zip_mut_with(&activation.index_axis(Axis(0), channel), add);
    }
    rectified(&sum.insert_axis(Axis(0)))
}

/// max(0, ·), as attributions are kept.
#[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
pub(super) fn rectified(map: &ArrayD<f64>) -> ArrayD<f32> {
    map.mapv(|value| value.max(0.0) as f32)
}

/// Rows `[1, …]` as `[n, 1, …]`.
pub(super) fn stacked(rows: &[ArrayD<f32>]) -> Result<ArrayD<f32>, Error> {
    let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
    ndarray::stack(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))
}

/// Row `row` of every array, `count` times.
pub(super) fn repeated(arrays: &Arrays, row: usize, count: usize) -> Result<Arrays, Error> {
    arrays
        .iter()
        .map(|(name, array)| {
            let one = array.rows(row..row + 1);
            Ok((name.clone(), super::evaluator::join(&vec![&one; count])?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn channels_that_vary_and_their_weighted_sum() {
        let activation = arr2(&[[1.0_f32, 3.0], [2.0, 2.0], [0.0, -4.0]]).into_dyn();
        assert_eq!(varying(&activation.view()), [0, 2]);
        let map = weighted(&activation.view(), &[1.0, 0.5, 1.0]);
        assert_eq!(map, arr2(&[[2.0_f32, 0.0]]).into_dyn());
    }
}
