//! Why a graph cannot be evaluated.

use pellucid_graph::{ElementType, TensorError};
use thiserror::Error;

/// Why a graph, or one of its nodes, cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A node's operator is not one of the table.
    #[error("{operator} node {name:?}: this operator is not known")]
    UnknownOperator {
        /// Operator.
        operator: String,
        /// Name of the node; may be empty.
        name: String,
    },
    /// A node's inputs or attributes contradict its operator, each other or the limits.
    #[error("{operator} node {name:?}: {problem}")]
    Node {
        /// Operator.
        operator: String,
        /// Name of the node; may be empty.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// What is computed depends on a value that was not given.
    #[error("no array was given for {0:?}, which is needed here")]
    Missing(String),
    /// A given array is of another kind than the value it stands for.
    #[error("{name:?} is declared {element}, but a {found} array was given")]
    Kind {
        /// Name of the value.
        name: String,
        /// Declared element type.
        element: ElementType,
        /// Kind of the given array.
        found: &'static str,
    },
    /// A given array has other sizes than the value it stands for.
    #[error("{name:?} is declared with shape {expected}, but an array of shape {found:?} was given")]
    Shape {
        /// Name of the value.
        name: String,
        /// Declared sizes.
        expected: String,
        /// Sizes of the given array.
        found: Vec<usize>,
    },
    /// A constant cannot be held as an array.
    #[error("constant {name:?}: {source}")]
    Constant {
        /// Name of the value.
        name: String,
        /// What is wrong with it.
        source: TensorError,
    },
}

/// Why one operator cannot be computed; the caller knows which node it was.
#[derive(Debug)]
pub(crate) enum Problem {
    /// With the node itself.
    Here(String),
    /// With a node of its body.
    Inside(EvaluationError),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Here(problem)
    }
}

impl From<&str> for Problem {
    fn from(problem: &str) -> Self {
        Self::Here(problem.to_owned())
    }
}

impl From<EvaluationError> for Problem {
    fn from(error: EvaluationError) -> Self {
        Self::Inside(error)
    }
}

impl From<ndarray::ShapeError> for Problem {
    fn from(error: ndarray::ShapeError) -> Self {
        Self::Here(error.to_string())
    }
}
