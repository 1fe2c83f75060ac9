//! The score: which number of the model's output is explained.

use pellucid_graph::{Attribute, Dim, ElementType, Graph, ValueId, display_shape};

use crate::build::{Builder, Keep, Var, signed};
use crate::error::{CompileError, Result};
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

/// Which class is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// The caller says, by an input named `target`, int64 `[n]`.
    #[default]
    Input,
    /// One class for every row.
    Index(usize),
    /// Each row's class of the highest score.
    Top,
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
    let classes = match shape.as_slice() {
        [_] => None,
        [_, classes] => Some(classes.size().ok_or_else(|| {
            CompileError::Model(format!("the number of classes of {:?}, {classes}, is not known", value.name))
        })?),
        _ => {
            return Err(CompileError::Model(format!(
                "output {:?} has shape {}; expected [n] or [n, classes]",
                value.name,
                display_shape(&shape)
            )));
        }
    };
    if let Some(classes) = classes {
        countable([signed(classes)], MADE_ELEMENTS, "classes")?;
    }
    let (explained, unit) = step_over(graph, output, classes);
    Ok(Scored { output, value: explained, unit, classes })
}

/// What a final Softmax takes, through Identity; and the unit of what is explained.
fn step_over(graph: &Graph, output: ValueId, classes: Option<usize>) -> (ValueId, Unit) {
    let mut value = output;
    while let Some(node) = graph.producer_of(value).map(|id| graph.node(id)) {
        let axis = node.int("axis", -1);
        match (node.operator.as_str(), node.input(0)) {
            ("Identity", Some(input)) => value = input,
            ("Softmax", Some(input)) if axis == -1 || axis == 1 => return (input, Unit::Logit),
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

/// Each row's class of the highest score, int64 `[n]`.
pub(crate) fn top(y: Var<'_>) -> Var<'_> {
    y.builder().op("ArgMax", &[y], &[("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))])
}

/// The score of each row [n], and the signal to start from, of y's shape.
pub(crate) fn seed<'g>(y: Var<'g>, classes: Option<usize>, target: Var<'g>) -> Result<(Var<'g>, Var<'g>)> {
    match classes {
        Some(classes) => {
            let mask = one_hot(y, classes, target);
            Ok(((y * mask).sum(&[1], Keep::None), mask.expand_like(y)?))
        }
        None => Ok((y, y.scalar(1.0).expand_like(y)?)),
    }
}

/// The target as a value: an input named `target`, or a constant, or computed.
pub(crate) fn target<'g>(
    builder: &'g Builder,
    scored: &Scored,
    target: Target,
    rows: &Dim,
) -> Result<Var<'g>> {
    match target {
        Target::Input => {
            // The graph is borrowed while a name is sought, and changed after.
            let name = reserved(&builder.graph(), "target");
            Ok(builder.input(&name, ElementType::I64, vec![rows.clone()]))
        }
        Target::Index(index) => {
            let classes = scored.classes.unwrap_or(1);
            if index >= classes {
                return Err(CompileError::Setting(format!(
                    "target {index} does not exist: the model has {classes} classes, 0 to {}",
                    classes.saturating_sub(1)
                )));
            }
            Ok(builder.integers(&[signed(index)]))
        }
        Target::Top if scored.classes.is_none() => Ok(builder.integers(&[0])),
        Target::Top => Ok(top(builder.var(scored.value))),
    }
}

/// `name`, or `pellucid.name` where the model uses it already.
pub(crate) fn reserved(graph: &Graph, name: &str) -> String {
    if graph.find(name).is_none() { name.to_owned() } else { graph.fresh_name(&format!("pellucid.{name}")) }
}
