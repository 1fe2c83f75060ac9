//! Reductions over axes.

use pellucid_graph::{Attribute, Dim, Graph, Node, Shape, Tensor};

use super::{Operator, normalization, pool, selects};
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::kind::{Kind, Role};
use crate::reference::{LEAST, chord};
use crate::step::{Signals, Step, countable, position};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("CumSum", pool, cumulative_sum),
    Operator::new("ReduceL1", other, l1).difference(l1_difference).convention("at 0: 0"),
    Operator::new("ReduceL2", other, l2)
        .difference(l2_difference)
        .convention("undefined where the norm is 0: NaN"),
    Operator::new("ReduceLogSum", other, log_sum).difference(log_sum_difference),
    Operator::new("ReduceLogSumExp", other, log_sum_exp).difference(log_sum_exp_difference),
    Operator::new("ReduceMax", selects, extremum)
        .difference(maximum_difference)
        .convention("ties share the signal equally, as PyTorch's amax"),
    Operator::new("ReduceMean", pool, mean),
    Operator::new("ReduceMin", selects, extremum)
        .difference(minimum_difference)
        .convention("ties share the signal equally, as PyTorch's amin"),
    Operator::new("ReduceProd", other, product).difference(product_difference),
    Operator::new("ReduceSum", pool, sum),
    Operator::new("ReduceSumSquare", other, sum_square).difference(sum_square_difference),
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
        dy / signed(count).max(1) as f64
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
    let others = product_of_others(s, &axes, x, x)?;
    Ok(s.only_first(dy * others))
}

/// Δ Π xᵢ = Σ Δxᵢ · Π of the others, those before i as they are and those after it on the baseline; and the other way
/// around: the mean of both.
fn product_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let x0 = s.reference(x);
    let both = product_of_others(s, &axes, x, x0)? + product_of_others(s, &axes, x0, x)?;
    Ok(s.only_first(dy * (both * 0.5)))
}

/// For every element the product of the others, of `before` those before it and of `after` those after it.
fn product_of_others<'g>(s: &Step<'g>, axes: &[usize], before: Var<'g>, after: Var<'g>) -> Result<Var<'g>> {
    let x = before;
    let shape = x.shape()?;
    let sizes = axes.iter().map(|axis| x.size(*axis).map(signed)).collect::<Result<Vec<_>>>()?;
    let count = countable(sizes, FACTORS, "factors of a product")?;
    // The axes to keep, then all factors along one axis.
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let ordered: Shape = order.iter().map(|axis| shape[*axis].clone()).collect();
    let mut rows: Shape = kept.iter().map(|axis| shape[*axis].clone()).collect();
    rows.extend([Dim::known(1), Dim::known(signed(count))]);
    let row = |v: Var<'g>| v.transpose(&order).reshape_to(&rows);
    let marks = |of: &dyn Fn(usize, usize) -> bool| {
        let marks: Vec<bool> = (0..count * count).map(|at| of(at / count, at % count)).collect();
        let marks = Tensor::from_bool(vec![count, count], &marks);
        marks
            .map(|marks| s.builder().constant(marks))
            .map_err(|error| CompileError::Emitted(error.to_string()))
    };
    let mut all = row(before)?;
    if before.id() != after.id() {
        all = marks(&|own, other| other < own)?.choose(all, row(after)?);
    }
    let others = marks(&|own, other| other == own)?.choose(all.scalar(1.0), all);
    let last = s.builder().axes(&[kept.len() + 1]);
    let each = s.builder().op("ReduceProd", &[others, last], &[("keepdims", Attribute::Int(0))]);
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        inverse[*from] = to;
    }
    Ok(each.reshape_to(&ordered)?.transpose(&inverse))
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

/// Δ Σ |x| = Σ Δx · (x + x₀) / (|x| + |x₀|)
fn l1_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, _, dy) = parts(s)?;
    let x0 = s.reference(x);
    Ok(s.only_first(dy * ((x + x0) / (x.apply("Abs") + x0.apply("Abs") + LEAST))))
}

/// Δ √Σ x² = Σ Δx · (x + x₀) / (y + y₀)
fn l2_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let y = s.y()?;
    let norms = kept(s, y + s.reference(y), &axes) + LEAST;
    Ok(s.only_first((x + s.reference(x)) * (dy / norms)))
}

/// y = ln S, S = Σ x: Δy = Σ Δx · Δy / ΔS
fn log_sum_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let sums = [x, s.reference(x)].map(|x| x.sum(&axes, Keep::Axes));
    Ok(s.only_first(dy * chord(sums, sums.map(Var::ln), sums[0].apply("Reciprocal"))))
}

/// The differences of the exponentials, and that of the logarithm of their sum.
fn log_sum_exp_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    Ok(s.only_first(dy * normalization::difference::log_sum_exp(s, x, &axes)))
}

/// Δ Σ x² = Σ Δx · (x + x₀)
fn sum_square_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, _, dy) = parts(s)?;
    Ok(s.only_first((x + s.reference(x)) * dy))
}

fn maximum_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    extremum_difference(s, "GreaterOrEqual")
}

fn minimum_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    extremum_difference(s, "LessOrEqual")
}

/// Δy goes to where the more extreme of y and y₀ stands, which by itself differs at least as much; ties share alike.
fn extremum_difference<'g>(s: &Step<'g>, beyond: &str) -> Result<Signals<'g>> {
    let (x, axes, dy) = parts(s)?;
    let x0 = s.reference(x);
    let [y, y0] = [s.y()?, s.reference(s.y()?)].map(|y| kept(s, y, &axes));
    let own = s.builder().op(beyond, &[y, y0], &[]);
    let mask = own.choose(x, x0).equals(own.choose(y, y0));
    let shares = mask / mask.sum(&axes, Keep::Axes);
    let part = part_of(y - y0, (shares * (x - x0)).sum(&axes, Keep::Axes));
    Ok(s.only_first(shares * (dy * part)))
}

/// difference / whole, between 0 and 1; 1 where there is no difference at all.
pub(super) fn part_of<'g>(difference: Var<'g>, whole: Var<'g>) -> Var<'g> {
    let none = whole.builder().op("Equal", &[whole, whole.scalar(0.0)], &[]);
    none.choose(whole.scalar(1.0), difference / whole)
}
