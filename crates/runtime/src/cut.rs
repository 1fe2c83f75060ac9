//! What computes one set of results, cut out of a lowered graph.
//!
//! What nothing asked for needs is left out, and what is fed is an input.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pellucid_graph::{Attribute, ElementType, Graph, NewNode, NodeId, Origin, Tensor, ValueId};

use crate::error::{RuntimeError, UnsupportedNode};
use crate::lower::Lowered;

/// What an input of the cut graph is fed with.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// What the caller feeds for a value of the source graph.
    Fed(ValueId),
    /// A shared weight.
    Weight(Tensor),
}

/// Where a result comes from.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// An output of the cut graph.
    Computed(usize),
    /// What was fed for a value of the source graph.
    Fed(ValueId),
    /// A constant.
    Constant(Tensor),
}

/// The graph that computes one set of results.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Its outputs are what is computed, each once.
    pub(crate) graph: Graph,
    /// Its inputs by name, in order.
    pub(crate) inputs: Vec<(String, Source)>,
    /// For every value asked for, where it comes from.
    pub(crate) targets: Vec<Target>,
}

/// What to cut.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The graph that was opened.
    pub(crate) source: &'a Graph,
    /// The same graph in the engine's forms.
    pub(crate) lowered: &'a Lowered,
    /// Values that are fed though they could be computed.
    pub(crate) interior: &'a BTreeSet<ValueId>,
    /// Values that are asked for.
    pub(crate) values: &'a [ValueId],
    /// Name of the engine.
    pub(crate) engine: &'static str,
    /// The tensor that is fed in place of a constant; `None` where it stays one.
    pub(crate) fed_weight: fn(&Tensor) -> Option<Tensor>,
}

/// The graph being cut.
struct Cutting<'a> {
    lowered: &'a Graph,
    graph: Graph,
    /// For values of the lowered graph.
    values: HashMap<ValueId, ValueId>,
    inputs: Vec<(String, Source)>,
    fed_weight: fn(&Tensor) -> Option<Tensor>,
}

impl Cut {
    /// Cuts out what computes the values asked for.
    ///
    /// # Errors
    /// Values whose nodes the engine cannot compute.
    pub(crate) fn new(wanted: &Wanted<'_>) -> Result<Self, RuntimeError> {
        let Wanted { source, lowered, interior, .. } = *wanted;
        // What is fed, by its id in the lowered graph.
        let mut fed: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for id in source.inputs().iter().chain(interior) {
            if let Some(place) = lowered.values[id.index()] {
                fed.insert(place, *id);
            }
        }
        let mut targets = Vec::with_capacity(wanted.values.len());
        let mut computed: Vec<ValueId> = Vec::new();
        for id in wanted.values {
            if interior.contains(id) {
                targets.push(Target::Fed(*id));
                continue;
            }
            let Some(place) = lowered.values[id.index()] else {
                let tensor = constant(source, *id).ok_or_else(|| not_lowered(wanted.engine, source, *id))?;
                targets.push(Target::Constant(tensor));
                continue;
            };
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
        let (graph, inputs) = cut(&lowered.graph, &fed, &computed, wanted.fed_weight)?;
        Ok(Self { graph, inputs, targets })
    }
}

/// A value that depends on constants alone: one that lowering folded into others holds no place.
fn constant(source: &Graph, id: ValueId) -> Option<Tensor> {
    let results = pellucid_reference::run(source, &[], &[id]).ok()?;
    results.first()?.to_tensor(source.value(id).element?).ok()
}

/// The error that a value's node cannot be lowered.
fn not_lowered(engine: &'static str, graph: &Graph, id: ValueId) -> RuntimeError {
    let node = graph.producer_of(id).map(|node| graph.node(node));
    RuntimeError::Unsupported {
        engine,
        nodes: vec![UnsupportedNode {
            name: node.map_or_else(String::new, |node| node.name.clone()),
            operator: node.map_or_else(String::new, |node| node.operator.clone()),
            reason: format!("{:?} depends on a node that is not computed", graph.value(id).name),
        }],
    }
}

/// The part of `graph` between `fed` and `computed`, and what its inputs are fed with.
pub(crate) fn within(
    graph: &Graph,
    fed: &BTreeMap<ValueId, ValueId>,
    computed: &[ValueId],
) -> Result<(Graph, Vec<(String, Source)>), RuntimeError> {
    cut(graph, fed, computed, |_| None)
}

/// The part of `lowered` between `fed` and `computed`.
fn cut(
    lowered: &Graph,
    fed: &BTreeMap<ValueId, ValueId>,
    computed: &[ValueId],
    fed_weight: fn(&Tensor) -> Option<Tensor>,
) -> Result<(Graph, Vec<(String, Source)>), RuntimeError> {
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
    let mut cut = Cutting { lowered, graph, values: HashMap::new(), inputs: Vec::new(), fed_weight };
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
    Ok((cut.graph, cut.inputs))
}

impl Cutting<'_> {
    fn input(&mut self, id: ValueId, source: Source) -> Result<(), RuntimeError> {
        let value = self.lowered.value(id);
        let element = value.element.unwrap_or(ElementType::F32);
        let new = self.graph.add_input(value.name.clone(), element, value.shape.clone())?;
        self.inputs.push((value.name.clone(), source));
        self.values.insert(id, new);
        Ok(())
    }

    fn constant(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RuntimeError> {
        if let Some(weight) = (self.fed_weight)(tensor) {
            return self.input(id, Source::Weight(weight));
        }
        let name = self.lowered.value(id).name.clone();
        let new = self.graph.add_constant(name, tensor.clone())?;
        self.values.insert(id, new);
        Ok(())
    }

    fn node(&mut self, id: NodeId, fed: &BTreeMap<ValueId, ValueId>) -> Result<(), RuntimeError> {
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
