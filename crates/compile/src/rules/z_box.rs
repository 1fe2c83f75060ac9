//! The z^B rule.

use super::Rule;
use super::parts::{Layer, negative, positive, stabilized};
use crate::build::{Builder, Keep, Var};
use crate::error::{CompileError, Result};
use crate::step::{Signals, Step};

/// A bound of what the first layer takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// The smallest (as a lower bound) or largest number of each row.
    OfRow,
    /// One number, or one for each channel: the input's second axis.
    Given(Vec<f64>),
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfRow => f.write_str("row"),
            Self::Given(numbers) => {
                let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// At a layer whose inputs lie between bounds l and h:
/// Rₓ = (x · Wᵀ − l · W⁺ᵀ − h · W⁻ᵀ) (Rᵧ / (W x − W⁺l − W⁻h)). Biases cancel.
///
/// Source: G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller (2017), Explaining Nonlinear Classification
/// Decisions with Deep Taylor Decomposition, arXiv:1512.02479.
#[derive(Debug, Clone, PartialEq)]
pub struct ZBox {
    /// l.
    pub low: Bound,
    /// h.
    pub high: Bound,
    /// Added to denominators, with their sign; above 0.
    pub stabilizer: f64,
}

impl Rule for ZBox {
    fn name(&self) -> &'static str {
        "z-box"
    }

    fn describe(&self) -> String {
        format!("z-box(low={}, high={})", self.low, self.high)
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let layer = Layer::of(step)?;
        let low = bound(&self.low, "ReduceMin", layer.x)?;
        let high = bound(&self.high, "ReduceMax", layer.x)?;
        let itself = layer.itself();
        // The layer gives its bias with y: taken from one part, it is in none.
        let below = layer.on(low, positive(layer.w), layer.bias)?;
        let above = layer.on(high, negative(layer.w), None)?;
        let s = step.dy()? / stabilized(itself.y - below.y - above.y, self.stabilizer);
        let relevance = itself.contribution(s)? - below.contribution(s)? - above.contribution(s)?;
        Ok(layer.signals(relevance))
    }
}

/// A bound as a value of x's shape.
fn bound<'g>(bound: &Bound, of_row: &str, x: Var<'g>) -> Result<Var<'g>> {
    let builder: &'g Builder = x.builder();
    let rank = x.rank()?;
    let bound = match bound {
        Bound::OfRow => {
            let axes: Vec<usize> = (1..rank).collect();
            x.reduced(of_row, &axes, Keep::Axes)
        }
        Bound::Given(numbers) if numbers.len() == 1 => x.scalar(numbers[0]),
        Bound::Given(numbers) => {
            let channels = if rank > 1 { x.size(1)? } else { 0 };
            if channels != numbers.len() {
                return Err(CompileError::Model(format!(
                    "low and high have {} numbers for {channels} channels: give one, or one for each channel",
                    numbers.len()
                )));
            }
            let shape = (0..rank).map(|axis| if axis == 1 { channels } else { 1 }).collect();
            builder.values(x.element(), shape, numbers)
        }
    };
    bound.expand_like(x)
}
