//! A training step as a compiled graph: forward, loss, derivatives of the weights and optimizer in one graph, from the
//! same derivatives as every explanation.
//!
//! Weights and the optimizer's state are inputs and outputs: whoever runs the step feeds what the last one returned.

use std::collections::BTreeSet;

use pellucid_graph::{ElementType, Graph, NewNode, Origin, ValueId};

use crate::build::{Builder, Keep, Var};
use crate::error::{CompileError, Result};
use crate::loss::cross_entropy;
use crate::program::{name_output, rows};
use crate::rules::RuleMap;
use crate::score::{find, reserved};
use crate::walk::walk;

/// A training step.
#[derive(Debug, Clone)]
pub struct TrainingStep {
    /// The graph.
    pub graph: Graph,
    /// Name of the input of classes, int64 `[n]`.
    pub labels: String,
    /// Name of the input of the learning rate, a scalar.
    pub learning_rate: String,
    /// Name of the input of the momentum, a scalar.
    pub momentum: String,
    /// Name of the loss, a scalar.
    pub loss: String,
    /// The weights that are trained.
    pub weights: Vec<TrainedWeight>,
}

/// Names of one weight's values in a training step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedWeight {
    /// The weight, an input of the shape it has in the model.
    pub weight: String,
    /// Its velocity, an input of the same shape; zeros before the first step.
    pub velocity: String,
    /// The weight after the step.
    pub updated: String,
    /// The velocity after the step.
    pub updated_velocity: String,
}

/// One step of stochastic gradient descent with momentum on the mean cross-entropy of the model's logits:
/// v ← μ·v + ∂loss/∂w, w ← w − η·v, as PyTorch's `SGD`.
///
/// Every float constant that the logits depend on is trained, but for those of one element and for running statistics
/// and resizing scales, which are settings of the graph rather than weights. A `BatchNormalization` in evaluation mode
/// so keeps its statistics and learns its scale and bias.
///
/// A label that is no class counts as a row of loss 0.
///
/// Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986), Learning representations by back-propagating errors,
/// doi:10.1038/323533a0; I. Sutskever, J. Martens, G. Dahl, G. Hinton (2013), On the importance of initialization and
/// momentum in deep learning, PMLR 28(3):1139–1147.
///
/// # Errors
/// A model without [n, classes] logits or without weights; nodes that have no derivative, all of them.
pub fn training_step(model: &Graph) -> Result<TrainingStep> {
    let scored = find(model, None)?;
    let classes = scored.classes.ok_or_else(|| {
        CompileError::Model("cross-entropy needs classes: the output has one number a row".to_owned())
    })?;
    let weights = trainable(model, scored.value);
    if weights.is_empty() {
        return Err(CompileError::Model("the model has no weights that its output depends on".to_owned()));
    }
    let rows = rows(model, &scored)?;
    let builder = Builder::new(with_inputs(model, &weights)?);
    let element = builder.var(scored.value).element();
    let labels = named_input(&builder, "labels", ElementType::I64, vec![rows]);
    let learning_rate = named_input(&builder, "learning_rate", element, Vec::new());
    let momentum = named_input(&builder, "momentum", element, Vec::new());
    let loss = cross_entropy(builder.var(scored.value), classes, labels).mean(&[0], Keep::None);
    let one = builder.scalar(element, 1.0);
    let derivatives = walk(&builder, &[(loss.id(), one)], &weights, &RuleMap::GRADIENT)?;
    let mut outputs = Vec::new();
    let loss_name = name_output(&builder, loss, "loss", &mut outputs);
    let mut trained = Vec::new();
    for id in &weights {
        let weight = builder.var(*id);
        let name = weight.name();
        let shape = weight.shape()?;
        let velocity = named_input(&builder, &format!("velocity:{name}"), weight.element(), shape);
        let derivative = match derivatives.get(id) {
            Some(derivative) => *derivative,
            None => weight.zeros_like()?,
        };
        let next = velocity * momentum + derivative;
        let moved = weight - next * learning_rate;
        trained.push(TrainedWeight {
            velocity: velocity.name(),
            updated: name_output(&builder, moved, &format!("updated:{name}"), &mut outputs),
            updated_velocity: name_output(&builder, next, &format!("updated:velocity:{name}"), &mut outputs),
            weight: name,
        });
    }
    let (labels, learning_rate, momentum) = (labels.name(), learning_rate.name(), momentum.name());
    let mut graph = builder.finish()?;
    graph.set_outputs(outputs);
    Ok(TrainingStep { graph, labels, learning_rate, momentum, loss: loss_name, weights: trained })
}

fn named_input<'g>(
    builder: &'g Builder,
    wanted: &str,
    element: ElementType,
    shape: pellucid_graph::Shape,
) -> Var<'g> {
    let name = reserved(&builder.graph(), wanted);
    builder.input(&name, element, shape)
}

/// Float constants of more than one element that `value` depends on, but for those that configure an operator: running
/// statistics, which are measured rather than learned, and scales of a resize.
pub fn trainable(graph: &Graph, value: ValueId) -> Vec<ValueId> {
    let mut needed = BTreeSet::from([value]);
    let mut settings = BTreeSet::new();
    for id in graph.node_ids().rev() {
        let node = graph.node(id);
        if node.outputs.iter().flatten().any(|output| needed.contains(output)) {
            needed.extend(graph.dependencies(id));
            let configures = |index: &usize| match node.operator.as_str() {
                "BatchNormalization" => matches!(index, 3 | 4),
                "Resize" => matches!(index, 1 | 2),
                _ => false,
            };
            settings.extend((0..node.inputs.len()).filter(configures).filter_map(|index| node.input(index)));
        }
    }
    needed
        .difference(&settings)
        .copied()
        .filter(|id| {
            graph.constant(*id).is_some_and(|tensor| tensor.element().is_float() && tensor.len() > 1)
        })
        .collect()
}

/// The same graph, some of its constants being inputs; ids and names stay.
fn with_inputs(source: &Graph, constants: &[ValueId]) -> Result<Graph> {
    let mut graph = Graph::new();
    let mut pushed = 0;
    for id in source.value_ids() {
        let value = source.value(id);
        match &value.origin {
            Origin::Input => {
                let element = value.element.unwrap_or(ElementType::F32);
                graph.add_input(value.name.clone(), element, value.shape.clone())?;
            }
            Origin::Constant(tensor) if constants.contains(&id) => {
                graph.add_input(value.name.clone(), tensor.element(), value.shape.clone())?;
            }
            Origin::Constant(tensor) => {
                graph.add_constant(value.name.clone(), tensor.clone())?;
            }
            Origin::Captured(_) => {
                return Err(CompileError::Model("a body cannot be trained by itself".to_owned()));
            }
            Origin::Node(node, _) => {
                while pushed <= node.index() {
                    let old = &source.nodes()[pushed];
                    let name = |output: &Option<ValueId>| {
                        output.map_or_else(String::new, |output| source.value(output).name.clone())
                    };
                    graph.push(NewNode {
                        operator: old.operator.clone(),
                        name: old.name.clone(),
                        inputs: old.inputs.clone(),
                        outputs: old.outputs.iter().map(name).collect(),
                        attributes: old.attributes.clone(),
                        metadata: old.metadata.clone(),
                    })?;
                    pushed += 1;
                }
            }
        }
    }
    graph.set_outputs(source.outputs().to_vec());
    Ok(graph)
}
