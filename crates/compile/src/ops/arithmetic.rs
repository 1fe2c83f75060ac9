//! Arithmetic with broadcasting, which the walk undoes.

use pellucid_graph::{Graph, Node};

use super::{Operator, fixed, pool, product, selects};
use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::kind::{Form, Kind};
use crate::reference::LEAST;
use crate::step::{Signals, Step};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("Add", sums, add),
    Operator::new("Div", quotient_kind, div).difference(div_difference),
    Operator::new("Max", selects, extremum)
        .difference(maximum_difference)
        .convention("tied inputs share the signal equally, as PyTorch's maximum"),
    Operator::new("Mean", pool, mean),
    Operator::new("Min", selects, extremum)
        .difference(minimum_difference)
        .convention("tied inputs share the signal equally, as PyTorch's minimum"),
    Operator::new("Mod", remainder_kind, remainder).convention("at jumps: the slope on both sides"),
    Operator::new("Mul", scales, mul).difference(mul_difference),
    Operator::new("Pow", power_kind, pow)
        .difference(pow_difference)
        .convention("0⁰ has slope 0; the exponent gets no signal where the base ≤ 0"),
    Operator::new("Sub", differs, sub),
    Operator::new("Sum", sums, sum),
    Operator::new("Where", selects, select).difference(select_difference),
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

/// Δ(a·b) = Δa · (b + b₀)/2 + (a + a₀)/2 · Δb. A factor that carries no signal and yet differs on the baseline, such as
/// a mask, is part of a function of the other: the chord of that.
fn mul_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, y, dy) = (s.x(0)?, s.x(1)?, s.y()?, s.dy()?);
    let same = |v: Var<'g>| Ok::<bool, CompileError>(v.shape()? == y.shape()?);
    if s.wants(0) && !s.wants(1) && s.is_moved(b) && same(a)? {
        return Ok(vec![Some(dy * s.chord(a, y, b)), None]);
    }
    if s.wants(1) && !s.wants(0) && s.is_moved(a) && same(b)? {
        return Ok(vec![None, Some(dy * s.chord(b, y, a))]);
    }
    Ok(vec![s.wants(0).then(|| dy * s.middle(b)), s.wants(1).then(|| dy * s.middle(a))])
}

/// Δ(a/b) = Δa · (1/b + 1/b₀)/2 − (a + a₀)/2 · Δb / (b · b₀)
fn div_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    if !s.is_moved(b) {
        return Ok(vec![Some(dy / b), None]);
    }
    let product = b * s.reference(b);
    Ok(vec![
        s.wants(0).then(|| dy * s.middle(b) / product),
        s.wants(1).then(|| -(dy * s.middle(a) / product)),
    ])
}

/// max(a, b) = b + relu(a − b), of more inputs from the first on; equal inputs share alike
fn maximum_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    folded(s, "Max", 1.0)
}

/// min(a, b) = b − relu(b − a)
fn minimum_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    folded(s, "Min", -1.0)
}

fn folded<'g>(s: &Step<'g>, operator: &str, sign: f64) -> Result<Signals<'g>> {
    let builder = s.builder();
    let (mut best, mut best0) = (s.x(0)?, s.reference(s.x(0)?));
    // What each new input takes of those before it.
    let mut shares = Vec::new();
    for index in 1..s.input_count() {
        let (x, x0) = (s.x(index)?, s.reference(s.x(index)?));
        let (lead, lead0) = ((best - x) * sign, (best0 - x0) * sign);
        let size = lead.apply("Abs") + lead0.apply("Abs");
        // 1/2 where neither leads, on the input as on the baseline.
        let share = (lead.relu() + lead0.relu() + LEAST) / (size + 2.0 * LEAST);
        shares.push(share);
        best = builder.op(operator, &[best, x], &[]);
        best0 = builder.op(operator, &[best0, x0], &[]);
    }
    let mut signal = s.dy()?;
    let mut signals = vec![None; s.input_count()];
    for (index, share) in shares.into_iter().enumerate().rev() {
        signals[index + 1] = s.wants(index + 1).then(|| signal * (1.0 - share));
        signal = signal * share;
    }
    signals[0] = Some(signal);
    Ok(signals)
}

/// aᵇ with a fixed exponent: Δ(a²) / Δa = a + a₀, Δ√a / Δa = 1 / (y + y₀); else the chord.
fn pow_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (a, b, y, dy) = (s.x(0)?, s.x(1)?, s.y()?, s.dy()?);
    if s.is_moved(b) {
        return Err(CompileError::Model("its exponent depends on the input".to_owned()));
    }
    let is = |number: f64| b.constant_number().is_some_and(|b| (b - number).abs() < f64::EPSILON);
    let slope = if is(2.0) {
        a + s.reference(a)
    } else if is(0.5) {
        (y + s.reference(y) + LEAST).apply("Reciprocal")
    } else if a.shape()? == y.shape()? {
        s.chord(a, y, power_slope(a, b))
    } else {
        return Err(CompileError::Model("its base is copied to more positions".to_owned()));
    };
    Ok(vec![Some(dy * slope), None])
}

/// Where the condition is the same on the baseline, the one that is picked gets all; elsewhere one is picked and the
/// other was, and Δy goes to both as the least factors that add up to it: Δy · Δa / (Δa² + Δb²).
fn select_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let condition = s.x(0)?;
    if !s.is_moved(condition) {
        return s.vjp();
    }
    let (a, b, y, dy) = (s.x(1)?, s.x(2)?, s.y()?, s.dy()?);
    let builder = s.builder();
    let (da, db) = (a - s.reference(a), b - s.reference(b));
    let changed = builder.op("Xor", &[condition, s.reference(condition)], &[]);
    let share = (y - s.reference(y)) / (da * da + db * db + LEAST);
    let one = |wanted: bool, difference: Var<'g>, picked: Var<'g>| {
        wanted.then(|| dy * changed.choose(share * difference, picked))
    };
    let picked = condition.cast(dy.element());
    Ok(vec![None, one(s.wants(1), da, picked), one(s.wants(2), db, 1.0 - picked)])
}
