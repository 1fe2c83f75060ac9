//! What baselines are drawn from, and the numbers that are drawn.

use ndarray::ArrayD;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use pellucid_compile::Draws;

use super::baseline::float;
use super::evaluator::Arrays;
use crate::array::Array;
use crate::error::Error;
use crate::npy;

/// The stream of the seed's numbers that backgrounds and positions come from; noise has others.
const STREAM: u64 = u64::MAX;

/// `samples` numbers of each kind, of a seed.
pub(crate) fn draws(samples: usize, seed: u64) -> Draws {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM);
    let mut draws = Draws::default();
    for _ in 0..samples {
        draws.pick.push(i64::from(random.next_u32() >> 1));
        // 24 bits, so that the position is the same number in float32 and float64.
        draws.position.push(f64::from(random.next_u32() >> 8) / f64::from(1u32 << 24));
    }
    draws
}

/// Rows to draw from, by input: [k, …] each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Background {
    rows: Arrays,
    count: usize,
}

impl Background {
    /// Checks `given`, a background or `None` for zero, against the float inputs among `inputs`.
    pub(crate) fn new(given: Option<&Arrays>, inputs: &[(String, Array)]) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Setting { name: "background".to_owned(), problem };
        let mut rows: Arrays = Vec::new();
        let mut count = None;
        for (name, array) in inputs {
            let Some(x) = float(array) else { continue };
            let mut shape = x.shape().to_vec();
            shape[0] = 1;
            let Some(given) = given else {
                rows.push((name.clone(), Array::F32(ArrayD::zeros(shape))));
                continue;
            };
            let found = match given.as_slice() {
                [only] if inputs.len() == 1 => Some(&only.1),
                _ => given.iter().find(|(key, _)| key == name).map(|(_, array)| array),
            };
            let found = found.ok_or_else(|| {
                let keys: Vec<&str> = given.iter().map(|(key, _)| key.as_str()).collect();
                wrong(format!("it has nothing for input {name:?}; it has {}", keys.join(", ")))
            })?;
            let values = found.to_f32();
            let k = values.shape().first().copied().unwrap_or_default();
            if values.ndim() != x.ndim() || values.shape()[1..] != x.shape()[1..] || k == 0 {
                return Err(wrong(format!(
                    "{name:?} has shape {:?}; expected [k, …] of {:?}",
                    found.shape(),
                    &x.shape()[1..]
                )));
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(wrong(format!("{name:?} holds NaN or infinity; expected finite numbers")));
            }
            if count.is_some_and(|count| count != k) {
                return Err(wrong(format!(
                    "{name:?} has {k} rows where another input has {}; every input needs the same",
                    count.unwrap_or_default()
                )));
            }
            count = Some(k);
            rows.push((name.clone(), Array::F32(values)));
        }
        Ok(Self { rows, count: count.unwrap_or(1) })
    }

    /// Rows of one value, [k, …].
    pub(crate) fn of(name: String, rows: Array) -> Self {
        let count = rows.shape().first().copied().unwrap_or(1).max(1);
        Self { rows: vec![(name, rows)], count }
    }

    /// Number of rows.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// One row of an input, [1, …].
    pub(crate) fn row(&self, name: &str, row: usize) -> Option<ArrayD<f32>> {
        let array = &self.rows.iter().find(|(key, _)| key == name)?.1;
        Some(array.rows(row..row + 1).to_f32())
    }

    /// The row that a drawn number chooses.
    pub(crate) fn picked(&self, pick: i64) -> usize {
        usize::try_from(pick).unwrap_or_default() % self.count
    }

    /// Every row as inputs of the model; inputs that are not floating-point are those of row `row` of `inputs`.
    pub(crate) fn all(&self, inputs: &[(String, Array)], row: usize) -> Result<Arrays, Error> {
        inputs
            .iter()
            .map(|(name, array)| {
                let found = self.rows.iter().find(|(key, _)| key == name);
                Ok((
                    name.clone(),
                    if let Some((_, rows)) = found {
                        rows.clone()
                    } else {
                        let one = array.rows(row..row + 1);
                        super::evaluator::join(&vec![&one; self.count])?
                    },
                ))
            })
            .collect()
    }
}

/// A background file: `.npy` of one input, or `.npz` by the inputs' names.
pub(crate) fn read(path: &std::path::Path) -> Result<Arrays, Error> {
    npy::read_arrays(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        assert_eq!(draws(5, 7), draws(5, 7));
        assert_ne!(draws(5, 7), draws(5, 8));
        assert_eq!(draws(3, 7).pick, draws(5, 7).pick[..3]);
        let drawn = draws(4000, 1);
        assert!(drawn.position.iter().all(|at| (0.0..1.0).contains(at)));
        let mean = drawn.position.iter().sum::<f64>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let even = drawn.pick.iter().filter(|pick| **pick % 2 == 0).count();
        assert!((1850..2150).contains(&even), "{even}");
    }

    #[test]
    fn a_background_of_the_wrong_shape_is_refused() {
        let array = |shape: &[usize]| Array::F32(ArrayD::zeros(shape));
        let inputs = vec![("x".to_owned(), array(&[2, 3])), ("z".to_owned(), array(&[2, 4]))];
        let given = |x: &[usize], z: &[usize]| vec![("x".to_owned(), array(x)), ("z".to_owned(), array(z))];
        let error = |given: &Arrays| Background::new(Some(given), &inputs).unwrap_err().to_string();
        assert_eq!(
            error(&given(&[5, 2], &[5, 4])),
            "background: \"x\" has shape [5, 2]; expected [k, …] of [3]"
        );
        assert_eq!(
            error(&given(&[5, 3], &[6, 4])),
            "background: \"z\" has 6 rows where another input has 5; every input needs the same"
        );
        assert_eq!(Background::new(Some(&given(&[5, 3], &[5, 4])), &inputs).unwrap().count(), 5);
        assert_eq!(Background::new(None, &inputs).unwrap().count(), 1);
    }
}
