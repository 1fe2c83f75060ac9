//! Explaining: from a model and inputs to an [`Explanation`].
//!
//! Compiled methods run as one graph; methods that place points on a path or draw noise run that graph at many points
//! and weigh the results here; occlusion only evaluates the model.

mod baseline;
mod evaluator;
mod noise;
mod occlusion;
mod path;
mod progress;

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD};
use pellucid_compile::methods::{Definition, Form, Settings as Checked};
use pellucid_compile::{Method, Points, Program, Request, score};
use pellucid_graph::Graph;
use pellucid_runtime::{Engine, Options as EngineOptions};

pub use baseline::Baseline;
pub use progress::{Progress, Silent, Stoppable};

use crate::array::Array;
use crate::attribution::{
    Attribution, Explained, Explanation, MethodSummary, Prediction, Settings, Target, Unit,
};
use crate::error::Error;
use crate::input::Inputs;
use crate::methods;
use crate::model::Model;
use crate::npy;
use evaluator::{Arrays, Evaluator, Runner};

/// How and within which limits models are run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Engine.
    pub engine: Engine,
    /// Threads; all processors where it is `None`.
    pub threads: Option<usize>,
    /// Most bytes that a run may take. Batches are split to fit; a single row that does not fit is refused.
    pub memory: Option<u64>,
    /// Rows run as one batch.
    pub batch: Option<usize>,
}

impl Limits {
    pub(crate) fn engine_options(&self) -> EngineOptions {
        EngineOptions { engine: self.engine, threads: self.threads, memory: self.memory }
    }
}

/// Which class of each row is explained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TargetChoice {
    /// The one with the highest score.
    #[default]
    Top,
    /// The class at an index.
    Index(usize),
    /// The class of this label.
    Label(String),
    /// A class for each row.
    Rows(Vec<usize>),
}

impl TargetChoice {
    /// `top1`, an index, or else a label.
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "top1" => Self::Top,
            text => text.parse().map_or_else(|_| Self::Label(text.to_owned()), Self::Index),
        }
    }
}

/// What is asked for. `Options::new("gradient")` and set what differs from the defaults.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Method, by its name in the registry.
    pub method: String,
    /// The method's parameters that differ from their defaults.
    pub settings: Vec<(String, String)>,
    /// Classes; empty means the top one.
    pub targets: Vec<TargetChoice>,
    /// What inputs are compared with, for methods that compare.
    pub baseline: Baseline,
    /// The layer, for methods that look at one.
    pub layer: Option<String>,
    /// The model's output that is explained; its first where it is `None`.
    pub score: Option<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// Noise for sampling methods instead of drawn noise: [samples, n, …] by input name.
    pub noise: Option<Vec<(String, Array)>>,
    /// Engine, threads, memory.
    pub limits: Limits,
}

impl Options {
    /// The defaults, with a method.
    pub fn new(method: &str) -> Self {
        Self { method: method.to_owned(), ..Self::default() }
    }

    /// Finds what is wrong before inputs are read: unknown methods, keys, values, labels and layers.
    ///
    /// # Errors
    /// As [`explain`].
    pub fn check(&self, model: &Model) -> Result<(), Error> {
        let chosen = Chosen::new(self)?;
        chosen.method()?;
        if let Some(layer) = &chosen.layer {
            pellucid_compile::layer::find(model.graph(), layer)?;
        }
        for target in &self.targets {
            if let TargetChoice::Label(label) = target {
                model.class(label)?;
            }
        }
        if let Baseline::File(path) = &self.baseline {
            npy::read_arrays(path)?;
        }
        Ok(())
    }

    /// The same with a parameter.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a caller writes a number as it is: `set(\"steps\", 128)`"
    )]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }
}

/// A method of the registry with its parameters checked.
pub(crate) struct Chosen {
    pub(crate) definition: &'static Definition,
    pub(crate) settings: Checked,
    pub(crate) layer: Option<String>,
}

impl Chosen {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let definition = methods::find(&options.method)?;
        let settings = Checked::new(definition, &options.settings)?;
        let named = settings.text("layer").map(str::to_owned);
        if options.layer.is_some() && !definition.layer {
            return Err(Error::Setting {
                name: "layer".to_owned(),
                problem: format!("{} does not look at a layer: leave it out", definition.name),
            });
        }
        if options.baseline != Baseline::Zero && !definition.baseline {
            return Err(Error::Setting {
                name: "baseline".to_owned(),
                problem: format!("{} compares with nothing: leave it out", definition.name),
            });
        }
        Ok(Self { definition, settings, layer: options.layer.clone().or(named) })
    }

    pub(crate) fn method(&self) -> Result<Method, Error> {
        match self.definition.form {
            Form::Compiled(build) => Ok(build(&self.settings)?),
            // The host only needs scores, and the names of the inputs that it may change.
            Form::Host => Ok(Method::GRADIENT),
        }
    }
}

/// The model with every size known that the inputs tell, but for the number of rows.
pub(crate) fn bound(graph: &Graph, inputs: &[(String, Array)]) -> Result<Graph, Error> {
    let mut rows = std::collections::BTreeSet::new();
    for id in graph.inputs() {
        if let Some(first) = graph.value(*id).shape.as_ref().and_then(|shape| shape.first()) {
            first.symbols(&mut rows);
        }
    }
    let mut sizes = BTreeMap::new();
    for id in graph.inputs() {
        let value = graph.value(*id);
        let Some((_, array)) = inputs.iter().find(|(name, _)| *name == value.name) else { continue };
        for (dim, size) in value.shape.iter().flatten().zip(array.shape()) {
            if let Some(symbol) = dim.as_symbol().filter(|symbol| !rows.contains(*symbol)) {
                sizes.insert(symbol.to_owned(), i64::try_from(*size).unwrap_or(i64::MAX));
            }
        }
    }
    if sizes.is_empty() {
        return Ok(graph.clone());
    }
    graph
        .bind(&sizes)
        .map_err(|error| Error::Input { place: "inputs".to_owned(), problem: error.to_string() })
}

/// Explains `inputs`, with one [`Explained`] for each target.
///
/// # Errors
/// Unknown names, settings without meaning, models the method cannot pass (all offending nodes are named), inputs
/// that do not fit, cancelled runs.
pub fn explain(
    model: &Model,
    inputs: Inputs,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Explanation, Error> {
    let chosen = Chosen::new(options)?;
    let method = chosen.method()?;
    let arrays: Arrays = inputs.arrays().to_vec();
    let graph = bound(model.graph(), &arrays)?;
    let request = Request {
        target: pellucid_compile::Target::Input,
        output: options.score.clone(),
        layer: chosen.layer.clone(),
    };
    let mut evaluator = Evaluator::new(&graph, &method, &request, &options.limits, progress)?;
    let rows = inputs.len();
    let prediction = predicted(model, &mut evaluator, &arrays, rows)?;
    let mut run = Run { chosen: &chosen, method, options, arrays: &arrays, notes: Vec::new() };
    let choices = if options.targets.is_empty() { vec![TargetChoice::Top] } else { options.targets.clone() };
    let mut explained = Vec::new();
    for choice in &choices {
        let classes = classes(model, &prediction, choice, evaluator.program.classes)?;
        let mut attribution = run.attribute(&mut evaluator, &classes)?;
        attribution.evaluations = std::mem::take(&mut evaluator.runner.evaluations);
        let labels = model.labels();
        let targets = classes.iter().map(|class| Target::new(*class, labels.map(AsRef::as_ref))).collect();
        explained.push(Explained { targets, attribution });
    }
    let notes = run.finished_notes(&evaluator.program, model, &graph);
    let explanation = Explanation {
        model: model.name().to_owned(),
        inputs: Arc::new(inputs),
        prediction,
        explained,
        method: summary(chosen.definition),
        layer: evaluator.program.layer.clone(),
        baseline: chosen.definition.baseline.then(|| options.baseline.describe()),
        settings: settings(&chosen, options),
        command: String::new(),
        notes,
        engine: options.limits.engine.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    explanation.check()?;
    Ok(explanation)
}

/// What the model says of `inputs`, and nothing else.
///
/// # Errors
/// As [`explain`].
pub fn predict(
    model: &Model,
    inputs: &Inputs,
    score: Option<&str>,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Prediction, Error> {
    let arrays: Arrays = inputs.arrays().to_vec();
    let graph = bound(model.graph(), &arrays)?;
    let mut forward = Runner::new(&graph, &outputs_of(&graph), limits, progress)?;
    let names = outputs_of(&graph);
    let scored = score::find(&graph, score);
    let mut wanted = names.clone();
    if let Ok(scored) = &scored {
        wanted.push(&graph.value(scored.value).name);
    }
    let mut results = forward.run(&arrays, inputs.len(), &wanted)?;
    let scores = if scored.is_ok() { results.pop() } else { None };
    let outputs: Vec<(String, Array)> = names.iter().map(|name| (*name).to_owned()).zip(results).collect();
    let unit = scored
        .as_ref()
        .map_or(Unit::Raw, |scored| unit_of(model, &graph.value(scored.output).name, scored.unit));
    let scores = table(scores.as_ref().or(outputs.first().map(|(_, array)| array)), inputs.len())?;
    Ok(Prediction::new(outputs, scores, unit, model.labels().cloned()))
}

fn outputs_of(graph: &Graph) -> Vec<&str> {
    graph.outputs().iter().map(|id| graph.value(*id).name.as_str()).collect()
}

fn predicted(
    model: &Model,
    evaluator: &mut Evaluator<'_>,
    arrays: &Arrays,
    rows: usize,
) -> Result<Prediction, Error> {
    let names = evaluator.program.predictions.clone();
    let scored = evaluator.program.scored.clone();
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    wanted.push(&scored);
    let mut results = evaluator.run(arrays, &vec![0; rows], &wanted)?;
    let scores = results.pop();
    let unit = unit_of(model, &scored, evaluator.program.unit);
    let outputs = names.into_iter().zip(results).collect();
    Ok(Prediction::new(outputs, table(scores.as_ref(), rows)?, unit, model.labels().cloned()))
}

/// What the model's description says of an output, else what the graph shows.
fn unit_of(model: &Model, output: &str, found: Unit) -> Unit {
    model.output_unit(output).unwrap_or(found)
}

/// Scores as [n, classes].
fn table(scores: Option<&Array>, rows: usize) -> Result<Array2<f32>, Error> {
    let values = scores.map(Array::to_f32).unwrap_or_default();
    let columns = values.len().checked_div(rows).unwrap_or_default();
    let flat: Vec<f32> = values.iter().copied().collect();
    Array2::from_shape_vec((rows, columns), flat)
        .map_err(|_| Error::Internal(format!("{} scores do not fit {rows} rows", values.len())))
}

/// The class of each row.
fn classes(
    model: &Model,
    prediction: &Prediction,
    choice: &TargetChoice,
    count: Option<usize>,
) -> Result<Vec<usize>, Error> {
    let rows = prediction.scores.nrows();
    let count = count.unwrap_or(1);
    let checked = |class: usize| {
        if class < count {
            return Ok(class);
        }
        Err(Error::Setting {
            name: "target".to_owned(),
            problem: format!(
                "class {class} does not exist: the model has {count}, 0 to {}",
                count.saturating_sub(1)
            ),
        })
    };
    match choice {
        TargetChoice::Top => Ok((0..rows)
            .map(|row| {
                // The scores explained, not probabilities: their order is the same. The first of equal ones wins.
                let scores = prediction.scores.row(row);
                (0..count.min(scores.len()))
                    .fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
            })
            .collect()),
        TargetChoice::Index(class) => checked(*class).map(|class| vec![class; rows]),
        TargetChoice::Label(label) => Ok(vec![checked(model.class(label)?)?; rows]),
        TargetChoice::Rows(classes) if classes.len() == rows => {
            classes.iter().map(|class| checked(*class)).collect()
        }
        TargetChoice::Rows(classes) => Err(Error::Setting {
            name: "target".to_owned(),
            problem: format!("{} classes were given for {rows} rows", classes.len()),
        }),
    }
}

fn summary(definition: &Definition) -> MethodSummary {
    let source = &definition.source;
    MethodSummary {
        name: definition.name.to_owned(),
        summary: definition.summary.to_owned(),
        source: format!("{} ({}), {}, {}", source.authors, source.year, source.title, source.id),
    }
}

fn settings(chosen: &Chosen, options: &Options) -> Settings {
    let mut settings = Settings::new();
    for (key, value) in chosen.settings.iter() {
        // What only an artefact or another quadrature reads says nothing about this run.
        let fixed = chosen.settings.text("quadrature").is_some_and(|quadrature| quadrature != "adaptive");
        if key == "chunk" || key == "layer" || (key == "tolerance" && fixed) {
            continue;
        }
        let unset_steps = key == "steps" && fixed && !chosen.settings.is_given("steps");
        settings.set(key, if unset_steps { "50" } else { value });
    }
    if chosen.definition.parameters.iter().any(|parameter| parameter.name == "noise") {
        settings.set("seed", options.seed);
    }
    settings
}

struct Run<'a> {
    chosen: &'a Chosen,
    method: Method,
    options: &'a Options,
    arrays: &'a Arrays,
    notes: Vec<String>,
}

impl Run<'_> {
    fn baselines(&self) -> Result<Arrays, Error> {
        match &self.options.baseline {
            Baseline::File(path) => Baseline::Given(npy::read_arrays(path)?).rows(self.arrays),
            other => other.rows(self.arrays),
        }
    }

    fn attribute(&mut self, evaluator: &mut Evaluator<'_>, classes: &[usize]) -> Result<Attribution, Error> {
        let targets: Vec<i64> =
            classes.iter().map(|class| i64::try_from(*class).unwrap_or(i64::MAX)).collect();
        let unit = evaluator.program.unit;
        let names: Vec<String> =
            evaluator.program.attributions.iter().map(|(name, _)| name.clone()).collect();
        let finish = |values: Vec<ArrayD<f32>>, score: Array1<f32>| Attribution {
            values: names.iter().cloned().zip(values).collect(),
            score,
            unit,
            baseline_score: None,
            gap: None,
            quadrature_error: None,
            std_error: None,
            evaluations: 0,
        };
        if matches!(self.chosen.definition.form, Form::Host) {
            let (window, stride) =
                (self.chosen.settings.sizes("window"), self.chosen.settings.sizes("stride"));
            let baselines = self.baselines()?;
            let found = occlusion::occlude(evaluator, &window, &stride, self.arrays, &baselines, &targets)?;
            return Ok(finish(found.values, found.scores));
        }
        match self.method.points {
            Points::Once => {
                evaluator.expect(targets.len());
                let passed = evaluator.pass(self.arrays, &targets)?;
                Ok(finish(passed.values, passed.scores))
            }
            Points::Path { .. } => {
                let baselines = self.baselines()?;
                let found =
                    path::integrate(evaluator, self.method.points, self.arrays, &baselines, &targets)?;
                if found.unfinished > 0 {
                    self.notes.push(format!(
                        "{} of {} rows did not reach the tolerance within the {} points that steps allows: \
                         the gap and the quadrature error say how far they are",
                        found.unfinished,
                        targets.len(),
                        self.chosen.settings.integer("steps"),
                    ));
                }
                let mut attribution = finish(found.values, found.scores);
                attribution.gap = Some(gaps(&attribution, &found.baseline_scores));
                attribution.baseline_score = Some(found.baseline_scores);
                attribution.quadrature_error = found.quadrature_errors;
                Ok(attribution)
            }
            Points::Noise { samples } => {
                let share = self.chosen.settings.number("noise");
                let noise = match &self.options.noise {
                    Some(given) => noise::Noise::Given(given),
                    None => noise::Noise::Drawn { share, seed: self.options.seed },
                };
                let found = noise::average(evaluator, samples, &noise, self.arrays, &targets)?;
                let mut attribution = finish(found.values, found.scores);
                attribution.std_error = found.std_error;
                Ok(attribution)
            }
        }
    }

    fn finished_notes(&self, program: &Program, model: &Model, graph: &Graph) -> Vec<String> {
        let mut notes = self.notes.clone();
        if let Some(layer) = &program.layer
            && self.chosen.layer.is_none()
        {
            notes.push(format!(
                "no layer was named: {layer:?} was chosen, the last value before space is pooled away"
            ));
        }
        let explained_output =
            graph.outputs().first().map(|id| graph.value(*id).name.clone()).unwrap_or_default();
        if let (Some(labels), Some(classes)) = (model.labels(), program.classes)
            && labels.len() != classes
        {
            notes.push(format!(
                "there are {} labels for {classes} classes: names may belong to other classes",
                labels.len()
            ));
        }
        if program.unit == Unit::Logit && program.scored != explained_output {
            notes.push("the model ends in a softmax: the score explained is the logit before it".to_owned());
        }
        notes
    }
}

/// score − baseline score − Σ values, by row.
fn gaps(attribution: &Attribution, baseline_scores: &Array1<f32>) -> Array1<f32> {
    (0..attribution.rows())
        .map(|row| {
            let total: f64 = attribution
                .values
                .iter()
                .flat_map(|(_, values)| values.index_axis(ndarray::Axis(0), row).to_owned().into_iter())
                .map(f64::from)
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "a gap between float32 numbers")]
            {
                (f64::from(attribution.score[row]) - f64::from(baseline_scores[row]) - total) as f32
            }
        })
        .collect()
}
