//! Operators: what each one's derivative is, and what it is to a rule. One file a family.
//!
//! A derivative covers every differentiable input, weights included, and is written with operators of this table, so
//! the table is closed under differentiation. A derivative that is zero everywhere is declared, not left out.

mod activation;
mod arithmetic;
mod convolution;
mod einsum;
mod elementwise;
mod flat;
mod layout;
mod lookup;
pub(crate) mod matrix;
mod normalization;
mod pooling;
mod quantize;
mod reduction;
mod resize;
mod rest;
mod sign;

use std::sync::OnceLock;

pub(crate) use rest::{Rest, rest};
pub(crate) use sign::nonnegative;

use pellucid_graph::{Graph, Node, NodeId};

use crate::error::Result;
use crate::kind::{Form, Kind};
use crate::step::{Signals, Step};

/// A derivative: the signals at a node's inputs from those at its outputs.
pub type Vjp = for<'g> fn(&Step<'g>) -> Result<Signals<'g>>;

/// An operator.
#[derive(Debug)]
pub struct Operator {
    /// Name, as ONNX writes it.
    pub name: &'static str,
    /// What it is to a rule, for a node.
    pub kind: fn(&Graph, &Node) -> Kind,
    /// Its derivative; `None` declares that it is zero.
    pub vjp: Option<Vjp>,
    /// Factors m that make the difference from a baseline exact, Σ m · Δx = dy · Δy, for operators where that is neither
    /// the derivative of a linear or bilinear map nor the slope of a chord.
    pub difference: Option<Vjp>,
    /// What the derivative is at kinks and ties; empty where there are none.
    pub convention: &'static str,
    /// The input that is added to the result, for linear operators that have one.
    pub bias: Option<usize>,
}

impl Operator {
    const fn new(name: &'static str, kind: fn(&Graph, &Node) -> Kind, vjp: Vjp) -> Self {
        Self { name, kind, vjp: Some(vjp), convention: "", bias: None, difference: None }
    }

    const fn difference(mut self, difference: Vjp) -> Self {
        self.difference = Some(difference);
        self
    }

    const fn bias(mut self, index: usize) -> Self {
        self.bias = Some(index);
        self
    }

    const fn convention(mut self, convention: &'static str) -> Self {
        self.convention = convention;
        self
    }
}

/// Every operator, sorted by name.
pub fn all() -> &'static [&'static Operator] {
    static ALL: OnceLock<Vec<&'static Operator>> = OnceLock::new();
    ALL.get_or_init(|| {
        let families: [&'static [Operator]; 14] = [
            activation::OPERATORS,
            arithmetic::OPERATORS,
            convolution::OPERATORS,
            einsum::OPERATORS,
            elementwise::OPERATORS,
            flat::OPERATORS,
            layout::OPERATORS,
            lookup::OPERATORS,
            matrix::OPERATORS,
            normalization::OPERATORS,
            pooling::OPERATORS,
            quantize::OPERATORS,
            reduction::OPERATORS,
            resize::OPERATORS,
        ];
        let mut all: Vec<&'static Operator> = families.into_iter().flatten().collect();
        all.sort_by_key(|operator| operator.name);
        all
    })
}

/// The operator named `name`.
pub fn lookup(name: &str) -> Option<&'static Operator> {
    let all = all();
    all.binary_search_by_key(&name, |operator| operator.name).ok().map(|position| all[position])
}

/// What a node is to a rule; `None` where its operator is not known.
pub(crate) fn kind_of(graph: &Graph, id: NodeId) -> Option<Kind> {
    let node = graph.node(id);
    lookup(&node.operator).map(|operator| (operator.kind)(graph, node))
}

/// The input that a linear node adds to its result, where it has one.
pub(crate) fn bias_of(graph: &Graph, id: NodeId) -> Option<usize> {
    let node = graph.node(id);
    lookup(&node.operator)?.bias.filter(|index| node.input(*index).is_some())
}

/// The kind of operators that sum or average numbers.
fn pool(_: &Graph, _: &Node) -> Kind {
    Kind::Linear(Form::Pool)
}

/// The kind of operators that multiply each number by a factor, and may add one.
fn scaling(_: &Graph, _: &Node) -> Kind {
    Kind::Linear(Form::Scale)
}

/// The kind of operators that move numbers.
fn moves(_: &Graph, _: &Node) -> Kind {
    Kind::Move
}

/// The kind of operators that compare and pick.
fn selects(_: &Graph, _: &Node) -> Kind {
    Kind::Select
}

/// Whether an input is there and the same whatever is fed: a constant, or computed from constants alone.
fn fixed(graph: &Graph, node: &Node, index: usize) -> bool {
    node.input(index).is_some_and(|id| graph.value(id).fixed)
}

/// Linear where one of the first two inputs depends on no input of the model, else bilinear.
fn product(graph: &Graph, node: &Node, form: Form) -> Kind {
    if fixed(graph, node, 0) || fixed(graph, node, 1) { Kind::Linear(form) } else { Kind::Bilinear }
}
