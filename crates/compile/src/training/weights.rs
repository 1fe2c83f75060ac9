//! Which constants of a model are trained, and the model with those as inputs.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Attribute, Graph, NewNode, NodeId, Tensor, ValueId};

use super::config::{Statistics, TrainingConfig};
use super::copy::{Changes, Copy};
use crate::error::{CompileError, Result};
use crate::kind::{Form, Kind};
use crate::layer::modules;
use crate::ops::{bias_of, kind_of};
use crate::suggest::nearest;

/// A weight that is trained, in the prepared graph.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    /// The input that it became.
    pub(super) id: ValueId,
    /// What it is before the first step.
    pub(super) start: Tensor,
    /// Factor on the learning rate.
    pub(super) factor: f64,
    /// Whether it decays.
    pub(super) decays: bool,
}

/// A running statistic of a normalisation, in the prepared graph.
#[derive(Debug, Clone)]
pub(super) struct Statistic {
    /// The input that it became.
    pub(super) id: ValueId,
    /// What it is before the first step.
    pub(super) start: Tensor,
    /// The batch's own.
    pub(super) batch: ValueId,
    /// Weight of the batch.
    pub(super) factor: f64,
    /// For a variance, the value that is normalised.
    pub(super) variance_of: Option<ValueId>,
}

/// A factor that a step takes for what is dropped, in the prepared graph.
#[derive(Debug, Clone)]
pub(super) struct Dropped {
    /// The input.
    pub(super) id: ValueId,
    /// Share that is dropped.
    pub(super) ratio: f64,
}

/// A model that takes its weights.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) graph: Graph,
    /// What is trained, a value of the prepared graph.
    pub(super) value: ValueId,
    pub(super) weights: Vec<Weight>,
    pub(super) frozen: Vec<String>,
    pub(super) statistics: Vec<Statistic>,
    pub(super) dropped: Vec<Dropped>,
    /// Batch normalisations, and those that keep their running statistics.
    pub(super) normalizations: (usize, usize),
}

/// Float constants that `value` depends on and a step changes: weights and biases of products, scales and shifts of
/// normalisations, learned slopes; and any others of more than one element, but for those that configure an operator: running
/// statistics, which are measured rather than learned, and scales of a resize; and for masks, which hold numbers that no
/// weight has.
pub fn trainable(graph: &Graph, value: ValueId) -> Vec<ValueId> {
    let mut needed = BTreeSet::from([value]);
    let (mut settings, mut learned) = (BTreeSet::new(), BTreeSet::new());
    for id in graph.node_ids().rev() {
        let node = graph.node(id);
        if node.outputs.iter().flatten().any(|output| needed.contains(output)) {
            needed.extend(graph.dependencies(id));
            let configures = |index: &usize| match node.operator.as_str() {
                "BatchNormalization" => matches!(index, 3 | 4),
                "Resize" => matches!(index, 1 | 2),
                "Dropout" | "Clip" => *index > 0,
                "QuantizeLinear" | "DequantizeLinear" => matches!(index, 1 | 2),
                _ => false,
            };
            settings.extend((0..node.inputs.len()).filter(configures).filter_map(|index| node.input(index)));
            learned.extend(learned_by(graph, id));
        }
    }
    let is_weight = |id: &ValueId, tensor: &Tensor| {
        let numbers = tensor.to_f64();
        tensor.element().is_float()
            && numbers.iter().all(|number| number.is_finite())
            && (learned.contains(id) || tensor.len() > 1 && numbers.iter().all(|number| number.abs() < MASK))
    };
    let weights = needed.difference(&settings).copied();
    weights.filter(|id| graph.constant(*id).is_some_and(|tensor| is_weight(id, tensor))).collect()
}

/// What a node has learned, whatever it holds: one number is a weight where a layer has one output.
fn learned_by(graph: &Graph, id: NodeId) -> Vec<ValueId> {
    let node = graph.node(id);
    let product = |id: NodeId| {
        let kind = kind_of(graph, id);
        matches!(kind, Some(Kind::Linear(Form::Convolution | Form::Dense) | Kind::Bilinear))
    };
    let places = match node.operator.as_str() {
        "BatchNormalization" | "InstanceNormalization" | "GroupNormalization" | "LayerNormalization" => 1..3,
        "PRelu" => 1..2,
        // A bias that is a node of its own: a row behind a product with weights.
        "Add" => {
            let of_product = node.inputs.iter().flatten().any(|input| {
                graph.producer_of(*input).is_some_and(|before| {
                    let weights = graph.node(before).input(1).and_then(|weights| graph.constant(weights));
                    product(before) && weights.is_some()
                })
            });
            let row = |id: &ValueId| graph.constant(*id).is_some_and(|tensor| tensor.shape().len() == 1);
            return node.inputs.iter().flatten().copied().filter(|id| of_product && row(id)).collect();
        }
        _ if product(id) => 1..node.inputs.len(),
        _ => 0..0,
    };
    places.filter_map(|at| node.input(at)).collect()
}

/// Numbers from here on are a mask's: what is added before a softmax to leave positions out.
const MASK: f64 = 1e4;

/// What is said of a weight.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    factor: f64,
    frozen: bool,
    decays: bool,
}

/// What `config` says of each of `weights`.
fn choose(model: &Graph, weights: &[ValueId], config: &TrainingConfig) -> Result<BTreeMap<ValueId, Chosen>> {
    let consumers = model.consumers();
    let names: Vec<Vec<String>> = weights
        .iter()
        .map(|id| {
            let of_modules = consumers[id.index()].iter().flat_map(|node| modules(model, *node));
            std::iter::once(model.value(*id).name.clone()).chain(of_modules).collect()
        })
        .collect();
    let mut chosen = BTreeMap::new();
    for id in weights {
        let decays = consumers[id.index()].iter().any(|node| multiplies(model, *node, *id));
        chosen.insert(*id, Chosen { factor: 1.0, frozen: false, decays });
    }
    for rule in &config.weights {
        let mut met = false;
        for (id, names) in weights.iter().zip(&names) {
            if !rule.fits(names.iter().map(String::as_str)) {
                continue;
            }
            met = true;
            let Some(chosen) = chosen.get_mut(id) else { continue };
            chosen.factor = rule.learning_rate.unwrap_or(chosen.factor);
            chosen.frozen = rule.frozen.unwrap_or(chosen.frozen);
            chosen.decays = rule.decay.unwrap_or(chosen.decays);
        }
        if !met {
            let all = || names.iter().flatten().map(String::as_str);
            let near = nearest(&rule.pattern, all())
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            return Err(CompileError::Setting(format!(
                "no weight or module is called {:?}{near}",
                rule.pattern
            )));
        }
    }
    Ok(chosen)
}

/// Whether a node multiplies its other input by the weight: the weights that decay. A bias is added, and a
/// normalisation's scale belongs to one number.
fn multiplies(model: &Graph, node: NodeId, weight: ValueId) -> bool {
    let kind = kind_of(model, node);
    let product = matches!(kind, Some(Kind::Linear(Form::Convolution | Form::Dense) | Kind::Bilinear));
    let several =
        model.value(weight).shape.iter().flatten().filter(|size| size.value() != Some(1)).count() > 1;
    if product {
        let position = model.node(node).inputs.iter().position(|input| *input == Some(weight));
        return position.is_some() && position != bias_of(model, node) && several_axes(model, weight);
    }
    // A table of embeddings, or weights that are turned or cut before they multiply.
    several && matches!(kind, Some(Kind::Move))
}

fn several_axes(model: &Graph, weight: ValueId) -> bool {
    model.value(weight).shape.as_ref().is_some_and(|shape| shape.len() > 1)
}

/// The model, `value` of which is trained, with its weights as inputs, normalised as `config` says.
pub(super) fn prepared(model: &Graph, value: ValueId, config: &TrainingConfig) -> Result<Prepared> {
    let trainable = trainable(model, value);
    let chosen = choose(model, &trainable, config)?;
    let of_batch = |id: NodeId| {
        let node = model.node(id);
        let known = |input| node.input(input).is_some_and(|id| model.constant(id).is_some());
        node.operator == "BatchNormalization"
            && config.statistics == Statistics::Batch
            && node.int("training_mode", 0) == 0
            && known(3)
            && known(4)
            && node.input(1).is_none_or(|scale| !chosen.get(&scale).is_some_and(|chosen| chosen.frozen))
    };
    let batch: BTreeSet<NodeId> = model.node_ids().filter(|id| of_batch(*id)).collect();
    let normalizations = model.nodes().iter().filter(|node| node.operator == "BatchNormalization").count();
    let statistics =
        batch.iter().flat_map(|id| [3, 4].into_iter().filter_map(|at| model.node(*id).input(at)));
    let mut changes = Preparing {
        chosen: &chosen,
        statistics: statistics.collect(),
        batch: &batch,
        weights: Vec::new(),
        frozen: Vec::new(),
        measured: Vec::new(),
        starts: BTreeMap::new(),
        dropped: Vec::new(),
    };
    let copy = Copy::write(model, &mut changes)?;
    let value = copy.at(value)?;
    Ok(Prepared {
        graph: copy.graph,
        value,
        weights: changes.weights,
        frozen: changes.frozen,
        statistics: changes.measured,
        dropped: changes.dropped,
        normalizations: (normalizations, normalizations - batch.len()),
    })
}

struct Preparing<'a> {
    chosen: &'a BTreeMap<ValueId, Chosen>,
    statistics: BTreeSet<ValueId>,
    batch: &'a BTreeSet<NodeId>,
    weights: Vec<Weight>,
    frozen: Vec<String>,
    measured: Vec<Statistic>,
    /// What the inputs of statistics are before the first step.
    starts: BTreeMap<ValueId, Tensor>,
    dropped: Vec<Dropped>,
}

impl Changes for Preparing<'_> {
    fn constant(&mut self, copy: &mut Copy<'_>, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
        if self.statistics.contains(&id) {
            let new = copy.as_input(id, tensor)?;
            self.starts.insert(new, tensor.clone());
            return Ok(new);
        }
        match self.chosen.get(&id) {
            Some(Chosen { frozen: false, factor, decays }) => {
                let new = copy.as_input(id, tensor)?;
                let (factor, decays) = (*factor, *decays);
                self.weights.push(Weight { id: new, start: tensor.clone(), factor, decays });
                Ok(new)
            }
            Some(Chosen { frozen: true, .. }) => {
                self.frozen.push(copy.of_source(id).name.clone());
                copy.keep_constant(id, tensor)
            }
            None => copy.keep_constant(id, tensor),
        }
    }

    fn node(&mut self, copy: &mut Copy<'_>, id: NodeId, new: NewNode) -> Result<()> {
        if self.batch.contains(&id) {
            return self.normalization(copy, id, new);
        }
        if new.operator == "Dropout" {
            return self.dropout(copy, id, new);
        }
        copy.push(id, new)
    }
}

impl Preparing<'_> {
    /// By the batch's own statistics, which the node gives beside its result: with momentum 0 the running ones are
    /// those.
    fn normalization(&mut self, copy: &mut Copy<'_>, id: NodeId, mut new: NewNode) -> Result<()> {
        // The file holds a float32; what was meant is the shortest number that is rounded to it.
        let kept = match new.attributes.get("momentum") {
            Some(Attribute::Float(momentum)) => momentum.to_string().parse().unwrap_or(0.9),
            _ => 0.9,
        };
        let stem = new.outputs.first().cloned().unwrap_or_default();
        new.outputs.truncate(1);
        for what in ["mean", "variance"] {
            new.outputs.push(copy.graph.fresh_name(&format!("{stem}.{what}")));
        }
        let names = new.outputs.clone();
        let inputs = new.inputs.clone();
        let new = new.with("training_mode", Attribute::Int(1)).with("momentum", Attribute::Float(0.0));
        copy.push(id, new)?;
        for (position, variance) in [(3, false), (4, true)] {
            let running = inputs.get(position).copied().flatten();
            let batch = copy.graph.find(&names[position - 2]);
            let (Some(running), Some(batch)) = (running, batch) else { continue };
            let Some(start) = self.starts.get(&running) else { continue };
            if self.measured.iter().any(|known| known.id == running) {
                let name = &copy.graph.value(running).name;
                return Err(CompileError::Model(format!(
                    "the statistic {name:?} belongs to two normalisations: train with separate weights, or with frozen \
                     statistics"
                )));
            }
            self.measured.push(Statistic {
                id: running,
                start: start.clone(),
                batch,
                factor: 1.0 - kept,
                variance_of: inputs.first().copied().flatten().filter(|_| variance),
            });
        }
        Ok(())
    }

    /// x times a factor that whoever runs the step draws, since nothing in a graph is random.
    fn dropout(&mut self, copy: &mut Copy<'_>, id: NodeId, new: NewNode) -> Result<()> {
        let number = |input: Option<ValueId>| {
            let tensor = copy.graph.constant(input?)?;
            tensor.to_f64().first().copied()
        };
        let ratio = match new.inputs.get(1).copied().flatten() {
            None => Some(0.5),
            given => number(given),
        };
        let x = new.inputs.first().copied().flatten();
        let (Some(ratio), Some(x)) = (ratio, x) else { return copy.push(id, new) };
        if ratio <= 0.0 {
            return copy.push(id, new);
        }
        let value = copy.graph.value(x);
        let (element, shape) =
            (value.element.unwrap_or(pellucid_graph::ElementType::F32), value.shape.clone());
        let name =
            copy.graph.fresh_name(&format!("dropped:{}", new.outputs.first().map_or("", String::as_str)));
        let factor = copy.graph.add_input(name, element, shape)?;
        self.dropped.push(Dropped { id: factor, ratio });
        let mut product = NewNode::new("Mul", &[x, factor], new.outputs.first().cloned().unwrap_or_default());
        product.name = new.name;
        product.metadata = new.metadata;
        copy.push(id, product)
    }
}
