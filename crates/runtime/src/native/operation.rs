//! Element-wise operators on stretches of numbers, in loops that the compiler makes vectors of.
#![allow(clippy::inline_always, reason = "what is dispatched to a processor's vectors must be one function")]

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Neg,
    Abs,
    Sqrt,
    Reciprocal,
    Relu,
    /// Between two limits.
    Clip(f32, f32),
    /// 1 where both are the same number, else 0.
    Equal,
    /// min(max(α·x + β, 0), 1).
    HardSigmoid(f32, f32),
    /// The same number in another shape.
    Same,
    /// Σ over a channel.
    Sum,
    /// Σ over a channel, divided by how many there are.
    Mean,
}

/// Whether an operation sums over a channel.
#[inline(always)]
pub(super) fn takes_a_sum(operation: Operation) -> bool {
    matches!(operation, Operation::Sum | Operation::Mean)
}

/// An operator on numbers.
#[inline(always)]
pub(super) fn number(operation: Operation, a: f32, b: f32) -> f32 {
    match operation {
        Operation::Add => a + b,
        Operation::Sub => a - b,
        Operation::Mul => a * b,
        Operation::Div => a / b,
        Operation::Max => larger(a, b),
        Operation::Min => -larger(-a, -b),
        Operation::Neg => -a,
        Operation::Abs => a.abs(),
        Operation::Sqrt => a.sqrt(),
        Operation::Reciprocal => 1.0 / a,
        Operation::Relu => larger(a, 0.0),
        Operation::Clip(low, high) => clip(a, low, high),
        Operation::Equal => equal(a, b),
        Operation::HardSigmoid(alpha, beta) => hard_sigmoid(a, alpha, beta),
        Operation::Same | Operation::Sum | Operation::Mean => a,
    }
}

/// A NaN on either side stays one.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// A NaN stays one.
#[inline(always)]
fn clip(a: f32, low: f32, high: f32) -> f32 {
    let a = if a < low { low } else { a };
    if a > high { high } else { a }
}

#[inline(always)]
#[expect(clippy::float_cmp, reason = "the operator asks whether numbers are the same")]
fn equal(a: f32, b: f32) -> f32 {
    f32::from(u8::from(a == b))
}

#[inline(always)]
fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    let y = alpha * x + beta;
    let y = if y < 0.0 { 0.0 } else { y };
    if y > 1.0 { 1.0 } else { y }
}

/// What a full step reads.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    Numbers(&'a [f32]),
    Number(f32),
}

/// Σ of a stretch: sixteen sums side by side, which are then added in order.
#[inline(always)]
pub(super) fn total_of(numbers: &[f32]) -> f64 {
    let mut sums = [0f32; 16];
    let chunks = numbers.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, number) in sums.iter_mut().zip(chunk) {
            *sum += number;
        }
    }
    let sum: f64 = sums.iter().map(|sum| f64::from(*sum)).sum();
    sum + rest.iter().map(|number| f64::from(*number)).sum::<f64>()
}

/// An operator on a stretch.
#[inline(always)]
pub(super) fn apply(operation: Operation, target: &mut [f32], a: Operand<'_>, b: Option<Operand<'_>>) {
    match operation {
        Operation::Add => binary(target, a, b, |a, b| a + b),
        Operation::Sub => binary(target, a, b, |a, b| a - b),
        Operation::Mul => binary(target, a, b, |a, b| a * b),
        Operation::Div => binary(target, a, b, |a, b| a / b),
        Operation::Max => binary(target, a, b, larger),
        Operation::Min => binary(target, a, b, |a, b| -larger(-a, -b)),
        Operation::Neg => unary(target, a, |a| -a),
        Operation::Abs => unary(target, a, f32::abs),
        Operation::Sqrt => unary(target, a, f32::sqrt),
        Operation::Reciprocal => unary(target, a, |a| 1.0 / a),
        Operation::Relu => unary(target, a, |a| larger(a, 0.0)),
        Operation::Clip(low, high) => unary(target, a, |a| clip(a, low, high)),
        Operation::Equal => binary(target, a, b, equal),
        Operation::HardSigmoid(alpha, beta) => {
            unary(target, a, |a| hard_sigmoid(a, alpha, beta));
        }
        Operation::Same | Operation::Sum | Operation::Mean => unary(target, a, |a| a),
    }
}

#[inline(always)]
fn unary(target: &mut [f32], a: Operand<'_>, f: impl Fn(f32) -> f32) {
    match a {
        Operand::Numbers(a) => {
            for (to, a) in target.iter_mut().zip(a) {
                *to = f(*a);
            }
        }
        Operand::Number(a) => target.fill(f(a)),
    }
}

#[inline(always)]
fn binary(target: &mut [f32], a: Operand<'_>, b: Option<Operand<'_>>, f: impl Fn(f32, f32) -> f32) {
    match (a, b.unwrap_or(Operand::Number(0.0))) {
        (Operand::Numbers(a), Operand::Numbers(b)) => {
            for ((to, a), b) in target.iter_mut().zip(a).zip(b) {
                *to = f(*a, *b);
            }
        }
        (Operand::Numbers(a), Operand::Number(b)) => {
            for (to, a) in target.iter_mut().zip(a) {
                *to = f(*a, b);
            }
        }
        (Operand::Number(a), Operand::Numbers(b)) => {
            for (to, b) in target.iter_mut().zip(b) {
                *to = f(a, *b);
            }
        }
        (Operand::Number(a), Operand::Number(b)) => target.fill(f(a, b)),
    }
}
