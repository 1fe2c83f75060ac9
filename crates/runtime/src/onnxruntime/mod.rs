//! onnxruntime as an engine: a library that the user has, loaded when it is first asked for.

mod allocator;
mod device;
mod fold;
mod library;
mod plan;

use std::sync::{OnceLock, PoisonError};

use ndarray::{ArrayD, IxDyn};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};
use pellucid_graph::{ElementType, Graph, GraphError, NodeId, Tensor};

pub use self::device::Device;
use self::plan::Plan;
use crate::array::{Array, Kind};
use crate::cut::{Cut, Source};
use crate::error::RuntimeError;
use crate::lower::{Lowered, lower};
use crate::planned::{Backend, Feed, guarded};
use crate::{Engine, Options, memory};

const NAME: &str = Engine::Onnxruntime.name();

/// onnxruntime, with the settings of one session.
#[derive(Debug)]
pub(crate) struct Onnxruntime {
    threads: Option<usize>,
    device: Device,
    /// Threads of kernels that run between runs of the engine.
    pool: OnceLock<Option<rayon::ThreadPool>>,
}

/// Whether the library is there and new enough.
///
/// # Errors
/// [`RuntimeError::Library`]: where it was looked for, and what to do.
pub(crate) fn available() -> Result<(), RuntimeError> {
    library::environment().map(|_| ())
}

impl Onnxruntime {
    /// # Errors
    /// Those of [`available`], and a device that the library has no provider for.
    pub(crate) fn new(options: &Options) -> Result<Self, RuntimeError> {
        library::environment()?;
        options.device.check()?;
        Ok(Self { threads: options.threads, device: options.device, pool: OnceLock::new() })
    }
}

impl Backend for Onnxruntime {
    type Plan = Plan;
    type Results = Vec<Array>;
    const ENGINE: Engine = Engine::Onnxruntime;

    fn lower(graph: &Graph, native: bool) -> Result<Lowered, GraphError> {
        lower(graph, Engine::Onnxruntime, native)
    }

    fn fed_weight(_: &Tensor) -> Option<Tensor> {
        // Weights that are fed cannot be laid out anew when the graph is loaded: a forward pass took 2.9 times as long.
        None
    }

    fn load(&self, cut: &Cut) -> Result<Plan, RuntimeError> {
        Plan::new(cut, self.threads, self.device)
    }

    fn execute(&self, plan: &Plan, cut: &Cut, feed: &Feed<'_>) -> Result<Vec<Array>, RuntimeError> {
        let mut converted = Vec::with_capacity(cut.inputs.len());
        for (_, source) in &cut.inputs {
            let Source::Fed(id) = source else { return Err(failed("a weight is fed".to_owned())) };
            converted.push(convert(feed.get(*id)?.1));
        }
        let inputs = converted
            .iter()
            .map(Converted::view)
            .collect::<Result<Vec<SessionInputValue<'_>>, ort::Error>>()
            .map_err(|error| failed(error.to_string()))?;
        guarded(Engine::Onnxruntime, || {
            let mut session = plan.session.lock().unwrap_or_else(PoisonError::into_inner);
            let outputs = session.run(inputs.as_slice()).map_err(|error| error.to_string())?;
            (0..outputs.len()).map(|position| result(&outputs[position])).collect()
        })
    }

    fn array(
        results: &mut Vec<Array>,
        position: usize,
        last: bool,
        element: Option<ElementType>,
    ) -> Result<Array, RuntimeError> {
        let array = results
            .get_mut(position)
            .ok_or_else(|| failed("it returned fewer results than were asked for".to_owned()))?;
        let kind = element.map_or(array.kind(), Kind::of);
        match (array, kind) {
            (Array::F32(array), Kind::F64) => Ok(Array::F64(array.mapv(f64::from))),
            (array, kind) if array.kind() == kind => {
                let empty = Array::F32(ArrayD::zeros(IxDyn(&[0])));
                Ok(if last { std::mem::replace(array, empty) } else { array.clone() })
            }
            (array, kind) => {
                Err(failed(format!("it returned {}, expected {}", array.kind().name(), kind.name())))
            }
        }
    }

    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let pool = self.pool.get_or_init(|| {
            // 0 is one a processor.
            let threads = self.threads.unwrap_or(0);
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()
        });
        match pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    fn peak(&self, graph: &Graph) -> u64 {
        let order: Vec<NodeId> = graph.node_ids().collect();
        let bytes = memory::bytes(graph, &order, |element| u64::try_from(element.size()).unwrap_or(8));
        bytes.held.saturating_mul(HELD).saturating_add(bytes.computed)
    }
}

/// Weights stand in memory as they are given and as the engine lays them out.
const HELD: u64 = 2;

fn failed(problem: String) -> RuntimeError {
    RuntimeError::Engine { engine: NAME, problem }
}

/// An array as onnxruntime takes it.
enum Converted<'a> {
    Floats(&'a [usize], std::borrow::Cow<'a, [f32]>),
    Integers(&'a [usize], std::borrow::Cow<'a, [i64]>),
    Truths(&'a [usize], std::borrow::Cow<'a, [bool]>),
}

impl Converted<'_> {
    fn view(&self) -> Result<SessionInputValue<'_>, ort::Error> {
        match self {
            Self::Floats(shape, values) => input(shape, values),
            Self::Integers(shape, values) => input(shape, values),
            Self::Truths(shape, values) => input(shape, values),
        }
    }
}

fn input<'a, T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    shape: &'a [usize],
    values: &'a [T],
) -> Result<SessionInputValue<'a>, ort::Error> {
    Ok(TensorRef::from_array_view((shape, values))?.into())
}

fn convert(array: &Array) -> Converted<'_> {
    use std::borrow::Cow;
    fn flat<T: Clone>(array: &ArrayD<T>) -> Cow<'_, [T]> {
        array.as_slice().map_or_else(|| Cow::Owned(array.iter().cloned().collect()), Cow::Borrowed)
    }
    match array {
        Array::F32(array) => Converted::Floats(array.shape(), flat(array)),
        #[expect(clippy::cast_possible_truncation, reason = "it computes in float32: documented")]
        Array::F64(array) => {
            Converted::Floats(array.shape(), Cow::Owned(array.iter().map(|value| *value as f32).collect()))
        }
        Array::I64(array) => Converted::Integers(array.shape(), flat(array)),
        Array::Bool(array) => Converted::Truths(array.shape(), flat(array)),
    }
}

/// A result, copied out of the engine's memory.
fn result(value: &DynValue) -> Result<Array, String> {
    let ValueType::Tensor { ty, .. } = value.dtype() else { return Err("it returned no tensor".to_owned()) };
    match ty {
        TensorElementType::Float32 => copy(value).map(Array::F32),
        TensorElementType::Float64 => copy(value).map(Array::F64),
        TensorElementType::Int64 => copy(value).map(Array::I64),
        TensorElementType::Bool => copy(value).map(Array::Bool),
        other => Err(format!("it returned {other}")),
    }
}

fn copy<T: PrimitiveTensorElementType + Clone>(value: &DynValue) -> Result<ArrayD<T>, String> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), values.to_vec()).map_err(|error| error.to_string())
}
