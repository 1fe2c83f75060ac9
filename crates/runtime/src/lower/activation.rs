//! Functions of one element.

use pellucid_graph::{Attribute, ElementType, ValueId};

use super::rewrite::{Rewrite, Step, never, node};
use super::{Rule, Takes};

use Rule::{By, Same};
use Takes::{Floats, Truths};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Acos", Same(Floats, &[])),
    ("Acosh", Same(Floats, &[])),
    ("Asin", Same(Floats, &[])),
    ("Asinh", Same(Floats, &[])),
    ("Atan", Same(Floats, &[])),
    ("Atanh", Same(Floats, &[])),
    ("Ceil", Same(Floats, &[])),
    ("Celu", By(celu)),
    ("Cos", Same(Floats, &[])),
    ("Cosh", Same(Floats, &[])),
    ("Dropout", By(dropout)),
    ("Elu", Same(Floats, &["alpha"])),
    ("Erf", Same(Floats, &[])),
    ("Exp", Same(Floats, &[])),
    ("Floor", Same(Floats, &[])),
    ("Gelu", Same(Floats, &["approximate"])),
    ("HardSigmoid", Same(Floats, &["alpha", "beta"])),
    ("HardSwish", Same(Floats, &[])),
    ("Identity", By(identity)),
    ("IsInf", By(is_inf)),
    ("IsNaN", Same(Floats, &[])),
    ("LeakyRelu", Same(Floats, &["alpha"])),
    ("Log", Same(Floats, &[])),
    ("Mish", By(mish)),
    ("Not", Same(Truths, &[])),
    ("PRelu", By(prelu)),
    ("Reciprocal", Same(Floats, &[])),
    ("Relu", By(relu)),
    ("Round", Same(Floats, &[])),
    ("Selu", By(selu)),
    ("Shrink", By(shrink)),
    ("Sigmoid", Same(Floats, &[])),
    ("Sign", By(sign)),
    ("Sin", Same(Floats, &[])),
    ("Sinh", Same(Floats, &[])),
    ("Softplus", By(softplus)),
    ("Softsign", Same(Floats, &[])),
    ("Sqrt", Same(Floats, &[])),
    ("Swish", Same(Floats, &["alpha"])),
    ("Tan", Same(Floats, &[])),
    ("Tanh", Same(Floats, &[])),
    ("ThresholdedRelu", By(thresholded_relu)),
];

/// Nothing is computed.
fn identity(r: &mut Rewrite<'_>) -> Step<()> {
    let y = r.passed_on()?;
    r.done(y)
}

/// Inference drops nothing: its input, and a mask of ones where one is asked for.
fn dropout(r: &mut Rewrite<'_>) -> Step<()> {
    let training = match r.numbers(2) {
        Ok(values) => values.is_some_and(|values| values.first().is_some_and(|value| *value != 0.0)),
        Err(_) => return never("training_mode must be a constant"),
    };
    let ratio = r.numbers(1).ok().flatten().and_then(|values| values.first().copied()).unwrap_or(0.5);
    if training && ratio != 0.0 {
        return never("it drops at random in training mode: export the model in evaluation mode");
    }
    let x = r.x(0)?;
    if r.wants(1) {
        let shape = r.op("Shape", &[x])?;
        let ones = r.constant(
            pellucid_graph::Tensor::from_bool(vec![1], &[true]).expect("one truth value fits one element"),
        )?;
        let mask = r.op("Expand", &[ones, shape])?;
        r.done_at(1, mask);
    }
    let y = r.passed_on()?;
    r.done(y)
}

/// rten has it on floats alone: `max(x, 0)` for integers.
fn relu(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    if r.element(x)?.is_float() {
        return r.same(Floats, &[]);
    }
    let zero = r.scalar_like(x, 0)?;
    let y = r.op("Max", &[x, zero])?;
    r.done(y)
}

/// rten's `Sign` of 0 is 1 (`f32::signum`): `(x > 0) − (x < 0)`.
fn sign(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let element = r.element(x)?;
    let zero = r.scalar_like(x, 0)?;
    let above = r.op("Greater", &[x, zero])?;
    let below = r.op("Less", &[x, zero])?;
    let above = r.cast(above, element)?;
    let below = r.cast(below, element)?;
    let y = r.op("Sub", &[above, below])?;
    r.done(y)
}

/// rten's `log(1 + exp x)` overflows past 88: `relu(x) + softplus(−|x|)`.
fn softplus(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let y = softplus_of(r, x)?;
    r.done(y)
}

fn softplus_of(r: &mut Rewrite<'_>, x: ValueId) -> Step<ValueId> {
    let above = r.op("Relu", &[x])?;
    let distance = r.op("Abs", &[x])?;
    let distance = r.op("Neg", &[distance])?;
    let rest = r.op("Softplus", &[distance])?;
    r.op("Add", &[above, rest])
}

/// Not in rten: `x · tanh(softplus x)`.
fn mish(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let gate = softplus_of(r, x)?;
    let gate = r.op("Tanh", &[gate])?;
    let y = r.op("Mul", &[x, gate])?;
    r.done(y)
}

/// Not in rten: `γ · elu(x; α)`.
fn selu(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let alpha = r.node.float("alpha", 1.673_263_2);
    let gamma = r.node.float("gamma", 1.050_701);
    let y = r.add(node("Elu", &[x]).with("alpha", Attribute::Float(alpha)))?;
    let gamma = r.float(gamma)?;
    let y = r.op("Mul", &[y, gamma])?;
    r.done(y)
}

/// Not in rten: `max(0, x) + α·elu(min(0, x) / α)`.
fn celu(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let alpha = r.node.float("alpha", 1.0);
    if alpha <= 0.0 || !alpha.is_finite() {
        return never(format!("alpha is {alpha}, expected a positive number"));
    }
    let one = Attribute::Float(1.0);
    let (zero, factor) = (r.float(0.0)?, r.float(alpha)?);
    let above = r.op("Relu", &[x])?;
    let below = r.op("Min", &[x, zero])?;
    let below = r.op("Div", &[below, factor])?;
    let below = r.add(node("Elu", &[below]).with("alpha", one))?;
    let below = r.op("Mul", &[below, factor])?;
    let y = r.op("Add", &[above, below])?;
    r.done(y)
}

/// Not in rten: `x` where `x > α`, else 0.
fn thresholded_relu(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let (alpha, zero) = (r.float(r.node.float("alpha", 1.0))?, r.float(0.0)?);
    let above = r.op("Greater", &[x, alpha])?;
    let y = r.op("Where", &[above, x, zero])?;
    r.done(y)
}

/// Not in rten: `x + bias` below `−λ`, `x − bias` above `λ`, 0 between.
fn shrink(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let (lambd, bias) = (r.node.float("lambd", 0.5), r.node.float("bias", 0.0));
    let (high, low, bias, zero) = (r.float(lambd)?, r.float(-lambd)?, r.float(bias)?, r.float(0.0)?);
    let raised = r.op("Add", &[x, bias])?;
    let lowered = r.op("Sub", &[x, bias])?;
    let below = r.op("Less", &[x, low])?;
    let above = r.op("Greater", &[x, high])?;
    let inner = r.op("Where", &[above, lowered, zero])?;
    let y = r.op("Where", &[below, raised, inner])?;
    r.done(y)
}

/// rten has it on floats alone: `where(x < 0, slope · x, x)` for integers.
fn prelu(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, slope) = (r.x(0)?, r.x(1)?);
    if r.element(x)?.is_float() {
        return r.same(Floats, &[]);
    }
    let zero = r.scalar_like(x, 0)?;
    let below = r.op("Less", &[x, zero])?;
    let scaled = r.op("Mul", &[x, slope])?;
    let y = r.op("Where", &[below, scaled, x])?;
    r.done(y)
}

/// rten counts both infinities: one alone is `x > max` or `x < −max`.
fn is_inf(r: &mut Rewrite<'_>) -> Step<()> {
    let (above, below) = (r.node.int("detect_positive", 1) != 0, r.node.int("detect_negative", 1) != 0);
    if above && below {
        return r.same(Floats, &[]);
    }
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let y = if above {
        let limit = r.float(f32::MAX)?;
        r.op("Greater", &[x, limit])?
    } else if below {
        let limit = r.float(f32::MIN)?;
        r.op("Less", &[x, limit])?
    } else {
        let zero = r.float(0.0)?;
        let never = r.op("IsInf", &[x])?;
        let never = r.cast(never, ElementType::F32)?;
        r.op("Less", &[never, zero])?
    };
    r.done(y)
}
