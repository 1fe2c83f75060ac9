//! Operators whose derivative is zero wherever it exists, or that make no float from a float.

use pellucid_graph::{Graph, Node};

use super::Operator;
use crate::kind::Kind;

const fn flat(name: &'static str) -> Operator {
    Operator { name, kind, vjp: None, convention: "declared zero", bias: None, difference: None }
}

fn kind(_: &Graph, _: &Node) -> Kind {
    Kind::Flat
}

pub(super) const OPERATORS: &[Operator] = &[
    flat("And"),
    flat("ArgMax"),
    flat("ArgMin"),
    flat("Ceil"),
    flat("ConstantOfShape"),
    flat("Equal"),
    flat("EyeLike"),
    flat("Floor"),
    flat("Greater"),
    flat("GreaterOrEqual"),
    flat("Hardmax"),
    flat("IsInf"),
    flat("IsNaN"),
    flat("Less"),
    flat("LessOrEqual"),
    flat("NonZero"),
    flat("Not"),
    flat("OneHot"),
    flat("Or"),
    flat("Range"),
    flat("Round"),
    flat("Shape"),
    flat("Sign"),
    flat("Size"),
    flat("Xor"),
];
