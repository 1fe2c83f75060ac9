//! Whether two sides computed the same, within what rounding to `float32` does to PyTorch itself.

use std::path::Path;

use ndarray::{ArrayD, Axis};
use pellucid::npy;

use crate::error::Error;

/// Errors below this share of an array are rounding whatever the reference says: a reference without any rectifier
/// that turns over has almost none.
const FLOOR: f64 = 1e-4;

/// How many of PyTorch's own errors a result may differ from float64: the bound that the tests of the networks use.
pub(crate) const ALLOWED: f64 = 2.0;

/// The only array in a file.
pub(crate) fn read(path: &Path) -> Result<ArrayD<f32>, Error> {
    let arrays = npy::read_arrays(path)?;
    match arrays.into_iter().next() {
        Some((_, array)) => Ok(array.to_f32()),
        None => Err(Error::Array { path: path.to_owned(), problem: "it holds no array".to_owned() }),
    }
}

/// ‖found − wanted‖₂ / ‖wanted‖₂ of each row; `None` where the shapes differ.
pub(crate) fn distances(found: &ArrayD<f32>, wanted: &ArrayD<f32>) -> Option<Vec<f64>> {
    if found.shape() != wanted.shape() {
        return None;
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    Some(
        found
            .axis_iter(Axis(0))
            .zip(wanted.axis_iter(Axis(0)))
            .map(|(found, wanted)| {
                let pairs = found.iter().zip(wanted.iter());
                let difference = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
                difference / norm(&mut wanted.iter().map(|value| f64::from(*value))).max(f64::MIN_POSITIVE)
            })
            .collect(),
    )
}

/// The largest distance that passes where PyTorch's own is `own`.
pub(crate) fn bound(own: f64) -> f64 {
    (ALLOWED * own).max(FLOOR)
}

/// The median of distances.
pub(crate) fn middle(distances: &[f64]) -> f64 {
    let mut sorted = distances.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use ndarray::IxDyn;

    use super::*;

    fn array(values: &[f32]) -> ArrayD<f32> {
        ArrayD::from_shape_vec(IxDyn(&[2, values.len() / 2]), values.to_vec()).unwrap()
    }

    #[test]
    fn a_changed_row_is_told() {
        let (a, b) = (array(&[3.0, 4.0, 1.0, 0.0]), array(&[3.0, 4.5, 1.0, 0.0]));
        let found = distances(&b, &a).unwrap();
        assert!((found[0] - 0.1).abs() < 1e-6 && found[1] == 0.0, "{found:?}");
        assert!(found[0] > bound(0.01) && found[0] < bound(0.06));
        assert_eq!(distances(&a, &ArrayD::zeros(IxDyn(&[2, 3]))), None);
    }
}
