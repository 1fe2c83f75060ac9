//! Methods that take a statistic over drawn points: inputs with added noise, and points on the way from drawn
//! baselines.

use ndarray::{Array1, ArrayD, Axis};
use pellucid_compile::Statistic;

use super::background::{Background, Draws};
use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator, join};
use super::explainer::Place;
use super::noise::Noise;
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;

/// How points are drawn, and what becomes of the readouts there.
pub(crate) struct Sampling<'a> {
    pub(crate) samples: usize,
    pub(crate) noise: Option<Noise<'a>>,
    pub(crate) background: Option<(&'a Background, &'a Draws)>,
    /// Whether readouts are multiplied by what the input differs from the drawn baseline.
    pub(crate) compared: bool,
    pub(crate) statistic: Statistic,
}

/// What one target's samples give.
pub(crate) struct Sampled {
    /// By collected value, [n, …].
    pub(crate) values: Vec<ArrayD<f32>>,
    /// Standard errors of the values, likewise; `None` of one sample.
    pub(crate) std_errors: Option<Vec<ArrayD<f32>>>,
    /// [n]: standard error of Σ values; `None` of one sample.
    pub(crate) total_errors: Option<Array1<f32>>,
}

/// Sums of powers of what is seen, less the first: a mean far from zero then costs no digits.
struct Moments {
    first: ArrayD<f64>,
    powers: [ArrayD<f64>; 4],
    fourth: bool,
    count: f64,
}

impl Moments {
    fn new(first: ArrayD<f64>, fourth: bool) -> Self {
        let zeros = || ArrayD::zeros(if fourth { first.raw_dim() } else { ndarray::IxDyn(&[0]) });
        let powers = [ArrayD::zeros(first.raw_dim()), ArrayD::zeros(first.raw_dim()), zeros(), zeros()];
        Self { first, powers, fourth, count: 0.0 }
    }

    fn add(&mut self, value: &ArrayD<f64>) {
        let difference = value - &self.first;
        self.count += 1.0;
        self.powers[0] += &difference;
        let square = difference.mapv(|d| d * d);
        self.powers[1] += &square;
        if self.fourth {
            self.powers[2] += &(&square * &difference);
            self.powers[3] += &square.mapv(|d| d * d);
        }
    }

    fn mean(&self) -> ArrayD<f64> {
        &self.first + &(&self.powers[0] / self.count)
    }

    /// Divided by the count.
    fn variance(&self) -> ArrayD<f64> {
        let mut variance = &self.powers[1] / self.count;
        variance.zip_mut_with(&self.powers[0], |square, sum| {
            *square = (*square - (sum / self.count).powi(2)).max(0.0);
        });
        variance
    }

    /// Of the mean.
    fn mean_error(&self) -> ArrayD<f64> {
        self.variance().mapv(|variance| (variance / (self.count - 1.0)).sqrt())
    }

    /// Of the variance, for many samples: √((m₄ − m₂²)/n) of the central moments.
    fn variance_error(&self) -> ArrayD<f64> {
        let mut error = self.variance();
        let n = self.count;
        ndarray::Zip::from(&mut error)
            .and(&self.powers[0])
            .and(&self.powers[1])
            .and(&self.powers[2])
            .and(&self.powers[3])
            .for_each(|error, s1, s2, s3, s4| {
                let d = s1 / n;
                let fourth = s4 / n - 4.0 * d * s3 / n + 6.0 * d * d * s2 / n - 3.0 * d.powi(4);
                *error = ((fourth - *error * *error).max(0.0) / n).sqrt();
            });
        error
    }
}

/// What is known so far of one row under one target.
struct Row {
    moments: Vec<Moments>,
    totals: Option<Moments>,
}

impl Row {
    fn add(&mut self, statistic: Statistic, readouts: Vec<ArrayD<f64>>) {
        let fourth = statistic == Statistic::Variance;
        let readouts: Vec<ArrayD<f64>> = match statistic {
            Statistic::MeanSquare => readouts.into_iter().map(|r| r.mapv(|value| value * value)).collect(),
            Statistic::Mean | Statistic::Variance => readouts,
        };
        let total = ndarray::arr0(readouts.iter().map(|readout| readout.sum()).sum::<f64>()).into_dyn();
        self.totals.get_or_insert_with(|| Moments::new(total.clone(), false)).add(&total);
        for (number, readout) in readouts.iter().enumerate() {
            if self.moments.len() <= number {
                self.moments.push(Moments::new(readout.clone(), fourth));
            }
            self.moments[number].add(readout);
        }
    }
}

/// Draws the points of every row, and takes the statistic, for each target: `aims` are by target, then by row.
pub(crate) fn sample(
    evaluator: &mut Evaluator<'_>,
    sampling: &Sampling<'_>,
    inputs: &Arrays,
    aims: &[Vec<Aim>],
    place: Place,
) -> Result<Vec<Sampled>, Error> {
    let rows = aims.first().map_or(0, Vec::len);
    evaluator.expect(rows * sampling.samples);
    let mut known: Vec<Vec<Row>> = aims.iter().map(|_| Vec::new()).collect();
    for row in 0..rows {
        for known in &mut known {
            known.push(Row { moments: Vec::new(), totals: None });
        }
        let numbers: Vec<usize> = (0..sampling.samples).collect();
        for some in numbers.chunks(evaluator.wave().max(1)) {
            let Drawn { points, differences } = drawn(evaluator, sampling, inputs, row, some, place)?;
            let here: Vec<Vec<Aim>> = aims.iter().map(|aims| vec![aims[row]; some.len()]).collect();
            for (known, passed) in known.iter_mut().zip(evaluator.pass(&points, &here)?) {
                for (place, differences) in differences.iter().enumerate() {
                    let readouts = passed
                        .values
                        .iter()
                        .enumerate()
                        .map(|(number, values)| {
                            let readout = values.index_axis(Axis(0), place).mapv(f64::from);
                            match differences.get(number) {
                                Some(difference) if sampling.compared => readout * difference,
                                _ => readout,
                            }
                        })
                        .collect();
                    known[row].add(sampling.statistic, readouts);
                }
            }
        }
    }
    known.into_iter().map(|rows| finished(&rows, sampling)).collect()
}

fn finished(rows: &[Row], sampling: &Sampling<'_>) -> Result<Sampled, Error> {
    let variance = sampling.statistic == Statistic::Variance;
    let collected = rows.first().map_or(0, |row| row.moments.len());
    let stacked = |of: &dyn Fn(&Moments) -> ArrayD<f64>| {
        (0..collected)
            .map(|number| {
                let parts: Vec<ArrayD<f64>> = rows.iter().map(|row| of(&row.moments[number])).collect();
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                let all =
                    ndarray::stack(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))?;
                Ok(all.mapv(rounded))
            })
            .collect::<Result<Vec<_>, Error>>()
    };
    let values = stacked(&|moments| if variance { moments.variance() } else { moments.mean() })?;
    let errors = |moments: &Moments| {
        if variance { moments.variance_error() } else { moments.mean_error() }
    };
    let several = sampling.samples > 1;
    let total = |row: &Row| row.totals.as_ref().map_or(0.0, |totals| totals.mean_error().sum());
    Ok(Sampled {
        values,
        std_errors: if several { Some(stacked(&errors)?) } else { None },
        total_errors: several.then(|| rows.iter().map(|row| rounded(total(row))).collect()),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
fn rounded(value: f64) -> f32 {
    value as f32
}

/// Some points of one row.
struct Drawn {
    points: Arrays,
    /// By point, then by moved input: input − baseline, without the batch axis; empty without baselines.
    differences: Vec<Vec<ArrayD<f64>>>,
}

fn drawn(
    evaluator: &Evaluator<'_>,
    sampling: &Sampling<'_>,
    inputs: &Arrays,
    row: usize,
    samples: &[usize],
    place: Place,
) -> Result<Drawn, Error> {
    let mut differences = vec![Vec::new(); samples.len()];
    let mut points = Vec::new();
    for (number, (name, array)) in inputs.iter().enumerate() {
        let x = array.rows(row..row + 1);
        let moved = float(&x).filter(|_| evaluator.program.moved.contains(name));
        let Some(values) = moved else {
            points.push((name.clone(), join(&vec![&x; samples.len()])?));
            continue;
        };
        let mut copies = Vec::new();
        for (differences, sample) in differences.iter_mut().zip(samples) {
            let mut here = values.clone();
            if let Some(noise) = &sampling.noise {
                here += &noise.of(&values, name, number, place.first + row, *sample)?;
            }
            if let Some((background, draws)) = sampling.background {
                let missing = || Error::Internal(format!("the background has nothing for {name:?}"));
                let (pick, position) = match (draws.pick.get(*sample), draws.position.get(*sample)) {
                    (Some(pick), Some(position)) => (*pick, *position),
                    _ => return Err(too_few(draws, sampling.samples)),
                };
                let b = background.row(name, background.picked(pick)).ok_or_else(missing)?.mapv(f64::from);
                let difference = here.mapv(f64::from) - &b;
                here = (b + &difference * position).mapv(rounded);
                differences.push(difference.index_axis_move(Axis(0), 0));
            }
            copies.push(like(&x, here));
        }
        points.push((name.clone(), join(&copies.iter().collect::<Vec<&Array>>())?));
    }
    Ok(Drawn { points, differences })
}

fn too_few(draws: &Draws, samples: usize) -> Error {
    Error::Setting {
        name: "draws".to_owned(),
        problem: format!(
            "{} backgrounds and {} positions were given for {samples} samples",
            draws.pick.len(),
            draws.position.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_their_definitions() {
        // Far from zero, where sums of plain squares would lose everything.
        let values = [1e6 + 1.0, 1e6 + 2.5, 1e6 - 0.5, 1e6 + 4.0, 1e6 + 0.25];
        let array = |value: f64| ndarray::arr0(value).into_dyn();
        let mut moments = Moments::new(array(values[0]), true);
        for value in values {
            moments.add(&array(value));
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let central = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / n;
        let close = |found: ArrayD<f64>, wanted: f64| {
            let found = found.sum();
            assert!((found - wanted).abs() < 1e-9 * wanted.abs(), "{found}, expected {wanted}");
        };
        close(moments.mean(), mean);
        close(moments.variance(), central(2));
        close(moments.mean_error(), (central(2) / (n - 1.0)).sqrt());
        close(moments.variance_error(), ((central(4) - central(2).powi(2)) / n).sqrt());
    }
}
