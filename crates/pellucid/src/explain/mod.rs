//! Explaining: from a model and inputs to an [`Explanation`].
//!
//! Compiled methods run as one graph; methods that place points on a path or draw noise run that graph at many points
//! and weigh the results here; occlusion only evaluates the model. An [`Explainer`] compiles and opens once, and explains
//! any number of batches; [`explain`] is one that explains one.

mod ablation_cam;
mod attribute;
pub(crate) mod background;
mod baseline;
mod eigen_cam;
mod evaluator;
mod explainer;
mod layer;
mod noise;
mod occlusion;
mod path;
mod predictor;
mod progress;
mod rise;
mod runner;
mod sampling;
mod score_cam;
mod targets;

use std::path::Path;

use pellucid_compile::methods::{Definition, Settings as Checked};
use pellucid_compile::{Method, Neuron, Request, Target};
use pellucid_runtime::{Device, Engine, Kernels, Options as EngineOptions};

pub use background::Draws;
pub use baseline::Baseline;
pub(crate) use evaluator::join;
pub use explainer::Explainer;
pub(crate) use explainer::Place;
pub use predictor::Predictor;
pub(crate) use predictor::bound;
pub use progress::{Progress, Silent, Stoppable};
pub(crate) use runner::Runner;
pub use targets::TargetChoice;
pub(crate) use targets::target_classes;

use crate::array::Array;
use crate::attribution::{Explanation, Prediction};
use crate::error::Error;
use crate::input::Inputs;
use crate::methods;
use crate::model::Model;
use crate::{npy, rules_file};

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
            kernels: Kernels::Depthwise,
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
    /// What baselines are drawn from, for methods that draw them: given arrays [k, …] or a file; zero where it is
    /// `None`.
    pub background: Option<Baseline>,
    /// The layer that attributions are to, in place of the inputs; for methods that look at a layer by themselves, the
    /// layer looked at. A value, node or module.
    pub layer: Option<String>,
    /// The hidden unit that is explained in place of a class, such as `layer4[3,1,2]`: a layer and a place in it. With
    /// fewer numbers than the layer has axes, the mean over the axes that are left.
    pub neuron: Option<String>,
    /// The model's output that is explained; its first where it is `None`.
    pub score: Option<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// Noise for sampling methods instead of drawn noise: [samples, n, …] by input name.
    pub noise: Option<Vec<(String, Array)>>,
    /// Masks for methods that draw them, instead of drawn ones: [samples, …] over the input's space by input name, which of
    /// a picture in a flat row is its height and width.
    pub masks: Option<Vec<(String, Array)>>,
    /// Backgrounds and positions for methods that draw them, instead of drawn ones.
    pub draws: Option<Draws>,
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
        let chosen = Chosen::new(model, self)?;
        if let Some(layer) = &chosen.layer {
            pellucid_compile::layer::find(model.graph(), layer)?;
        }
        pellucid_compile::score::sought(model.graph(), None, chosen.neuron.as_ref())
            .map(|_| ())
            .or_else(|error| if chosen.neuron.is_some() { Err(error) } else { Ok(()) })?;
        for target in &self.targets {
            target.check(model)?;
        }
        for read in [Some(&self.baseline), self.background.as_ref()].into_iter().flatten() {
            if let Baseline::File(path) = read {
                npy::read_arrays(path)?;
            }
        }
        Ok(())
    }

    /// What to explain, one a target.
    pub(crate) fn choices(&self) -> Vec<TargetChoice> {
        if self.targets.is_empty() {
            return vec![TargetChoice::Top];
        }
        self.targets.iter().flat_map(TargetChoice::expanded).collect()
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
    pub(crate) neuron: Option<Neuron>,
}

impl Chosen {
    pub(crate) fn new(model: &Model, options: &Options) -> Result<Self, Error> {
        let definition = methods::find(&options.method)?;
        let mut settings = Checked::new(definition, &options.settings)?;
        settle(model, &mut settings)?;
        let named = settings.text("layer").map(str::to_owned);
        let neuron = options.neuron.as_deref().map(str::parse).transpose()?;
        if neuron.is_some() && !options.targets.is_empty() {
            return Err(Error::Setting {
                name: "target".to_owned(),
                problem: "a hidden unit is explained, and it has no classes: leave the target out".to_owned(),
            });
        }
        let chosen = Self { definition, settings, layer: options.layer.clone().or(named), neuron };
        let points = chosen.method()?.points;
        let drawn = points.has_background();
        let compared = definition.baseline || (points.has_baseline() && !drawn);
        if options.baseline != Baseline::Zero && !compared {
            return Err(Error::Setting {
                name: "baseline".to_owned(),
                problem: if drawn {
                    format!("{} draws its baselines: give them as --background FILE", definition.name)
                } else {
                    format!("{} compares with nothing: leave it out", definition.name)
                },
            });
        }
        match &options.background {
            Some(_) if !drawn => Err(Error::Setting {
                name: "background".to_owned(),
                problem: format!("{} draws no baselines: leave it out", definition.name),
            }),
            Some(Baseline::Mean | Baseline::Blur) => Err(Error::Setting {
                name: "background".to_owned(),
                problem: "it is rows to draw from: give a file or arrays of shape [k, …]".to_owned(),
            }),
            _ => Ok(chosen),
        }
    }

    pub(crate) fn method(&self) -> Result<Method, Error> {
        // The host only needs scores, and the names of the inputs that it may change, or of the layer.
        let outside = if self.definition.layer { Method::LAYER } else { Method::GRADIENT };
        let method = self.definition.method(&self.settings)?;
        if self.layer.is_none() || self.definition.layer {
            return Ok(method.unwrap_or(outside));
        }
        method.and_then(Method::to_layer).ok_or_else(|| Error::Setting {
            name: "layer".to_owned(),
            problem: format!(
                "{} is of the inputs and has no values at a layer: leave it out, or choose a gradient or propagation \
                 method",
                self.definition.name
            ),
        })
    }

    /// What is explained, for the compiler.
    pub(crate) fn request(&self, target: Target, output: Option<String>) -> Request {
        Request { target, output, layer: self.layer.clone(), neuron: self.neuron.clone() }
    }
}

/// Looks up what settings only name: the file of rules, and the bounds that a picture has after preprocessing.
fn settle(model: &Model, settings: &mut Checked) -> Result<(), Error> {
    if let Some(path) = settings.text("rules").map(str::to_owned) {
        settings.choose_rules(rules_file::read(Path::new(&path))?);
    }
    for (key, largest) in [("low", false), ("high", true)] {
        let asked = settings.text(key) == Some("image");
        // What a picture may become is what the rule means; a row's own range stands in where that is not known.
        let by_default = settings.text(key).is_some() && !settings.is_given(key);
        let Some(bounds) = model.picture_bounds().filter(|_| asked || by_default) else {
            if asked {
                return Err(Error::Setting {
                    name: key.to_owned(),
                    problem:
                        "image: the model does not say how its pictures are prepared: give numbers, or row"
                            .to_owned(),
                });
            }
            continue;
        };
        let numbers: Vec<String> =
            bounds.iter().map(|(low, high)| if largest { high } else { low }.to_string()).collect();
        settings.choose(key, &numbers.join(","));
    }
    Ok(())
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
