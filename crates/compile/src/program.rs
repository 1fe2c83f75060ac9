//! The program the host runs: model, score and the readouts in one graph.
//!
//! Everything is appended: the source graph is an untouched prefix of the result, so the prediction is the same by
//! construction. [`Program::split`] cuts behind that prefix, so that one forward pass serves any number of targets.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Attribute, Graph, NewNode, ValueId};

use crate::build::{Builder, Keep, Var};
use crate::error::{CompileError, Result};
use crate::layer::{self, Neuron};
use crate::method::{Collect, Method};
use crate::passes::batch_normalizations;
use crate::readout::{Readout, Seen, Terms};
use crate::reference::refer;
use crate::rules::RuleMap;
use crate::score::{self, Aim, Scored, Target, Unit};
use crate::space::{channel_axes, channels_last};
use crate::tangent::tangent;
use crate::walk::{walk, walk_noting};

/// What to explain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Class, or one less another.
    pub target: Target,
    /// Output that scores are read from; the first where it is `None`.
    pub output: Option<String>,
    /// Layer, for methods that look at one; chosen where it is `None`.
    pub layer: Option<String>,
    /// The hidden unit that is explained in place of a class.
    pub neuron: Option<Neuron>,
}

impl Request {
    /// The graph as `method` wants it, with the layers that are named still in it.
    pub(crate) fn prepared<'a>(&self, graph: &'a Graph, method: &Method) -> Result<Cow<'a, Graph>> {
        let prepared = method.prepared(graph)?;
        for name in self.layer.iter().chain(self.neuron.as_ref().map(|neuron| &neuron.layer)) {
            if layer::find(&prepared, name).is_err() && layer::find(graph, name).is_ok() {
                return Err(CompileError::Setting(format!(
                    "layer {name:?} is not computed by this method, which folds a batch normalisation and the \
                     layer beside it into one: name the later of both, or what follows it"
                )));
            }
        }
        Ok(prepared)
    }

    /// The value that scores are read from.
    pub(crate) fn scored(&self, graph: &Graph) -> Result<Scored> {
        score::sought(graph, self.output.as_deref(), self.neuron.as_ref())
    }
}

/// A compiled graph and the names of what it takes and returns.
#[derive(Debug, Clone)]
pub struct Program {
    /// The graph. Its outputs are the model's, then `score`, then the attributions (or signals).
    pub graph: Graph,
    /// Names of the model's own outputs.
    pub predictions: Vec<String>,
    /// Name of the value predictions are read from: logits, where a final Softmax was stepped over.
    pub scored: String,
    /// Unit of its numbers.
    pub scored_unit: Unit,
    /// The hidden unit that is explained, as it was asked for.
    pub neuron: Option<Neuron>,
    /// Name of the score, `[n]`.
    pub score: String,
    /// Name of the target input; `None` where it is fixed.
    pub target: Option<String>,
    /// Name of the input of the classes that are taken away; `None` where no contrast was asked for or it is fixed.
    pub target_minus: Option<String>,
    /// Names of the values that a method's points move: the floating-point inputs, or the layer, which is then fed.
    pub moved: Vec<String>,
    /// For methods that take what the inputs differ by from their baselines: the name of each floating-point input, and
    /// the name of the input, of the same shape, that takes its difference.
    pub directions: Vec<(String, String)>,
    /// For each input (or the layer): its name and the name of its attribution or signal.
    pub attributions: Vec<(String, String)>,
    /// The layer looked at.
    pub layer: Option<String>,
    /// Name of the layer, for methods that take its changes between points: it is fetched with the signal.
    pub changes: Option<String>,
    /// For each moved input: its name and the name of the input that takes its baseline, for rules that compare; empty
    /// for others. A baseline has the input's shape.
    pub baselines: Vec<(String, String)>,
    /// Name of the score on the baseline, `[n]`, for rules that compare.
    pub baseline_score: Option<String>,
    /// Name of the gap, `[n]`, for methods that know one at a single point.
    pub gap: Option<String>,
    /// Whether everything that the score depends on passes the layer; `true` without one.
    pub separated: bool,
    /// Whether values sum, in the limit of many points, to the score less the baseline's.
    pub complete: bool,
    /// Unit of the score.
    pub unit: Unit,
    /// Number of classes; `None` for one number a row, such as that of a hidden unit.
    pub classes: Option<usize>,
    /// Nodes of the model, which come first.
    pub model_nodes: usize,
    /// Nodes of the model and of its copy on the baseline, which come first: what all targets share.
    pub shared_nodes: usize,
    /// Whether values are relevance, shares of the score.
    pub relevance: bool,
    /// Batch normalisations that the method folded into the layers beside them, and those that are left.
    pub normalizations: (usize, usize),
}

impl Program {
    /// Names of the values of the model that the rest of the graph reads for score and attributions, its inputs left
    /// out, in the order in which they are made. A session that is fed them computes no node of the model.
    pub fn boundary(&self) -> Vec<String> {
        let found = self.read_of_model();
        let made = found.iter().filter(|id| self.graph.producer_of(**id).is_some());
        made.map(|id| self.graph.value(*id).name.clone()).collect()
    }

    /// Values of the model, inputs included, that the appended nodes need for score and attributions.
    fn read_of_model(&self) -> BTreeSet<ValueId> {
        let mut needed: BTreeSet<ValueId> = self.results().filter_map(|name| self.graph.find(name)).collect();
        let mut read = BTreeSet::new();
        for id in self.graph.node_ids().rev().take_while(|id| id.index() >= self.shared_nodes) {
            if self.graph.node(id).outputs.iter().flatten().any(|output| needed.contains(output)) {
                needed.extend(self.graph.dependencies(id));
            }
        }
        for id in needed {
            let of_model = match self.graph.producer_of(id) {
                Some(node) => node.index() < self.shared_nodes,
                None => self.graph.constant(id).is_none() && !self.is_added(id),
            };
            if of_model {
                read.insert(id);
            }
        }
        read
    }

    fn is_added(&self, id: ValueId) -> bool {
        let name = &self.graph.value(id).name;
        let directions = self.directions.iter().map(|(_, direction)| direction);
        [&self.target, &self.target_minus].into_iter().flatten().chain(directions).any(|added| added == name)
    }

    /// The graph in two: one forward pass, and what each target takes of it.
    ///
    /// # Errors
    /// None for a program of this crate: the parts are cut out of a valid graph.
    pub fn split(&self) -> Result<Split> {
        let boundary = self.boundary();
        let mut outputs: Vec<&str> = self.predictions.iter().map(String::as_str).collect();
        outputs.extend(
            boundary.iter().map(String::as_str).filter(|name| !self.predictions.iter().any(|p| p == name)),
        );
        let model = self.graph.inputs().iter().copied().filter(|id| !self.is_added(*id));
        let forward = self.part(0..self.shared_nodes, &model.collect(), &outputs)?;
        let mut taken = self.read_of_model();
        taken.extend(self.graph.inputs().iter().copied().filter(|id| self.is_added(*id)));
        let results: Vec<&str> = self.results().collect();
        let backward = self.part(self.shared_nodes..self.graph.nodes().len(), &taken, &results)?;
        Ok(Split { forward, backward, boundary })
    }

    /// Some nodes as a graph of its own, of the inputs `taken`. Names stay.
    fn part(
        &self,
        nodes: std::ops::Range<usize>,
        taken: &BTreeSet<ValueId>,
        outputs: &[&str],
    ) -> Result<Graph> {
        let mut graph = Graph::new();
        let mut here: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for id in self.graph.value_ids() {
            let value = self.graph.value(id);
            if let Some(tensor) = value.constant() {
                here.insert(id, graph.add_constant(value.name.clone(), tensor.clone())?);
            } else if taken.contains(&id) {
                let element = value.element.unwrap_or(pellucid_graph::ElementType::F32);
                here.insert(id, graph.add_input(value.name.clone(), element, value.shape.clone())?);
            }
        }
        for id in self.graph.node_ids().filter(|id| nodes.contains(&id.index())) {
            // What the outputs do not need may read values that are not there.
            if self.graph.dependencies(id).iter().any(|input| !here.contains_key(input)) {
                continue;
            }
            let node = self.graph.node(id);
            let name = |output: &Option<ValueId>| {
                output.map_or_else(String::new, |id| self.graph.value(id).name.clone())
            };
            let mut attributes = node.attributes.clone();
            for attribute in attributes.values_mut() {
                if let Attribute::Graph(body) = attribute {
                    body.renumber_captures(|outer| here.get(&outer).copied().unwrap_or(outer));
                }
            }
            let pushed = graph.push(NewNode {
                operator: node.operator.clone(),
                name: node.name.clone(),
                inputs: node.inputs.iter().map(|input| input.and_then(|id| here.get(&id).copied())).collect(),
                outputs: node.outputs.iter().map(name).collect(),
                attributes,
                metadata: node.metadata.clone(),
            })?;
            for (old, new) in node.outputs.iter().zip(&graph.node(pushed).outputs) {
                if let (Some(old), Some(new)) = (old, new) {
                    here.insert(*old, *new);
                }
            }
        }
        let found = outputs.iter().map(|name| {
            graph.find(name).ok_or_else(|| CompileError::Emitted(format!("{name:?} was not copied")))
        });
        let found = found.collect::<Result<Vec<_>>>()?;
        graph.set_outputs(found);
        Ok(graph.pruned()?)
    }

    /// Names of score, attributions and gap.
    fn results(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.score.as_str())
            .chain(self.attributions.iter().map(|(_, output)| output.as_str()))
            .chain(self.baseline_score.as_deref())
            .chain(self.gap.as_deref())
    }
}

/// A program in two graphs.
#[derive(Debug, Clone)]
pub struct Split {
    /// The model; its outputs are the model's, then the boundary.
    pub forward: Graph,
    /// From boundary, inputs that are read again, and target to score and attributions. Names are the program's.
    pub backward: Graph,
    /// Names of the values that the one gives and the other takes.
    pub boundary: Vec<String>,
}

/// Compiles `method` for the host.
///
/// The program gives score and readout at whatever point it is fed. With one point that is the attribution; else the
/// host takes the statistic over the points, of readouts multiplied by the difference from the baseline where the
/// method's is [`Readout::TimesDifference`].
pub fn program(graph: &Graph, method: &Method, request: &Request) -> Result<Program> {
    let prepared = request.prepared(graph, method)?;
    let left = batch_normalizations(&prepared);
    let normalizations = (batch_normalizations(graph) - left, left);
    Ok(Program { normalizations, ..compiled(&prepared, method, request)? })
}

/// [`program`] of a graph that is prepared.
pub(crate) fn compiled(graph: &Graph, method: &Method, request: &Request) -> Result<Program> {
    let scored = request.scored(graph)?;
    let collected = collected(graph, method, request, &scored)?;
    let moved = moved(graph, method, &collected);
    let builder = Builder::new(graph.clone());
    let rows = rows(graph, &scored)?;
    let baselines =
        if method.rules.compares() { baselines(&builder, graph, &float_inputs(graph)) } else { Vec::new() };
    let read_there: Vec<ValueId> = collected.iter().copied().chain([scored.value]).collect();
    refer(&builder, graph, &Some, &baselines, &read_there)?;
    let shared_nodes = builder.graph().nodes().len();
    let aim = Aim::new(&builder, &scored, request.target, &rows)?;
    let directions = directions(&builder, graph, method)?;
    let pass = Pass::new(&builder, &scored, &aim, (&collected, &directions), method)?;
    let directions =
        directions.iter().map(|(id, direction)| (graph.value(*id).name.clone(), direction.name())).collect();
    let read = pass.read(&builder, method)?;
    let gap = pass.gap(&builder)?;
    let graph_names: Vec<String> = collected.iter().map(|id| graph.value(*id).name.clone()).collect();
    let mut outputs: Vec<ValueId> = graph.outputs().to_vec();
    let score_name = name_output(&builder, pass.score, "score", &mut outputs);
    let mut attributions = Vec::new();
    for (name, value) in graph_names.iter().zip(read) {
        let several = method.read(collected.len()) > 1;
        let wanted = if several { format!("attribution:{name}") } else { "attribution".to_owned() };
        let output = name_output(&builder, value, &wanted, &mut outputs);
        attributions.push((name.clone(), output));
    }
    let on_baseline = pass.baseline_score;
    let baseline_score =
        on_baseline.map(|score| name_output(&builder, score, "baseline_score", &mut outputs));
    let gap = gap.map(|gap| name_output(&builder, gap, "gap", &mut outputs));
    let mut targets = aim.inputs.into_iter();
    let baselines =
        baselines.iter().map(|(id, baseline)| (graph.value(*id).name.clone(), baseline.name())).collect();
    let mut compiled = builder.finish()?;
    compiled.set_outputs(outputs);
    let predicted = predicted(graph, request, &scored);
    let separated = separated(graph, method, &collected, &scored);
    Ok(Program {
        predictions: graph.outputs().iter().map(|id| graph.value(*id).name.clone()).collect(),
        scored: graph.value(predicted.0).name.clone(),
        scored_unit: predicted.1,
        neuron: request.neuron.clone(),
        separated,
        complete: is_complete(graph, method, &collected, &scored),
        score: score_name,
        target: targets.next(),
        target_minus: targets.next(),
        moved: moved.iter().map(|id| graph.value(*id).name.clone()).collect(),
        directions,
        attributions,
        changes: (method.readout == Readout::TimesChange).then(|| graph_names[0].clone()),
        layer: (method.collect != Collect::Inputs).then(|| graph_names.last().cloned()).flatten(),
        baselines,
        baseline_score,
        gap,
        unit: scored.unit,
        classes: scored.classes,
        model_nodes: graph.nodes().len(),
        shared_nodes,
        relevance: method.is_relevance(),
        normalizations: (0, batch_normalizations(graph)),
        graph: compiled,
    })
}

/// One forward and backward pass over a graph that is there already: its score and signals.
pub(crate) struct Pass<'g> {
    pub(crate) score: Var<'g>,
    /// The score on the baseline, for rules that compare.
    pub(crate) baseline_score: Option<Var<'g>>,
    /// Whether values have references.
    compares: bool,
    signals: Vec<(ValueId, Var<'g>)>,
    /// Grad-CAM's map, for readouts that take one.
    map: Option<Var<'g>>,
    /// The terms of biases, for readouts that take them.
    terms: Option<Terms<'g>>,
    /// Whether the signals are relevance of all inputs, or of a layer that everything passes: the score was shared among
    /// them.
    shared_out: bool,
    /// The directional derivatives of the values read, for readouts that take them.
    tangents: BTreeMap<ValueId, Var<'g>>,
    /// Values that are read and have their channels behind their space, for readouts that ask.
    channels_last: BTreeSet<ValueId>,
}

impl<'g> Pass<'g> {
    pub(crate) fn new(
        builder: &'g Builder,
        scored: &Scored,
        aim: &Aim<'g>,
        (collected, directions): (&[ValueId], &[(ValueId, Var<'g>)]),
        method: &Method,
    ) -> Result<Self> {
        let y = builder.var(scored.value);
        let (score, seed) = started(y, scored, aim, method)?;
        let compares = method.rules.compares();
        let baseline_score = if compares {
            Some(aim.seed(builder.var(builder.reference(scored.value)), scored.classes)?.0)
        } else {
            None
        };
        let (read, looked_at) = collected.split_at(method.read(collected.len()));
        let asked = if method.readout.is_of_any_value() { &[] } else { read };
        let channels_last = channels_last(&builder.graph(), asked);
        let last = read.first().is_some_and(|id| channels_last.contains(id));
        let mut terms = method.readout.takes_terms().then(|| Terms::new(builder, read, last)).transpose()?;
        let seeds = [(scored.value, seed)];
        let wanted = if method.readout.takes_signal() { read } else { &[] };
        let found =
            walk_noting(builder, &seeds, wanted, &method.rules, &mut |step, signals| match &mut terms {
                Some(terms) => terms.note(step, signals),
                None => Ok(()),
            })?;
        // The score does not depend on what no signal reaches: the derivative is zero, and that is an answer.
        let signal = |id: &ValueId, found: &BTreeMap<ValueId, Var<'g>>| match found.get(id) {
            Some(signal) => Ok(*signal),
            None => builder.var(*id).zeros_like(),
        };
        let mut map = None;
        if let [layer] = looked_at {
            let found = walk(builder, &seeds, looked_at, &RuleMap::GRADIENT)?;
            let seen = Seen::new(builder.var(*layer), signal(layer, &found)?);
            map = Some(Readout::ChannelWeighted.append(&seen)?);
        }
        let signals = read.iter().map(|id| Ok((*id, signal(id, &found)?))).collect::<Result<_>>()?;
        let mut tangents = BTreeMap::new();
        for id in read.iter().filter(|_| method.readout.takes_tangent()) {
            tangents.insert(*id, tangent(builder, *id, directions)?);
        }
        builder.check()?;
        let shared_out = method.is_relevance()
            && match (method.collect, read) {
                (Collect::Inputs, _) => true,
                (Collect::Layer, [layer]) => layer::separates(&builder.graph(), *layer, scored.value),
                _ => false,
            };
        Ok(Self { score, baseline_score, compares, signals, map, terms, shared_out, tangents, channels_last })
    }

    fn seen(&self, builder: &'g Builder, id: ValueId, signal: Var<'g>) -> Seen<'_, 'g> {
        let (map, terms, tangent) = (self.map, self.terms.as_ref(), self.tangents.get(&id).copied());
        let reference = self.compares.then(|| builder.var(builder.reference(id)));
        let channels_last = self.channels_last.contains(&id);
        Seen { value: builder.var(id), reference, signal, map, terms, tangent, channels_last }
    }

    /// The readout of every signal.
    pub(crate) fn read(&self, builder: &'g Builder, method: &Method) -> Result<Vec<Var<'g>>> {
        let read = self
            .signals
            .iter()
            .map(|(id, signal)| method.readout.append(&self.seen(builder, *id, *signal)))
            .collect::<Result<_>>()?;
        builder.check()?;
        Ok(read)
    }

    /// What the score has beyond the sum of all terms, `[n]`, for readouts that know every term; of relevance what was
    /// lost on the way, negative where some was made.
    pub(crate) fn gap(&self, builder: &'g Builder) -> Result<Option<Var<'g>>> {
        match (&self.terms, self.signals.as_slice()) {
            (Some(terms), [(id, signal)]) => {
                terms.gap(&self.seen(builder, *id, *signal), self.score).map(Some)
            }
            _ if self.shared_out => self.lost(),
            _ => Ok(None),
        }
    }

    /// The score less the sum of all relevance, `[n]`.
    fn lost(&self) -> Result<Option<Var<'g>>> {
        let mut left = self.score;
        let rows = self.score.shape()?;
        for (_, signal) in &self.signals {
            // What has no row for each score belongs to all of them.
            if signal.shape()?.first() != rows.first() {
                return Ok(None);
            }
            let behind: Vec<usize> = (1..signal.rank()?).collect();
            left = left - signal.sum(&behind, Keep::None);
        }
        Ok(Some(left))
    }
}

/// An input for the baseline of each moved value, of its shape.
fn baselines<'g>(builder: &'g Builder, graph: &Graph, moved: &[ValueId]) -> Vec<(ValueId, Var<'g>)> {
    let input = |id: &ValueId| {
        let value = graph.value(*id);
        let wanted =
            if moved.len() == 1 { "baseline".to_owned() } else { format!("baseline:{}", value.name) };
        let name = score::reserved(&builder.graph(), &wanted);
        let element = value.element.unwrap_or(pellucid_graph::ElementType::F32);
        (*id, builder.input(&name, element, value.shape.clone().unwrap_or_default()))
    };
    moved.iter().map(input).collect()
}

/// The value that predictions are told of, and its unit: what is explained, or the model's output where that is a
/// hidden unit.
fn predicted(graph: &Graph, request: &Request, scored: &Scored) -> (ValueId, Unit) {
    if scored.neuron.is_none() {
        return (scored.value, scored.unit);
    }
    match score::find(graph, request.output.as_deref()) {
        Ok(found) => (found.value, found.unit),
        Err(_) => (graph.outputs().first().copied().unwrap_or(scored.value), Unit::Raw),
    }
}

/// The score, and the signal that a method starts from.
pub(crate) fn started<'g>(
    y: Var<'g>,
    scored: &Scored,
    aim: &Aim<'g>,
    method: &Method,
) -> Result<(Var<'g>, Var<'g>)> {
    let (score, mut seed) = aim.seed(y, scored.classes)?;
    if method.is_relevance() {
        // Chosen, not multiplied: an infinite score of another class would make it NaN.
        let none = y.builder().op("Equal", &[seed, seed.scalar(0.0)], &[]);
        seed = none.choose(seed.scalar(0.0), seed * y);
    }
    Ok((score, seed))
}

/// The values that a method's points move: the inputs of floating-point elements, or the layer.
pub(crate) fn moved(graph: &Graph, method: &Method, collected: &[ValueId]) -> Vec<ValueId> {
    if method.moves_layer() {
        return collected.to_vec();
    }
    float_inputs(graph)
}

/// An input for each floating-point input, of its shape, that takes what it differs by from its baseline; for methods
/// that take it.
fn directions<'g>(builder: &'g Builder, graph: &Graph, method: &Method) -> Result<Vec<(ValueId, Var<'g>)>> {
    let inputs = if method.readout.takes_tangent() { float_inputs(graph) } else { Vec::new() };
    let several = inputs.len() > 1;
    let direction = |id: ValueId| {
        let x = builder.var(id);
        let wanted = if several { format!("direction:{}", x.name()) } else { "direction".to_owned() };
        let name = score::reserved(&builder.graph(), &wanted);
        Ok((id, builder.input(&name, x.element(), x.shape()?)))
    };
    inputs.into_iter().map(direction).collect()
}

/// Whether a method's values sum, in the limit of many points, to the score less the baseline's: it is complete, and
/// everything that the score depends on passes the layer it is read at, or the baseline is of the layer alone.
pub(crate) fn is_complete(graph: &Graph, method: &Method, collected: &[ValueId], scored: &Scored) -> bool {
    method.is_complete() && (method.moves_layer() || separated(graph, method, collected, scored))
}

/// Whether everything that the score depends on passes the layer that is read.
fn separated(graph: &Graph, method: &Method, collected: &[ValueId], scored: &Scored) -> bool {
    match (method.collect, collected.last()) {
        (Collect::Layer, Some(layer)) => layer::separates(graph, *layer, scored.value),
        _ => true,
    }
}

/// The inputs of floating-point elements.
pub(crate) fn float_inputs(graph: &Graph) -> Vec<ValueId> {
    let float = |id: &ValueId| graph.value(*id).element.is_some_and(pellucid_graph::ElementType::is_float);
    graph.inputs().iter().copied().filter(float).collect()
}

/// The values whose signals the method reads.
pub(crate) fn collected(
    graph: &Graph,
    method: &Method,
    request: &Request,
    scored: &Scored,
) -> Result<Vec<ValueId>> {
    let mut inputs = float_inputs(graph);
    if method.collect == Collect::Layer {
        inputs.clear();
    } else if inputs.is_empty() {
        return Err(CompileError::Model(
            "no input is floating-point, so nothing can be differentiated: explain a layer instead"
                .to_owned(),
        ));
    }
    if method.collect != Collect::Inputs {
        let id = match &request.layer {
            Some(name) => layer::find(graph, name)?,
            // A hidden unit's own layer says nothing of where the unit looks.
            None => layer::last_spatial_of(graph, scored.value, |id| {
                scored.neuron.is_none() || id != scored.value
            })?,
        };
        layer::require_rows(graph, id)?;
        if method.readout.takes_signal() {
            layer::require_reached(graph, id, scored.value)?;
        }
        let with_space = !method.readout.is_of_any_value();
        if with_space && graph.value(id).shape.as_ref().is_none_or(|shape| shape.len() < 3) {
            return Err(CompileError::Setting(format!(
                "layer {:?} has no channels and space: expected a value of shape [n, channels, …]",
                graph.value(id).name
            )));
        }
        if with_space && let Some(axis) = channel_axes(graph)[id.index()].filter(|axis| *axis != 1) {
            return Err(CompileError::Setting(format!(
                "layer {:?} has its channels along axis {axis}, where this method expects [n, channels, …]: name what \
                 its Transpose takes",
                graph.value(id).name
            )));
        }
        inputs.push(id);
    }
    Ok(inputs)
}

/// The number of rows: the first size of the value that scores are read from.
pub(crate) fn rows(graph: &Graph, scored: &Scored) -> Result<pellucid_graph::Dim> {
    let shape = graph.value(scored.value).shape.as_ref();
    shape
        .and_then(|shape| shape.first().cloned())
        .ok_or_else(|| CompileError::Model(format!("{:?} has no rows", graph.value(scored.value).name)))
}

/// Gives a value an output's name by an Identity, so that whatever computed it keeps its own.
pub(crate) fn name_output(
    builder: &Builder,
    value: Var<'_>,
    wanted: &str,
    outputs: &mut Vec<ValueId>,
) -> String {
    let name = score::reserved(&builder.graph(), wanted);
    let named = builder.named("Identity", value, &name);
    outputs.push(named.id());
    name
}
