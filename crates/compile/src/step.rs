//! One step of the reverse walk: a node, its values, and the signals that arrived at its outputs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pellucid_graph::{Dim, Node, NodeId, Shape, ValueId};

use crate::build::{Builder, Var};
use crate::error::{CompileError, Result};
use crate::kind::Kind;
use crate::ops::{self, Operator};
use crate::rules::Sides;

/// What a rule returns: a signal for each input of the node, `None` where there is none.
///
/// A signal may have any shape that broadcasts with the input's: the walk sums and copies it to the input's shape.
pub type Signals<'g> = Vec<Option<Var<'g>>>;

/// A node seen by a rule.
#[derive(Debug, Clone)]
pub struct Step<'g> {
    pub(crate) builder: &'g Builder,
    pub(crate) operator: &'static Operator,
    /// The node.
    pub node: Node,
    pub(crate) signals: Vec<Option<Var<'g>>>,
    pub(crate) wanted: Vec<bool>,
    /// A constant that the one node behind this one adds, for rules that count it as this node's own bias.
    pub(crate) added: Option<Added<'g>>,
    /// Half of what the signal for the positive part of each output is above that for its negative part, of rules that
    /// tell them apart; `signals` is then their mean.
    pub(crate) apart: Vec<Option<Var<'g>>>,
    pub(crate) known: Rc<Known>,
}

/// What is known of values, whatever the node.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// For those that were there before the walk, whether no number can be negative.
    pub(crate) nonnegative: Vec<bool>,
    /// Those that the walk goes to and not past.
    pub(crate) ends: BTreeSet<ValueId>,
    /// What raises and what lowers them.
    pub(crate) sides: RefCell<Sides>,
}

/// A constant added to a linear layer by the node behind it, as exporters write a layer with a bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Added<'g> {
    /// What is added.
    pub(crate) bias: Var<'g>,
    /// Layer and constant together.
    pub(crate) total: Var<'g>,
}

impl<'g> Step<'g> {
    /// The builder that formulas append to.
    pub fn builder(&self) -> &'g Builder {
        self.builder
    }

    /// What the operator is to a rule, for this node.
    pub fn kind(&self) -> Kind {
        (self.operator.kind)(&self.builder.graph(), &self.node)
    }

    /// Number of inputs, left-out ones included.
    pub fn input_count(&self) -> usize {
        self.node.inputs.len()
    }

    /// An input that must be there.
    pub fn x(&self, index: usize) -> Result<Var<'g>> {
        self.input(index).ok_or_else(|| {
            CompileError::Model(format!("input {index} of this {} is missing", self.node.operator))
        })
    }

    /// An input that may be left out.
    pub fn input(&self, index: usize) -> Option<Var<'g>> {
        self.node.input(index).map(|id| self.builder.var(id))
    }

    /// The first output.
    pub fn y(&self) -> Result<Var<'g>> {
        self.output(0).ok_or_else(|| {
            CompileError::Model(format!("output 0 of this {} is not named", self.node.operator))
        })
    }

    /// An output that may be left out.
    pub fn output(&self, index: usize) -> Option<Var<'g>> {
        self.node.output(index).map(|id| self.builder.var(id))
    }

    /// The signal at the first output.
    pub fn dy(&self) -> Result<Var<'g>> {
        match self.signal(0) {
            Some(signal) => Ok(signal),
            None => self.zeros_for(self.y()?),
        }
    }

    /// Zeros of a value's shape as a signal, which is a float where the value is a quantised number.
    pub(crate) fn zeros_for(&self, value: Var<'g>) -> Result<Var<'g>> {
        if value.element().is_float() {
            return value.zeros_like();
        }
        let like = self.signals.iter().flatten().next();
        let element = like.map_or(pellucid_graph::ElementType::F32, |signal| signal.element());
        self.builder.scalar(element, 0.0).expand_like(value)
    }

    /// The signal at an output, where one arrived.
    pub fn signal(&self, index: usize) -> Option<Var<'g>> {
        self.signals.get(index).copied().flatten()
    }

    /// Half the difference of the signals for both parts of an output, where a rule tells them apart.
    pub(crate) fn apart(&self, index: usize) -> Option<Var<'g>> {
        self.apart.get(index).copied().flatten()
    }

    /// The same step with those halves as its signals.
    pub(crate) fn of_apart(&self) -> Self {
        Self { signals: self.apart.clone(), apart: Vec::new(), ..self.clone() }
    }

    /// Whether one float goes in and one of the same place comes out.
    pub(crate) fn is_pointwise(&self) -> Result<bool> {
        let (x, y) = (self.x(0)?, self.y()?);
        let floats = x.element().is_float() && y.element().is_float();
        Ok(floats && self.input_count() == 1 && x.shape()? == y.shape()?)
    }

    /// Whether the walk needs a signal for an input; computing others is waste.
    pub fn wants(&self, index: usize) -> bool {
        self.wanted.get(index).copied().unwrap_or(false)
    }

    /// The same step with another signal at the first output.
    #[must_use]
    pub fn with_signal(&self, signal: Var<'g>) -> Self {
        let mut step = self.clone();
        match step.signals.first_mut() {
            Some(first) => *first = Some(signal),
            None => step.signals.push(Some(signal)),
        }
        step
    }

    /// Vector-Jacobian product: the derivative that the operator's definition gives.
    pub fn vjp(&self) -> Result<Signals<'g>> {
        match self.operator.vjp {
            Some(vjp) => vjp(self),
            None => Ok(vec![None; self.input_count()]),
        }
    }

    /// Whether an input depends on the model's input: what is not a signal is a weight, a bias, or a setting.
    pub fn is_signal(&self, index: usize) -> bool {
        self.node.input(index).is_some_and(|id| !self.builder.graph().value(id).fixed)
    }

    /// Whether it is known that no number of an input is negative.
    pub fn is_nonnegative(&self, index: usize) -> bool {
        let id = self.node.input(index);
        id.is_some_and(|id| self.known.nonnegative.get(id.index()).copied().unwrap_or(false))
    }

    /// The input that a linear operator adds to its result, where the node has it: `bias` of a convolution.
    pub fn bias(&self) -> Option<usize> {
        self.operator.bias.filter(|index| self.node.input(*index).is_some())
    }

    /// The node again on other inputs, appended to the graph: values and weights may be replaced, and left-out ones
    /// given. The new step has outputs of its own, no signal yet ([`Step::with_signal`]), and wants what this one does.
    ///
    /// Costs one evaluation of the node, and nothing where its outputs are not read.
    pub fn replay(&self, inputs: &[Option<Var<'g>>]) -> Result<Self> {
        let attributes: Vec<(&str, pellucid_graph::Attribute)> =
            self.node.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let outputs =
            self.builder.ops(&self.node.operator, inputs, &attributes, self.node.outputs.len().max(1));
        // A node that was refused has no outputs to go on with.
        self.builder.check()?;
        let ids: Vec<_> = outputs.iter().map(|output| Some(output.id())).collect();
        let node = Node {
            inputs: inputs.iter().map(|input| input.map(Var::id)).collect(),
            outputs: ids,
            ..self.node.clone()
        };
        let mut wanted = self.wanted.clone();
        wanted.resize(inputs.len(), false);
        Ok(Self {
            node,
            signals: vec![None; outputs.len()],
            wanted,
            added: None,
            apart: Vec::new(),
            ..self.clone()
        })
    }

    /// A node of the graph as a step without signals.
    pub(crate) fn of_node(&self, id: NodeId) -> Result<Self> {
        let node = self.builder.node(id);
        let operator = ops::lookup(&node.operator)
            .ok_or_else(|| CompileError::Model(format!("no derivative is known of {}", node.operator)))?;
        let wanted = vec![false; node.inputs.len()];
        Ok(Self {
            operator,
            node,
            signals: Vec::new(),
            apart: Vec::new(),
            wanted,
            added: None,
            ..self.clone()
        })
    }

    /// Each signal times the input it is for: a derivative becomes a contribution.
    pub fn times_inputs(&self, signals: Signals<'g>) -> Signals<'g> {
        let times = |(index, signal): (usize, Option<Var<'g>>)| Some(signal? * self.input(index)?);
        signals.into_iter().enumerate().map(times).collect()
    }

    /// Integer contents of an input that configures the operator, such as axes.
    pub fn integers(&self, index: usize) -> Result<Vec<i64>> {
        self.x(index)?.contents().ok_or_else(|| {
            CompileError::Model(format!(
                "input {index} of this {} must be known before running",
                self.node.operator
            ))
        })
    }

    /// A signal for the first input only.
    pub fn only_first(&self, signal: Var<'g>) -> Signals<'g> {
        let mut signals = vec![None; self.input_count()];
        if let Some(first) = signals.first_mut() {
            *first = Some(signal);
        }
        signals
    }

    /// An axis attribute counted from the front.
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize> {
        position(self.node.int(name, default), rank)
    }

    /// Shape of the first input.
    pub fn input_shape(&self) -> Result<Shape> {
        self.x(0)?.shape()
    }
}

/// An axis counted from the front.
pub(crate) fn position(axis: i64, rank: usize) -> Result<usize> {
    let signed_rank = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_front = if axis < 0 { axis + signed_rank } else { axis };
    usize::try_from(from_front)
        .ok()
        .filter(|position| *position < rank)
        .ok_or_else(|| CompileError::Model(format!("axis {axis} does not exist in {rank} axes")))
}

/// Elements that a constant may have which the compiler makes from sizes that a model declares.
pub(crate) const MADE_ELEMENTS: i64 = 1 << 24;

/// Product of `sizes`, or an error where it is above `limit`: sizes that a model merely declares take no memory.
pub(crate) fn countable(sizes: impl IntoIterator<Item = i64>, limit: i64, what: &str) -> Result<usize> {
    let sizes: Vec<i64> = sizes.into_iter().collect();
    sizes
        .iter()
        .try_fold(1_i64, |product, size| product.checked_mul(*size))
        .filter(|product| *product <= limit)
        .and_then(|product| usize::try_from(product).ok())
        .ok_or_else(|| {
            CompileError::Model(format!("{what} of sizes {sizes:?}: at most {limit} are supported"))
        })
}

/// Sizes as numbers, or an error naming what is symbolic.
pub(crate) fn known_sizes(shape: &[Dim], what: &str) -> Result<Vec<i64>> {
    shape.iter().map(Dim::value).collect::<Option<Vec<i64>>>().ok_or_else(|| {
        CompileError::Model(format!(
            "{what} {} must be known sizes: give the sizes of the inputs",
            pellucid_graph::display_shape(shape)
        ))
    })
}
