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

/// What a linear operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Sums products with weights that positions share: a convolution, transposed or not.
    Convolution,
    /// Sums products with weights: a fully connected layer.
    Dense,
    /// Adds its inputs.
    Sum,
    /// Subtracts its second input from the first.
    Difference,
    /// Sums or averages numbers of its input, without weights of its own: average pooling, a mean, linear resizing.
    Pool,
    /// Multiplies each number by a factor, and may add one: a product with a constant, batch normalisation.
    Scale,
}

/// What an operator is to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Linear (up to an added constant) in the inputs that depend on the model's input.
    Linear(Form),
    /// Linear in each of two inputs, both of which depend on the model's input.
    Bilinear,
    /// The first input divided by the second, both of which depend on the model's input.
    Quotient,
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
            Self::Linear(Form::Convolution) => "convolution",
            Self::Linear(Form::Dense) => "dense",
            Self::Linear(Form::Sum) => "sum",
            Self::Linear(Form::Difference) => "difference",
            Self::Linear(Form::Pool) => "pooling",
            Self::Linear(Form::Scale) => "scale",
            Self::Bilinear => "bilinear",
            Self::Quotient => "quotient",
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
