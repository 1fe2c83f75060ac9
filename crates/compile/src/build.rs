//! Appending nodes as formulas: `a * b` appends a Mul.
//!
//! A [`Builder`] owns a graph that only grows. A [`Var`] is one of its values, and Rust's operators on it append
//! nodes. An invalid node does not interrupt a formula: the first failure is kept and returned by
//! [`Builder::finish`] (or [`Builder::check`]), since it is our own fault, or the model's in asking for absurd sizes.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, HashMap};

use pellucid_graph::{
    Attribute, ElementType, Graph, GraphError, NewNode, Node, NodeId, Shape, Tensor, Value, ValueId,
};

use crate::error::{CompileError, Result};

mod var;

pub use var::{Keep, Var};

/// Elements of all constants that a builder makes from numbers, those of the model not counted.
const MADE_ELEMENTS: usize = 1 << 26;

/// A graph under construction.
#[derive(Debug)]
pub struct Builder {
    graph: RefCell<Graph>,
    failure: RefCell<Option<CompileError>>,
    scalars: RefCell<HashMap<(ElementType, u64), ValueId>>,
    integers: RefCell<HashMap<Vec<i64>, ValueId>>,
    note: RefCell<(String, BTreeMap<String, String>)>,
    made_elements: Cell<usize>,
    /// What stands for a value on the baseline, for those that differ there.
    references: RefCell<HashMap<ValueId, ValueId>>,
    prefix: String,
}

impl Builder {
    /// Continues `graph`.
    pub fn new(graph: Graph) -> Self {
        Self::with_prefix(graph, "pellucid")
    }

    /// Continues `graph`; appended values are named `PREFIX.number.Operator`.
    pub fn with_prefix(graph: Graph, prefix: &str) -> Self {
        Self {
            graph: RefCell::new(graph),
            failure: RefCell::new(None),
            scalars: RefCell::default(),
            integers: RefCell::default(),
            note: RefCell::default(),
            made_elements: Cell::default(),
            references: RefCell::default(),
            prefix: prefix.to_owned(),
        }
    }

    /// The graph so far.
    pub fn graph(&self) -> Ref<'_, Graph> {
        self.graph.borrow()
    }

    /// A value of the graph.
    pub fn var(&self, id: ValueId) -> Var<'_> {
        Var { builder: self, id }
    }

    /// A copy of a node.
    pub fn node(&self, id: NodeId) -> Node {
        self.graph.borrow().node(id).clone()
    }

    /// The first failure so far.
    pub fn check(&self) -> Result<()> {
        match &*self.failure.borrow() {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// The finished graph.
    pub fn finish(self) -> Result<Graph> {
        match self.failure.into_inner() {
            Some(failure) => Err(failure),
            None => Ok(self.graph.into_inner()),
        }
    }

    /// Adds an input.
    pub fn input(&self, name: &str, element: ElementType, shape: Shape) -> Var<'_> {
        let name = self.graph.borrow().fresh_name(name);
        let added = self.graph.borrow_mut().add_input(name, element, Some(shape));
        self.settle(added.map_err(Into::into))
    }

    /// In a body: makes a value of the enclosing graph visible.
    pub fn capture(&self, outer: ValueId, like: &Value) -> Var<'_> {
        let name = self.graph.borrow().fresh_name(&format!("{}.captured.{}", self.prefix, outer.index()));
        let added = self.graph.borrow_mut().add_capture(name, outer, like);
        self.settle(added.map_err(Into::into))
    }

    /// Adds a constant.
    pub fn constant(&self, tensor: Tensor) -> Var<'_> {
        let wanted = {
            let graph = self.graph.borrow();
            graph.fresh_name(&format!("{}.{}.Constant", self.prefix, graph.values().len()))
        };
        let added = self.graph.borrow_mut().add_constant(wanted, tensor);
        self.settle(added.map_err(Into::into))
    }

    /// A scalar of `element`; equal scalars are one constant.
    pub fn scalar(&self, element: ElementType, value: f64) -> Var<'_> {
        let key = (element, value.to_bits());
        if let Some(id) = self.scalars.borrow().get(&key) {
            return self.var(*id);
        }
        let scalar = self.constant(Tensor::scalar(element, value));
        self.scalars.borrow_mut().insert(key, scalar.id);
        scalar
    }

    /// A one-dimensional int64 constant; equal ones are one constant.
    pub fn integers(&self, values: &[i64]) -> Var<'_> {
        if let Some(id) = self.integers.borrow().get(values) {
            return self.var(*id);
        }
        if let Err(error) = self.make(values.len()) {
            return self.settle(Err(error));
        }
        let constant = self.constant(Tensor::integers(values));
        self.integers.borrow_mut().insert(values.to_vec(), constant.id);
        constant
    }

    /// Counts elements of constants that follow from sizes, which a model merely declares.
    fn make(&self, elements: usize) -> Result<()> {
        let made = self.made_elements.get().saturating_add(elements);
        self.made_elements.set(made);
        if made <= MADE_ELEMENTS {
            return Ok(());
        }
        Err(CompileError::Model(format!(
            "sizes of the model need constants of {made} elements: at most {MADE_ELEMENTS} are supported"
        )))
    }

    /// A constant of `element` with `values` rounded to it.
    pub fn values(&self, element: ElementType, shape: Vec<usize>, values: &[f64]) -> Var<'_> {
        if let Err(error) = self.make(values.len()) {
            return self.settle(Err(error));
        }
        match Tensor::from_values(element, shape, values) {
            Ok(tensor) => self.constant(tensor),
            Err(error) => self.settle(Err(CompileError::Emitted(error.to_string()))),
        }
    }

    /// Appends a node with one output.
    pub fn op(&self, operator: &str, inputs: &[Var<'_>], attributes: &[(&str, Attribute)]) -> Var<'_> {
        let inputs: Vec<Option<Var<'_>>> = inputs.iter().copied().map(Some).collect();
        self.ops(operator, &inputs, attributes, 1)[0]
    }

    /// Appends a node with `outputs` outputs; inputs may be left out.
    pub fn ops(
        &self,
        operator: &str,
        inputs: &[Option<Var<'_>>],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<Var<'_>> {
        let (name, names) = {
            let graph = self.graph.borrow();
            let first = graph.values().len();
            let names = (first..first + outputs)
                .map(|number| graph.fresh_name(&format!("{}.{number}.{operator}", self.prefix)))
                .collect();
            let (note, _) = &*self.note.borrow();
            // Engines refuse two nodes of one name.
            let name = if note.is_empty() {
                String::new()
            } else {
                format!("{note}/{}.{first}.{operator}", self.prefix)
            };
            (name, names)
        };
        let new = NewNode {
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|input| input.map(|var| var.id)).collect(),
            outputs: names,
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            name,
            metadata: self.note.borrow().1.clone(),
        };
        let pushed = self.graph.borrow_mut().push(new);
        match pushed {
            Ok(node) => {
                let graph = self.graph.borrow();
                graph.node(node).outputs.iter().flatten().map(|id| self.var(*id)).collect()
            }
            Err(error) => {
                let stand_in = self.settle(Err(error.into()));
                vec![stand_in; outputs]
            }
        }
    }

    /// Appends to the graph, or renames in it, what formulas have no word for.
    pub(crate) fn edit<T>(
        &self,
        change: impl FnOnce(&mut Graph) -> std::result::Result<T, GraphError>,
    ) -> Result<T> {
        Ok(change(&mut self.graph.borrow_mut())?)
    }

    /// Nodes appended by formulas from now on carry this metadata, and names that begin with `name`; an empty name
    /// names nothing.
    pub(crate) fn annotate(&self, name: &str, metadata: &BTreeMap<String, String>) {
        *self.note.borrow_mut() = (name.to_owned(), metadata.clone());
    }

    /// What begins the names of appended values.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Says what stands for a value on the baseline.
    pub(crate) fn refer(&self, value: ValueId, reference: ValueId) {
        self.references.borrow_mut().insert(value, reference);
    }

    /// What stands for a value on the baseline: the value itself where it does not depend on what a baseline replaces.
    pub(crate) fn reference(&self, value: ValueId) -> ValueId {
        self.references.borrow().get(&value).copied().unwrap_or(value)
    }

    /// Whether formulas may take the value again as an equal constant.
    pub(crate) fn is_shared(&self, id: ValueId) -> bool {
        self.scalars.borrow().values().chain(self.integers.borrow().values()).any(|shared| *shared == id)
    }

    /// Appends a node with one input, its output named `name`.
    pub fn named<'g>(&'g self, operator: &str, input: Var<'g>, name: &str) -> Var<'g> {
        let pushed = self.graph.borrow_mut().push_one(NewNode::new(operator, &[input.id], name));
        self.settle(pushed.map_err(Into::into))
    }

    /// Copies those nodes of `source` into this graph that `wanted` needs. `given` says which values stand for the
    /// source's inputs (and constants, where they are to be shared, and inner values, whose makers are then left out);
    /// other constants are copied. Returns the value that stands for each value of the source.
    pub fn embed(
        &self,
        source: &Graph,
        given: &BTreeMap<ValueId, ValueId>,
        wanted: &[ValueId],
    ) -> Result<Vec<Option<ValueId>>> {
        // What follows from an earlier failure would hide it.
        self.check()?;
        let needed = needed(source, given, wanted);
        let mut stands_for: Vec<Option<ValueId>> = vec![None; source.values().len()];
        for id in source.value_ids() {
            let value = source.value(id);
            stands_for[id.index()] = match (given.get(&id), value.constant()) {
                (Some(here), _) => Some(*here),
                (None, Some(tensor)) if needed[id.index()] => Some(self.constant(tensor.clone()).id),
                _ => None,
            };
        }
        let is_needed = |id: &NodeId| source.node(*id).outputs.iter().flatten().any(|id| needed[id.index()]);
        for node_id in source.node_ids().filter(is_needed) {
            let node = source.node(node_id);
            let inputs = node
                .inputs
                .iter()
                .map(|input| match input {
                    Some(input) => match stands_for[input.index()] {
                        Some(here) => Ok(Some(here)),
                        None => Err(CompileError::Emitted(format!(
                            "nothing stands for {:?}",
                            source.value(*input).name
                        ))),
                    },
                    None => Ok(None),
                })
                .collect::<Result<Vec<_>>>()?;
            let outputs = {
                let graph = self.graph.borrow();
                let mut names = Vec::new();
                for output in &node.outputs {
                    names.push(match output {
                        Some(output) => {
                            graph.fresh_name(&format!("{}.{}", self.prefix, source.value(*output).name))
                        }
                        None => String::new(),
                    });
                }
                names
            };
            let mut attributes = node.attributes.clone();
            for attribute in attributes.values_mut() {
                if let Attribute::Graph(body) = attribute {
                    body.renumber_captures(|outer| stands_for[outer.index()].unwrap_or(outer));
                }
            }
            // Engines refuse two nodes of one name, and a model may be copied more than once.
            let name = match node.name.as_str() {
                "" => String::new(),
                name => format!("{}.{}.{name}", self.prefix, self.graph.borrow().values().len()),
            };
            let pushed = self.graph.borrow_mut().push(NewNode {
                operator: node.operator.clone(),
                name,
                inputs,
                outputs,
                attributes,
                metadata: node.metadata.clone(),
            })?;
            let graph = self.graph.borrow();
            for (old, new) in node.outputs.iter().zip(&graph.node(pushed).outputs) {
                if let (Some(old), Some(new)) = (old, new)
                    && !given.contains_key(old)
                {
                    stands_for[old.index()] = Some(*new);
                }
            }
        }
        Ok(stands_for)
    }

    /// Keeps a failure and goes on with a stand-in, so that formulas need no `?`.
    fn settle(&self, added: Result<ValueId>) -> Var<'_> {
        match added {
            Ok(id) => self.var(id),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                let name = self.graph.borrow().fresh_name("pellucid.failed");
                let id = self
                    .graph
                    .borrow_mut()
                    .add_constant(name, Tensor::scalar(ElementType::F32, 0.0))
                    .expect("a fresh name is free");
                self.var(id)
            }
        }
    }

    /// A constant list of axes.
    pub fn axes(&self, axes: &[usize]) -> Var<'_> {
        let axes: Vec<i64> = axes.iter().map(|axis| signed(*axis)).collect();
        self.integers(&axes)
    }

    /// Values joined along `axis`.
    pub fn concat<'g>(&'g self, parts: &[Var<'g>], axis: usize) -> Var<'g> {
        if let [only] = parts {
            return *only;
        }
        self.op("Concat", parts, &[("axis", Attribute::Int(signed(axis)))])
    }
}

/// Which values of `source` must be made for `wanted`, where those of `given` are there already.
fn needed(source: &Graph, given: &BTreeMap<ValueId, ValueId>, wanted: &[ValueId]) -> Vec<bool> {
    let mut needed = vec![false; source.values().len()];
    for id in wanted.iter().filter(|id| !given.contains_key(id)) {
        needed[id.index()] = true;
    }
    for id in source.node_ids().rev() {
        if source.node(id).outputs.iter().flatten().any(|output| needed[output.index()]) {
            for input in source.dependencies(id).into_iter().filter(|input| !given.contains_key(input)) {
                needed[input.index()] = true;
            }
        }
    }
    needed
}

/// An array position as ONNX writes it.
pub(crate) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
