//! Why a graph cannot be compiled.

use pellucid_graph::{GraphError, NodeId};
use thiserror::Error;

/// A node that a compilation cannot pass, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// Position of the node.
    pub node: NodeId,
    /// Operator.
    pub operator: String,
    /// Name of the node's first output.
    pub output: String,
    /// What was found and what was expected.
    pub problem: String,
}

/// Why a graph cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// Nodes without a rule, or outside what their rule covers: all of them.
    #[error("{} cannot be passed backward: {}", count(.0), list(.0))]
    Unsupported(Vec<Offence>),
    /// The graph does not have what the method needs.
    #[error("{0}")]
    Model(String),
    /// A setting that the method or the artefact does not take.
    #[error("{0}")]
    Setting(String),
    /// A node that the compiler emitted contradicts its operator's definition: our fault.
    #[error("the compiler emitted an invalid node: {0}; please report this with the model")]
    Emitted(String),
}

impl CompileError {
    /// Whether the user can mend it; otherwise it is our fault.
    pub fn is_user_error(&self) -> bool {
        !matches!(self, Self::Emitted(_))
    }
}

impl From<GraphError> for CompileError {
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::TooLarge { operator, problem, .. } => {
                Self::Model(format!("a derivative needs {operator}, but {problem}: give it smaller inputs"))
            }
            error => Self::Emitted(error.to_string()),
        }
    }
}

/// Result of compiling.
pub type Result<T> = std::result::Result<T, CompileError>;

fn count(offences: &[Offence]) -> String {
    match offences.len() {
        1 => "1 node".to_owned(),
        number => format!("{number} nodes"),
    }
}

fn list(offences: &[Offence]) -> String {
    let each: Vec<String> =
        offences.iter().map(|o| format!("{} node {:?} ({})", o.operator, o.output, o.problem)).collect();
    each.join("; ")
}
