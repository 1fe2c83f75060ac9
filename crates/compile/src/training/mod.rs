//! A training step as a compiled graph: forward, loss, derivatives of the weights and optimizer in one graph, from the
//! same derivatives as every explanation.
//!
//! What is carried from step to step (weights, the optimizer's means, running statistics) is input and output: whoever
//! runs the step feeds what the last one returned. Nothing in the graph is random: what is dropped is fed.

mod config;
mod copy;
mod head;
mod optimizer;
mod sharing;
mod weights;

use std::collections::BTreeMap;

use pellucid_graph::{ElementType, Graph, Shape, Tensor, ValueId};

pub use config::{ClassTargets, Loss, Optimizer, Sharing, Statistics, TrainingConfig, WeightRule};
pub use head::{Head, head, with_head};
pub use sharing::{Untied, untied};
pub use weights::trainable;

use crate::build::{Builder, Keep, Var};
use crate::error::{CompileError, Result};
use crate::loss;
use crate::program::{name_output, rows};
use crate::rules::RuleMap;
use crate::score::{Scored, Unit, find, one_hot, reserved};
use crate::walk::walk;
use copy::{Changes, Copy};
use optimizer::{Adam, Moving, Shared, carried, clipping, moved, norm};
use weights::{Prepared, Statistic, prepared};

/// A training step.
#[derive(Debug, Clone)]
pub struct TrainingStep {
    /// The graph. Its inputs are the model's, the targets, the rates, what is dropped and what is carried; its outputs
    /// the loss and what is carried on.
    pub graph: Graph,
    /// Name of the input of the targets: int64 `[n]` classes, or floats of the prediction's shape.
    pub targets: String,
    /// Name of the input of the learning rate, a scalar.
    pub learning_rate: String,
    /// Name of the input of the momentum, a scalar, where there is one.
    pub momentum: Option<String>,
    /// Name of the loss, a scalar.
    pub loss: String,
    /// Name of what the loss looks at: logits, where a final Softmax or Sigmoid was stepped over.
    pub prediction: String,
    /// Name of the norm of all derivatives together, a scalar, before any clipping.
    pub norm: String,
    /// The weights that are trained.
    pub weights: Vec<TrainedWeight>,
    /// Everything that is carried from step to step, weights included.
    pub state: Vec<Carried>,
    /// What is drawn anew for every step.
    pub dropped: Vec<DroppedInput>,
    /// Weights that stay as they are.
    pub frozen: Vec<String>,
    /// Batch normalisations of the model, and those of them that keep their running statistics.
    pub normalizations: (usize, usize),
    /// Running statistics of batch normalisations that the step moves.
    pub statistics: Vec<RunningStatistic>,
}

/// A running statistic that a step moves towards that of its batch.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningStatistic {
    /// The constant of the model, and the input.
    pub name: String,
    /// The share of what it was that a step leaves: ONNX's momentum, 1 less PyTorch's.
    pub kept: f64,
}

/// Names of one weight's values in a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedWeight {
    /// The weight, an input of the shape it has in the model.
    pub weight: String,
    /// The weight after the step.
    pub updated: String,
    /// The derivative of the loss for it, a value of the graph, before any clipping.
    pub derivative: String,
    /// Whether it decays.
    pub decays: bool,
    /// Factor on its learning rate.
    pub learning_rate: f64,
}

/// A value that is carried from step to step.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// The input.
    pub input: String,
    /// The output that is fed to the next step.
    pub updated: String,
    /// What it is before the first step.
    pub start: Tensor,
    /// Whether it is a constant of the model, by its name, and which.
    pub role: Role,
}

/// What a carried value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The constant of the model that its input is called by: a weight or a running statistic.
    Model,
    /// The running average of the constant of this name.
    Average(String),
    /// The optimizer's own.
    Optimizer,
}

/// A factor that a step multiplies a value by: 0 where it is dropped, 1 / (1 − ratio) elsewhere.
///
/// Source: N. Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from overfitting, JMLR 15.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedInput {
    /// The input.
    pub input: String,
    /// Its shape.
    pub shape: Shape,
    /// Share that is dropped.
    pub ratio: f64,
}

/// The value that a loss looks at.
fn fitted(model: &Graph, scored: &Scored, loss: &Loss) -> Result<ValueId> {
    match loss {
        Loss::CrossEntropy { .. } => Ok(scored.value),
        Loss::BinaryCrossEntropy { .. } if scored.value != scored.output && scored.unit == Unit::Logit => {
            Err(CompileError::Setting(
                "binary cross-entropy is of labels that hold or do not, each by itself, and the model ends in a softmax, \
                 whose outputs are shares of one whole: give each row's class as a number, for cross-entropy"
                    .to_owned(),
            ))
        }
        Loss::BinaryCrossEntropy { .. } => Ok(loss::before_sigmoid(model, scored.value)),
        // Numbers are those that the model gives.
        Loss::MeanSquared | Loss::Huber { .. } => Ok(scored.output),
    }
}

/// One step of training: the loss of a batch, its derivatives for all weights, and the weights after the step.
///
/// Every float constant that the trained output depends on is a weight ([`trainable`]), but for those that
/// `config.weights` freezes. Layers share what [`untied`] leaves them: call it first, so that the model that is written
/// in the end has the same weights. What `Dropout` drops is fed; at ratio 0 and in a frozen part it drops nothing.
///
/// # Errors
/// Models without weights, outputs that the loss has no meaning for, rules that meet no weight, settings out of range;
/// nodes that have no derivative, all of them.
pub fn training_step(model: &Graph, config: &TrainingConfig) -> Result<TrainingStep> {
    check(config)?;
    let scored = find(model, config.output.as_deref())?;
    let value = fitted(model, &scored, &config.loss)?;
    let prepared = prepared(model, value, config)?;
    if prepared.weights.is_empty() {
        return Err(CompileError::Model(if prepared.frozen.is_empty() {
            "the model has no weights that its output depends on".to_owned()
        } else {
            "every weight is frozen: leave some to be trained".to_owned()
        }));
    }
    let rows = rows(model, &scored)?;
    let Prepared { graph, value, weights, frozen, statistics, dropped, normalizations } = prepared;
    let builder = Builder::new(graph);
    let mut outputs = Vec::new();
    let prediction = builder.var(value);
    let (targets, loss) = lost(&builder, prediction, &scored, rows, &config.loss)?;
    let learning_rate = named_input(&builder, "learning_rate", loss.element(), Vec::new());
    let momentum = matches!(config.optimizer, Optimizer::Sgd { momentum: true, .. })
        .then(|| named_input(&builder, "momentum", loss.element(), Vec::new()));
    let loss_name = name_output(&builder, loss, "loss", &mut outputs);
    let ids: Vec<ValueId> = weights.iter().map(|weight| weight.id).collect();
    let derivatives = derivatives(&builder, loss, &ids)?;
    let together = norm(&derivatives)?
        .ok_or_else(|| CompileError::Emitted("a step without weights has no derivatives".to_owned()))?;
    let clip = config.clip.map(|limit| clipping(together, limit));
    let mut state = Vec::new();
    let mut carry = Carry { builder: &builder, outputs: &mut outputs, state: &mut state };
    let adam = adam(&mut carry, config, loss.element());
    let shared = Shared { learning_rate, momentum, adam };
    let mut trained = Vec::new();
    for (weight, derivative) in weights.iter().zip(derivatives) {
        let value = builder.var(weight.id);
        let kept: Vec<Var<'_>> = carried(&config.optimizer)
            .iter()
            .map(|what| {
                Ok(named_input(
                    &builder,
                    &format!("{what}:{}", value.name()),
                    value.element(),
                    value.shape()?,
                ))
            })
            .collect::<Result<_>>()?;
        let moving = Moving {
            weight: value,
            derivative: clip.map_or(derivative, |factor| derivative * factor),
            factor: weight.factor,
            decays: weight.decays,
            state: kept.clone(),
        };
        let (next, passed_on) = moved(config, &shared, &moving)?;
        let updated = carry.on(value, next, weight.start.clone(), Role::Model);
        for (before, after) in kept.into_iter().zip(passed_on) {
            carry.on(before, after, zeros(&weight.start)?, Role::Optimizer);
        }
        carry.average(config, value, next, &weight.start)?;
        trained.push(TrainedWeight {
            weight: value.name(),
            updated,
            derivative: derivative.name(),
            decays: weight.decays && config.weight_decay > 0.0,
            learning_rate: weight.factor,
        });
    }
    for statistic in &statistics {
        let running = builder.var(statistic.id);
        let next = followed(&builder, statistic)?;
        carry.on(running, next, statistic.start.clone(), Role::Model);
        carry.average(config, running, next, &statistic.start)?;
    }
    let step = TrainingStep {
        targets: targets.name(),
        learning_rate: learning_rate.name(),
        momentum: momentum.map(Var::name),
        loss: loss_name,
        prediction: prediction.name(),
        norm: together.name(),
        weights: trained,
        state,
        dropped: dropped
            .iter()
            .map(|dropped| {
                let factor = builder.var(dropped.id);
                Ok(DroppedInput { input: factor.name(), shape: factor.shape()?, ratio: dropped.ratio })
            })
            .collect::<Result<_>>()?,
        frozen,
        normalizations,
        statistics: statistics.iter().map(|one| running(&builder, one)).collect(),
        graph: Graph::new(),
    };
    let mut graph = builder.finish()?;
    graph.set_outputs(outputs);
    Ok(TrainingStep { graph, ..step })
}

fn running(builder: &Builder, statistic: &Statistic) -> RunningStatistic {
    RunningStatistic { name: builder.var(statistic.id).name(), kept: 1.0 - statistic.factor }
}

/// The model with other numbers in its constants; names that it has not are an error, and so are other shapes.
///
/// # Errors
/// Names of no constant, tensors of another shape or element type.
pub fn with_weights(model: &Graph, tensors: &BTreeMap<String, Tensor>) -> Result<Graph> {
    struct Replace<'a>(&'a BTreeMap<String, Tensor>);
    impl Changes for Replace<'_> {
        fn constant(&mut self, copy: &mut Copy<'_>, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
            let Some(new) = self.0.get(&copy.of_source(id).name) else {
                return copy.keep_constant(id, tensor);
            };
            if new.shape() != tensor.shape() || new.element() != tensor.element() {
                return Err(CompileError::Setting(format!(
                    "{:?} is {} of shape {:?} in the model, and {} of shape {:?} was given",
                    copy.of_source(id).name,
                    tensor.element(),
                    tensor.shape(),
                    new.element(),
                    new.shape()
                )));
            }
            copy.keep_constant(id, new)
        }
    }
    for name in tensors.keys() {
        if model.find(name).is_none_or(|id| model.constant(id).is_none()) {
            return Err(CompileError::Setting(format!("the model has no weight {name:?}")));
        }
    }
    Ok(Copy::write(model, &mut Replace(tensors))?.graph)
}

/// The model with the constants called `names` as inputs, for whoever feeds weights that change.
///
/// # Errors
/// Names of no constant.
pub fn with_inputs(model: &Graph, names: &[String]) -> Result<Graph> {
    struct Feed<'a>(&'a [String]);
    impl Changes for Feed<'_> {
        fn constant(&mut self, copy: &mut Copy<'_>, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
            if self.0.contains(&copy.of_source(id).name) {
                return copy.as_input(id, tensor);
            }
            copy.keep_constant(id, tensor)
        }
    }
    for name in names {
        if model.find(name).is_none_or(|id| model.constant(id).is_none()) {
            return Err(CompileError::Setting(format!("the model has no weight {name:?}")));
        }
    }
    Ok(Copy::write(model, &mut Feed(names))?.graph)
}

/// Refuses numbers outside their range.
fn check(config: &TrainingConfig) -> Result<()> {
    let require = |holds: bool, problem: &str| {
        if holds { Ok(()) } else { Err(CompileError::Setting(problem.to_owned())) }
    };
    match &config.loss {
        Loss::CrossEntropy { smoothing, .. } => {
            require((0.0..1.0).contains(smoothing), "label smoothing must be at least 0 and below 1")?;
        }
        Loss::Huber { delta } => require(*delta > 0.0 && delta.is_finite(), "delta must be above 0")?,
        Loss::BinaryCrossEntropy { .. } | Loss::MeanSquared => {}
    }
    if let Optimizer::AdamW { beta1, beta2, epsilon } = config.optimizer {
        let share = |beta: f64| (0.0..1.0).contains(&beta);
        require(share(beta1) && share(beta2), "the betas must be at least 0 and below 1")?;
        require(epsilon > 0.0 && epsilon.is_finite(), "epsilon must be above 0")?;
    }
    require(
        config.weight_decay >= 0.0 && config.weight_decay.is_finite(),
        "the weight decay must be a number of at least 0",
    )?;
    require(config.clip.is_none_or(|limit| limit > 0.0), "the norm to clip at must be above 0")?;
    let share = |d: f64| (0.0..1.0).contains(&d);
    require(config.average.is_none_or(share), "the weight of the average must be at least 0 and below 1")
}

/// The input of targets, and the mean loss.
fn lost<'g>(
    builder: &'g Builder,
    prediction: Var<'g>,
    scored: &Scored,
    rows: pellucid_graph::Dim,
    chosen: &Loss,
) -> Result<(Var<'g>, Var<'g>)> {
    let like = |what: &str| {
        Ok::<_, CompileError>(named_input(builder, what, prediction.element(), prediction.shape()?))
    };
    let all: Vec<usize> = (0..prediction.rank()?).collect();
    match chosen {
        Loss::CrossEntropy { targets, smoothing, class_weights } => {
            let classes = scored.classes.filter(|classes| *classes > 1).ok_or_else(|| {
                CompileError::Model("cross-entropy needs classes: the output has one number a row".to_owned())
            })?;
            let logits = loss::by_class(prediction)?;
            let numbers = *targets == ClassTargets::Numbers;
            let given = if numbers {
                named_input(builder, "targets", ElementType::I64, vec![rows])
            } else {
                named_input(builder, "targets", logits.element(), logits.shape()?)
            };
            if numbers && *smoothing <= 0.0 && class_weights.is_none() {
                return Ok((given, loss::cross_entropy(logits, classes, given).mean(&[0], Keep::None)));
            }
            let wanted = if numbers { one_hot(logits, classes, given) } else { given };
            let mut shares = wanted;
            if *smoothing > 0.0 {
                let spread = smoothing / classes as f64;
                let kept = wanted * (1.0 - smoothing);
                // A row without a class has no share to spread.
                shares = if numbers { kept + wanted.sum(&[1], Keep::Axes) * spread } else { kept + spread };
            }
            let weights = by_output(builder, logits, class_weights.as_deref(), classes, "class weights")?;
            let Some(weights) = weights else {
                return Ok((given, loss::cross_entropy_of_shares(logits, shares).mean(&[0], Keep::None)));
            };
            let lost = loss::cross_entropy_of_shares(logits, shares * weights);
            let mean = if numbers {
                lost.sum(&[0], Keep::None) / (wanted * weights).sum(&[0, 1], Keep::None)
            } else {
                lost.mean(&[0], Keep::None)
            };
            Ok((given, mean))
        }
        Loss::BinaryCrossEntropy { positive_weights } => {
            let given = like("targets")?;
            let labels = scored.classes.unwrap_or(1);
            let weights = by_output(
                builder,
                prediction,
                positive_weights.as_deref(),
                labels,
                "weights of positive rows",
            )?;
            Ok((given, loss::binary_cross_entropy(prediction, given, weights).mean(&all, Keep::None)))
        }
        Loss::MeanSquared => {
            let given = like("targets")?;
            Ok((given, loss::squared(prediction, given).mean(&all, Keep::None)))
        }
        Loss::Huber { delta } => {
            let given = like("targets")?;
            Ok((given, loss::huber(prediction, given, *delta).mean(&all, Keep::None)))
        }
    }
}

/// A number for each output, `[1, outputs]`.
fn by_output<'g>(
    builder: &'g Builder,
    like: Var<'g>,
    numbers: Option<&[f64]>,
    outputs: usize,
    what: &str,
) -> Result<Option<Var<'g>>> {
    let Some(numbers) = numbers else { return Ok(None) };
    if numbers.len() != outputs {
        return Err(CompileError::Setting(format!(
            "{} {what} were given, and the model has {outputs} outputs",
            numbers.len()
        )));
    }
    if numbers.iter().any(|number| !number.is_finite() || *number < 0.0) {
        return Err(CompileError::Setting(format!("the {what} must be numbers of at least 0")));
    }
    Ok(Some(builder.values(like.element(), vec![1, outputs], numbers)))
}

/// The derivative of the loss for each weight.
fn derivatives<'g>(builder: &'g Builder, loss: Var<'g>, weights: &[ValueId]) -> Result<Vec<Var<'g>>> {
    let one = builder.scalar(loss.element(), 1.0);
    let found = walk(builder, &[(loss.id(), one)], weights, &RuleMap::GRADIENT)?;
    weights
        .iter()
        .map(|id| match found.get(id) {
            Some(derivative) => Ok(*derivative),
            None => builder.var(*id).zeros_like(),
        })
        .collect()
}

/// The factors of `AdamW`, whose sums of weights are carried.
fn adam<'g>(carry: &mut Carry<'g, '_>, config: &TrainingConfig, element: ElementType) -> Option<Adam<'g>> {
    let Optimizer::AdamW { beta1, beta2, epsilon } = config.optimizer else { return None };
    let before =
        ["correction1", "correction2"].map(|name| named_input(carry.builder, name, element, Vec::new()));
    let adam = Adam::new(before, [beta1, beta2], epsilon);
    for (before, after) in before.into_iter().zip(adam.carried) {
        carry.on(before, after, Tensor::scalar(element, 0.0), Role::Optimizer);
    }
    Some(adam)
}

/// A running statistic after the step: its variance is that of the whole that the batch is a sample of.
fn followed<'g>(builder: &'g Builder, statistic: &Statistic) -> Result<Var<'g>> {
    let (running, mut batch) = (builder.var(statistic.id), builder.var(statistic.batch));
    if let Some(x) = statistic.variance_of {
        let x = builder.var(x);
        let shape = x.shape()?;
        let channels = x.size(1)? as f64;
        let known: Option<f64> =
            shape.iter().map(pellucid_graph::Dim::size).try_fold(1.0, |all, size| Some(all * size? as f64));
        batch = match known.map(|all| all / channels) {
            Some(count) if count < 1.5 => {
                return Err(CompileError::Model(format!(
                    "{:?} has one number a channel in a batch, which has no variance: take larger batches, or frozen \
                     statistics",
                    x.name()
                )));
            }
            Some(count) => batch * (count / (count - 1.0)),
            None => {
                let count = x.apply("Size").cast(batch.element()) / channels;
                batch * (count / (count - 1.0))
            }
        };
    }
    Ok(running * (1.0 - statistic.factor) + batch * statistic.factor)
}

fn zeros(like: &Tensor) -> Result<Tensor> {
    Tensor::new(like.element(), like.shape().to_vec(), vec![0; like.bytes().len()].into())
        .map_err(|error| CompileError::Emitted(error.to_string()))
}

/// Where what is carried is noted.
struct Carry<'g, 'a> {
    builder: &'g Builder,
    outputs: &'a mut Vec<ValueId>,
    state: &'a mut Vec<Carried>,
}

impl<'g> Carry<'g, '_> {
    /// Says what an input is in the next step.
    fn on(&mut self, before: Var<'g>, after: Var<'g>, start: Tensor, role: Role) -> String {
        let input = before.name();
        let updated = name_output(self.builder, after, &format!("updated:{input}"), self.outputs);
        self.state.push(Carried { input, updated: updated.clone(), start, role });
        updated
    }

    /// The running average of a constant of the model, where there is one: it begins at the constant.
    fn average(
        &mut self,
        config: &TrainingConfig,
        value: Var<'g>,
        next: Var<'g>,
        start: &Tensor,
    ) -> Result<()> {
        let Some(kept) = config.average else { return Ok(()) };
        let name = value.name();
        let average = named_input(self.builder, &format!("average:{name}"), value.element(), value.shape()?);
        let after = average + (next - average) * (1.0 - kept);
        self.on(average, after, start.clone(), Role::Average(name));
        Ok(())
    }
}

fn named_input<'g>(builder: &'g Builder, wanted: &str, element: ElementType, shape: Shape) -> Var<'g> {
    let name = reserved(&builder.graph(), wanted);
    builder.input(&name, element, shape)
}
