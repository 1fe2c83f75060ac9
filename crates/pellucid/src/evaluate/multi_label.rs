//! Measures of labels: any number of them are set for a row, each predicted where its probability is above 0.5.
//!
//! Conventions are those of scikit-learn: micro means count all labels of all rows together, macro means are over labels,
//! weighted ones count each label by the rows that have it. The exact match wants every label of a row right; the log loss
//! and the Brier score are means over all labels of all rows.

use super::bootstrap::{Drawn, Tally};
use super::calibration::Bins;
use super::classes::scores;
use super::{PartReport, measured};

/// One label of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Label {
    pub(super) set: bool,
    pub(super) probability: f64,
    /// −ln of the probability of what is right.
    pub(super) loss: f64,
}

impl Label {
    pub(super) fn is_right(self) -> bool {
        self.set == (self.probability > 0.5)
    }
}

/// What a row comes to, label by label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelRow(pub(super) Vec<Label>);

impl LabelRow {
    pub(super) fn all_right(&self) -> bool {
        self.0.iter().all(|label| label.is_right())
    }
}

/// Sums over rows.
#[derive(Debug, Clone)]
pub(super) struct LabelTally {
    rows: u64,
    exact: u64,
    right: u64,
    loss: f64,
    brier: f64,
    pub(super) bins: Bins,
    /// By label: rows that have it, rows for which it is predicted, both at once.
    counts: Vec<[u32; 3]>,
}

impl LabelTally {
    pub(super) fn new(labels: usize, bins: usize) -> Self {
        Self {
            rows: 0,
            exact: 0,
            right: 0,
            loss: 0.0,
            brier: 0.0,
            bins: Bins::new(bins),
            counts: vec![[0; 3]; labels],
        }
    }

    pub(super) fn names() -> Vec<(String, bool, bool)> {
        let mut names =
            vec![("exact match".to_owned(), true, true), ("label accuracy".to_owned(), true, true)];
        for mean in ["micro", "macro", "weighted"] {
            names.extend(
                ["precision", "recall", "F1"].map(|name| (format!("{name}, {mean} mean"), true, true)),
            );
        }
        names.push(("log loss".to_owned(), false, false));
        names.push(("Brier score".to_owned(), false, false));
        names.push(("expected calibration error".to_owned(), true, false));
        names
    }

    fn part(&self, label: usize) -> [f64; 3] {
        let [truth, predicted, hit] = self.counts[label].map(f64::from);
        scores(hit, predicted, truth)
    }

    pub(super) fn parts(&self, names: &[String], drawn: &Drawn, level: f64) -> Vec<PartReport> {
        let first = Self::names().len();
        (0..self.counts.len())
            .map(|label| PartReport {
                name: names[label].clone(),
                rows: u64::from(self.counts[label][0]),
                predicted: Some(u64::from(self.counts[label][1])),
                measures: ["precision", "recall", "F1"]
                    .iter()
                    .zip(self.part(label))
                    .enumerate()
                    .map(|(at, (name, value))| {
                        let interval = drawn.interval(first + 3 * label + at, level);
                        measured(((*name).to_owned(), true, true), value, interval)
                    })
                    .collect(),
            })
            .collect()
    }
}

impl Tally for LabelTally {
    type Row = LabelRow;

    fn add(&mut self, row: &LabelRow, weight: u32) {
        let (times, many) = (f64::from(weight), u64::from(weight));
        self.rows += many;
        self.exact += many * u64::from(row.all_right());
        for (label, counts) in row.0.iter().zip(&mut self.counts) {
            let Label { set, probability, loss } = *label;
            let predicted = probability > 0.5;
            self.right += many * u64::from(set == predicted);
            self.loss += loss * times;
            self.brier += (probability - f64::from(u8::from(set))).powi(2) * times;
            self.bins.add(probability, set, weight);
            for (count, is) in counts.iter_mut().zip([set, predicted, set && predicted]) {
                *count += if is { weight } else { 0 };
            }
        }
    }

    fn measures(&self) -> Vec<f64> {
        let labels = self.counts.len() as f64;
        let (rows, answers) = (self.rows as f64, self.rows as f64 * labels);
        let parts: Vec<[f64; 3]> = (0..self.counts.len()).map(|label| self.part(label)).collect();
        let mut measures = vec![self.exact as f64 / rows, self.right as f64 / answers];
        let sum = |which: usize| self.counts.iter().map(|counts| f64::from(counts[which])).sum::<f64>();
        measures.extend(scores(sum(2), sum(1), sum(0)));
        measures.extend([0, 1, 2].map(|which| parts.iter().map(|part| part[which]).sum::<f64>() / labels));
        measures.extend([0, 1, 2].map(|which| {
            let weighted = parts.iter().zip(&self.counts).map(|(part, n)| part[which] * f64::from(n[0]));
            if sum(0) > 0.0 { weighted.sum::<f64>() / sum(0) } else { 0.0 }
        }));
        measures.extend([self.loss / answers, self.brier / answers, self.bins.expected_error()]);
        measures.extend(parts.into_iter().flatten());
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_by_hand() {
        let mut tally = LabelTally::new(2, 10);
        let label = |set, probability: f64| Label {
            set,
            probability,
            loss: -(if set { probability } else { 1.0 - probability }).ln(),
        };
        tally.add(&LabelRow(vec![label(true, 0.9), label(false, 0.2)]), 1);
        tally.add(&LabelRow(vec![label(true, 0.4), label(true, 0.8)]), 1);
        let found = tally.measures();
        let third = 2.0 / 3.0;
        let expected = [
            0.5,
            0.75, // Micro: 2 hits of 2 predicted and 3 set.
            1.0,
            third,
            0.8, // Label 0: 1, 1/2, 2/3; label 1: 1, 1, 1.
            1.0,
            0.75,
            f64::midpoint(third, 1.0), // Label 0 has two rows, label 1 one.
            1.0,
            third,
            (2.0 * third + 1.0) / 3.0,
        ];
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-12, "{at}: {found} {expected}");
        }
        let loss = -(0.9f64.ln() + 0.8f64.ln() + 0.4f64.ln() + 0.8f64.ln()) / 4.0;
        assert!((found[11] - loss).abs() < 1e-12);
        assert!((found[12] - (0.01 + 0.04 + 0.36 + 0.04) / 4.0).abs() < 1e-12);
        assert_eq!(found.len(), LabelTally::names().len() + 6);
    }
}
