//! A session of an engine that loads a graph before it runs it: one plan for each set of results, kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pellucid_graph::{ElementType, Graph, GraphError, Tensor, ValueId};

use crate::array::{Array, Kind};
use crate::check::{self, Fed};
use crate::cut::{Cut, Target, Wanted};
use crate::error::RuntimeError;
use crate::lower::Lowered;
use crate::native::{self, Stages, Storage};
use crate::{Engine, Kernels, Options, Port, Session};

/// An engine that loads graphs.
pub(crate) trait Backend: Send + Sync {
    /// A graph that is loaded.
    type Plan: Send + Sync;
    /// What a run gives.
    type Results;
    /// Which engine it is.
    const ENGINE: Engine;

    /// The graph in the forms that the engine computes right; `native` leaves those that kernels here compute.
    fn lower(graph: &Graph, native: bool) -> Result<Lowered, GraphError>;

    /// The tensor that is fed to every run in place of a constant; `None` where the plan holds it.
    fn fed_weight(tensor: &Tensor) -> Option<Tensor>;

    /// Loads what was cut out.
    fn load(&self, cut: &Cut) -> Result<Self::Plan, RuntimeError>;

    /// Computes the outputs of the cut graph; `fed` finds what the caller feeds for a value.
    fn execute(&self, plan: &Self::Plan, cut: &Cut, fed: &Feed<'_>) -> Result<Self::Results, RuntimeError>;

    /// The result at `position`, in the kind of `element`; `last` says that it is not asked for again.
    fn array(
        results: &mut Self::Results,
        position: usize,
        last: bool,
        element: Option<ElementType>,
    ) -> Result<Array, RuntimeError>;

    /// Does `work` on the threads of the session.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R;

    /// Bytes at the peak of a run of `graph`, whose sizes are bound.
    fn peak(&self, graph: &Graph) -> u64;
}

/// What the caller feeds, and where errors find its name.
pub(crate) struct Feed<'a> {
    graph: &'a Graph,
    fed: &'a Fed<'a>,
}

impl<'a> Feed<'a> {
    /// What is fed for values of `graph`.
    pub(crate) fn new(graph: &'a Graph, fed: &'a Fed<'a>) -> Self {
        Self { graph, fed }
    }

    /// The array fed for a value, and the value's name.
    pub(crate) fn get(&self, id: ValueId) -> Result<(&'a str, &'a Array), RuntimeError> {
        match self.fed.values.get(&id) {
            Some(array) => Ok((&self.graph.value(id).name, array)),
            None => Err(check::missing(self.graph, id)),
        }
    }
}

/// A plan and the graph that it runs.
struct Loaded<P> {
    cut: Cut,
    /// Loaded at the first run: whoever asks only how much memory a run takes does not wait for it.
    plan: OnceLock<P>,
    /// Where kernels compute some of it: the engine then loads what is between them.
    stages: Option<Stages<P>>,
    peaks: Mutex<HashMap<BTreeMap<String, i64>, u64>>,
}

/// A graph run by an engine that loads graphs.
pub(crate) struct PlannedSession<B: Backend> {
    backend: B,
    graph: Graph,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    memory: Option<u64>,
    kernels: Kernels,
    storage: Storage,
    /// The lowered graph; `None` where some node or kernel must know sizes, so that it is lowered anew for every binding.
    lowered: Option<Arc<Lowered>>,
    plans: Mutex<HashMap<Key, Arc<Loaded<B::Plan>>>>,
}

/// What a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    /// What symbols stand for, where lowering depends on it.
    sizes: Option<BTreeMap<String, i64>>,
    /// Values that are fed though they could be computed.
    fed: BTreeSet<ValueId>,
    /// Values that are asked for.
    wanted: Vec<ValueId>,
}

/// More plans than this are not kept: callers ask for few sets of outputs.
const PLANS: usize = 64;

impl<B: Backend> PlannedSession<B> {
    /// Lowers `graph` for `backend`.
    pub(crate) fn open(graph: &Graph, options: &Options, backend: B) -> Result<Self, RuntimeError> {
        let lowered = B::lower(graph, options.kernels.for_training())?;
        let engine = B::ENGINE.name();
        if !lowered.refused.is_empty() {
            let nodes = [lowered.refused, lowered.waiting].concat();
            return Err(RuntimeError::Unsupported { engine, nodes });
        }
        if !lowered.waiting.is_empty() && graph.symbols().is_empty() {
            // No size is free that a run could bind.
            return Err(RuntimeError::Unsupported { engine, nodes: lowered.waiting });
        }
        let waits = !lowered.waiting.is_empty()
            || (!graph.symbols().is_empty()
                && native::wait_for_sizes(&lowered.graph, options.kernels, B::ENGINE));
        Ok(Self {
            backend,
            graph: graph.clone(),
            inputs: check::ports(graph, graph.inputs()),
            outputs: check::ports(graph, graph.outputs()),
            memory: options.memory,
            kernels: options.kernels,
            storage: Storage::default(),
            lowered: (!waits).then(|| Arc::new(lowered)),
            plans: Mutex::default(),
        })
    }

    /// The lowered graph for this binding of symbols.
    fn lowered(&self, sizes: &BTreeMap<String, i64>) -> Result<Arc<Lowered>, RuntimeError> {
        if let Some(lowered) = &self.lowered {
            return Ok(Arc::clone(lowered));
        }
        let lowered = B::lower(&self.graph.bind(sizes)?, self.kernels.for_training())?;
        if lowered.refused.is_empty() && lowered.waiting.is_empty() {
            return Ok(Arc::new(lowered));
        }
        let nodes = [lowered.refused, lowered.waiting].concat();
        Err(RuntimeError::Unsupported { engine: B::ENGINE.name(), nodes })
    }

    fn plan(
        &self,
        sizes: &BTreeMap<String, i64>,
        fed: BTreeSet<ValueId>,
        wanted: Vec<ValueId>,
    ) -> Result<Arc<Loaded<B::Plan>>, RuntimeError> {
        let sizes = self.lowered.is_none().then(|| sizes.clone());
        let key = Key { sizes, fed, wanted };
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(plan));
        }
        let lowered = self.lowered(key.sizes.as_ref().unwrap_or(&BTreeMap::new()))?;
        let cut = Cut::new(&Wanted {
            source: &self.graph,
            lowered: &lowered,
            interior: &key.fed,
            values: &key.wanted,
            engine: B::ENGINE.name(),
            fed_weight: B::fed_weight,
        })?;
        let stages = Stages::new(&cut, self.kernels, B::ENGINE, &self.storage)?;
        let plan = Arc::new(Loaded { cut, plan: OnceLock::new(), stages, peaks: Mutex::default() });
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    fn load<'a>(&self, loaded: &'a Loaded<B::Plan>) -> Result<&'a B::Plan, RuntimeError> {
        if let Some(plan) = loaded.plan.get() {
            return Ok(plan);
        }
        // Two threads that come first at once load it twice, and one of the two is kept.
        let plan = self.backend.load(&loaded.cut)?;
        Ok(loaded.plan.get_or_init(|| plan))
    }

    /// Bytes at the peak of a run, symbols standing for `sizes`.
    fn peak(&self, loaded: &Loaded<B::Plan>, sizes: &BTreeMap<String, i64>) -> Result<u64, RuntimeError> {
        if let Some(peak) = loaded.peaks.lock().unwrap_or_else(PoisonError::into_inner).get(sizes) {
            return Ok(*peak);
        }
        let peak = self.backend.peak(&loaded.cut.graph.bind(sizes)?);
        loaded.peaks.lock().unwrap_or_else(PoisonError::into_inner).insert(sizes.clone(), peak);
        Ok(peak)
    }
}

impl<B: Backend> Session for PlannedSession<B> {
    fn engine(&self) -> Engine {
        B::ENGINE
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn memory(&self) -> Option<u64> {
        self.memory
    }

    fn run(&self, inputs: &[(&str, &Array)], outputs: &[&str]) -> Result<Vec<Array>, RuntimeError> {
        let fed = check::feed(&self.graph, inputs)?;
        let wanted = check::wanted(&self.graph, outputs)?;
        let interior: BTreeSet<ValueId> =
            fed.values.keys().copied().filter(|id| !self.graph.inputs().contains(id)).collect();
        let loaded = self.plan(&fed.sizes, interior, wanted.clone())?;
        if let Some(allowed) = self.memory {
            let needed = self.peak(&loaded, &fed.sizes)?;
            if needed > allowed {
                return Err(RuntimeError::Memory { needed, allowed });
            }
        }
        let feed = Feed { graph: &self.graph, fed: &fed };
        let mut results = match &loaded.stages {
            _ if loaded.cut.graph.outputs().is_empty() => None,
            Some(stages) => Some(Made::Arrays(stages.run(&self.backend, &feed, &self.storage)?)),
            None => Some(Made::Engine(self.backend.execute(self.load(&loaded)?, &loaded.cut, &feed)?)),
        };
        let element = |id: &ValueId| self.graph.value(*id).element;
        let targets = &loaded.cut.targets;
        let again = |at: usize, position: usize| {
            targets[at + 1..].iter().any(|other| matches!(other, Target::Computed(same) if *same == position))
        };
        targets
            .iter()
            .zip(&wanted)
            .enumerate()
            .map(|(at, (target, id))| match (target, &mut results) {
                (Target::Computed(position), Some(Made::Engine(results))) => {
                    B::array(results, *position, !again(at, *position), element(id))
                }
                (Target::Computed(position), Some(Made::Arrays(arrays))) => {
                    let array = arrays.get_mut(*position).ok_or_else(fewer::<B>)?;
                    let empty = Array::F32(ndarray::ArrayD::zeros(ndarray::IxDyn(&[0])));
                    let array =
                        if again(at, *position) { array.clone() } else { std::mem::replace(array, empty) };
                    Ok(in_kind_of(array, element(id)))
                }
                (Target::Computed(_), None) => Err(fewer::<B>()),
                (Target::Fed(source), _) => Ok(in_kind(feed.get(*source)?.1, element(id))),
                (Target::Constant(tensor), _) => Ok(in_kind(&Array::from_tensor(tensor), element(id))),
            })
            .collect()
    }

    fn recycle(&self, arrays: Vec<Array>) {
        for array in arrays {
            self.storage.give(array);
        }
    }

    fn peak_bytes(&self, sizes: &BTreeMap<String, i64>, outputs: &[&str]) -> Result<u64, RuntimeError> {
        let wanted = check::wanted(&self.graph, outputs)?;
        let loaded = self.plan(sizes, BTreeSet::new(), wanted)?;
        self.peak(&loaded, sizes)
    }
}

/// What a run gave.
enum Made<R> {
    Engine(R),
    Arrays(Vec<Array>),
}

fn fewer<B: Backend>() -> RuntimeError {
    RuntimeError::Engine {
        engine: B::ENGINE.name(),
        problem: "it returned fewer results than were asked for".to_owned(),
    }
}

/// What was fed or stored, in the kind of a value that only renames it: casts between floats are aliases here.
fn in_kind(array: &Array, element: Option<ElementType>) -> Array {
    match (array, element.map(Kind::of)) {
        (Array::F32(_), Some(Kind::F64)) => Array::F64(array.to_f64()),
        (Array::F64(_), Some(Kind::F32)) => Array::F32(array.to_f32()),
        _ => array.clone(),
    }
}

/// A result in the kind of the value it stands for.
fn in_kind_of(array: Array, element: Option<ElementType>) -> Array {
    match (&array, element.map(Kind::of)) {
        (Array::F32(_), Some(Kind::F64)) => Array::F64(array.to_f64()),
        _ => array,
    }
}

/// Runs what may panic: an engine's broken invariant is an error of this run, not the end of the program.
pub(crate) fn guarded<T>(
    engine: Engine,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, RuntimeError> {
    let failed = |problem| RuntimeError::Engine { engine: engine.name(), problem };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(failed),
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(failed(format!("it panicked: {said}")))
        }
    }
}
