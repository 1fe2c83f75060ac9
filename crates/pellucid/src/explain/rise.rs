//! RISE: the mean of random masks, each weighted by the score of the input that it leaves.

use ndarray::{Array2, ArrayD, Axis, IxDyn};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator, join};
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;
use crate::space::{Space, Spaces};

/// How masks are drawn.
pub(crate) struct Masks<'a> {
    pub(crate) samples: usize,
    /// Cells along each spatial axis; one number stands for every axis, and the last stands for those that are missing.
    pub(crate) grid: Vec<usize>,
    /// Probability that a cell is kept.
    pub(crate) keep: f64,
    pub(crate) seed: u64,
    /// Masks that the caller gives instead: [samples, …space] by input.
    pub(crate) given: Option<&'a Arrays>,
}

/// An input that is masked: its number, how it lies, the sizes of its space, and whether it has none, as a vector.
struct Masked {
    number: usize,
    space: Space,
    sizes: Vec<usize>,
    plain: bool,
}

/// What one target's masks give: by input, [n, 1, …] with the input's space, or [n, …] of a vector.
pub(crate) struct Risen {
    pub(crate) values: Vec<ArrayD<f32>>,
    pub(crate) std_errors: Option<Vec<ArrayD<f32>>>,
}

impl Masks<'_> {
    /// Mask number `sample` of input number `input`, over the axes `space`: 1 keeps, 0 covers.
    ///
    /// A grid of cells, each kept with the probability, enlarged linearly to one cell more than the space along every
    /// axis, of which a random window is taken. Without an axis to enlarge along, as in a vector (`cells` as many as
    /// numbers), every number is a cell of its own.
    fn mask(&self, space: &[usize], plain: bool, input: usize, sample: usize) -> ArrayD<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(((input as u64) << 40) ^ sample as u64);
        let grid: Vec<usize> = space
            .iter()
            .enumerate()
            .map(|(axis, size)| {
                let given = self.grid.get(axis).or(self.grid.last()).copied().unwrap_or(7);
                if plain { *size } else { given.min(*size) }
            })
            .collect();
        let mut mask =
            ArrayD::from_shape_simple_fn(
                IxDyn(&grid),
                || {
                    if unit(&mut random) < self.keep { 1.0 } else { 0.0 }
                },
            );
        if plain {
            return mask;
        }
        for (axis, (size, cells)) in space.iter().zip(&grid).enumerate() {
            let cell = size.div_ceil(*cells);
            let shift = usize::try_from(random.next_u32()).unwrap_or_default() % cell;
            mask = enlarged(&mask, axis, (cells + 1) * cell, shift, *size);
        }
        mask
    }
}

/// Mask number `sample` among given ones.
fn given(arrays: &Arrays, name: &str, space: &[usize], sample: usize) -> Result<ArrayD<f64>, Error> {
    let wrong = |problem: String| Error::Setting { name: "masks".to_owned(), problem };
    let found = arrays.iter().find(|(key, _)| key == name);
    let array = &found.ok_or_else(|| wrong(format!("they have nothing for input {name:?}")))?.1;
    if array.shape().len() != space.len() + 1 || array.shape()[1..] != *space || sample >= array.shape()[0] {
        return Err(wrong(format!(
            "{name:?} has shape {:?}; expected [samples, …] of {space:?}",
            array.shape()
        )));
    }
    Ok(array.rows(sample..sample + 1).to_f64().index_axis_move(Axis(0), 0))
}

/// A number in [0, 1).
fn unit(random: &mut ChaCha8Rng) -> f64 {
    f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// `size` positions from `start` of `values` enlarged to `whole` along `axis`, linearly between the centres of cells.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position among the cells")]
fn enlarged(values: &ArrayD<f64>, axis: usize, whole: usize, start: usize, size: usize) -> ArrayD<f64> {
    let cells = values.shape()[axis];
    let lanes: Vec<_> = (start..start + size)
        .map(|position| {
            let at = (position as f64 + 0.5) * cells as f64 / whole as f64 - 0.5;
            let at = at.clamp(0.0, (cells - 1) as f64);
            let below = at.floor() as usize;
            let above = (below + 1).min(cells - 1);
            let part = at - below as f64;
            let lane = |cell| values.index_axis(Axis(axis), cell);
            &lane(below) * (1.0 - part) + &lane(above) * part
        })
        .collect();
    let views: Vec<_> = lanes.iter().map(|lane| lane.view()).collect();
    ndarray::stack(Axis(axis), &views).unwrap_or_else(|_| values.clone())
}

/// Sums over masks of one row, one target and one input: Σ score · mask and Σ (score · mask)².
type Pair = (ArrayD<f64>, ArrayD<f64>);

/// Those of one row under one target, by input.
struct Sums(Vec<Pair>);

/// Masks every float input at once, and weighs every mask by the score, for each target: `aims` are by target, then by
/// row. Every row sees the same masks.
pub(crate) fn rise(
    evaluator: &mut Evaluator<'_>,
    masks: &Masks<'_>,
    spaces: &Spaces,
    (inputs, baselines): (&Arrays, &Arrays),
    aims: &[Vec<Aim>],
) -> Result<Vec<Risen>, Error> {
    let rows = aims.first().map_or(0, Vec::len);
    evaluator.expect(rows * masks.samples);
    let moved = evaluator.program.moved.clone();
    let of: Vec<Masked> = inputs
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| moved.contains(name))
        .map(|(number, (name, array))| {
            let space = spaces.of(name);
            let row = space.sizes(&array.shape()[1..]);
            let plain = row.len() < 2;
            Masked { number, space, sizes: row[usize::from(!plain)..].to_vec(), plain }
        })
        .collect();
    let zeros = || Sums(of.iter().map(|input| (zeros(&input.sizes), zeros(&input.sizes))).collect());
    let mut sums: Vec<Vec<Sums>> = aims.iter().map(|_| (0..rows).map(|_| zeros()).collect()).collect();
    let numbers: Vec<usize> = (0..masks.samples).collect();
    for some in numbers.chunks(evaluator.wave().max(1)) {
        let drawn = some
            .iter()
            .map(|sample| {
                let mask = |input: &Masked| match masks.given {
                    Some(arrays) => given(arrays, &inputs[input.number].0, &input.sizes, *sample),
                    None => Ok(masks.mask(&input.sizes, input.plain, input.number, *sample)),
                };
                of.iter().map(mask).collect::<Result<Vec<_>, Error>>()
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for row in 0..rows {
            let masked = masked(inputs, baselines, &of, &drawn, row)?;
            let scores: Array2<f32> = evaluator.scores(&masked, some.len())?;
            for (aims, sums) in aims.iter().zip(&mut sums) {
                for (masks, scores) in drawn.iter().zip(scores.rows()) {
                    let score = f64::from(aims[row].score(&scores));
                    for (mask, (sum, squares)) in masks.iter().zip(&mut sums[row].0) {
                        ndarray::Zip::from(sum).and(squares).and(mask).for_each(|sum, square, mask| {
                            *sum += score * mask;
                            *square += (score * mask).powi(2);
                        });
                    }
                }
            }
        }
    }
    sums.iter().map(|rows| finished(rows, masks, &of)).collect()
}

fn zeros(space: &[usize]) -> ArrayD<f64> {
    ArrayD::zeros(IxDyn(space))
}

#[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
fn finished(rows: &[Sums], masks: &Masks<'_>, inputs: &[Masked]) -> Result<Risen, Error> {
    let count = masks.samples as f64;
    let stacked = |of: &dyn Fn(&Pair) -> ArrayD<f64>| {
        inputs
            .iter()
            .enumerate()
            .map(|(input, Masked { plain, .. })| {
                let parts: Vec<ArrayD<f64>> = rows.iter().map(|sums| of(&sums.0[input])).collect();
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                let all =
                    ndarray::stack(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))?;
                let all = if *plain { all } else { all.insert_axis(Axis(1)) };
                Ok(all.mapv(|value| value as f32))
            })
            .collect::<Result<Vec<_>, Error>>()
    };
    let error = |(sum, squares): &Pair| {
        let mut error = squares.clone();
        error.zip_mut_with(sum, |square, sum| {
            let variance = (*square - sum * sum / count).max(0.0) / (count - 1.0);
            *square = (variance / count).sqrt() / masks.keep;
        });
        error
    };
    let std_errors = if masks.samples > 1 { Some(stacked(&error)?) } else { None };
    Ok(Risen { values: stacked(&|(sum, _)| sum / (count * masks.keep))?, std_errors })
}

/// One row under some masks: what they cover is the baseline's.
fn masked(
    inputs: &Arrays,
    baselines: &Arrays,
    of: &[Masked],
    drawn: &[Vec<ArrayD<f64>>],
    row: usize,
) -> Result<Arrays, Error> {
    let mut arrays = Vec::new();
    for (number, (name, array)) in inputs.iter().enumerate() {
        let x = array.rows(row..row + 1);
        let input = of.iter().position(|input| input.number == number);
        let baseline =
            baselines.iter().find(|(key, _)| key == name).map(|(_, array)| array.rows(row..row + 1));
        let parts: Vec<Array> = match (input, float(&x), baseline.as_ref().and_then(float)) {
            (Some(input), Some(values), Some(b)) => {
                let space = of[input].space;
                let (values, b) = (space.channels_first(values), space.channels_first(b));
                let part = |masks: &Vec<ArrayD<f64>>| {
                    #[expect(clippy::cast_possible_truncation, reason = "the engine takes float32")]
                    let mask = masks[input].mapv(|mask| mask as f32);
                    // Masks lack rows and channels, and broadcast over them.
                    like(&x, space.as_input(&b + &((&values - &b) * &mask)))
                };
                drawn.iter().map(part).collect()
            }
            _ => vec![x.clone(); drawn.len()],
        };
        arrays.push((name.clone(), join(&parts.iter().collect::<Vec<_>>())?));
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(grid: &[usize]) -> Masks<'static> {
        Masks { samples: 1, grid: grid.to_vec(), keep: 0.5, seed: 3, given: None }
    }

    #[test]
    fn masks_keep_half_and_are_smooth() {
        let masks = masks(&[4]);
        let mut sum = ArrayD::zeros(IxDyn(&[16, 12]));
        for sample in 0..2000 {
            let mask = masks.mask(&[16, 12], false, 0, sample);
            assert_eq!(mask.shape(), [16, 12]);
            assert!(mask.iter().all(|value| (0.0..=1.0).contains(value)));
            // A cell is at least 3 wide, so neighbours differ by a third at most.
            for lane in mask.lanes(Axis(1)) {
                assert!(lane.windows(2).into_iter().all(|pair| (pair[1] - pair[0]).abs() <= 0.4));
            }
            sum += &mask;
        }
        let mean = sum / 2000.0;
        assert!(mean.iter().all(|value| (value - 0.5).abs() < 0.05), "{mean}");
    }

    #[test]
    fn a_seed_and_a_sample_always_give_the_same_mask() {
        let first = masks(&[3, 5]).mask(&[9, 20], false, 0, 4);
        assert_eq!(first, masks(&[3, 5]).mask(&[9, 20], false, 0, 4));
        assert_ne!(first, masks(&[3, 5]).mask(&[9, 20], false, 0, 5));
        assert_ne!(first, masks(&[3, 5]).mask(&[9, 20], false, 1, 4));
    }

    #[test]
    fn numbers_of_a_vector_are_cells() {
        let mask = masks(&[7]).mask(&[30], true, 0, 0);
        assert!(mask.iter().all(|value| [0.0, 1.0].contains(value)));
        assert!(mask.iter().any(|value| *value < 0.5) && mask.iter().any(|value| *value > 0.5));
    }

    #[test]
    fn enlarging_is_linear_between_centres() {
        let values = ndarray::arr1(&[0.0, 1.0]).into_dyn();
        let found = enlarged(&values, 0, 4, 0, 4);
        assert_eq!(found, ndarray::arr1(&[0.0, 0.25, 0.75, 1.0]).into_dyn());
        assert_eq!(enlarged(&values, 0, 4, 1, 2), ndarray::arr1(&[0.25, 0.75]).into_dyn());
    }
}
