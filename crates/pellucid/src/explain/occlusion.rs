//! Occlusion: what the score loses when a window is covered.

use ndarray::{Array1, ArrayD, Axis, IxDyn, SliceInfoElem};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator, join};
use crate::array::Array;
use crate::error::Error;

/// Drops by input, and the scores of the uncovered rows.
pub(crate) struct Occluded {
    pub(crate) values: Vec<ArrayD<f32>>,
    pub(crate) scores: Array1<f32>,
}

/// A window: where it starts and ends along each axis but the rows'.
type Window = Vec<std::ops::Range<usize>>;

/// The windows that cover an input of the sizes `shape` (without rows), in row-major order. The last one along an
/// axis is cut at the edge, as Captum's.
fn windows(shape: &[usize], window: &[usize], stride: &[usize]) -> Vec<Window> {
    let mut all: Vec<Window> = vec![Vec::new()];
    for ((size, window), stride) in shape.iter().zip(window).zip(stride) {
        let window = (*window).min(*size);
        let count = 1 + (size - window).div_ceil(*stride);
        let along: Vec<std::ops::Range<usize>> =
            (0..count).map(|i| i * stride..(i * stride + window).min(*size)).collect();
        all = all
            .iter()
            .flat_map(|before| {
                along.iter().map(move |range| before.iter().cloned().chain([range.clone()]).collect())
            })
            .collect();
    }
    all
}

/// Sizes of window and stride along every axis of an input but the rows'. With fewer numbers than axes they stand for
/// the last axes, and a window spans the others whole; one number stands for every axis after the channels'.
fn geometry(shape: &[usize], window: &[usize], stride: &[usize]) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let axes = shape.len();
    let spatial = if axes >= 2 { axes - 1 } else { axes };
    let complete =
        |key: &str, given: &[usize], default: &dyn Fn(usize) -> usize| -> Result<Vec<usize>, Error> {
            let given: Vec<usize> = match given {
                [] => (axes - spatial..axes).map(default).collect(),
                [one] => vec![*one; spatial],
                several => several.to_vec(),
            };
            if given.len() > axes {
                return Err(Error::Setting {
                    name: key.to_owned(),
                    problem: format!(
                        "{} sizes were given for an input of {axes} axes without its rows",
                        given.len()
                    ),
                });
            }
            Ok(shape[..axes - given.len()].iter().copied().chain(given).collect())
        };
    let window = complete("window", window, &|axis| if axes >= 2 { shape[axis].div_ceil(7) } else { 1 })?;
    let stride = complete("stride", stride, &|axis| window[axis].div_ceil(2))?;
    Ok((window, stride))
}

/// Covers every float input, window by window, with its baseline. Each window's drop is spread over the window and
/// averaged where windows overlap.
pub(crate) fn occlude(
    evaluator: &mut Evaluator<'_>,
    window: &[usize],
    stride: &[usize],
    inputs: &Arrays,
    baselines: &Arrays,
    targets: &[i64],
) -> Result<Occluded, Error> {
    let score = evaluator.program.score.clone();
    let scores: Array1<f32> =
        Array1::from_iter(evaluator.run(inputs, targets, &[&score])?.remove(0).to_f32());
    let moved: Vec<String> = evaluator.program.attributions.iter().map(|(name, _)| name.clone()).collect();
    let mut plans = Vec::new();
    for name in &moved {
        let array = &inputs
            .iter()
            .find(|(key, _)| key == name)
            .ok_or_else(|| Error::Internal("an input is missing".to_owned()))?
            .1;
        let shape = &array.shape()[1..];
        let (window, stride) = geometry(shape, window, stride)?;
        plans.push((name.clone(), windows(shape, &window, &stride)));
    }
    evaluator.expect(plans.iter().map(|(_, windows)| windows.len()).sum::<usize>() * targets.len());
    let mut values = Vec::new();
    for (name, windows) in &plans {
        let mut rows = Vec::new();
        for (row, target) in targets.iter().enumerate() {
            rows.push(one_row(
                evaluator,
                &score,
                (inputs, baselines),
                (name, windows),
                row,
                *target,
                scores[row],
            )?);
        }
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        values.push(ndarray::stack(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))?);
    }
    Ok(Occluded { values, scores })
}

fn one_row(
    evaluator: &mut Evaluator<'_>,
    score: &str,
    (inputs, baselines): (&Arrays, &Arrays),
    (name, windows): (&str, &[Window]),
    row: usize,
    target: i64,
    uncovered: f32,
) -> Result<ArrayD<f32>, Error> {
    let of = |arrays: &Arrays, name: &str| {
        arrays.iter().find(|(key, _)| key == name).map(|(_, array)| array.rows(row..row + 1))
    };
    let missing = || Error::Internal(format!("input {name:?} is missing"));
    let x = of(inputs, name).ok_or_else(missing)?;
    let values = float(&x).ok_or_else(missing)?;
    let baseline = of(baselines, name).as_ref().and_then(float).ok_or_else(missing)?;
    let shape = IxDyn(&values.shape()[1..]);
    let (mut total, mut counts) = (ArrayD::<f64>::zeros(shape.clone()), ArrayD::<f64>::zeros(shape));
    for some in windows.chunks(evaluator.wave().max(1)) {
        let mut arrays = Vec::new();
        for (other, array) in inputs {
            let rows: Vec<Array> = some
                .iter()
                .map(|window| {
                    if other != name {
                        return array.rows(row..row + 1);
                    }
                    let mut covered = values.clone();
                    let place = place(window, true);
                    covered.slice_mut(place.as_slice()).assign(&baseline.slice(place.as_slice()));
                    like(&x, covered)
                })
                .collect();
            arrays.push((other.clone(), join(&rows.iter().collect::<Vec<_>>())?));
        }
        let covered = evaluator.run(&arrays, &vec![target; some.len()], &[score])?.remove(0).to_f32();
        for (window, score) in some.iter().zip(covered.iter()) {
            let place = place(window, false);
            let drop = f64::from(uncovered) - f64::from(*score);
            total.slice_mut(place.as_slice()).mapv_inplace(|value| value + drop);
            counts.slice_mut(place.as_slice()).mapv_inplace(|value| value + 1.0);
        }
    }
    total.zip_mut_with(&counts, |total, count| *total /= count.max(1.0));
    #[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
    Ok(total.mapv(|value| value as f32))
}

fn place(window: &Window, with_rows: bool) -> Vec<SliceInfoElem> {
    let whole = SliceInfoElem::Slice { start: 0, end: None, step: 1 };
    let ranges = window.iter().map(|range| SliceInfoElem::from(range.clone()));
    if with_rows { std::iter::once(whole).chain(ranges).collect() } else { ranges.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_and_the_last_is_cut() {
        let along: Vec<_> = windows(&[10], &[4], &[3]).into_iter().flatten().collect();
        assert_eq!(along, [0..4, 3..7, 6..10]);
        let cut = windows(&[11], &[4], &[3]);
        assert_eq!(cut.last().unwrap()[0], 9..11);
        assert_eq!(windows(&[3, 8, 8], &[3, 4, 4], &[3, 4, 4]).len(), 4);
    }

    #[test]
    fn one_number_stands_for_every_spatial_axis() {
        assert_eq!(geometry(&[3, 224, 224], &[32], &[16]).unwrap(), (vec![3, 32, 32], vec![3, 16, 16]));
        assert_eq!(geometry(&[3, 224, 224], &[], &[]).unwrap(), (vec![3, 32, 32], vec![3, 16, 16]));
        assert_eq!(geometry(&[13], &[], &[]).unwrap(), (vec![1], vec![1]));
        assert!(geometry(&[13], &[2, 2], &[1]).is_err());
    }
}
