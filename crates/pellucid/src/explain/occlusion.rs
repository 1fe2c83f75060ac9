//! Occlusion: what the score loses when a window is covered.

use ndarray::{Array2, ArrayD, ArrayView1, Axis, IxDyn, SliceInfoElem};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator, join};
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;
use crate::space::{Space, Spaces};

/// Drops by input, under one target.
pub(crate) struct Occluded {
    pub(crate) values: Vec<ArrayD<f32>>,
    /// By input: along how many channels a window's drop repeats.
    pub(crate) repeated: Vec<usize>,
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

/// Sizes of window and stride along every axis of an input but the rows', channels first. With fewer numbers than axes they stand for
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
/// averaged where windows overlap. `uncovered` are the scores of every class without a window; `aims` are by target,
/// then by row.
pub(crate) fn occlude(
    evaluator: &mut Evaluator<'_>,
    (window, stride): (&[usize], &[usize]),
    spaces: &Spaces,
    (inputs, baselines): (&Arrays, &Arrays),
    uncovered: &Array2<f32>,
    aims: &[Vec<Aim>],
) -> Result<Vec<Occluded>, Error> {
    let moved = evaluator.program.moved.clone();
    let mut plans = Vec::new();
    for name in &moved {
        let array = &inputs
            .iter()
            .find(|(key, _)| key == name)
            .ok_or_else(|| Error::Internal("an input is missing".to_owned()))?
            .1;
        let space = spaces.of(name);
        let shape = space.sizes(&array.shape()[1..]);
        let (window, stride) = geometry(&shape, window, stride)?;
        let channels = if shape.len() >= 2 { window[0].min(shape[0]) } else { 1 };
        plans.push((name.clone(), space, windows(&shape, &window, &stride), channels));
    }
    let rows = uncovered.nrows();
    evaluator.expect(plans.iter().map(|(_, _, windows, _)| windows.len()).sum::<usize>() * rows);
    let mut found: Vec<Occluded> =
        aims.iter().map(|_| Occluded { values: Vec::new(), repeated: Vec::new() }).collect();
    for (name, space, windows, channels) in &plans {
        let mut parts: Vec<Vec<ArrayD<f32>>> = aims.iter().map(|_| Vec::new()).collect();
        for row in 0..rows {
            let here: Vec<Aim> = aims.iter().map(|aims| aims[row]).collect();
            let drops = one_row(
                evaluator,
                (inputs, baselines),
                (name, *space, windows),
                row,
                &uncovered.row(row),
                &here,
            )?;
            for (parts, drop) in parts.iter_mut().zip(drops) {
                parts.push(drop);
            }
        }
        for (found, parts) in found.iter_mut().zip(parts) {
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            let all = ndarray::stack(Axis(0), &views);
            found.values.push(space.as_input(all.map_err(|error| Error::Internal(error.to_string()))?));
            found.repeated.push(*channels);
        }
    }
    Ok(found)
}

/// The drops of one row's windows, by target.
fn one_row(
    evaluator: &mut Evaluator<'_>,
    (inputs, baselines): (&Arrays, &Arrays),
    (name, space, windows): (&str, Space, &[Window]),
    row: usize,
    uncovered: &ArrayView1<'_, f32>,
    aims: &[Aim],
) -> Result<Vec<ArrayD<f32>>, Error> {
    let of = |arrays: &Arrays, name: &str| {
        arrays.iter().find(|(key, _)| key == name).map(|(_, array)| array.rows(row..row + 1))
    };
    let missing = || Error::Internal(format!("input {name:?} is missing"));
    let x = of(inputs, name).ok_or_else(missing)?;
    let values = space.channels_first(float(&x).ok_or_else(missing)?);
    let baseline = space.channels_first(of(baselines, name).as_ref().and_then(float).ok_or_else(missing)?);
    let shape = IxDyn(&values.shape()[1..]);
    let mut totals: Vec<ArrayD<f64>> = aims.iter().map(|_| ArrayD::zeros(shape.clone())).collect();
    let mut counts = ArrayD::<f64>::zeros(shape);
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
                    like(&x, space.as_input(covered))
                })
                .collect();
            arrays.push((other.clone(), join(&rows.iter().collect::<Vec<_>>())?));
        }
        let covered = evaluator.scores(&arrays, some.len())?;
        for (window, scores) in some.iter().zip(covered.rows()) {
            let place = place(window, false);
            for (total, aim) in totals.iter_mut().zip(aims) {
                let drop = f64::from(aim.score(uncovered)) - f64::from(aim.score(&scores));
                total.slice_mut(place.as_slice()).mapv_inplace(|value| value + drop);
            }
            counts.slice_mut(place.as_slice()).mapv_inplace(|value| value + 1.0);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
    let finished = |mut total: ArrayD<f64>| {
        total.zip_mut_with(&counts, |total, count| *total /= count.max(1.0));
        total.mapv(|value| value as f32)
    };
    Ok(totals.into_iter().map(finished).collect())
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
