//! What an operator is to a rule. Rules match these, never an operator's name.

use std::fmt;

/// What an elementwise function does to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Zero or weak on one side of a threshold, the identity on the other: Relu, Clip(0, ·), `LeakyRelu`.
    Rectifier,
    /// The input times a factor between 0 and 1 that depends on it: SiLU, GELU, `HardSwish`.
    Gate,
    /// Bounded: Sigmoid, Tanh, Clip between two limits.
    Saturating,
    /// Any other function: Exp, Log, Sqrt, Softplus.
    Other,
}

/// What an operator is to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Linear (up to an added constant) in the inputs that depend on the model's input.
    Linear,
    /// Linear in each of two inputs, both of which depend on the model's input.
    Bilinear,
    /// One number in, one number out.
    Elementwise(Role),
    /// Divides by a statistic of its input: `LayerNormalization`.
    Normaliser,
    /// Positive weights that sum to 1: Softmax.
    Weights,
    /// Picks some of its inputs by comparing them: MaxPool, Max, Where.
    Select,
    /// Moves or copies numbers without changing them: Reshape, Concat, Slice.
    Move,
    /// To or from the small integers of a quantised network: signals pass by the straight-through estimator.
    Quantised,
    /// Piecewise constant: its derivative is zero.
    Flat,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Bilinear => "bilinear",
            Self::Elementwise(Role::Rectifier) => "rectifier",
            Self::Elementwise(Role::Gate) => "gate",
            Self::Elementwise(Role::Saturating) => "saturating",
            Self::Elementwise(Role::Other) => "elementwise",
            Self::Normaliser => "normaliser",
            Self::Weights => "weights",
            Self::Select => "select",
            Self::Move => "move",
            Self::Quantised => "quantised",
            Self::Flat => "flat",
        })
    }
}
