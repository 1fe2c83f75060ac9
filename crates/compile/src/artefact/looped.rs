//! Several points in one artefact: what surrounds the Loop. Its body is made in [`body`](super::body).

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, Shape, Tensor, ValueId};

use super::body::{Body, Place};
use super::{Artefact, Baseline, Making};
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::method::{Nodes, Points, Statistic};
use crate::program::{float_inputs, moved};
use crate::readout::Readout;
use crate::score::{self, Aim};

/// A method that evaluates the model at several points, half compiled.
pub(super) struct Looped<'a> {
    pub(super) making: &'a Making<'a>,
    /// Inputs that the points move.
    pub(super) moved: Vec<ValueId>,
}

/// What is computed outside of the Loop.
pub(super) struct Outside<'g> {
    pub(super) aims: Vec<Aim<'g>>,
    scores: Vec<Var<'g>>,
    /// Names of inputs added so far.
    added: Vec<String>,
}

impl<'a> Looped<'a> {
    pub(super) fn new(making: &'a Making<'a>) -> Result<Self> {
        let with_body = |a: &Attribute| matches!(a, Attribute::Graph(_));
        if making.source.nodes().iter().any(|node| node.attributes.values().any(with_body)) {
            return Err(CompileError::Model(
                "a model with control flow cannot be repeated in a Loop yet: use a method that evaluates it once".to_owned(),
            ));
        }
        let moved = moved(making.source, making.method, &making.collected);
        if moved.is_empty() {
            return Err(CompileError::Model(
                "no input is floating-point, so no point can be placed beside it: use points=once".to_owned(),
            ));
        }
        Ok(Self { making, moved })
    }

    fn outside(&self) -> Result<Outside<'a>> {
        let making = self.making;
        let (aims, added) = making.aims()?;
        let y = making.builder.var(making.scored.value);
        let scores =
            aims.iter().map(|aim| Ok(aim.seed(y, making.scored.classes)?.0)).collect::<Result<_>>()?;
        Ok(Outside { aims, scores, added })
    }

    /// What starts the path, or is drawn, for every moved value: `starts` of the inputs as they are, or what the layer is
    /// there, where the points are among its values. `fitted` gives a start the rows that the model takes.
    fn of_layer(
        &self,
        starts: Vec<(ValueId, Var<'a>)>,
        fitted: impl Fn(Var<'a>, Var<'a>) -> Result<Var<'a>>,
    ) -> Result<Vec<(ValueId, Var<'a>)>> {
        let making = self.making;
        if !making.method.moves_layer() {
            return Ok(starts);
        }
        let mut given: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for id in making.source.value_ids() {
            let value = making.source.value(id);
            // The graph around begins with the source: its values are there under the same numbers.
            if value.constant().is_some() || making.source.inputs().contains(&id) {
                given.insert(id, id);
            }
        }
        for (id, start) in starts {
            given.insert(id, fitted(start, making.builder.var(id))?.id());
        }
        let here = making.builder.embed(making.source, &given, &self.moved)?;
        let found = |id: &ValueId| {
            let value = here[id.index()];
            let value = value.ok_or_else(|| CompileError::Emitted("a layer was not copied".to_owned()))?;
            Ok((*id, making.builder.var(value)))
        };
        self.moved.iter().map(found).collect()
    }

    fn input_name(&self, base: &str, id: ValueId) -> String {
        let graph = self.making.builder.graph();
        let inputs = float_inputs(self.making.source);
        let peers = if inputs.contains(&id) { inputs.len() } else { self.moved.len() };
        let wanted = if peers == 1 {
            base.to_owned()
        } else {
            format!("{base}:{}", self.making.source.value(id).name)
        };
        score::reserved(&graph, &wanted)
    }

    /// An input, zero, or a constant, for the input `id`; `shape` is an input's.
    fn start(
        &self,
        what: &str,
        start: &Baseline,
        id: ValueId,
        shape: Shape,
        added: &mut Vec<String>,
    ) -> Result<Var<'a>> {
        self.making.start((what, &self.input_name(what, id)), start, id, shape, added)
    }

    /// Σ weight · readout over points on the path.
    pub(super) fn path(&self, rule: &Nodes) -> Result<Artefact> {
        if self.making.method.statistic == Statistic::Variance {
            return Err(CompileError::Setting(
                "a variance is that of drawn samples: set points=smooth".to_owned(),
            ));
        }
        let builder = &self.making.builder;
        let mut outside = self.outside()?;
        let mut baselines = Vec::new();
        for id in float_inputs(self.making.source) {
            let shape = builder.var(id).shape()?;
            let b = self.start("baseline", &self.making.options.baseline, id, shape, &mut outside.added)?;
            baselines.push((id, b));
        }
        let starts = self.of_layer(baselines, Var::expand_like)?;
        let starts: Vec<_> = starts.into_iter().map(|(id, b)| (b, builder.var(id) - b)).collect();
        let chunk = self.making.options.chunk.max(1);
        let complete = self.making.complete;
        // The baseline is one more point, of weight 0, that only its score is taken from.
        let (mut at, mut weigh, mut is_baseline) = (Vec::new(), Vec::new(), Vec::new());
        let points = rule.positions.iter().copied().zip(rule.weights.iter().copied());
        for (position, weight) in complete.then_some((0.0, 0.0)).into_iter().chain(points) {
            is_baseline.push(if complete && at.is_empty() { 1.0 } else { 0.0 });
            at.push(position);
            weigh.push(weight);
        }
        let changes = self.making.method.readout == Readout::TimesChange;
        // Changes are between both ends, whatever the rule's points are.
        for (position, end) in [(0, 0.0), (usize::MAX, 1.0)].into_iter().filter(|_| changes) {
            let there = at.iter().any(|at: &f64| (at - end).abs() <= 0.0);
            let position = position.min(at.len());
            if !there {
                at.insert(position, end);
                weigh.insert(position, 0.0);
                is_baseline.insert(position, 0.0);
            }
        }
        while at.len() % chunk != 0 {
            at.push(1.0);
            weigh.push(0.0);
            is_baseline.push(0.0);
        }
        let rounds = at.len() / chunk;
        let element = builder.var(self.moved[0]).element();
        let table = |values: &[f64]| builder.values(element, vec![rounds, chunk], values);
        let tables = [table(&at), table(&weigh), table(&is_baseline)];
        let place = Place::Path { starts: starts.clone(), tables, chunk };
        let trips = builder.constant(Tensor::scalar(ElementType::I64, signed(rounds) as f64));
        let (sums, ends) = self.run(&outside, &place, trips)?;
        // Where the difference is the same at every point, it is multiplied once.
        let once = self.making.method.statistic == Statistic::Mean
            && self.making.method.readout == Readout::TimesDifference;
        let values: Vec<Vec<Var<'_>>> = sums
            .iter()
            .enumerate()
            .map(|(number, sums)| {
                sums.iter().map(|sum| if once { *sum * starts[number].1 } else { *sum }).collect()
            })
            .collect();
        let mut extra = Vec::new();
        if complete {
            let gaps = gaps(&outside, &values, &ends)?;
            extra = vec![("baseline_score", ends), ("gap", gaps)];
        }
        self.making.finish(outside.added, &values, &outside.scores, &extra)
    }

    /// The statistic over inputs with added noise.
    pub(super) fn noise(&self) -> Result<Artefact> {
        let mut outside = self.outside()?;
        let noises = self.noises(&mut outside.added)?;
        let trips = noises[0].apply("Shape").slice(0, 0, 1, 1).reshape(&[]);
        let (values, _) = self.run(&outside, &Place::Noise { noises }, trips)?;
        self.making.finish(outside.added, &values, &outside.scores, &[])
    }

    /// An input [samples, n, …] for every input that is moved.
    fn noises(&self, added: &mut Vec<String>) -> Result<Vec<Var<'a>>> {
        let builder = &self.making.builder;
        let mut noises = Vec::new();
        for id in &self.moved {
            let x = builder.var(*id);
            let mut shape = vec![Dim::symbol("samples")];
            shape.extend(x.shape()?);
            let noise = builder.input(&self.input_name("noise", *id), x.element(), shape);
            added.push(noise.name());
            noises.push(noise);
        }
        Ok(noises)
    }

    /// The statistic over drawn points between drawn baselines and the input.
    pub(super) fn background(&self, samples: usize) -> Result<Artefact> {
        let builder = &self.making.builder;
        let options = self.making.options;
        if options.draws.pick.len() != samples || options.draws.position.len() != samples {
            return Err(CompileError::Setting(format!(
                "{} and {} numbers were drawn for {samples} samples",
                options.draws.pick.len(),
                options.draws.position.len()
            )));
        }
        let mut outside = self.outside()?;
        let backgrounds = self.of_layer(self.backgrounds(&mut outside.added)?, |b, _| Ok(b))?;
        let backgrounds: Vec<Var<'_>> = backgrounds.into_iter().map(|(_, rows)| rows).collect();
        let noises =
            if self.making.method.points.has_noise() { self.noises(&mut outside.added)? } else { Vec::new() };
        let count = backgrounds[0].apply("Shape").slice(0, 0, 1, 1);
        let pick = builder.op("Mod", &[builder.integers(&options.draws.pick), count], &[]);
        let element = builder.var(self.moved[0]).element();
        let position = builder.values(element, vec![samples], &options.draws.position);
        let trips = builder.constant(Tensor::scalar(ElementType::I64, signed(samples) as f64));
        let place = Place::Background { backgrounds, noises, pick, position };
        let (values, _) = self.run(&outside, &place, trips)?;
        self.making.finish(outside.added, &values, &outside.scores, &[])
    }

    /// The mean over every row of a background as the baseline.
    pub(super) fn each(&self) -> Result<Artefact> {
        let mut outside = self.outside()?;
        let backgrounds: Vec<Var<'_>> =
            self.backgrounds(&mut outside.added)?.into_iter().map(|(_, rows)| rows).collect();
        let trips = backgrounds[0].apply("Shape").slice(0, 0, 1, 1).reshape(&[]);
        let (values, ends) = self.run(&outside, &Place::Each { backgrounds }, trips)?;
        let count = trips.cast(outside.scores[0].element());
        let ends: Vec<Var<'_>> = ends.into_iter().map(|sum| sum / count).collect();
        let mut extra = vec![("baseline_score", ends)];
        if self.making.complete {
            let gaps = gaps(&outside, &values, &extra[0].1)?;
            extra.push(("gap", gaps));
        }
        self.making.finish(outside.added, &values, &outside.scores, &extra)
    }

    /// [k, …] for every input that is moved.
    fn backgrounds(&self, added: &mut Vec<String>) -> Result<Vec<(ValueId, Var<'a>)>> {
        let builder = &self.making.builder;
        let mut backgrounds = Vec::new();
        for id in float_inputs(self.making.source) {
            let x = builder.var(id);
            let mut shape = x.shape()?;
            if let Some(first) = shape.first_mut() {
                *first = Dim::symbol("backgrounds");
            }
            let start = self.start("background", &self.making.options.background, id, shape, added)?;
            // Zero is a background of one row.
            let start = if start.rank()? == 0 { x.slice(0, 0, 1, 1).zeros_like()? } else { start };
            backgrounds.push((id, start));
        }
        Ok(backgrounds)
    }

    /// Runs the points. For every collected value, its statistic, one a target; and the baseline's score, one a target,
    /// where the points have one.
    fn run(
        &self,
        outside: &Outside<'a>,
        place: &Place<'a>,
        trips: Var<'a>,
    ) -> Result<(Vec<Vec<Var<'a>>>, Vec<Var<'a>>)> {
        let Body { graph, shapes } = Body::new(self, outside, place)?;
        let builder = &self.making.builder;
        let mut initial = Vec::new();
        for (element, shape) in &shapes {
            initial.push(self.zeros(*element, shape, outside.scores[0])?);
        }
        let mut carried = self.repeat(trips, &initial, graph)?.into_iter();
        // Drawn points all count alike, as rows of a background do; those of a path were weighed.
        let points = self.making.method.points;
        let drawn = points.samples().is_some() || points == Points::Each;
        let count = drawn.then(|| trips.cast(builder.var(self.making.scored.value).element()));
        let mut values = vec![Vec::new(); self.making.method.read(self.making.collected.len())];
        let mut next = |shape: &Shape| -> Result<Var<'a>> {
            let value = carried.next().ok_or_else(|| CompileError::Emitted("a Loop is short".to_owned()))?;
            // What a Loop carries is of any size: the reader is told.
            value.reshape_to(shape)
        };
        let mut shapes = shapes.iter().map(|(_, shape)| shape);
        for _ in &outside.aims {
            for values in &mut values {
                let Some(shape) = shapes.next() else { break };
                let first = next(shape)?;
                // Of a variance, the mean and the sum of squared deviations were carried.
                let sum = match self.making.method.statistic {
                    Statistic::Variance => next(shapes.next().unwrap_or(shape))?,
                    _ => first,
                };
                if self.making.method.readout == Readout::TimesChange {
                    // The last point was carried too.
                    for _ in 0..2 {
                        let _ = next(shapes.next().unwrap_or(shape))?;
                    }
                }
                values.push(count.map_or(sum, |count| sum / count));
            }
        }
        let ends = shapes.map(next).collect::<Result<_>>()?;
        Ok((values, ends))
    }

    /// Zeros of a shape of which only the rows may be unknown.
    fn zeros(&self, element: ElementType, shape: &Shape, score: Var<'a>) -> Result<Var<'a>> {
        let builder = &self.making.builder;
        let rest: Option<Vec<i64>> = shape.iter().skip(1).map(Dim::value).collect();
        let rest = rest.ok_or_else(|| {
            CompileError::Model(format!(
                "what is read has shape {}, of which more than the rows is not known: give the sizes of the inputs",
                pellucid_graph::display_shape(shape)
            ))
        })?;
        let sizes = match shape.first().and_then(Dim::value) {
            Some(rows) => {
                let all: Vec<i64> = std::iter::once(rows).chain(rest).collect();
                builder.integers(&all)
            }
            None if rest.is_empty() => score.apply("Shape"),
            None => builder.concat(&[score.apply("Shape"), builder.integers(&rest)], 0),
        };
        Ok(builder.op("Expand", &[builder.scalar(element, 0.0), sizes], &[]))
    }

    /// Loop(trips, true, initial…) over `body`: the carried values after the last round.
    fn repeat(&self, trips: Var<'a>, initial: &[Var<'a>], body: Graph) -> Result<Vec<Var<'a>>> {
        let builder = &self.making.builder;
        // A condition may be left out, but not every runtime takes that for true.
        let go_on = Tensor::from_bool(Vec::new(), &[true])
            .map_err(|error| CompileError::Emitted(error.to_string()))?;
        let mut inputs = vec![Some(trips), Some(builder.constant(go_on))];
        inputs.extend(initial.iter().copied().map(Some));
        let body = Attribute::Graph(Box::new(body));
        let outputs = builder.ops("Loop", &inputs, &[("body", body)], initial.len());
        builder.check()?;
        Ok(outputs)
    }
}

/// score − baseline score − Σ values, one a target.
fn gaps<'a>(outside: &Outside<'a>, values: &[Vec<Var<'a>>], ends: &[Var<'a>]) -> Result<Vec<Var<'a>>> {
    let mut gaps = Vec::new();
    for (target, (score, end)) in outside.scores.iter().zip(ends).enumerate() {
        let mut gap = *score - *end;
        for values in values {
            let axes: Vec<usize> = (1..values[target].rank()?).collect();
            gap = gap - values[target].sum(&axes, Keep::None);
        }
        gaps.push(gap);
    }
    Ok(gaps)
}
