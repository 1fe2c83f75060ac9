//! Errors of building a graph. Errors of reading files stand in [`crate::onnx`].

use thiserror::Error;

/// Why a graph cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Two values of one name.
    #[error("value {0:?} is defined twice")]
    DuplicateValue(String),
    /// The same value listed twice as an output.
    #[error("output {0:?} is listed twice")]
    DuplicateOutput(String),
    /// More than 2³² of something.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A size leaves the 64-bit range.
    #[error("a size of {0:?} overflows")]
    SizeOverflow(String),
    /// An output of a node has more elements than a computed value may have.
    #[error("{operator} node {name:?}: {problem}")]
    TooLarge {
        /// Operator.
        operator: String,
        /// Node name.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A node contradicts its operator's definition.
    #[error("{operator} node {name:?}: {problem}")]
    Node {
        /// Operator.
        operator: String,
        /// Node name.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
}
