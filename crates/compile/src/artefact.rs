//! The artefact: prediction and attribution in one graph that any ONNX runtime executes.
//!
//! Methods that evaluate the model at several points run them in a Loop. Its body holds a copy of the model's nodes
//! at those points; weights stay where they are and are captured, so they are stored once.

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, Shape, Tensor, Value, ValueId};

use crate::build::{Builder, Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::method::{Method, Points, Quadrature, nodes};
use crate::program::{Pass, Request, collected, name_output, program, rows};
use crate::readout::Readout;
use crate::score::{self, Scored, Target, Unit};

/// What the path starts from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Baseline {
    /// The caller says, by an input named `baseline` (`baseline:INPUT` where the model has several).
    #[default]
    Input,
    /// Zeros.
    Zero,
    /// A constant for each input, by name, of shape [1, …].
    Fixed(BTreeMap<String, Tensor>),
}

/// How an artefact is made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What is explained.
    pub request: Request,
    /// What the path starts from, for methods that have one.
    pub baseline: Baseline,
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
    match method.points {
        Points::Once => {
            let program = program(graph, method, &options.request)?;
            let outputs = program
                .attributions
                .iter()
                .map(|(_, output)| output.clone())
                .chain([program.score])
                .collect();
            Ok(Artefact {
                graph: program.graph,
                inputs: program.target.into_iter().collect(),
                outputs,
                layer: program.layer,
                unit: program.unit,
            })
        }
        Points::Path { quadrature: Quadrature::Adaptive { .. }, .. } => Err(CompileError::Setting(
            "adaptive quadrature decides while running and cannot be compiled: \
             set quadrature=gauss-legendre and steps"
                .to_owned(),
        )),
        Points::Path { quadrature, steps } => {
            let rule = nodes(quadrature, steps)
                .ok_or_else(|| CompileError::Setting("this quadrature has no fixed points".to_owned()))?;
            Looped::new(graph, method, options)?.path(&rule.positions, &rule.weights)
        }
        Points::Noise { .. } => Looped::new(graph, method, options)?.noise(),
    }
}

/// Constants up to this many elements are copied into the body, where operators that want their axes and limits
/// known can see them.
const COPIED: usize = 64;

/// A method that evaluates the model at several points, half compiled.
struct Looped<'a> {
    source: &'a Graph,
    method: &'a Method,
    options: &'a Options,
    scored: Scored,
    moved: Vec<ValueId>,
    rows: Dim,
    builder: Builder,
}

/// What the body needs of the outside.
struct Outside<'g> {
    target: Var<'g>,
    score: Var<'g>,
    target_name: Option<String>,
}

impl<'a> Looped<'a> {
    fn new(source: &'a Graph, method: &'a Method, options: &'a Options) -> Result<Self> {
        let scored = score::find(source, options.request.output.as_deref())?;
        let moved = collected(source, method, &options.request, &scored)?;
        let rows = rows(source, &scored)?;
        if source
            .nodes()
            .iter()
            .any(|node| node.attributes.values().any(|a| matches!(a, Attribute::Graph(_))))
        {
            return Err(CompileError::Model(
                "a model with control flow cannot be repeated in a Loop yet: use a method that evaluates it once".to_owned(),
            ));
        }
        Ok(Self { source, method, options, scored, moved, rows, builder: Builder::new(source.clone()) })
    }

    fn outside(&self) -> Result<Outside<'_>> {
        let target = score::target(&self.builder, &self.scored, self.options.request.target, &self.rows)?;
        let (score, _) = score::seed(self.builder.var(self.scored.value), self.scored.classes, target)?;
        // Inside the Loop the target must be one a row.
        let by_row = if self.options.request.target == Target::Input || self.scored.classes.is_none() {
            target
        } else {
            let zeros = score.cast(ElementType::I64) * 0.0;
            zeros + target
        };
        let target_name = (self.options.request.target == Target::Input).then(|| target.name());
        Ok(Outside { target: by_row, score, target_name })
    }

    fn input_name(&self, base: &str, id: ValueId) -> String {
        let graph = self.builder.graph();
        let wanted = if self.moved.len() == 1 {
            base.to_owned()
        } else {
            format!("{base}:{}", self.source.value(id).name)
        };
        score::reserved(&graph, &wanted)
    }

    fn baseline(&self, id: ValueId, added: &mut Vec<String>) -> Result<Var<'_>> {
        let x = self.builder.var(id);
        match &self.options.baseline {
            Baseline::Input => {
                let name = self.input_name("baseline", id);
                let input = self.builder.input(&name, x.element(), x.shape()?);
                added.push(input.name());
                Ok(input)
            }
            Baseline::Zero => Ok(x.scalar(0.0)),
            Baseline::Fixed(tensors) => {
                let name = &self.source.value(id).name;
                let tensor = tensors.get(name).ok_or_else(|| {
                    CompileError::Setting(format!("the baseline has nothing for input {name:?}"))
                })?;
                Ok(self.builder.constant(tensor.clone()).cast(x.element()))
            }
        }
    }

    /// Σ weight · signal over points on the path, times the difference from the baseline.
    fn path(&self, positions: &[f64], weights: &[f64]) -> Result<Artefact> {
        let outside = self.outside()?;
        let mut added: Vec<String> = outside.target_name.iter().cloned().collect();
        let mut starts = Vec::new();
        for id in &self.moved {
            let x = self.builder.var(*id);
            let b = self.baseline(*id, &mut added)?;
            starts.push((b, x - b));
        }
        let chunk = self.options.chunk.max(1);
        // The baseline is one more point, of weight 0, that only its score is taken from.
        let mut at = vec![0.0];
        at.extend_from_slice(positions);
        let mut weigh = vec![0.0];
        weigh.extend_from_slice(weights);
        let mut is_baseline = vec![0.0; at.len()];
        is_baseline[0] = 1.0;
        while at.len() % chunk != 0 {
            at.push(1.0);
            weigh.push(0.0);
            is_baseline.push(0.0);
        }
        let rounds = at.len() / chunk;
        let element = self.builder.var(self.moved[0]).element();
        let table = |values: &[f64]| self.builder.values(element, vec![rounds, chunk], values);
        let tables = [table(&at), table(&weigh), table(&is_baseline)];
        let body = self.path_body(&outside, &starts, tables, chunk)?;
        let mut initial = Vec::new();
        for id in &self.moved {
            initial.push(self.builder.var(*id).zeros_like()?);
        }
        initial.push(outside.score * 0.0);
        let trips = self.builder.constant(Tensor::scalar(ElementType::I64, signed(rounds) as f64));
        let carried = self.repeat(trips, &initial, body)?;
        let mut values = Vec::new();
        for ((id, sum), (_, difference)) in self.moved.iter().zip(&carried).zip(&starts) {
            let sum = sum.reshape_like(self.builder.var(*id))?;
            values.push(if self.method.readout == Readout::TimesDifference {
                sum * *difference
            } else {
                sum
            });
        }
        let baseline_score = carried[self.moved.len()].reshape_like(outside.score)?;
        let mut explained = outside.score - baseline_score;
        for value in &values {
            let axes: Vec<usize> = (1..value.rank()?).collect();
            explained = explained - value.sum(&axes, Keep::None);
        }
        let extra = [("baseline_score", baseline_score), ("gap", explained)];
        self.finish(added, &values, outside.score, &extra)
    }

    fn path_body(
        &self,
        outside: &Outside<'_>,
        starts: &[(Var<'_>, Var<'_>)],
        tables: [Var<'_>; 3],
        chunk: usize,
    ) -> Result<Graph> {
        let builder = Builder::with_prefix(Graph::new(), "pellucid.point");
        let inner = |outer: Var<'_>| self.capture(&builder, outer.id());
        let round = builder.input("pellucid.point.round", ElementType::I64, Vec::new());
        let condition = builder.input("pellucid.point.condition", ElementType::Bool, Vec::new());
        let gather =
            |table: Var<'_>| builder.op("Gather", &[inner(table), round], &[("axis", Attribute::Int(0))]);
        let [at, weigh, is_baseline] = [gather(tables[0]), gather(tables[1]), gather(tables[2])];
        let mut given = BTreeMap::new();
        let mut sums = Vec::new();
        for (id, (b, difference)) in self.moved.iter().zip(starts) {
            let value = self.source.value(*id);
            let shape = value.shape.clone().unwrap_or_default();
            sums.push(builder.input(
                &format!("pellucid.point.sum.{}", id.index()),
                self.builder.var(*id).element(),
                shape.clone(),
            ));
            let point = if chunk == 1 {
                let scalar = at.reshape(&[]);
                inner(*b) + scalar * inner(*difference)
            } else {
                let mut column = vec![1; shape.len() + 1];
                column[0] = signed(chunk);
                let many = inner(*b) + at.reshape(&column) * inner(*difference);
                many.reshape_to(&stacked(&shape, chunk)?)?
            };
            given.insert(*id, point.id());
        }
        let score_sum =
            builder.input("pellucid.point.baseline_score", outside.score.element(), vec![self.rows.clone()]);
        let target = repeated(inner(outside.target), chunk);
        let pass = self.inner_pass(&builder, given, target, chunk)?;
        let mut outputs = vec![builder.named("Identity", condition, "pellucid.point.continue").id()];
        for ((_, signal), sum) in pass.signals.iter().zip(&sums) {
            let weighted = if chunk == 1 {
                *signal * weigh.reshape(&[])
            } else {
                let shape = sum.shape()?;
                let mut split = vec![Dim::known(signed(chunk))];
                split.extend(shape.iter().cloned());
                let mut column = vec![1; shape.len() + 1];
                column[0] = signed(chunk);
                (signal.reshape_to(&split)? * weigh.reshape(&column)).sum(&[0], Keep::None)
            };
            outputs.push((*sum + weighted).id());
        }
        let marked = if chunk == 1 {
            pass.score * is_baseline.reshape(&[])
        } else {
            let rows = self.rows.clone();
            let split = pass.score.reshape_to(&[Dim::known(signed(chunk)), rows])?;
            (split * is_baseline.reshape(&[signed(chunk), 1])).sum(&[0], Keep::None)
        };
        outputs.push((score_sum + marked).id());
        let mut body = builder.finish()?;
        body.set_outputs(outputs);
        "pellucid.point".clone_into(&mut body.name);
        Ok(body)
    }

    /// Mean signal over inputs with added noise.
    fn noise(&self) -> Result<Artefact> {
        let outside = self.outside()?;
        let mut added: Vec<String> = outside.target_name.iter().cloned().collect();
        let mut noises = Vec::new();
        let samples = Dim::symbol("samples");
        for id in &self.moved {
            let x = self.builder.var(*id);
            let mut shape = vec![samples.clone()];
            shape.extend(x.shape()?);
            let noise = self.builder.input(&self.input_name("noise", *id), x.element(), shape);
            added.push(noise.name());
            noises.push(noise);
        }
        let body = self.noise_body(&outside, &noises)?;
        let mut initial = Vec::new();
        for id in &self.moved {
            initial.push(self.builder.var(*id).zeros_like()?);
        }
        let trips = noises[0].apply("Shape").slice(0, 0, 1, 1).reshape(&[]);
        let carried = self.repeat(trips, &initial, body)?;
        let mut values = Vec::new();
        for (id, sum) in self.moved.iter().zip(&carried) {
            let x = self.builder.var(*id);
            let mean = sum.reshape_like(x)? / trips.cast(x.element());
            values.push(if self.method.readout == Readout::TimesInput { mean * x } else { mean });
        }
        self.finish(added, &values, outside.score, &[])
    }

    fn noise_body(&self, outside: &Outside<'_>, noises: &[Var<'_>]) -> Result<Graph> {
        let builder = Builder::with_prefix(Graph::new(), "pellucid.sample");
        let inner = |outer: ValueId| self.capture(&builder, outer);
        let round = builder.input("pellucid.sample.round", ElementType::I64, Vec::new());
        let condition = builder.input("pellucid.sample.condition", ElementType::Bool, Vec::new());
        let mut given = BTreeMap::new();
        let mut sums = Vec::new();
        for (id, noise) in self.moved.iter().zip(noises) {
            let value = self.source.value(*id);
            sums.push(builder.input(
                &format!("pellucid.sample.sum.{}", id.index()),
                self.builder.var(*id).element(),
                value.shape.clone().unwrap_or_default(),
            ));
            let one = builder.op("Gather", &[inner(noise.id()), round], &[("axis", Attribute::Int(0))]);
            given.insert(*id, (inner(*id) + one).id());
        }
        let pass = self.inner_pass(&builder, given, inner(outside.target.id()), 1)?;
        let mut outputs = vec![builder.named("Identity", condition, "pellucid.sample.continue").id()];
        for ((_, signal), sum) in pass.signals.iter().zip(&sums) {
            outputs.push((*sum + *signal).id());
        }
        let mut body = builder.finish()?;
        body.set_outputs(outputs);
        "pellucid.sample".clone_into(&mut body.name);
        Ok(body)
    }

    /// Copies the model into the body at the points `given` and passes back through the copy.
    fn inner_pass<'b>(
        &self,
        builder: &'b Builder,
        mut given: BTreeMap<ValueId, ValueId>,
        target: Var<'b>,
        chunk: usize,
    ) -> Result<Pass<'b>> {
        // What follows from an earlier failure outside would hide it.
        self.builder.check()?;
        for id in self.source.value_ids() {
            let value = self.source.value(id);
            if given.contains_key(&id) {
                continue;
            }
            if value.constant().is_some_and(|tensor| tensor.len() > COPIED) {
                given.insert(id, builder.capture(id, value).id());
            } else if self.source.inputs().contains(&id) {
                let shared = builder.capture(id, value);
                let rows = value.shape.as_ref().and_then(|shape| shape.first()) == Some(&self.rows);
                let here = if rows && chunk > 1 { tiled(shared, chunk)? } else { shared };
                given.insert(id, here.id());
            }
        }
        let stands_for = builder.embed(self.source, &given)?;
        let here = |id: ValueId| {
            stands_for[id.index()].ok_or_else(|| CompileError::Emitted("a value was not copied".to_owned()))
        };
        let scored = Scored {
            output: here(self.scored.output)?,
            value: here(self.scored.value)?,
            ..self.scored.clone()
        };
        let points = self.moved.iter().map(|id| here(*id)).collect::<Result<Vec<_>>>()?;
        Pass::new(builder, &scored, target, &points, &self.method.rules)
    }

    fn capture<'b>(&self, builder: &'b Builder, outer: ValueId) -> Var<'b> {
        let value: Value = self.builder.graph().value(outer).clone();
        builder.capture(outer, &value)
    }

    /// Loop(trips, true, initial…) over `body`: the carried values after the last round.
    fn repeat(&self, trips: Var<'_>, initial: &[Var<'_>], body: Graph) -> Result<Vec<Var<'_>>> {
        // A condition may be left out, but not every runtime takes that for true.
        let go_on = Tensor::from_bool(Vec::new(), &[true])
            .map_err(|error| CompileError::Emitted(error.to_string()))?;
        let mut inputs = vec![Some(self.builder.var(trips.id())), Some(self.builder.constant(go_on))];
        inputs.extend(initial.iter().map(|v| Some(self.builder.var(v.id()))));
        let body = Attribute::Graph(Box::new(body));
        let outputs = self.builder.ops("Loop", &inputs, &[("body", body)], initial.len());
        self.builder.check()?;
        Ok(outputs)
    }

    fn finish(
        &self,
        inputs: Vec<String>,
        values: &[Var<'_>],
        score: Var<'_>,
        extra: &[(&str, Var<'_>)],
    ) -> Result<Artefact> {
        let mut outputs = self.source.outputs().to_vec();
        let mut names = Vec::new();
        for (id, value) in self.moved.iter().zip(values) {
            let wanted = if self.moved.len() == 1 {
                "attribution".to_owned()
            } else {
                format!("attribution:{}", self.source.value(*id).name)
            };
            names.push(name_output(&self.builder, *value, &wanted, &mut outputs));
        }
        names.push(name_output(&self.builder, score, "score", &mut outputs));
        for (name, value) in extra {
            names.push(name_output(&self.builder, *value, name, &mut outputs));
        }
        self.builder.check()?;
        let mut graph = self.builder.graph().clone();
        graph.set_outputs(outputs);
        Ok(Artefact { graph, inputs, outputs: names, layer: None, unit: self.scored.unit })
    }
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
