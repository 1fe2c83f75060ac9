//! One pass over the rows: predictions in, sums out.

use pellucid_compile::score;

use super::bootstrap::{Drawn, Resampled, Tally, weights};
use super::mistakes::Worst;
use super::scheme::{Classes, Labels, Outcome, Reading, Scheme, Values};
use super::{
    Answered, Answers, Density, Difference, EvaluateOptions, Evaluation, McNemar, Mistake, Paired, Report,
    Subject, Task, measured,
};
use crate::attribution::{Explanation, Unit};
use crate::error::Error;
use crate::explain::{Predictor, Progress, Silent, TargetChoice, explain};
use crate::input::Inputs;
use crate::model::Model;

/// Most numbers that replicates keep by class; with more there are no intervals of classes and their means.
const MOST_COUNTS: usize = 24_000_000;
/// Rows that a pass takes at once at most, where two models want other numbers.
const MOST_AT_ONCE: usize = 4096;

/// Measures one model on rows whose right answers are known, or two on the same rows.
///
/// Cost: one prediction a row and model, an explanation a mistake; memory for the rows of a few batches, and for sums
/// whose number follows from classes and replicates.
///
/// # Errors
/// No rows; answers that do not fit the model's outputs; numbers that are not finite, with their row; settings without a
/// meaning; cancelled runs; failures of the engine.
pub fn evaluate(
    subjects: &[Subject<'_>],
    options: &EvaluateOptions,
    progress: &dyn Progress,
) -> Result<Evaluation, Error> {
    check(subjects, options)?;
    let mut read =
        subjects.iter().map(|subject| Read::new(subject, options)).collect::<Result<Vec<_>, _>>()?;
    let task = read[0].task;
    if let Some(other) = read.iter().find(|read| read.task != task) {
        return Err(setting("task", format!("{} and {} found", task.name(), other.task.name())));
    }
    let pass = Pass { subjects, options, progress, task };
    // Every model has its own outputs; what rows are told by are the first one's names.
    let mut evaluation = match task {
        Task::Classification => pass.run(&classes(subjects, &read, options)?, &read)?,
        Task::MultiLabel => pass.run(&labels(subjects, &read, options)?, &read)?,
        Task::Regression => {
            let schemes: Result<Vec<Values<'_>>, Error> = subjects
                .iter()
                .zip(&read)
                .map(|(subject, read)| Ok(Values::new(&numbers(subject)?, &read.names)))
                .collect();
            pass.run(&schemes?, &read)?
        }
    };
    evaluation.notes = read.iter_mut().flat_map(|read| std::mem::take(&mut read.notes)).collect();
    evaluation.notes.dedup();
    note(&mut evaluation);
    Ok(evaluation)
}

/// Whether a number is a label's answer: 0 or 1, exactly.
#[expect(clippy::float_cmp, reason = "another number is no label")]
fn is_label(value: f32) -> bool {
    value == 0.0 || value == 1.0
}

fn setting(name: &str, problem: String) -> Error {
    Error::Setting { name: name.to_owned(), problem }
}

fn check(subjects: &[Subject<'_>], options: &EvaluateOptions) -> Result<(), Error> {
    let [first, others @ ..] = subjects else {
        return Err(Error::Internal("no model was given to evaluate".to_owned()));
    };
    if others.len() > 1 {
        return Err(setting("models", format!("{} found, expected one or two", subjects.len())));
    }
    let rows = first.data.answers().len();
    if rows == 0 {
        return Err(Error::input(first.data.name(), "it holds no rows to measure on"));
    }
    if others.iter().any(|other| other.data.answers().len() != rows) {
        return Err(Error::Internal("two models are measured on other numbers of rows".to_owned()));
    }
    if !(options.level > 0.0 && options.level < 1.0) {
        return Err(setting("level", format!("{} found, expected a number between 0 and 1", options.level)));
    }
    for (name, value, most) in [("bins", options.bins, 1000), ("top", options.top, usize::MAX)] {
        if value == 0 || value > most {
            return Err(setting(name, format!("{value} found, expected at least 1, at most {most}")));
        }
    }
    if options.replicates > 100_000 {
        return Err(setting("replicates", format!("{} found, expected at most 100000", options.replicates)));
    }
    if u32::try_from(rows.saturating_mul(2)).is_err() {
        return Err(Error::input(first.data.name(), format!("{rows} rows found, expected fewer than 2³¹")));
    }
    if let Some(explaining) = &options.explain {
        explaining.check(first.model)?;
    }
    Ok(())
}

/// How a model's outputs are understood.
struct Read {
    task: Task,
    outputs: usize,
    unit: Unit,
    /// Whether its numbers are logarithms of probabilities, which a softmax leaves as they are.
    logarithms: bool,
    names: Vec<String>,
    notes: Vec<String>,
}

impl Read {
    fn new(subject: &Subject<'_>, options: &EvaluateOptions) -> Result<Self, Error> {
        let (model, data) = (subject.model, subject.data);
        let graph = model.graph();
        let scored = score::find(graph, options.score.as_deref())?;
        let unit = model.output_unit(&graph.value(scored.output).name).unwrap_or(scored.unit);
        let outputs = scored.classes.unwrap_or(1);
        let producer = graph.producer_of(scored.value).map(|id| graph.node(id).operator.as_str());
        let found = match data.answers() {
            Answers::Classes(_) => Task::Classification,
            Answers::Numbers(numbers) if numbers.iter().all(|value| is_label(*value)) => Task::MultiLabel,
            Answers::Numbers(_) => Task::Regression,
        };
        let task = options.task.unwrap_or(found);
        let mut read = Self {
            task,
            outputs,
            unit,
            logarithms: producer == Some("LogSoftmax"),
            names: Vec::new(),
            notes: Vec::new(),
        };
        read.fit(model, data, found)?;
        read.names = read.named(model, data);
        Ok(read)
    }

    /// Whether the answers are those of such a model.
    fn fit(&mut self, model: &Model, data: &dyn Answered, found: Task) -> Result<(), Error> {
        let wrong = |problem: String| Err(Error::input(data.name(), problem));
        match data.answers() {
            Answers::Classes(_) if self.task != Task::Classification => {
                return Err(setting(
                    "task",
                    format!(
                        "{} found, and the answers are classes: expected classification",
                        self.task.name()
                    ),
                ));
            }
            Answers::Numbers(_) if self.task == Task::Classification => {
                return Err(setting(
                    "task",
                    "classification found, and the answers are numbers: expected multi-label or regression"
                        .to_owned(),
                ));
            }
            Answers::Numbers(_) if self.task == Task::MultiLabel && found == Task::Regression => {
                return wrong("its answers are other numbers than 0 and 1, so they are no labels".to_owned());
            }
            Answers::Numbers(numbers) if numbers.ncols() != self.outputs => {
                return wrong(format!(
                    "{} answers a row found, and {} gives {}",
                    numbers.ncols(),
                    model.name(),
                    self.outputs
                ));
            }
            Answers::Numbers(numbers) => {
                if let Some(row) =
                    numbers.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite()))
                {
                    return wrong(format!("the answer of row {row} is not finite"));
                }
            }
            Answers::Classes(classes) => {
                let count = self.outputs.max(2);
                if let Some(row) = classes.iter().position(|class| *class >= count) {
                    let such = classes.iter().filter(|class| **class >= count).count();
                    return wrong(format!(
                        "row {row} is of class {}, {such} rows are of such, and {} has {count} classes, 0 to {}; the data \
                         is of other classes than the model",
                        classes[row],
                        model.name(),
                        count - 1
                    ));
                }
                let mut seen = vec![false; count];
                for class in classes {
                    seen[*class] = true;
                }
                let missing = seen.iter().filter(|seen| !**seen).count();
                if missing > 0 {
                    self.notes.push(format!("no row is of {missing} of the {count} classes"));
                }
            }
        }
        if self.task == Task::Classification && self.outputs == 1 && self.unit != Unit::Probability {
            self.notes.push(
                "the model gives one number a row: it is taken for the logit of the second of two classes"
                    .to_owned(),
            );
        }
        if self.task == Task::Classification && self.outputs > 1 && self.unit == Unit::Raw && !self.logarithms
        {
            self.notes.push(
                "the model gives no probabilities: there is no log loss, Brier score or calibration; say what its \
                 output means in the file beside it ([outputs.NAME] meaning = \"logit\")"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn named(&self, model: &Model, data: &dyn Answered) -> Vec<String> {
        let (count, what) = match self.task {
            Task::Classification => (self.outputs.max(2), "class"),
            Task::MultiLabel => (self.outputs, "label"),
            Task::Regression => (self.outputs, "output"),
        };
        let labels = model.labels().filter(|labels| labels.len() == count);
        let own = data.labels().filter(|labels| labels.len() == count && model.labels().is_none());
        let name = |at: usize| {
            let name = labels.and_then(|labels| labels.get(at)).or_else(|| own.map(|own| own[at].as_str()));
            name.filter(|name| !name.is_empty())
        };
        (0..count).map(|at| name(at).map_or_else(|| format!("{what} {at}"), str::to_owned)).collect()
    }

    fn reading(&self) -> Reading {
        match (self.outputs, self.unit) {
            (1, Unit::Probability) => Reading::TwoByProbability,
            (1, _) => Reading::TwoByLogit,
            (_, Unit::Logit) => Reading::Logits,
            (_, Unit::Probability) => Reading::Probabilities,
            (_, Unit::Raw) if self.logarithms => Reading::Logits,
            (_, Unit::Raw) => Reading::Order,
        }
    }
}

fn classes<'a>(
    subjects: &[Subject<'a>],
    read: &'a [Read],
    options: &EvaluateOptions,
) -> Result<Vec<Classes<'a>>, Error> {
    let scheme = |(subject, read): (&Subject<'a>, &'a Read)| {
        let Answers::Classes(truth) = subject.data.answers() else {
            return Err(Error::Internal("the answers are no classes".to_owned()));
        };
        let count = read.names.len();
        Ok(Classes {
            truth,
            names: &read.names,
            reading: read.reading(),
            top: options.top.min(count - 1),
            bins: options.bins,
            parts: count.saturating_mul(3).saturating_mul(options.replicates) <= MOST_COUNTS,
        })
    };
    subjects.iter().zip(read).map(scheme).collect()
}

fn labels<'a>(
    subjects: &[Subject<'a>],
    read: &'a [Read],
    options: &EvaluateOptions,
) -> Result<Vec<Labels<'a>>, Error> {
    let scheme = |(subject, read): (&Subject<'a>, &'a Read)| {
        Ok(Labels {
            truth: numbers(subject)?,
            names: &read.names,
            probabilities: read.unit == Unit::Probability,
            bins: options.bins,
        })
    };
    subjects.iter().zip(read).map(scheme).collect()
}

fn numbers<'a>(subject: &Subject<'a>) -> Result<ndarray::ArrayView2<'a, f32>, Error> {
    match subject.data.answers() {
        Answers::Numbers(numbers) => Ok(numbers.view()),
        Answers::Classes(_) => Err(Error::Internal("the answers are no numbers".to_owned())),
    }
}

/// What is said of the numbers themselves.
fn note(evaluation: &mut Evaluation) {
    if evaluation.task == Task::Classification
        && evaluation.names.len().saturating_mul(3).saturating_mul(evaluation.replicates) > MOST_COUNTS
    {
        evaluation.notes.push(format!(
            "{} classes are too many for intervals by class with {} replicates",
            evaluation.names.len(),
            evaluation.replicates
        ));
    }
    let least = evaluation.rows < 30 && evaluation.replicates > 0;
    if least {
        evaluation.notes.push(format!(
            "{} rows are few: intervals of the bootstrap are too narrow then",
            evaluation.rows
        ));
    }
}

/// One pass over the rows for all models.
struct Pass<'a> {
    subjects: &'a [Subject<'a>],
    options: &'a EvaluateOptions,
    progress: &'a dyn Progress,
    task: Task,
}

/// What a pass leaves.
struct Counted<S: Scheme> {
    tallies: Vec<Resampled<S::Tally>>,
    densities: Vec<Vec<Density>>,
    /// Rows that both, only the first, only the second, and neither have right.
    right: [u64; 4],
    worst: Worst,
}

impl Pass<'_> {
    fn run<S: Scheme>(&self, schemes: &[S], read: &[Read]) -> Result<Evaluation, Error> {
        let counted = self.count(schemes, read)?;
        let options = self.options;
        let drawn: Vec<Drawn> = counted.tallies.iter().map(Resampled::drawn).collect();
        let names = named_apart(self.subjects);
        let mut reports = Vec::new();
        for (at, ((scheme, tally), densities)) in
            schemes.iter().zip(&counted.tallies).zip(counted.densities).enumerate()
        {
            let values = tally.whole.measures();
            let shown = scheme.shown(&tally.whole, &drawn[at], options.level);
            let measures = scheme.names().into_iter().zip(values).enumerate();
            reports.push(Report {
                model: names[at].clone(),
                unit: read[at].unit.name().to_owned(),
                measures: measures
                    .map(|(measure, (told, value))| {
                        measured(told, value, drawn[at].interval(measure, options.level))
                    })
                    .collect(),
                parts: shown.parts,
                confusion: shown.confusion,
                calibration: shown.calibration,
                densities,
            });
        }
        let mut mistakes = counted.worst.mistakes();
        let (mistaken, explanation) = self.explained(&mut mistakes, read[0].outputs)?;
        Ok(Evaluation {
            data: self.subjects[0].data.name(),
            rows: self.subjects[0].data.answers().len(),
            task: self.task,
            names: read[0].names.clone(),
            replicates: options.replicates,
            level: options.level,
            seed: options.seed,
            paired: (reports.len() == 2).then(|| self.paired(&reports, &drawn, counted.right)),
            reports,
            mistakes,
            mistaken,
            explained_by: explanation.as_ref().map(|explanation| explanation.method.name.clone()),
            explanation,
            notes: Vec::new(),
            command: String::new(),
            engine: options.limits.engine.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn count<S: Scheme>(&self, schemes: &[S], read: &[Read]) -> Result<Counted<S>, Error> {
        let options = self.options;
        let mut predictors = Vec::new();
        for subject in self.subjects {
            let shapes = subject.data.shapes();
            let score = options.score.as_deref();
            predictors.push(Predictor::new(subject.model, &shapes, score, &options.limits, &Silent)?);
        }
        let waves: Vec<usize> = predictors.iter().map(Predictor::wave).collect();
        let at_once = together(&waves);
        let mut batches: Vec<_> = self.subjects.iter().map(|subject| subject.data.batches(at_once)).collect();
        let mut counted = Counted {
            tallies: schemes
                .iter()
                .map(|scheme| {
                    let (whole, replicate) = scheme.empty();
                    Resampled::new(whole, &replicate, options.replicates)
                })
                .collect(),
            densities: schemes.iter().map(Scheme::densities).collect(),
            right: [0; 4],
            worst: Worst::new(options.mistakes),
        };
        let rows = self.subjects[0].data.answers().len();
        let mut first = 0;
        while first < rows {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let mut predictions = Vec::new();
            for (at, (predictor, batches)) in predictors.iter_mut().zip(&mut batches).enumerate() {
                let inputs = batches
                    .next()
                    .ok_or_else(|| Error::Internal(format!("rows end after {first} of {rows}")))??;
                let found = predictor.predict(&inputs)?;
                self.require_numbers(at, &inputs, first, &found.scores, read[at].outputs)?;
                predictions.push(found.scores);
            }
            let more = predictions[0].nrows();
            for row in 0..more {
                let outcomes: Vec<Outcome<_>> = schemes
                    .iter()
                    .zip(&predictions)
                    .map(|(scheme, scores)| scheme.outcome(&scores.row(row).to_vec(), first + row))
                    .collect();
                counted.add(schemes, outcomes, first + row, options);
            }
            first += more;
            self.progress.rows(first as u64, rows as u64);
        }
        Ok(counted)
    }

    /// A model that gives no numbers is not judged by those that are left.
    fn require_numbers(
        &self,
        at: usize,
        inputs: &Inputs,
        first: usize,
        scores: &ndarray::Array2<f32>,
        outputs: usize,
    ) -> Result<(), Error> {
        let model = self.subjects[at].model.name();
        if scores.ncols() != outputs || scores.nrows() != inputs.len() {
            return Err(Error::Model {
                place: model.to_owned(),
                problem: format!(
                    "it gives {:?} numbers for {} rows, expected {outputs} a row",
                    scores.shape(),
                    inputs.len()
                ),
            });
        }
        // A class that is ruled out may have the logit −∞.
        let allowed =
            |value: f32| value.is_finite() || (self.task != Task::Regression && value == f32::NEG_INFINITY);
        let is_wrong = |row: ndarray::ArrayView1<'_, f32>| {
            row.iter().any(|value| !allowed(*value)) || row.iter().all(|value| !value.is_finite())
        };
        match scores.rows().into_iter().position(is_wrong) {
            None => Ok(()),
            Some(row) => {
                let bad = scores.row(row).iter().copied().find(|value| !value.is_finite());
                Err(Error::Model {
                    place: model.to_owned(),
                    problem: format!(
                        "for row {} ({}) it gives {}, which is no number to measure; pellucid inspect says in which layer \
                         that begins",
                        first + row,
                        inputs.rows()[row].name,
                        bad.unwrap_or(f32::NAN)
                    ),
                })
            }
        }
    }

    /// The rows of the mistakes, named, and their explanation where one is asked for.
    fn explained(
        &self,
        mistakes: &mut [Mistake],
        outputs: usize,
    ) -> Result<(Option<Inputs>, Option<Explanation>), Error> {
        if mistakes.is_empty() {
            return Ok((None, None));
        }
        let subject = &self.subjects[0];
        let places: Vec<usize> = mistakes.iter().map(|mistake| mistake.row).collect();
        let inputs = subject.data.rows(&places)?;
        for (mistake, row) in mistakes.iter_mut().zip(inputs.rows()) {
            mistake.name.clone_from(&row.name);
        }
        let Some(explaining) = &self.options.explain else { return Ok((Some(inputs), None)) };
        let rows = |of: &dyn Fn(&Mistake) -> usize| {
            // One output of two classes is explained as it is.
            TargetChoice::Rows(mistakes.iter().map(|mistake| of(mistake).min(outputs - 1)).collect())
        };
        let mut targets = vec![rows(&|mistake| mistake.predicted.index)];
        if self.task == Task::Classification && outputs > 1 {
            targets.push(rows(&|mistake| mistake.truth.index));
        }
        let options = crate::explain::Options {
            targets,
            score: self.options.score.clone(),
            limits: self.options.limits,
            ..explaining.clone()
        };
        let explanation = explain(subject.model, inputs.clone(), &options, self.progress)?;
        Ok((Some(inputs), Some(explanation)))
    }

    fn paired(&self, reports: &[Report], drawn: &[Drawn], right: [u64; 4]) -> Paired {
        let [a, b] = [&reports[0].measures, &reports[1].measures];
        let differences = a
            .iter()
            .enumerate()
            .filter_map(|(at, one)| {
                // Two models may have other numbers of classes, and so other measures of the best k.
                let (place, other) = b.iter().enumerate().find(|(_, other)| other.name == one.name)?;
                let value = Some(one.value? - other.value?);
                let (interval, p) = if place == at {
                    drawn[0].difference(&drawn[1], at, self.options.level)
                } else {
                    (None, None)
                };
                Some(Difference {
                    name: one.name.clone(),
                    value,
                    interval,
                    p,
                    more_is_better: one.more_is_better,
                    is_share: one.is_share,
                })
            })
            .collect();
        let [both, first, second, neither] = right;
        let counted = both + first + second + neither > 0;
        Paired { differences, test: counted.then(|| McNemar::new(both, first, second, neither)) }
    }
}

impl<S: Scheme> Counted<S> {
    /// Counts a row of all models.
    fn add(
        &mut self,
        schemes: &[S],
        outcomes: Vec<Outcome<<S::Tally as Tally>::Row>>,
        row: usize,
        options: &EvaluateOptions,
    ) {
        let weights = weights(options.seed, row as u64, options.replicates);
        if let [Some(first), Some(second)] =
            outcomes.iter().map(|outcome| outcome.right).collect::<Vec<_>>().as_slice()
        {
            self.right[2 * usize::from(!first) + usize::from(!second)] += 1;
        }
        for (at, outcome) in outcomes.into_iter().enumerate() {
            self.tallies[at].add(&outcome.row, &weights);
            schemes[at].place(&outcome.row, &mut self.densities[at]);
            if let (0, Some((loss, predicted, truth))) = (at, outcome.mistake) {
                self.worst.offer(row, loss, predicted, truth);
            }
        }
    }
}

/// The models' names; where two files are called the same, with the folder they are in.
fn named_apart(subjects: &[Subject<'_>]) -> Vec<String> {
    let name = |subject: &Subject<'_>| subject.model.name().to_owned();
    let names: Vec<String> = subjects.iter().map(name).collect();
    if names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len() {
        return names;
    }
    let with_folder = |subject: &Subject<'_>| {
        let path = subject.model.path();
        let folder = path.and_then(|path| path.parent()?.file_name());
        folder
            .map_or_else(|| name(subject), |folder| format!("{}/{}", folder.to_string_lossy(), name(subject)))
    };
    subjects.iter().map(with_folder).collect()
}

/// A number of rows that is a multiple of what each model wants, where that is not too many.
fn together(waves: &[usize]) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a.max(1)
    };
    let multiple = waves.iter().fold(1usize, |all, wave| {
        let wave = (*wave).max(1);
        all.saturating_mul(wave / divisor(all, wave))
    });
    if multiple <= MOST_AT_ONCE { multiple } else { waves.iter().copied().max().unwrap_or(1) }
}
