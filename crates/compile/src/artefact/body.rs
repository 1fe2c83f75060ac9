//! The body of an artefact's Loop: a copy of the model at one point (or a chunk of them), every target's readout
//! there, and what is carried on.

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, Shape, Value, ValueId};

use super::looped::{Looped, Outside};
use crate::build::{Builder, Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::method::{Method, Statistic};
use crate::program::Pass;
use crate::readout::Readout;
use crate::reference::refer;
use crate::score::{Aim, Scored};

/// Constants up to this many elements are copied into the body, where operators that want their axes and limits
/// known can see them.
const COPIED: usize = 64;

/// Where the points of the rounds are; values are of the graph around the Loop.
pub(super) enum Place<'g> {
    /// On the path from each moved input's baseline, which differs from it by so much.
    Path {
        /// Baseline and difference of every moved input.
        starts: Vec<(Var<'g>, Var<'g>)>,
        /// [rounds, chunk]: positions, weights, and 1 at the baseline.
        tables: [Var<'g>; 3],
        /// Points a round.
        chunk: usize,
    },
    /// At the input plus noise, [samples, n, …] for every moved input.
    Noise {
        /// By moved input.
        noises: Vec<Var<'g>>,
    },
    /// Between a drawn row of each background and the input, plus noise where there is any.
    Background {
        /// [k, …], by moved input.
        backgrounds: Vec<Var<'g>>,
        /// As above; empty without noise.
        noises: Vec<Var<'g>>,
        /// int64 [samples]: which row.
        pick: Var<'g>,
        /// [samples]: position.
        position: Var<'g>,
    },
    /// At the input, compared with each row of the background.
    Each {
        /// [k, …], by moved input.
        backgrounds: Vec<Var<'g>>,
    },
}

/// A finished body: what it carries, in order. For every target and collected value one (of a variance two: mean, sum
/// of squared deviations; of changes three: sum, and the last point's signal and layer); then, where the points have a baseline's score, one a target.
pub(super) struct Body {
    pub(super) graph: Graph,
    pub(super) shapes: Vec<(ElementType, Shape)>,
}

/// One round's points.
struct Points<'b> {
    /// By moved input.
    at: Vec<Var<'b>>,
    /// input − baseline, by moved input, for points that have a baseline.
    differences: Vec<Var<'b>>,
    /// [chunk]; `None` where all count alike.
    weights: Option<Var<'b>>,
    /// [chunk]: 1 at the baseline.
    is_baseline: Option<Var<'b>>,
    /// What the input is compared with, by moved input, for rules that compare.
    references: Vec<Var<'b>>,
    chunk: usize,
}

/// A body being made.
struct Making<'b, 'a, 'l> {
    looped: &'l Looped<'a>,
    builder: &'b Builder,
    round: Var<'b>,
    outputs: Vec<ValueId>,
    shapes: Vec<(ElementType, Shape)>,
}

impl Body {
    pub(super) fn new(looped: &Looped<'_>, outside: &Outside<'_>, place: &Place<'_>) -> Result<Self> {
        let builder = Builder::with_prefix(Graph::new(), "pellucid.point");
        let round = builder.input("pellucid.point.round", ElementType::I64, Vec::new());
        let condition = builder.input("pellucid.point.condition", ElementType::Bool, Vec::new());
        let mut making = Making { looped, builder: &builder, round, outputs: Vec::new(), shapes: Vec::new() };
        let points = making.points(place)?;
        making.outputs.push(builder.named("Identity", condition, "pellucid.point.continue").id());
        making.carry(outside, &points)?;
        let Making { outputs, shapes, .. } = making;
        let mut graph = builder.finish()?;
        graph.set_outputs(outputs);
        "pellucid.point".clone_into(&mut graph.name);
        Ok(Self { graph, shapes })
    }
}

impl<'b> Making<'b, '_, '_> {
    fn method(&self) -> &Method {
        self.looped.making.method
    }

    /// A value of the graph around the Loop.
    fn inner(&self, outer: Var<'_>) -> Var<'b> {
        let value: Value = outer.builder().graph().value(outer.id()).clone();
        self.builder.capture(outer.id(), &value)
    }

    fn of_round(&self, table: Var<'_>) -> Var<'b> {
        self.builder.op("Gather", &[self.inner(table), self.round], &[("axis", Attribute::Int(0))])
    }

    fn input(&self, id: ValueId) -> Var<'b> {
        self.inner(self.looped.making.builder.var(id))
    }

    fn points(&self, place: &Place<'_>) -> Result<Points<'b>> {
        let moved = &self.looped.moved;
        let mut points = Points {
            at: Vec::new(),
            differences: Vec::new(),
            weights: None,
            is_baseline: None,
            references: Vec::new(),
            chunk: 1,
        };
        match place {
            Place::Path { starts, tables, chunk } => {
                let [at, weights, is_baseline] = tables.map(|table| self.of_round(table));
                for (id, (b, difference)) in moved.iter().zip(starts) {
                    let shape = self.looped.making.source.value(*id).shape.clone().unwrap_or_default();
                    let (b, difference) = (self.inner(*b), self.inner(*difference));
                    points.differences.push(difference);
                    points.at.push(if *chunk == 1 {
                        let scalar = at.reshape(&[]);
                        b + scalar * difference
                    } else {
                        (b + column(at, *chunk, shape.len() + 1) * difference)
                            .reshape_to(&stacked(&shape, *chunk)?)?
                    });
                }
                points.weights = Some(weights);
                points.is_baseline = Some(is_baseline);
                points.chunk = *chunk;
            }
            Place::Noise { noises } => {
                for (id, noise) in moved.iter().zip(noises) {
                    points.at.push(self.input(*id) + self.of_round(*noise));
                }
            }
            Place::Background { backgrounds, noises, pick, position } => {
                let axis = [("axis", Attribute::Int(0))];
                let (row, position) = (self.of_round(*pick).reshape(&[1]), self.of_round(*position));
                for (number, (id, background)) in moved.iter().zip(backgrounds).enumerate() {
                    let b = self.builder.op("Gather", &[self.inner(*background), row], &axis);
                    let x = match noises.get(number) {
                        Some(noise) => self.input(*id) + self.of_round(*noise),
                        None => self.input(*id),
                    };
                    let difference = x - b;
                    points.differences.push(difference);
                    points.at.push(b + position * difference);
                }
            }
            Place::Each { backgrounds } => {
                for (id, background) in moved.iter().zip(backgrounds) {
                    let x = self.input(*id);
                    points.references.push(self.of_round(*background).unsqueeze(&[0]).expand_like(x)?);
                    points.at.push(x);
                }
            }
        }
        Ok(points)
    }

    /// Passes back every target, and carries what its readouts come to.
    fn carry(&mut self, outside: &Outside<'_>, points: &Points<'b>) -> Result<()> {
        let (scored, collected) = self.copy(points)?;
        let directions = self.directions(points)?;
        let with_ends = self.looped.making.complete && points.is_baseline.is_some();
        let (mut scores, mut references) = (Vec::new(), Vec::new());
        for aim in &outside.aims {
            let aim: Aim<'b> = aim.map(|v| repeated(self.inner(v), points.chunk));
            let pass = Pass::new(self.builder, &scored, &aim, (&collected, &directions), self.method())?;
            for (number, read) in pass.read(self.builder, self.method())?.into_iter().enumerate() {
                self.carry_readout((number, collected[number]), read, points)?;
            }
            scores.push(pass.score);
            references.extend(pass.baseline_score);
        }
        for score in references {
            let sum = self.carried(score)?;
            self.pass_on(sum + score);
        }
        for score in scores.into_iter().filter(|_| with_ends) {
            let marks = points.is_baseline.unwrap_or_else(|| score.scalar(0.0));
            let here = weighed(split(score, points.chunk)?, marks, points.chunk)?;
            let sum = self.carried(here)?;
            self.pass_on(sum + here);
        }
        Ok(())
    }

    /// What every input of the copied model moves along, for methods that take it.
    fn directions(&self, points: &Points<'b>) -> Result<Vec<(ValueId, Var<'b>)>> {
        if !self.method().readout.takes_tangent() {
            return Ok(Vec::new());
        }
        let moved = points.at.iter().zip(&points.differences);
        moved
            .map(|(at, difference)| {
                let all = if points.chunk > 1 { tiled(*difference, points.chunk)? } else { *difference };
                Ok((at.id(), all))
            })
            .collect()
    }

    /// Adds the mean of neighbouring signals × the change of the layer, of this round's points and the last before them:
    /// carried are the sum, that point's signal and its layer.
    fn carry_changes(&mut self, signal: Var<'b>, layer: Var<'b>, chunk: usize) -> Result<()> {
        let one = |v: Var<'b>, at: usize| {
            if chunk == 1 { v } else { v.slice(0, signed(at), signed(at) + 1, 1).squeeze(&[0]) }
        };
        let sum = self.carried(one(signal, 0))?;
        let before = [self.carried(one(signal, 0))?, self.carried(one(layer, 0))?];
        // Nothing comes before the first point: it stands for itself, and nothing changes.
        let first = self.builder.scalar(ElementType::I64, 0.0);
        let first = self.builder.op("Equal", &[self.round, first], &[]);
        let mut total = sum;
        let mut last = [first.choose(one(signal, 0), before[0]), first.choose(one(layer, 0), before[1])];
        for at in 0..chunk {
            let here = [one(signal, at), one(layer, at)];
            total = total + (last[0] + here[0]) * 0.5 * (here[1] - last[1]);
            last = here;
        }
        for value in [total, last[0], last[1]] {
            self.pass_on(value);
        }
        Ok(())
    }

    /// Adds the readout of collected value `number`, `layer`, to what is carried.
    fn carry_readout(
        &mut self,
        (number, layer): (usize, ValueId),
        read: Var<'b>,
        points: &Points<'b>,
    ) -> Result<()> {
        let mut read = split(read, points.chunk)?;
        let method = self.method();
        if method.readout == Readout::TimesChange {
            return self.carry_changes(read, split(self.builder.var(layer), points.chunk)?, points.chunk);
        }
        let statistic = method.statistic;
        // A path's difference is the same at every point, and so multiplied outside where the mean is taken.
        let outside = points.weights.is_some() && statistic == Statistic::Mean;
        if method.readout == Readout::TimesDifference && !outside && !method.rules.compares() {
            read = read * points.differences[number];
        }
        match statistic {
            Statistic::Mean | Statistic::MeanSquare => {
                let power = if statistic == Statistic::Mean { read } else { read * read };
                let here = match points.weights {
                    Some(weights) => weighed(power, weights, points.chunk)?,
                    None => power,
                };
                let sum = self.carried(here)?;
                self.pass_on(sum + here);
            }
            // Welford (1962): the difference of two large sums would lose what is asked for.
            Statistic::Variance => {
                let mean = self.carried(read)?;
                let squares = self.carried(read)?;
                let seen = self.round.cast(read.element()) + 1.0;
                let next = mean + (read - mean) / seen;
                self.pass_on(next);
                self.pass_on(squares + (read - mean) * (read - next));
            }
        }
        Ok(())
    }

    /// An input of the body that is carried from round to round, of the shape and type of `like`.
    fn carried(&mut self, like: Var<'b>) -> Result<Var<'b>> {
        let (element, shape) = (like.element(), like.shape()?);
        let name = format!("pellucid.point.carried.{}", self.shapes.len());
        self.shapes.push((element, shape.clone()));
        Ok(self.builder.input(&name, element, shape))
    }

    fn pass_on(&mut self, value: Var<'b>) {
        self.outputs.push(value.id());
    }

    /// Copies the model into the body at the points.
    fn copy(&self, points: &Points<'b>) -> Result<(Scored, Vec<ValueId>)> {
        // What follows from an earlier failure outside would hide it.
        self.builder.check()?;
        let making = self.looped.making;
        let mut given: BTreeMap<ValueId, ValueId> =
            self.looped.moved.iter().copied().zip(points.at.iter().map(|at| at.id())).collect();
        for id in making.source.value_ids().filter(|id| !self.looped.moved.contains(id)) {
            let value = making.source.value(id);
            if value.constant().is_some_and(|tensor| tensor.len() > COPIED) {
                given.insert(id, self.builder.capture(id, value).id());
            } else if making.source.inputs().contains(&id) {
                let shared = self.builder.capture(id, value);
                let rows = value.shape.as_ref().and_then(|shape| shape.first()) == Some(&making.rows);
                let here = if rows && points.chunk > 1 { tiled(shared, points.chunk)? } else { shared };
                given.insert(id, here.id());
            }
        }
        let wanted: Vec<ValueId> =
            making.collected.iter().copied().chain([making.scored.output, making.scored.value]).collect();
        let stands_for = self.builder.embed(making.source, &given, &wanted)?;
        let here = |id: ValueId| {
            stands_for[id.index()].ok_or_else(|| CompileError::Emitted("a value was not copied".to_owned()))
        };
        let scored = Scored {
            output: here(making.scored.output)?,
            value: here(making.scored.value)?,
            ..making.scored.clone()
        };
        let collected = making.collected.iter().map(|id| here(*id)).collect::<Result<_>>()?;
        let baselines: Vec<_> =
            self.looped.moved.iter().copied().zip(points.references.iter().copied()).collect();
        refer(self.builder, making.source, &|id| stands_for[id.index()], &baselines, &wanted)?;
        Ok((scored, collected))
    }
}

/// [chunk] as [chunk, 1, …] of `rank` axes.
fn column(v: Var<'_>, chunk: usize, rank: usize) -> Var<'_> {
    let mut sizes = vec![1; rank];
    if let Some(first) = sizes.first_mut() {
        *first = signed(chunk);
    }
    v.reshape(&sizes)
}

/// [chunk · n, …] as [chunk, n, …]; for a chunk of one as it is.
fn split(v: Var<'_>, chunk: usize) -> Result<Var<'_>> {
    if chunk == 1 {
        return Ok(v);
    }
    let shape = v.shape()?;
    let mut split = vec![Dim::known(signed(chunk))];
    split.extend(shape);
    let rows = split[1].clone();
    split[1] = rows
        .exact_quotient(&Dim::known(signed(chunk)))
        .ok_or_else(|| CompileError::Emitted(format!("{rows} rows are no multiple of {chunk} points")))?;
    v.reshape_to(&split)
}

/// Σ over the chunk of `v`, [chunk, n, …], times `weights`, [chunk].
fn weighed<'g>(v: Var<'g>, weights: Var<'g>, chunk: usize) -> Result<Var<'g>> {
    if chunk == 1 {
        return Ok(v * weights.reshape(&[]));
    }
    Ok((v * column(weights, chunk, v.rank()?)).sum(&[0], Keep::None))
}

/// [n, …] as [chunk · n, …].
fn stacked(shape: &[Dim], chunk: usize) -> Result<Shape> {
    let mut stacked = shape.to_vec();
    let rows = stacked.first_mut().ok_or_else(|| CompileError::Model("an input has no rows".to_owned()))?;
    *rows = rows.scaled(signed(chunk)).ok_or_else(|| CompileError::Model("chunk is too large".to_owned()))?;
    Ok(stacked)
}

/// [n] as [chunk · n].
fn repeated(v: Var<'_>, chunk: usize) -> Var<'_> {
    if chunk == 1 { v } else { v.builder().op("Tile", &[v, v.builder().integers(&[signed(chunk)])], &[]) }
}

/// [n, …] as [chunk · n, …] with the same rows again and again.
fn tiled(v: Var<'_>, chunk: usize) -> Result<Var<'_>> {
    let mut repeats = vec![1; v.rank()?];
    if let Some(first) = repeats.first_mut() {
        *first = signed(chunk);
    }
    Ok(v.builder().op("Tile", &[v, v.builder().integers(&repeats)], &[]))
}
