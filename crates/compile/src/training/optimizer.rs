//! How weights follow from derivatives.

use crate::build::{Keep, Var};
use crate::error::{CompileError, Result};

use super::config::{Optimizer, TrainingConfig};

/// The norm of `derivatives` together: √Σ g².
pub(super) fn norm<'g>(derivatives: &[Var<'g>]) -> Result<Option<Var<'g>>> {
    let mut sum: Option<Var<'g>> = None;
    for derivative in derivatives {
        let axes: Vec<usize> = (0..derivative.rank()?).collect();
        let square = if axes.is_empty() {
            *derivative * *derivative
        } else {
            derivative.reduced("ReduceSumSquare", &axes, Keep::None)
        };
        sum = Some(match sum {
            Some(sum) => sum + square,
            None => square,
        });
    }
    Ok(sum.map(Var::sqrt))
}

/// The factor that brings a norm to `limit` where it is greater: min(1, limit / (norm + 10⁻⁶)).
pub(super) fn clipping(norm: Var<'_>, limit: f64) -> Var<'_> {
    let factor = norm.scalar(limit) / (norm + 1e-6);
    norm.builder().op("Min", &[factor, norm.scalar(1.0)], &[])
}

/// What is the same for every weight in a step.
pub(super) struct Shared<'g> {
    /// η.
    pub(super) learning_rate: Var<'g>,
    /// μ, where there is a velocity.
    pub(super) momentum: Option<Var<'g>>,
    /// For `AdamW`: its factors of this step.
    pub(super) adam: Option<Adam<'g>>,
}

/// With m̃ = m / (1 − β₁), ṽ = v / (1 − β₂) and c the sums of weights, the update η · (m / c₁) / (√(v / c₂) + ε) is
/// η · rate · m̃ / (√ṽ + floor).
pub(super) struct Adam<'g> {
    rate: Var<'g>,
    floor: Var<'g>,
    /// c₁ and c₂ after the step.
    pub(super) carried: [Var<'g>; 2],
}

impl<'g> Adam<'g> {
    /// From c₁ and c₂ before the step: c ← β·c + (1 − β), since 1 − βᵗ is inexact in `float32`.
    pub(super) fn new(carried: [Var<'g>; 2], betas: [f64; 2], epsilon: f64) -> Self {
        let [first, second] = [0, 1].map(|k| carried[k] * betas[k] + (1.0 - betas[k]));
        let root = (second.scalar(1.0 - betas[1]) / second).sqrt();
        let rate = first.scalar(1.0 - betas[0]) / (first * root);
        Self { rate, floor: root.scalar(epsilon) / root, carried: [first, second] }
    }
}

/// A weight in a step.
pub(super) struct Moving<'g> {
    pub(super) weight: Var<'g>,
    pub(super) derivative: Var<'g>,
    /// Factor on the learning rate.
    pub(super) factor: f64,
    pub(super) decays: bool,
    /// Values that are carried for it, zeros before the first step, as [`carried`] lists them.
    pub(super) state: Vec<Var<'g>>,
}

/// What an optimizer carries for each weight.
pub(super) fn carried(optimizer: &Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::Sgd { momentum: false, .. } => &[],
        Optimizer::Sgd { momentum: true, .. } => &["velocity"],
        Optimizer::AdamW { .. } => &["mean", "square"],
    }
}

/// A weight after the step, and what is carried on.
pub(super) fn moved<'g>(
    config: &TrainingConfig,
    shared: &Shared<'g>,
    moving: &Moving<'g>,
) -> Result<(Var<'g>, Vec<Var<'g>>)> {
    let Moving { weight, derivative, .. } = *moving;
    let rate = if (moving.factor - 1.0).abs() < f64::EPSILON {
        shared.learning_rate
    } else {
        shared.learning_rate * moving.factor
    };
    let decay = if moving.decays { config.weight_decay } else { 0.0 };
    Ok(match (config.optimizer, moving.state.as_slice(), &shared.adam) {
        (Optimizer::AdamW { beta1, beta2, .. }, [mean, square], Some(adam)) => {
            let mean = *mean * beta1 + derivative;
            let square = *square * beta2 + derivative * derivative;
            let step = mean / (square.sqrt() + adam.floor) * (rate * adam.rate);
            let kept = if decay > 0.0 { weight * (1.0 - rate * decay) } else { weight };
            (kept - step, vec![mean, square])
        }
        (Optimizer::Sgd { nesterov, .. }, state, _) => {
            let slope = if decay > 0.0 { derivative + weight * decay } else { derivative };
            match (state, shared.momentum) {
                ([velocity], Some(momentum)) => {
                    let velocity = *velocity * momentum + slope;
                    let direction = if nesterov { slope + velocity * momentum } else { velocity };
                    (weight - direction * rate, vec![velocity])
                }
                _ => (weight - slope * rate, Vec::new()),
            }
        }
        _ => return Err(CompileError::Emitted("an optimizer lacks what it carries".to_owned())),
    })
}
