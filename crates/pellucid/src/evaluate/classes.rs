//! Measures of a classification: one class a row.
//!
//! Precision, recall and F1 of a class follow the counts of its column and row of the confusion matrix; where a denominator
//! is 0 they are 0. Their macro mean is over the classes that a row has or was taken for, the weighted mean counts each
//! class by its rows. The log loss is −ln p of the right class; the Brier score Σ (p − o)² over classes, half of it where
//! there are two, as is usual. Conventions are those of scikit-learn.

use std::collections::BTreeMap;

use super::bootstrap::Tally;
use super::calibration::Bins;
use super::{Confusion, PartReport, measured};
use crate::evaluate::bootstrap::Drawn;

/// What a row comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassRow {
    pub(super) truth: usize,
    pub(super) predicted: usize,
    /// Whether the right class is among the k best.
    pub(super) among: bool,
    /// NaN where the model gives no probabilities.
    pub(super) loss: f64,
    pub(super) brier: f64,
    /// Probability of the predicted class; NaN where there is none.
    pub(super) confidence: f64,
}

/// Sums over rows.
#[derive(Debug, Clone)]
pub(super) struct ClassTally {
    top: usize,
    rows: u64,
    right: u64,
    among: u64,
    loss: f64,
    brier: f64,
    pub(super) bins: Bins,
    /// Rows of each class; rows taken for it; both at once. Empty where they are not kept.
    truth: Vec<u32>,
    predicted: Vec<u32>,
    hit: Vec<u32>,
    /// Rows of a class that were taken for a class; kept for the whole alone.
    confusion: Option<BTreeMap<(usize, usize), u64>>,
}

impl ClassTally {
    /// Sums of `classes` classes; `parts` keeps counts by class, `pairs` the confusion matrix.
    pub(super) fn new(classes: usize, top: usize, bins: usize, parts: bool, pairs: bool) -> Self {
        let counts = vec![0; if parts { classes } else { 0 }];
        Self {
            top,
            rows: 0,
            right: 0,
            among: 0,
            loss: 0.0,
            brier: 0.0,
            bins: Bins::new(bins),
            truth: counts.clone(),
            predicted: counts.clone(),
            hit: counts,
            confusion: pairs.then(BTreeMap::new),
        }
    }

    /// Names of the measures of the whole, whether they are shares, and whether more is better.
    pub(super) fn names(&self) -> Vec<(String, bool, bool)> {
        let mut names = vec![("accuracy".to_owned(), true, true)];
        names.extend(self.top().map(|top| (format!("top-{top} accuracy"), true, true)));
        for mean in ["macro", "weighted"] {
            names.extend(
                ["precision", "recall", "F1"].map(|name| (format!("{name}, {mean} mean"), true, true)),
            );
        }
        names.push(("log loss".to_owned(), false, false));
        names.push(("Brier score".to_owned(), false, false));
        names.push(("expected calibration error".to_owned(), true, false));
        names
    }

    /// How many best classes are looked at, where it says more than the accuracy.
    fn top(&self) -> Option<usize> {
        (self.top > 1).then_some(self.top)
    }

    /// Precision, recall and F1 of a class.
    fn part(&self, class: usize) -> [f64; 3] {
        let [truth, predicted, hit] =
            [&self.truth, &self.predicted, &self.hit].map(|counts| f64::from(counts[class]));
        scores(hit, predicted, truth)
    }

    /// The confusion matrix.
    pub(super) fn confusion(&self) -> Confusion {
        let counts = self.confusion.iter().flatten();
        let counts = counts.map(|((truth, predicted), count)| (*truth, *predicted, *count));
        Confusion { classes: self.truth.len(), counts: counts.collect() }
    }

    /// A report on each class, with intervals from `drawn`.
    pub(super) fn parts(&self, names: &[String], drawn: &Drawn, level: f64) -> Vec<PartReport> {
        let first = self.names().len();
        (0..self.truth.len())
            .map(|class| PartReport {
                name: names[class].clone(),
                rows: u64::from(self.truth[class]),
                predicted: Some(u64::from(self.predicted[class])),
                measures: ["precision", "recall", "F1"]
                    .iter()
                    .zip(self.part(class))
                    .enumerate()
                    .map(|(at, (name, value))| {
                        measured(
                            ((*name).to_owned(), true, true),
                            value,
                            drawn.interval(first + 3 * class + at, level),
                        )
                    })
                    .collect(),
            })
            .collect()
    }
}

/// Precision, recall and F1 of counts: right, predicted, there.
pub(super) fn scores(hit: f64, predicted: f64, truth: f64) -> [f64; 3] {
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    [share(hit, predicted), share(hit, truth), share(2.0 * hit, predicted + truth)]
}

impl Tally for ClassTally {
    type Row = ClassRow;

    fn add(&mut self, row: &ClassRow, weight: u32) {
        let (times, many) = (f64::from(weight), u64::from(weight));
        let right = row.truth == row.predicted;
        self.rows += many;
        self.right += many * u64::from(right);
        self.among += many * u64::from(row.among);
        self.loss += row.loss * times;
        self.brier += row.brier * times;
        if row.confidence.is_finite() {
            self.bins.add(row.confidence, right, weight);
        }
        if !self.truth.is_empty() {
            self.truth[row.truth] += weight;
            self.predicted[row.predicted] += weight;
            self.hit[row.truth] += if right { weight } else { 0 };
        }
        if let Some(confusion) = &mut self.confusion {
            *confusion.entry((row.truth, row.predicted)).or_default() += many;
        }
    }

    fn measures(&self) -> Vec<f64> {
        let rows = self.rows as f64;
        let parts: Vec<[f64; 3]> = (0..self.truth.len()).map(|class| self.part(class)).collect();
        let mut measures = vec![self.right as f64 / rows];
        measures.extend(self.top().map(|_| self.among as f64 / rows));
        let seen =
            (0..parts.len()).filter(|class| self.truth[*class] > 0 || self.predicted[*class] > 0).count();
        let mean = |which: usize| parts.iter().map(|part| part[which]).sum::<f64>() / seen as f64;
        measures.extend([0, 1, 2].map(mean));
        let weighted = |which: usize| {
            let counts = parts.iter().zip(&self.truth);
            counts.map(|(part, count)| part[which] * f64::from(*count)).sum::<f64>() / rows
        };
        let none = parts.is_empty();
        measures.extend([0, 1, 2].map(|which| if none { f64::NAN } else { weighted(which) }));
        measures.extend([self.loss / rows, self.brier / rows, self.bins.expected_error()]);
        measures.extend(parts.into_iter().flatten());
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(truth: usize, predicted: usize, confidence: f64) -> ClassRow {
        ClassRow { truth, predicted, among: true, loss: 0.5, brier: 0.25, confidence }
    }

    /// By hand: class 0 has 2 rows, one taken for 1; class 1 one row, right; class 2 none and nothing taken for it.
    #[test]
    fn counts_are_those_by_hand() {
        let mut tally = ClassTally::new(3, 2, 10, true, true);
        for (truth, predicted) in [(0, 0), (0, 1), (1, 1)] {
            tally.add(&row(truth, predicted, 0.75), 1);
        }
        let found = tally.measures();
        let expected = [
            2.0 / 3.0,
            1.0,
            // Precision 1 and 1/2, recall 1/2 and 1, F1 2/3 and 2/3; class 2 is left out.
            0.75,
            0.75,
            2.0 / 3.0,
            (2.0 + 0.5) / 3.0,
            (1.0 + 1.0) / 3.0,
            2.0 / 3.0,
            0.5,
            0.25,
            (2.0f64 / 3.0 - 0.75).abs(),
        ];
        assert_eq!(tally.names().len(), expected.len());
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-12, "{at}: {found} {expected}");
        }
        assert_eq!(tally.confusion().counts, [(0, 0, 1), (0, 1, 1), (1, 1, 1)]);
        assert_eq!(found.len(), expected.len() + 9);
    }

    #[test]
    fn without_counts_by_class_there_are_no_means_of_them() {
        let mut tally = ClassTally::new(3, 2, 10, false, false);
        tally.add(&row(0, 0, 0.5), 2);
        let found = tally.measures();
        assert!(found[2..8].iter().all(|mean| mean.is_nan()) && found.len() == 11, "{found:?}");
    }
}
