//! rten as an engine.

mod plan;
mod schedule;

use std::sync::Arc;

use ::rten::{RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use pellucid_graph::{ElementType, Graph, GraphError, Tensor};
use rten_tensor::prelude::*;

use self::plan::Plan;
use self::schedule::schedule;
use crate::array::{Array, Kind};
use crate::cut::{Cut, Source};
use crate::error::RuntimeError;
use crate::lower::{Lowered, lower};
use crate::planned::{Backend, Feed, guarded};
use crate::{Engine, Options, memory, weights};

const NAME: &str = Engine::Rten.name();

/// rten, with the threads of one session.
pub(crate) struct Rten {
    pool: Option<Arc<ThreadPool>>,
}

/// Constants of more bytes than this are fed as views; smaller ones are written into the model.
const VIEWED: usize = 4096;

/// rten keeps freed buffers for later values, of which each takes the smallest that is large enough: ResNet-50 with
/// its gradient took 1.3 to 2.3 times what its values need at their peak.
const RETAINED: u64 = 2;

/// Graphs of more nodes are planned on a stack of their own.
const SHALLOW: usize = 1000;

/// Bytes of stack for a node, several times what was seen.
const FRAME: usize = 4096;

impl Rten {
    pub(crate) fn new(options: &Options) -> Self {
        Self { pool: options.threads.map(|threads| Arc::new(ThreadPool::with_num_threads(threads.max(1)))) }
    }
}

/// The results of a run, and where the outputs of the cut graph stand among them.
pub(crate) struct Results {
    values: Vec<Option<Value>>,
    places: Vec<usize>,
    /// How often each value is still asked for: the last time it is given away, not copied.
    left: Vec<usize>,
}

impl Backend for Rten {
    type Plan = Plan;
    type Results = Results;
    const ENGINE: Engine = Engine::Rten;

    fn lower(graph: &Graph, native: bool) -> Result<Lowered, GraphError> {
        lower(graph, Engine::Rten, native)
    }

    fn fed_weight(tensor: &Tensor) -> Option<Tensor> {
        let large = tensor.element() == ElementType::F32 && tensor.bytes().len() > VIEWED;
        large.then(|| weights::aligned(tensor))
    }

    fn load(&self, cut: &Cut) -> Result<Plan, RuntimeError> {
        Plan::new(cut)
    }

    fn execute(&self, plan: &Plan, cut: &Cut, feed: &Feed<'_>) -> Result<Results, RuntimeError> {
        // Converted arrays live here while rten reads views of them.
        let mut converted: Vec<Option<Converted<'_>>> = Vec::with_capacity(cut.inputs.len());
        for (_, source) in &cut.inputs {
            converted.push(match source {
                Source::Fed(id) => {
                    let (name, array) = feed.get(*id)?;
                    Some(convert(name, array)?)
                }
                Source::Weight(_) => None,
            });
        }
        let mut values: Vec<(::rten::NodeId, ValueOrView<'_>)> = Vec::with_capacity(cut.inputs.len());
        for ((node, (_, source)), converted) in plan.inputs.iter().zip(&cut.inputs).zip(&converted) {
            let view = match (source, converted) {
                (Source::Weight(tensor), _) => {
                    view(tensor.shape(), weights::values(tensor).unwrap_or_default())?
                }
                (_, Some(Converted::Floats(shape, values))) => view(shape, values)?,
                (_, Some(Converted::Integers(shape, values))) => view(shape, values)?,
                (Source::Fed(id), None) => {
                    feed.get(*id)?;
                    continue;
                }
            };
            values.push((*node, view.into()));
        }
        let options = RunOptions::default().with_thread_pool(self.pool.clone());
        let run =
            move || plan.model.run(values, &plan.nodes, Some(options)).map_err(|error| error.to_string());
        let values = if plan.depth <= SHALLOW {
            guarded(Engine::Rten, run)?
        } else {
            // rten plans by recursion, as deep as the graph, which could end the program.
            std::thread::scope(|scope| {
                let work = std::thread::Builder::new()
                    .stack_size(plan.depth.saturating_mul(FRAME))
                    .spawn_scoped(scope, || guarded(Engine::Rten, run))
                    .map_err(|error| failed(error.to_string()))?;
                work.join().unwrap_or_else(|_| Err(failed("it panicked".to_owned())))
            })?
        };
        let left =
            (0..values.len()).map(|at| plan.places.iter().filter(|place| **place == at).count()).collect();
        Ok(Results { values: values.into_iter().map(Some).collect(), places: plan.places.clone(), left })
    }

    fn array(
        results: &mut Results,
        position: usize,
        last: bool,
        element: Option<ElementType>,
    ) -> Result<Array, RuntimeError> {
        let missing = || failed("it returned fewer results than were asked for".to_owned());
        let place = *results.places.get(position).ok_or_else(missing)?;
        let left = results.left.get_mut(place).ok_or_else(missing)?;
        *left = left.saturating_sub(usize::from(last));
        if *left == 0 {
            return given(results.values[place].take().ok_or_else(missing)?, element);
        }
        result(results.values[place].as_ref().ok_or_else(missing)?, element)
    }

    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.as_deref().unwrap_or_else(|| ::rten::thread_pool()).run(work)
    }

    fn peak(&self, graph: &Graph) -> u64 {
        let bytes = memory::bytes(graph, &schedule(graph), |_| 4);
        bytes.held.saturating_add(bytes.computed.saturating_mul(RETAINED))
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

/// A result whose numbers nobody else takes: `float32` is not copied.
fn given(value: Value, element: Option<ElementType>) -> Result<Array, RuntimeError> {
    match (value, element.map(Kind::of)) {
        (Value::FloatTensor(tensor), Some(Kind::F32) | None) => {
            let shape = ndarray::IxDyn(tensor.shape());
            ndarray::ArrayD::from_shape_vec(shape, tensor.into_data())
                .map(Array::F32)
                .map_err(|_| failed("it returned a wrong number of elements".to_owned()))
        }
        (value, _) => result(&value, element),
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
