//! Whether probabilities are as large as they should be: of answers given with probability p, a share p should be right.
//!
//! Answers are put into bins of equal width by their confidence; ECE = Σ `(n_b / n) · |accuracy_b − confidence_b|`, and the
//! bins are the reliability diagram. Bin b of B holds confidences in ((b − 1)/B, b/B].
//!
//! Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On calibration of modern neural networks, arXiv:1706.04599,
//! equations 2 to 5; G. W. Brier (1950), Verification of forecasts expressed in terms of probability,
//! doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

use serde::Serialize;

/// How confident answers were, and how many were right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Bins from confidence 0 to 1, all of them.
    pub bins: Vec<Bin>,
    /// Expected calibration error: the mean of |accuracy − confidence|, bins weighted by their answers.
    pub expected_error: Option<f64>,
    /// Maximum calibration error: the largest of |accuracy − confidence|.
    pub maximum_error: Option<f64>,
}

/// A bin of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Confidence above this.
    pub low: f64,
    /// Confidence up to this.
    pub high: f64,
    /// Answers.
    pub count: u64,
    /// Mean confidence; `None` in an empty bin.
    pub confidence: Option<f64>,
    /// Share of right answers; of labels, the share that is set.
    pub accuracy: Option<f64>,
}

/// Sums of bins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins(Vec<(u64, f64, u64)>);

impl Bins {
    /// `count` bins, at least one.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![(0, 0.0, 0); count.max(1)])
    }

    /// Counts an answer of this confidence `weight` times.
    pub(super) fn add(&mut self, confidence: f64, right: bool, weight: u32) {
        let last = self.0.len() - 1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bins")]
        let place = ((confidence * self.0.len() as f64).ceil().max(1.0) as usize - 1).min(last);
        let (count, sum, rights) = &mut self.0[place];
        *count += u64::from(weight);
        *sum += confidence * f64::from(weight);
        *rights += u64::from(weight) * u64::from(right);
    }

    /// NaN where nothing was counted.
    pub(super) fn expected_error(&self) -> f64 {
        let all: u64 = self.0.iter().map(|(count, ..)| count).sum();
        let apart = self.0.iter().map(|(_, sum, right)| (*right as f64 - sum).abs()).sum::<f64>();
        apart / all as f64
    }

    pub(super) fn report(&self) -> Calibration {
        let width = 1.0 / self.0.len() as f64;
        let bins: Vec<Bin> = self
            .0
            .iter()
            .enumerate()
            .map(|(place, (count, sum, right))| Bin {
                low: place as f64 * width,
                high: (place + 1) as f64 * width,
                count: *count,
                confidence: (*count > 0).then(|| sum / *count as f64),
                accuracy: (*count > 0).then(|| *right as f64 / *count as f64),
            })
            .collect();
        let apart = bins.iter().filter_map(|bin| Some((bin.accuracy? - bin.confidence?).abs()));
        Calibration {
            expected_error: Some(self.expected_error()).filter(|error| error.is_finite()),
            maximum_error: apart.reduce(f64::max),
            bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: in (0.8, 1] three answers of mean confidence 0.9, two right: |2/3 − 0.9| = 7/30; in (0.4, 0.6] two
    /// of 0.55, one right: 0.05. ECE = 3/5 · 7/30 + 2/5 · 1/20 = 0.14 + 0.02 = 0.16, MCE = 7/30.
    #[test]
    fn the_error_is_that_of_a_count_by_hand() {
        let mut bins = Bins::new(5);
        for (confidence, right) in [(0.85, true), (0.9, true), (0.95, false), (0.5, true), (0.6, false)] {
            bins.add(confidence, right, 1);
        }
        let report = bins.report();
        assert!((report.expected_error.unwrap() - 0.16).abs() < 1e-12, "{report:?}");
        assert!((report.maximum_error.unwrap() - 7.0 / 30.0).abs() < 1e-12);
        assert_eq!(report.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [0, 0, 2, 0, 3]);
    }

    #[test]
    fn the_ends_are_inside_and_weights_are_as_many_answers() {
        let mut bins = Bins::new(10);
        bins.add(0.0, false, 1);
        bins.add(1.0, true, 3);
        let report = bins.report();
        assert_eq!((report.bins[0].count, report.bins[9].count), (1, 3));
        assert_eq!(report.expected_error, Some(0.0));
        assert_eq!(Bins::new(10).report().expected_error, None);
    }
}
