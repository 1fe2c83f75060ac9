//! The graph: append-only, in static single assignment.
//!
//! A node is pushed after its inputs, so the order of nodes is an execution order by construction and a cycle cannot
//! be expressed. Pushing infers element types, sizes and the contents of small integer tensors. Nothing here knows
//! what a derivative or an engine is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dim::{Dim, Shape};
use crate::element::ElementType;
use crate::error::GraphError;
use crate::infer::{self, Refusal};
use crate::node::{NewNode, Node, NodeId};
use crate::tensor::Tensor;

/// Identifies a value of one graph. Ids are dense and rise in the order of definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Position in [`Graph::values`].
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("a u32 fits in usize on every supported target")
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// Fed by the caller.
    Input,
    /// Stored in the file.
    Constant(Tensor),
    /// Computed: node and position among its outputs.
    Node(NodeId, usize),
    /// In a control-flow body: a value of the enclosing graph.
    Captured(ValueId),
}

/// A value: what flows along an edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name, unique in the graph.
    pub name: String,
    /// Element type, where it is known.
    pub element: Option<ElementType>,
    /// Sizes, where the rank is known. A size that is not known is a symbol of its own.
    pub shape: Option<Shape>,
    /// Contents of a small integer tensor, in row-major order, where they are known.
    pub contents: Option<Vec<Dim>>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it depends on no input: a constant, or computed from constants alone. What a body captures may change.
    pub fixed: bool,
}

impl Value {
    /// The tensor, where the value is a constant.
    pub fn constant(&self) -> Option<&Tensor> {
        match &self.origin {
            Origin::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The sizes, where every one is a number.
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::size).collect()
    }
}

/// A model, or the body of a control-flow node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// Name of the graph.
    pub name: String,
    /// Program that wrote the file, and its version.
    pub producer: String,
    /// Description.
    pub description: String,
    /// `metadata_props` of the model.
    pub metadata: BTreeMap<String, String>,
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    names: HashMap<String, ValueId>,
}

/// Integer constants up to this many elements have known contents.
const CONTENTS_LIMIT: usize = 1024;

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every value, in order of definition.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Ids of every value, in order of definition.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..u32::try_from(self.values.len()).expect("values are counted in u32")).map(ValueId)
    }

    /// Every node, in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Ids of every node, in execution order.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).expect("nodes are counted in u32")).map(NodeId)
    }

    /// A value.
    ///
    /// # Panics
    /// Where `id` belongs to a larger graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// A node.
    ///
    /// # Panics
    /// Where `id` belongs to a larger graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The value named `name`.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Values the caller feeds, in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Values the caller gets, in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The node that computes a value.
    pub fn producer_of(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).origin {
            Origin::Node(node, _) => Some(node),
            _ => None,
        }
    }

    /// The tensor, where the value is a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.value(id).constant()
    }

    /// For every value, the nodes that take it, each once, in execution order. Bodies' captures count.
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for id in self.node_ids() {
            let taken: BTreeSet<ValueId> = self.dependencies(id).into_iter().collect();
            for value in taken {
                consumers[value.index()].push(id);
            }
        }
        consumers
    }

    /// Every value a node needs: its inputs and what its bodies capture.
    pub fn dependencies(&self, id: NodeId) -> Vec<ValueId> {
        self.node(id).dependencies().collect()
    }

    /// In a body: values that stand for values of the enclosing graph, as (inner, outer).
    pub fn captures(&self) -> impl Iterator<Item = (ValueId, ValueId)> + '_ {
        self.value_ids().filter_map(|id| match self.value(id).origin {
            Origin::Captured(outer) => Some((id, outer)),
            _ => None,
        })
    }

    /// Names of all symbols in the inputs' sizes.
    pub fn symbols(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for input in &self.inputs {
            for dim in self.value(*input).shape.iter().flatten() {
                dim.symbols(&mut names);
            }
        }
        names
    }

    /// A name that no value has: `wanted`, or `wanted` with a number.
    pub fn fresh_name(&self, wanted: &str) -> String {
        if !self.names.contains_key(wanted) {
            return wanted.to_owned();
        }
        let mut number = self.values.len();
        loop {
            let name = format!("{wanted}.{number}");
            if !self.names.contains_key(&name) {
                return name;
            }
            number += 1;
        }
    }

    /// Adds an input of known element type. Sizes may be symbols; `None` where not even the rank is known.
    pub fn add_input(
        &mut self,
        name: impl Into<String>,
        element: ElementType,
        shape: Option<Shape>,
    ) -> Result<ValueId, GraphError> {
        let id = self.define(Value {
            name: name.into(),
            element: Some(element),
            shape,
            contents: None,
            origin: Origin::Input,
            fixed: false,
        })?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> Result<ValueId, GraphError> {
        let contents = if tensor.len() <= CONTENTS_LIMIT {
            tensor.to_i64().map(|values| values.into_iter().map(Dim::known).collect())
        } else {
            None
        };
        self.define(Value {
            name: name.into(),
            element: Some(tensor.element()),
            shape: Some(tensor.shape().iter().map(|size| Dim::from(*size)).collect()),
            contents,
            origin: Origin::Constant(tensor),
            fixed: true,
        })
    }

    /// In a body: makes `outer`, a value of the enclosing graph with the facts of `like`, visible as `name`.
    pub fn add_capture(
        &mut self,
        name: impl Into<String>,
        outer: ValueId,
        like: &Value,
    ) -> Result<ValueId, GraphError> {
        self.define(Value {
            name: name.into(),
            element: like.element,
            shape: like.shape.clone(),
            contents: like.contents.clone(),
            origin: Origin::Captured(outer),
            fixed: like.fixed,
        })
    }

    /// Appends a node; element types, sizes and small integer contents of its outputs are inferred.
    pub fn push(&mut self, new: NewNode) -> Result<NodeId, GraphError> {
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| GraphError::TooMany("nodes"))?);
        let known = u32::try_from(self.values.len()).map_err(|_| GraphError::TooMany("values"))?;
        if new.inputs.iter().flatten().any(|input| input.0 >= known) {
            return Err(GraphError::Node {
                operator: new.operator,
                name: new.name,
                problem: "an input belongs to another graph".to_owned(),
            });
        }
        let mut node = Node {
            operator: new.operator,
            name: new.name,
            inputs: new.inputs,
            outputs: Vec::new(),
            attributes: new.attributes,
            metadata: new.metadata,
        };
        let facts = infer::infer(self, &node, &new.outputs).map_err(|refusal| {
            let (operator, name) = (node.operator.clone(), node.name.clone());
            match refusal {
                Refusal::Wrong(problem) => GraphError::Node { operator, name, problem },
                Refusal::TooLarge(problem) => GraphError::TooLarge { operator, name, problem },
            }
        })?;
        let fixed = node.dependencies().all(|id| self.value(id).fixed);
        for (position, (name, facts)) in new.outputs.into_iter().zip(facts).enumerate() {
            node.outputs.push(if name.is_empty() {
                None
            } else {
                Some(self.define(Value {
                    name,
                    element: facts.element,
                    shape: facts.shape,
                    contents: facts.contents,
                    origin: Origin::Node(id, position),
                    fixed,
                })?)
            });
        }
        self.nodes.push(node);
        Ok(id)
    }

    /// Appends a node with one output and returns that output's value.
    pub fn push_one(&mut self, new: NewNode) -> Result<ValueId, GraphError> {
        let id = self.push(new)?;
        Ok(self.node(id).output(0).expect("the node was pushed with a named first output"))
    }

    /// Makes a value an output. A value may be an output once.
    pub fn add_output(&mut self, value: ValueId) -> Result<(), GraphError> {
        if self.outputs.contains(&value) {
            return Err(GraphError::DuplicateOutput(self.value(value).name.clone()));
        }
        self.outputs.push(value);
        Ok(())
    }

    /// Gives a value another name.
    pub fn rename(&mut self, id: ValueId, name: &str) -> Result<(), GraphError> {
        if self.values[id.index()].name == name {
            return Ok(());
        }
        if self.names.contains_key(name) {
            return Err(GraphError::DuplicateValue(name.to_owned()));
        }
        self.names.remove(&self.values[id.index()].name);
        self.names.insert(name.to_owned(), id);
        name.clone_into(&mut self.values[id.index()].name);
        Ok(())
    }

    /// Replaces the list of outputs.
    pub fn set_outputs(&mut self, outputs: Vec<ValueId>) {
        self.outputs = outputs;
    }

    /// The same graph, its inputs' symbolic sizes replaced by numbers; ids and names stay.
    pub fn bind(&self, sizes: &BTreeMap<String, i64>) -> Result<Graph, GraphError> {
        let mut bound = Graph {
            name: self.name.clone(),
            producer: self.producer.clone(),
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            ..Graph::default()
        };
        let mut pushed = 0;
        for value in &self.values {
            match &value.origin {
                Origin::Input => {
                    let shape = match &value.shape {
                        Some(shape) => Some(
                            shape
                                .iter()
                                .map(|dim| {
                                    dim.bind(sizes)
                                        .ok_or_else(|| GraphError::SizeOverflow(value.name.clone()))
                                })
                                .collect::<Result<Shape, _>>()?,
                        ),
                        None => None,
                    };
                    let id = bound.define(Value { shape, contents: None, ..value.clone() })?;
                    bound.inputs.push(id);
                }
                Origin::Constant(tensor) => {
                    bound.add_constant(value.name.clone(), tensor.clone())?;
                }
                Origin::Captured(_) => {
                    bound.define(value.clone())?;
                }
                Origin::Node(node, _) => {
                    // Nodes without outputs, and all up to this one, come in their old order.
                    while pushed <= node.index() {
                        let old = &self.nodes[pushed];
                        bound.push(NewNode {
                            operator: old.operator.clone(),
                            name: old.name.clone(),
                            inputs: old.inputs.clone(),
                            outputs: old
                                .outputs
                                .iter()
                                .map(|output| {
                                    output.map_or_else(String::new, |id| self.value(id).name.clone())
                                })
                                .collect(),
                            attributes: old.attributes.clone(),
                            metadata: old.metadata.clone(),
                        })?;
                        pushed += 1;
                    }
                }
            }
        }
        bound.outputs.clone_from(&self.outputs);
        bound.inputs.clone_from(&self.inputs);
        Ok(bound)
    }

    /// Only what the outputs need, in the same order; inputs all stay.
    pub fn pruned(&self) -> Result<Graph, GraphError> {
        let mut needed = vec![false; self.values.len()];
        for output in self.outputs.iter().chain(&self.inputs) {
            needed[output.index()] = true;
        }
        let mut keep = vec![false; self.nodes.len()];
        for id in self.node_ids().rev() {
            if self.node(id).outputs.iter().flatten().any(|output| needed[output.index()]) {
                keep[id.index()] = true;
                for value in self.dependencies(id) {
                    needed[value.index()] = true;
                }
            }
        }
        let mut pruned = Graph {
            name: self.name.clone(),
            producer: self.producer.clone(),
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            ..Graph::default()
        };
        let mut renumbered: HashMap<ValueId, ValueId> = HashMap::new();
        for id in self.value_ids() {
            let value = self.value(id);
            let new = match &value.origin {
                Origin::Node(node, position) => {
                    if !keep[node.index()] || renumbered.contains_key(&id) {
                        continue;
                    }
                    let first = self.node(*node).outputs.iter().flatten().next() == Some(&id);
                    debug_assert!(first || *position > 0, "outputs are defined in order");
                    self.copy_node(*node, &mut pruned, &mut renumbered)?;
                    continue;
                }
                _ if !needed[id.index()] => continue,
                _ => pruned.define(value.clone())?,
            };
            renumbered.insert(id, new);
        }
        pruned.inputs = self.inputs.iter().map(|id| renumbered[id]).collect();
        pruned.outputs = self.outputs.iter().map(|id| renumbered[id]).collect();
        Ok(pruned)
    }

    fn copy_node(
        &self,
        id: NodeId,
        target: &mut Graph,
        renumbered: &mut HashMap<ValueId, ValueId>,
    ) -> Result<(), GraphError> {
        let node = self.node(id);
        let mut attributes = node.attributes.clone();
        for attribute in attributes.values_mut() {
            if let crate::node::Attribute::Graph(body) = attribute {
                body.renumber_captures(|outer| renumbered[&outer]);
            }
        }
        let new = target.push(NewNode {
            operator: node.operator.clone(),
            name: node.name.clone(),
            inputs: node.inputs.iter().map(|input| input.map(|input| renumbered[&input])).collect(),
            outputs: node
                .outputs
                .iter()
                .map(|output| output.map_or_else(String::new, |id| self.value(id).name.clone()))
                .collect(),
            attributes,
            metadata: node.metadata.clone(),
        })?;
        for (old, new) in node.outputs.iter().zip(target.node(new).outputs.clone()) {
            if let (Some(old), Some(new)) = (old, new) {
                renumbered.insert(*old, new);
            }
        }
        Ok(())
    }

    /// In a body: replaces the outer ids of its captures.
    pub fn renumber_captures(&mut self, renumber: impl Fn(ValueId) -> ValueId) {
        for value in &mut self.values {
            if let Origin::Captured(outer) = &mut value.origin {
                *outer = renumber(*outer);
            }
        }
    }

    fn define(&mut self, value: Value) -> Result<ValueId, GraphError> {
        let id = ValueId(u32::try_from(self.values.len()).map_err(|_| GraphError::TooMany("values"))?);
        if self.names.contains_key(&value.name) {
            return Err(GraphError::DuplicateValue(value.name));
        }
        self.names.insert(value.name.clone(), id);
        self.values.push(value);
        Ok(id)
    }
}
