//! Measures of predicted values: errors e = prediction − truth.
//!
//! MAE = mean |e|; RMSE = √(mean e²); bias = mean e; R² = 1 − Σ e² / Σ (t − t̄)²; r is Pearson's correlation of prediction
//! and truth. Of several outputs the whole is the plain mean. R² and r are not defined where the truth does not vary.

use super::bootstrap::{Drawn, Tally};
use super::{PartReport, measured};

/// What a row comes to: of each output, truth and prediction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ValueRow(pub(super) Vec<(f64, f64)>);

/// Sums of one output; t and y are taken less the mean of the truth, so that nothing cancels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sums {
    middle: f64,
    count: f64,
    absolute: f64,
    error: f64,
    square: f64,
    t: f64,
    tt: f64,
    y: f64,
    yy: f64,
    ty: f64,
    largest: f64,
}

impl Sums {
    fn add(&mut self, truth: f64, prediction: f64, times: f64) {
        let error = prediction - truth;
        let (t, y) = (truth - self.middle, prediction - self.middle);
        self.count += times;
        self.absolute += error.abs() * times;
        self.error += error * times;
        self.square += error * error * times;
        self.t += t * times;
        self.tt += t * t * times;
        self.y += y * times;
        self.yy += y * y * times;
        self.ty += t * y * times;
        self.largest = self.largest.max(error.abs());
    }

    /// In the order of [`ValueTally::names`].
    fn measures(&self) -> [f64; 6] {
        let n = self.count;
        let spread = self.tt - self.t * self.t / n;
        let other = self.yy - self.y * self.y / n;
        let both = self.ty - self.t * self.y / n;
        // What rounding leaves of a constant is no spread.
        let varies = |spread: f64, sum: f64| spread > 1e-12 * sum.max(f64::MIN_POSITIVE);
        let fits = if varies(spread, self.tt) { 1.0 - self.square / spread } else { f64::NAN };
        let correlation = if varies(spread, self.tt) && varies(other, self.yy) {
            both / (spread * other).sqrt()
        } else {
            f64::NAN
        };
        [
            self.absolute / n,
            (self.square / n).sqrt(),
            fits,
            correlation,
            self.error / n,
            if n > 0.0 { self.largest } else { f64::NAN },
        ]
    }
}

/// Sums over rows.
#[derive(Debug, Clone)]
pub(super) struct ValueTally(Vec<Sums>);

impl ValueTally {
    /// `middles`: the mean of the truth, by output.
    pub(super) fn new(middles: &[f64]) -> Self {
        Self(middles.iter().map(|middle| Sums { middle: *middle, ..Sums::default() }).collect())
    }

    pub(super) fn names() -> Vec<(String, bool, bool)> {
        [
            ("mean absolute error (MAE)", false),
            ("root mean squared error (RMSE)", false),
            ("R²", true),
            ("correlation r", true),
            ("mean error (bias)", false),
            ("largest error", false),
        ]
        .map(|(name, better)| (name.to_owned(), false, better))
        .to_vec()
    }

    pub(super) fn parts(&self, names: &[String], drawn: &Drawn, level: f64) -> Vec<PartReport> {
        let of = Self::names();
        let (first, each) = (of.len(), of.len());
        self.0
            .iter()
            .zip(names)
            .enumerate()
            .map(|(output, (sums, name))| PartReport {
                name: name.clone(),
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                rows: sums.count as u64,
                predicted: None,
                measures: of
                    .iter()
                    .zip(sums.measures())
                    .enumerate()
                    .map(|(at, (told, value))| {
                        measured(told.clone(), value, drawn.interval(first + each * output + at, level))
                    })
                    .collect(),
            })
            .collect()
    }
}

impl Tally for ValueTally {
    type Row = ValueRow;

    fn add(&mut self, row: &ValueRow, weight: u32) {
        for (sums, (truth, prediction)) in self.0.iter_mut().zip(&row.0) {
            sums.add(*truth, *prediction, f64::from(weight));
        }
    }

    fn measures(&self) -> Vec<f64> {
        let parts: Vec<[f64; 6]> = self.0.iter().map(Sums::measures).collect();
        let mean = |which: usize| {
            let numbers = parts.iter().map(|part| part[which]);
            // The largest error is that of any output.
            if which == 5 {
                numbers.fold(f64::NAN, f64::max)
            } else {
                numbers.sum::<f64>() / parts.len() as f64
            }
        };
        let whole: Vec<f64> = (0..6).map(mean).collect();
        whole.into_iter().chain(parts.into_iter().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_by_hand() {
        let mut tally = ValueTally::new(&[1e6 + 2.0]);
        for (truth, prediction) in [(1.0, 1.5), (2.0, 2.0), (3.0, 2.0)] {
            tally.add(&ValueRow(vec![(1e6 + truth, 1e6 + prediction)]), 1);
        }
        let found = tally.measures();
        // e = 0.5, 0, −1; Σ (t − t̄)² = 2; y − ȳ = −1/3, 1/6, 1/6, Σ = 1/6; Σ ty = 1/2.
        let expected =
            [0.5, (1.25f64 / 3.0).sqrt(), 1.0 - 1.25 / 2.0, 0.5 / (2.0f64 / 6.0).sqrt(), -0.5 / 3.0, 1.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        assert_eq!(found[..6], found[6..]);
    }

    #[test]
    fn a_truth_that_does_not_vary_cannot_be_explained() {
        let mut tally = ValueTally::new(&[0.1]);
        (0..5).for_each(|row| tally.add(&ValueRow(vec![(0.1, f64::from(row))]), 3));
        let found = tally.measures();
        assert!(found[2].is_nan() && found[3].is_nan() && (found[0] - 1.94).abs() < 1e-9, "{found:?}");
    }
}
