//! Lowering: canonical functions that opset 18 lacks, expanded into operators that it has.
//!
//! What is left is `ai.onnx` of opset 18 alone, so the graph can be written; [`raise`](super::raise()) finds the
//! functions again. Numbers are rounded to the element type of the value they meet.

use std::f64::consts::{FRAC_2_PI, SQRT_2};

use pellucid_graph::{Graph, Node};

use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::passes::rewrite::{Prune, Replace, Site, rewrite};

/// The same function without `Gelu` and `Swish`, in bodies of control flow too; nothing else changes.
pub fn lower(graph: &Graph) -> Result<Graph> {
    rewrite(graph, "lowered", Prune::Nothing, &mut Lower)
}

struct Lower;

impl Replace for Lower {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        let node = site.node();
        let expand = match node.operator.as_str() {
            "Gelu" => gelu,
            "Swish" => swish,
            _ => return Ok(None),
        };
        let x = site.input(0).ok_or_else(|| {
            CompileError::Model(format!("{} node {:?} has no input", node.operator, node.name))
        })?;
        Ok(Some(vec![expand(node, x)?]))
    }
}

/// ½·x·(1 + erf(x/√2)), or by tanh ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
fn gelu<'g>(node: &Node, x: Var<'g>) -> Result<Var<'g>> {
    let gate = match node.string("approximate", "none") {
        "none" => (x / SQRT_2).apply("Erf"),
        "tanh" => ((x + x * x * x * 0.044_715) * FRAC_2_PI.sqrt()).apply("Tanh"),
        other => {
            return Err(CompileError::Model(format!(
                "Gelu node {:?}: approximate is {other:?}, expected none or tanh",
                node.name
            )));
        }
    };
    Ok(x * (gate + 1.0) * 0.5)
}

/// x·sigmoid(α·x)
#[expect(clippy::unnecessary_wraps, reason = "of one type with the others")]
fn swish<'g>(node: &Node, x: Var<'g>) -> Result<Var<'g>> {
    let alpha = f64::from(node.float("alpha", 1.0));
    // Exactly 1 needs no product.
    let scaled = if (alpha - 1.0).abs() > 0.0 { x * alpha } else { x };
    Ok(x * scaled.sigmoid())
}
