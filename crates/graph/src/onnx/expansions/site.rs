//! A node that is being expanded: what it was given, and how its expansion is written.

use std::collections::BTreeMap;

use crate::element::ElementType;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;
use crate::tensor::Tensor;

/// A node that is being expanded.
pub(in crate::onnx) struct Site<'a, 'b> {
    target: &'a mut Target<'b>,
    name: String,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<String>,
    attributes: BTreeMap<String, Attribute>,
    metadata: BTreeMap<String, String>,
    /// What values made here are named after: the node's first output.
    base: String,
}

impl<'a, 'b> Site<'a, 'b> {
    pub(in crate::onnx) fn new(target: &'a mut Target<'b>, node: NewNode) -> Self {
        let base = node.outputs.iter().find(|output| !output.is_empty()).cloned().unwrap_or_default();
        Self {
            target,
            name: node.name,
            inputs: node.inputs,
            outputs: node.outputs,
            attributes: node.attributes,
            metadata: node.metadata,
            base,
        }
    }

    /// That the expansion said all of the node: no attribute is left, and every output that is named is there.
    pub(in crate::onnx) fn finished(self) -> Result<(), String> {
        if let Some(name) = self.attributes.keys().next() {
            return Err(format!("attribute {name:?} is not one that is known of this operator"));
        }
        match self.outputs.iter().position(|output| !output.is_empty()) {
            Some(position) => Err(format!("output {position} is not computed by what it is expanded to")),
            None => Ok(()),
        }
    }

    /// An input that may be left out.
    pub(super) fn maybe(&self, position: usize) -> Option<ValueId> {
        self.inputs.get(position).copied().flatten()
    }

    /// An input that must be there.
    pub(super) fn input(&self, position: usize) -> Result<ValueId, String> {
        self.maybe(position).ok_or_else(|| format!("input {position} is missing"))
    }

    /// How many inputs are given, left-out ones before a given one counted.
    pub(super) fn input_count(&self) -> usize {
        self.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    /// Whether an output is named.
    pub(super) fn wants(&self, position: usize) -> bool {
        self.outputs.get(position).is_some_and(|output| !output.is_empty())
    }

    /// Number of axes of a value.
    pub(super) fn rank(&self, value: ValueId) -> Result<usize, String> {
        let facts = self.target.value(value);
        let shape = facts.shape.as_ref();
        shape.map(Vec::len).ok_or_else(|| format!("the number of axes of {:?} is not known", facts.name))
    }

    /// A size of a value, where it is known.
    pub(super) fn size(&self, value: ValueId, axis: usize) -> Result<usize, String> {
        let facts = self.target.value(value);
        let size = facts.shape.as_ref().and_then(|shape| shape.get(axis)).and_then(crate::dim::Dim::size);
        size.ok_or_else(|| format!("the size of axis {axis} of {:?} is not known", facts.name))
    }

    /// Element type of a value.
    pub(super) fn element(&self, value: ValueId) -> Result<ElementType, String> {
        let facts = self.target.value(value);
        facts.element.ok_or_else(|| format!("the element type of {:?} is not known", facts.name))
    }

    /// The numbers of a small constant.
    pub(super) fn numbers(&self, value: ValueId) -> Option<Vec<f64>> {
        self.target.numbers(value)
    }

    /// Takes an attribute away.
    pub(super) fn take(&mut self, name: &str) -> Option<Attribute> {
        self.attributes.remove(name)
    }

    pub(super) fn int(&mut self, name: &str, default: i64) -> Result<i64, String> {
        match self.take(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(value),
            Some(_) => Err(format!("attribute {name:?} is not an integer")),
        }
    }

    pub(super) fn float(&mut self, name: &str, default: f32) -> Result<f32, String> {
        match self.take(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(value),
            Some(_) => Err(format!("attribute {name:?} is not a number")),
        }
    }

    pub(super) fn floats(&mut self, name: &str) -> Result<Vec<f32>, String> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Attribute::Floats(values)) => Ok(values),
            Some(Attribute::Ints(values)) if values.is_empty() => Ok(Vec::new()),
            Some(_) => Err(format!("attribute {name:?} is not a list of numbers")),
        }
    }

    pub(super) fn string(&mut self, name: &str) -> Result<String, String> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Attribute::String(value)) => Ok(value),
            Some(_) => Err(format!("attribute {name:?} is not text")),
        }
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, tensor: Tensor) -> Result<ValueId, String> {
        let name = format!("{}.constant", self.base);
        self.target.constant(&name, tensor)
    }

    /// A one-dimensional `int64` constant.
    pub(super) fn integers(&mut self, values: &[i64]) -> Result<ValueId, String> {
        self.constant(Tensor::integers(values))
    }

    /// A scalar of the element type of `like`.
    pub(super) fn scalar(&mut self, like: ValueId, value: f64) -> Result<ValueId, String> {
        let element = self.element(like)?;
        self.constant(Tensor::scalar(element, value))
    }

    /// Adds a node without attributes.
    pub(super) fn op(&mut self, operator: &str, inputs: &[ValueId]) -> Result<ValueId, String> {
        self.add(NewNode::new(operator, inputs, ""))
    }

    /// Adds a node with one output.
    pub(super) fn add(&mut self, mut node: NewNode) -> Result<ValueId, String> {
        node.metadata.clone_from(&self.metadata);
        let wanted = format!("{}.{}", self.base, node.operator);
        self.target.node(node, &wanted)
    }

    /// Adds the node that computes an output, which takes the name that the file gives it.
    pub(super) fn finish(&mut self, position: usize, mut node: NewNode) -> Result<ValueId, String> {
        node.metadata.clone_from(&self.metadata);
        let output = self.outputs.get_mut(position).map(std::mem::take).filter(|output| !output.is_empty());
        let Some(output) = output else {
            let wanted = format!("{}.{}", self.base, node.operator);
            return self.target.node(node, &wanted);
        };
        // Engines refuse two nodes of one name.
        node.name = std::mem::take(&mut self.name);
        self.target.named(node, output)
    }

    /// As [`finish`](Self::finish), for the first output and a node without attributes.
    pub(super) fn done(&mut self, operator: &str, inputs: &[ValueId]) -> Result<(), String> {
        self.finish(0, NewNode::new(operator, inputs, "")).map(drop)
    }

    /// The same numbers as another element type.
    pub(super) fn cast(&mut self, value: ValueId, element: ElementType) -> Result<ValueId, String> {
        if self.element(value)? == element {
            return Ok(value);
        }
        self.add(cast_to(value, element))
    }

    pub(super) fn reshape(&mut self, value: ValueId, shape: &[i64]) -> Result<ValueId, String> {
        let shape = self.integers(shape)?;
        self.op("Reshape", &[value, shape])
    }

    pub(super) fn transpose(&mut self, value: ValueId, order: &[usize]) -> Result<ValueId, String> {
        self.add(transposed(value, order)?)
    }

    /// Says that `float` holds exactly what the integers `whole` are.
    pub(super) fn same_numbers(&mut self, whole: ValueId, float: ValueId) {
        self.target.same_numbers(whole, float);
    }
}

/// A `Cast`.
pub(super) fn cast_to(value: ValueId, element: ElementType) -> NewNode {
    NewNode::new("Cast", &[value], "").with("to", Attribute::Int(i64::from(element.onnx_code())))
}

/// A `Transpose`.
pub(super) fn transposed(value: ValueId, order: &[usize]) -> Result<NewNode, String> {
    let order = order.iter().map(|axis| i64::try_from(*axis)).collect::<Result<Vec<i64>, _>>();
    let order = order.map_err(|_| "too many axes".to_owned())?;
    Ok(NewNode::new("Transpose", &[value], "").with("perm", Attribute::Ints(order)))
}

/// Channels from the second axis to the last.
pub(super) fn channels_last(rank: usize) -> Vec<usize> {
    (0..rank)
        .map(|axis| {
            if axis == 0 {
                0
            } else if axis + 1 == rank {
                1
            } else {
                axis + 1
            }
        })
        .collect()
}

/// Channels from the last axis to the second.
pub(super) fn channels_first(rank: usize) -> Vec<usize> {
    (0..rank)
        .map(|axis| {
            if axis == 0 {
                0
            } else if axis == 1 {
                rank - 1
            } else {
                axis - 1
            }
        })
        .collect()
}
