//! Arithmetic with broadcasting, which the walk undoes.

use pellucid_graph::{Graph, Node};

use super::{Operator, fixed, pool, product, selects};
use crate::build::Var;
use crate::error::Result;
use crate::kind::{Form, Kind};
use crate::step::{Signals, Step};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("Add", sums, add),
    Operator::new("Div", quotient_kind, div),
    Operator::new("Max", selects, extremum)
        .convention("tied inputs share the signal equally, as PyTorch's maximum"),
    Operator::new("Mean", pool, mean),
    Operator::new("Min", selects, extremum)
        .convention("tied inputs share the signal equally, as PyTorch's minimum"),
    Operator::new("Mod", remainder_kind, remainder).convention("at jumps: the slope on both sides"),
    Operator::new("Mul", scales, mul),
    Operator::new("Pow", power_kind, pow)
        .convention("0⁰ has slope 0; the exponent gets no signal where the base ≤ 0"),
    Operator::new("Sub", differs, sub),
    Operator::new("Sum", sums, sum),
    Operator::new("Where", selects, select),
];

/// Linear where the divisor depends on no input of the model.
fn quotient_kind(graph: &Graph, node: &Node) -> Kind {
    if fixed(graph, node, 1) { Kind::Linear(Form::Scale) } else { Kind::Quotient }
}

fn scales(graph: &Graph, node: &Node) -> Kind {
    product(graph, node, Form::Scale)
}

fn sums(_: &Graph, _: &Node) -> Kind {
    Kind::Linear(Form::Sum)
}

fn differs(_: &Graph, _: &Node) -> Kind {
    Kind::Linear(Form::Difference)
}

fn remainder_kind(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(crate::kind::Role::Other)
}

fn power_kind(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(crate::kind::Role::Other)
}

/// da = dy, db = dy
fn add<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let dy = s.dy()?;
    Ok(vec![Some(dy), Some(dy)])
}

/// da = dy, db = −dy
fn sub<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let dy = s.dy()?;
    Ok(vec![Some(dy), s.wants(1).then(|| -dy)])
}

/// da = dy · b, db = dy · a
fn mul<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    Ok(vec![s.wants(0).then(|| dy * b), s.wants(1).then(|| dy * a)])
}

/// da = dy / b, db = −dy · y / b
fn div<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (b, y, dy) = (s.x(1)?, s.y()?, s.dy()?);
    Ok(vec![s.wants(0).then(|| dy / b), s.wants(1).then(|| -(dy * y / b))])
}

/// a − b · trunc(a / b): da = dy, db = −dy · (a − y) / b
fn remainder<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, y, dy) = (s.x(0)?, s.x(1)?, s.y()?, s.dy()?);
    Ok(vec![Some(dy), s.wants(1).then(|| -(dy * ((a - y) / b)))])
}

/// Each input gets dy.
fn sum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let dy = s.dy()?;
    Ok(vec![Some(dy); s.input_count()])
}

/// Each of k inputs gets dy / k.
fn mean<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let share = s.dy()? / crate::build::signed(s.input_count()) as f64;
    Ok(vec![Some(share); s.input_count()])
}

/// dxᵢ = dy · [xᵢ = y] / Σⱼ [xⱼ = y]
fn extremum<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (y, dy) = (s.y()?, s.dy()?);
    let mut masks = Vec::new();
    for index in 0..s.input_count() {
        masks.push(s.x(index)?.equals(y));
    }
    let ties = masks.iter().copied().reduce(|sum: Var<'g>, mask| sum + mask);
    let share = match ties {
        Some(ties) if masks.len() > 1 => dy / ties,
        _ => dy,
    };
    Ok(masks.into_iter().enumerate().map(|(index, mask)| s.wants(index).then(|| share * mask)).collect())
}

/// da = dy · b · a^(b − 1), db = dy · y · ln a
fn pow<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let da = if s.wants(0) { Some(dy * power_slope(a, b)) } else { None };
    let db = if s.wants(1) {
        let positive = a.builder().op("Greater", &[a, a.scalar(0.0)], &[]);
        let safe = positive.choose(a, a.scalar(1.0));
        Some(dy * s.y()? * safe.ln())
    } else {
        None
    };
    Ok(vec![da, db])
}

fn power_slope<'g>(a: Var<'g>, b: Var<'g>) -> Var<'g> {
    match b.constant_number() {
        Some(0.0) => a * 0.0,
        Some(exponent) if (exponent - 1.0).abs() < f64::EPSILON => a * 0.0 + 1.0,
        Some(exponent) if (exponent - 2.0).abs() < f64::EPSILON => a * 2.0,
        Some(exponent) => a.powf(exponent - 1.0) * exponent,
        None => {
            let exponent = b.cast(a.element());
            // The base is 1 where the exponent is 0, so that 0 · 0⁻¹ is 0.
            let zero = a.builder().op("Equal", &[exponent, exponent.scalar(0.0)], &[]);
            let base = zero.choose(a.scalar(1.0), a);
            exponent * a.builder().op("Pow", &[base, exponent - 1.0], &[])
        }
    }
}

/// da = c ? dy : 0, db = c ? 0 : dy
fn select<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (condition, dy) = (s.x(0)?, s.dy()?);
    let zero = dy.scalar(0.0);
    Ok(vec![
        None,
        s.wants(1).then(|| condition.choose(dy, zero)),
        s.wants(2).then(|| condition.choose(zero, dy)),
    ])
}
