//! A file's graph between messages and [`crate::Graph`]: functions expanded, values still known by their names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::error::NodeName;
use super::proto;
use crate::element::ElementType;
use crate::node::Attribute;
use crate::tensor::Tensor;

/// A graph whose values are known by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) inputs: Vec<DraftInput>,
    pub(super) outputs: Vec<String>,
    pub(super) constants: Vec<(String, Tensor)>,
    pub(super) nodes: Vec<DraftNode>,
}

/// An input: in a body, its type may be left out.
#[derive(Debug, Clone)]
pub(super) struct DraftInput {
    pub(super) name: String,
    pub(super) element: Option<ElementType>,
    pub(super) shape: Option<proto::TensorShape>,
}

/// A node, its attributes resolved.
#[derive(Debug, Clone)]
pub(super) struct DraftNode {
    /// Empty for `ai.onnx`.
    pub(super) domain: String,
    pub(super) operator: String,
    pub(super) name: String,
    /// Opset of `ai.onnx` that gives the node its meaning.
    pub(super) opset: i64,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: BTreeMap<String, DraftAttribute>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// An attribute; a body is a draft too.
#[derive(Debug, Clone)]
pub(super) enum DraftAttribute {
    Plain(Attribute),
    Body(Draft),
}

impl DraftNode {
    /// What messages call this node.
    pub(super) fn display(&self) -> NodeName {
        NodeName {
            operator: self.operator.clone(),
            name: self.name.clone(),
            output: self.outputs.iter().find(|output| !output.is_empty()).cloned().unwrap_or_default(),
        }
    }

    /// The node's bodies.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &Draft> {
        self.attributes.values().filter_map(|attribute| match attribute {
            DraftAttribute::Body(body) => Some(body),
            DraftAttribute::Plain(_) => None,
        })
    }
}

impl Draft {
    /// Names that the graph itself defines.
    pub(super) fn defined(&self) -> HashSet<&str> {
        let inputs = self.inputs.iter().map(|input| input.name.as_str());
        let constants = self.constants.iter().map(|(name, _)| name.as_str());
        let outputs = self.nodes.iter().flat_map(|node| &node.outputs).map(String::as_str);
        inputs.chain(constants).chain(outputs).filter(|name| !name.is_empty()).collect()
    }

    /// Names that a node, a body in the graph, or the list of outputs takes.
    pub(super) fn taken(&self) -> HashSet<String> {
        let mut taken: HashSet<String> = self.outputs.iter().cloned().collect();
        for node in &self.nodes {
            taken.extend(node.inputs.iter().cloned());
            for body in node.bodies() {
                taken.extend(body.taken());
            }
        }
        taken
    }

    /// Names that the graph, or a body in it, takes from outside.
    pub(super) fn free(&self) -> BTreeSet<String> {
        let defined = self.defined();
        let mut free = BTreeSet::new();
        let mut add = |name: &str| {
            if !name.is_empty() && !defined.contains(name) {
                free.insert(name.to_owned());
            }
        };
        for node in &self.nodes {
            node.inputs.iter().for_each(|input| add(input));
            for body in node.bodies() {
                body.free().iter().for_each(|name| add(name));
            }
        }
        self.outputs.iter().for_each(|output| add(output));
        free
    }
}
