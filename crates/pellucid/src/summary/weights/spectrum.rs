//! Singular values of a weight, by way of the products of its shorter side with itself.

use nalgebra::DMatrix;
use pellucid_graph::Tensor;
use serde::Serialize;

use super::numbers::part;

/// Columns that are multiplied at a time, so that no copy of the whole matrix is made.
const PANEL: usize = 256;

/// Singular values of the matrix of output channels × inputs.
///
/// They are roots of eigenvalues of `W·Wᵀ` or `Wᵀ·W`, in `float64`: those below 1e-8 of the largest are noise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spectrum {
    /// The largest first.
    pub singular_values: Vec<f64>,
    /// How many are above the largest × the longer side × 2⁻²³, what `float32` can tell from 0.
    pub rank: usize,
    /// exp(−Σ p ln p) with p = σ / Σ σ: O. Roy and M. Vetterli (2007), The effective rank: a measure of effective
    /// dimensionality, EUSIPCO, 606–610.
    pub effective_rank: f64,
    /// Σ σ² / σ₁²: M. Rudelson and R. Vershynin (2007), Sampling from large matrices, doi:10.1145/1255443.1255449.
    pub stable_rank: f64,
}

impl Spectrum {
    /// `None` where the shorter side is above `most` or the tensor is no matrix.
    pub(super) fn of(tensor: &Tensor, axis: usize, most: usize) -> Option<Self> {
        let shape = tensor.shape();
        if shape.len() < 2 || tensor.is_empty() {
            return None;
        }
        // A matrix has the singular values of its transpose, whichever axis is the channels'.
        let plain = axis == 0 || shape.len() == 2 || shape[..axis].iter().all(|size| *size == 1);
        let rows = if axis == 0 || !plain { shape[axis] } else { shape[..shape.len() - 1].iter().product() };
        let columns = tensor.len() / rows;
        if rows.min(columns) > most {
            return None;
        }
        let gram = if plain {
            gram(tensor, rows, columns)
        } else {
            gram(&channels_first(tensor, axis)?, rows, columns)
        };
        let mut values: Vec<f64> =
            gram.symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).collect();
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        Some(Self::from_values(values, rows.max(columns)))
    }

    fn from_values(values: Vec<f64>, longer: usize) -> Self {
        let largest = values.first().copied().unwrap_or(0.0);
        let sum: f64 = values.iter().sum();
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let entropy: f64 =
            values.iter().map(|value| value / sum).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
        let threshold = largest * longer as f64 * f64::from(f32::EPSILON);
        Self {
            rank: values.iter().filter(|value| **value > threshold).count(),
            effective_rank: if sum > 0.0 { entropy.exp() } else { 0.0 },
            stable_rank: if largest > 0.0 { squares / (largest * largest) } else { 0.0 },
            singular_values: values,
        }
    }
}

/// The same numbers with the channels' axis first.
fn channels_first(tensor: &Tensor, axis: usize) -> Option<Tensor> {
    let shape = tensor.shape();
    let (channels, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let values = tensor.to_f32();
    let mut moved = Vec::with_capacity(values.len());
    for channel in 0..channels {
        for run in values.chunks_exact(inner).skip(channel).step_by(channels) {
            moved.extend_from_slice(run);
        }
    }
    Tensor::from_f32(vec![channels, values.len() / channels], &moved).ok()
}

/// The shorter side's products with itself, of a matrix that lies row by row.
fn gram(tensor: &Tensor, rows: usize, columns: usize) -> DMatrix<f64> {
    let (side, longer) = (rows.min(columns), rows.max(columns));
    let mut gram = DMatrix::zeros(side, side);
    let mut panel = DMatrix::zeros(side, PANEL.min(longer));
    let mut turned = panel.transpose();
    for start in (0..longer).step_by(PANEL) {
        let count = PANEL.min(longer - start);
        if count < panel.ncols() {
            panel.fill(0.0);
        }
        if rows <= columns {
            for row in 0..rows {
                let values = part(tensor, row * columns + start, count);
                for (column, value) in values.into_iter().enumerate() {
                    panel[(row, column)] = f64::from(value);
                }
            }
        } else {
            // Rows of the matrix are columns of the panel.
            for (place, value) in panel.iter_mut().zip(part(tensor, start * columns, count * columns)) {
                *place = f64::from(value);
            }
        }
        panel.transpose_to(&mut turned);
        gram.gemm(1.0, &panel, &turned, 1.0);
    }
    gram
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-7, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn singular_values_are_those_of_known_matrices() {
        // Diagonal, wide and tall; and of rank 1.
        let wide = Tensor::from_f32(vec![2, 3], &[3.0, 0.0, 0.0, 0.0, -4.0, 0.0]).unwrap();
        let found = Spectrum::of(&wide, 0, 8).unwrap();
        near(&found.singular_values, &[4.0, 3.0]);
        assert_eq!(found.rank, 2);
        assert!((found.stable_rank - 25.0 / 16.0).abs() < 1e-9);
        let tall = Tensor::from_f32(vec![3, 2], &[3.0, 0.0, 0.0, -4.0, 0.0, 0.0]).unwrap();
        near(&Spectrum::of(&tall, 1, 8).unwrap().singular_values, &[4.0, 3.0]);
        let ones = Tensor::from_f32(vec![4, 4], &[1.0; 16]).unwrap();
        let found = Spectrum::of(&ones, 0, 8).unwrap();
        assert_eq!(found.rank, 1);
        assert!((found.effective_rank - 1.0).abs() < 1e-5, "{}", found.effective_rank);
        assert!(Spectrum::of(&ones, 0, 3).is_none(), "too large");
    }

    #[test]
    fn channels_of_another_axis_are_gathered() {
        // [in, out, k]: out 0 is (1, 0, 0, 0), out 1 is (0, 2, 0, 2) over in × k.
        let tensor = Tensor::from_f32(vec![2, 2, 2], &[1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]).unwrap();
        near(&Spectrum::of(&tensor, 1, 8).unwrap().singular_values, &[8f64.sqrt(), 1.0]);
    }

    #[test]
    fn many_panels_add_up() {
        let values: Vec<f32> = (0..4 * 1300).map(|k| (k as f32 * 0.37).sin()).collect();
        let tensor = Tensor::from_f32(vec![4, 1300], &values).unwrap();
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        for (rows, columns) in [(4, 1300), (1300, 4)] {
            let gram = gram(&tensor, rows, columns);
            assert!((gram.trace() - squares).abs() < 1e-6 * squares);
        }
    }
}
