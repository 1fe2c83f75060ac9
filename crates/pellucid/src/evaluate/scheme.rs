//! From a model's numbers for a row, and what is right, to what is counted: one scheme a task.

use super::bootstrap::{Drawn, Tally};
use super::classes::{ClassRow, ClassTally};
use super::mistakes::Said;
use super::multi_label::{Label, LabelRow, LabelTally};
use super::values::{ValueRow, ValueTally};
use super::{Calibration, Confusion, Density, PartReport};

/// What one row comes to.
pub(super) struct Outcome<R> {
    pub(super) row: R,
    /// Whether it is right, where it is right or wrong.
    pub(super) right: Option<bool>,
    /// What is said and what is right, and what the mistake costs, where it is one.
    pub(super) mistake: Option<(f64, Said, Said)>,
}

/// What is shown of a class, label or output by itself.
pub(super) struct Shown {
    pub(super) parts: Vec<PartReport>,
    pub(super) confusion: Option<Confusion>,
    pub(super) calibration: Option<Calibration>,
}

/// A way to count rows.
pub(super) trait Scheme {
    type Tally: Tally;

    /// What sums begin with: those of all rows, and those of a replicate.
    fn empty(&self) -> (Self::Tally, Self::Tally);

    /// Names of the measures of the whole, whether they are shares, and whether more is better.
    fn names(&self) -> Vec<(String, bool, bool)>;

    /// What the model's numbers for a row, by its place, come to.
    fn outcome(&self, scores: &[f32], row: usize) -> Outcome<<Self::Tally as Tally>::Row>;

    /// Parts, with intervals from `drawn`.
    fn shown(&self, whole: &Self::Tally, drawn: &Drawn, level: f64) -> Shown;

    /// Grids of truth and prediction, empty.
    fn densities(&self) -> Vec<Density> {
        Vec::new()
    }

    /// Counts a row in the grids.
    fn place(&self, _row: &<Self::Tally as Tally>::Row, _densities: &mut [Density]) {}
}

/// How numbers of classes become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Logits of classes: by a softmax.
    Logits,
    /// They are probabilities.
    Probabilities,
    /// Only their order means something.
    Order,
    /// One logit, of the second of two classes.
    TwoByLogit,
    /// One probability, of the second of two classes.
    TwoByProbability,
}

/// One class a row.
pub(super) struct Classes<'a> {
    pub(super) truth: &'a [usize],
    pub(super) names: &'a [String],
    pub(super) reading: Reading,
    pub(super) top: usize,
    pub(super) bins: usize,
    /// Whether replicates keep counts by class.
    pub(super) parts: bool,
}

/// Probabilities below this are taken for it where they come as float32 and not as logits, as scikit-learn does.
const LEAST: f64 = f32::EPSILON as f64;

impl Classes<'_> {
    /// Probabilities of the classes and −ln of the right one's; `None` where numbers mean an order alone.
    fn probabilities(&self, scores: &[f32], truth: usize) -> Option<(Vec<f64>, f64)> {
        let of_logits = |logits: &[f64]| {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
            let probabilities = logits.iter().map(|logit| (logit - most).exp() / sum).collect();
            (probabilities, sum.ln() - (logits[truth] - most))
        };
        let as_they_are = |probabilities: Vec<f64>| {
            let loss = -probabilities[truth].max(LEAST).ln();
            (probabilities, loss)
        };
        let first = f64::from(scores[0]);
        match self.reading {
            Reading::Order => None,
            Reading::Logits => Some(of_logits(&scores.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())),
            Reading::TwoByLogit => Some(of_logits(&[0.0, first])),
            Reading::Probabilities => Some(as_they_are(scores.iter().map(|v| f64::from(*v)).collect())),
            Reading::TwoByProbability => Some(as_they_are(vec![1.0 - first, first])),
        }
    }
}

/// Place of the first largest.
fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

impl Scheme for Classes<'_> {
    type Tally = ClassTally;

    fn empty(&self) -> (ClassTally, ClassTally) {
        let classes = self.names.len();
        let tally = |parts, pairs| ClassTally::new(classes, self.top, self.bins, parts, pairs);
        (tally(true, true), tally(self.parts, false))
    }

    fn names(&self) -> Vec<(String, bool, bool)> {
        self.empty().1.names()
    }

    fn outcome(&self, scores: &[f32], row: usize) -> Outcome<ClassRow> {
        let truth = self.truth[row];
        let known = self.probabilities(scores, truth);
        let ranked: Vec<f64> = match &known {
            Some((probabilities, _)) if self.reading != Reading::Logits => probabilities.clone(),
            // Probabilities of logits may be equal where logits are not.
            _ => scores.iter().map(|score| f64::from(*score)).collect(),
        };
        let predicted = largest(&ranked);
        let mine = ranked[truth];
        let before =
            ranked.iter().enumerate().filter(|(at, s)| **s > mine || (**s >= mine && *at < truth)).count();
        let (loss, brier, confidence) = match &known {
            None => (f64::NAN, f64::NAN, f64::NAN),
            Some((p, loss)) => {
                let set = |class: usize| f64::from(u8::from(class == truth));
                let sum: f64 = p.iter().enumerate().map(|(class, p)| (p - set(class)).powi(2)).sum();
                (*loss, if p.len() == 2 { sum / 2.0 } else { sum }, p[predicted])
            }
        };
        let value = |class: usize| known.as_ref().map_or(ranked[class], |(p, _)| p[class]);
        let said = |class: usize| Said { index: class, value: value(class) };
        let cost = if loss.is_nan() { ranked[predicted] - mine } else { loss };
        Outcome {
            right: Some(predicted == truth),
            mistake: (predicted != truth).then(|| (cost, said(predicted), said(truth))),
            row: ClassRow { truth, predicted, among: before < self.top, loss, brier, confidence },
        }
    }

    fn shown(&self, whole: &ClassTally, drawn: &Drawn, level: f64) -> Shown {
        Shown {
            parts: whole.parts(self.names, drawn, level),
            confusion: Some(whole.confusion()),
            calibration: (self.reading != Reading::Order).then(|| whole.bins.report()),
        }
    }
}

/// Labels of a row, any number of them.
pub(super) struct Labels<'a> {
    pub(super) truth: ndarray::ArrayView2<'a, f32>,
    pub(super) names: &'a [String],
    /// Whether numbers are probabilities; logits else.
    pub(super) probabilities: bool,
    pub(super) bins: usize,
}

impl Scheme for Labels<'_> {
    type Tally = LabelTally;

    fn empty(&self) -> (LabelTally, LabelTally) {
        let tally = LabelTally::new(self.names.len(), self.bins);
        (tally.clone(), tally)
    }

    fn names(&self) -> Vec<(String, bool, bool)> {
        LabelTally::names()
    }

    fn outcome(&self, scores: &[f32], row: usize) -> Outcome<LabelRow> {
        let of = |(score, set): (&f32, &f32)| {
            let (score, set) = (f64::from(*score), *set > 0.5);
            if self.probabilities {
                let right = if set { score } else { 1.0 - score };
                return Label { set, probability: score, loss: -right.max(LEAST).ln() };
            }
            // −ln σ(±z) = ln(1 + e^∓z)
            let z = if set { -score } else { score };
            Label {
                set,
                probability: 1.0 / (1.0 + (-score).exp()),
                loss: z.max(0.0) + (-z.abs()).exp().ln_1p(),
            }
        };
        let labels: Vec<Label> = scores.iter().zip(self.truth.row(row)).map(of).collect();
        let wrong = labels.iter().enumerate().filter(|(_, label)| !label.is_right());
        let worst = wrong.max_by(|(a, x), (b, y)| x.loss.total_cmp(&y.loss).then(b.cmp(a)));
        let mistake = worst.map(|(index, label)| {
            let said = |value| Said { index, value };
            (label.loss, said(label.probability), said(f64::from(u8::from(label.set))))
        });
        let row = LabelRow(labels);
        Outcome { right: Some(row.all_right()), mistake, row }
    }

    fn shown(&self, whole: &LabelTally, drawn: &Drawn, level: f64) -> Shown {
        Shown {
            parts: whole.parts(self.names, drawn, level),
            confusion: None,
            calibration: Some(whole.bins.report()),
        }
    }
}

/// Steps of a grid of truth and prediction.
const STEPS: usize = 48;
/// Outputs that have a grid.
const GRIDS: usize = 4;

/// Numbers.
pub(super) struct Values<'a> {
    pub(super) truth: ndarray::ArrayView2<'a, f32>,
    pub(super) names: &'a [String],
    /// Mean and standard deviation of the truth, by output.
    pub(super) moments: Vec<(f64, f64)>,
}

impl<'a> Values<'a> {
    pub(super) fn new(truth: &ndarray::ArrayView2<'a, f32>, names: &'a [String]) -> Self {
        let moments = truth.columns().into_iter().map(|column| {
            let n = column.len() as f64;
            let mean = column.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let spread = column.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            (mean, spread.sqrt())
        });
        let moments = moments.collect();
        Self { truth: *truth, names, moments }
    }
}

impl Scheme for Values<'_> {
    type Tally = ValueTally;

    fn empty(&self) -> (ValueTally, ValueTally) {
        let middles: Vec<f64> = self.moments.iter().map(|(mean, _)| *mean).collect();
        let tally = ValueTally::new(&middles);
        (tally.clone(), tally)
    }

    fn names(&self) -> Vec<(String, bool, bool)> {
        ValueTally::names()
    }

    fn outcome(&self, scores: &[f32], row: usize) -> Outcome<ValueRow> {
        let pairs: Vec<(f64, f64)> = self
            .truth
            .row(row)
            .iter()
            .zip(scores)
            .map(|(truth, score)| (f64::from(*truth), f64::from(*score)))
            .collect();
        let off = |at: usize| {
            let (truth, score) = pairs[at];
            let spread = self.moments[at].1;
            (score - truth).abs() / if spread > 0.0 { spread } else { 1.0 }
        };
        let worst = (0..pairs.len()).max_by(|a, b| off(*a).total_cmp(&off(*b)).then(b.cmp(a)));
        let mistake = worst.filter(|at| off(*at) > 0.0).map(|index| {
            let (truth, score) = pairs[index];
            (off(index), Said { index, value: score }, Said { index, value: truth })
        });
        Outcome { right: None, mistake, row: ValueRow(pairs) }
    }

    fn shown(&self, whole: &ValueTally, drawn: &Drawn, level: f64) -> Shown {
        Shown { parts: whole.parts(self.names, drawn, level), confusion: None, calibration: None }
    }

    fn densities(&self) -> Vec<Density> {
        let grid = |column: &ndarray::ArrayView1<'_, f32>| {
            let ends = column.iter().map(|v| f64::from(*v));
            let low = ends.clone().fold(f64::INFINITY, f64::min);
            let high = ends.fold(f64::NEG_INFINITY, f64::max);
            // A truth that does not vary still has a place on the axis.
            let wide = if high > low { 0.0 } else { low.abs().max(1.0) * 0.5 };
            Density { steps: STEPS, low: low - wide, high: high + wide, counts: vec![0; STEPS * STEPS] }
        };
        self.truth.columns().into_iter().take(GRIDS).map(|column| grid(&column)).collect()
    }

    fn place(&self, row: &ValueRow, densities: &mut [Density]) {
        for (density, (truth, score)) in densities.iter_mut().zip(&row.0) {
            let step = |value: f64| {
                let share = (value - density.low) / (density.high - density.low) * STEPS as f64;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a place in the grid"
                )]
                let step = share.clamp(0.0, (STEPS - 1) as f64) as usize;
                step
            };
            let place = step(*truth) * STEPS + step(*score);
            density.counts[place] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes<'a>(truth: &'a [usize], names: &'a [String], reading: Reading) -> Classes<'a> {
        Classes { truth, names, reading, top: 2, bins: 10, parts: true }
    }

    #[test]
    fn logits_and_probabilities_say_the_same() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let logits = [1.0f32, 3.0, 2.5];
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a model gives float32")]
        let probabilities: Vec<f32> =
            logits.iter().map(|logit| (f64::from(*logit).exp() / sum) as f32).collect();
        let one = classes(&[2], &names, Reading::Logits).outcome(&logits, 0);
        let other = classes(&[2], &names, Reading::Probabilities).outcome(&probabilities, 0);
        for (a, b) in [
            (one.row.loss, other.row.loss),
            (one.row.brier, other.row.brier),
            (one.row.confidence, other.row.confidence),
        ] {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert!((one.row.loss + (2.5f64.exp() / sum).ln()).abs() < 1e-12);
        assert_eq!((one.row.predicted, one.row.among, one.right), (1, true, Some(false)));
        let (loss, said, truth) = one.mistake.unwrap();
        assert!((loss - one.row.loss).abs() < 1e-15 && (said.index, truth.index) == (1, 2));
    }

    #[test]
    fn one_number_decides_between_two_classes() {
        let names = ["no", "yes"].map(str::to_owned);
        let found = classes(&[1, 0], &names, Reading::TwoByLogit).outcome(&[2.0], 0);
        assert!((found.row.loss - (-2f64).exp().ln_1p()).abs() < 1e-12 && found.right == Some(true));
        let p = 1.0 / (1.0 + (-2f64).exp());
        assert!((found.row.brier - (1.0 - p).powi(2)).abs() < 1e-12);
        let found = classes(&[1, 0], &names, Reading::TwoByProbability).outcome(&[0.75], 1);
        assert!((found.row.loss - 4f64.ln()).abs() < 1e-12 && found.row.predicted == 1);
    }

    #[test]
    fn of_equal_numbers_the_first_wins_and_a_lost_tie_is_a_rank_lower() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let truth = [2];
        let scheme = Classes { top: 1, ..classes(&truth, &names, Reading::Order) };
        let found = scheme.outcome(&[1.0, 1.0, 1.0], 0);
        assert_eq!((found.row.predicted, found.row.among), (0, false));
        assert!(found.row.loss.is_nan() && found.mistake.is_some());
    }

    #[test]
    fn labels_of_logits_have_exact_losses() {
        let truth = ndarray::arr2(&[[1.0f32, 0.0, 1.0]]);
        let names = ["a", "b", "c"].map(str::to_owned);
        let scheme = Labels { truth: truth.view(), names: &names, probabilities: false, bins: 10 };
        let found = scheme.outcome(&[0.5, 60.0, -1.0], 0);
        assert!((found.row.0[1].loss - 60.0).abs() < 1e-9);
        let (loss, said, right) = found.mistake.unwrap();
        assert_eq!((said.index, found.right), (1, Some(false)));
        assert!((loss - 60.0).abs() < 1e-9 && right.value == 0.0);
    }

    #[test]
    fn a_grid_counts_what_is_outside_at_its_edge() {
        let truth = ndarray::arr2(&[[0.0f32], [1.0]]);
        let names = ["y".to_owned()];
        let scheme = Values::new(&truth.view(), &names);
        let mut grids = scheme.densities();
        scheme.place(&scheme.outcome(&[-5.0], 0).row, &mut grids);
        scheme.place(&scheme.outcome(&[9.0], 1).row, &mut grids);
        assert_eq!((grids[0].counts[0], grids[0].counts[STEPS * STEPS - 1]), (1, 1));
        let (off, said, right) = scheme.outcome(&[9.0], 1).mistake.unwrap();
        assert!((off - 16.0).abs() < 1e-9 && (said.value, right.value) == (9.0, 1.0));
    }
}
