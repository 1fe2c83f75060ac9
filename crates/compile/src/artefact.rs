//! The artefact: prediction and attribution in one graph that any ONNX runtime executes.
//!
//! Methods that evaluate the model at several points run them in a Loop. Its body holds a copy of the model's nodes
//! at those points; weights stay where they are and are captured, so they are stored once. Several fixed targets share
//! every forward pass.

mod body;
mod looped;

use std::collections::BTreeMap;

use pellucid_graph::{Graph, Shape, Tensor, ValueId};

use crate::build::{Builder, Keep, Var};
use crate::error::{CompileError, Result};
use crate::method::{Collect, Method, Points, Quadrature, nodes};
use crate::program::{Pass, Request, collected, float_inputs, is_complete, name_output, rows};
use crate::reference::refer;
use crate::score::{self, Aim, Scored, Target, Unit};
use looped::Looped;

/// What the path starts from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Baseline {
    /// The caller says, by an input named `baseline` (`baseline:INPUT` where the model has several).
    #[default]
    Input,
    /// Zeros.
    Zero,
    /// A constant for each input, by name, of shape [1, …]; of shape [k, …] for a background.
    Fixed(BTreeMap<String, Tensor>),
}

/// Random numbers, drawn before compiling so that nothing in a graph is random: one of each a sample, the same for
/// every row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draws {
    /// Whole numbers from 0 to 2³¹ − 1; modulo k they choose one of k backgrounds.
    pub pick: Vec<i64>,
    /// Positions on the path from the background to the input, in [0, 1).
    pub position: Vec<f64>,
}

/// How an artefact is made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What is explained.
    pub request: Request,
    /// Fixed targets in place of the request's; with more than one, attributions and scores have a leading axis of
    /// targets.
    pub targets: Vec<Target>,
    /// What the path starts from, for methods that have one.
    pub baseline: Baseline,
    /// What baselines are drawn from, for methods that draw them; the input is named `background`, [k, …].
    pub background: Baseline,
    /// For methods that draw baselines: as many numbers as the method has samples.
    pub draws: Draws,
    /// Points that run as one batch; 0 and 1 are one.
    pub chunk: usize,
}

/// An artefact and the names of what it adds to the model.
#[derive(Debug, Clone)]
pub struct Artefact {
    /// The graph, its source an untouched prefix.
    pub graph: Graph,
    /// Inputs added to the model's.
    pub inputs: Vec<String>,
    /// Outputs added to the model's.
    pub outputs: Vec<String>,
    /// The layer looked at.
    pub layer: Option<String>,
    /// Unit of the score.
    pub unit: Unit,
}

/// Compiles `method` to an artefact. The result may hold canonical operators: lower it before writing.
pub fn artefact(graph: &Graph, method: &Method, options: &Options) -> Result<Artefact> {
    let prepared = options.request.prepared(graph, method)?;
    let making = Making::new(&prepared, method, options)?;
    match method.points {
        Points::Once => making.once(),
        Points::Path { quadrature: Quadrature::Adaptive { .. }, .. } => Err(CompileError::Setting(
            "adaptive quadrature decides while running and cannot be compiled: \
             set quadrature=gauss-legendre and steps"
                .to_owned(),
        )),
        Points::Path { quadrature, steps } => {
            let rule = nodes(quadrature, steps)
                .ok_or_else(|| CompileError::Setting("this quadrature has no fixed points".to_owned()))?;
            Looped::new(&making)?.path(&rule)
        }
        Points::Noise { .. } => Looped::new(&making)?.noise(),
        Points::Background { samples, .. } => Looped::new(&making)?.background(samples),
        Points::Each => Looped::new(&making)?.each(),
    }
}

/// An artefact being made: the source graph, and what is appended to it.
struct Making<'a> {
    source: &'a Graph,
    method: &'a Method,
    options: &'a Options,
    scored: Scored,
    /// Values whose signals are read.
    collected: Vec<ValueId>,
    rows: pellucid_graph::Dim,
    /// Whether the values and the gap sum to the difference of scores.
    complete: bool,
    targets: Vec<Target>,
    builder: Builder,
}

impl<'a> Making<'a> {
    fn new(source: &'a Graph, method: &'a Method, options: &'a Options) -> Result<Self> {
        let scored = options.request.scored(source)?;
        let collected = collected(source, method, &options.request, &scored)?;
        let rows = rows(source, &scored)?;
        let complete = is_complete(source, method, &collected, &scored);
        let targets =
            if options.targets.is_empty() { vec![options.request.target] } else { options.targets.clone() };
        if targets.len() > 1 && targets.iter().any(|target| target.is_input()) {
            return Err(CompileError::Setting(
                "several targets must all be fixed; one may be an input".to_owned(),
            ));
        }
        let builder = Builder::new(source.clone());
        Ok(Self { source, method, options, scored, collected, rows, complete, targets, builder })
    }

    /// Every target in the graph, and the inputs they add.
    fn aims(&self) -> Result<(Vec<Aim<'_>>, Vec<String>)> {
        let mut aims = Vec::new();
        let mut inputs = Vec::new();
        for target in &self.targets {
            let aim = Aim::new(&self.builder, &self.scored, *target, &self.rows)?;
            inputs.extend(aim.inputs.iter().cloned());
            aims.push(aim);
        }
        Ok((aims, inputs))
    }

    /// An input named `wanted`, zero, or a constant, for the input `id`; `shape` is an input's.
    fn start(
        &self,
        (what, wanted): (&str, &str),
        start: &Baseline,
        id: ValueId,
        shape: Shape,
        added: &mut Vec<String>,
    ) -> Result<Var<'_>> {
        let builder = &self.builder;
        let x = builder.var(id);
        match start {
            Baseline::Input => {
                let input = builder.input(wanted, x.element(), shape);
                added.push(input.name());
                Ok(input)
            }
            Baseline::Zero => Ok(x.scalar(0.0)),
            Baseline::Fixed(tensors) => {
                let name = &self.source.value(id).name;
                let tensor = tensors.get(name).ok_or_else(|| {
                    CompileError::Setting(format!("the {what} has nothing for input {name:?}"))
                })?;
                Ok(builder.constant(tensor.clone()).cast(x.element()))
            }
        }
    }

    /// The model on the baseline, for rules that compare; adds the inputs that it takes.
    fn refer(&self, added: &mut Vec<String>) -> Result<()> {
        let moved = float_inputs(self.source);
        let mut baselines = Vec::new();
        for id in &moved {
            let x = self.builder.var(*id);
            let name =
                if moved.len() == 1 { "baseline".to_owned() } else { format!("baseline:{}", x.name()) };
            let name = score::reserved(&self.builder.graph(), &name);
            let start = self.start(("baseline", &name), &self.options.baseline, *id, x.shape()?, added)?;
            baselines.push((*id, start.expand_like(x)?));
        }
        let read: Vec<ValueId> = self.collected.iter().copied().chain([self.scored.value]).collect();
        refer(&self.builder, self.source, &Some, &baselines, &read)
    }

    fn once(&self) -> Result<Artefact> {
        let mut referred = Vec::new();
        if self.method.rules.compares() {
            self.refer(&mut referred)?;
        }
        let (aims, mut inputs) = self.aims()?;
        inputs.extend(referred);
        let mut baseline_scores = Vec::new();
        let (mut scores, mut gaps) = (Vec::new(), Vec::new());
        let mut values = vec![Vec::new(); self.method.read(self.collected.len())];
        for aim in &aims {
            let pass = Pass::new(&self.builder, &self.scored, aim, (&self.collected, &[]), self.method)?;
            scores.push(pass.score);
            gaps.extend(pass.gap(&self.builder)?);
            let mut left = pass.baseline_score.map(|score| pass.score - score);
            baseline_scores.extend(pass.baseline_score);
            for (values, read) in values.iter_mut().zip(pass.read(&self.builder, self.method)?) {
                values.push(read);
                let axes: Vec<usize> = (1..read.rank()?).collect();
                left = left.map(|left| left - read.sum(&axes, Keep::None));
            }
            gaps.extend(left.filter(|_| self.complete));
        }
        let mut extra = vec![("baseline_score", baseline_scores), ("gap", gaps)];
        extra.retain(|(_, parts)| !parts.is_empty());
        self.finish(inputs, &values, &scores, &extra)
    }

    /// One value a target, stacked along a new first axis where there are several.
    fn by_target<'g>(&'g self, parts: &[Var<'g>]) -> Var<'g> {
        match parts {
            [only] => *only,
            several => {
                let parts: Vec<Var<'_>> = several.iter().map(|part| part.unsqueeze(&[0])).collect();
                self.builder.concat(&parts, 0)
            }
        }
    }

    /// Names the outputs. `values`: for every collected value, one a target; `extra`: likewise one a target.
    fn finish<'g>(
        &'g self,
        inputs: Vec<String>,
        values: &[Vec<Var<'g>>],
        scores: &[Var<'g>],
        extra: &[(&str, Vec<Var<'g>>)],
    ) -> Result<Artefact> {
        let mut outputs = self.source.outputs().to_vec();
        let mut names = Vec::new();
        let mut name = |wanted: &str, parts: &[Var<'g>]| {
            names.push(name_output(&self.builder, self.by_target(parts), wanted, &mut outputs));
        };
        for (id, parts) in self.collected.iter().zip(values) {
            let wanted = if values.len() == 1 {
                "attribution".to_owned()
            } else {
                format!("attribution:{}", self.source.value(*id).name)
            };
            name(&wanted, parts);
        }
        name("score", scores);
        for (wanted, parts) in extra {
            name(wanted, parts);
        }
        self.builder.check()?;
        let mut graph = self.builder.graph().clone();
        graph.set_outputs(outputs);
        let looked_at = self.collected.last().filter(|_| self.method.collect != Collect::Inputs);
        let layer = looked_at.map(|id| self.source.value(*id).name.clone());
        Ok(Artefact { graph, inputs, outputs: names, layer, unit: self.scored.unit })
    }
}
