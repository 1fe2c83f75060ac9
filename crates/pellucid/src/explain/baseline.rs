//! What an input is compared with.

use std::path::PathBuf;

use ndarray::{ArrayD, Axis};

use super::evaluator::Arrays;
use super::explainer::Place;
use crate::array::Array;
use crate::error::Error;
use crate::space::Spaces;

/// What an input is compared with.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Baseline {
    /// Zeros in the model's input tensor.
    #[default]
    Zero,
    /// Each row's mean, by channel where the input has channels.
    Mean,
    /// Each row blurred along its spatial axes by a Gaussian of a tenth of their size, the edge repeated.
    Blur,
    /// Given arrays by input name, of one row or of as many as the inputs.
    Given(Vec<(String, Array)>),
    /// A `.npy` or `.npz` file of such arrays.
    File(PathBuf),
}

impl Baseline {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Zero => "zero".to_owned(),
            Self::Mean => "mean".to_owned(),
            Self::Blur => "blur".to_owned(),
            Self::Given(_) => "given".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The baseline of every row of `inputs`, which stand at `place` among all rows; inputs that are not floating-point
    /// stay as they are.
    pub(crate) fn rows(&self, inputs: &Arrays, spaces: &Spaces, place: Place) -> Result<Arrays, Error> {
        inputs
            .iter()
            .map(|(name, array)| {
                let Some(x) = float(array) else {
                    return Ok((name.clone(), array.clone()));
                };
                let space = spaces.of(name);
                let baseline = match self {
                    Self::Zero => ArrayD::zeros(x.raw_dim()),
                    Self::Mean => space.as_input(mean(&space.channels_first(x))),
                    Self::Blur => space.as_input(blur(&space.channels_first(x))),
                    Self::Given(given) => given_rows(given, inputs.len(), name, &x, place)?,
                    Self::File(path) => {
                        return Err(Error::Internal(format!("{} has not been read", path.display())));
                    }
                };
                Ok((name.clone(), like(array, baseline)))
            })
            .collect()
    }
}

/// The numbers of a floating-point array.
pub(crate) fn float(array: &Array) -> Option<ArrayD<f32>> {
    match array {
        Array::F32(_) | Array::F64(_) => Some(array.to_f32()),
        Array::I64(_) | Array::Bool(_) => None,
    }
}

/// `values` as the element type of `array`.
pub(crate) fn like(array: &Array, values: ArrayD<f32>) -> Array {
    match array {
        Array::F64(_) => Array::F64(values.mapv(f64::from)),
        _ => Array::F32(values),
    }
}

fn given_rows(
    given: &Arrays,
    inputs: usize,
    name: &str,
    x: &ArrayD<f32>,
    place: Place,
) -> Result<ArrayD<f32>, Error> {
    let found = match given.as_slice() {
        [only] if inputs == 1 => Some(&only.1),
        _ => given.iter().find(|(key, _)| key == name).map(|(_, array)| array),
    };
    let wrong = |problem: String| Error::Setting { name: "baseline".to_owned(), problem };
    let found = found.ok_or_else(|| {
        let keys: Vec<&str> = given.iter().map(|(key, _)| key.as_str()).collect();
        wrong(format!("it has nothing for input {name:?}; it has {}", keys.join(", ")))
    })?;
    let all = found.shape().first().copied().unwrap_or_default();
    let here = place.first..place.first + x.shape()[0];
    let values = if all == place.all { found.rows(here) } else { found.clone() }.to_f32();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(wrong(format!("{name:?} holds NaN or infinity; expected finite numbers")));
    }
    if values.ndim() != x.ndim() || values.shape()[1..] != x.shape()[1..] || (all != 1 && all != place.all) {
        return Err(wrong(format!(
            "{name:?} has shape {:?}; expected [1, …] or [{}, …] of {:?}",
            found.shape(),
            place.all,
            &x.shape()[1..]
        )));
    }
    values
        .broadcast(x.raw_dim())
        .map(|view| view.to_owned())
        .ok_or_else(|| wrong(format!("{name:?} cannot be repeated to {:?}", x.shape())))
}

/// Axes over which the mean of a row is taken: all but rows and, where there is space, channels.
fn mean(x: &ArrayD<f32>) -> ArrayD<f32> {
    let mut mean = x.mapv(f64::from);
    let first = if x.ndim() >= 3 { 2 } else { 1 };
    for axis in (first..x.ndim()).rev() {
        mean = mean.mean_axis(Axis(axis)).unwrap_or(mean).insert_axis(Axis(axis));
    }
    #[expect(clippy::cast_possible_truncation, reason = "a mean of float32 numbers is one")]
    let mean = mean.mapv(|value| value as f32);
    mean.broadcast(x.raw_dim()).map_or_else(|| x.clone(), |view| view.to_owned())
}

/// Gaussian blur along the axes after channels.
fn blur(x: &ArrayD<f32>) -> ArrayD<f32> {
    let mut blurred = x.clone();
    for axis in 2..x.ndim() {
        let size = x.shape()[axis];
        let sigma = (size as f64 / 10.0).max(0.5);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let reach = (3.0 * sigma).ceil() as usize;
        let weights: Vec<f64> = (0..=2 * reach)
            .map(|i| (-(i as f64 - reach as f64).powi(2) / (2.0 * sigma * sigma)).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        for mut lane in blurred.lanes_mut(Axis(axis)) {
            let before: Vec<f64> = lane.iter().map(|value| f64::from(*value)).collect();
            for (position, value) in lane.iter_mut().enumerate() {
                let sum: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(i, weight)| weight * before[(position + i).saturating_sub(reach).min(size - 1)])
                    .sum();
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a weighted mean of float32 numbers is one"
                )]
                {
                    *value = (sum / total) as f32;
                }
            }
        }
    }
    blurred
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Place = Place { first: 0, all: 2 };

    fn picture() -> Arrays {
        let x = ArrayD::from_shape_fn(ndarray::IxDyn(&[2, 2, 4, 5]), |i| {
            (i[0] * 100 + i[1] * 10 + i[2] + i[3]) as f32
        });
        vec![("x".to_owned(), Array::F32(x))]
    }

    #[test]
    fn mean_is_by_row_and_channel() {
        let rows = Baseline::Mean.rows(&picture(), &Spaces::default(), WHOLE).unwrap();
        let mean = rows[0].1.to_f32();
        assert!((mean[[1, 1, 0, 0]] - 113.5).abs() < 1e-4);
        assert!((mean[[0, 1, 3, 4]] - 13.5).abs() < 1e-4);
    }

    #[test]
    fn blur_keeps_a_constant_and_smooths_a_ramp() {
        let rows = Baseline::Blur.rows(&picture(), &Spaces::default(), WHOLE).unwrap();
        let (blurred, x) = (rows[0].1.to_f32(), picture()[0].1.to_f32());
        assert_ne!(blurred, x);
        let constant = ArrayD::from_elem(ndarray::IxDyn(&[1, 1, 6, 6]), 3.0f32);
        assert!(blur(&constant).iter().all(|value| (value - 3.0).abs() < 1e-6));
    }

    #[test]
    fn a_given_baseline_of_the_wrong_shape_is_refused() {
        let given = vec![("b".to_owned(), Array::F32(ArrayD::zeros(ndarray::IxDyn(&[1, 2, 4, 4]))))];
        let error =
            Baseline::Given(given).rows(&picture(), &Spaces::default(), WHOLE).unwrap_err().to_string();
        assert_eq!(error, "baseline: \"x\" has shape [1, 2, 4, 4]; expected [1, …] or [2, …] of [2, 4, 5]");
    }
}
