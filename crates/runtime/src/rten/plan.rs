//! One loaded model for one set of results.
//!
//! What nothing asked for needs is left out, and what is fed is an input. Large weights are inputs of the model, fed as views of the bytes that all sessions share:
//! they are never copied into rten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use ::rten::{Model, ModelOptions, NodeId};
use pellucid_graph::onnx::{EncodeOptions, encode};
use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Origin, Tensor, ValueId};

use super::schedule::schedule;
use super::{guarded, not_lowered};
use crate::error::RuntimeError;
use crate::lower::Lowered;
use crate::memory;
use crate::weights;

/// Constants of more bytes than this are fed as views; smaller ones are written into the model.
const VIEWED: usize = 4096;

/// rten keeps freed buffers for later values, of which each takes the smallest that is large enough: ResNet-50 with
/// its gradient took 1.3 to 2.3 times what its values need at their peak.
const RETAINED: u64 = 2;

/// What an input of the model is fed with.
pub(super) enum Source {
    /// What the caller feeds for a value of the source graph.
    Fed(ValueId),
    /// A shared weight.
    Weight(Tensor),
}

/// An input of the model.
pub(super) struct Input {
    pub(super) source: Source,
    pub(super) node: NodeId,
}

/// Where a result comes from.
#[derive(Clone)]
pub(super) enum Target {
    /// A result of the model.
    Computed(usize),
    /// What was fed for a value of the source graph.
    Fed(ValueId),
    /// A constant.
    Constant(Tensor),
}

/// A model loaded for one set of results.
pub(super) struct Plan {
    pub(super) model: Model,
    pub(super) inputs: Vec<Input>,
    /// Results of the model, each once.
    pub(super) nodes: Vec<NodeId>,
    /// For every value asked for, where it comes from.
    pub(super) targets: Vec<Target>,
    /// Nodes, the longest that a chain of them can be.
    pub(super) depth: usize,
    graph: Graph,
    peaks: Mutex<HashMap<BTreeMap<String, i64>, u64>>,
}

/// The graph that is loaded, being cut out of the lowered one.
struct Cut<'a> {
    lowered: &'a Graph,
    graph: Graph,
    /// For values of the lowered graph.
    values: HashMap<ValueId, ValueId>,
    /// Inputs of the cut graph, by name.
    inputs: Vec<(String, Source)>,
}

impl Plan {
    /// Loads what computes `wanted` of `source`, the values `interior` being fed.
    pub(super) fn new(
        source: &Graph,
        lowered: &Lowered,
        interior: &BTreeSet<ValueId>,
        wanted: &[ValueId],
    ) -> Result<Self, RuntimeError> {
        // What is fed, by its id in the lowered graph.
        let mut fed: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for id in source.inputs().iter().chain(interior) {
            if let Some(place) = lowered.values[id.index()] {
                fed.insert(place, *id);
            }
        }
        let mut targets = Vec::with_capacity(wanted.len());
        let mut computed: Vec<ValueId> = Vec::new();
        for id in wanted {
            if interior.contains(id) {
                targets.push(Target::Fed(*id));
                continue;
            }
            let place = lowered.values[id.index()].ok_or_else(|| not_lowered(source, *id))?;
            targets.push(if let Some(origin) = fed.get(&place) {
                Target::Fed(*origin)
            } else if let Some(tensor) = source.constant(*id).or_else(|| lowered.graph.constant(place)) {
                Target::Constant(tensor.clone())
            } else if let Some(position) = computed.iter().position(|other| *other == place) {
                Target::Computed(position)
            } else {
                computed.push(place);
                Target::Computed(computed.len() - 1)
            });
        }
        let cut = cut(&lowered.graph, &fed, &computed)?;
        let model = load(&cut.graph)?;
        let inputs = cut
            .inputs
            .into_iter()
            .map(|(name, source)| {
                let node = guarded(|| model.node_id(&name).map_err(|error| error.to_string()))?;
                Ok(Input { source, node })
            })
            .collect::<Result<Vec<Input>, RuntimeError>>()?;
        // Each result is asked for once.
        let mut nodes: Vec<NodeId> = Vec::new();
        let places: Vec<usize> = model
            .output_ids()
            .iter()
            .map(|id| {
                nodes.iter().position(|other| other == id).unwrap_or_else(|| {
                    nodes.push(*id);
                    nodes.len() - 1
                })
            })
            .collect();
        for target in &mut targets {
            if let Target::Computed(position) = target {
                *position = places.get(*position).copied().unwrap_or(usize::MAX);
            }
        }
        let depth = cut.graph.nodes().len();
        Ok(Self { model, inputs, nodes, targets, depth, graph: cut.graph, peaks: Mutex::default() })
    }

    /// Bytes at the peak of a run, symbols standing for `sizes`.
    pub(super) fn peak(&self, sizes: &BTreeMap<String, i64>) -> Result<u64, RuntimeError> {
        if let Some(peak) = self.peaks.lock().unwrap_or_else(PoisonError::into_inner).get(sizes) {
            return Ok(*peak);
        }
        let graph = self.graph.bind(sizes)?;
        let bytes = memory::bytes(&graph, &schedule(&graph), |_| 4);
        let peak = bytes.held.saturating_add(bytes.computed.saturating_mul(RETAINED));
        self.peaks.lock().unwrap_or_else(PoisonError::into_inner).insert(sizes.clone(), peak);
        Ok(peak)
    }
}

/// The part of `lowered` between `fed` and `computed`.
fn cut<'a>(
    lowered: &'a Graph,
    fed: &BTreeMap<ValueId, ValueId>,
    computed: &[ValueId],
) -> Result<Cut<'a>, RuntimeError> {
    let mut needed = vec![false; lowered.values().len()];
    for id in computed {
        needed[id.index()] = true;
    }
    let mut nodes = vec![false; lowered.nodes().len()];
    for id in lowered.node_ids().rev() {
        let outputs = lowered.node(id).outputs.iter().flatten();
        if outputs.into_iter().any(|output| needed[output.index()] && !fed.contains_key(output)) {
            nodes[id.index()] = true;
            for value in lowered.dependencies(id) {
                needed[value.index()] = true;
            }
        }
    }
    let mut graph = Graph::new();
    "model".clone_into(&mut graph.name);
    let mut cut = Cut { lowered, graph, values: HashMap::new(), inputs: Vec::new() };
    for id in lowered.value_ids().filter(|id| needed[id.index()]) {
        let value = lowered.value(id);
        if let Some(origin) = fed.get(&id) {
            cut.input(id, Source::Fed(*origin))?;
            continue;
        }
        match &value.origin {
            Origin::Constant(tensor) => cut.constant(id, tensor)?,
            Origin::Node(node, _) if nodes[node.index()] && !cut.values.contains_key(&id) => {
                cut.node(*node, fed)?;
            }
            Origin::Node(..) | Origin::Input | Origin::Captured(_) => {}
        }
    }
    let outputs = computed.iter().filter_map(|id| cut.values.get(id).copied()).collect();
    cut.graph.set_outputs(outputs);
    Ok(cut)
}

impl Cut<'_> {
    fn input(&mut self, id: ValueId, source: Source) -> Result<(), RuntimeError> {
        let value = self.lowered.value(id);
        let element = value.element.unwrap_or(ElementType::F32);
        let new = self.graph.add_input(value.name.clone(), element, value.shape.clone())?;
        self.inputs.push((value.name.clone(), source));
        self.values.insert(id, new);
        Ok(())
    }

    fn constant(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RuntimeError> {
        if tensor.element() == ElementType::F32 && tensor.bytes().len() > VIEWED {
            return self.input(id, Source::Weight(weights::aligned(tensor)));
        }
        let name = self.lowered.value(id).name.clone();
        let new = self.graph.add_constant(name, tensor.clone())?;
        self.values.insert(id, new);
        Ok(())
    }

    fn node(
        &mut self,
        id: pellucid_graph::NodeId,
        fed: &BTreeMap<ValueId, ValueId>,
    ) -> Result<(), RuntimeError> {
        let node = self.lowered.node(id);
        let mut attributes = node.attributes.clone();
        for attribute in attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                body.renumber_captures(|outer| self.values[&outer]);
            }
        }
        let name = |output: &Option<ValueId>| match output {
            Some(id) if !fed.contains_key(id) => self.lowered.value(*id).name.clone(),
            _ => String::new(),
        };
        let new = self.graph.push(NewNode {
            operator: node.operator.clone(),
            name: node.name.clone(),
            inputs: node.inputs.iter().map(|input| input.map(|input| self.values[&input])).collect(),
            outputs: node.outputs.iter().map(name).collect(),
            attributes,
            metadata: BTreeMap::new(),
        })?;
        let outputs = self.graph.node(new).outputs.clone();
        for (old, new) in node.outputs.iter().zip(outputs) {
            if let (Some(old), Some(new)) = (old, new) {
                self.values.insert(*old, new);
            }
        }
        Ok(())
    }
}

/// Hands the graph to rten as it is. Its optimisations stay off: they drop unit axes that a constant adds, fuse
/// normalisations and biases whose shapes then do not fit, and match constants within a tolerance.
fn load(graph: &Graph) -> Result<Model, RuntimeError> {
    let options = EncodeOptions { omit_value_info: true, keep_later: true, ..EncodeOptions::default() };
    let encoded = encode(graph, &options)?;
    guarded(|| {
        ModelOptions::with_all_ops()
            .enable_optimization(false)
            .load(encoded.model)
            .map_err(|error| error.to_string())
    })
}
