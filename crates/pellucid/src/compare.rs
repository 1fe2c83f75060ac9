//! Several methods on the same inputs, side by side, and how alike their maps are.
//!
//! How alike is told by Spearman's rank correlation of what is drawn: a picture's sum over channels, a coarser map
//! enlarged linearly to the finer one; of anything else every number. Ranks do not depend on the unit of a method or on
//! its few largest values. (C. Spearman, 1904, The Proof and Measurement of Association between Two Things,
//! doi:10.2307/1412159.)

use std::time::Instant;

use ndarray::Array2;

use crate::attribution::{Explanation, Target};
use crate::error::Error;
use crate::explain::{Baseline, Options, Progress, TargetChoice, explain};
use crate::input::Inputs;
use crate::methods;
use crate::model::Model;
use crate::render::heat::{Drawn, draw_row};
use crate::resample;

/// One method of a comparison.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The method as it was asked for, settings included, such as `smoothgrad:samples=50`.
    pub name: String,
    /// What it says.
    pub explanation: Explanation,
    /// How long it took, compiling and opening included.
    pub seconds: f64,
}

/// How alike two methods are.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// Position of the one method.
    pub first: usize,
    /// Position of the other, behind it.
    pub second: usize,
    /// By row: rank correlation of the values with their signs; `None` where one of them is constant or the two have no
    /// common shape.
    pub signed: Vec<Option<f64>>,
    /// The same of the values' sizes.
    pub absolute: Vec<Option<f64>>,
}

impl Correlation {
    /// Mean over the rows of the signed ones; `None` where no row has any.
    pub fn mean_signed(&self) -> Option<f64> {
        mean(&self.signed)
    }

    /// Mean over the rows of those of sizes; `None` where no row has any.
    pub fn mean_absolute(&self) -> Option<f64> {
        mean(&self.absolute)
    }
}

fn mean(rows: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = rows.iter().copied().flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// Several methods on the same inputs.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The methods, in the order asked for; at least one.
    pub methods: Vec<Compared>,
    /// Every two of them.
    pub correlations: Vec<Correlation>,
    /// A command line that reproduces it.
    pub command: String,
}

impl Comparison {
    /// Number of inputs.
    pub fn rows(&self) -> usize {
        self.methods.first().map_or(0, |method| method.explanation.rows())
    }

    /// The correlation of two methods, in any order.
    pub fn correlation(&self, one: usize, other: usize) -> Option<&Correlation> {
        let (first, second) = (one.min(other), one.max(other));
        self.correlations.iter().find(|found| (found.first, found.second) == (first, second))
    }
}

/// Methods separated by commas, each a name and settings of its own behind colons: `gradient,smoothgrad:samples=50`.
///
/// # Errors
/// Names that no method has, with the nearest; settings without `=`; the same method twice.
pub fn parse_methods(text: &str) -> Result<Vec<(String, Options)>, Error> {
    let mut found: Vec<(String, Options)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mut pieces = part.split(':');
        let mut options = Options::new(pieces.next().unwrap_or_default().trim());
        methods::find(&options.method)?;
        for piece in pieces {
            let Some((key, value)) = piece.split_once('=') else {
                return Err(wrong(format!(
                    "{part:?}: {piece:?} has no =; expected NAME:KEY=VALUE, such as smoothgrad:samples=50"
                )));
            };
            options = options.set(key.trim(), value.trim());
        }
        if found.iter().any(|(name, _)| name == part) {
            return Err(wrong(format!("{part} is named twice; name every method once")));
        }
        found.push((part.to_owned(), options));
    }
    if found.is_empty() {
        return Err(wrong("no method is named; separate several by commas".to_owned()));
    }
    Ok(found)
}

fn wrong(problem: String) -> Error {
    Error::Setting { name: "method".to_owned(), problem }
}

/// What `methods` are asked, given what all share: `shared`'s target, baseline, background, layer, unit, seed and
/// limits. A method that compares with nothing is given no baseline, one that draws none no background.
fn asked(own: &Options, shared: &Options) -> Result<Options, Error> {
    let definition = methods::find(&own.method)?;
    let path = own.settings.iter().any(|(key, value)| key == "points" && value == "path");
    let takes_baseline = definition.baseline || path;
    Ok(Options {
        method: own.method.clone(),
        settings: own.settings.clone(),
        baseline: if takes_baseline { shared.baseline.clone() } else { Baseline::Zero },
        background: shared.background.clone().filter(|_| definition.background()),
        ..shared.clone()
    })
}

/// Finds what is wrong with any of the methods before inputs are read.
///
/// # Errors
/// As [`compare`].
pub fn check(model: &Model, methods: &[(String, Options)], shared: &Options) -> Result<(), Error> {
    if shared.choices().len() > 1 {
        return Err(Error::Setting {
            name: "target".to_owned(),
            problem: "a comparison is of one target a row: give one".to_owned(),
        });
    }
    methods.iter().try_for_each(|(_, own)| asked(own, shared)?.check(model))
}

/// Explains `inputs` with each of `methods`, by name and with the settings of its own; everything else is `shared`'s.
/// All explain the same class of a row, the one that the first found where it is asked for by rank. Costs what the
/// methods cost one by one.
///
/// # Errors
/// As [`explain`], of any method; several targets.
pub fn compare(
    model: &Model,
    inputs: &Inputs,
    methods: &[(String, Options)],
    shared: &Options,
    progress: &dyn Progress,
) -> Result<Comparison, Error> {
    check(model, methods, shared)?;
    let mut shared = shared.clone();
    let mut compared: Vec<Compared> = Vec::new();
    for (name, own) in methods {
        let start = Instant::now();
        let explanation = explain(model, inputs.clone(), &asked(own, &shared)?, progress)?;
        let seconds = start.elapsed().as_secs_f64();
        let targets = &explanation.explained[0].targets;
        let plain = shared.choices().iter().all(|choice| !choice.is_contrast());
        if let (Some(classes), true) = (targets.iter().map(Target::class).collect(), plain) {
            shared.targets = vec![TargetChoice::Rows(classes)];
        }
        compared.push(Compared { name: name.clone(), explanation, seconds });
    }
    let correlations = correlations(&compared);
    Ok(Comparison { methods: compared, correlations, command: String::new() })
}

fn correlations(methods: &[Compared]) -> Vec<Correlation> {
    let mut found = Vec::new();
    for second in 1..methods.len() {
        for first in 0..second {
            let (one, other) = (&methods[first].explanation, &methods[second].explanation);
            let mut correlation = Correlation { first, second, signed: Vec::new(), absolute: Vec::new() };
            for row in 0..one.rows() {
                let pair = common(one, other, row);
                let of = |change: fn(f32) -> f32| {
                    let (a, b) = pair.as_ref()?;
                    let changed = |values: &[f32]| values.iter().copied().map(change).collect::<Vec<_>>();
                    spearman(&changed(a), &changed(b))
                };
                correlation.signed.push(of(|value| value));
                correlation.absolute.push(of(f32::abs));
            }
            found.push(correlation);
        }
    }
    found.sort_by_key(|correlation| (correlation.first, correlation.second));
    found
}

/// What two methods say of one row, number by number.
fn common(one: &Explanation, other: &Explanation, row: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let (first, second) = (&one.explained[0], &other.explained[0]);
    if first.attribution.values.len() != second.attribution.values.len() {
        return None;
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for index in 0..first.attribution.values.len() {
        let (a, b) = (first.attribution.row(index, row), second.attribution.row(index, row));
        match (draw_row(one, first, index, row), draw_row(other, second, index, row)) {
            (Drawn::Map(a), Drawn::Map(b)) => {
                let height = a.values.nrows().max(b.values.nrows());
                let width = a.values.ncols().max(b.values.ncols());
                left.extend(enlarged(&a.values, height, width));
                right.extend(enlarged(&b.values, height, width));
            }
            _ if a.shape() == b.shape() => {
                left.extend(a.iter());
                right.extend(b.iter());
            }
            _ => return None,
        }
    }
    Some((left, right))
}

fn enlarged(map: &Array2<f32>, height: usize, width: usize) -> Vec<f32> {
    let values: Vec<f32> = map.iter().copied().collect();
    if map.dim() == (height, width) {
        return values;
    }
    resample::resize_map(&values, map.dim(), (height, width))
}

/// Spearman's rank correlation, in [−1, 1]: Pearson's of the ranks, equal values sharing the mean of theirs. `None` of
/// lists of different lengths, of constant ones, and of any with NaN.
pub fn spearman(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() != b.len() || a.iter().chain(b).any(|value| value.is_nan()) {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        both += (a - middle) * (b - middle);
        first += (a - middle).powi(2);
        second += (b - middle).powi(2);
    }
    let size = (first * second).sqrt();
    (size > 0.0).then(|| (both / size).clamp(-1.0, 1.0))
}

/// Each value's place in the order, from 0; equal values share the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = |at: &usize| values[*at] <= values[order[start]];
        let count = order[start..].iter().take_while(|at| same(at)).count().max(1);
        let rank = start as f64 + (count as f64 - 1.0) / 2.0;
        for at in &order[start..start + count] {
            ranks[*at] = rank;
        }
        start += count;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: ranks 0, 1, 2, 3 and 1, 0, 2, 3 differ by 1, 1, 0, 0, and 1 − 6·2/(4·15) = 0.8.
    #[test]
    fn spearmans_correlation_is_that_of_the_ranks() {
        let close = |a: &[f32], b: &[f32], expected: f64| {
            let found = spearman(a, b).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        };
        close(&[1.0, 2.0, 3.0, 1e9], &[5.0, 4.0, 6.0, 7.0], 0.8);
        close(&[1.0, 2.0, 3.0], &[-1.0, -2.0, -3.0], -1.0);
        // scipy.stats.spearmanr([1, 2, 2, 3], [1, 3, 2, 4]) = 0.9486832980505138
        close(&[1.0, 2.0, 2.0, 3.0], &[1.0, 3.0, 2.0, 4.0], 0.948_683_298_050_513_8);
        // Zeros of both signs are equal.
        close(&[0.0, -0.0, 1.0], &[2.0, 2.0, 3.0], 1.0);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[f32::NAN, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn methods_are_read_with_their_settings() {
        let found = parse_methods("gradient, smoothgrad:samples=50:noise=0.1").unwrap();
        assert_eq!(found[1].0, "smoothgrad:samples=50:noise=0.1");
        assert_eq!(found[1].1.method, "smoothgrad");
        assert_eq!(found[1].1.settings[0], ("samples".to_owned(), "50".to_owned()));
        let error = |text: &str| parse_methods(text).unwrap_err().to_string();
        assert!(
            error("gradient,smothgrad").contains("did you mean \"smoothgrad\"?"),
            "{}",
            error("smothgrad")
        );
        assert!(error("smoothgrad:samples").contains("\"samples\" has no ="));
        assert_eq!(error("gradient,gradient"), "method: gradient is named twice; name every method once");
        assert!(error(" ,").contains("no method is named"));
    }
}
