//! What a model is made of, from its file alone: layers with their sizes, parameters, multiply-adds, memory and receptive
//! fields, and how their weights are distributed. Nothing is run.

mod costs;
mod layers;
mod memory;
mod parameters;
mod receptive;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Dim, Graph, display_shape};
use serde::Serialize;

use crate::error::Error;
use crate::model::Model;

pub use self::receptive::Field;
pub use self::weights::WeightStatistics;

/// How a summary is made.
#[derive(Debug, Clone)]
pub struct SummaryOptions {
    /// Rows that multiply-adds and memory are counted for.
    pub rows: usize,
    /// Sizes of inputs that the file leaves open, by their symbols; 224 where nothing is said.
    pub sizes: BTreeMap<String, i64>,
    /// Whether weights are read and described, which takes about as long as reading the file.
    pub weights: bool,
}

impl Default for SummaryOptions {
    fn default() -> Self {
        Self { rows: 1, sizes: BTreeMap::new(), weights: true }
    }
}

/// Parameters of a layer or a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// Numbers that training changes.
    pub trainable: u64,
    /// Running means and variances of batch normalisation, which training keeps but does not differentiate.
    pub statistics: u64,
}

/// Memory of a model for the rows of the summary, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Parameters and statistics.
    pub weights: u64,
    /// The most that inputs and computed values take together in a forward pass that lets go of each value after its last
    /// use. Engines need workspace and packed weights beside.
    pub peak_activations: Option<u64>,
}

/// One layer: a node that computes, not one that only moves numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// Name of the module where the file tells it, else of the value.
    pub name: String,
    /// What it does, by ONNX's name of the operator.
    pub kind: String,
    /// Name of the value that it computes: what `--layer` takes.
    pub value: String,
    /// Shape of what it takes.
    pub input_shape: Option<String>,
    /// Shape of what it gives.
    pub output_shape: Option<String>,
    /// Sizes of the window, of convolutions and pooling.
    pub kernel: Option<Vec<i64>>,
    /// Parameters that no earlier layer has.
    pub parameters: Parameters,
    /// Names of parameters that an earlier layer has too.
    pub shared: Vec<String>,
    /// Multiplications with weights, each with its addition, for the rows of the summary; of products of two computed
    /// matrices as well. `None` where sizes are not known.
    pub multiply_adds: Option<u64>,
    /// Bytes of what it gives.
    pub activation_bytes: Option<u64>,
    /// What an element sees of the input, by spatial axis; `None` where that is all of it, or there is no space.
    pub receptive_field: Option<Vec<Field>>,
    /// How its weights are distributed, where they were read.
    pub weights: Option<WeightStatistics>,
}

/// What a model is made of.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// Inputs and their shapes.
    pub inputs: Vec<(String, String)>,
    /// Rows that it was counted for.
    pub rows: usize,
    /// Parameters of all layers, shared ones once.
    pub parameters: Parameters,
    /// Multiply-adds of all layers; `None` where those of a layer are not known.
    pub multiply_adds: Option<u64>,
    /// Memory.
    pub memory: Memory,
    /// Layers, in the order in which they are computed.
    pub layers: Vec<Layer>,
    /// What should be known to read it right.
    pub notes: Vec<String>,
}

/// What `model` is made of.
///
/// Parameters are the constants that the file's layers take, counted once each. The conventions are those of the fields'
/// documentation; a file whose batch normalisations were folded into convolutions holds their products, and a note says
/// so.
///
/// # Errors
/// [`Error::Setting`] where a size is given that contradicts the model's.
pub fn summary(model: &Model, options: &SummaryOptions) -> Result<Summary, Error> {
    let graph = sized(model.graph(), options)?;
    let found = parameters::find(&graph);
    let layers = layers::layers(&graph, &found, options.weights);
    let mut parameters = Parameters::default();
    for layer in &layers {
        parameters.trainable += layer.parameters.trainable;
        parameters.statistics += layer.parameters.statistics;
    }
    let inputs = graph.inputs().iter().map(|id| {
        let value = graph.value(*id);
        (value.name.clone(), value.shape.as_deref().map_or_else(|| "unknown".to_owned(), display_shape))
    });
    Ok(Summary {
        model: model.name().to_owned(),
        inputs: inputs.collect(),
        rows: options.rows,
        parameters,
        multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
        memory: Memory { weights: found.bytes, peak_activations: memory::peak(&graph) },
        notes: notes(&graph, &layers),
        layers,
    })
}

/// The graph with every size known that can be.
fn sized(graph: &Graph, options: &SummaryOptions) -> Result<Graph, Error> {
    let mut rows = BTreeSet::new();
    for id in graph.inputs() {
        if let Some(first) = graph.value(*id).shape.as_ref().and_then(|shape| shape.first()) {
            rows.extend(Dim::as_symbol(first).map(str::to_owned));
        }
    }
    let symbols = graph.symbols();
    if let Some(unknown) = options.sizes.keys().find(|name| !symbols.contains(*name)) {
        let names: Vec<String> = symbols.iter().cloned().collect();
        return Err(Error::Setting {
            name: "size".to_owned(),
            problem: format!("the model has no size {unknown:?}; it leaves open: {}", names.join(", ")),
        });
    }
    let count = i64::try_from(options.rows).unwrap_or(i64::MAX);
    let size = |symbol: &String| match options.sizes.get(symbol) {
        Some(size) => *size,
        None if rows.contains(symbol) => count,
        None => 224,
    };
    let sizes: BTreeMap<String, i64> = symbols.iter().map(|symbol| (symbol.clone(), size(symbol))).collect();
    if sizes.is_empty() { Ok(graph.clone()) } else { Ok(graph.bind(&sizes)?) }
}

fn notes(graph: &Graph, layers: &[Layer]) -> Vec<String> {
    let mut notes = Vec::new();
    let has = |kind: &str| layers.iter().any(|layer| layer.kind == kind);
    let folded = layers.iter().any(|layer| layer.kind == "Conv")
        && !has("BatchNormalization")
        && graph.values().iter().any(|value| {
            value.constant().is_some()
                && (value.name.starts_with("onnx::Conv_") || value.name.ends_with(".weight_bias"))
        });
    if folded {
        notes.push(
            "batch normalisation was folded into the convolutions when the file was written: parameters are the \
             products, and running statistics are gone"
                .to_owned(),
        );
    }
    let shared: BTreeSet<&str> =
        layers.iter().flat_map(|layer| layer.shared.iter().map(String::as_str)).collect();
    if !shared.is_empty() {
        let names: Vec<&str> = shared.into_iter().take(5).collect();
        notes.push(format!("counted once though several layers take them: {}", names.join(", ")));
    }
    notes
}
