//! Reductions over axes.

use pellucid_graph::{Attribute, Dim, Graph, Node, Shape, Tensor};

use super::{Operator, pool, selects};
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::kind::{Kind, Role};
use crate::step::{Signals, Step, countable, position};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("CumSum", pool, cumulative_sum),
    Operator::new("ReduceL1", other, l1).convention("at 0: 0"),
    Operator::new("ReduceL2", other, l2).convention("undefined where the norm is 0: NaN"),
    Operator::new("ReduceLogSum", other, log_sum),
    Operator::new("ReduceLogSumExp", other, log_sum_exp),
    Operator::new("ReduceMax", selects, extremum)
        .convention("ties share the signal equally, as PyTorch's amax"),
    Operator::new("ReduceMean", pool, mean),
    Operator::new("ReduceMin", selects, extremum)
        .convention("ties share the signal equally, as PyTorch's amin"),
    Operator::new("ReduceProd", other, product),
    Operator::new("ReduceSum", pool, sum),
    Operator::new("ReduceSumSquare", other, sum_square),
];

fn other(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Other)
}

/// The axes a reduction works over; empty where it does nothing.
fn axes(s: &Step<'_>, rank: usize) -> Result<Vec<usize>> {
    let given = match s.input(1) {
        Some(_) => s.integers(1)?,
        None => Vec::new(),
    };
    if given.is_empty() {
        let nothing = s.node.int("noop_with_empty_axes", 0) != 0;
        return Ok(if nothing { Vec::new() } else { (0..rank).collect() });
    }
    let mut axes = given.into_iter().map(|axis| position(axis, rank)).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    Ok(axes)
}

/// A value of the output's shape with the reduced axes brought back at size 1.
fn kept<'g>(s: &Step<'g>, v: Var<'g>, axes: &[usize]) -> Var<'g> {
    if s.node.int("keepdims", 1) != 0 { v } else { v.unsqueeze(axes) }
}

/// x, its reduced axes, and dy with these axes at size 1.
fn parts<'g>(s: &Step<'g>) -> Result<(Var<'g>, Vec<usize>, Var<'g>)> {
    let x = s.x(0)?;
    let axes = axes(s, x.rank()?)?;
    let dy = kept(s, s.dy()?, &axes);
    Ok((x, axes, dy))
}

/// dx = dy, copied along the axes
fn sum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (_, _, dy) = parts(s)?;
    Ok(s.only_first(dy))
}

/// dx = dy / count
fn mean<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let known: Result<usize> = axes.iter().try_fold(1, |count: usize, axis| Ok(count * x.size(*axis)?));
    let share = if let Ok(count) = known {
        dy * (1.0 / signed(count).max(1) as f64)
    } else {
        // Sizes that are only known while running: elements of x by elements of y.
        let size = |v: Var<'g>| v.apply("Size").cast(x.element());
        dy * (size(s.y()?) / size(x))
    };
    Ok(s.only_first(share))
}

/// dx = dy · [x = y] / ties
fn extremum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let mask = x.equals(kept(s, s.y()?, &axes));
    Ok(s.only_first(mask * (dy / mask.sum(&axes, Keep::Axes))))
}

/// Factors of a product up to which each one's signal is a product of its own.
const FACTORS: i64 = 1 << 8;

/// dxᵢ = dy · Π xⱼ over j ≠ i, each product by itself, so that zeros are no obstacle
fn product<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let shape = x.shape()?;
    let sizes = axes.iter().map(|axis| x.size(*axis).map(signed)).collect::<Result<Vec<_>>>()?;
    let count = countable(sizes, FACTORS, "factors of a product")?;
    // The axes to keep, then all factors along one axis.
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(&axes).copied().collect();
    let ordered: Shape = order.iter().map(|axis| shape[*axis].clone()).collect();
    let mut rows: Shape = kept.iter().map(|axis| shape[*axis].clone()).collect();
    rows.extend([Dim::known(1), Dim::known(signed(count))]);
    let rows = x.transpose(&order).reshape_to(&rows)?;
    let diagonal: Vec<bool> = (0..count * count).map(|at| at / count == at % count).collect();
    let diagonal = Tensor::from_bool(vec![count, count], &diagonal)
        .map_err(|error| CompileError::Emitted(error.to_string()))?;
    let others = s.builder().constant(diagonal).choose(rows.scalar(1.0), rows);
    let last = s.builder().axes(&[kept.len() + 1]);
    let each = s.builder().op("ReduceProd", &[others, last], &[("keepdims", Attribute::Int(0))]);
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        inverse[*from] = to;
    }
    Ok(s.only_first(dy * each.reshape_to(&ordered)?.transpose(&inverse)))
}

/// dx = dy · sign x
fn l1<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, _, dy) = parts(s)?;
    Ok(s.only_first(dy * x.apply("Sign")))
}

/// dx = dy · x / y
fn l2<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    Ok(s.only_first(x * (dy / kept(s, s.y()?, &axes))))
}

/// y = ln Σ x: dx = dy · e^(−y)
fn log_sum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (_, axes, dy) = parts(s)?;
    Ok(s.only_first(dy * (-kept(s, s.y()?, &axes)).exp()))
}

/// y = ln Σ eˣ: dx = dy · e^(x − y)
fn log_sum_exp<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    Ok(s.only_first(dy * (x - kept(s, s.y()?, &axes)).exp()))
}

/// dx = 2 · x · dy
fn sum_square<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, _, dy) = parts(s)?;
    Ok(s.only_first(x * (dy * 2.0)))
}

/// The cumulative sum in the other direction.
fn cumulative_sum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let reverse = 1 - s.node.int("reverse", 0);
    let exclusive = s.node.int("exclusive", 0);
    let attributes = [("reverse", Attribute::Int(reverse)), ("exclusive", Attribute::Int(exclusive))];
    Ok(s.only_first(s.builder().op("CumSum", &[s.dy()?, s.x(1)?], &attributes)))
}
