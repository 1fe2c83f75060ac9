//! What a model is made of, from its file alone: layers with their sizes, parameters, multiply-adds, memory and receptive
//! fields, modules rebuilt from names, and how weights are distributed. Nothing is run, unless times are asked for.

mod costs;
mod difference;
mod filters;
mod layers;
mod outline;
mod parameters;
mod places;
mod profile;
mod receptive;
mod weights;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pellucid_graph::{Dim, Graph, ValueId};
use pellucid_runtime::live_bytes;
use serde::Serialize;

use crate::error::Error;
use crate::explain::{Limits, Progress};
use crate::model::Model;
use crate::sizes;

pub use self::difference::{Difference, Matching, Moved, Unmatched, difference};
pub use self::filters::Filters;
pub use self::outline::{Outline, Row};
pub use self::profile::{Profile, profile};
pub use self::receptive::Field;
pub use self::weights::{Initialisation, Role, Spectrum, WeightStatistics};

/// How a summary is made.
#[derive(Debug, Clone)]
pub struct SummaryOptions {
    /// Rows that multiply-adds and memory are counted for.
    pub rows: usize,
    /// Sizes of inputs that the file leaves open, by their symbols; 224 where nothing is said.
    pub sizes: BTreeMap<String, i64>,
    /// Whether weights are read and described, which takes a few times as long as reading the file.
    pub weights: bool,
    /// Singular values are computed of matrices whose shorter side is at most this; the cost grows with its cube.
    pub singular_values: usize,
}

/// Matrices up to this shorter side have their singular values computed where nothing is said.
pub const SINGULAR_VALUES: usize = 256;

impl Default for SummaryOptions {
    fn default() -> Self {
        Self { rows: 1, sizes: BTreeMap::new(), weights: true, singular_values: SINGULAR_VALUES }
    }
}

/// A size: a number, or an expression of what a file leaves open and nobody can know before a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Size {
    /// A number.
    Known(i64),
    /// An expression.
    Open(String),
}

impl From<&Dim> for Size {
    fn from(dim: &Dim) -> Self {
        dim.value().map_or_else(|| Self::Open(dim.to_string()), Self::Known)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(size) => size.fmt(f),
            Self::Open(text) => f.write_str(text),
        }
    }
}

/// Sizes as text: `[1, 64, 112, 112]`.
pub fn display_sizes(sizes: &[Size]) -> String {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

/// Parameters of a layer or a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// Numbers that training changes.
    pub trainable: u64,
    /// Running means and variances of batch normalisation, which training keeps but does not differentiate.
    pub statistics: u64,
}

impl std::ops::AddAssign for Parameters {
    fn add_assign(&mut self, other: Self) {
        self.trainable += other.trainable;
        self.statistics += other.statistics;
    }
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

/// One layer: a node that computes or joins, not one that only moves numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Layer {
    /// Name of the module where the file tells it, else of the value.
    pub name: String,
    /// What it does, by ONNX's name of the operator.
    pub kind: String,
    /// Name of the value that it computes: what `--layer` takes.
    pub value: String,
    /// Inputs of the model, and values of other layers, that it is computed of; what only moves numbers between is passed
    /// over.
    pub inputs: Vec<String>,
    /// Shape of what it takes.
    pub input_shape: Option<Vec<Size>>,
    /// Shape of what it gives.
    pub output_shape: Option<Vec<Size>>,
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
    /// What an element sees of the input, by spatial axis; `None` where that is all of it, where there is no space, and
    /// where it is not known.
    pub receptive_field: Option<Vec<Field>>,
    /// How its weights are distributed, where they were read; shared ones stand at the first layer that has them.
    pub weights: Vec<WeightStatistics>,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Its shape, where the number of axes is known.
    pub shape: Option<Vec<Size>>,
    /// Of an output, the value of the layer that it is or is moved from.
    pub value: Option<String>,
}

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The weights of which it is true in the same words.
    pub weights: Vec<String>,
    /// What is remarkable.
    pub remark: String,
}

/// What a model is made of.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
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
    /// Modules and layers as a tree, from outside to inside.
    pub modules: Outline,
    /// What is remarkable of the weights, where they were read.
    pub findings: Vec<Finding>,
    /// What should be known to read it right.
    pub notes: Vec<String>,
    /// How long layers take, where they were run.
    pub profile: Option<Profile>,
    /// The filters of the first layer, where it is a convolution over a picture and weights were read.
    #[serde(skip)]
    pub filters: Option<Filters>,
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
    let (graph, guessed) = sizes::bound(model.graph(), Some(options.rows), &options.sizes)?;
    let found = parameters::find(&graph);
    let mut layers = layers::layers(&graph, &found);
    if options.weights {
        weights::describe(&graph, &found, options.singular_values, &mut layers);
    }
    let mut parameters = Parameters::default();
    for layer in &layers.rows {
        parameters += layer.parameters;
    }
    let port = |id: &ValueId, value: Option<ValueId>| Port {
        name: graph.value(*id).name.clone(),
        shape: layers::shape(&graph, *id),
        value: value.map(|id| graph.value(id).name.clone()),
    };
    Ok(Summary {
        model: model.name().to_owned(),
        inputs: graph.inputs().iter().map(|id| port(id, None)).collect(),
        outputs: graph.outputs().iter().map(|id| port(id, layers.sources[id.index()])).collect(),
        rows: options.rows,
        parameters,
        multiply_adds: layers.rows.iter().try_fold(0u64, |sum, layer| sum.checked_add(layer.multiply_adds?)),
        memory: Memory { weights: found.bytes, peak_activations: live_bytes(&graph) },
        modules: Outline::of(&layers.rows, &layers.places),
        findings: findings(&layers.rows),
        notes: notes(&graph, &layers.rows, &guessed),
        profile: None,
        filters: options.weights.then(|| filters::of(&graph)).flatten(),
        layers: layers.rows,
    })
}

/// What is remarkable of the layers' weights, the same words once.
fn findings(layers: &[Layer]) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for weight in layers.iter().flat_map(|layer| &layer.weights) {
        for remark in &weight.remarks {
            let place = *places.entry(remark).or_insert(found.len());
            if place == found.len() {
                found.push(Finding { weights: Vec::new(), remark: remark.clone() });
            }
            found[place].weights.push(weight.title());
        }
    }
    found
}

/// The same, with the share of time that every layer takes; see [`profile`] for what is measured.
///
/// # Errors
/// As [`summary`]; what the engine cannot run; [`Error::Cancelled`].
pub fn profiled(
    model: &Model,
    options: &SummaryOptions,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Summary, Error> {
    let mut summary = summary(model, options)?;
    let measured = profile(model, options, limits, progress)?;
    summary.modules.add_times(&measured.seconds);
    summary.notes.push(measured.meaning());
    summary.profile = Some(measured);
    Ok(summary)
}

/// Names of normalisations that exporters fold, in files where nothing else tells of it.
fn is_folded(graph: &Graph, layers: &[Layer]) -> bool {
    let has = |kind: &str| layers.iter().any(|layer| layer.kind == kind);
    let told = |name: &str| name.starts_with("onnx::Conv_") || name.ends_with(".weight_bias");
    has("Conv")
        && !has("BatchNormalization")
        && graph.values().iter().any(|value| value.constant().is_some() && told(&value.name))
}

fn notes(graph: &Graph, layers: &[Layer], guessed: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if is_folded(graph, layers) {
        notes.push(
            "batch normalisation was folded into the convolutions when the file was written: parameters are the \
             products, and running statistics are gone"
                .to_owned(),
        );
    }
    if !guessed.is_empty() {
        notes.push(format!(
            "sizes that the file leaves open were taken as {}: {} (set them with --size NAME=N)",
            sizes::TYPICAL,
            guessed.join(", ")
        ));
    }
    let shared: BTreeSet<&str> =
        layers.iter().flat_map(|layer| layer.shared.iter().map(String::as_str)).collect();
    if !shared.is_empty() {
        let names: Vec<&str> = shared.iter().copied().take(5).collect();
        let more = if shared.len() > names.len() { " …" } else { "" };
        notes.push(format!("counted once though several layers take them: {}{more}", names.join(", ")));
    }
    let unknown: BTreeSet<&str> = layers
        .iter()
        .filter(|layer| layer.multiply_adds.is_none())
        .map(|layer| layer.kind.as_str())
        .collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.into_iter().collect();
        notes.push(format!("multiply-adds are not known of: {}", names.join(", ")));
    }
    notes
}
