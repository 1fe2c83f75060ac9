//! What a run of a method returns: the attribution, its error bars, the prediction it explains and everything needed
//! to reproduce it. No algorithm and no picture.

use std::fmt;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD, Axis};
pub use pellucid_compile::{Neuron, Unit};

use crate::array::Array;
use crate::error::Error;
use crate::input::Inputs;
use crate::labels::Labels;
use crate::space::Spaces;

/// Attributions for one target of each row, with their error bars.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// By input name; the shape of the input `[n, …]`, or `[n, 1, h, w]` at a layer.
    pub values: Vec<(String, ArrayD<f32>)>,
    /// `[n]`: f(x) at the target.
    pub score: Array1<f32>,
    /// What the score is.
    pub unit: Unit,
    /// `[n]`: f(baseline) at the target, for methods that have a baseline.
    pub baseline_score: Option<Array1<f32>>,
    /// `[n]`: score − baseline score − Σ values, for methods that claim completeness.
    pub gap: Option<Array1<f32>>,
    /// Whether values are relevance: then the gap is what was lost on the way (negative: made), which is no error.
    pub relevance: bool,
    /// `[n]`: ‖`A_k` − `A_2k`‖₁ of nested quadrature rules. A small gap can hide errors that cancel; this cannot.
    pub quadrature_error: Option<Array1<f32>>,
    /// `[n]`: standard error of the gap, for methods that are complete in expectation.
    pub gap_std_error: Option<Array1<f32>>,
    /// Standard error of every value, for sampling methods; of the shapes of `values`.
    pub std_error: Option<Vec<ArrayD<f32>>>,
    /// By input: along how many channels each number repeats, as an occluded window's does along those it covers;
    /// empty where none does. A sum over channels is divided by it.
    pub repeated: Vec<usize>,
    /// Forward evaluations of the model that were spent, over all rows; those that several targets share are counted
    /// at the first.
    pub evaluations: u64,
}

impl Attribution {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.score.len()
    }

    /// Along how many channels each number of the input at `index` repeats; 1 where it does not.
    pub fn repeats(&self, index: usize) -> usize {
        self.repeated.get(index).copied().unwrap_or(1).max(1)
    }

    /// The values of one row for the input at `index`, without the batch axis.
    ///
    /// # Panics
    /// Where there is no such input or row.
    pub fn row(&self, index: usize, row: usize) -> ndarray::ArrayViewD<'_, f32> {
        self.values[index].1.index_axis(Axis(0), row)
    }
}

/// What is explained of one row: an output's element, or the difference of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Position among the classes; 0 of a hidden unit.
    pub index: usize,
    /// Its label, where there are labels.
    pub label: Option<String>,
    /// For a contrast: what is subtracted.
    pub minus: Option<Box<Target>>,
    /// A hidden unit, as `layer4[3,1,2]`, in place of a class.
    pub neuron: Option<String>,
}

impl Target {
    /// The class at `index`, named by `labels`.
    pub fn new(index: usize, labels: Option<&Labels>) -> Self {
        let label = labels.and_then(|labels| labels.get(index)).map(str::to_owned);
        Self { index, label, minus: None, neuron: None }
    }

    /// A hidden unit.
    pub fn of_neuron(neuron: &Neuron) -> Self {
        Self { index: 0, label: None, minus: None, neuron: Some(neuron.to_string()) }
    }

    /// Position among the classes; `None` of a hidden unit.
    pub fn class(&self) -> Option<usize> {
        self.neuron.is_none().then_some(self.index)
    }

    /// The same, less `other`.
    #[must_use]
    pub fn minus(mut self, other: Target) -> Self {
        self.minus = Some(Box::new(other));
        self
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.neuron, &self.label) {
            (Some(name), _) | (None, Some(name)) => f.write_str(name)?,
            (None, None) => write!(f, "class {}", self.index)?,
        }
        match &self.minus {
            Some(other) => write!(f, " minus {other}"),
            None => Ok(()),
        }
    }
}

/// A class of a prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Position among the classes.
    pub index: usize,
    /// Its label, where there are labels.
    pub label: Option<String>,
    /// The model's number.
    pub score: f32,
    /// Between 0 and 1, where the unit allows it: the softmax of logits, a probability itself.
    pub probability: Option<f32>,
}

impl Class {
    /// The label, or `class 7`.
    pub fn name(&self) -> String {
        self.label.clone().unwrap_or_else(|| format!("class {}", self.index))
    }
}

/// What the model says of every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Every output of the model, by name, `[n, …]`.
    pub outputs: Vec<(String, Array)>,
    /// `[n, classes]`: the output that is explained, other axes flattened.
    pub scores: Array2<f32>,
    /// What the scores are.
    pub unit: Unit,
    /// Names of the classes.
    pub labels: Option<Arc<Labels>>,
}

impl Prediction {
    /// A prediction of which `scores` is the part to look at.
    pub fn new(
        outputs: Vec<(String, Array)>,
        scores: Array2<f32>,
        unit: Unit,
        labels: Option<Arc<Labels>>,
    ) -> Self {
        Self { outputs, scores, unit, labels }
    }

    /// The `k` classes of a row with the highest scores, best first; of equal ones the earlier first.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn top(&self, row: usize, k: usize) -> Vec<Class> {
        let scores = self.scores.row(row);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let probabilities = self.probabilities(row);
        order
            .into_iter()
            .take(k)
            .map(|index| Class {
                index,
                label: self.labels.as_ref().and_then(|labels| labels.get(index)).map(str::to_owned),
                score: scores[index],
                probability: probabilities.as_ref().map(|p| p[index]),
            })
            .collect()
    }

    /// Probabilities of a row's classes, where the unit allows it.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn probabilities(&self, row: usize) -> Option<Vec<f32>> {
        let scores = self.scores.row(row);
        match self.unit {
            Unit::Raw => None,
            Unit::Probability => Some(scores.to_vec()),
            Unit::Logit => Some(softmax(&scores.to_vec())),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a probability is rounded to float32")]
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> =
        logits.iter().map(|logit| (f64::from(*logit) - f64::from(largest)).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| (e / sum) as f32).collect()
}

/// Settings in the order in which they are told, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// No settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting at the end, or changes it where it stands.
    pub fn set(&mut self, key: impl Into<String>, value: impl fmt::Display) {
        let (key, value) = (key.into(), value.to_string());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => self.0.push((key, value)),
        }
    }

    /// The value of a setting.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Every setting, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The method that was used, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodSummary {
    /// Name, such as `integrated-gradients`.
    pub name: String,
    /// What it computes, in a sentence or two.
    pub summary: String,
    /// Where it was published.
    pub source: String,
}

/// One target of every row, and its attribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// What is explained, one a row.
    pub targets: Vec<Target>,
    /// The attribution of it.
    pub attribution: Attribution,
}

/// Everything a run of `explain` found, ready to be drawn or written.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Name of the model, as people know it.
    pub model: String,
    /// What was explained: inputs, rows and photographs.
    pub inputs: Arc<Inputs>,
    /// What the model says.
    pub prediction: Prediction,
    /// Attributions, one for each target that was asked for; at least one.
    pub explained: Vec<Explained>,
    /// The method.
    pub method: MethodSummary,
    /// The layer that attributions are to, or that the method looks at.
    pub layer: Option<String>,
    /// The hidden unit that is explained in place of a class.
    pub neuron: Option<String>,
    /// The baseline in words, for methods that have one.
    pub baseline: Option<String>,
    /// Settings that reproduce it.
    pub settings: Settings,
    /// A command line that reproduces it.
    pub command: String,
    /// What else should be known, a sentence each.
    pub notes: Vec<String>,
    /// Engine that ran it.
    pub engine: String,
    /// Version of pellucid.
    pub version: String,
    /// How the rows of each input lie.
    pub(crate) spaces: Spaces,
}

impl Explanation {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.inputs.len()
    }

    /// Checks that every part speaks of the same rows and inputs.
    pub fn check(&self) -> Result<(), Error> {
        let rows = self.rows();
        let wrong = |what: &str, found: usize| {
            Err(Error::Internal(format!("the explanation has {found} {what} for {rows} inputs")))
        };
        if self.explained.is_empty() {
            return Err(Error::Internal("the explanation has no target".to_owned()));
        }
        if self.prediction.scores.nrows() != rows {
            return wrong("predictions", self.prediction.scores.nrows());
        }
        for explained in &self.explained {
            if explained.targets.len() != rows {
                return wrong("targets", explained.targets.len());
            }
            let attribution = &explained.attribution;
            let lengths = [
                Some(attribution.score.len()),
                attribution.baseline_score.as_ref().map(Array1::len),
                attribution.gap.as_ref().map(Array1::len),
                attribution.gap_std_error.as_ref().map(Array1::len),
                attribution.quadrature_error.as_ref().map(Array1::len),
            ];
            if let Some(found) = lengths.into_iter().flatten().find(|length| *length != rows) {
                return wrong("scores", found);
            }
            if attribution.values.is_empty() {
                return Err(Error::Internal("the explanation has no attribution".to_owned()));
            }
            for (_, values) in &attribution.values {
                if values.shape().first() != Some(&rows) {
                    return wrong("rows of attribution", values.shape().first().copied().unwrap_or(0));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn top_classes_are_sorted_and_their_probabilities_sum_to_one() {
        let labels = Labels::new(["a", "b", "c"]).unwrap();
        let prediction = Prediction::new(
            vec![],
            array![[1.0, 1000.0, 1000.0], [0.0, -1.0, -2.0]],
            Unit::Logit,
            Some(Arc::new(labels)),
        );
        let top = prediction.top(0, 2);
        assert_eq!(top.iter().map(Class::name).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(top[0].probability, Some(0.5));
        let sum: f32 = prediction.probabilities(1).unwrap().iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert_eq!(prediction.top(1, 9).len(), 3);
    }

    #[test]
    fn raw_scores_have_no_probabilities() {
        let prediction = Prediction::new(vec![], array![[3.0]], Unit::Raw, None);
        assert_eq!(prediction.probabilities(0), None);
        assert_eq!(prediction.top(0, 1)[0].name(), "class 0");
    }

    #[test]
    fn settings_keep_their_order_and_their_last_value() {
        let mut settings = Settings::new();
        settings.set("steps", 8);
        settings.set("seed", 1);
        settings.set("steps", 16);
        assert_eq!(settings.iter().collect::<Vec<_>>(), [("steps", "16"), ("seed", "1")]);
    }

    #[test]
    fn a_contrast_says_both_its_sides() {
        let target = Target::new(281, None).minus(Target::new(282, None));
        assert_eq!(target.to_string(), "class 281 minus class 282");
    }
}
