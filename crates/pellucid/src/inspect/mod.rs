//! Looking inside a model while it computes: what every layer gives, what error reaches it, and what is wrong.
//!
//! Examples pass once, some at a time, and what is kept of them does not grow with them: counts, moments, a sketch of
//! each distribution. Errors are derivatives from the compiler's one reverse walk
//! ([`pellucid_compile::inside()`]); nothing is differentiated here.

mod channels;
mod distribution;
mod faults;
mod full;
mod judge;
mod look;
mod maps;
mod pass;
mod pictures;
mod plan;
mod source;
mod strongest;
mod trace;
mod units;

use std::path::PathBuf;

use serde::Serialize;

use crate::explain::Limits;

pub use channels::{ChannelStatistics, InputStatistics, Reference};
pub use distribution::{BINS, Distribution, Histogram, SHARES};
pub use faults::{Fault, FaultKind};
pub use full::{ByAndValue, FullLayer, FullNeuron, full};
pub use judge::{Judge, RightAnswers};
pub use maps::{FeatureMaps, feature_maps};
pub use pass::inspect;
pub use source::Examples;
pub use strongest::{StrongExample, Strongest, StrongestOptions, StrongestUnit, strongest};
pub use trace::{Back, Link, Sum, Term, Trace, Winner, trace};
pub use units::{Strong, Units};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct InspectOptions {
    /// What the model is judged by; without it there are no errors.
    pub judge: Judge,
    /// The output that is judged; the first where it is `None`.
    pub score: Option<String>,
    /// The step of gradient descent whose effect on the weights is told.
    pub learning_rate: f64,
    /// Statistics of inputs that are as they should be, from an earlier inspection.
    pub reference: Option<Reference>,
    /// Engine, threads, memory.
    pub limits: Limits,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self {
            judge: Judge::Nothing,
            score: None,
            learning_rate: 0.01,
            reference: None,
            limits: Limits::default(),
        }
    }
}

/// What was seen inside a model.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The model's name.
    pub model: String,
    /// Number of examples.
    pub rows: usize,
    /// What the model was judged by, where it was.
    pub judged: Option<Judged>,
    /// What went in.
    pub inputs: Vec<InputStatistics>,
    /// Layers, in the order in which they are computed.
    pub layers: Vec<LayerInspection>,
    /// Weights and the gradients that reach them, where the model was judged.
    pub weights: Vec<WeightInspection>,
    /// What is wrong, in words.
    pub faults: Vec<Fault>,
    /// What should be known to read it right.
    pub notes: Vec<String>,
    /// Files of arrays that were written on the way.
    #[serde(skip)]
    pub written: Vec<PathBuf>,
}

/// What a model was judged by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// `score` or `loss`.
    pub by: &'static str,
    /// Its mean over the rows.
    pub mean: f64,
    /// Share of rows whose highest score is that of the right class, where right classes were given.
    pub accuracy: Option<f64>,
}

/// What was seen of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerInspection {
    /// Name of the module where the file tells it, else of the value.
    pub name: String,
    /// What it does, by ONNX's name of the operator.
    pub kind: String,
    /// Name of the value that it computes.
    pub value: String,
    /// Shape of what it gives for one row.
    pub output_shape: Option<String>,
    /// Of an activation function: the value that it is applied to, whose error is δ = ∂objective/∂pre-activation.
    pub pre_activation: Option<String>,
    /// What it gives; `None` where none of it is finite.
    pub activation: Option<Distribution>,
    /// Numbers that it gives and that are not finite.
    pub not_finite: u64,
    /// Its units.
    pub units: Option<Units>,
    /// The error that reaches what it gives, ∂objective/∂value of each row's own objective.
    pub error: Option<ErrorStatistics>,
    /// Of a layer that picks the largest in a window: which places won.
    pub winners: Option<Winners>,
}

/// How errors are distributed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorStatistics {
    /// Of all numbers.
    #[serde(flatten)]
    pub distribution: Distribution,
    /// Mean over rows of the Euclidean norm of a row's errors: comparable between layers of different sizes.
    /// `None` where the layer's first axis is not the rows.
    pub norm: Option<f64>,
}

/// Which places of its windows a max-pooling picked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Winners {
    /// Sizes of the window.
    pub window: Vec<usize>,
    /// Share of windows won by each place, in row-major order; of equal numbers the first wins.
    pub shares: Vec<f64>,
    /// Share of windows in which several places hold the largest number.
    pub ties: f64,
}

/// A weight and its gradient.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightInspection {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// ‖w‖.
    pub norm: f64,
    /// ‖g‖ of g, the derivative by the weight of the mean objective over the rows.
    pub gradient: f64,
    /// η·‖g‖ / ‖w‖: what part of the weight one step of gradient descent with learning rate η would change. About 1e-3 is
    /// usual in training. `None` for a weight of zeros.
    pub update: Option<f64>,
}
