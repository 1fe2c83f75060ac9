//! What predictions cost and how many are right, over rows that nothing is learned from.

use pellucid_data::batches::BatchTargets;
use serde::Serialize;

use crate::settings::LossName;

/// Losses and right answers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Measured {
    /// Sum of the rows' losses.
    pub loss: f64,
    /// Rows that are right; of several labels, labels.
    pub right: u64,
    /// What `right` is counted of: rows, or labels.
    pub answers: u64,
    /// Rows.
    pub rows: u64,
    /// What `loss` is a sum over: rows, or numbers of rows.
    pub terms: u64,
}

impl Measured {
    /// Mean loss of a row, or of a number where rows have several.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.terms.max(1) as f64
    }

    /// Share of right answers, where there are any to count.
    pub fn accuracy(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.right as f64 / self.answers as f64)
    }

    /// Adds a batch of `rows`, whose predictions are `[rows, outputs]`. `delta` is that of Huber's loss.
    pub(crate) fn add(
        &mut self,
        predictions: &[f32],
        targets: &BatchTargets,
        rows: usize,
        loss: LossName,
        delta: f64,
    ) {
        let outputs = (predictions.len() / rows.max(1)).max(1);
        self.rows += u64::try_from(rows).unwrap_or_default();
        match targets {
            BatchTargets::Classes(classes) => {
                for (row, class) in predictions.chunks_exact(outputs).zip(classes) {
                    let class = usize::try_from(*class).unwrap_or(usize::MAX);
                    self.terms += 1;
                    self.answers += 1;
                    self.right += u64::from(largest(row) == class);
                    self.loss += row.get(class).map_or(0.0, |logit| log_sum(row) - f64::from(*logit));
                }
            }
            BatchTargets::Numbers(numbers) => self.add_numbers(predictions, numbers, loss, delta),
        }
    }

    fn add_numbers(&mut self, predictions: &[f32], numbers: &[f32], loss: LossName, delta: f64) {
        for (y, t) in predictions.iter().zip(numbers) {
            let (y, t) = (f64::from(*y), f64::from(*t));
            let d = y - t;
            self.terms += 1;
            self.loss += match loss {
                LossName::BinaryCrossEntropy | LossName::CrossEntropy => {
                    self.answers += 1;
                    self.right += u64::from((y > 0.0) == (t > 0.5));
                    y.max(0.0) - y * t + (-y.abs()).exp().ln_1p()
                }
                LossName::Mse => d * d,
                LossName::Huber if d.abs() <= delta => d * d / 2.0,
                LossName::Huber => delta * (d.abs() - delta / 2.0),
            };
        }
    }
}

/// How many rows of a batch of classes, or of distributions over them, are predicted right.
pub(crate) fn right(predictions: &[f32], targets: &BatchTargets, rows: usize) -> u64 {
    let outputs = (predictions.len() / rows.max(1)).max(1);
    let rows = predictions.chunks_exact(outputs);
    let count = |right: bool| u64::from(right);
    match targets {
        BatchTargets::Classes(classes) => rows
            .zip(classes)
            .map(|(row, class)| count(usize::try_from(*class).is_ok_and(|class| largest(row) == class)))
            .sum(),
        BatchTargets::Numbers(shares) => rows
            .zip(shares.chunks_exact(outputs))
            .map(|(row, shares)| count(largest(row) == largest(shares)))
            .sum(),
    }
}

/// Place of the first largest.
fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best
}

/// ln Σ eˣ
fn log_sum(row: &[f32]) -> f64 {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, value| most.max(f64::from(*value)));
    most + row.iter().map(|value| (f64::from(*value) - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_of_the_formulas() {
        let mut found = Measured::default();
        found.add(&[1.0, 3.0, 2.0, 0.0], &BatchTargets::Classes(vec![1, 1]), 2, LossName::CrossEntropy, 1.0);
        let wanted = (1.0 + (-2f64).exp()).ln() + (1.0 + 2f64.exp()).ln();
        assert!((found.loss - wanted).abs() < 1e-12);
        assert_eq!((found.right, found.rows), (1, 2));
        let mut found = Measured::default();
        found.add(&[2.0, -1.0], &BatchTargets::Numbers(vec![1.0, 1.0]), 1, LossName::BinaryCrossEntropy, 1.0);
        let wanted = (1.0 + (-2f64).exp()).ln() + (1.0 + 1f64.exp()).ln();
        assert!((found.loss - wanted).abs() < 1e-12 && found.right == 1);
        assert_eq!((found.rows, found.terms, found.answers), (1, 2, 2));
        let mut found = Measured::default();
        found.add(&[0.5, 3.0], &BatchTargets::Numbers(vec![0.0, 0.0]), 2, LossName::Huber, 1.0);
        assert!((found.loss - (0.125 + 2.5)).abs() < 1e-12 && found.accuracy().is_none());
        let shares = BatchTargets::Numbers(vec![0.2, 0.8, 0.9, 0.1]);
        assert_eq!(right(&[0.0, 1.0, 0.0, 1.0], &shares, 2), 1);
    }
}
