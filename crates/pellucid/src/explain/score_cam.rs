//! Score-CAM: a layer's channels, each weighted by the score of the input that its map leaves.

use ndarray::{Array1, Array2, ArrayD, ArrayViewD, Axis, Ix1, IxDyn};
use pellucid_graph::interpolation::{Config, Coordinates, Mode, matrix};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator, join};
use super::layer::{activations, repeated, stacked, varying, weighted};
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;
use crate::space::{Space, Spaces};

/// Maps `[n, 1, …]`, one a target: `aims` are by target, then by row. Every channel of a row that is not the same number
/// everywhere is one forward evaluation.
pub(super) fn score_cam(
    evaluator: &mut Evaluator<'_>,
    spaces: &Spaces,
    (inputs, baselines): (&Arrays, &Arrays),
    aims: &[Vec<Aim>],
) -> Result<Vec<ArrayD<f32>>, Error> {
    let found = activations(evaluator, inputs)?.to_f32();
    let kept: Vec<Vec<usize>> = found.axis_iter(Axis(0)).map(|row| varying(&row)).collect();
    let moved = evaluator.program.moved.clone();
    let masked: Vec<usize> = (0..inputs.len())
        .filter(|number| {
            let (name, array) = &inputs[*number];
            moved.contains(name) && spaces.of(name).sizes(&array.shape()[1..]).len() + 1 == found.ndim()
        })
        .collect();
    if masked.is_empty() {
        return Err(Error::Setting {
            name: "layer".to_owned(),
            problem: format!(
                "no input has {} axes as the layer has, so that its maps cover nothing: use ablation-cam or grad-cam",
                found.ndim()
            ),
        });
    }
    evaluator.expect(kept.iter().map(Vec::len).sum());
    let mut maps = vec![Vec::new(); aims.len()];
    for (row, channels) in kept.iter().enumerate() {
        let activation = found.index_axis(Axis(0), row);
        let mut scores = vec![Vec::new(); aims.len()];
        for some in channels.chunks(evaluator.wave().max(1)) {
            let mut arrays = repeated(inputs, row, some.len())?;
            for number in &masked {
                let (x, baseline) = (&inputs[*number].1, &baselines[*number].1);
                let space = spaces.of(&inputs[*number].0);
                arrays[*number].1 = cover((x, baseline), space, row, &activation, some)?;
            }
            let found = evaluator.scores(&arrays, some.len())?;
            for (aims, scores) in aims.iter().zip(&mut scores) {
                scores.extend(found.rows().into_iter().map(|found| f64::from(aims[row].score(&found))));
            }
        }
        for (maps, scores) in maps.iter_mut().zip(&scores) {
            let mut weights = vec![0.0; activation.shape()[0]];
            for (channel, weight) in channels.iter().zip(softmax(scores)) {
                weights[*channel] = weight;
            }
            maps.push(weighted(&activation, &weights));
        }
    }
    maps.iter().map(|rows| stacked(rows)).collect()
}

/// b + H·(x − b) of one row, once for each channel, H its map at the input's resolution, scaled to 0…1.
fn cover(
    (x, baseline): (&Array, &Array),
    space: Space,
    row: usize,
    activation: &ArrayViewD<'_, f32>,
    channels: &[usize],
) -> Result<Array, Error> {
    let (one, start) = (x.rows(row..row + 1), baseline.rows(row..row + 1));
    let missing = || Error::Internal("an input is not floating-point".to_owned());
    let rows = |array: &Array| Ok::<_, Error>(space.channels_first(float(array).ok_or_else(missing)?));
    let (values, start) = (rows(&one)?, rows(&start)?);
    let sizes = &values.shape()[2..];
    let covered: Vec<Array> = channels
        .iter()
        .map(|channel| {
            let map = activation.index_axis(Axis(0), *channel).mapv(f64::from);
            let mask = scaled(enlarged(map, sizes)).insert_axis(Axis(0)).insert_axis(Axis(0));
            let mut left = &values - &start;
            #[expect(clippy::cast_possible_truncation, reason = "inputs are float32")]
            let mask = mask.mapv(|value| value as f32);
            left *= &mask;
            left += &start;
            like(&one, space.as_input(left))
        })
        .collect();
    join(&covered.iter().collect::<Vec<_>>())
}

/// A map at the sizes `sizes`, linearly, with half-pixel centres.
fn enlarged(map: ArrayD<f64>, sizes: &[usize]) -> ArrayD<f64> {
    let config = Config {
        mode: Mode::Linear,
        coordinates: Coordinates::HalfPixel,
        exclude_outside: false,
        antialias: false,
    };
    let mut map = map;
    for (axis, size) in sizes.iter().enumerate() {
        let own = map.shape()[axis];
        if own == *size {
            continue;
        }
        let weights = matrix(config, own, *size, *size as f64 / own as f64);
        let Ok(weights) = Array2::from_shape_vec((*size, own), weights) else { continue };
        let mut shape = map.shape().to_vec();
        shape[axis] = *size;
        let mut larger = ArrayD::<f64>::zeros(IxDyn(&shape));
        for (from, mut to) in map.lanes(Axis(axis)).into_iter().zip(larger.lanes_mut(Axis(axis))) {
            if let Ok(from) = from.into_dimensionality::<Ix1>() {
                let lane: Array1<f64> = weights.dot(&from);
                to.assign(&lane);
            }
        }
        map = larger;
    }
    map
}

/// Least 0, largest 1.
fn scaled(map: ArrayD<f64>) -> ArrayD<f64> {
    let low = map.iter().copied().fold(f64::INFINITY, f64::min);
    let high = map.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    map.mapv_into(|value| (value - low) / span)
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn maps_are_enlarged_between_the_centres_of_pixels_and_scaled() {
        let map = scaled(enlarged(arr1(&[2.0, 6.0]).into_dyn(), &[4]));
        assert_eq!(map, arr1(&[0.0, 0.25, 0.75, 1.0]).into_dyn());
        assert_eq!(scaled(arr1(&[3.0, 3.0]).into_dyn()), arr1(&[0.0, 0.0]).into_dyn());
    }

    #[test]
    fn weights_are_shares_whatever_is_added_to_all_scores() {
        let (one, other) = (softmax(&[1.0, 2.0]), softmax(&[1001.0, 1002.0]));
        assert!((one[0] - other[0]).abs() < 1e-12 && (one[0] + one[1] - 1.0).abs() < 1e-12);
        assert!(softmax(&[]).is_empty());
    }
}
