//! The score: which number of the model's output is explained.

use pellucid_graph::{Attribute, Dim, ElementType, Graph, ValueId, display_shape};

use crate::build::{Builder, Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::layer::{self, Neuron};
use crate::step::{MADE_ELEMENTS, countable};

/// What the numbers of a model's output, and so a score, mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Before a softmax: the softmax of a row is a distribution over its classes.
    Logit,
    /// Each between 0 and 1.
    Probability,
    /// Neither: a regression's value, a distance, a score.
    Raw,
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Unit {
    /// Name, as files hold it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logit => "logit",
            Self::Probability => "probability",
            Self::Raw => "raw",
        }
    }
}

/// What is explained: the score of a class, or of one less that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// The caller says, by an input named `target`, int64 `[n]`.
    #[default]
    Input,
    /// The caller says, by inputs named `target` and `target_minus`, int64 `[n]`: the score of one class less that of
    /// another; a negative `target_minus` takes nothing away.
    InputContrast,
    /// One class for every row.
    Index(usize),
    /// One class less another, for every row.
    Contrast {
        /// The class.
        of: usize,
        /// What is taken away.
        minus: usize,
    },
    /// Each row's class of this rank by its score; 0 is the highest. Of equal scores the lower class comes first.
    Rank(usize),
}

impl Target {
    /// Whether each row has its class from the caller.
    pub fn is_input(self) -> bool {
        matches!(self, Self::Input | Self::InputContrast)
    }
}

/// The value that scores are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// The model's output, as the caller sees it.
    pub output: ValueId,
    /// The value explained: the output, or what its final Softmax takes.
    pub value: ValueId,
    /// Unit of the score.
    pub unit: Unit,
    /// Number of classes; `None` for `[n]`, one number a row.
    pub classes: Option<usize>,
    /// Where a hidden unit is explained: its place in the value behind the axis of rows. Axes behind the last of these
    /// are averaged over.
    pub neuron: Option<Vec<usize>>,
}

/// Finds the value to explain: the layer of the hidden unit `neuron`, or else what [`find`] finds.
///
/// # Errors
/// Layers that do not exist or have no rows of floating-point numbers, units that are not in them; as [`find`].
pub fn sought(graph: &Graph, output: Option<&str>, neuron: Option<&Neuron>) -> Result<Scored> {
    let Some(neuron) = neuron else { return find(graph, output) };
    let value = layer::find(graph, &neuron.layer)?;
    layer::require_rows(graph, value)?;
    neuron.require_within(graph.value(value))?;
    let neuron = Some(neuron.index.clone());
    Ok(Scored { output: value, value, unit: Unit::Raw, classes: None, neuron })
}

/// Finds the value to explain: the output named `name`, or the first. A final Softmax over the classes is stepped
/// over, so that the logit is explained.
pub fn find(graph: &Graph, name: Option<&str>) -> Result<Scored> {
    let output = match name {
        Some(name) => {
            graph.outputs().iter().copied().find(|id| graph.value(*id).name == name).ok_or_else(|| {
                let names: Vec<&str> =
                    graph.outputs().iter().map(|id| graph.value(*id).name.as_str()).collect();
                CompileError::Setting(format!(
                    "no output is named {name:?}; the outputs are {}",
                    names.join(", ")
                ))
            })?
        }
        None => *graph
            .outputs()
            .first()
            .ok_or_else(|| CompileError::Model("the model has no output to explain".to_owned()))?,
    };
    let value = graph.value(output);
    if value.element.is_some_and(|element| !element.is_float()) {
        return Err(CompileError::Model(format!(
            "output {:?} holds {}; only floating-point outputs can be explained: name one with --score",
            value.name,
            value.element.map_or("values of an unknown type", ElementType::name)
        )));
    }
    let shape = value.shape.clone().ok_or_else(|| {
        CompileError::Model(format!("the shape of output {:?} is not known before running", value.name))
    })?;
    // Classes may lie in an axis of a map of one place, `[n, classes, 1, 1]`.
    let space = shape.iter().skip(2).rev().take_while(|size| size.value() == Some(1)).count();
    let classes = match &shape[..shape.len() - space] {
        [_] => None,
        [_, classes] => Some(classes.size().ok_or_else(|| {
            CompileError::Model(format!("the number of classes of {:?}, {classes}, is not known", value.name))
        })?),
        _ => {
            return Err(CompileError::Model(format!(
                "output {:?} has shape {}; expected [n], [n, classes] or [n, classes, 1, …]",
                value.name,
                display_shape(&shape)
            )));
        }
    };
    if let Some(classes) = classes {
        countable([signed(classes)], MADE_ELEMENTS, "classes")?;
    }
    let (explained, unit) = step_over(graph, output, classes);
    Ok(Scored { output, value: explained, unit, classes, neuron: None })
}

/// What a final Softmax takes, through Identity; and the unit of what is explained.
fn step_over(graph: &Graph, output: ValueId, classes: Option<usize>) -> (ValueId, Unit) {
    let mut value = output;
    while let Some(node) = graph.producer_of(value).map(|id| graph.node(id)) {
        let rank = graph.value(value).shape.as_ref().map_or(2, Vec::len);
        let axis = node.int("axis", -1);
        let over_classes = axis == 1 || axis + signed(rank) == 1;
        match (node.operator.as_str(), node.input(0)) {
            ("Identity", Some(input)) => value = input,
            ("Softmax", Some(input)) if over_classes => return (input, Unit::Logit),
            ("Sigmoid" | "HardSigmoid", _) => return (output, Unit::Probability),
            ("LogSoftmax", _) => return (output, Unit::Raw),
            _ => break,
        }
    }
    (output, if classes.is_some_and(|classes| classes > 1) { Unit::Logit } else { Unit::Raw })
}

/// The class weights of each row, 1 at the target: [n, classes], or [1, classes] for a fixed one.
pub(crate) fn one_hot<'g>(y: Var<'g>, classes: usize, target: Var<'g>) -> Var<'g> {
    let numbers: Vec<i64> = (0..signed(classes)).collect();
    let column = target.reshape(&[-1, 1]);
    let row = y.builder().integers(&numbers).reshape(&[1, -1]);
    y.builder().op("Equal", &[column, row], &[]).cast(y.element())
}

/// A class in the graph.
#[derive(Debug, Clone, Copy)]
enum Class<'g> {
    /// The same for every row.
    Fixed(usize),
    /// int64 `[n]`.
    Rows(Var<'g>),
    /// int64 `[n]`; a negative one is none.
    RowsOrNone(Var<'g>),
}

impl<'g> Class<'g> {
    /// Its number in every row, [n] or [1].
    fn number(self, y: Var<'g>) -> Var<'g> {
        match self {
            Self::Fixed(index) => y.builder().integers(&[signed(index)]),
            Self::Rows(rows) | Self::RowsOrNone(rows) => rows,
        }
    }

    /// Its score in every row, [n]: picked, since a sum of masked scores would be NaN where another class is infinite.
    fn score(self, y: Var<'g>) -> Var<'g> {
        match self {
            Self::Fixed(index) => y.slice(1, signed(index), signed(index) + 1, 1).squeeze(&[1]),
            Self::Rows(rows) => picked(y, rows),
            Self::RowsOrNone(rows) => {
                let none = y.builder().scalar(ElementType::I64, 0.0);
                let some = y.builder().op("GreaterOrEqual", &[rows, none], &[]);
                some.choose(picked(y, some.choose(rows, none)), y.scalar(0.0))
            }
        }
    }

    fn map<'b>(self, change: impl Fn(Var<'g>) -> Var<'b>) -> Class<'b> {
        match self {
            Self::Fixed(index) => Class::Fixed(index),
            Self::Rows(rows) => Class::Rows(change(rows)),
            Self::RowsOrNone(rows) => Class::RowsOrNone(change(rows)),
        }
    }
}

/// The number of each row of y at `column`, [n].
fn picked<'g>(y: Var<'g>, column: Var<'g>) -> Var<'g> {
    let axis = [("axis", Attribute::Int(1))];
    y.builder().op("GatherElements", &[y, column.unsqueeze(&[1])], &axis).squeeze(&[1])
}

/// A target in the graph.
#[derive(Debug, Clone)]
pub(crate) struct Aim<'g> {
    of: Class<'g>,
    minus: Option<Class<'g>>,
    /// The place of a hidden unit, in place of classes.
    neuron: Option<Vec<usize>>,
    /// Inputs that it added.
    pub(crate) inputs: Vec<String>,
}

impl<'g> Aim<'g> {
    /// `target` as values: inputs named `target` and `target_minus`, or constants, or computed.
    pub(crate) fn new(builder: &'g Builder, scored: &Scored, target: Target, rows: &Dim) -> Result<Self> {
        if let Some(index) = &scored.neuron {
            if !matches!(target, Target::Input) {
                return Err(CompileError::Setting(
                    "a hidden unit is explained, and it has no classes: leave the target out".to_owned(),
                ));
            }
            let neuron = Some(index.clone());
            return Ok(Self { of: Class::Fixed(0), minus: None, neuron, inputs: Vec::new() });
        }
        let mut inputs = Vec::new();
        let mut input = |wanted: &str| {
            // The graph is borrowed while a name is sought, and changed after.
            let name = reserved(&builder.graph(), wanted);
            inputs.push(name.clone());
            builder.input(&name, ElementType::I64, vec![rows.clone()])
        };
        let (of, minus) = match target {
            Target::Input => (Class::Rows(input("target")), None),
            Target::InputContrast | Target::Contrast { .. } if scored.classes.is_none() => {
                return Err(one_number());
            }
            Target::InputContrast => {
                (Class::Rows(input("target")), Some(Class::RowsOrNone(input("target_minus"))))
            }
            Target::Index(index) => (known(scored, index)?, None),
            Target::Contrast { of, minus } => (known(scored, of)?, Some(known(scored, minus)?)),
            Target::Rank(rank) => match scored.classes {
                None if rank == 0 => (Class::Fixed(0), None),
                classes => {
                    let y = flat(builder.var(scored.value))?.0;
                    (Class::Rows(ranked(y, classes.unwrap_or(1), rank)?), None)
                }
            },
        };
        Ok(Self { of, minus, neuron: None, inputs })
    }

    /// The same target in another graph.
    pub(crate) fn map<'b>(&self, change: impl Fn(Var<'g>) -> Var<'b>) -> Aim<'b> {
        Aim {
            of: self.of.map(&change),
            minus: self.minus.map(|minus| minus.map(&change)),
            neuron: self.neuron.clone(),
            inputs: self.inputs.clone(),
        }
    }

    /// The score of each row [n], and the signal to start from, of y's shape.
    pub(crate) fn seed(&self, y: Var<'g>, classes: Option<usize>) -> Result<(Var<'g>, Var<'g>)> {
        if let Some(index) = &self.neuron {
            return of_neuron(y, index);
        }
        let Some(classes) = classes else {
            return Ok((y, y.scalar(1.0).expand_like(y)?));
        };
        let (y, space) = flat(y)?;
        let mask = |class: Class<'g>| one_hot(y, classes, class.number(y));
        let (score, mask) = match self.minus {
            Some(minus) => (self.of.score(y) - minus.score(y), mask(self.of) - mask(minus)),
            None => (self.of.score(y), mask(self.of)),
        };
        Ok((score, mask.expand_like(y)?.unsqueeze(&space)))
    }
}

/// The classes of each row, [n, classes], of y, [n, classes, 1, …], and the axes that were left out.
fn flat(y: Var<'_>) -> Result<(Var<'_>, Vec<usize>)> {
    let space: Vec<usize> = (2..y.rank()?).collect();
    Ok((y.squeeze(&space), space))
}

/// The mean of the units of y, [n, …], at `index` behind the rows, and its derivative: 1 in so many equal parts.
fn of_neuron<'g>(y: Var<'g>, index: &[usize]) -> Result<(Var<'g>, Var<'g>)> {
    let rank = y.rank()?;
    let mut score = y;
    let mut mask = y.scalar(1.0);
    for (axis, place) in (1..).zip(index) {
        score = score.slice(axis, signed(*place), signed(*place) + 1, 1);
        let size = y.size(axis)?;
        let numbers: Vec<i64> = (0..size).map(signed).collect();
        let here = y.builder().op(
            "Equal",
            &[y.builder().integers(&numbers), y.builder().integers(&[signed(*place)])],
            &[],
        );
        let mut sizes = vec![1; rank - axis];
        sizes[0] = signed(size);
        mask = mask * here.cast(y.element()).reshape(&sizes);
    }
    let mut units = 1.0;
    for axis in index.len() + 1..rank {
        units *= y.size(axis)? as f64;
    }
    let axes: Vec<usize> = (1..rank).collect();
    if !axes.is_empty() {
        score = score.mean(&axes, Keep::None);
    }
    Ok((score, (mask / units).expand_like(y)?))
}

fn one_number() -> CompileError {
    CompileError::Setting(
        "a contrast needs two classes, and the model has one number a row: leave the target out".to_owned(),
    )
}

fn known<'g>(scored: &Scored, index: usize) -> Result<Class<'g>> {
    let classes = scored.classes.unwrap_or(1);
    if index < classes {
        return Ok(Class::Fixed(index));
    }
    Err(CompileError::Setting(format!(
        "target {index} does not exist: the model has {classes} classes, 0 to {}",
        classes.saturating_sub(1)
    )))
}

/// Each row's class of rank `rank`, int64 `[n]`.
fn ranked(y: Var<'_>, classes: usize, rank: usize) -> Result<Var<'_>> {
    if rank >= classes {
        return Err(CompileError::Setting(format!(
            "top {} does not exist: the model has {classes} classes",
            rank + 1
        )));
    }
    // What is not a number ranks last.
    let y = y.builder().op("IsNaN", &[y], &[]).choose(y.scalar(f64::NEG_INFINITY), y);
    if rank == 0 {
        let attributes = [("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))];
        return Ok(y.builder().op("ArgMax", &[y], &attributes));
    }
    let most = y.builder().integers(&[signed(rank) + 1]);
    let found = y.builder().ops("TopK", &[Some(y), Some(most)], &[("axis", Attribute::Int(1))], 2);
    Ok(found[1].slice(1, signed(rank), signed(rank) + 1, 1).squeeze(&[1]))
}

/// `name`, or `pellucid.name` where the model uses it already.
pub(crate) fn reserved(graph: &Graph, name: &str) -> String {
    if graph.find(name).is_none() { name.to_owned() } else { graph.fresh_name(&format!("pellucid.{name}")) }
}
