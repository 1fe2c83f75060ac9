//! One loaded model for one set of results.
//!
//! Large weights are inputs of the model, fed as views of the bytes that all sessions share: they are never copied
//! into rten.

use ::rten::{Model, ModelOptions, NodeId};
use pellucid_graph::Graph;
use pellucid_graph::onnx::{EncodeOptions, encode};

use crate::Engine;
use crate::cut::Cut;
use crate::error::RuntimeError;
use crate::planned::guarded;

/// A model loaded for one set of results.
pub(crate) struct Plan {
    pub(super) model: Model,
    /// The inputs of the cut graph, in order.
    pub(super) inputs: Vec<NodeId>,
    /// Results of the model, each once.
    pub(super) nodes: Vec<NodeId>,
    /// Where the outputs of the cut graph stand among `nodes`.
    pub(super) places: Vec<usize>,
    /// Nodes, the longest that a chain of them can be.
    pub(super) depth: usize,
}

impl Plan {
    /// Loads what was cut out.
    pub(super) fn new(cut: &Cut) -> Result<Self, RuntimeError> {
        let model = load(&cut.graph)?;
        let inputs = cut
            .inputs
            .iter()
            .map(|(name, _)| guarded(Engine::Rten, || model.node_id(name).map_err(|error| error.to_string())))
            .collect::<Result<Vec<NodeId>, RuntimeError>>()?;
        // Each result is asked for once.
        let mut nodes: Vec<NodeId> = Vec::new();
        let places: Vec<usize> = model
            .output_ids()
            .iter()
            .map(|id| {
                nodes.iter().position(|other| other == id).unwrap_or_else(|| {
                    nodes.push(*id);
                    nodes.len() - 1
                })
            })
            .collect();
        Ok(Self { model, inputs, nodes, places, depth: cut.graph.nodes().len() })
    }
}

/// Hands the graph to rten as it is. Its optimisations stay off: they drop unit axes that a constant adds, fuse
/// normalisations and biases whose shapes then do not fit, and match constants within a tolerance.
fn load(graph: &Graph) -> Result<Model, RuntimeError> {
    let options = EncodeOptions { omit_value_info: true, keep_later: true, ..EncodeOptions::default() };
    let encoded = encode(graph, &options)?;
    guarded(Engine::Rten, || {
        ModelOptions::with_all_ops()
            .enable_optimization(false)
            .load(encoded.model)
            .map_err(|error| error.to_string())
    })
}
