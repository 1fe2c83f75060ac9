//! rten as an engine.

mod plan;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use ::rten::{RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use pellucid_graph::{ElementType, Graph, ValueId};
use rten_tensor::prelude::*;

use self::plan::{Plan, Source, Target};
use crate::array::{Array, Kind};
use crate::check::{self, Fed};
use crate::error::{RuntimeError, UnsupportedNode};
use crate::lower::{Lowered, lower};
use crate::weights;
use crate::{Engine, Options, Port, Session};

const NAME: &str = Engine::Rten.name();

/// A graph run by rten.
pub(crate) struct RtenSession {
    graph: Graph,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    memory: Option<u64>,
    pool: Option<Arc<ThreadPool>>,
    /// The lowered graph; `None` where some node must know sizes, so that it is lowered anew for every binding.
    lowered: Option<Arc<Lowered>>,
    plans: Mutex<HashMap<Key, Arc<Plan>>>,
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

/// Graphs of more nodes are planned on a stack of their own.
const SHALLOW: usize = 1000;

/// Bytes of stack for a node, several times what was seen.
const FRAME: usize = 4096;

/// More plans than this are not kept: callers ask for few sets of outputs.
const PLANS: usize = 64;

impl RtenSession {
    pub(crate) fn open(graph: &Graph, options: &Options) -> Result<Self, RuntimeError> {
        let lowered = lower(graph)?;
        if !lowered.refused.is_empty() {
            let nodes = [lowered.refused, lowered.waiting].concat();
            return Err(RuntimeError::Unsupported { engine: NAME, nodes });
        }
        if !lowered.waiting.is_empty() && graph.symbols().is_empty() {
            // No size is free that a run could bind.
            return Err(RuntimeError::Unsupported { engine: NAME, nodes: lowered.waiting });
        }
        Ok(Self {
            graph: graph.clone(),
            inputs: check::ports(graph, graph.inputs()),
            outputs: check::ports(graph, graph.outputs()),
            memory: options.memory,
            pool: options.threads.map(|threads| Arc::new(ThreadPool::with_num_threads(threads.max(1)))),
            lowered: lowered.waiting.is_empty().then(|| Arc::new(lowered)),
            plans: Mutex::default(),
        })
    }

    /// The lowered graph for this binding of symbols.
    fn lowered(&self, sizes: &BTreeMap<String, i64>) -> Result<Arc<Lowered>, RuntimeError> {
        if let Some(lowered) = &self.lowered {
            return Ok(Arc::clone(lowered));
        }
        let lowered = lower(&self.graph.bind(sizes)?)?;
        if lowered.refused.is_empty() && lowered.waiting.is_empty() {
            return Ok(Arc::new(lowered));
        }
        let nodes = [lowered.refused, lowered.waiting].concat();
        Err(RuntimeError::Unsupported { engine: NAME, nodes })
    }

    fn plan(
        &self,
        sizes: &BTreeMap<String, i64>,
        fed: BTreeSet<ValueId>,
        wanted: Vec<ValueId>,
    ) -> Result<Arc<Plan>, RuntimeError> {
        let sizes = self.lowered.is_none().then(|| sizes.clone());
        let key = Key { sizes, fed, wanted };
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(plan));
        }
        let lowered = self.lowered(key.sizes.as_ref().unwrap_or(&BTreeMap::new()))?;
        let plan = Arc::new(Plan::new(&self.graph, &lowered, &key.fed, &key.wanted)?);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    fn execute(&self, plan: &Plan, fed: &Fed<'_>) -> Result<Vec<Value>, RuntimeError> {
        if plan.nodes.is_empty() {
            return Ok(Vec::new());
        }
        // Converted arrays live here while rten reads views of them.
        let mut converted: Vec<Option<Converted<'_>>> = Vec::with_capacity(plan.inputs.len());
        for input in &plan.inputs {
            converted.push(match &input.source {
                Source::Fed(id) => {
                    let array = fed.values.get(id).ok_or_else(|| check::missing(&self.graph, *id))?;
                    Some(convert(&self.graph.value(*id).name, array)?)
                }
                Source::Weight(_) => None,
            });
        }
        let mut values: Vec<(::rten::NodeId, ValueOrView<'_>)> = Vec::with_capacity(plan.inputs.len());
        for (input, converted) in plan.inputs.iter().zip(&converted) {
            let view = match (&input.source, converted) {
                (Source::Weight(tensor), _) => {
                    view(tensor.shape(), weights::values(tensor).unwrap_or_default())?
                }
                (_, Some(Converted::Floats(shape, values))) => view(shape, values)?,
                (_, Some(Converted::Integers(shape, values))) => view(shape, values)?,
                (Source::Fed(id), None) => return Err(check::missing(&self.graph, *id)),
            };
            values.push((input.node, view.into()));
        }
        let options = RunOptions::default().with_thread_pool(self.pool.clone());
        let run =
            move || plan.model.run(values, &plan.nodes, Some(options)).map_err(|error| error.to_string());
        if plan.depth <= SHALLOW {
            return guarded(run);
        }
        // rten plans by recursion, as deep as the graph, which could end the program.
        std::thread::scope(|scope| {
            let work = std::thread::Builder::new()
                .stack_size(plan.depth.saturating_mul(FRAME))
                .spawn_scoped(scope, || guarded(run))
                .map_err(|error| failed(error.to_string()))?;
            work.join().unwrap_or_else(|_| Err(failed("it panicked".to_owned())))
        })
    }
}

/// An array as rten takes it.
enum Converted<'a> {
    Floats(&'a [usize], std::borrow::Cow<'a, [f32]>),
    Integers(&'a [usize], Vec<i32>),
}

fn convert<'a>(name: &str, array: &'a Array) -> Result<Converted<'a>, RuntimeError> {
    use std::borrow::Cow;
    Ok(match array {
        Array::F32(array) => Converted::Floats(
            array.shape(),
            array.as_slice().map_or_else(|| Cow::Owned(array.iter().copied().collect()), Cow::Borrowed),
        ),
        #[expect(clippy::cast_possible_truncation, reason = "rten computes in float32: documented")]
        Array::F64(array) => {
            Converted::Floats(array.shape(), Cow::Owned(array.iter().map(|value| *value as f32).collect()))
        }
        Array::I64(array) => {
            let narrow = |value: &i64| {
                i32::try_from(*value).map_err(|_| RuntimeError::IntegerRange {
                    name: name.to_owned(),
                    value: *value,
                    engine: NAME,
                })
            };
            Converted::Integers(array.shape(), array.iter().map(narrow).collect::<Result<_, _>>()?)
        }
        Array::Bool(array) => {
            Converted::Integers(array.shape(), array.iter().map(|value| i32::from(*value)).collect())
        }
    })
}

fn view<'a, T>(shape: &[usize], values: &'a [T]) -> Result<ValueView<'a>, RuntimeError>
where
    ValueView<'a>: From<rten_tensor::TensorView<'a, T>>,
{
    rten_tensor::TensorView::try_from_data(shape, values)
        .map(ValueView::from)
        .map_err(|error| failed(error.to_string()))
}

fn failed(problem: String) -> RuntimeError {
    RuntimeError::Engine { engine: NAME, problem }
}

/// Runs what may panic: an engine's broken invariant is an error of this run, not the end of the program.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, RuntimeError> {
    match catch_unwind(AssertUnwindSafe(work)) {
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

/// A result in the kind of the value it stands for.
fn result(value: &Value, element: Option<ElementType>) -> Result<Array, RuntimeError> {
    let shape: Vec<usize> = match value {
        Value::FloatTensor(tensor) => tensor.shape().to_vec(),
        Value::Int32Tensor(tensor) => tensor.shape().to_vec(),
        _ => return Err(failed("it returned neither float32 nor int32".to_owned())),
    };
    let wrong = |_| failed("it returned a wrong number of elements".to_owned());
    let shaped = ndarray::IxDyn(&shape);
    match (value, element.map(Kind::of)) {
        (Value::FloatTensor(tensor), Some(Kind::F64)) => {
            let values = tensor.iter().map(|value| f64::from(*value)).collect();
            ndarray::ArrayD::from_shape_vec(shaped, values).map(Array::F64).map_err(wrong)
        }
        (Value::FloatTensor(tensor), Some(Kind::F32) | None) => {
            ndarray::ArrayD::from_shape_vec(shaped, tensor.to_vec()).map(Array::F32).map_err(wrong)
        }
        (Value::Int32Tensor(tensor), Some(Kind::Bool)) => {
            let values = tensor.iter().map(|value| *value != 0).collect();
            ndarray::ArrayD::from_shape_vec(shaped, values).map(Array::Bool).map_err(wrong)
        }
        (Value::Int32Tensor(tensor), Some(Kind::I64) | None) => {
            let values = tensor.iter().map(|value| i64::from(*value)).collect();
            ndarray::ArrayD::from_shape_vec(shaped, values).map(Array::I64).map_err(wrong)
        }
        (_, kind) => Err(failed(format!("it returned another element type than {kind:?}"))),
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

impl Session for RtenSession {
    fn engine(&self) -> Engine {
        Engine::Rten
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
        let plan = self.plan(&fed.sizes, interior, wanted.clone())?;
        if let Some(allowed) = self.memory {
            let needed = plan.peak(&fed.sizes)?;
            if needed > allowed {
                return Err(RuntimeError::Memory { needed, allowed });
            }
        }
        let values = self.execute(&plan, &fed)?;
        let element = |id: &ValueId| self.graph.value(*id).element;
        plan.targets
            .iter()
            .zip(&wanted)
            .map(|(target, id)| match target {
                Target::Computed(position) => {
                    let value = values
                        .get(*position)
                        .ok_or_else(|| failed("it returned fewer results than were asked for".to_owned()))?;
                    result(value, element(id))
                }
                Target::Fed(source) => match fed.values.get(source) {
                    Some(array) => Ok(in_kind(array, element(id))),
                    None => Err(check::missing(&self.graph, *source)),
                },
                Target::Constant(tensor) => Ok(in_kind(&Array::from_tensor(tensor), element(id))),
            })
            .collect()
    }

    fn peak_bytes(&self, sizes: &BTreeMap<String, i64>, outputs: &[&str]) -> Result<u64, RuntimeError> {
        let wanted = check::wanted(&self.graph, outputs)?;
        self.plan(sizes, BTreeSet::new(), wanted)?.peak(sizes)
    }
}

/// The error that a value's node cannot be lowered.
fn not_lowered(graph: &Graph, id: ValueId) -> RuntimeError {
    let node = graph.producer_of(id).map(|node| graph.node(node));
    RuntimeError::Unsupported {
        engine: NAME,
        nodes: vec![UnsupportedNode {
            name: node.map_or_else(String::new, |node| node.name.clone()),
            operator: node.map_or_else(String::new, |node| node.operator.clone()),
            reason: format!("{:?} depends on a node that is not computed", graph.value(id).name),
        }],
    }
}
