//! Nodes of constants, computed as a graph is handed over.
//!
//! onnxruntime folds them itself, but holds what they are made of and what comes of it as messages of its own while it
//! loads: for a gradient, whose kernels are turned around, that is the peak. Here a large one is computed when it is
//! written, one after the other, and never stands beside the rest.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Node, NodeId, Origin, Tensor, ValueId};
use pellucid_reference::{Array, evaluate};

use crate::error::RuntimeError;
use crate::folding;

/// Bytes of a result that may always be a constant.
const SMALL: usize = 1 << 20;

/// Nodes of constants in a row that are computed only when they are written; the next is computed at once.
const ROW: usize = 8;

/// A graph without nodes of constants.
pub(super) struct Folded<'a> {
    /// Inputs and outputs have their names and order. Constants that are computed when they are written hold zeros.
    pub(super) graph: Graph,
    source: &'a Graph,
    constants: HashMap<ValueId, Held>,
    /// Constants that hold zeros, by name.
    later: HashMap<String, ValueId>,
}

/// A constant of the source.
enum Held {
    Tensor(Tensor),
    /// The node that makes it, and how many such stand behind it.
    Made(NodeId, usize),
}

impl<'a> Folded<'a> {
    /// Folds `source`. Results of at least `large` bytes are computed by [`Folded::content`] alone; nodes that make much
    /// more than they take stay.
    ///
    /// Nodes come in the order of their depth. Of what a node reads, the engine computes first what comes from the later
    /// node: what a backward pass needs of the forward values (denominators, masks) is then computed where it is read,
    /// and not held from the forward pass on.
    ///
    /// # Errors
    /// A graph that cannot be written anew, which would be a fault of this pass.
    pub(super) fn new(source: &'a Graph, large: usize) -> Result<Self, RuntimeError> {
        let mut graph = Graph::new();
        graph.name.clone_from(&source.name);
        let folded = Self { graph, source, constants: HashMap::new(), later: HashMap::new() };
        let mut folding = Folding { folded, large, values: HashMap::new(), zeros: Bytes::new() };
        for id in source.value_ids() {
            if let Origin::Constant(tensor) = &source.value(id).origin {
                folding.folded.constants.insert(id, Held::Tensor(tensor.clone()));
            }
        }
        for id in source.inputs() {
            let value = source.value(*id);
            let element = value.element.unwrap_or(ElementType::F32);
            let input = folding.folded.graph.add_input(value.name.clone(), element, value.shape.clone())?;
            folding.values.insert(*id, input);
        }
        for id in by_depth(source) {
            match folding.fold(id) {
                Some(results) => folding.folded.constants.extend(results),
                None => folding.keep(id)?,
            }
        }
        let outputs =
            source.outputs().iter().map(|id| folding.place(*id)).collect::<Result<Vec<ValueId>, _>>()?;
        folding.folded.graph.set_outputs(outputs);
        Ok(folding.folded)
    }

    /// The bytes of the constant `name` of the graph, which holds `tensor`; `None` where the interpreter cannot
    /// compute it.
    pub(super) fn content(&self, name: &str, tensor: &Tensor) -> Option<Tensor> {
        self.later.get(name).map_or_else(|| Some(tensor.clone()), |id| self.value(*id))
    }

    /// A constant's tensor, computed where it is not held.
    fn value(&self, id: ValueId) -> Option<Tensor> {
        match self.constants.get(&id)? {
            Held::Tensor(tensor) => Some(tensor.clone()),
            Held::Made(node, _) => {
                let results = self.compute(self.source.node(*node))?;
                results.into_iter().find(|(output, _)| *output == id).map(|(_, tensor)| tensor)
            }
        }
    }

    /// The outputs of a node of constants.
    fn compute(&self, node: &Node) -> Option<Vec<(ValueId, Tensor)>> {
        let inputs: Vec<Option<Tensor>> = node
            .inputs
            .iter()
            .map(|input| input.map(|input| self.value(input).ok_or(())).transpose())
            .collect::<Result<_, ()>>()
            .ok()?;
        if let ([Some(output)], Some(tensor)) =
            (&node.outputs[..], folding::compute(self.source, node, &inputs))
        {
            return Some(vec![(*output, tensor)]);
        }
        let arrays: Vec<Option<Array>> = inputs
            .iter()
            .map(|input| input.as_ref().map(Array::try_from).transpose())
            .collect::<Result<_, _>>()
            .ok()?;
        let arrays: Vec<Option<&Array>> = arrays.iter().map(Option::as_ref).collect();
        let results = evaluate(self.source, node, &arrays).ok()?;
        let mut computed = Vec::new();
        for (output, result) in node.outputs.iter().zip(results) {
            let Some(output) = output else { continue };
            computed.push((*output, result.to_tensor(self.source.value(*output).element?).ok()?));
        }
        Some(computed)
    }
}

struct Folding<'a> {
    folded: Folded<'a>,
    large: usize,
    /// Where values of the source are in the new graph; constants only once they are read.
    values: HashMap<ValueId, ValueId>,
    /// What stands for a constant that is computed later; never written to, so it takes no memory.
    zeros: Bytes,
}

impl Folding<'_> {
    /// What becomes of a node's outputs, where its inputs are constants and it does not make much more than it takes.
    fn fold(&self, id: NodeId) -> Option<Vec<(ValueId, Held)>> {
        let source = self.folded.source;
        let node = source.node(id);
        if node.inputs.iter().all(Option::is_none) || has_body(node) {
            return None;
        }
        let (mut given, mut row) = (0usize, 0);
        for input in node.inputs.iter().flatten() {
            let behind = match self.folded.constants.get(input)? {
                Held::Tensor(_) => 0,
                Held::Made(_, behind) => behind + 1,
            };
            row = row.max(behind);
            given = given.saturating_add(size(source, *input)?);
        }
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let made = outputs.iter().try_fold(0usize, |sum, id| Some(sum.saturating_add(size(source, *id)?)))?;
        if made > SMALL && made > given.saturating_mul(2) {
            return None;
        }
        // Each by itself: what is smaller is written into the model, and would be read as it stands there.
        let all_large = outputs.iter().all(|id| size(source, *id).is_some_and(|size| size >= self.large));
        if all_large && row < ROW {
            return Some(outputs.into_iter().map(|output| (output, Held::Made(id, row))).collect());
        }
        let computed = self.folded.compute(node)?;
        Some(computed.into_iter().map(|(output, tensor)| (output, Held::Tensor(tensor))).collect())
    }

    /// A value of the source in the new graph.
    fn place(&mut self, id: ValueId) -> Result<ValueId, RuntimeError> {
        if let Some(place) = self.values.get(&id) {
            return Ok(*place);
        }
        let value = self.folded.source.value(id);
        let name = value.name.clone();
        let tensor = match self.folded.constants.get(&id) {
            Some(Held::Tensor(tensor)) => Some(tensor.clone()),
            Some(Held::Made(..)) => {
                self.folded.later.insert(name.clone(), id);
                self.placeholder(id)
            }
            None => None,
        };
        let tensor =
            tensor.ok_or_else(|| super::failed(format!("{name:?} is read before it is computed")))?;
        let place = self.folded.graph.add_constant(name, tensor)?;
        self.values.insert(id, place);
        Ok(place)
    }

    /// Zeros in the form of a value.
    fn placeholder(&mut self, id: ValueId) -> Option<Tensor> {
        let value = self.folded.source.value(id);
        let bytes = size(self.folded.source, id)?;
        if self.zeros.len() < bytes {
            self.zeros = Bytes::from(vec![0; bytes]);
        }
        Tensor::new(value.element?, value.static_shape()?, self.zeros.slice(..bytes)).ok()
    }

    /// Writes the node into the new graph.
    fn keep(&mut self, id: NodeId) -> Result<(), RuntimeError> {
        let source = self.folded.source;
        for value in source.dependencies(id) {
            self.place(value)?;
        }
        let node = source.node(id);
        let mut attributes = node.attributes.clone();
        for attribute in attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                body.renumber_captures(|outer| self.values[&outer]);
            }
        }
        let name = |output: &Option<ValueId>| {
            output.map_or_else(String::new, |output| source.value(output).name.clone())
        };
        let graph = &mut self.folded.graph;
        let new = graph.push(NewNode {
            operator: node.operator.clone(),
            name: node.name.clone(),
            inputs: node.inputs.iter().map(|input| input.map(|input| self.values[&input])).collect(),
            outputs: node.outputs.iter().map(name).collect(),
            attributes,
            metadata: BTreeMap::new(),
        })?;
        let made = graph.node(new).outputs.clone();
        let pairs = node.outputs.iter().zip(made);
        self.values.extend(pairs.filter_map(|(old, new)| Some(((*old)?, new?))));
        Ok(())
    }
}

/// The nodes, those first that least lies before.
fn by_depth(graph: &Graph) -> Vec<NodeId> {
    let mut depths: HashMap<ValueId, usize> = HashMap::new();
    let mut nodes: Vec<(usize, NodeId)> = graph
        .node_ids()
        .map(|id| {
            let behind = graph.dependencies(id).into_iter().filter_map(|value| depths.get(&value)).max();
            let depth = behind.map_or(0, |behind| behind + 1);
            depths.extend(graph.node(id).outputs.iter().flatten().map(|output| (*output, depth)));
            (depth, id)
        })
        .collect();
    nodes.sort_by_key(|(depth, _)| *depth);
    nodes.into_iter().map(|(_, id)| id).collect()
}

/// Bytes of a value; `None` where its sizes are free.
fn size(graph: &Graph, id: ValueId) -> Option<usize> {
    let value = graph.value(id);
    pellucid_graph::element_count(&value.static_shape()?)?.checked_mul(value.element?.size())
}

/// Whether an attribute is a graph.
fn has_body(node: &Node) -> bool {
    node.attributes.values().any(|attribute| matches!(attribute, Attribute::Graph(_)))
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Dim, NewNode};

    use super::*;

    fn kernel() -> Tensor {
        let values: Vec<f32> = (0u8..24).map(f32::from).collect();
        Tensor::from_f32(vec![2, 3, 2, 2], &values).unwrap()
    }

    /// A kernel turned around as lowering writes it, read by a convolution.
    fn turned(graph: &mut Graph) -> ValueId {
        let kernel = graph.add_constant("kernel", kernel()).unwrap();
        let mut new = NewNode::new("Transpose", &[kernel], "transposed");
        new.attributes.insert("perm".to_owned(), Attribute::Ints(vec![1, 0, 2, 3]));
        let transposed = graph.push_one(new).unwrap();
        let mut list = |name: &str, values: &[i64]| {
            graph.add_constant(name, Tensor::from_i64(vec![values.len()], values).unwrap()).unwrap()
        };
        let minus = list("minus", &[-1, -1]);
        let end = list("end", &[i64::MIN, i64::MIN]);
        let axes = list("axes", &[2, 3]);
        graph.push_one(NewNode::new("Slice", &[transposed, minus, end, axes, minus], "turned")).unwrap()
    }

    #[test]
    fn a_turned_kernel_becomes_a_constant_of_the_interpreters_values() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some([1, 2, 5, 5].map(Dim::known).to_vec())).unwrap();
        let turned = turned(&mut graph);
        let y = graph.push_one(NewNode::new("Conv", &[x, turned], "y")).unwrap();
        graph.set_outputs(vec![y, turned]);
        let wanted = pellucid_reference::run(&graph, &[(x, zeros())], &[turned]).unwrap();
        let wanted = wanted[0].to_tensor(ElementType::F32).unwrap();
        for (large, computed_at_once) in [(1, false), (1 << 20, true)] {
            let folded = Folded::new(&graph, large).unwrap();
            let new = &folded.graph;
            assert_eq!(new.nodes().len(), 1, "the convolution stays");
            assert_eq!(new.value(new.inputs()[0]).name, "x");
            assert_eq!(new.value_ids().filter(|id| new.constant(*id).is_some()).count(), 1);
            let (name, held) = (&new.value(new.outputs()[1]).name, new.constant(new.outputs()[1]).unwrap());
            assert_eq!(held.to_f32() == wanted.to_f32(), computed_at_once);
            let content = folded.content(name, held).unwrap();
            assert_eq!((content.shape(), content.to_f32()), (wanted.shape(), wanted.to_f32()));
        }
    }

    /// Of a node's outputs only large ones are read beside the model: a small one must stand in it.
    #[test]
    fn a_small_output_beside_a_large_one_is_computed() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::known(24)])).unwrap();
        let values: Vec<f32> = (1u8..=24).map(f32::from).collect();
        let table = graph.add_constant("table", Tensor::from_f32(vec![24], &values).unwrap()).unwrap();
        let sizes = graph.add_constant("sizes", Tensor::from_i64(vec![2], &[4, 20]).unwrap()).unwrap();
        let mut new = NewNode::new("Split", &[table, sizes], "small");
        new.outputs.push("large".to_owned());
        let split = graph.push(new).unwrap();
        let outputs: Vec<ValueId> = graph.node(split).outputs.iter().flatten().copied().collect();
        let y = graph
            .push_one(NewNode::new("Concat", &outputs, "again").with("axis", Attribute::Int(0)))
            .unwrap();
        let y = graph.push_one(NewNode::new("Add", &[x, y], "y")).unwrap();
        graph.set_outputs(vec![y, outputs[0], outputs[1]]);
        let folded = Folded::new(&graph, 50).unwrap();
        let new = &folded.graph;
        let small = new.constant(new.outputs()[1]).unwrap();
        assert_eq!(small.to_f32(), values[..4]);
        let (name, large) = (&new.value(new.outputs()[2]).name, new.constant(new.outputs()[2]).unwrap());
        assert_eq!(folded.content(name, large).unwrap().to_f32(), values[4..]);
    }

    #[test]
    fn nodes_come_in_the_order_of_their_depth() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::known(2)])).unwrap();
        let first = graph.push_one(NewNode::new("Relu", &[x], "first")).unwrap();
        let second = graph.push_one(NewNode::new("Neg", &[first], "second")).unwrap();
        let late = graph.push_one(NewNode::new("Abs", &[first], "late")).unwrap();
        let both = graph.push_one(NewNode::new("Neg", &[second], "deep")).unwrap();
        let early = graph.push_one(NewNode::new("Abs", &[x], "early")).unwrap();
        let sum = graph.push_one(NewNode::new("Add", &[both, late], "sum")).unwrap();
        let last = graph.push_one(NewNode::new("Add", &[sum, early], "last")).unwrap();
        graph.set_outputs(vec![last]);
        let folded = Folded::new(&graph, 1).unwrap();
        let made = folded.graph.nodes().iter().flat_map(|node| node.outputs.iter().flatten());
        let names: Vec<&str> = made.map(|id| folded.graph.value(*id).name.as_str()).collect();
        assert_eq!(names, ["first", "early", "second", "late", "deep", "sum", "last"]);
    }

    fn zeros() -> Array {
        Array::try_from(&Tensor::from_f32(vec![1, 2, 5, 5], &[0.0; 50]).unwrap()).unwrap()
    }
}
