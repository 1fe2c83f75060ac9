//! Compiling: prediction and attribution in one file; and coverage, what a compilation would meet.

use std::collections::BTreeMap;

use pellucid_compile::methods::Form;
use pellucid_compile::passes::lower;
use pellucid_compile::{
    Artefact, Baseline as Start, Coverage, Draws, Options as CompileOptions, Points, Quadrature, Target,
    artefact, coverage as covered,
};
use pellucid_graph::onnx::{self, EncodeOptions};
use pellucid_graph::{Graph, Value};

use crate::error::Error;
use crate::explain::{Baseline, Chosen, Options, TargetChoice, background};
use crate::model::Model;
use crate::npy;
use crate::sizes;
use crate::space::Spaces;

/// What a compiled file starts paths from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ArtefactBaseline {
    /// An input of the file.
    #[default]
    Input,
    /// Fixed: zero, or arrays of one row.
    Fixed(Baseline),
}

/// What a compiled file asks for, besides the method and its settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArtefactOptions {
    /// What is explained; without any the class is an input named `target`. Several give attributions and scores a
    /// leading axis of targets.
    pub targets: Vec<TargetChoice>,
    /// The baseline.
    pub baseline: ArtefactBaseline,
    /// What baselines are drawn from, for methods that draw them.
    pub background: ArtefactBaseline,
}

/// A compiled file.
#[derive(Debug, Clone)]
pub struct CompiledModel {
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// Inputs that it takes besides the model's.
    pub inputs: Vec<String>,
    /// Outputs that it gives besides the model's.
    pub outputs: Vec<String>,
    /// The layer looked at.
    pub layer: Option<String>,
    /// Settings that were used, defaults included.
    pub settings: Vec<(String, String)>,
    /// What else should be known, a sentence each.
    pub notes: Vec<String>,
}

/// Compiles a method into the model: one file of standard operators that gives prediction and attribution.
///
/// # Errors
/// Methods and settings that only run on the host; nodes that the method cannot pass, all of them; sizes that must be
/// known and are not.
pub fn compile(model: &Model, options: &Options, wanted: &ArtefactOptions) -> Result<CompiledModel, Error> {
    let (graph, mut compiled) = with_attribution(model, options, wanted)?;
    compiled.bytes = written(model, &graph)?;
    Ok(compiled)
}

/// The bytes of a graph's file: what nothing needs is left out, and what the file's opset lacks is expanded.
pub(crate) fn written(model: &Model, graph: &Graph) -> Result<Vec<u8>, Error> {
    let encoded = onnx::encode(&lower(&graph.pruned()?)?, &EncodeOptions::default())
        .map_err(|error| Error::Model { place: model.name().to_owned(), problem: error.to_string() })?;
    Ok(encoded.model)
}

/// The graph of prediction and attribution, and what is to be known of it; its bytes are empty.
pub(crate) fn with_attribution(
    model: &Model,
    options: &Options,
    wanted: &ArtefactOptions,
) -> Result<(Graph, CompiledModel), Error> {
    let mut chosen = Chosen::new(model, options)?;
    let Form::Compiled(_) = chosen.definition.form else {
        return Err(Error::Setting {
            name: "method".to_owned(),
            problem: format!(
                "{} evaluates the model from outside and cannot be compiled: use explain",
                options.method
            ),
        });
    };
    let mut notes = Vec::new();
    if chosen.settings.text("quadrature") == Some("adaptive") && !chosen.settings.is_given("quadrature") {
        chosen.settings.choose("quadrature", "gauss-legendre");
        if !chosen.settings.is_given("steps") {
            chosen.settings.choose("steps", "50");
        }
        notes.push(format!(
            "adaptive quadrature decides while running: {} Gauss-Legendre points were compiled instead",
            chosen.settings.integer("steps")
        ));
    }
    let method = chosen.method()?;
    if method.points.has_noise() {
        notes.push(
            "the file takes noise of shape [samples, n, …] and adds it to the input as it is: scale it before"
                .to_owned(),
        );
    }
    if let Points::Path { quadrature: Quadrature::Adaptive { .. }, .. } = method.points {
        return Err(Error::Setting {
            name: "quadrature".to_owned(),
            problem: "adaptive decides while running and cannot be compiled: set gauss-legendre or trapezoid"
                .to_owned(),
        });
    }
    let sizes = |input: &Value| {
        let shape = input.shape.iter().flatten().map(|dim| dim.size().unwrap_or_default()).collect();
        (input.name.clone(), shape)
    };
    Spaces::of_model(model, &model.inputs().map(sizes).collect()).require_told(model.graph(), &method)?;
    let targets = wanted
        .targets
        .iter()
        .flat_map(TargetChoice::expanded)
        .map(|choice| choice.compiled(model))
        .collect::<Result<Vec<Target>, Error>>()?;
    let draws = match method.points {
        Points::Background { samples, .. } => background::draws(samples, options.seed),
        _ => Draws::default(),
    };
    let compile_options = CompileOptions {
        request: chosen.request(Target::Input, options.score.clone()),
        targets,
        baseline: start(model, "baseline", &wanted.baseline)?,
        background: start(model, "background", &wanted.background)?,
        draws,
        chunk: chosen.settings.integer("chunk"),
    };
    let Artefact { mut graph, inputs, outputs, layer, unit } =
        artefact(model.graph(), &method, &compile_options)?;
    let described = model.description().to_metadata();
    graph.metadata.extend(described);
    let mut settings: Vec<(String, String)> =
        chosen.settings.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    settings.retain(|(key, _)| key != "tolerance");
    graph.metadata.insert(
        "pellucid.explanation".to_owned(),
        serde_json::json!({
            "method": chosen.definition.name,
            "settings": settings.iter().cloned().collect::<BTreeMap<String, String>>(),
            "layer": layer,
            "neuron": chosen.neuron.as_ref().map(ToString::to_string),
            "unit": unit.name(),
            "inputs": inputs,
            "outputs": outputs,
            "version": env!("CARGO_PKG_VERSION"),
        })
        .to_string(),
    );
    let compiled = CompiledModel { bytes: Vec::new(), inputs, outputs, layer, settings, notes };
    Ok((graph, compiled))
}

/// What a file starts from: `what` is the baseline, of one row, or the background, of any number.
fn start(model: &Model, what: &str, baseline: &ArtefactBaseline) -> Result<Start, Error> {
    let refused = |problem: String| Error::Setting { name: what.to_owned(), problem };
    match baseline {
        ArtefactBaseline::Input => Ok(Start::Input),
        ArtefactBaseline::Fixed(Baseline::Zero) => Ok(Start::Zero),
        ArtefactBaseline::Fixed(Baseline::Mean | Baseline::Blur) => Err(refused(
            "mean and blur depend on the input and cannot be fixed in a file: leave it out and feed it"
                .to_owned(),
        )),
        ArtefactBaseline::Fixed(Baseline::File(path)) => {
            start(model, what, &ArtefactBaseline::Fixed(Baseline::Given(npy::read_arrays(path)?)))
        }
        ArtefactBaseline::Fixed(Baseline::Given(arrays)) => {
            let mut tensors = BTreeMap::new();
            let inputs: Vec<String> = model.inputs().map(|input| input.name.clone()).collect();
            for (name, array) in arrays {
                let name = if arrays.len() == 1 && inputs.len() == 1 { &inputs[0] } else { name };
                let input = model.inputs().find(|input| input.name == *name).ok_or_else(|| {
                    Error::Unknown { kind: "input", found: name.clone(), valid: inputs.clone() }
                })?;
                let shape = array.shape();
                let fits = input.shape.as_ref().is_none_or(|wanted| {
                    wanted.len() == shape.len()
                        && wanted
                            .iter()
                            .zip(shape)
                            .skip(1)
                            .all(|(dim, size)| dim.size().is_none_or(|dim| dim == *size))
                });
                let (rows, few) = if what == "baseline" { ("1", 1) } else { ("k", usize::MAX) };
                if !fits || shape.first().is_none_or(|rows| *rows == 0 || *rows > few) {
                    return Err(refused(format!(
                        "{name:?} has shape {shape:?}; expected [{rows}, …] as the input takes it"
                    )));
                }
                let tensor = array.to_tensor().map_err(|error| refused(error.to_string()))?;
                tensors.insert(name.clone(), tensor);
            }
            Ok(Start::Fixed(tensors))
        }
    }
}

/// What a method would meet in a model, before anything runs.
///
/// # Errors
/// Unknown methods, settings and layers; models without an output to explain.
pub fn coverage(model: &Model, options: &Options) -> Result<Coverage, Error> {
    let chosen = Chosen::new(model, options)?;
    let method = chosen.method()?;
    let request = chosen.request(Target::Input, options.score.clone());
    let (graph, _) = sizes::bound(model.graph(), None, &BTreeMap::new())?;
    Ok(covered(&graph, &method, &request)?)
}
