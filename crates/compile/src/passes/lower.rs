//! Lowering: canonical functions that opset 18 lacks, expanded into operators that it has.
//!
//! What is left is `ai.onnx` of opset 18 alone, so the graph can be written; [`raise`](super::raise()) finds the
//! functions again. Numbers are rounded to the element type of the value they meet.

use std::f64::consts::{FRAC_2_PI, SQRT_2};

use pellucid_graph::{ElementType, Graph, Node};

use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::passes::rewrite::{Prune, Replace, Site, rewrite};
use crate::step::position;

/// The same function without `Gelu`, `Swish` and quantisation to 16 bits, in bodies of control flow too; nothing else changes.
pub fn lower(graph: &Graph) -> Result<Graph> {
    rewrite(graph, "lowered", Prune::Nothing, &mut Lower)
}

struct Lower;

impl Replace for Lower {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        let node = site.node();
        if matches!(node.operator.as_str(), "QuantizeLinear" | "DequantizeLinear") {
            return Ok(in_16_bits(site)?.map(|y| vec![y]));
        }
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

/// Numbers of 16 bits are stored since opset 21: clamp(round(x / s) + z), and (x − z)·s back. Others stay.
fn in_16_bits<'g>(site: &Site<'g, '_>) -> Result<Option<Var<'g>>> {
    let node = site.node();
    let (Some(x), Some(scale)) = (site.input(0), site.input(1)) else { return Ok(None) };
    let quantises = node.operator == "QuantizeLinear";
    let stored = if quantises { site.input(2).map_or(ElementType::U8, Var::element) } else { x.element() };
    let (low, high) = match stored {
        ElementType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        ElementType::U16 => (f64::from(u16::MIN), f64::from(u16::MAX)),
        _ => return Ok(None),
    };
    let rank = x.rank()?;
    let axis = position(node.int("axis", 1), rank.max(1))?;
    // One number a slice along the axis, or one for all.
    let spread = |v: Var<'g>| -> Result<Var<'g>> {
        if v.shape()?.iter().all(|size| size.value() == Some(1)) {
            return Ok(v.reshape(&[]));
        }
        let mut shape = vec![1; rank];
        shape[axis] = -1;
        Ok(v.reshape(&shape))
    };
    let element = scale.element();
    let zero = site.input(2).map(|zero| spread(zero.cast(element))).transpose()?;
    let scale = spread(scale)?;
    if quantises {
        let mut steps = (x / scale).apply("Round");
        if let Some(zero) = zero {
            steps = steps + zero;
        }
        let clamped = site.builder.op("Clip", &[steps, steps.scalar(low), steps.scalar(high)], &[]);
        return Ok(Some(clamped.cast(stored)));
    }
    let steps = x.cast(element);
    Ok(Some(zero.map_or(steps, |zero| steps - zero) * scale))
}
