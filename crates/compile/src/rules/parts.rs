//! A layer on changed inputs, weights and bias, which most rules of relevance are made of. Not a rule.

use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::ops::matrix;
use crate::step::Step;

/// y + ε · sign y, where 0 counts as positive.
pub(super) fn stabilized(y: Var<'_>, epsilon: f64) -> Var<'_> {
    y + (y.at_least(y.scalar(0.0)) * (2.0 * epsilon) - epsilon)
}

/// max(0, v).
pub(super) fn positive(v: Var<'_>) -> Var<'_> {
    v.relu()
}

/// min(0, v), exactly.
pub(super) fn negative(v: Var<'_>) -> Var<'_> {
    v - v.relu()
}

/// A layer: y = weights · x + bias, wherever its operator has the three.
#[derive(Debug)]
pub(super) struct Layer<'g> {
    step: Step<'g>,
    signal: usize,
    weight: usize,
    /// What the layer takes of the values before it.
    pub(super) x: Var<'g>,
    /// Its weights.
    pub(super) w: Var<'g>,
    /// What it adds, its own or by the node behind it.
    pub(super) bias: Option<Var<'g>>,
    /// What it gives, with the bias.
    pub(super) y: Var<'g>,
}

/// A layer on other inputs.
#[derive(Debug)]
pub(super) struct Part<'g> {
    step: Step<'g>,
    signal: usize,
    x: Var<'g>,
    /// What it gives.
    pub(super) y: Var<'g>,
}

impl<'g> Layer<'g> {
    /// The layer that a step is.
    pub(super) fn of(step: &Step<'g>) -> Result<Self> {
        let several = || {
            CompileError::Model(
                "a rule for layers needs one operand that depends on the input and one constant one"
                    .to_owned(),
            )
        };
        let bias = step.bias();
        let mut operands = (0..step.input_count()).filter(|index| Some(*index) != bias);
        let (first, second) = (operands.next().ok_or_else(several)?, operands.next().ok_or_else(several)?);
        if operands.next().is_some() || step.is_signal(first) == step.is_signal(second) {
            return Err(several());
        }
        let (signal, weight) = if step.is_signal(first) { (first, second) } else { (second, first) };
        let step = matrix::without_factors(step, weight, bias)?;
        let own = match bias {
            Some(index) => Some(step.x(index)?),
            None => None,
        };
        let (bias, y) = match step.added {
            Some(added) => (Some(added.bias), added.total),
            None => (own, step.y()?),
        };
        let (x, w) = (step.x(signal)?, step.x(weight)?);
        Ok(Self { step, signal, weight, x, w, bias, y })
    }

    /// The layer as it is.
    pub(super) fn itself(&self) -> Part<'g> {
        Part { step: self.step.clone(), signal: self.signal, x: self.x, y: self.y }
    }

    /// The layer on `x`, with weights `w` and `bias`.
    pub(super) fn on(&self, x: Var<'g>, w: Var<'g>, bias: Option<Var<'g>>) -> Result<Part<'g>> {
        let mut inputs: Vec<Option<Var<'g>>> =
            (0..self.step.input_count()).map(|index| self.step.input(index)).collect();
        inputs[self.signal] = Some(x);
        inputs[self.weight] = Some(w);
        if let Some(own) = self.step.bias() {
            inputs[own] = bias;
            while inputs.last().is_some_and(Option::is_none) {
                inputs.pop();
            }
        }
        let step = self.step.replay(&inputs)?;
        let y = match (self.step.added, bias) {
            (Some(_), Some(bias)) => step.y()? + bias,
            _ => step.y()?,
        };
        Ok(Part { step, signal: self.signal, x, y })
    }

    /// max(0, x): x itself where it is known not to be negative.
    pub(super) fn positive_x(&self) -> Var<'g> {
        if self.step.is_nonnegative(self.signal) { self.x } else { positive(self.x) }
    }

    /// min(0, x); `None` where x is known not to be negative.
    pub(super) fn negative_x(&self) -> Option<Var<'g>> {
        (!self.step.is_nonnegative(self.signal)).then(|| negative(self.x))
    }

    /// Ones of x's shape.
    pub(super) fn ones(&self) -> Result<Var<'g>> {
        self.x.scalar(1.0).expand_like(self.x)
    }

    /// The signals of the step: `relevance` for x, none for the rest.
    pub(super) fn signals(&self, relevance: Var<'g>) -> Vec<Option<Var<'g>>> {
        let mut signals = vec![None; self.step.input_count()];
        signals[self.signal] = Some(relevance);
        signals
    }
}

impl<'g> Part<'g> {
    /// weightsᵀ · s: what `s` at the output comes to at x.
    pub(super) fn back(&self, s: Var<'g>) -> Result<Var<'g>> {
        let mut wanted = vec![false; self.step.input_count()];
        wanted[self.signal] = true;
        let step = Step { wanted, ..self.step.with_signal(s) };
        let found = step.vjp()?.into_iter().nth(self.signal).flatten();
        let found = found.ok_or_else(|| CompileError::Model("its derivative is not known".to_owned()))?;
        found.fit(self.x)
    }

    /// x · weightsᵀ · s: what each element of x contributes.
    pub(super) fn contribution(&self, s: Var<'g>) -> Result<Var<'g>> {
        Ok(self.x * self.back(s)?)
    }
}

/// Σ of what there is.
pub(super) fn sum<'g>(first: Var<'g>, second: Option<Var<'g>>) -> Var<'g> {
    match second {
        Some(second) => first + second,
        None => first,
    }
}
