//! Methods that average over inputs with added noise.

use ndarray::{Array1, ArrayD, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator, join};
use super::explainer::Place;
use crate::array::Array;
use crate::error::Error;

/// Mean and standard error of the signal over noisy copies of every row.
pub(crate) struct Averaged {
    pub(crate) values: Vec<ArrayD<f32>>,
    pub(crate) std_error: Option<ArrayD<f32>>,
    pub(crate) scores: Array1<f32>,
}

/// Where the noise comes from.
pub(crate) enum Noise<'a> {
    /// Drawn: a normal distribution of this standard deviation as a share of each row's range.
    Drawn { share: f64, seed: u64 },
    /// Given by the caller: [samples, n, …] for each input, by name.
    Given(&'a Arrays),
}

impl Noise<'_> {
    /// Sample `sample` of the noise for row `row`, of all the run's, of input number `input`.
    fn of(
        &self,
        x: &ArrayD<f32>,
        name: &str,
        input: usize,
        row: usize,
        sample: usize,
    ) -> Result<ArrayD<f32>, Error> {
        match self {
            Self::Given(arrays) => {
                let missing = || Error::Setting {
                    name: "noise".to_owned(),
                    problem: format!("it has nothing for input {name:?}"),
                };
                let array = &arrays.iter().find(|(key, _)| key == name).ok_or_else(missing)?.1;
                let wrong = || Error::Setting {
                    name: "noise".to_owned(),
                    problem: format!("{name:?} has shape {:?}; expected [samples, n, …]", array.shape()),
                };
                if array.shape().len() != x.ndim() + 1 || array.shape()[2..] != x.shape()[1..] {
                    return Err(wrong());
                }
                let all = array.rows(sample..sample + 1).to_f32().index_axis_move(Axis(0), 0);
                if row >= all.shape()[0] {
                    return Err(wrong());
                }
                Ok(all.index_axis(Axis(0), row).to_owned().insert_axis(Axis(0)))
            }
            Self::Drawn { share, seed } => {
                let low = x.iter().copied().fold(f32::INFINITY, f32::min);
                let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let deviation = share * f64::from(high - low);
                // A stream for every input, row and sample: a row's noise does not depend on its neighbours.
                let mut random = ChaCha8Rng::seed_from_u64(*seed);
                random.set_stream(((input as u64) << 56) ^ ((row as u64) << 24) ^ sample as u64);
                #[expect(clippy::cast_possible_truncation, reason = "the engine takes float32")]
                Ok(ArrayD::from_shape_simple_fn(x.raw_dim(), || {
                    let number: f64 = StandardNormal.sample(&mut random);
                    (deviation * number) as f32
                }))
            }
        }
    }
}

/// Averages every row.
pub(crate) fn average(
    evaluator: &mut Evaluator<'_>,
    samples: usize,
    noise: &Noise<'_>,
    inputs: &Arrays,
    targets: &[i64],
    place: Place,
) -> Result<Averaged, Error> {
    evaluator.expect(targets.len() * (samples + 1));
    let scores = evaluator.pass(inputs, targets)?.scores;
    let moved: Vec<String> = evaluator.program.attributions.iter().map(|(name, _)| name.clone()).collect();
    let mut rows = Vec::new();
    let mut errors = Vec::new();
    for (row, target) in targets.iter().enumerate() {
        let (mut sum, mut squares): (Vec<ArrayD<f64>>, Vec<ArrayD<f64>>) = (Vec::new(), Vec::new());
        let numbers: Vec<usize> = (0..samples).collect();
        for some in numbers.chunks(evaluator.wave().max(1)) {
            let noisy = noisy_rows(inputs, &moved, (row, place.first + row), some, noise)?;
            let passed = evaluator.pass(&noisy, &vec![*target; some.len()])?;
            for (position, signal) in passed.values.iter().enumerate() {
                if sum.len() <= position {
                    let shape = signal.index_axis(Axis(0), 0).raw_dim();
                    sum.push(ArrayD::zeros(shape.clone()));
                    squares.push(ArrayD::zeros(shape));
                }
                for one in signal.axis_iter(Axis(0)) {
                    sum[position].zip_mut_with(&one, |sum, value| *sum += f64::from(*value));
                    squares[position].zip_mut_with(&one, |sum, value| *sum += f64::from(*value).powi(2));
                }
            }
        }
        let count = samples as f64;
        #[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
        let mean = sum.iter().map(|sum| sum.mapv(|sum| (sum / count) as f32)).collect::<Vec<_>>();
        rows.push(mean);
        if samples > 1 {
            errors.push(standard_error(&sum[0], &squares[0], count));
        }
    }
    let stack = |parts: Vec<ArrayD<f32>>| {
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        ndarray::stack(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))
    };
    let values = (0..moved.len())
        .map(|input| stack(rows.iter().map(|row| row[input].clone()).collect()))
        .collect::<Result<_, _>>()?;
    let std_error = if errors.is_empty() { None } else { Some(stack(errors)?) };
    Ok(Averaged { values, std_error, scores })
}

#[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
fn standard_error(sum: &ArrayD<f64>, squares: &ArrayD<f64>, count: f64) -> ArrayD<f32> {
    let mut error = squares.clone();
    error.zip_mut_with(sum, |square, sum| {
        let variance = (*square - sum * sum / count).max(0.0) / (count - 1.0);
        *square = (variance / count).sqrt();
    });
    error.mapv(|value| value as f32)
}

fn noisy_rows(
    inputs: &Arrays,
    moved: &[String],
    (row, of_all): (usize, usize),
    samples: &[usize],
    noise: &Noise<'_>,
) -> Result<Arrays, Error> {
    let mut noisy = Vec::new();
    for (number, (name, array)) in inputs.iter().enumerate() {
        let x = array.rows(row..row + 1);
        let mut copies = Vec::new();
        for sample in samples {
            copies.push(match float(&x) {
                Some(values) if moved.contains(name) => {
                    let added = noise.of(&values, name, number, of_all, *sample)?;
                    like(&x, values + added)
                }
                _ => x.clone(),
            });
        }
        noisy.push((name.clone(), join(&copies.iter().collect::<Vec<&Array>>())?));
    }
    Ok(noisy)
}
