//! A model, what it is judged by, and the error of everything in it, in one graph: what looking inside is made of.
//!
//! The error of a value is the derivative of the objective by it, from the one reverse walk that every explanation
//! comes from; before an activation function it is the δ of the textbooks. Source: D. E. Rumelhart, G. E. Hinton,
//! R. J. Williams (1986), Learning representations by back-propagating errors, doi:10.1038/323533a0.

use pellucid_graph::{ElementType, Graph, ValueId};

use crate::build::{Builder, Var};
use crate::error::{CompileError, Result};
use crate::loss::{cross_entropy, squared_error};
use crate::program::{float_inputs, name_output, rows};
use crate::rules::RuleMap;
use crate::score::{Aim, Scored, Target, Unit, find, reserved};
use crate::training::trainable;
use crate::walk::walk;

/// What a model is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The score of a class, or of one less another.
    Score(Target),
    /// What the answer costs, given the right one: −log `softmax(logits)[label]` where there are two classes or more, else
    /// the mean square of the difference from the right number.
    Loss,
}

/// What the input of right answers takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// A class a row, int64 `[n]`; what is no class costs nothing.
    Classes(usize),
    /// Numbers, of the shape of the output.
    Numbers,
}

/// A model with the error of every value and weight.
#[derive(Debug, Clone)]
pub struct Inside {
    /// The graph. Every value of the model keeps its name; its outputs are the model's, the objective, and the errors.
    pub graph: Graph,
    /// Name of the objective, `[n]`: score or loss of each row.
    pub objective: String,
    /// Name of the value that scores are read from: logits, where a final Softmax was stepped over.
    pub scored: String,
    /// Unit of its numbers.
    pub unit: Unit,
    /// Number of classes; `None` for one number a row.
    pub classes: Option<usize>,
    /// Name of the input of classes, int64 `[n]`, where the objective is a score that the caller names.
    pub target: Option<String>,
    /// Name of the input of classes that are taken away, for contrasts.
    pub target_minus: Option<String>,
    /// Name of the input of right answers, where the objective is a loss, and what it takes.
    pub answers: Option<(String, Answers)>,
    /// How many values of the graph are the model's; they come first.
    pub model_values: usize,
    /// For every float value that the objective depends on and that depends on an input: its name, and the name of its
    /// error, ∂objective/∂value of each row, of the same shape.
    pub errors: Vec<(String, String)>,
    /// For every weight that the objective depends on: its name, and the name of Σ over rows of ∂objective/∂weight.
    pub gradients: Vec<(String, String)>,
}

/// Compiles what looking inside needs: `output` names the output that is judged, the first where it is `None`.
///
/// A row's error is of that row's objective alone, not of a mean over rows; gradients of weights are summed over rows.
///
/// # Errors
/// Outputs that cannot be judged; nodes on the way that have no derivative, all of them.
pub fn inside(graph: &Graph, objective: Objective, output: Option<&str>) -> Result<Inside> {
    let scored = find(graph, output)?;
    let rows = rows(graph, &scored)?;
    let builder = Builder::new(graph.clone());
    let y = builder.var(scored.value);
    let (mut target, mut target_minus, mut answers) = (None, None, None);
    let (judged, seed) = match objective {
        Objective::Score(wanted) => {
            let aim = Aim::new(&builder, &scored, wanted, &rows)?;
            let mut inputs = aim.inputs.iter().cloned();
            (target, target_minus) = (inputs.next(), inputs.next());
            let (score, seed) = aim.seed(y, scored.classes)?;
            (score, (scored.value, seed))
        }
        Objective::Loss => {
            let (loss, name, kind) = loss(&builder, y, &scored, &rows)?;
            answers = Some((name, kind));
            let seed = loss.scalar(1.0).expand_like(loss)?;
            (loss, (loss.id(), seed))
        }
    };
    let values = judged_values(graph);
    let weights = trainable(graph, scored.value);
    let wanted: Vec<ValueId> = values.iter().chain(&weights).copied().collect();
    let found = walk(&builder, &[seed], &wanted, &RuleMap::GRADIENT)?;
    let mut outputs: Vec<ValueId> = graph.outputs().to_vec();
    let objective = name_output(&builder, judged, "objective", &mut outputs);
    let mut name = |id: &ValueId| {
        let error = found.get(id)?;
        outputs.push(error.id());
        Some((graph.value(*id).name.clone(), error.name()))
    };
    let errors = values.iter().filter_map(&mut name).collect();
    let gradients = weights.iter().filter_map(&mut name).collect();
    outputs.sort_unstable_by_key(|id| id.index());
    outputs.dedup();
    let mut compiled = builder.finish()?;
    compiled.set_outputs(outputs);
    Ok(Inside {
        objective,
        scored: graph.value(scored.value).name.clone(),
        unit: scored.unit,
        classes: scored.classes,
        model_values: graph.values().len(),
        target,
        target_minus,
        answers,
        errors,
        gradients,
        graph: compiled,
    })
}

/// Loss of each row, [n], the name of the input of right answers, and what it takes.
fn loss<'g>(
    builder: &'g Builder,
    y: Var<'g>,
    scored: &Scored,
    rows: &pellucid_graph::Dim,
) -> Result<(Var<'g>, String, Answers)> {
    let name = reserved(&builder.graph(), "answers");
    match scored.classes {
        Some(classes) if classes > 1 => {
            if scored.unit == Unit::Probability {
                return Err(CompileError::Model(format!(
                    "output {:?} gives a probability for each class by itself, and cross-entropy needs logits: name \
                     another output, or a target",
                    builder.graph().value(scored.output).name
                )));
            }
            let labels = builder.input(&name, ElementType::I64, vec![rows.clone()]);
            let space: Vec<usize> = (2..y.rank()?).collect();
            Ok((cross_entropy(y.squeeze(&space), classes, labels), name, Answers::Classes(classes)))
        }
        _ => {
            let wanted = builder.input(&name, y.element(), y.shape()?);
            Ok((squared_error(y, wanted)?, name, Answers::Numbers))
        }
    }
}

/// Float values that depend on an input, float inputs among them.
fn judged_values(graph: &Graph) -> Vec<ValueId> {
    let mut depends = vec![false; graph.values().len()];
    for id in graph.inputs() {
        depends[id.index()] = true;
    }
    let mut values = float_inputs(graph);
    for id in graph.node_ids() {
        if graph.dependencies(id).iter().any(|input| depends[input.index()]) {
            for output in graph.node(id).outputs.iter().flatten() {
                depends[output.index()] = true;
                if graph.value(*output).element.is_some_and(ElementType::is_float) {
                    values.push(*output);
                }
            }
        }
    }
    values
}
