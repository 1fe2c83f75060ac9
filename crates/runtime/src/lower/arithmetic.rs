//! Functions of several elements: arithmetic, comparison, choice, conversion, matrix products.

use pellucid_graph::{Attribute, Dim, ElementType, Node, ValueId};

use super::derivative::step_of;
use super::rewrite::{Rewrite, Step, never, node, whole};
use super::{Rule, Takes, lowered};

use Rule::{By, Same};
use Takes::{All, Floats, Numbers, Truths};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Abs", Same(Numbers, &[])),
    ("Add", Same(Numbers, &[])),
    ("And", Same(Truths, &[])),
    ("Cast", By(cast)),
    ("CastLike", By(cast_like)),
    ("Clip", By(clip)),
    ("Div", By(div)),
    ("Einsum", Same(Floats, &["equation"])),
    ("Equal", Same(All, &[])),
    ("Gemm", Same(Floats, &["alpha", "beta", "transA", "transB"])),
    ("Greater", Same(Numbers, &[])),
    ("GreaterOrEqual", Same(Numbers, &[])),
    ("Less", Same(Numbers, &[])),
    ("LessOrEqual", Same(Numbers, &[])),
    ("MatMul", By(mat_mul)),
    ("Max", Same(Numbers, &[])),
    ("Mean", Same(Floats, &[])),
    ("Min", Same(Numbers, &[])),
    ("Mod", Same(Numbers, &["fmod"])),
    ("Mul", Same(Numbers, &[])),
    ("Neg", Same(Numbers, &[])),
    ("Or", Same(Truths, &[])),
    ("Pow", By(pow)),
    ("Sub", Same(Numbers, &[])),
    ("Sum", Same(Numbers, &[])),
    ("Where", Same(All, &[])),
    ("Xor", Same(Truths, &[])),
];

/// rten keeps a unit axis where a batch of matrices meets a vector: the vector becomes a column, and the axis goes.
/// A transposed matrix is read as it lies, by `Gemm`: derivatives multiply by transposed weights, which would be
/// moved in every run, or kept twice.
fn mat_mul(r: &mut Rewrite<'_>) -> Step<()> {
    let (a, b) = (r.x(0)?, r.x(1)?);
    r.require(a, Floats)?;
    if let Some(y) = product_of_transposed(r, a, b)? {
        return r.done(y);
    }
    if r.rank(b)? != 1 {
        return r.same(Floats, &[]);
    }
    let column = r.unsqueeze(b, &[1])?;
    let y = r.op("MatMul", &[a, column])?;
    let y = r.squeeze(y, &[-1])?;
    r.done(y)
}

/// The product as `Gemm`, where a factor is a transposed matrix.
fn product_of_transposed(r: &mut Rewrite<'_>, a: ValueId, b: ValueId) -> Step<Option<ValueId>> {
    let (left, right) = (before_transposition(r, 0), before_transposition(r, 1));
    if left.is_none() && right.is_none() || r.rank(b)? != 2 {
        return Ok(None);
    }
    let shape = r.shape(a)?;
    let flag = |on: bool| Attribute::Int(i64::from(on));
    let gemm = |a: ValueId| {
        node("Gemm", &[left.unwrap_or(a), right.unwrap_or(b)])
            .with("transA", flag(left.is_some()))
            .with("transB", flag(right.is_some()))
    };
    if shape.len() == 2 {
        return r.add(gemm(a)).map(Some);
    }
    // A batch of rows is one matrix, if its own shape can be written down again.
    let free = shape.iter().filter(|size| size.size().is_none()).count();
    let (Some(width), Some(depth)) = (r.shape(b)?[1].value(), shape.last().and_then(Dim::value)) else {
        return Ok(None);
    };
    if shape.len() < 3 || free > 1 {
        return Ok(None);
    }
    let rows = r.reshape(a, &[-1, depth])?;
    let y = r.add(gemm(rows))?;
    let mut target: Vec<i64> = shape.iter().map(|size| size.value().unwrap_or(-1)).collect();
    *target.last_mut().unwrap_or(&mut 0) = width;
    r.reshape(y, &target).map(Some)
}

/// What the input at `position` is the transposition of, if it is of a matrix.
fn before_transposition(r: &Rewrite<'_>, position: usize) -> Option<ValueId> {
    let producer = r.source.node(r.source.producer_of(r.node.input(position)?)?);
    let id = r.values[producer.input(0)?.index()]?;
    (transposes_matrix(producer) && r.rank(id) == Ok(2)).then_some(id)
}

/// Whether a node swaps two axes, its input having two.
pub(super) fn transposes_matrix(producer: &Node) -> bool {
    producer.operator == "Transpose" && producer.ints("perm").is_none_or(|order| order == [1, 0])
}

/// Nodes that turn a quotient's last bit into a whole unit.
const STEPS: &[&str] =
    &["Floor", "Ceil", "Round", "Cast", "Mod", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"];

/// rten divides floats by a single number as a product with its reciprocal, which may be off by one bit: 61 / 61 is
/// not 1. Before a step function that is an error of one, so there the divisor is spread out to the dividend's shape.
fn div(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, y) = (r.x(0)?, r.x(1)?);
    r.require(x, Numbers)?;
    let x = lifted(r, x, y)?;
    if r.element(x)?.is_float() && r.consumers(0).any(|consumer| STEPS.contains(&consumer)) {
        let quotient = exact_quotient(r, x, y)?;
        return r.done(quotient);
    }
    let quotient = r.op("Div", &[x, y])?;
    r.done(quotient)
}

/// `x` with as many axes as `y` has at least: of a second input of one element rten's `Div` and `Pow` drop the axes.
fn lifted(r: &mut Rewrite<'_>, x: ValueId, y: ValueId) -> Step<ValueId> {
    let (own, other) = (r.rank(x)?, r.rank(y)?);
    if own >= other {
        return Ok(x);
    }
    let axes: Vec<i64> = (0..whole(other - own)).collect();
    r.unsqueeze(x, &axes)
}

/// `x / y`, correctly rounded, `x` having no fewer axes than `y`.
pub(super) fn exact_quotient(r: &mut Rewrite<'_>, x: ValueId, y: ValueId) -> Step<ValueId> {
    let shape = r.shape(y)?;
    if shape.iter().any(|size| size.value().is_some_and(|size| size != 1)) {
        return r.op("Div", &[x, y]);
    }
    r.sizes(y)?;
    // Two equal divisors along a new last axis: with two, rten divides; the first quotient is taken.
    let flat = r.reshape(y, &[1])?;
    let two = r.integers(&[2])?;
    let pair = r.op("Expand", &[flat, two])?;
    let column = r.unsqueeze(x, &[-1])?;
    let both = r.op("Div", &[column, pair])?;
    let zero = r.integer(0)?;
    r.add(node("Gather", &[both, zero]).with("axis", Attribute::Int(-1)))
}

/// rten computes powers of equal types; a float base takes its exponent as a float.
fn pow(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, exponent) = (r.x(0)?, r.x(1)?);
    r.require(x, Numbers)?;
    let x = lifted(r, x, exponent)?;
    if r.element(x)?.is_float() {
        let exponent = r.cast(exponent, ElementType::F32)?;
        let y = r.op("Pow", &[x, exponent])?;
        return r.done(y);
    }
    if !r.element(exponent)?.is_float() {
        let y = r.op("Pow", &[x, exponent])?;
        return r.done(y);
    }
    let base = r.cast(x, ElementType::F32)?;
    let y = r.op("Pow", &[base, exponent])?;
    let y = r.cast(y, ElementType::I64)?;
    r.done(y)
}

/// A bound that is left out is rten's largest finite number, which would hold infinities back: `Min` or `Max` alone.
fn clip(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Numbers)?;
    match (r.maybe(1), r.maybe(2)) {
        (Some(_), Some(_)) => r.same(Numbers, &[]),
        (Some(low), None) => {
            let y = r.op("Max", &[x, low])?;
            r.done(y)
        }
        (None, Some(high)) => {
            let y = r.op("Min", &[x, high])?;
            r.done(y)
        }
        (None, None) => r.done(x),
    }
}

fn cast(r: &mut Rewrite<'_>) -> Step<()> {
    let code = r.node.int("to", 0);
    let target = i32::try_from(code).ok().and_then(ElementType::from_onnx_code);
    let Some(target) = target else { return never(format!("unknown element type {code}")) };
    convert(r, target)
}

fn cast_like(r: &mut Rewrite<'_>) -> Step<()> {
    let Some(target) = r.source_element(1) else { return never("the element type of input 1 is not known") };
    convert(r, target)
}

/// rten converts to `bool` by copying integers and truncating floats: `x ≠ 0` instead. Conversions to narrow
/// integers wrap as ONNX Runtime's do: `x` less a multiple of 2^bits.
fn convert(r: &mut Rewrite<'_>, target: ElementType) -> Step<()> {
    let x = r.x(0)?;
    let from = r.element(x)?;
    let y = match target {
        ElementType::Bool if from == ElementType::Bool => x,
        ElementType::Bool => {
            let zero = r.scalar_like(x, 0)?;
            let equal = r.op("Equal", &[x, zero])?;
            r.op("Not", &[equal])?
        }
        ElementType::I8 | ElementType::U8 | ElementType::I16 | ElementType::U16
            if from != ElementType::Bool && r.source_element(0) != Some(target) =>
        {
            let x = r.cast(x, ElementType::I64)?;
            wrap(r, x, target)?
        }
        target => match if target.is_float() { step_of(r)? } else { None } {
            Some(step) => step,
            // Between floats nothing is computed either.
            None if from == lowered(target) => r.passed_on()?,
            None => r.cast(x, lowered(target))?,
        },
    };
    r.done(y)
}

fn wrap(r: &mut Rewrite<'_>, x: ValueId, target: ElementType) -> Step<ValueId> {
    let signed = matches!(target, ElementType::I8 | ElementType::I16);
    let period: i64 = if target.size() == 1 { 256 } else { 65536 };
    let period_id = r.integer(period)?;
    if !signed {
        return r.op("Mod", &[x, period_id]);
    }
    let half = r.integer(period / 2)?;
    let x = r.op("Add", &[x, half])?;
    let x = r.op("Mod", &[x, period_id])?;
    r.op("Sub", &[x, half])
}
