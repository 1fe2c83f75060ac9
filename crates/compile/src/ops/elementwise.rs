//! Elementary functions of one number.

use pellucid_graph::{ElementType, Graph, Node};

use super::{Operator, moves, scaling};
use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::kind::{Kind, Role};
use crate::reference::LEAST;
use crate::step::{Signals, Step};
use crate::walk::carries;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("Abs", other, abs).difference(abs_difference).convention("at 0: 0"),
    Operator::new("Acos", other, acos),
    Operator::new("Acosh", other, acosh),
    Operator::new("Asin", other, asin),
    Operator::new("Asinh", other, asinh),
    Operator::new("Atan", saturating, atan),
    Operator::new("Atanh", other, atanh),
    Operator::new("Cast", cast_kind, cast),
    Operator::new("CastLike", moves, cast),
    Operator::new("Cos", other, cos),
    Operator::new("Cosh", other, cosh),
    Operator::new("Dropout", moves, dropout),
    Operator::new("Erf", saturating, erf),
    Operator::new("Exp", other, exp),
    Operator::new("Identity", moves, identity),
    Operator::new("Log", other, log),
    Operator::new("Neg", scaling, neg),
    Operator::new("Reciprocal", other, reciprocal).difference(reciprocal_difference),
    Operator::new("Sin", other, sin),
    Operator::new("Sinh", other, sinh),
    Operator::new("Sqrt", other, sqrt).difference(sqrt_difference),
    Operator::new("Tan", other, tan),
];

fn other(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Other)
}

fn saturating(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Saturating)
}

/// Between floats a Cast moves numbers; to anything else it is flat.
fn cast_kind(_: &Graph, node: &Node) -> Kind {
    let float = i32::try_from(node.int("to", 0))
        .ok()
        .and_then(ElementType::from_onnx_code)
        .is_some_and(ElementType::is_float);
    if float { Kind::Move } else { Kind::Flat }
}

fn one<'g>(step: &Step<'g>, signal: Var<'g>) -> Signals<'g> {
    step.only_first(signal)
}

/// dx = dy · sign x
fn abs<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.x(0)?.apply("Sign")))
}

/// Back to the element type that came in. From truth values and counts no signal comes back; that of quantised numbers
/// stays a float.
fn cast<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (from, to) = (s.x(0)?.element(), s.y()?.element());
    if from.is_float() && to.is_float() {
        return Ok(one(s, s.dy()?.cast(from)));
    }
    if carries(from) && to.is_float() {
        return Ok(one(s, s.dy()?));
    }
    Ok(vec![None; s.input_count()])
}

/// acos: dx = −dy / √(1 − x²)
fn acos<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, -(s.dy()? / (1.0 - x * x).sqrt())))
}

/// acosh: dx = dy / (√(x − 1) · √(x + 1))
fn acosh<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, s.dy()? / ((x - 1.0).sqrt() * (x + 1.0).sqrt())))
}

/// asin: dx = dy / √(1 − x²)
fn asin<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, s.dy()? / (1.0 - x * x).sqrt()))
}

/// asinh: dx = dy / √(x² + 1)
fn asinh<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, s.dy()? / (x * x + 1.0).sqrt()))
}

/// atan: dx = dy / (1 + x²)
fn atan<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, s.dy()? / (x * x + 1.0)))
}

/// atanh: dx = dy / (1 − x²)
fn atanh<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, s.dy()? / (1.0 - x * x)))
}

/// dx = dy · sinh x
fn cosh<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.x(0)?.apply("Sinh")))
}

/// dx = dy · cosh x
fn sinh<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.x(0)?.apply("Cosh")))
}

/// dx = dy · (1 + y²)
fn tan<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, s.dy()? * (y * y + 1.0)))
}

/// dx = −dy · sin x
fn cos<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, -(s.dy()? * s.x(0)?.apply("Sin"))))
}

/// dx = dy · cos x
fn sin<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.x(0)?.apply("Cos")))
}

/// The identity, as in evaluation; a Dropout that drops has no derivative that could be repeated.
fn dropout<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    if let Some(training) = s.input(2) {
        let drops = training.constant().is_none_or(|tensor| tensor.to_f64().iter().any(|flag| *flag != 0.0));
        if drops {
            return Err(CompileError::Model(
                "a Dropout in training mode is random: export the model in evaluation mode".to_owned(),
            ));
        }
    }
    Ok(one(s, s.dy()?))
}

/// dx = dy · 2/√π · e^(−x²)
fn erf<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    Ok(one(s, s.dy()? * ((-(x * x)).exp() * std::f64::consts::FRAC_2_SQRT_PI)))
}

/// dx = dy · y
fn exp<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.y()?))
}

/// dx = dy
fn identity<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()?))
}

/// dx = dy / x
fn log<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? / s.x(0)?))
}

/// dx = −dy
fn neg<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, -s.dy()?))
}

/// dx = −dy · y²
fn reciprocal<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, -(s.dy()? * (y * y))))
}

/// dx = dy / (2·y)
fn sqrt<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * 0.5 / s.y()?))
}

/// Δ|x| / Δx = (x + x₀) / (|x| + |x₀|); 0 where both are 0
fn abs_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y) = (s.x(0)?, s.y()?);
    Ok(one(s, s.dy()? * ((x + s.reference(x)) / (y + s.reference(y) + LEAST))))
}

/// Δ(1/x) / Δx = −y · y₀
fn reciprocal_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, -(s.dy()? * (y * s.reference(y)))))
}

/// Δ√x / Δx = 1 / (y + y₀)
fn sqrt_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, s.dy()? / (y + s.reference(y) + LEAST)))
}
