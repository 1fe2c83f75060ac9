//! Eigen-CAM: a layer's activations along the one direction of channel space that holds most of them.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, IxDyn};

use super::evaluator::{Arrays, Evaluator};
use super::layer::{activations, rectified, stacked};
use crate::error::Error;

/// Maps `[n, 1, …]`; `centred` takes each channel's mean away first.
pub(super) fn eigen_cam(
    evaluator: &mut Evaluator<'_>,
    centred: bool,
    inputs: &Arrays,
) -> Result<ArrayD<f32>, Error> {
    let found = activations(evaluator, inputs)?.to_f32();
    let rows: Vec<ArrayD<f32>> = found.axis_iter(Axis(0)).map(|row| map(&row, centred)).collect();
    stacked(&rows)
}

/// The map of a row `[channels, …]`: `[1, …]`.
fn map(activation: &ArrayViewD<'_, f32>, centred: bool) -> ArrayD<f32> {
    let mut shape = activation.shape().to_vec();
    let channels = shape[0];
    shape[0] = 1;
    let positions: usize = shape[1..].iter().product();
    let mut matrix = Array2::<f64>::zeros((positions, channels));
    for (channel, map) in activation.axis_iter(Axis(0)).enumerate() {
        let mean =
            if centred { map.iter().copied().map(f64::from).sum::<f64>() / positions as f64 } else { 0.0 };
        for (position, value) in map.iter().enumerate() {
            matrix[[position, channel]] = f64::from(*value) - mean;
        }
    }
    let mut projection = projected(&matrix);
    // Singular vectors have no sign of their own: the largest value by magnitude, the first of equals, is positive.
    let peak =
        projection.iter().fold(0.0_f64, |peak, value| if value.abs() > peak.abs() { *value } else { peak });
    if peak < 0.0 {
        for value in &mut projection {
            *value = -*value;
        }
    }
    let map = ArrayD::from_shape_vec(IxDyn(&shape), projection);
    map.map_or_else(|_| ArrayD::zeros(IxDyn(&shape)), |map| rectified(&map))
}

/// M·v, v the first right singular vector of M, by the symmetric matrix of its smaller side: of `MᵀM` it is the first
/// eigenvector; of M·Mᵀ the first is M·v / σ.
fn projected(matrix: &Array2<f64>) -> Vec<f64> {
    let (positions, channels) = matrix.dim();
    let wide = positions < channels;
    let product = if wide { matrix.dot(&matrix.t()) } else { matrix.t().dot(matrix) };
    let side = product.nrows();
    if side == 0 {
        return vec![0.0; positions];
    }
    let eigen = SymmetricEigen::new(DMatrix::from_fn(side, side, |row, column| product[[row, column]]));
    let first =
        (0..side).fold(0, |best, i| if eigen.eigenvalues[i] > eigen.eigenvalues[best] { i } else { best });
    let vector: Vec<f64> = eigen.eigenvectors.column(first).iter().copied().collect();
    if wide {
        let sigma = eigen.eigenvalues[first].max(0.0).sqrt();
        vector.into_iter().map(|value| value * sigma).collect()
    } else {
        matrix.dot(&ndarray::Array1::from(vector)).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{arr2, array};

    use super::*;

    #[test]
    fn of_one_direction_the_projection_is_its_lengths() {
        // Two channels that are 3 and 4 times one map: the direction is (3, 4) / 5, and the projection 5 times the map.
        let activation = array![[3.0_f32, 6.0, 0.0], [4.0, 8.0, 0.0]].into_dyn();
        let found = map(&activation.view(), false);
        for (found, wanted) in found.iter().zip([5.0, 10.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
        }
        // Less its mean, the map is (0, 1, −1) · 5: the last is cut off, or, were the sign free, the second.
        let centred = map(&activation.view(), true);
        assert!((centred[[0, 1]] - 5.0).abs() < 1e-5 && centred[[0, 2]].abs() < 1e-6, "{centred}");
    }

    #[test]
    fn both_sides_give_the_same_projection() {
        let tall = arr2(&[[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]]);
        let mut wide = Array2::zeros((3, 5));
        wide.slice_mut(ndarray::s![.., 1..3]).assign(&tall);
        let (one, other) = (projected(&tall), projected(&wide));
        let sign = if one[2] * other[2] < 0.0 { -1.0 } else { 1.0 };
        for (one, other) in one.iter().zip(&other) {
            assert!((one - sign * other).abs() < 1e-12);
        }
    }

    #[test]
    fn a_layer_of_zeros_has_a_map_of_zeros() {
        assert!(map(&ArrayD::zeros(IxDyn(&[4, 2, 2])).view(), false).iter().all(|value| value.abs() < 1e-30));
    }
}
