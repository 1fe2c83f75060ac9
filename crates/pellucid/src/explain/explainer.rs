//! A method made ready for a model: compiled and opened once, then run over any number of batches of rows.

use std::sync::Arc;

use ndarray::{Array2, Axis};
use pellucid_compile::methods::{Definition, Form};
use pellucid_compile::{Method, Points, Prepare, Target as Compiled};
use pellucid_graph::Graph;

use super::attribute::Run;
use super::evaluator::{Arrays, Evaluator};
use super::predictor::{bound, table, unit_of};
use super::targets::{Aim, TargetChoice, aims};
use super::{Baseline, Chosen, Options, Progress, background};
use crate::attribution::{
    Attribution, Explained, Explanation, MethodSummary, Prediction, Settings, Target, Unit,
};
use crate::error::Error;
use crate::input::{Inputs, Shapes};
use crate::model::Model;
use crate::npy;
use crate::space::Spaces;

/// Where a batch stands among all the rows of a run: noise, baselines and classes given by row are those of these rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Rows before the batch.
    pub(crate) first: usize,
    /// Rows of the run.
    pub(crate) all: usize,
}

/// A method made ready for a model and inputs of one shape: compiled and opened once, then run over any number of
/// batches.
///
/// ```no_run
/// use pellucid::{Explainer, Model, Options, Silent};
///
/// let model = Model::open("model.onnx")?;
/// let (first, second) = (model.read(&["a.npy"])?, model.read(&["b.npy"])?);
/// let mut explainer = Explainer::new(&model, &first.shapes(), &Options::new("gradient"), &Silent)?;
/// let explanations = [explainer.explain(first)?, explainer.explain(second)?];
/// # Ok::<(), pellucid::Error>(())
/// ```
pub struct Explainer<'a> {
    model: &'a Model,
    graph: Graph,
    chosen: Chosen,
    method: Method,
    options: Options,
    /// The baseline, read where it is a file.
    baseline: Baseline,
    /// The background, read where it is a file; `None` is zero.
    background: Option<Arrays>,
    evaluator: Evaluator<'a>,
    shapes: Shapes,
    spaces: Spaces,
    /// Rows whose adaptive quadrature ran out of points, over all targets, since it was last set to 0.
    pub(crate) unfinished: usize,
}

impl<'a> Explainer<'a> {
    /// Compiles the method and opens a session for rows of the sizes `shapes`, of which the first, the number of rows,
    /// does not matter.
    ///
    /// # Errors
    /// Unknown names, settings without meaning, models the method cannot pass (all offending nodes are named).
    pub fn new(
        model: &'a Model,
        shapes: &Shapes,
        options: &Options,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let chosen = Chosen::new(model, options)?;
        let method = chosen.method()?;
        let graph = bound(model.graph(), shapes)?;
        let choices = options.choices();
        let target = match choices.as_slice() {
            _ if choices.iter().any(TargetChoice::is_contrast) => Compiled::InputContrast,
            _ if chosen.neuron.is_some() => Compiled::Input,
            [choice] if looks_once(&chosen, &method) => choice.rank().map_or(Compiled::Input, Compiled::Rank),
            _ => Compiled::Input,
        };
        let request = chosen.request(target, options.score.clone());
        let baseline = match &options.baseline {
            Baseline::File(path) => Baseline::Given(npy::read_arrays(path)?),
            other => other.clone(),
        };
        let background = match &options.background {
            Some(Baseline::File(path)) => Some(background::read(path)?),
            Some(Baseline::Given(arrays)) => Some(arrays.clone()),
            _ => None,
        };
        let evaluator = Evaluator::new(&graph, &method, &request, &options.limits, progress)?;
        let (options, shapes) = (options.clone(), shapes.clone());
        let spaces = Spaces::new(model, &graph, &shapes);
        spaces.require_told(&graph, &method)?;
        Ok(Self {
            model,
            graph,
            chosen,
            method,
            options,
            baseline,
            background,
            evaluator,
            spaces,
            shapes,
            unfinished: 0,
        })
    }

    /// Rows that are worth explaining at once: some batches for each thread. The bits of an explanation do not depend on how
    /// many rows are given at once, as long as it is a multiple of this.
    pub fn wave(&self) -> usize {
        self.evaluator.wave()
    }

    /// Explains a batch, with one [`Explained`] for each target.
    ///
    /// # Errors
    /// Inputs of other sizes than the explainer was made for, classes that do not exist; cancelled runs; failures of the
    /// engine.
    pub fn explain(&mut self, inputs: Inputs) -> Result<Explanation, Error> {
        let rows = inputs.len();
        self.unfinished = 0;
        let mut explanation = self.part(inputs, Place { first: 0, all: rows })?;
        explanation.notes = self.notes(rows);
        Ok(explanation)
    }

    /// Explains some of a run's rows, without notes, which speak of all of them.
    pub(crate) fn part(&mut self, inputs: Inputs, place: Place) -> Result<Explanation, Error> {
        inputs.require(&self.shapes)?;
        let arrays: Arrays = inputs.arrays().to_vec();
        let choices = self.options.choices();
        let fed = self.fed(&arrays, place)?;
        let known = self.known(&choices, inputs.len(), place)?;
        let (prediction, scores) = predicted(self.model, &mut self.evaluator, &fed, inputs.len(), &known)?;
        let aims = choices
            .iter()
            .map(|choice| self.aims(&prediction, choice, place))
            .collect::<Result<Vec<_>, _>>()?;
        let mut run = Run {
            chosen: &self.chosen,
            method: &self.method,
            options: &self.options,
            baseline: &self.baseline,
            background: self.background.as_ref(),
            arrays: &arrays,
            spaces: &self.spaces,
            fed: &fed,
            scores: scores.as_ref().unwrap_or(&prediction.scores),
            place,
            unfinished: 0,
        };
        let attributions = run.attribute(&mut self.evaluator, &aims)?;
        let mut evaluations = std::mem::take(&mut self.evaluator.runner.evaluations);
        let labels = self.model.labels().map(AsRef::as_ref);
        let explained = attributions
            .into_iter()
            .zip(&aims)
            .map(|(attribution, aims)| Explained {
                targets: match &self.chosen.neuron {
                    Some(neuron) => vec![Target::of_neuron(neuron); aims.len()],
                    None => aims.iter().map(|aim| aim.named(labels)).collect(),
                },
                // The first target pays for what all of them share.
                attribution: Attribution { evaluations: std::mem::take(&mut evaluations), ..attribution },
            })
            .collect();
        self.unfinished += run.unfinished;
        let definition = self.chosen.definition;
        let explanation = Explanation {
            model: self.model.name().to_owned(),
            inputs: Arc::new(inputs),
            prediction,
            explained,
            method: summary(definition),
            layer: self.evaluator.program.layer.clone(),
            neuron: self.chosen.neuron.as_ref().map(ToString::to_string),
            baseline: compared_with(&self.chosen, &self.method, &self.options),
            settings: settings(&self.chosen, &self.options),
            command: String::new(),
            notes: Vec::new(),
            engine: self.options.limits.engine.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            spaces: self.spaces.clone(),
        };
        explanation.check()?;
        Ok(explanation)
    }

    /// What is known of the classes before the model has said anything: where the graph ranks them itself, or one
    /// target is given whose classes do not depend on the scores, one run gives prediction and attribution.
    fn known(&self, choices: &[TargetChoice], rows: usize, place: Place) -> Result<Known, Error> {
        if !looks_once(&self.chosen, &self.method) {
            return Ok(Known::Nothing);
        }
        let [choice] = choices else { return Ok(Known::Nothing) };
        if self.evaluator.ranks {
            return Ok(Known::Ranked);
        }
        if choice.needs_scores() && self.chosen.neuron.is_none() {
            return Ok(Known::Nothing);
        }
        let unknown = Prediction::new(Vec::new(), Array2::zeros((rows, 0)), Unit::Raw, None);
        self.aims(&unknown, choice, place).map(Known::Aims)
    }

    /// `arrays`, and the baseline of each input where the program takes it.
    fn fed(&self, arrays: &Arrays, place: Place) -> Result<Arrays, Error> {
        let mut fed = arrays.clone();
        if self.evaluator.program.baselines.is_empty() || self.method.points != Points::Once {
            return Ok(fed);
        }
        for (name, rows) in self.baseline.rows(arrays, &self.spaces, place)? {
            let taken = self.evaluator.program.baselines.iter().find(|(input, _)| *input == name);
            fed.extend(taken.map(|(_, baseline)| (baseline.clone(), rows)));
        }
        Ok(fed)
    }

    /// What is explained of each row; a hidden unit is one number a row.
    fn aims(&self, prediction: &Prediction, choice: &TargetChoice, place: Place) -> Result<Vec<Aim>, Error> {
        if self.chosen.neuron.is_some() {
            return Ok(vec![Aim { of: 0, minus: None }; prediction.scores.nrows()]);
        }
        aims(self.model, prediction, choice, self.evaluator.program.classes, place)
    }

    /// What should be known of a run of `rows` rows, once it is done.
    pub(crate) fn notes(&self, rows: usize) -> Vec<String> {
        let (program, model) = (&self.evaluator.program, self.model);
        let mut notes = Vec::new();
        if self.method.prepare == Prepare::Fold {
            notes.extend(folding(program.normalizations));
        }
        if self.unfinished > 0 {
            notes.push(format!(
                "{} of {} rows did not reach the tolerance within the {} points that steps allows: the gap and the \
                 quadrature error say how far they are",
                self.unfinished,
                rows * self.options.choices().len(),
                self.chosen.settings.integer("steps"),
            ));
        }
        if self.method.points.has_background() && self.background.is_none() {
            notes.push(
                "no background was given: every baseline is zero; give rows to draw from as --background FILE"
                    .to_owned(),
            );
        }
        if let Some(layer) = &program.layer
            && self.chosen.layer.is_none()
        {
            notes.push(format!(
                "no layer was named: {layer:?} was chosen, the last value before space is pooled away"
            ));
        }
        if let (Some(layer), false) = (&program.layer, program.separated)
            && self.method.readout.is_of_any_value()
        {
            notes.push(format!(
                "not everything that the score depends on passes {layer:?}: values there are of the part that does"
            ));
        }
        let explained_output =
            self.graph.outputs().first().map(|id| self.graph.value(*id).name.clone()).unwrap_or_default();
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

/// What is known of the classes that are explained before the model is run.
enum Known {
    Nothing,
    /// The graph picks them by their scores.
    Ranked,
    Aims(Vec<Aim>),
}

/// Whether a method is a compiled one that looks at the inputs alone.
fn looks_once(chosen: &Chosen, method: &Method) -> bool {
    matches!(chosen.definition.form, Form::Compiled(_)) && method.points == Points::Once
}

/// What the model says; and, where that is not what is explained but a hidden unit is, its values, [n, 1].
/// What a method of relevance did to batch normalisations: `folded` into the layers beside them, and left.
fn folding((folded, left): (usize, usize)) -> Option<String> {
    let of = |count: usize| match count {
        1 => "1 batch normalisation".to_owned(),
        count => format!("{count} batch normalisations"),
    };
    match (folded, left) {
        (0, 0) => None,
        (0, left) => Some(format!(
            "{} between other operators or in front of padding passes relevance unchanged",
            of(left)
        )),
        (folded, 0) => {
            Some(format!("{} folded into the layers beside, in the graph that is explained", of(folded)))
        }
        (folded, left) => Some(format!(
            "{} folded into the layers beside, in the graph that is explained; {left} more between \
             other operators or in front of padding pass relevance unchanged",
            of(folded)
        )),
    }
}

fn predicted(
    model: &Model,
    evaluator: &mut Evaluator<'_>,
    arrays: &Arrays,
    rows: usize,
    known: &Known,
) -> Result<(Prediction, Option<Array2<f32>>), Error> {
    let names = evaluator.program.predictions.clone();
    let scored = evaluator.program.scored.clone();
    let neuron = evaluator.program.neuron.is_some();
    let asked = evaluator.predicted_names();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    // Beside a pass, the unit is the pass's score.
    let beside = &asked[..=names.len()];
    let (mut results, explained) = match known {
        Known::Aims(aims) => {
            let found = evaluator.run_with_pass(arrays, Some(aims), rows, beside)?;
            let scores = evaluator.ready_scores().filter(|_| neuron);
            (found, scores.map(|scores| scores.clone().insert_axis(Axis(1))))
        }
        Known::Ranked => (evaluator.run_with_pass(arrays, None, rows, beside)?, None),
        Known::Nothing => {
            let mut found = evaluator.run(arrays, rows, &asked)?;
            let unit = if neuron { Some(table(found.pop().as_ref(), rows)?) } else { None };
            (found, unit)
        }
    };
    let scores = results.pop();
    let unit = unit_of(model, &scored, evaluator.program.scored_unit);
    let outputs = names.into_iter().zip(results).collect();
    let prediction = Prediction::new(outputs, table(scores.as_ref(), rows)?, unit, model.labels().cloned());
    Ok((prediction, explained))
}

/// What the input is compared with, in words, for methods that compare it.
fn compared_with(chosen: &Chosen, method: &Method, options: &Options) -> Option<String> {
    if method.points.has_background() {
        return Some(match &options.background {
            Some(background) => match method.points {
                Points::Each => format!("every row of {}", background.describe()),
                _ => format!("drawn from {}", background.describe()),
            },
            None => Baseline::Zero.describe(),
        });
    }
    (chosen.definition.baseline || method.points.has_baseline()).then(|| options.baseline.describe())
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
    // What has samples is drawn.
    if chosen.settings.text("samples").is_some() {
        settings.set("seed", options.seed);
    }
    settings
}

#[cfg(test)]
mod tests {
    use pellucid_testkit::golden;

    use super::*;
    use crate::array::Array;
    use crate::explain::Silent;

    /// What `options` say of the rows of a golden network.
    fn explained(targets: Vec<TargetChoice>) -> Explanation {
        let golden = golden::load_one("cnn");
        let model = Model::open(golden.variants[0].path()).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
        let x = Array::F32(golden.input().mapv(|value| value as f32));
        let name = model.inputs().next().unwrap().name.clone();
        let inputs = Inputs::from_arrays(vec![(name, x)]).unwrap();
        let options = Options { targets, ..Options::new("gradient") };
        Explainer::new(&model, &inputs.shapes(), &options, &Silent).unwrap().explain(inputs).unwrap()
    }

    #[test]
    fn a_class_that_is_given_or_ranked_costs_one_run() {
        let top = explained(vec![TargetChoice::Top]);
        let classes: Vec<usize> = top.explained[0].targets.iter().map(|target| target.index).collect();
        let rows = u64::try_from(classes.len()).unwrap();
        let given = explained(vec![TargetChoice::Rows(classes)]);
        assert_eq!(given.explained[0].attribution.values, top.explained[0].attribution.values);
        assert_eq!(given.explained[0].attribution.score, top.explained[0].attribution.score);
        assert_eq!(given.prediction.scores, top.prediction.scores);
        assert_eq!(given.explained[0].attribution.evaluations, rows);
        assert_eq!(top.explained[0].attribution.evaluations, rows);
        let second = explained(vec![TargetChoice::Rank(1)]);
        let classes = second.explained[0].targets.iter().map(|target| target.index).collect();
        let both = explained(vec![TargetChoice::Top, TargetChoice::Rows(classes)]);
        assert_eq!(second.explained[0].attribution.values, both.explained[1].attribution.values);
        assert_eq!(second.explained[0].attribution.evaluations, rows);
    }
}
