//! Matrix products.

use pellucid_graph::{Attribute, Graph, Node};

use super::{Operator, product};
use crate::build::Var;
use crate::error::Result;
use crate::kind::{Form, Kind};
use crate::step::{Signals, Step};

pub(super) const OPERATORS: &[Operator] =
    &[Operator::new("Gemm", dense, gemm).bias(2), Operator::new("MatMul", dense, matmul)];

fn dense(graph: &Graph, node: &Node) -> Kind {
    product(graph, node, Form::Dense)
}

/// The same step where its operator has no factors: α and β of a `Gemm` are counted as its weights' (the operand `weight`) and
/// its bias', whose signs some rules tell apart.
pub(crate) fn without_factors<'g>(step: &Step<'g>, weight: usize, bias: Option<usize>) -> Result<Step<'g>> {
    let mut step = step.clone();
    if step.node.operator == "Gemm" {
        for (name, index) in [("alpha", Some(weight)), ("beta", bias)] {
            let factor = f64::from(step.node.float(name, 1.0));
            step.node.attributes.remove(name);
            if let (true, Some(index)) = ((factor - 1.0).abs() > 0.0, index) {
                step.node.inputs[index] = Some((step.x(index)? * factor).id());
            }
        }
    }
    Ok(step)
}

/// Y = A·B: dA = dY·Bᵀ, dB = Aᵀ·dY; vectors are matrices with one row or column.
fn matmul<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, mut dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let (rank_a, rank_b) = (a.rank()?, b.rank()?);
    let row = if rank_a == 1 { a.unsqueeze(&[0]) } else { a };
    let column = if rank_b == 1 { b.unsqueeze(&[1]) } else { b };
    // The product of vectors lost those axes: bring them back, the column first since it stands last.
    if rank_b == 1 {
        let rank = dy.rank()?;
        dy = dy.unsqueeze(&[rank]);
    }
    if rank_a == 1 {
        let rank = dy.rank()?;
        dy = dy.unsqueeze(&[rank - 1]);
    }
    let mut signals = vec![None, None];
    if s.wants(0) {
        let da = dy.matmul(column.transpose_last_two()?).fit(row)?;
        signals[0] = Some(if rank_a == 1 { da.squeeze(&[0]) } else { da });
    }
    if s.wants(1) {
        let db = transposed_product(row, dy, column)?;
        signals[1] = Some(if rank_b == 1 { db.squeeze(&[1]) } else { db });
    }
    Ok(signals)
}

/// Aᵀ·dY, as one product where B is a matrix that all the batch shares.
fn transposed_product<'g>(a: Var<'g>, dy: Var<'g>, b: Var<'g>) -> Result<Var<'g>> {
    if b.rank()? == 2 && a.rank()? > 2 {
        let (inner, outer) = (a.size(a.rank()? - 1)?, dy.size(dy.rank()? - 1)?);
        let flat = |v: Var<'g>, width: usize| v.reshape(&[-1, crate::build::signed(width)]);
        // The batch axes of A and dY agree, since B has none.
        return Ok(flat(a, inner).transpose(&[1, 0]).matmul(flat(dy, outer)));
    }
    a.transpose_last_two()?.matmul(dy).fit(b)
}

/// Y = α·A′·B′ + β·C, where a prime may transpose.
fn gemm<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let (transposed_a, transposed_b) = (s.node.int("transA", 0) != 0, s.node.int("transB", 0) != 0);
    let alpha = s.node.float("alpha", 1.0);
    let product = |left: Var<'g>, left_transposed: bool, right: Var<'g>, right_transposed: bool| {
        left.builder().op(
            "Gemm",
            &[left, right],
            &[
                ("alpha", Attribute::Float(alpha)),
                ("transA", Attribute::Int(i64::from(left_transposed))),
                ("transB", Attribute::Int(i64::from(right_transposed))),
            ],
        )
    };
    let da = s.wants(0).then(|| {
        if transposed_a { product(b, transposed_b, dy, true) } else { product(dy, false, b, !transposed_b) }
    });
    let db = s.wants(1).then(|| {
        if transposed_b { product(dy, true, a, transposed_a) } else { product(a, !transposed_a, dy, false) }
    });
    let mut signals = vec![da, db];
    if s.input_count() > 2 {
        let beta = f64::from(s.node.float("beta", 1.0));
        let scaled = if (beta - 1.0).abs() < f64::EPSILON { dy } else { dy * beta };
        signals.push(s.wants(2).then_some(scaled));
    }
    Ok(signals)
}
