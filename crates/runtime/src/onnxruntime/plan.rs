//! One loaded session of onnxruntime for one set of results.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Mutex;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use pellucid_graph::onnx::{EncodeOptions, External, Weights, encode};
use pellucid_graph::{Graph, Tensor};
use tempfile::TempDir;

use super::allocator::return_what_is_free;
use super::device::Device;
use super::fold::Folded;
use super::library;
use crate::Engine;
use crate::cut::Cut;
use crate::error::RuntimeError;
use crate::planned::guarded;

/// Constants of at least so many bytes lie beside the model; smaller ones are read by the engine's own inference.
const LARGE: usize = 1 << 16;

/// What a model file may hold: protobuf ends at 2 GiB.
const INLINE: u64 = 1 << 30;

/// A session loaded for one set of results.
pub(crate) struct Plan {
    /// Its binding takes it as changing while it runs.
    pub(super) session: Mutex<Session>,
    /// Files that are still open where a system does not let go of them earlier.
    _folder: Option<TempDir>,
}

impl Plan {
    /// Loads what was cut out.
    ///
    /// Weights are handed over as a file in a private temporary folder, which is gone once the session is loaded: the
    /// engine then holds each only in the layout it computes with. Given inside the model they stand twice more while it
    /// loads.
    pub(super) fn new(cut: &Cut, threads: Option<usize>, device: Device) -> Result<Self, RuntimeError> {
        let prepared = Prepared::new(&cut.graph)?;
        let environment = library::environment()?;
        guarded(Engine::Onnxruntime, || {
            let mut builder = settings(Session::builder(environment).map_err(text)?, threads, device)?;
            let (session, folder) = match prepared {
                Prepared::Memory(model) => (builder.commit_from_memory(&model), None),
                Prepared::Folder(folder) => {
                    (builder.commit_from_file(folder.path().join(MODEL)), Some(folder))
                }
            };
            let session = Mutex::new(session.map_err(text)?);
            return_what_is_free();
            // Elsewhere a mapped file cannot be removed while it is read.
            Ok(Self { session, _folder: folder.filter(|_| !cfg!(unix)) })
        })
    }
}

/// Names of the files in the temporary folder.
const MODEL: &str = "model.onnx";
const WEIGHTS: &str = "weights";

/// A model as the engine takes it.
enum Prepared {
    Memory(Vec<u8>),
    Folder(TempDir),
}

impl Prepared {
    fn new(graph: &Graph) -> Result<Self, RuntimeError> {
        let options = |weights| EncodeOptions { weights, omit_value_info: true, keep_later: true };
        let outside = || options(Weights::External { file: WEIGHTS, threshold: LARGE });
        let folded = Folded::new(graph, LARGE)?;
        let encoded = encode(&folded.graph, &outside())?;
        let Some(weights) = encoded.external else { return Ok(Self::Memory(encoded.model)) };
        let content = |name: &str, tensor: &Tensor| folded.content(name, tensor);
        let length = weights.length;
        match write(&encoded.model, &weights, content) {
            Ok(Some(folder)) => return Ok(Self::Folder(folder)),
            // Some node of constants is left to the engine.
            Ok(None) => {}
            // No place to write, but the model can hold them.
            Err(_) if length <= INLINE => {
                return Ok(Self::Memory(encode(graph, &options(Weights::Inline))?.model));
            }
            Err(error) => return Err(unwritten(length, &error)),
        }
        let encoded = encode(graph, &outside())?;
        let weights = encoded.external.unwrap_or_default();
        match write(&encoded.model, &weights, |_, tensor| Some(tensor.clone())) {
            Ok(Some(folder)) => Ok(Self::Folder(folder)),
            Ok(None) => Err(super::failed("a constant has no content".to_owned())),
            Err(error) => Err(unwritten(weights.length, &error)),
        }
    }
}

/// Writes the model and its weights into a new folder that only this user may read; `None` where `content` does not
/// know a tensor's bytes.
fn write(
    model: &[u8],
    weights: &External,
    content: impl Fn(&str, &Tensor) -> Option<Tensor>,
) -> io::Result<Option<TempDir>> {
    let folder = tempfile::Builder::new().prefix("pellucid-").tempdir()?;
    std::fs::write(folder.path().join(MODEL), model)?;
    let mut file = BufWriter::new(File::create(folder.path().join(WEIGHTS))?);
    let mut position = 0u64;
    for entry in &weights.tensors {
        let Some(tensor) = content(&entry.name, &entry.tensor) else { return Ok(None) };
        let padding = entry.place.offset.saturating_sub(position);
        io::copy(&mut io::Read::take(io::repeat(0), padding), &mut file)?;
        file.write_all(tensor.bytes())?;
        position = entry.place.offset.saturating_add(u64::try_from(tensor.bytes().len()).unwrap_or(u64::MAX));
    }
    file.flush()?;
    Ok(Some(folder))
}

fn unwritten(bytes: u64, error: &io::Error) -> RuntimeError {
    let folder = std::env::temp_dir();
    super::failed(format!(
        "cannot write {bytes} bytes of weights below {}: {error}; free space there, or name another folder in TMPDIR",
        folder.display()
    ))
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
