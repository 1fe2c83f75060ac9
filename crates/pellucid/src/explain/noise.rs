//! Noise that is added to inputs: drawn, or given.

use ndarray::{ArrayD, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::evaluator::Arrays;
use crate::error::Error;

/// Where the noise comes from.
pub(crate) enum Noise<'a> {
    /// Drawn: a normal distribution of this standard deviation as a share of each row's range.
    Drawn { share: f64, seed: u64 },
    /// Given by the caller: [samples, n, …] for each input, by name.
    Given(&'a Arrays),
}

impl Noise<'_> {
    /// Sample `sample` of the noise for row `row`, of all the run's, of input number `input`.
    pub(crate) fn of(
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
