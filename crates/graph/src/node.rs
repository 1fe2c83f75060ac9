//! Nodes and their attributes.

use std::collections::BTreeMap;
use std::fmt;

use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Integer.
    Int(i64),
    /// Number, `float32` in the file.
    Float(f32),
    /// Text; bytes that are not UTF-8 are refused on import.
    String(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<String>),
    /// Constant.
    Tensor(Tensor),
    /// Body of a control-flow operator.
    Graph(Box<Graph>),
}

/// Identifies a node of one graph: its position in execution order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("a u32 fits in usize on every supported target")
    }
}

/// What to append to a graph: a node whose outputs have names but no values yet.
#[derive(Debug, Clone, Default)]
pub struct NewNode {
    /// Operator, as ONNX names it.
    pub operator: String,
    /// Name of the node; may be empty.
    pub name: String,
    /// Inputs in order; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Names of the outputs; an empty one is an output that nobody takes.
    pub outputs: Vec<String>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// Exporter's notes, such as the module path.
    pub metadata: BTreeMap<String, String>,
}

impl NewNode {
    /// A node of `operator` on `inputs`, with one output named `output`.
    pub fn new(operator: &str, inputs: &[ValueId], output: impl Into<String>) -> Self {
        Self {
            operator: operator.to_owned(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![output.into()],
            ..Self::default()
        }
    }

    /// The same node with an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }
}

/// One operation of a graph, all of whose inputs exist before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Operator of the `ai.onnx` domain, as ONNX names it.
    pub operator: String,
    /// Name; may be empty.
    pub name: String,
    /// Inputs in order; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs in order; `None` where nobody takes it.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// Exporter's notes, such as the module path (`namespace`).
    pub metadata: BTreeMap<String, String>,
}

impl Node {
    /// The input at `index`, where it is given.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The output at `index`, where somebody takes it.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// Every value it needs: its inputs and what its bodies capture, in that order.
    pub fn dependencies(&self) -> impl Iterator<Item = ValueId> + '_ {
        let bodies = self.attributes.values().filter_map(|attribute| match attribute {
            Attribute::Graph(body) => Some(body),
            _ => None,
        });
        let captured = bodies.flat_map(|body| body.captures().map(|(_, outer)| outer));
        self.inputs.iter().flatten().copied().chain(captured)
    }

    /// An integer attribute, or `default`.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Int(value)) => *value,
            _ => default,
        }
    }

    /// A number attribute, or `default`.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(value)) => *value,
            _ => default,
        }
    }

    /// A text attribute, or `default`.
    pub fn string<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match self.attributes.get(name) {
            Some(Attribute::String(value)) => value,
            _ => default,
        }
    }

    /// An integer-list attribute.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// A number-list attribute.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.attributes.get(name) {
            Some(Attribute::Floats(values)) => Some(values),
            _ => None,
        }
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.attributes.get(name) {
            Some(Attribute::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// A body attribute.
    pub fn body(&self, name: &str) -> Option<&Graph> {
        match self.attributes.get(name) {
            Some(Attribute::Graph(graph)) => Some(graph),
            _ => None,
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Ints(values) => write!(f, "{values:?}"),
            Self::Floats(values) => write!(f, "{values:?}"),
            Self::Strings(values) => write!(f, "{values:?}"),
            Self::Tensor(tensor) => write!(f, "{tensor:?}"),
            Self::Graph(graph) => write!(f, "graph of {} nodes", graph.nodes().len()),
        }
    }
}
