//! What a rule sees of the node it lowers, and how it writes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Node, NodeId, Shape, Tensor, ValueId};

use super::{Rule, Takes, constants, lowered, rule};
use crate::Engine;

/// Why a node is not lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot be, whatever the sizes.
    Never(String),
    /// It can be once sizes that are still free have numbers.
    Sizes(String),
    /// A node it depends on is not lowered.
    Dependent,
}

/// The result of a rule's steps.
pub(super) type Step<T> = Result<T, Refusal>;

/// A refusal that no size mends.
pub(super) fn never<T>(reason: impl Into<String>) -> Step<T> {
    Err(Refusal::Never(reason.into()))
}

/// What a lowering has made so far: names of values and nodes, and second copies of weights.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Whether kernels of this crate run between runs of the engine.
    pub(super) native: bool,
    values: usize,
    nodes: HashMap<String, usize>,
    /// Bytes of kernels that were turned around.
    pub(super) turned: usize,
    /// Large constants of the source that were folded and that no node of the lowered graph reads so far.
    pub(super) folded: HashMap<ValueId, Folded>,
}

/// A folded constant that has no place in the lowered graph.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) tensor: Tensor,
    /// Nodes of the source that are still to read it.
    pub(super) readers: usize,
}

impl Made {
    pub(super) fn new(native: bool) -> Self {
        Self { native, ..Self::default() }
    }

    pub(super) fn fresh(&mut self) -> String {
        self.values += 1;
        format!("v{}", self.values)
    }

    /// A name for a node written for the source's node `name`: no two are equal, which onnxruntime insists on.
    fn node(&mut self, name: &str) -> String {
        let count = self.nodes.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if *count == 1 && !name.contains('~') { name.to_owned() } else { format!("{name}~{count}") }
    }
}

/// A node of `operator`; its output is named when it is added.
pub(super) fn node(operator: &str, inputs: &[ValueId]) -> NewNode {
    NewNode::new(operator, inputs, "")
}

/// One node being lowered. Ids of values are those of the lowered graph, unless said otherwise.
pub(super) struct Rewrite<'a> {
    pub(super) engine: Engine,
    pub(super) source: &'a Graph,
    pub(super) node: &'a Node,
    consumers: &'a [Vec<NodeId>],
    pub(super) graph: &'a mut Graph,
    pub(super) values: &'a mut Vec<Option<ValueId>>,
    pub(super) made: &'a mut Made,
}

/// Arithmetic wraps around in integers narrower than rten's.
const WRAPPING: &[&str] =
    &["Add", "Sub", "Mul", "Neg", "Pow", "Sum", "ReduceSum", "ReduceProd", "ReduceSumSquare", "CumSum"];

/// Inputs where a number past the 32-bit range means "to the end", which rten's clamping keeps.
const CLAMPED: &[(&str, usize)] = &[("Slice", 1), ("Slice", 2), ("Clip", 1), ("Clip", 2), ("Trilu", 1)];

impl<'a> Rewrite<'a> {
    pub(super) fn new(
        engine: Engine,
        source: &'a Graph,
        node: &'a Node,
        consumers: &'a [Vec<NodeId>],
        graph: &'a mut Graph,
        values: &'a mut Vec<Option<ValueId>>,
        made: &'a mut Made,
    ) -> Self {
        Self { engine, source, node, consumers, graph, values, made }
    }

    /// Lowers the node.
    pub(super) fn run(&mut self) -> Step<()> {
        if self.write_contents()? {
            return Ok(());
        }
        let missing =
            |input: &ValueId| self.values[input.index()].is_none() && !self.made.folded.contains_key(input);
        if self.node.inputs.iter().flatten().any(missing) {
            return Err(Refusal::Dependent);
        }
        if constants::fold(self)? {
            return Ok(());
        }
        for id in self.node.dependencies() {
            self.place(id)?;
        }
        self.check_integers()?;
        match rule(self.engine, &self.node.operator) {
            Some(Rule::Same(takes, attributes)) => self.same(takes, attributes),
            Some(Rule::By(rule)) => rule(self),
            None => never("there is no such operator here"),
        }
    }

    /// A small integer tensor whose contents inference knows is a constant: chains of `Shape`, `Gather`, `Concat`
    /// vanish, and rules find numbers.
    fn write_contents(&mut self) -> Step<bool> {
        let [Some(output)] = self.node.outputs[..] else { return Ok(false) };
        let value = self.source.value(output);
        let (Some(contents), Some(shape)) = (&value.contents, value.static_shape()) else { return Ok(false) };
        let Some(numbers) = contents.iter().map(Dim::value).collect::<Option<Vec<i64>>>() else {
            return Ok(false);
        };
        if value.element.is_none_or(|element| lowered(element) != ElementType::I64) {
            return Ok(false);
        }
        let Ok(tensor) = Tensor::from_i64(shape, &numbers) else { return Ok(false) };
        let constant = self.constant(tensor)?;
        self.values[output.index()] = Some(constant);
        Ok(true)
    }

    /// Refuses what the engine's width of integers would silently change: rten's have 32 bits.
    fn check_integers(&self) -> Step<()> {
        if self.engine == Engine::Rten {
            self.check_constants()?;
        }
        if WRAPPING.contains(&self.node.operator.as_str()) {
            let narrow = self.node.outputs.iter().flatten().find_map(|output| {
                self.source
                    .value(*output)
                    .element
                    .filter(|element| lowered(*element) == ElementType::I64 && element.size() < 4)
            });
            if let Some(element) = narrow {
                let engine = self.engine.name();
                return never(format!(
                    "arithmetic in {element} wraps around, {engine}'s does not: cast first"
                ));
            }
        }
        Ok(())
    }

    /// Refuses constants outside 32 bits.
    fn check_constants(&self) -> Step<()> {
        let operator = self.node.operator.as_str();
        for (position, input) in self.node.inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            let Some(tensor) = self.values[input.index()].and_then(|id| self.graph.constant(id)) else {
                continue;
            };
            if tensor.element() != ElementType::I64 || CLAMPED.contains(&(operator, position)) {
                continue;
            }
            let outside = |value: &i64| i32::try_from(*value).is_err();
            if let Some(value) = tensor.to_i64().unwrap_or_default().iter().find(|value| outside(value)) {
                let name = &self.source.value(*input).name;
                return never(format!("constant {name:?} holds {value}, outside rten's 32-bit integers"));
            }
        }
        Ok(())
    }

    /// Keeps the node, with only `attributes`.
    pub(super) fn same(&mut self, takes: Takes, attributes: &[&str]) -> Step<()> {
        let new = self.copy(takes, attributes)?;
        self.write(new)
    }

    /// The node with lowered inputs and only `attributes`.
    pub(super) fn copy(&mut self, takes: Takes, attributes: &[&str]) -> Step<NewNode> {
        if let Some(first) = self.maybe(0) {
            let element = self.element(first)?;
            if !takes.allows(element) {
                let engine = self.engine.name();
                return never(format!("{engine} computes it on {} alone, found {element}", takes.name()));
            }
        }
        let mut new = NewNode {
            operator: self.node.operator.clone(),
            inputs: self.node.inputs.iter().map(|i| i.and_then(|id| self.values[id.index()])).collect(),
            ..NewNode::default()
        };
        while new.inputs.last() == Some(&None) {
            new.inputs.pop();
        }
        for name in attributes {
            if let Some(value) = self.node.attributes.get(*name) {
                new.attributes.insert((*name).to_owned(), value.clone());
            }
        }
        Ok(new)
    }

    /// Adds `new`, whose outputs are the node's.
    pub(super) fn write(&mut self, mut new: NewNode) -> Step<()> {
        new.name = self.made.node(&self.node.name);
        new.outputs = self
            .node
            .outputs
            .iter()
            .map(|output| if output.is_some() { self.made.fresh() } else { String::new() })
            .collect();
        let id = self.graph.push(new).map_err(|error| Refusal::Never(error.to_string()))?;
        for position in 0..self.node.outputs.len() {
            if let (Some(old), new) = (self.node.output(position), self.graph.node(id).output(position)) {
                self.values[old.index()] = new;
            }
        }
        Ok(())
    }

    /// Adds `new`, with one output, and returns that.
    pub(super) fn add(&mut self, mut new: NewNode) -> Step<ValueId> {
        new.name = self.made.node(&self.node.name);
        new.outputs = vec![self.made.fresh()];
        self.graph.push_one(new).map_err(|error| Refusal::Never(error.to_string()))
    }

    /// Adds `new` with `count` outputs, all of them wanted.
    pub(super) fn add_many(&mut self, mut new: NewNode, count: usize) -> Step<Vec<ValueId>> {
        new.name = self.made.node(&self.node.name);
        new.outputs = (0..count).map(|_| self.made.fresh()).collect();
        let id = self.graph.push(new).map_err(|error| Refusal::Never(error.to_string()))?;
        Ok(self.graph.node(id).outputs.iter().flatten().copied().collect())
    }

    /// Adds a node without attributes.
    pub(super) fn op(&mut self, operator: &str, inputs: &[ValueId]) -> Step<ValueId> {
        self.add(node(operator, inputs))
    }

    /// Makes `value` the node's first output.
    #[expect(clippy::unnecessary_wraps, reason = "it is what rules end with")]
    pub(super) fn done(&mut self, value: ValueId) -> Step<()> {
        self.done_at(0, value);
        Ok(())
    }

    /// Makes `value` the node's output at `position`, where somebody takes it.
    pub(super) fn done_at(&mut self, position: usize, value: ValueId) {
        if let Some(output) = self.node.output(position) {
            self.values[output.index()] = Some(value);
        }
    }

    /// The first input as the node's output: the same value; a copy where others read the input too, so that what is fed in
    /// the output's place does not reach them.
    pub(super) fn passed_on(&mut self) -> Step<ValueId> {
        let x = self.x(0)?;
        let Some(input) = self.node.input(0) else { return Ok(x) };
        let read_by_others =
            self.consumers[input.index()].len() > 1 || self.source.outputs().contains(&input);
        if read_by_others && !self.source.value(input).fixed { self.op("Identity", &[x]) } else { Ok(x) }
    }

    /// Whether somebody takes the output at `position`.
    pub(super) fn wants(&self, position: usize) -> bool {
        self.node.output(position).is_some()
    }

    /// Keeps what was folded for a value of the source: out of the graph, where it is large, until a node reads it.
    pub(super) fn hold(&mut self, output: ValueId, tensor: Tensor) -> Step<()> {
        if tensor.bytes().len() <= constants::SMALL || self.source.outputs().contains(&output) {
            self.values[output.index()] = Some(self.constant(tensor)?);
            return Ok(());
        }
        let readers = self.consumers[output.index()].len();
        if readers > 0 {
            self.made.folded.insert(output, Folded { tensor, readers });
        }
        Ok(())
    }

    /// Gives a folded value a place in the graph.
    fn place(&mut self, id: ValueId) -> Step<()> {
        if let Some(folded) = self.made.folded.remove(&id) {
            self.values[id.index()] = Some(self.constant(folded.tensor)?);
        }
        Ok(())
    }

    /// Lets go of folded values that this node was the last to read.
    pub(super) fn release(&mut self) {
        let read: BTreeSet<ValueId> = self.node.dependencies().collect();
        for id in read {
            if let Entry::Occupied(mut folded) = self.made.folded.entry(id) {
                folded.get_mut().readers -= 1;
                if folded.get().readers == 0 {
                    folded.remove();
                }
            }
        }
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, tensor: Tensor) -> Step<ValueId> {
        self.graph.add_constant(self.made.fresh(), tensor).map_err(|error| Refusal::Never(error.to_string()))
    }

    /// A `float32` constant of any shape.
    pub(super) fn floats(&mut self, shape: Vec<usize>, values: &[f32]) -> Step<ValueId> {
        let tensor = Tensor::from_f32(shape, values).map_err(|error| Refusal::Never(error.to_string()))?;
        self.constant(tensor)
    }

    /// A `float32` scalar.
    pub(super) fn float(&mut self, value: f32) -> Step<ValueId> {
        self.floats(Vec::new(), &[value])
    }

    /// A one-dimensional `int64` constant.
    pub(super) fn integers(&mut self, values: &[i64]) -> Step<ValueId> {
        self.constant(Tensor::integers(values))
    }

    /// An `int64` scalar.
    pub(super) fn integer(&mut self, value: i64) -> Step<ValueId> {
        let tensor =
            Tensor::from_i64(Vec::new(), &[value]).map_err(|error| Refusal::Never(error.to_string()))?;
        self.constant(tensor)
    }

    /// A scalar of the element type of `like`.
    pub(super) fn scalar_like(&mut self, like: ValueId, value: i32) -> Step<ValueId> {
        if self.element(like)?.is_float() {
            #[expect(clippy::cast_precision_loss, reason = "rules use small whole numbers")]
            self.float(value as f32)
        } else {
            self.integer(i64::from(value))
        }
    }

    /// The lowered input at `position`.
    pub(super) fn maybe(&self, position: usize) -> Option<ValueId> {
        self.node.input(position).and_then(|id| self.values[id.index()])
    }

    /// The lowered input at `position`, which the operator requires.
    pub(super) fn x(&self, position: usize) -> Step<ValueId> {
        self.maybe(position).map_or_else(|| never(format!("input {position} is missing")), Ok)
    }

    /// Element type in the lowered graph.
    pub(super) fn element(&self, id: ValueId) -> Step<ElementType> {
        self.graph.value(id).element.map_or_else(|| never("an element type is not known"), Ok)
    }

    /// Element type of an input in the source.
    pub(super) fn source_element(&self, position: usize) -> Option<ElementType> {
        self.node.input(position).and_then(|id| self.source.value(id).element)
    }

    /// Element type of an output in the source.
    pub(super) fn output_element(&self, position: usize) -> Option<ElementType> {
        self.node.output(position).and_then(|id| self.source.value(id).element)
    }

    /// Refuses elements that rten does not compute this on.
    pub(super) fn require(&self, id: ValueId, takes: Takes) -> Step<()> {
        let element = self.element(id)?;
        if takes.allows(element) {
            Ok(())
        } else {
            never(format!("{} computes it on {} alone, found {element}", self.engine.name(), takes.name()))
        }
    }

    /// Sizes, where the rank is known.
    pub(super) fn shape(&self, id: ValueId) -> Step<Shape> {
        self.graph
            .value(id)
            .shape
            .clone()
            .ok_or_else(|| Refusal::Sizes("the number of axes of an input is not known".to_owned()))
    }

    /// Number of axes.
    pub(super) fn rank(&self, id: ValueId) -> Step<usize> {
        Ok(self.shape(id)?.len())
    }

    /// Every size as a number.
    pub(super) fn sizes(&self, id: ValueId) -> Step<Vec<usize>> {
        self.shape(id)?.iter().map(known).collect()
    }

    /// Every size but the first as a number: a batch may stay free.
    pub(super) fn sizes_but_first(&self, id: ValueId) -> Step<Vec<usize>> {
        self.shape(id)?.iter().skip(1).map(known).collect()
    }

    /// Contents of an integer input: `None` where it is left out.
    pub(super) fn contents(&self, position: usize) -> Step<Option<Vec<i64>>> {
        let Some(id) = self.maybe(position) else { return Ok(None) };
        let numbers = self
            .graph
            .value(id)
            .contents
            .as_ref()
            .and_then(|contents| contents.iter().map(Dim::value).collect::<Option<Vec<i64>>>());
        if let Some(numbers) = numbers {
            return Ok(Some(numbers));
        }
        if let Some(numbers) = self.graph.constant(id).and_then(Tensor::to_i64) {
            return Ok(Some(numbers));
        }
        Err(Refusal::Sizes(format!("input {position} must be known before the run, and is not")))
    }

    /// Numbers of a constant input: `None` where it is left out.
    pub(super) fn numbers(&self, position: usize) -> Step<Option<Vec<f64>>> {
        let Some(id) = self.maybe(position) else { return Ok(None) };
        match self.graph.constant(id) {
            Some(tensor) => Ok(Some(tensor.to_f64())),
            None => Err(Refusal::Sizes(format!("input {position} must be known before the run, and is not"))),
        }
    }

    /// An axis attribute as an index.
    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Step<usize> {
        wrap_axis(self.node.int(name, default), rank)
    }

    /// Operators of the nodes that take an output of this node in the source.
    pub(super) fn consumers(&self, position: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let source = self.source;
        let nodes: &'a [NodeId] =
            self.node.output(position).map_or(&[], |output| &self.consumers[output.index()]);
        nodes.iter().map(move |id| source.node(*id).operator.as_str())
    }

    /// The same elements in another shape.
    pub(super) fn reshape(&mut self, x: ValueId, shape: &[i64]) -> Step<ValueId> {
        let shape = self.integers(shape)?;
        self.op("Reshape", &[x, shape])
    }

    /// Adds a unit axis at each of `axes`.
    pub(super) fn unsqueeze(&mut self, x: ValueId, axes: &[i64]) -> Step<ValueId> {
        let axes = self.integers(axes)?;
        self.op("Unsqueeze", &[x, axes])
    }

    /// Takes away unit axes.
    pub(super) fn squeeze(&mut self, x: ValueId, axes: &[i64]) -> Step<ValueId> {
        let axes = self.integers(axes)?;
        self.op("Squeeze", &[x, axes])
    }

    /// Permutes axes.
    pub(super) fn transpose(&mut self, x: ValueId, order: &[i64]) -> Step<ValueId> {
        self.add(node("Transpose", &[x]).with("perm", Attribute::Ints(order.to_vec())))
    }

    /// Every `step`th of `count` elements of one axis, from `start`.
    pub(super) fn stride(
        &mut self,
        x: ValueId,
        axis: usize,
        start: i64,
        count: i64,
        step: i64,
    ) -> Step<ValueId> {
        let end = start + (count - 1) * step + 1;
        self.slice(x, axis, start, end, step)
    }

    /// A slice of one axis.
    pub(super) fn slice(
        &mut self,
        x: ValueId,
        axis: usize,
        start: i64,
        end: i64,
        step: i64,
    ) -> Step<ValueId> {
        let start = self.integers(&[start])?;
        let end = self.integers(&[end])?;
        let axis = self.integers(&[whole(axis)])?;
        let step = self.integers(&[step])?;
        self.op("Slice", &[x, start, end, axis, step])
    }

    /// The elements of some axes in reverse order: one pass over them, however many axes there are.
    pub(super) fn mirror(&mut self, x: ValueId, axes: &[usize]) -> Step<ValueId> {
        let ones = vec![-1; axes.len()];
        let start = self.integers(&ones)?;
        let end = self.integers(&vec![i64::MIN; axes.len()])?;
        let step = self.integers(&ones)?;
        let axes: Vec<i64> = axes.iter().map(|axis| whole(*axis)).collect();
        let axes = self.integers(&axes)?;
        self.op("Slice", &[x, start, end, axes, step])
    }

    /// Pads one axis with `value`.
    pub(super) fn pad(&mut self, x: ValueId, axis: usize, begin: i64, end: i64, value: f32) -> Step<ValueId> {
        if begin == 0 && end == 0 {
            return Ok(x);
        }
        let rank = self.rank(x)?;
        let mut pads = vec![0; 2 * rank];
        pads[axis] = begin;
        pads[rank + axis] = end;
        let pads = self.integers(&pads)?;
        let value = self.float(value)?;
        self.op("Pad", &[x, pads, value])
    }

    /// Joins along an axis.
    pub(super) fn concat(&mut self, parts: &[ValueId], axis: usize) -> Step<ValueId> {
        if let [part] = parts {
            return Ok(*part);
        }
        self.add(node("Concat", parts).with("axis", Attribute::Int(whole(axis))))
    }

    /// Converts, where the elements differ.
    pub(super) fn cast(&mut self, x: ValueId, element: ElementType) -> Step<ValueId> {
        if self.element(x)? == element {
            return Ok(x);
        }
        let to = Attribute::Int(i64::from(element.onnx_code()));
        self.add(node("Cast", &[x]).with("to", to))
    }

    /// A reduction over `axes` that keeps them.
    pub(super) fn reduce(&mut self, operator: &str, x: ValueId, axes: &[i64]) -> Step<ValueId> {
        let axes = self.integers(axes)?;
        self.op(operator, &[x, axes])
    }
}

/// The size as a number.
pub(super) fn known(dim: &Dim) -> Step<usize> {
    dim.size().ok_or_else(|| Refusal::Sizes(format!("size {dim} must be a number")))
}

/// An index as ONNX writes it.
pub(super) fn whole(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// An axis that may count from the end.
pub(super) fn wrap_axis(axis: i64, rank: usize) -> Step<usize> {
    let wrapped = if axis < 0 { axis + whole(rank) } else { axis };
    match usize::try_from(wrapped) {
        Ok(index) if index < rank.max(1) => Ok(index),
        _ => never(format!("axis {axis} is outside the {rank} axes of its input")),
    }
}
