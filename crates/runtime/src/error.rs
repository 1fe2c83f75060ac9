//! Errors of opening and running sessions.

use pellucid_graph::onnx::EncodeError;
use pellucid_graph::{GraphError, TensorError};
use pellucid_reference::EvaluationError;
use thiserror::Error;

/// A node that an engine cannot compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Name of the node; may be empty.
    pub name: String,
    /// Operator.
    pub operator: String,
    /// Why, and what to do.
    pub reason: String,
}

impl std::fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} node {:?}: {}", self.operator, self.name, self.reason)
    }
}

/// Why a session cannot be opened or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The engine lacks something: every offending node is listed.
    #[error("{engine} cannot run this graph; {}", list(.nodes))]
    Unsupported {
        /// Name of the engine.
        engine: &'static str,
        /// Every offending node.
        nodes: Vec<UnsupportedNode>,
    },
    /// A value that the graph does not have was fed.
    #[error("the graph has no value {name:?} to feed; its inputs are {}", .inputs.join(", "))]
    UnknownInput {
        /// Name that was given.
        name: String,
        /// Names of the graph's inputs.
        inputs: Vec<String>,
    },
    /// A value was fed twice.
    #[error("input {0:?} is given twice")]
    DuplicateInput(String),
    /// A value that is needed was not fed.
    #[error("input {name:?} is missing: {expected}")]
    MissingInput {
        /// Name of the input.
        name: String,
        /// Its element type and shape.
        expected: String,
    },
    /// An input of the wrong element type.
    #[error("input {name:?} holds {found}, expected {expected}")]
    InputElement {
        /// Name of the input.
        name: String,
        /// Element type that was given.
        found: &'static str,
        /// Element type that is needed.
        expected: &'static str,
    },
    /// An input of the wrong shape.
    #[error("input {name:?} has shape {found:?}, expected {expected}")]
    InputShape {
        /// Name of the input.
        name: String,
        /// Shape that was given.
        found: Vec<usize>,
        /// Shape that is needed, with the names of free sizes.
        expected: String,
    },
    /// Two inputs disagree on a free size.
    #[error("input {name:?} makes {symbol} {found}, but another input made it {expected}")]
    InputSymbol {
        /// Name of the input.
        name: String,
        /// Name of the free size.
        symbol: String,
        /// Size this input gives.
        found: i64,
        /// Size an earlier input gave.
        expected: i64,
    },
    /// An integer that the engine's 32-bit integers cannot hold.
    #[error("{name:?} holds {value}, outside the 32-bit range in which {engine} computes with integers")]
    IntegerRange {
        /// Name of the value.
        name: String,
        /// The first such number.
        value: i64,
        /// Name of the engine.
        engine: &'static str,
    },
    /// A value that the graph does not have was asked for.
    #[error("the graph has no value {name:?}; its outputs are {}", .outputs.join(", "))]
    UnknownOutput {
        /// Name that was asked for.
        name: String,
        /// Names of the graph's outputs.
        outputs: Vec<String>,
    },
    /// The run would take more memory than allowed.
    #[error(
        "the run needs {needed} bytes, more than the {allowed} allowed: lower the batch size or raise the limit"
    )]
    Memory {
        /// Peak bytes, weights included.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// The engine's library is not there, or cannot be used.
    #[error(
        "onnxruntime cannot be used: {problem}; install version 1.17 or later (`pip install onnxruntime`), or set \
         ORT_DYLIB_PATH to its library"
    )]
    Library {
        /// What was found, and where it was looked for.
        problem: String,
    },
    /// A device that the engine does not compute on.
    #[error("device {device:?} cannot be used: {problem}")]
    Device {
        /// The device.
        device: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The engine reported a failure, or panicked.
    #[error("{engine} failed: {problem}")]
    Engine {
        /// Name of the engine.
        engine: &'static str,
        /// What it said.
        problem: String,
    },
    /// The interpreter reported a failure.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// A lowered graph could not be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A lowered graph could not be written for the engine.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A constant could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl RuntimeError {
    /// Whether the caller can mend it; otherwise the engine or the lowering is at fault.
    pub fn is_user_error(&self) -> bool {
        !matches!(self, Self::Engine { .. } | Self::Graph(_) | Self::Encode(_) | Self::Tensor(_))
    }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
