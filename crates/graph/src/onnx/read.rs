//! Reading: bytes or a file to a [`Graph`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::align::align;
use super::build;
use super::error::DecodeError;
use super::expand;
use super::external;
use super::limits::Limits;
use super::order;
use super::proto;
use super::scan::{check, scan};
use crate::graph::Graph;

/// Reads a model that keeps its weights inside.
///
/// Weight bytes are shared with `bytes`, not copied, where the file stores them raw. The graph is in the form of
/// opset 18 whatever the file's opset: see [`crate::operators`].
pub fn decode(bytes: Bytes, limits: &Limits) -> Result<Graph, DecodeError> {
    read(bytes, None, limits)
}

/// Reads a model file, and its weights from data files in the same folder.
///
/// Data files must be regular files inside the model's own folder; no link may lead to them.
pub fn read_file(path: impl AsRef<Path>, limits: &Limits) -> Result<Graph, DecodeError> {
    let path = path.as_ref();
    let failed = |problem: String| DecodeError::File { path: path.display().to_string(), problem };
    let metadata = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is no regular file".to_owned()));
    }
    check("bytes of model file", metadata.len(), limits.file_bytes)?;
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(usize::try_from(metadata.len()).unwrap_or(usize::MAX))
        .map_err(|error| failed(error.to_string()))?;
    // A file that grows while it is read is cut off, and then refused for its size.
    file.take(limits.file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    read(Bytes::from(bytes), Some(path.parent().unwrap_or(Path::new(""))), limits)
}

fn read(bytes: Bytes, folder: Option<&Path>, limits: &Limits) -> Result<Graph, DecodeError> {
    scan(&bytes, limits)?;
    let mut model =
        proto::Model::decode(bytes.clone()).map_err(|error| DecodeError::NotOnnx(error.to_string()))?;
    align(&mut model, bytes);
    external::fetch(&mut model, folder, limits)?;
    let mut draft = expand::expand(&model, limits)?;
    order::order(&mut draft, None)?;
    if draft.outputs.is_empty() {
        return Err(DecodeError::NotOnnx("its graph has no output".to_owned()));
    }
    let mut graph = build::build(draft, limits)?;
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = graph.outputs().iter().find(|output| !seen.insert(**output)) {
        return Err(crate::error::GraphError::DuplicateOutput(graph.value(*twice).name.clone()).into());
    }
    let producer = [model.producer_name, model.producer_version].join(" ");
    producer.trim().clone_into(&mut graph.producer);
    if !model.doc_string.is_empty() {
        graph.description = model.doc_string;
    }
    graph.metadata = model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
    Ok(graph)
}
