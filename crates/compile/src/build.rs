//! Appending nodes as formulas: `a * b` appends a Mul.
//!
//! A [`Builder`] owns a graph that only grows. A [`Var`] is one of its values, and Rust's operators on it append
//! nodes. An invalid node does not interrupt a formula: the first failure is kept and returned by
//! [`Builder::finish`] (or [`Builder::check`]), since it is always our own fault.

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops;

use pellucid_graph::{
    Attribute, Dim, ElementType, Graph, GraphError, NewNode, Node, NodeId, Shape, Tensor, Value, ValueId,
    display_shape,
};

use crate::error::{CompileError, Result};

/// A graph under construction.
#[derive(Debug)]
pub struct Builder {
    graph: RefCell<Graph>,
    failure: RefCell<Option<CompileError>>,
    scalars: RefCell<HashMap<(ElementType, u64), ValueId>>,
    integers: RefCell<HashMap<Vec<i64>, ValueId>>,
    note: RefCell<(String, BTreeMap<String, String>)>,
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
        let constant = self.constant(Tensor::integers(values));
        self.integers.borrow_mut().insert(values.to_vec(), constant.id);
        constant
    }

    /// A constant of `element` with `values` rounded to it.
    pub fn values(&self, element: ElementType, shape: Vec<usize>, values: &[f64]) -> Var<'_> {
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

    /// Whether formulas may take the value again as an equal constant.
    pub(crate) fn is_shared(&self, id: ValueId) -> bool {
        self.scalars.borrow().values().chain(self.integers.borrow().values()).any(|shared| *shared == id)
    }

    /// Appends a node with one input, its output named `name`.
    pub fn named<'g>(&'g self, operator: &str, input: Var<'g>, name: &str) -> Var<'g> {
        let pushed = self.graph.borrow_mut().push_one(NewNode::new(operator, &[input.id], name));
        self.settle(pushed.map_err(Into::into))
    }

    /// Copies the nodes of `source` into this graph. `given` says which values stand for the source's inputs (and
    /// constants, where they are to be shared); other constants are copied. Returns the value that stands for each
    /// value of the source.
    pub fn embed(&self, source: &Graph, given: &BTreeMap<ValueId, ValueId>) -> Result<Vec<Option<ValueId>>> {
        let mut stands_for: Vec<Option<ValueId>> = vec![None; source.values().len()];
        for id in source.value_ids() {
            let value = source.value(id);
            stands_for[id.index()] = match (given.get(&id), value.constant()) {
                (Some(here), _) => Some(*here),
                (None, Some(tensor)) => Some(self.constant(tensor.clone()).id),
                (None, None) => None,
            };
        }
        for node_id in source.node_ids() {
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
            let pushed = self.graph.borrow_mut().push(NewNode {
                operator: node.operator.clone(),
                name: node.name.clone(),
                inputs,
                outputs,
                attributes,
                metadata: node.metadata.clone(),
            })?;
            let graph = self.graph.borrow();
            for (old, new) in node.outputs.iter().zip(&graph.node(pushed).outputs) {
                if let (Some(old), Some(new)) = (old, new) {
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
}

/// A value of a graph under construction.
#[derive(Debug, Clone, Copy)]
pub struct Var<'g> {
    builder: &'g Builder,
    id: ValueId,
}

impl<'g> Var<'g> {
    /// The builder.
    pub fn builder(self) -> &'g Builder {
        self.builder
    }

    /// The value's id.
    pub fn id(self) -> ValueId {
        self.id
    }

    /// Name.
    pub fn name(self) -> String {
        self.builder.graph().value(self.id).name.clone()
    }

    /// Element type; `float32` where it is not known.
    pub fn element(self) -> ElementType {
        self.builder.graph().value(self.id).element.unwrap_or(ElementType::F32)
    }

    /// Sizes, or an error where not even the rank is known.
    pub fn shape(self) -> Result<Shape> {
        let graph = self.builder.graph();
        let value = graph.value(self.id);
        value.shape.clone().ok_or_else(|| {
            CompileError::Model(format!("the rank of {:?} is not known before running", value.name))
        })
    }

    /// Number of axes.
    pub fn rank(self) -> Result<usize> {
        Ok(self.shape()?.len())
    }

    /// Size along `axis` as a number, or an error where it is symbolic.
    pub fn size(self, axis: usize) -> Result<usize> {
        let shape = self.shape()?;
        shape.get(axis).and_then(Dim::size).ok_or_else(|| {
            CompileError::Model(format!(
                "axis {axis} of {:?}, of shape {}, must have a known size: give the sizes of the inputs",
                self.name(),
                display_shape(&shape)
            ))
        })
    }

    /// Contents of an integer constant.
    pub fn contents(self) -> Option<Vec<i64>> {
        self.builder.graph().value(self.id).contents.as_ref()?.iter().map(Dim::value).collect()
    }

    /// The tensor, where the value is a constant.
    pub fn constant(self) -> Option<Tensor> {
        self.builder.graph().constant(self.id).cloned()
    }

    /// The number, where the value is a constant of one element.
    pub fn constant_number(self) -> Option<f64> {
        let tensor = self.constant()?;
        if tensor.len() == 1 { tensor.to_f64().first().copied() } else { None }
    }

    /// Appends a one-input, one-output node without attributes.
    pub fn apply(self, operator: &str) -> Var<'g> {
        self.builder.op(operator, &[self], &[])
    }

    fn binary(self, operator: &str, other: Var<'g>) -> Var<'g> {
        self.builder.op(operator, &[self, other], &[])
    }

    /// A scalar of this value's element type.
    pub fn scalar(self, value: f64) -> Var<'g> {
        self.builder.scalar(self.element(), value)
    }

    /// Natural exponential.
    pub fn exp(self) -> Var<'g> {
        self.apply("Exp")
    }

    /// Natural logarithm.
    pub fn ln(self) -> Var<'g> {
        self.apply("Log")
    }

    /// Square root.
    pub fn sqrt(self) -> Var<'g> {
        self.apply("Sqrt")
    }

    /// max(0, ·).
    pub fn relu(self) -> Var<'g> {
        self.apply("Relu")
    }

    /// Logistic function.
    pub fn sigmoid(self) -> Var<'g> {
        self.apply("Sigmoid")
    }

    /// Power with a constant exponent.
    pub fn powf(self, exponent: f64) -> Var<'g> {
        self.binary("Pow", self.scalar(exponent))
    }

    /// `self > other` as 0 and 1 of this element type.
    pub fn above(self, other: Var<'g>) -> Var<'g> {
        self.binary("Greater", other).cast(self.element())
    }

    /// `self > value` as 0 and 1 of this element type.
    pub fn above_number(self, value: f64) -> Var<'g> {
        self.above(self.scalar(value))
    }

    /// `self < other` as 0 and 1 of this element type.
    pub fn below(self, other: Var<'g>) -> Var<'g> {
        self.binary("Less", other).cast(self.element())
    }

    /// `self ≥ other` as 0 and 1 of this element type.
    pub fn at_least(self, other: Var<'g>) -> Var<'g> {
        self.binary("GreaterOrEqual", other).cast(self.element())
    }

    /// `self ≤ other` as 0 and 1 of this element type.
    pub fn at_most(self, other: Var<'g>) -> Var<'g> {
        self.binary("LessOrEqual", other).cast(self.element())
    }

    /// `self = other` as 0 and 1 of this element type.
    pub fn equals(self, other: Var<'g>) -> Var<'g> {
        self.binary("Equal", other).cast(self.element())
    }

    /// `self` (bool) ? `yes` : `no`.
    pub fn choose(self, yes: Var<'g>, no: Var<'g>) -> Var<'g> {
        self.builder.op("Where", &[self, yes, no], &[])
    }

    /// The same numbers as another element type.
    pub fn cast(self, element: ElementType) -> Var<'g> {
        if self.builder.graph().value(self.id).element == Some(element) {
            return self;
        }
        self.builder.op("Cast", &[self], &[("to", Attribute::Int(i64::from(element.onnx_code())))])
    }

    /// Matrix product, batched over leading axes.
    pub fn matmul(self, other: Var<'g>) -> Var<'g> {
        self.binary("MatMul", other)
    }

    /// Axes in another order.
    pub fn transpose(self, order: &[usize]) -> Var<'g> {
        if order.iter().enumerate().all(|(position, axis)| position == *axis) {
            return self;
        }
        let order = order.iter().map(|axis| signed(*axis)).collect();
        self.builder.op("Transpose", &[self], &[("perm", Attribute::Ints(order))])
    }

    /// The last two axes exchanged.
    pub fn transpose_last_two(self) -> Result<Var<'g>> {
        let rank = self.rank()?;
        let mut order: Vec<usize> = (0..rank).collect();
        if rank < 2 {
            return Err(CompileError::Emitted(format!("{:?} has no two axes to exchange", self.name())));
        }
        order.swap(rank - 2, rank - 1);
        Ok(self.transpose(&order))
    }

    /// Other sizes; at most one may be −1.
    pub fn reshape(self, shape: &[i64]) -> Var<'g> {
        self.builder.op("Reshape", &[self, self.builder.integers(shape)], &[])
    }

    /// The sizes of `shape`, of which at most one may be symbolic.
    pub fn reshape_to(self, shape: &[Dim]) -> Result<Var<'g>> {
        if self.shape().is_ok_and(|own| own == shape) {
            return Ok(self);
        }
        match resolvable(shape) {
            Some(sizes) => Ok(self.reshape(&sizes)),
            None => Err(CompileError::Model(format!(
                "{} has more than one size that is not known: give the sizes of the inputs",
                display_shape(shape)
            ))),
        }
    }

    /// The sizes of `like`, computed while running where they are not known before.
    pub fn reshape_like(self, like: Var<'g>) -> Result<Var<'g>> {
        let shape = like.shape()?;
        match resolvable(&shape) {
            Some(_) => self.reshape_to(&shape),
            None => Ok(self.binary("Reshape", like.apply("Shape"))),
        }
    }

    /// Copies along axes of size 1 until the sizes are those of `like`.
    pub fn expand_like(self, like: Var<'g>) -> Result<Var<'g>> {
        let wanted = like.shape()?;
        if self.shape()? == wanted {
            return Ok(self);
        }
        let known: Option<Vec<i64>> = wanted.iter().map(Dim::value).collect();
        let sizes = match known {
            Some(known) => self.builder.integers(&known),
            None => like.apply("Shape"),
        };
        Ok(self.binary("Expand", sizes))
    }

    /// Zeros of this value's shape and element type.
    pub fn zeros_like(self) -> Result<Var<'g>> {
        self.scalar(0.0).expand_like(self)
    }

    /// Adds axes of size 1.
    pub fn unsqueeze(self, axes: &[usize]) -> Var<'g> {
        if axes.is_empty() {
            return self;
        }
        self.builder.op("Unsqueeze", &[self, self.builder.axes(axes)], &[])
    }

    /// Removes axes of size 1.
    pub fn squeeze(self, axes: &[usize]) -> Var<'g> {
        if axes.is_empty() {
            return self;
        }
        self.builder.op("Squeeze", &[self, self.builder.axes(axes)], &[])
    }

    /// Sum over axes, which stay with size 1 where `keep`.
    pub fn sum(self, axes: &[usize], keep: Keep) -> Var<'g> {
        self.reduce("ReduceSum", axes, keep)
    }

    /// Mean over axes, which stay with size 1 where `keep`.
    pub fn mean(self, axes: &[usize], keep: Keep) -> Var<'g> {
        self.reduce("ReduceMean", axes, keep)
    }

    fn reduce(self, operator: &str, axes: &[usize], keep: Keep) -> Var<'g> {
        if axes.is_empty() {
            return self;
        }
        let keep = Attribute::Int(i64::from(keep == Keep::Axes));
        self.builder.op(operator, &[self, self.builder.axes(axes)], &[("keepdims", keep)])
    }

    /// `start..end` with `step` along `axis`; negative positions count from the end.
    pub fn slice(self, axis: usize, start: i64, end: i64, step: i64) -> Var<'g> {
        let b = self.builder;
        let parts = [b.integers(&[start]), b.integers(&[end]), b.axes(&[axis]), b.integers(&[step])];
        b.op("Slice", &[self, parts[0], parts[1], parts[2], parts[3]], &[])
    }

    /// Constant padding: `before` and `after` by axis.
    pub fn pad(self, before: &[i64], after: &[i64], value: f64) -> Var<'g> {
        if before.iter().chain(after).all(|amount| *amount == 0) {
            return self;
        }
        let pads: Vec<i64> = before.iter().chain(after).copied().collect();
        self.builder.op("Pad", &[self, self.builder.integers(&pads), self.scalar(value)], &[])
    }

    /// Sums away and copies along axes until the shape is that of `like`: what a derivative of a broadcast needs.
    pub fn fit(self, like: Var<'g>) -> Result<Var<'g>> {
        let own = self.shape()?;
        let wanted = like.shape()?;
        if own == wanted {
            return Ok(self);
        }
        let undecided = || {
            CompileError::Model(format!(
                "whether {} is broadcast to {} is not known before running: give the sizes of the inputs",
                display_shape(&wanted),
                display_shape(&own)
            ))
        };
        let mut fitted = self;
        if own.len() > wanted.len() {
            let extra: Vec<usize> = (0..own.len() - wanted.len()).collect();
            fitted = fitted.sum(&extra, Keep::None);
        } else if own.len() < wanted.len() {
            let missing: Vec<usize> = (0..wanted.len() - own.len()).collect();
            fitted = fitted.unsqueeze(&missing);
        }
        let now = fitted.shape()?;
        let mut summed = Vec::new();
        let mut expanded = false;
        for (axis, (have, want)) in now.iter().zip(&wanted).enumerate() {
            if have == want {
                continue;
            }
            if want.value() == Some(1) {
                summed.push(axis);
            } else if have.value() == Some(1) {
                expanded = true;
            } else {
                return Err(undecided());
            }
        }
        fitted = fitted.sum(&summed, Keep::Axes);
        if expanded { fitted.expand_like(like) } else { Ok(fitted) }
    }

    /// All elements equal?
    pub fn is_zero(self) -> bool {
        self.constant()
            .is_some_and(|tensor| tensor.to_f64().iter().all(|value| value.abs() < f64::MIN_POSITIVE))
    }
}

impl Builder {
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

/// What becomes of the axes that a reduction sums over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// They stay, with size 1.
    Axes,
    /// They go.
    None,
}

/// Sizes for a Reshape with at most one −1, where that is possible.
fn resolvable(shape: &[Dim]) -> Option<Vec<i64>> {
    let unknown = shape.iter().filter(|dim| dim.value().is_none()).count();
    // A 0 would mean "as the input has it", and −1 cannot be computed beside it.
    if unknown > 1 || shape.iter().any(|dim| dim.value() == Some(0)) {
        return None;
    }
    Some(shape.iter().map(|dim| dim.value().unwrap_or(-1)).collect())
}

/// An array position as ONNX writes it.
pub(crate) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

macro_rules! arithmetic {
    ($trait:ident, $method:ident, $operator:literal) => {
        impl<'g> ops::$trait<Var<'g>> for Var<'g> {
            type Output = Var<'g>;
            fn $method(self, other: Var<'g>) -> Var<'g> {
                self.binary($operator, other)
            }
        }
        impl<'g> ops::$trait<f64> for Var<'g> {
            type Output = Var<'g>;
            fn $method(self, other: f64) -> Var<'g> {
                self.binary($operator, self.scalar(other))
            }
        }
    };
}

arithmetic!(Add, add, "Add");
arithmetic!(Sub, sub, "Sub");
arithmetic!(Mul, mul, "Mul");
arithmetic!(Div, div, "Div");

// Engines are fastest where the larger operand comes first, so a number never does.

impl<'g> ops::Add<Var<'g>> for f64 {
    type Output = Var<'g>;
    fn add(self, other: Var<'g>) -> Var<'g> {
        other + self
    }
}

impl<'g> ops::Mul<Var<'g>> for f64 {
    type Output = Var<'g>;
    fn mul(self, other: Var<'g>) -> Var<'g> {
        other * self
    }
}

impl<'g> ops::Sub<Var<'g>> for f64 {
    type Output = Var<'g>;
    fn sub(self, other: Var<'g>) -> Var<'g> {
        -other + self
    }
}

impl<'g> ops::Neg for Var<'g> {
    type Output = Var<'g>;
    fn neg(self) -> Var<'g> {
        self.apply("Neg")
    }
}
