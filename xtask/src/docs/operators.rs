//! `docs/operators.md`, from the tables of operators.

use std::collections::BTreeMap;
use std::fmt::Write;

use pellucid_compile::ops;
use pellucid_graph::{Attribute, ElementType, Graph, Node, ValueId, onnx, operators};

use super::{COMMAND, cell};

/// The whole document.
pub(super) fn document() -> String {
    let mut text = format!(
        "# Operators\n\n\
         Generated from the tables of operators by `{COMMAND}`.\n\n\
         Models of opset 7 to 24 are read, and brought to the forms of opset 18 as they are read; *since* is the opset of \
         the form used. `Gelu` and `Swish` stand for themselves in a graph and are written in older operators where a \
         file or an engine lacks them. *Kind* is what an operator is to a rule; two are given where it depends on \
         whether the other factors (weights, limits) depend on no input of the model, or on the type that is cast to. *At kinks and ties* is the convention where the \
         derivative is not unique.\n\n\
         An operator without a kind can be run and predicted with; a model in which it lies between the input and what is \
         explained is refused, with the node's name, before anything runs.\n\n\
         | operator | since | inputs | outputs | kind | derivative | at kinks and ties |\n|---|---|---|---|---|---|---|\n"
    );
    for operator in operators::all() {
        let known = ops::lookup(operator.name);
        let kind = known.map_or_else(|| "–".to_owned(), kinds);
        let derivative = match known {
            None => "no",
            Some(known) if known.vjp.is_none() => "zero",
            Some(_) => "yes",
        };
        let convention = known.filter(|known| known.vjp.is_some()).map_or("", |known| known.convention);
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {kind} | {derivative} | {} |",
            operator.name,
            operator.since,
            operator.inputs,
            operator.outputs,
            cell(convention)
        );
    }
    text += EXPANDED;
    for (domain, name) in onnx::expanded() {
        let domain = if domain.is_empty() { "ai.onnx" } else { domain };
        let _ = writeln!(text, "| `{domain}` | `{name}` |");
    }
    text
}

const EXPANDED: &str = "\n## Read by expansion\n\n\
     Fused operators that ONNX Runtime's optimiser writes, and quantised ones, are written in the operators above as a \
     file is read: a quantised operator becomes dequantise, float operator, quantise. Every line is held against \
     onnxruntime, or against numpy where that has no processor kernel. `QuantizeLinear`, `DequantizeLinear` and `Trilu` of `com.microsoft` are those of `ai.onnx`. \
     Rounding in a quantised network has the derivative of the straight-through estimator; `coverage` says at which \
     nodes. What is in neither table is refused, every node of it named.\n\n\
     | domain | operator |\n|---|---|\n";

/// Element types as `Cast` numbers them in its attribute `to`.
const FLOAT: i64 = 1;
const INTEGER: i64 = 7;

/// The kinds that an operator may have: with other inputs free, and with other inputs constant.
fn kinds(operator: &ops::Operator) -> String {
    let mut graph = Graph::new();
    let free = |graph: &mut Graph, name: &str| graph.add_input(name, ElementType::F32, None).ok();
    let constant = |graph: &mut Graph, name: &str| {
        let zero = pellucid_graph::Tensor::scalar(ElementType::F32, 0.0);
        graph.add_constant(name, zero).ok()
    };
    let (a, b) = (free(&mut graph, "a"), free(&mut graph, "b"));
    let (c, d) = (constant(&mut graph, "c"), constant(&mut graph, "d"));
    let alone = kind(operator, &graph, [a, b, b], INTEGER);
    for (inputs, to, when) in [([a, c, d], INTEGER, "constants"), ([a, b, b], FLOAT, "to floats")] {
        let other = kind(operator, &graph, inputs, to);
        if other != alone {
            return format!("{other} ({when}), {alone}");
        }
    }
    alone
}

fn kind(operator: &ops::Operator, graph: &Graph, inputs: [Option<ValueId>; 3], to: i64) -> String {
    let node = Node {
        operator: operator.name.to_owned(),
        name: String::new(),
        inputs: inputs.to_vec(),
        outputs: Vec::new(),
        attributes: BTreeMap::from([("to".to_owned(), Attribute::Int(to))]),
        metadata: BTreeMap::new(),
    };
    (operator.kind)(graph, &node).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_depend_on_constants_where_they_do() {
        let kinds = |name: &str| super::kinds(ops::lookup(name).unwrap());
        assert_eq!(kinds("Relu"), "rectifier");
        assert_eq!(kinds("Mul"), "scale (constants), bilinear");
        assert_eq!(kinds("Cast"), "move (to floats), flat");
        assert_eq!(kinds("Clip"), "rectifier (constants), saturating");
    }

    /// A derivative of an operator that no graph may hold would never be used.
    #[test]
    fn operators_with_a_derivative_are_operators_of_the_graph() {
        for operator in ops::all() {
            assert!(operators::lookup(operator.name).is_some(), "{}", operator.name);
        }
    }
}
