//! How the learning rate goes from step to step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Names of schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// It stays.
    Constant,
    /// It is multiplied by `factor` every `every` of the whole run.
    Step,
    /// It falls along half a cosine, to `last` of it.
    ///
    /// Source: I. Loshchilov, F. Hutter (2017), SGDR, arXiv:1608.03983.
    #[default]
    Cosine,
    /// It rises from 1/`div` of it to all of it in the first `rise` of the run, and falls to 1/`final_div` of where it
    /// began, both along half a cosine.
    ///
    /// Source: L. N. Smith, N. Topin (2019), Super-convergence, arXiv:1708.07120.
    OneCycle,
}

/// A schedule. Shares are of the steps of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Which.
    pub shape: Shape,
    /// Share of the steps in which the rate rises linearly at first, before the schedule begins.
    pub warm_up: f64,
    /// Where that rise begins, as a part of the rate.
    pub warm_up_from: f64,
    /// Of `step`: the share of the run after which the rate changes, again and again.
    pub every: f64,
    /// Of `step`: what it is multiplied by.
    pub factor: f64,
    /// Of `cosine`: the last rate as a part of the rate.
    pub last: f64,
    /// Of `one-cycle`: the share in which it rises.
    pub rise: f64,
    /// Of `one-cycle`: what the rate is divided by at first.
    pub div: f64,
    /// Of `one-cycle`: what the first rate is divided by in the end.
    pub final_div: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            warm_up: 0.0,
            warm_up_from: 0.01,
            every: 1.0 / 3.0,
            factor: 0.1,
            last: 0.0,
            rise: 0.3,
            div: 25.0,
            final_div: 1e4,
        }
    }
}

impl Schedule {
    /// What the learning rate is multiplied by at `step`, from 0, of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let warm = whole(self.warm_up * steps as f64);
        if step < warm {
            let part = step as f64 / warm as f64;
            return self.warm_up_from + (1.0 - self.warm_up_from) * part;
        }
        let (step, steps) = (step - warm, steps.saturating_sub(warm).max(1));
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Step => {
                let every = whole(self.every * (steps + warm) as f64).max(1);
                let times = i32::try_from(step / every).unwrap_or(i32::MAX);
                self.factor.powi(times)
            }
            Shape::Cosine => {
                self.last + (1.0 - self.last) * (1.0 + (PI * step as f64 / steps as f64).cos()) / 2.0
            }
            Shape::OneCycle => {
                let turn = self.rise * (steps + 1) as f64 - 1.0;
                let end = steps as f64;
                let between =
                    |from: f64, to: f64, part: f64| to + (from - to) / 2.0 * (1.0 + (PI * part).cos());
                let at = step as f64;
                if turn > 0.0 && at <= turn {
                    between(1.0 / self.div, 1.0, at / turn)
                } else {
                    between(1.0, 1.0 / (self.div * self.final_div), (at - turn) / (end - turn))
                }
            }
        }
    }
}

/// A share of steps, to the nearest step.
fn whole(steps: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of steps, which saturates"
    )]
    let steps = steps.round().max(0.0) as u64;
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_of_a_short_cycle_is_a_number() {
        for (rise, steps) in [(0.5, 1), (0.25, 3), (0.1, 9), (0.3, 1), (0.3, 2), (0.9, 1)] {
            let schedule = Schedule { shape: Shape::OneCycle, rise, ..Schedule::default() };
            let rates: Vec<f64> = (0..steps).map(|step| schedule.factor(step, steps)).collect();
            assert!(rates.iter().all(|rate| rate.is_finite() && *rate > 0.0), "{rise}, {steps}: {rates:?}");
        }
    }

    /// PyTorch's schedulers step by step: `goldens/training/references.py`.
    #[test]
    fn rates_are_those_of_pytorch() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../goldens/training/index.json");
        let index: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let of = |shape, warm: f64, from| Schedule {
            shape,
            warm_up: warm / 40.0,
            warm_up_from: from,
            every: 7.0 / 40.0,
            factor: 0.3,
            ..Schedule::default()
        };
        for (name, rate, schedule) in [
            ("constant", 0.1, of(Shape::Constant, 0.0, 0.0)),
            ("constant.warm", 0.1, of(Shape::Constant, 5.0, 0.1)),
            ("step", 0.1, of(Shape::Step, 0.0, 0.0)),
            ("step.warm", 0.1, of(Shape::Step, 4.0, 0.01)),
            ("cosine", 0.1, Schedule { last: 0.02, ..of(Shape::Cosine, 0.0, 0.0) }),
            ("cosine.warm", 0.1, of(Shape::Cosine, 4.0, 0.25)),
            ("one-cycle", 0.1, of(Shape::OneCycle, 0.0, 0.0)),
            (
                "one-cycle.other",
                0.2,
                Schedule { rise: 0.2, div: 10.0, final_div: 100.0, ..of(Shape::OneCycle, 0.0, 0.0) },
            ),
        ] {
            let wanted = index["schedules"][name].as_array().unwrap();
            assert_eq!(wanted.len(), 40);
            for (step, wanted) in (0..).zip(wanted) {
                let (found, wanted) = (rate * schedule.factor(step, 40), wanted.as_f64().unwrap());
                assert!((found - wanted).abs() < 1e-12, "{name}, step {step}: {found}, PyTorch has {wanted}");
            }
        }
    }
}
