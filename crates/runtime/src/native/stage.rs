//! A graph as stretches that an engine runs and kernels between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{Graph, NodeId, Origin, Tensor, ValueId};

use super::convolution::{forward, input_derivative, weight_derivative};
use super::depthwise;
use super::planes::Sizes;
use super::{Kernel, Work, kernels};
use crate::array::Array;
use crate::check::Fed;
use crate::cut::{Cut, Source, Target, within};
use crate::error::RuntimeError;
use crate::planned::{Backend, Feed, guarded};
use crate::weights;
use crate::{Engine, Kernels};

/// A cut graph in stages.
#[derive(Debug)]
pub(crate) struct Stages<P> {
    graph: Graph,
    /// What the inputs of the graph are fed with.
    sources: Vec<(ValueId, Source)>,
    order: Vec<Stage<P>>,
}

#[derive(Debug)]
struct Stage<P> {
    does: Does<P>,
    /// Values that nothing reads afterwards.
    over: Vec<ValueId>,
}

#[derive(Debug)]
enum Does<P> {
    /// The engine runs what was cut out; its outputs are these values.
    Engine(Box<Cut>, OnceLock<P>, Vec<ValueId>),
    Kernel(Kernel),
    /// An output that is another value under its name.
    Named(ValueId, ValueId),
}

/// Arrays that are over, kept for results of their length, and how many of that length a run makes: a page that is used
/// again costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    free: Mutex<HashMap<usize, Free>>,
}

/// Arrays of one length, and how many a run makes.
type Free = (Vec<Vec<f32>>, usize);

/// Elements from which an array is kept.
const KEPT: usize = 1 << 14;

impl Storage {
    /// An array of `length` numbers, whatever they are.
    fn take(&self, length: usize) -> Vec<f32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.get_mut(&length).and_then(|(list, _)| list.pop()).unwrap_or_else(|| vec![0.0; length])
    }

    pub(crate) fn give(&self, array: Array) {
        if let Array::F32(array) = array
            && array.len() >= KEPT
        {
            let length = array.len();
            let (values, offset) = array.into_raw_vec_and_offset();
            if values.len() == length && offset.unwrap_or(0) == 0 {
                let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
                // Only lengths that are asked for come back, and no more of them than are asked for.
                if let Some((list, count)) = free.get_mut(&length)
                    && list.len() < *count
                {
                    list.push(values);
                }
            }
        }
    }

    /// Says that an array of this length will be asked for.
    fn expect(&self, length: usize) {
        if length >= KEPT {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).entry(length).or_default().1 += 1;
        }
    }
}

/// A value while stages run.
enum Held<'a> {
    Fed(&'a Array),
    /// By a kernel, in an array of the storage.
    Made(Array),
    /// By the engine.
    Given(Array),
    /// A constant that an engine is fed, aligned.
    Weight(&'a Tensor),
}

impl<'a> Held<'a> {
    /// The same for a second holder; numbers that a run made are copied.
    fn shared(&self) -> Held<'a> {
        match self {
            Self::Fed(array) => Self::Fed(array),
            Self::Weight(tensor) => Self::Weight(tensor),
            Self::Made(array) | Self::Given(array) => Self::Given(array.clone()),
        }
    }

    fn array(&self) -> Option<&Array> {
        match self {
            Self::Fed(array) => Some(array),
            Self::Made(array) | Self::Given(array) => Some(array),
            Self::Weight(_) => None,
        }
    }

    /// Sizes and numbers.
    fn floats(&self) -> Option<(&[usize], &[f32])> {
        match self {
            Self::Weight(tensor) => Some((tensor.shape(), weights::values(tensor)?)),
            _ => self.array()?.as_f32().and_then(|array| Some((array.shape(), array.as_slice()?))),
        }
    }
}

impl<P> Stages<P> {
    /// The stages of `cut`; `None` where it holds no kernel.
    pub(crate) fn new(
        cut: &Cut,
        when: Kernels,
        engine: Engine,
        storage: &Storage,
    ) -> Result<Option<Self>, RuntimeError> {
        let sources = cut.graph.inputs().iter().copied().zip(&cut.inputs);
        let held = sources
            .filter(|(_, (_, source))| matches!(source, Source::Weight(_)))
            .map(|(id, _)| id)
            .collect();
        let kernels = kernels(&cut.graph, &held, when, engine);
        if kernels.is_empty() {
            return Ok(None);
        }
        for length in kernels.iter().flat_map(|kernel| &kernel.lengths) {
            storage.expect(*length);
        }
        let graph = cut.graph.clone();
        let sources: Vec<(ValueId, Source)> =
            graph.inputs().iter().copied().zip(cut.inputs.iter().map(|(_, source)| source.clone())).collect();
        let mut stages = order(&graph, kernels, &sources)?;
        forget(&graph, &mut stages);
        Ok(Some(Self { graph, sources, order: stages }))
    }

    /// Computes the outputs of the cut graph, on the session's threads from the first stage to the last: handing a stage over
    /// to them costs as much as a small one.
    pub(crate) fn run<B: Backend<Plan = P>>(
        &self,
        backend: &B,
        feed: &Feed<'_>,
        storage: &Storage,
    ) -> Result<Vec<Array>, RuntimeError>
    where
        P: Send + Sync,
    {
        guarded(B::ENGINE, || Ok(backend.install(|| self.run_here(backend, feed, storage))))?
    }

    fn run_here<B: Backend<Plan = P>>(
        &self,
        backend: &B,
        feed: &Feed<'_>,
        storage: &Storage,
    ) -> Result<Vec<Array>, RuntimeError> {
        let mut values: BTreeMap<ValueId, Held<'_>> = BTreeMap::new();
        for (id, source) in &self.sources {
            match source {
                Source::Fed(origin) => {
                    // Lowered graphs compute in float32.
                    let held = match feed.get(*origin)?.1 {
                        array @ Array::F64(_) => Held::Given(Array::F32(array.to_f32())),
                        array => Held::Fed(array),
                    };
                    values.insert(*id, held);
                }
                Source::Weight(tensor) => {
                    values.insert(*id, Held::Weight(tensor));
                }
            }
        }
        for stage in &self.order {
            match &stage.does {
                Does::Engine(cut, plan, outputs) => {
                    let plan = if let Some(plan) = plan.get() {
                        plan
                    } else {
                        let loaded = backend.load(cut)?;
                        plan.get_or_init(|| loaded)
                    };
                    let made = {
                        let fed = Fed {
                            values: values
                                .iter()
                                .filter_map(|(id, held)| Some((*id, held.array()?)))
                                .collect(),
                            sizes: BTreeMap::new(),
                        };
                        let feed = Feed::new(&self.graph, &fed);
                        let mut results = backend.execute(plan, cut, &feed)?;
                        let arrays = outputs.iter().enumerate().map(|(position, id)| {
                            B::array(&mut results, position, true, self.graph.value(*id).element)
                        });
                        arrays.collect::<Result<Vec<Array>, RuntimeError>>()?
                    };
                    values.extend(outputs.iter().copied().zip(made.into_iter().map(Held::Given)));
                }
                Does::Kernel(kernel) => {
                    let made = kernel
                        .run(&self.graph, &values, storage)
                        .ok_or_else(|| broken::<B>(&self.graph, kernel))?;
                    values.extend(made.into_iter().map(|(id, array)| (id, Held::Made(array))));
                }
                Does::Named(of, name) => {
                    let last = stage.over.contains(of).then(|| values.remove(of)).flatten();
                    let held = last.or_else(|| values.get(of).map(Held::shared));
                    values.extend(held.map(|held| (*name, held)));
                }
            }
            for id in &stage.over {
                // What the engine gave is its allocator's: kept too, there would be more arrays than kernels ever ask for at once.
                if let Some(Held::Made(array)) = values.remove(id) {
                    storage.give(array);
                }
            }
        }
        let outputs = self.graph.outputs();
        let taken = outputs.iter().map(|id| match values.remove(id) {
            Some(Held::Made(array) | Held::Given(array)) => Ok(array),
            Some(Held::Fed(array)) => Ok(array.clone()),
            Some(Held::Weight(tensor)) => Ok(Array::from_tensor(tensor)),
            None => Err(RuntimeError::Engine {
                engine: B::ENGINE.name(),
                problem: format!("{:?} was not computed", self.graph.value(*id).name),
            }),
        });
        taken.collect()
    }
}

fn broken<B: Backend>(graph: &Graph, kernel: &Kernel) -> RuntimeError {
    let name = kernel.outputs.first().map_or("", |id| &graph.value(*id).name);
    RuntimeError::Engine {
        engine: B::ENGINE.name(),
        problem: format!("what {name:?} is made of has other sizes than were inferred"),
    }
}

/// Stages in the order in which they run: kernels as soon as what they read is there, then all that the engine can go on
/// with.
fn order<P>(
    graph: &Graph,
    kernels: Vec<Kernel>,
    sources: &[(ValueId, Source)],
) -> Result<Vec<Stage<P>>, RuntimeError> {
    let native: BTreeSet<NodeId> = kernels.iter().flat_map(|kernel| kernel.nodes.iter().copied()).collect();
    let mut there: BTreeSet<ValueId> = graph
        .value_ids()
        .filter(|id| matches!(graph.value(*id).origin, Origin::Input | Origin::Constant(_)))
        .collect();
    let needed = needed(graph, &kernels);
    let wanted = |kernel: &Kernel| kernel.nodes.iter().any(|node| needed.contains(node));
    let mut kernels: Vec<Option<Kernel>> =
        kernels.into_iter().filter(|kernel| wanted(kernel)).map(Some).collect();
    kernels.sort_by_key(|kernel| kernel.as_ref().and_then(|kernel| kernel.nodes.last().copied()));
    let mut left: Vec<NodeId> =
        graph.node_ids().filter(|id| needed.contains(id) && !native.contains(id)).collect();
    let mut names = names(graph, &mut left);
    let mut stages = Vec::new();
    loop {
        let mut moved = false;
        while let Some(kernel) = kernels
            .iter_mut()
            .find(|kernel| {
                kernel.as_ref().is_some_and(|kernel| kernel.inputs.iter().all(|id| there.contains(id)))
            })
            .and_then(Option::take)
        {
            there.extend(kernel.outputs.iter().copied());
            stages.push(Stage { does: Does::Kernel(kernel), over: Vec::new() });
            moved = true;
        }
        names.retain(|(of, name)| {
            let ready = there.contains(of);
            if ready {
                there.insert(*name);
                stages.push(Stage { does: Does::Named(*of, *name), over: Vec::new() });
                moved = true;
            }
            !ready
        });
        let before = there.clone();
        let mut ran = BTreeSet::new();
        left.retain(|id| {
            let ready = graph.dependencies(*id).iter().all(|input| there.contains(input));
            if ready {
                ran.insert(*id);
                there.extend(graph.node(*id).outputs.iter().flatten().copied());
            }
            !ready
        });
        if !ran.is_empty() {
            moved = true;
            let mut read: BTreeSet<ValueId> = graph.outputs().iter().copied().collect();
            read.extend(kernels.iter().flatten().flat_map(|kernel| kernel.inputs.iter().copied()));
            read.extend(left.iter().flat_map(|id| graph.dependencies(*id)));
            read.extend(names.iter().map(|(of, _)| *of));
            stages.extend(engine_stage(graph, &before, &ran, &read, sources)?);
        }
        if moved {
            continue;
        }
        // Programs that wait for each other: the engine computes what one of them stands for.
        let waits = |kernel: &&mut Option<Kernel>| {
            kernel.as_ref().is_some_and(|kernel| matches!(kernel.work, Work::Program(_)))
        };
        let Some(kernel) = kernels.iter_mut().find(waits).and_then(Option::take) else { break };
        left.extend(kernel.nodes);
        left.sort_unstable();
    }
    Ok(stages)
}

/// Takes those of the nodes `left` out that only give a value the name of an output, as (value, output): an engine would copy
/// every number.
fn names(graph: &Graph, left: &mut Vec<NodeId>) -> Vec<(ValueId, ValueId)> {
    let consumers = graph.consumers();
    let mut names = Vec::new();
    left.retain(|id| {
        let node = graph.node(*id);
        let (Some(of), [Some(name)]) = (node.input(0), node.outputs.as_slice()) else { return true };
        let only_names = node.operator == "Identity"
            && graph.constant(of).is_none()
            && graph.outputs().contains(name)
            && consumers[name.index()].is_empty();
        if only_names {
            names.push((of, *name));
        }
        !only_names
    });
    names
}

/// The stage in which the engine runs the nodes `ran` on what was there `before`; `read` is what others read.
fn engine_stage<P>(
    graph: &Graph,
    before: &BTreeSet<ValueId>,
    ran: &BTreeSet<NodeId>,
    read: &BTreeSet<ValueId>,
    sources: &[(ValueId, Source)],
) -> Result<Option<Stage<P>>, RuntimeError> {
    let outputs: Vec<ValueId> = ran
        .iter()
        .flat_map(|id| graph.node(*id).outputs.iter().flatten().copied())
        .filter(|id| read.contains(id))
        .collect();
    if outputs.is_empty() {
        return Ok(None);
    }
    let fed: BTreeMap<ValueId, ValueId> =
        before.iter().filter(|id| graph.constant(**id).is_none()).map(|id| (*id, *id)).collect();
    let (inside, mut inputs) = within(graph, &fed, &outputs)?;
    for (_, source) in &mut inputs {
        if let Source::Fed(id) = source
            && let Some((_, weight @ Source::Weight(_))) = sources.iter().find(|(input, _)| input == id)
        {
            *source = weight.clone();
        }
    }
    let targets = (0..outputs.len()).map(Target::Computed).collect();
    let cut = Cut { graph: inside, inputs, targets };
    Ok(Some(Stage { does: Does::Engine(Box::new(cut), OnceLock::new(), outputs), over: Vec::new() }))
}

/// Nodes that the outputs need once kernels are taken as they are: what a kernel does not read, only its nodes would.
fn needed(graph: &Graph, kernels: &[Kernel]) -> BTreeSet<NodeId> {
    let mut by_output: BTreeMap<ValueId, &Kernel> = BTreeMap::new();
    for kernel in kernels {
        by_output.extend(kernel.outputs.iter().map(|output| (*output, kernel)));
    }
    let mut needed = BTreeSet::new();
    let mut seen: BTreeSet<ValueId> = BTreeSet::new();
    let mut left: Vec<ValueId> = graph.outputs().to_vec();
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Some(kernel) = by_output.get(&id) {
            needed.extend(kernel.nodes.iter().copied());
            left.extend(kernel.inputs.iter().copied());
        } else if let Some(node) = graph.producer_of(id) {
            needed.insert(node);
            left.extend(graph.dependencies(node));
        }
    }
    needed
}

/// Notes after which stage a value is over.
fn forget<P>(graph: &Graph, stages: &mut [Stage<P>]) {
    let mut seen: BTreeSet<ValueId> = graph.outputs().iter().copied().collect();
    for stage in stages.iter_mut().rev() {
        let (read, made): (Vec<ValueId>, Vec<ValueId>) = match &stage.does {
            Does::Engine(cut, _, outputs) => {
                let fed = cut.inputs.iter().filter_map(|(_, source)| match source {
                    Source::Fed(id) => Some(*id),
                    Source::Weight(_) => None,
                });
                (fed.collect(), outputs.clone())
            }
            Does::Kernel(kernel) => (kernel.inputs.clone(), kernel.outputs.clone()),
            Does::Named(of, name) => (vec![*of], vec![*name]),
        };
        stage.over = read.into_iter().chain(made).filter(|id| seen.insert(*id)).collect();
    }
}

impl Kernel {
    /// Computes the outputs; `None` where sizes are not those that were inferred.
    fn run(
        &self,
        graph: &Graph,
        values: &BTreeMap<ValueId, Held<'_>>,
        storage: &Storage,
    ) -> Option<Vec<(ValueId, Array)>> {
        let constants: Vec<Option<Held<'_>>> = self
            .inputs
            .iter()
            .map(|id| graph.constant(*id).map(|tensor| Held::Made(Array::from_tensor(tensor))))
            .collect();
        let floats: Vec<(&[usize], &[f32])> = self
            .inputs
            .iter()
            .zip(&constants)
            .map(|(id, constant)| constant.as_ref().or_else(|| values.get(id))?.floats())
            .collect::<Option<_>>()?;
        let slices: Vec<&[f32]> = floats.iter().map(|(_, values)| *values).collect();
        let sized = |at: usize| {
            let (shape, values) = floats.get(at)?;
            Some((*values, Sizes::of(shape)?))
        };
        let made = match &self.work {
            Work::Convolution(geometry) => {
                let outputs = *floats.get(1)?.0.first()?;
                let bias = slices.get(2).copied();
                let y = storage.take(*self.lengths.first()?);
                vec![forward(geometry, sized(0)?, (slices[1], outputs), bias, y)?]
            }
            Work::InputDerivative(geometry, input) => {
                let dx = storage.take(*self.lengths.first()?);
                vec![input_derivative(geometry, sized(0)?, slices[1], *input, dx)?]
            }
            Work::WeightDerivative(geometry) => {
                let outputs = sized(1)?.1.channels;
                let derivative = weight_derivative(geometry, sized(0)?, sized(1)?)?;
                vec![swapped(&derivative, outputs, geometry.kernel[0] * geometry.kernel[1])]
            }
            Work::DepthwiseConvolution(geometry) => {
                let y = storage.take(*self.lengths.first()?);
                vec![depthwise::forward(geometry, sized(0)?, slices[1], slices.get(2).copied(), y)?]
            }
            Work::DepthwiseInputDerivative(geometry, input) => {
                let dx = storage.take(*self.lengths.first()?);
                vec![depthwise::input_derivative(geometry, sized(0)?, slices[1], *input, dx)?]
            }
            Work::DepthwiseWeightDerivative(geometry) => {
                vec![depthwise::weight_derivative(geometry, sized(0)?, sized(1)?)?]
            }
            Work::Program(program) => {
                let mut results: Vec<Vec<f32>> =
                    self.lengths.iter().map(|length| storage.take(*length)).collect();
                program.run(&slices, &mut results)?;
                results
            }
        };
        let named = self.outputs.iter().zip(made).map(|(id, values)| {
            let shape = graph.value(*id).static_shape()?;
            Some((*id, Array::F32(ArrayD::from_shape_vec(IxDyn(&shape), values).ok()?)))
        });
        named.collect()
    }
}

/// `[o, c, places]` as `[c, o, places]`.
fn swapped(values: &[f32], outputs: usize, places: usize) -> Vec<f32> {
    let mut swapped = Vec::with_capacity(values.len());
    let image = values.len() / outputs.max(1);
    for start in (0..image).step_by(places.max(1)) {
        for output in 0..outputs {
            swapped.extend_from_slice(&values[output * image + start..][..places]);
        }
    }
    swapped
}
