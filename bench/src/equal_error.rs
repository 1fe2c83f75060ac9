//! Integrated gradients to equal error: the fewest evaluations by which either side comes below the same gap and the
//! same quadrature error.
//!
//! Pellucid's adaptive rule stops by itself. For Captum the smallest `n_steps` is searched, by doubling and then by
//! bisection; its quadrature error is the same comparison, of a rule with one of half as many points,
//! `‖A_n − A_{n/2}‖₁ / ‖A_n‖₁`.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayD;
use serde_json::{Value, json};

use crate::agreement;
use crate::cases::TARGETS;
use crate::contestant::Contestant;
use crate::error::Error;

/// Gap as a share of the score's difference, and quadrature error as a share of Σ|values|: the default of Pellucid's
/// adaptive quadrature.
pub(crate) const TOLERANCE: f64 = 0.05;

/// Captum is not tried with more points than this.
const MOST: usize = 2048;

/// What a number of points came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reached {
    pub(crate) evaluations: f64,
    /// |gap| / |score − baseline score|.
    pub(crate) gap: f64,
    /// Quadrature error / Σ|values|.
    pub(crate) error: f64,
}

impl Reached {
    pub(crate) fn good(&self) -> bool {
        self.gap <= TOLERANCE && self.error <= TOLERANCE
    }
}

/// The command of Pellucid's side.
pub(crate) fn ours() -> Value {
    json!({
        "do": "run", "method": "integrated-gradients", "rows": 1, "targets": TARGETS,
        "settings": {"quadrature": "adaptive", "tolerance": TOLERANCE, "steps": 4096},
    })
}

/// The command of Captum's side with `steps` points.
pub(crate) fn theirs(steps: usize, chunk: usize) -> Value {
    json!({
        "do": "run", "method": "integrated-gradients", "rows": 1, "chunk": chunk, "targets": TARGETS,
        "settings": {"steps": steps},
    })
}

/// First numbers of the lists that an answer holds under `keys`.
fn firsts<const N: usize>(
    contestant: &Contestant,
    answer: &Value,
    keys: [&str; N],
) -> Result<[f64; N], Error> {
    let mut found = [0.0; N];
    for (place, key) in found.iter_mut().zip(keys) {
        *place = answer.get(key).and_then(|list| list.get(0)).and_then(Value::as_f64).ok_or_else(|| {
            Error::Contestant { name: contestant.name.clone(), problem: format!("it told no {key:?}") }
        })?;
    }
    Ok(found)
}

/// What Pellucid's adaptive rule came to.
pub(crate) fn reached(contestant: &Contestant, answer: &Value) -> Result<Reached, Error> {
    let [gap, error, norm, score, start] =
        firsts(contestant, answer, ["gap", "quadrature_error", "norm", "score", "baseline_score"])?;
    Ok(Reached {
        evaluations: contestant.number(answer, "evaluations")?,
        gap: relative_gap(gap, score - start, norm),
        error: error / norm,
    })
}

/// A gap is small against the score's difference, or, where the score is nearly that of the baseline, against the
/// values.
fn relative_gap(gap: f64, difference: f64, norm: f64) -> f64 {
    gap.abs() / difference.abs().max(1e-3 * norm)
}

/// Captum with any number of points, each computed once.
pub(crate) struct Search<'a> {
    pub(crate) rival: &'a mut Contestant,
    pub(crate) chunk: usize,
    pub(crate) folder: &'a Path,
    pub(crate) known: BTreeMap<usize, (ArrayD<f32>, f64)>,
}

impl Search<'_> {
    fn attribution(&mut self, steps: usize) -> Result<(ArrayD<f32>, f64), Error> {
        if let Some(known) = self.known.get(&steps) {
            return Ok(known.clone());
        }
        let path = self.folder.join("search.npy");
        let mut command = theirs(steps, self.chunk);
        command["save"] = json!(path);
        command["totals"] = json!(true);
        let answer = self.rival.ask(&command)?;
        let [gap, norm, score, start] =
            firsts(self.rival, &answer, ["gap", "norm", "score", "baseline_score"])?;
        let found = (agreement::read(&path)?, relative_gap(gap, score - start, norm));
        self.known.insert(steps, found.clone());
        Ok(found)
    }

    /// What `steps` points, an even number, come to.
    pub(crate) fn reached(&mut self, steps: usize) -> Result<Reached, Error> {
        let (coarse, _) = self.attribution(steps / 2)?;
        let (fine, gap) = self.attribution(steps)?;
        let sum = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).sum::<f64>();
        let pairs = fine.iter().zip(coarse.iter());
        let distance = sum(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let error = distance / sum(&mut fine.iter().map(|value| f64::from(*value)));
        Ok(Reached { evaluations: steps as f64, gap, error })
    }

    /// The smallest number of points that is good enough, to about a tenth.
    pub(crate) fn fewest(&mut self) -> Result<Option<(usize, Reached)>, Error> {
        fewest(MOST, |steps| self.reached(steps))
    }
}

/// Doubles, then bisects even numbers until the bracket is a tenth of the number.
fn fewest(
    most: usize,
    mut try_steps: impl FnMut(usize) -> Result<Reached, Error>,
) -> Result<Option<(usize, Reached)>, Error> {
    let (mut low, mut high) = (0, 8);
    let mut best = loop {
        let reached = try_steps(high)?;
        if reached.good() {
            break reached;
        }
        low = high;
        high *= 2;
        if high > most {
            return Ok(None);
        }
    };
    while high - low > 2 && (high - low) * 10 > high {
        let middle = (low + high) / 4 * 2;
        let reached = try_steps(middle)?;
        if reached.good() {
            (high, best) = (middle, reached);
        } else {
            low = middle;
        }
    }
    Ok(Some((high, best)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn falling(needed: usize) -> impl FnMut(usize) -> Result<Reached, Error> {
        move |steps| {
            let error = TOLERANCE * needed as f64 / steps as f64;
            Ok(Reached { evaluations: steps as f64, gap: 0.0, error })
        }
    }

    #[test]
    fn the_smallest_number_is_found_to_a_tenth() {
        for needed in [3, 8, 9, 100, 333, 1500] {
            let (found, reached) = fewest(2048, falling(needed)).unwrap().unwrap();
            assert!(reached.good() && found >= needed, "{found} for {needed}");
            assert!(found <= needed.max(8) + needed / 9 + 2, "{found} for {needed}");
        }
        assert_eq!(fewest(2048, falling(5000)).unwrap(), None);
    }

    #[test]
    fn a_gap_alone_fails() {
        assert!(!Reached { evaluations: 8.0, gap: 0.06, error: 0.0 }.good());
        assert!((relative_gap(-0.1, 0.0, 100.0) - 1.0).abs() < 1e-12);
    }
}
