//! Explaining: from a model and inputs to an [`Explanation`].
//!
//! Compiled methods run as one graph; methods that place points on a path or draw noise run that graph at many points
//! and weigh the results here; occlusion only evaluates the model. An [`Explainer`] compiles and opens once, and explains
//! any number of batches; [`explain`] is one that explains one.

mod attribute;
mod baseline;
mod evaluator;
mod explainer;
mod noise;
mod occlusion;
mod path;
mod predictor;
mod progress;

use pellucid_compile::methods::{Definition, Form, Settings as Checked};
use pellucid_compile::Method;
use pellucid_runtime::{Device, Engine, Options as EngineOptions};

pub use baseline::Baseline;
pub use explainer::Explainer;
pub use predictor::Predictor;
pub use progress::{Progress, Silent, Stoppable};

use crate::array::Array;
use crate::attribution::{Explanation, Prediction};
use crate::error::Error;
use crate::input::Inputs;
use crate::methods;
use crate::model::Model;
use crate::npy;

/// How and within which limits models are run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Engine.
    pub engine: Engine,
    /// What the engine computes on.
    pub device: Device,
    /// Threads; all processors where it is `None`.
    pub threads: Option<usize>,
    /// Most bytes that a run may take. Batches are split to fit; a single row that does not fit is refused.
    pub memory: Option<u64>,
    /// Rows run as one batch.
    pub batch: Option<usize>,
}

impl Limits {
    pub(crate) fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            engine: self.engine,
            device: self.device,
            threads: self.threads,
            memory: self.memory,
        }
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

    /// The classes to explain.
    pub(crate) fn choices(&self) -> Vec<TargetChoice> {
        if self.targets.is_empty() { vec![TargetChoice::Top] } else { self.targets.clone() }
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

/// Explains `inputs`, with one [`Explained`](crate::Explained) for each target.
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
    Explainer::new(model, &inputs.shapes(), options, progress)?.explain(inputs)
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
    Predictor::new(model, &inputs.shapes(), score, limits, progress)?.predict(inputs)
}
