//! The rows that a model gets most wrong.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::Serialize;

/// A row that a model gets wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mistake {
    /// Its place among the rows.
    pub row: usize,
    /// What people know it by.
    pub name: String,
    /// What it costs: −ln of the probability of what is right, or how many standard deviations of the truth it is off.
    pub loss: f64,
    /// What the model says.
    pub predicted: Said,
    /// What is right.
    pub truth: Said,
}

/// A class, label or output, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Said {
    /// The class, label or output.
    pub index: usize,
    /// Of a class the probability the model gives it (its score where there are none); of a label the probability, or 0 or
    /// 1 where it is what is right; of an output the value.
    pub value: f64,
}

/// The worst of all rows that were offered, as many as asked for.
#[derive(Debug)]
pub(super) struct Worst {
    most: usize,
    kept: BinaryHeap<Offered>,
}

#[derive(Debug)]
struct Offered {
    loss: f64,
    row: usize,
    predicted: Said,
    truth: Said,
}

impl Worst {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new() }
    }

    /// Keeps a row where it is among the worst; of equal ones the earlier.
    pub(super) fn offer(&mut self, row: usize, loss: f64, predicted: Said, truth: Said) {
        self.kept.push(Offered { loss, row, predicted, truth });
        if self.kept.len() > self.most {
            self.kept.pop();
        }
    }

    /// What was kept, worst first, without names.
    pub(super) fn mistakes(self) -> Vec<Mistake> {
        self.kept
            .into_sorted_vec()
            .into_iter()
            .map(|Offered { loss, row, predicted, truth }| Mistake {
                row,
                name: String::new(),
                loss,
                predicted,
                truth,
            })
            .collect()
    }
}

/// The least bad is the greatest, which a heap lets go of first.
impl Ord for Offered {
    fn cmp(&self, other: &Self) -> Ordering {
        other.loss.total_cmp(&self.loss).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Offered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Offered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Offered {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_are_kept_worst_first() {
        let mut worst = Worst::new(3);
        let said = Said { index: 0, value: 0.0 };
        for (row, loss) in [1.0, 5.0, 2.0, 5.0, 4.0, 0.5].into_iter().enumerate() {
            worst.offer(row, loss, said, said);
        }
        let rows: Vec<usize> = worst.mistakes().iter().map(|mistake| mistake.row).collect();
        assert_eq!(rows, [1, 3, 4]);
        let mut none = Worst::new(0);
        none.offer(0, 1.0, said, said);
        assert!(none.mistakes().is_empty());
    }
}
