//! Why a file is not read.

use std::fmt;

use thiserror::Error;

use crate::error::GraphError;

/// A node as messages name it: operator and name, or, where it has no name, its first output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Operator, with its domain where that is not `ai.onnx`.
    pub operator: String,
    /// Name of the node; may be empty.
    pub name: String,
    /// First output that has a name; may be empty.
    pub output: String,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "{} (output {:?})", self.operator, self.output)
        } else {
            write!(f, "{} (node {:?})", self.operator, self.name)
        }
    }
}

/// Why a model file is not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file cannot be opened or read.
    #[error("cannot read {path:?}: {problem}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// The bytes are no model.
    #[error("not an ONNX model: {0}")]
    NotOnnx(String),
    /// The file asks for more than [`super::Limits`] allows.
    #[error("the model has {found} {what}, the limit is {limit}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How much there is; where counting stopped at the limit, a lower bound.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The opset is too old or too new.
    #[error(
        "the model is of opset {found}; opsets {oldest} to {newest} are read: export it again with opset 18"
    )]
    Opset {
        /// The model's.
        found: i64,
        /// The oldest that is read.
        oldest: i64,
        /// The newest that is read.
        newest: i64,
    },
    /// Operators that are not known: all of them.
    #[error("{} unknown: {}", plural(.0.len(), "operator is", "operators are"), list(.0))]
    Unknown(Vec<NodeName>),
    /// A node takes a value that nothing defines.
    #[error("{node} takes {input:?}, which nothing defines")]
    Undefined {
        /// The node.
        node: NodeName,
        /// What it takes.
        input: String,
    },
    /// A graph's output is a value that nothing defines.
    #[error("output {0:?} is a value that nothing defines")]
    UndefinedOutput(String),
    /// Nodes that wait for each other.
    #[error("nodes form a cycle: {}", list(.0))]
    Cycle(Vec<NodeName>),
    /// A name that is defined twice.
    #[error("value {0:?} is defined twice")]
    Duplicate(String),
    /// A node contradicts its operator's definition, or needs what opset 18 cannot express.
    #[error("{node}: {problem}")]
    Node {
        /// The node.
        node: NodeName,
        /// What was found and what was expected.
        problem: String,
    },
    /// A constant is not usable.
    #[error("tensor {name:?}: {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// Weights in another file are not usable.
    #[error("tensor {name:?} in data file {file:?}: {problem}")]
    External {
        /// Name of the tensor.
        name: String,
        /// The file as the model names it.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// An input is not usable.
    #[error("input {name:?}: {problem}")]
    Input {
        /// Its name.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A function of the model's own is not usable.
    #[error("function {name:?}: {problem}")]
    Function {
        /// Its domain and name.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The graph cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Nodes as messages list them.
pub(super) fn list(nodes: &[NodeName]) -> String {
    let names: Vec<String> = nodes.iter().map(NodeName::to_string).collect();
    names.join(", ")
}
