//! One loaded session of onnxruntime for one set of results.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use pellucid_graph::onnx::{EncodeOptions, Place, Weights, encode};
use pellucid_graph::{Graph, Origin, Tensor};

use super::device::Device;
use super::library;
use super::weights::{Weight, shared};
use crate::Engine;
use crate::cut::Cut;
use crate::error::RuntimeError;
use crate::planned::guarded;

/// Constants of more bytes than this may lie outside the model's file; smaller ones never do, so that the engine's own
/// inference and optimiser read them.
const LARGE: usize = 4096;

/// Weights of more bytes than this in all are handed over beside the model, whose file protobuf limits to 2 GiB, and
/// are then shared between sessions. The engine lays most weights out anew when it loads a model and lets go of those
/// that the file held, not of those that were handed over: below the limit the file takes less.
const INLINE: usize = 1 << 30;

/// A session loaded for one set of results.
pub(crate) struct Plan {
    /// Its binding takes it as changing while it runs.
    pub(super) session: Mutex<Session>,
    _weights: Vec<Arc<Weight>>,
}

impl Plan {
    /// Loads what was cut out.
    pub(super) fn new(cut: &Cut, threads: Option<usize>, device: Device) -> Result<Self, RuntimeError> {
        let large = constants(&cut.graph);
        let outside = large.values().fold(0usize, |sum, length| sum.saturating_add(*length)) > INLINE;
        // Bodies keep their constants: the engine replaces those of the graph itself alone.
        let placement = |tensor: &Tensor| {
            (outside && large.contains_key(&tensor.bytes().as_ptr().addr()))
                .then(|| Place { file: "weights".to_owned(), offset: 0 })
        };
        let options =
            EncodeOptions { weights: Weights::Placed(&placement), omit_value_info: true, keep_later: true };
        let encoded = encode(&cut.graph, &options)?;
        let environment = library::environment()?;
        guarded(Engine::Onnxruntime, || {
            let mut weights = Vec::new();
            let mut builder = settings(Session::builder(environment).map_err(text)?, threads, device)?;
            for external in encoded.external.iter().flat_map(|external| &external.tensors) {
                let weight = shared(&external.tensor).map_err(text)?;
                builder = builder
                    .with_external_initializer(&external.name, Arc::clone(&weight.value))
                    .map_err(text)?;
                weights.push(weight);
            }
            let session = builder.commit_from_memory(&encoded.model).map_err(text)?;
            Ok(Self { session: Mutex::new(session), _weights: weights })
        })
    }
}

/// Addresses and lengths of the large constants of a graph, those in bodies left out.
fn constants(graph: &Graph) -> BTreeMap<usize, usize> {
    let large = graph.values().iter().filter_map(|value| match &value.origin {
        Origin::Constant(tensor) if tensor.bytes().len() > LARGE => {
            Some((tensor.bytes().as_ptr().addr(), tensor.bytes().len()))
        }
        _ => None,
    });
    large.collect()
}

fn settings(
    builder: SessionBuilder,
    threads: Option<usize>,
    device: Device,
) -> Result<SessionBuilder, String> {
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_parallel_execution(false)
        .map_err(text)?
        .with_inter_threads(1)
        .map_err(text)?
        // 0 is one a physical core.
        .with_intra_threads(threads.map_or(0, |threads| threads.max(1)))
        .map_err(text)?
        .with_deterministic_compute(true)
        .map_err(text)?
        // Buffers planned for a run's sizes at once save no time here, and are held beside those of the first run.
        .with_memory_pattern(false)
        .map_err(text)?
        // Weights in the arena would be rounded up with it.
        .with_device_allocated_initializers()
        .map_err(text)?
        // Threads spin while a run lasts, and sleep between runs.
        .with_config_entry("session.force_spinning_stop", "1")
        .map_err(text)?
        .with_log_level(ort::logging::LogLevel::Fatal)
        .map_err(text)?;
    builder.with_execution_providers(device.providers()).map_err(text)
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn text<T>(error: ort::Error<T>) -> String {
    error.to_string()
}
