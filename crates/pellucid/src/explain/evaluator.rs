//! A compiled program: its predictions, scores and passes.

use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn, concatenate};
use pellucid_compile::{Method, Program, Request, Target, program};
use pellucid_graph::Graph;

use super::Limits;
use super::predictor::table;
use super::progress::Progress;
use super::runner::Runner;
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;

/// Named arrays, all of the same number of rows.
pub(crate) type Arrays = Vec<(String, Array)>;

/// A compiled method, ready to run.
pub(crate) struct Evaluator<'p> {
    pub(crate) program: Program,
    pub(crate) runner: Runner<'p>,
    /// What several targets share of a forward pass; `None` where memory is limited: they are then run one by one, so
    /// that no more is held at once than one run takes.
    boundary: Option<Vec<String>>,
    /// Whether the graph picks each row's class itself, by its rank.
    pub(crate) ranks: bool,
    /// The pass that was computed together with the predictions, and what it explains where that was known before.
    ready: Option<(Option<Vec<Aim>>, Passed)>,
}

/// What one pass gives: the score of each row and, for each collected value, the readout.
pub(crate) struct Passed {
    pub(crate) scores: Array1<f32>,
    pub(crate) values: Vec<ArrayD<f32>>,
    /// Of programs that know the gap at one point.
    pub(crate) gap: Option<Array1<f32>>,
    /// What the layer is, of methods that take its changes.
    pub(crate) layer: Option<ArrayD<f32>>,
    /// Of programs that compare with a baseline: its scores.
    pub(crate) baseline_scores: Option<Array1<f32>>,
}

impl<'p> Evaluator<'p> {
    /// Compiles `method` for `graph`, whose sizes are known but for the rows, and opens a session.
    pub(crate) fn new(
        graph: &Graph,
        method: &Method,
        request: &Request,
        limits: &Limits,
        progress: &'p dyn Progress,
    ) -> Result<Self, Error> {
        let program = program(graph, method, request)?;
        let outputs: Vec<&str> = program.attributions.iter().map(|(_, output)| output.as_str()).collect();
        let runner = Runner::new(&program.graph, &outputs, limits, progress)?;
        let boundary = limits.memory.is_none().then(|| program.boundary());
        let ranks = matches!(request.target, Target::Rank(_));
        Ok(Self { program, runner, boundary, ranks, ready: None })
    }

    /// Rows that are worth preparing at once.
    pub(crate) fn wave(&self) -> usize {
        self.runner.wave()
    }

    /// Announces `rows` more evaluations.
    pub(crate) fn expect(&mut self, rows: usize) {
        self.runner.expected += rows as u64;
    }

    /// Some of the model's values for `count` rows, which depend on no target.
    pub(crate) fn run(&mut self, rows: &Arrays, count: usize, wanted: &[&str]) -> Result<Vec<Array>, Error> {
        self.runner.run(rows, count, wanted)
    }

    /// As [`Evaluator::run`], and in the same run the pass of `rows` for `aims`, one target whose classes are known
    /// before the model has said anything, or, without them, for the classes that the graph picks. The next
    /// [`Evaluator::pass`], which must be of the same rows, finds it.
    pub(crate) fn run_with_pass(
        &mut self,
        rows: &Arrays,
        aims: Option<&[Aim]>,
        count: usize,
        wanted: &[&str],
    ) -> Result<Vec<Array>, Error> {
        let names = self.passed_names();
        let all: Vec<&str> = wanted.iter().copied().chain(names.iter().map(String::as_str)).collect();
        let targets = aims.map_or_else(|| Ok(Vec::new()), |aims| self.targets(aims))?;
        let inputs: Arrays = rows.iter().cloned().chain(targets).collect();
        let mut found = self.runner.run(&inputs, count, &all)?;
        self.runner.backwards += count as u64;
        let passed = self.passed(found.split_off(wanted.len()));
        self.ready = Some((aims.map(<[Aim]>::to_vec), passed));
        Ok(found)
    }

    /// The scores of every class for `count` rows: [rows, classes], or [rows, 1] of a hidden unit; one forward
    /// evaluation a row.
    pub(crate) fn scores(&mut self, rows: &Arrays, count: usize) -> Result<Array2<f32>, Error> {
        let scored = self.explained().to_owned();
        let found = self.run(rows, count, &[&scored])?;
        table(found.first(), count)
    }

    /// As [`Evaluator::scores`], of few rows: asked for together with what predictions are made of, so that an engine which
    /// loads a graph for each set of results needs no other.
    pub(crate) fn scores_beside_predictions(
        &mut self,
        rows: &Arrays,
        count: usize,
    ) -> Result<Array2<f32>, Error> {
        let names = self.predicted_names();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = self.run(rows, count, &wanted)?;
        table(found.last(), count)
    }

    /// Names of what predictions are made of: the model's outputs, the value that they are told of, and last what is
    /// explained.
    pub(crate) fn predicted_names(&self) -> Vec<String> {
        let neuron = self.program.neuron.is_some().then_some(&self.program.score);
        self.program.predictions.iter().chain([&self.program.scored]).chain(neuron).cloned().collect()
    }

    /// Name of the value that is explained: the scores of every class, `[n, classes]`, or a hidden unit, `[n]`.
    pub(crate) fn explained(&self) -> &str {
        if self.program.neuron.is_some() { &self.program.score } else { &self.program.scored }
    }

    /// The scores of the pass that [`Evaluator::run_with_pass`] computed.
    pub(crate) fn ready_scores(&self) -> Option<&Array1<f32>> {
        self.ready.as_ref().map(|(_, passed)| &passed.scores)
    }

    /// Scores and readouts of `rows` for each of some targets: `aims` are by target, then by row. Several targets share
    /// the forward pass.
    pub(crate) fn pass(&mut self, rows: &Arrays, aims: &[Vec<Aim>]) -> Result<Vec<Passed>, Error> {
        if let Some((known, passed)) = self.ready.take()
            && known.is_none_or(|known| *aims == [known])
        {
            return Ok(vec![passed]);
        }
        let count = aims.first().map_or(0, Vec::len);
        let names = self.passed_names();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let targets = aims.iter().map(|aims| self.targets(aims)).collect::<Result<Vec<_>, _>>()?;
        let results = match &self.boundary {
            Some(boundary) if targets.len() > 1 => {
                self.runner.run_targets(rows, count, &targets, boundary, &wanted)?
            }
            _ => {
                let mut results = Vec::new();
                for target in targets {
                    let inputs: Arrays = rows.iter().cloned().chain(target).collect();
                    results.push(self.runner.run(&inputs, count, &wanted)?);
                    self.runner.backwards += count as u64;
                }
                results
            }
        };
        Ok(results.into_iter().map(|results| self.passed(results)).collect())
    }

    /// Names of what a pass gives: the score, the gap where it is known, the layer where its changes are taken, the
    /// readouts.
    fn passed_names(&self) -> Vec<String> {
        std::iter::once(&self.program.score)
            .chain(&self.program.gap)
            .chain(&self.program.baseline_score)
            .chain(&self.program.changes)
            .chain(self.program.attributions.iter().map(|(_, output)| output))
            .cloned()
            .collect()
    }

    /// The values of [`Evaluator::passed_names`], read.
    fn passed(&self, results: Vec<Array>) -> Passed {
        let mut results = results.into_iter();
        let mut column =
            || results.next().map(|array| array.to_f32()).unwrap_or_default().into_iter().collect();
        let scores = column();
        let gap = self.program.gap.is_some().then(&mut column);
        let baseline_scores = self.program.baseline_score.is_some().then(column);
        let layer = self.program.changes.is_some().then(|| results.next()).flatten();
        let layer = layer.map(|array| array.to_f32());
        let values = results.map(|array| array.to_f32()).collect();
        Passed { scores, values, gap, layer, baseline_scores }
    }

    /// The program's inputs that say what is explained.
    fn targets(&self, aims: &[Aim]) -> Result<Arrays, Error> {
        let column = |of: &dyn Fn(&Aim) -> Option<usize>| {
            let classes: Vec<i64> = aims
                .iter()
                .map(|aim| of(aim).map_or(-1, |class| i64::try_from(class).unwrap_or(i64::MAX)))
                .collect();
            let array = ArrayD::from_shape_vec(IxDyn(&[aims.len()]), classes);
            array.map(Array::I64).map_err(|error| Error::Internal(error.to_string()))
        };
        let mut targets = Vec::new();
        if let Some(name) = &self.program.target {
            targets.push((name.clone(), column(&|aim| Some(aim.of))?));
        }
        if let Some(name) = &self.program.target_minus {
            targets.push((name.clone(), column(&|aim| aim.minus)?));
        }
        Ok(targets)
    }
}

/// Arrays of one element type, one after the other along the first axis.
pub(crate) fn join(parts: &[&Array]) -> Result<Array, Error> {
    macro_rules! join {
        ($variant:ident) => {{
            let views: Vec<_> = parts
                .iter()
                .filter_map(|part| match part {
                    Array::$variant(array) => Some(array.view()),
                    _ => None,
                })
                .collect();
            concatenate(Axis(0), &views)
                .map(Array::$variant)
                .map_err(|error| Error::Internal(error.to_string()))
        }};
    }
    match parts.first() {
        Some(Array::F32(_)) => join!(F32),
        Some(Array::F64(_)) => join!(F64),
        Some(Array::I64(_)) => join!(I64),
        Some(Array::Bool(_)) => join!(Bool),
        None => Err(Error::Internal("there is nothing to join".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use pellucid_runtime::{Options as EngineOptions, open};
    use pellucid_testkit::golden;

    use super::*;
    use crate::explain::{Limits, Silent};
    use crate::model::Model;

    fn aim(of: usize, minus: Option<usize>) -> Aim {
        Aim { of, minus }
    }

    #[test]
    fn two_targets_cost_one_forward_and_two_backward() {
        let golden = golden::load_one("cnn");
        let model = Model::open(golden.variants[0].path()).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
        let x = Array::F32(golden.input().mapv(|value| value as f32));
        let rows = vec![(model.inputs().next().unwrap().name.clone(), x)];
        let request = Request { target: Target::InputContrast, ..Request::default() };
        let limits = Limits { batch: Some(2), ..Limits::default() };
        let mut evaluator =
            Evaluator::new(model.graph(), &Method::GRADIENT, &request, &limits, &Silent).unwrap();
        let aims = [vec![aim(0, None), aim(1, None), aim(2, Some(0))], vec![aim(1, Some(0)); 3]];
        let together = evaluator.pass(&rows, &aims).unwrap();
        assert_eq!((evaluator.runner.evaluations, evaluator.runner.backwards), (3, 6));
        evaluator.runner.evaluations = 0;
        for (aims, together) in aims.iter().zip(&together) {
            let alone = evaluator.pass(&rows, std::slice::from_ref(aims)).unwrap();
            assert_eq!(alone[0].scores, together.scores);
            assert_eq!(alone[0].values, together.values);
        }
        assert_eq!(evaluator.runner.evaluations, 6, "alone, each target pays for its own forward pass");
        assert_ne!(together[0].values, together[1].values);
    }

    /// What is fed at the boundary is enough: a backward run that needed the model would miss its input.
    #[test]
    fn a_backward_run_computes_nothing_of_the_model() {
        let golden = golden::load_one("cnn");
        let model = Model::open(golden.variants[0].path()).unwrap();
        let program = program(model.graph(), &Method::GRADIENT, &Request::default()).unwrap();
        let split = program.split().unwrap();
        assert_eq!(split.forward.nodes().len(), program.model_nodes);
        assert!(split.backward.nodes().len() < program.graph.nodes().len() - program.model_nodes + 1);
        let session = open(&program.graph, &EngineOptions::default()).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
        let x = Array::F32(golden.input().mapv(|value| value as f32));
        let name = &model.inputs().next().unwrap().name;
        let names: Vec<&str> = split.boundary.iter().map(String::as_str).collect();
        let shared = session.run(&[(name, &x)], &names).unwrap();
        let target = Array::I64(golden.target.clone());
        let mut fed: Vec<(&str, &Array)> = names.iter().copied().zip(&shared).collect();
        fed.push((program.target.as_deref().unwrap(), &target));
        let output = [program.attributions[0].1.as_str()];
        let found = session.run(&fed, &output).unwrap();
        let whole = session.run(&[(name, &x), (program.target.as_deref().unwrap(), &target)], &output);
        assert_eq!(found, whole.unwrap());
        fed.remove(0);
        assert!(session.run(&fed, &output).is_err(), "one value less is not enough");
    }
}
