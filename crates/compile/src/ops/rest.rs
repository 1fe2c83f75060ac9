//! What an operator's output holds besides the derivative times the inputs: y − J·x, where J is the derivative by the
//! inputs that depend on the model's input.
//!
//! Of a linear operator it is the bias; of a function that is no line through the origin, what the paper of `FullGrad`
//! calls an implicit bias; of a rectifier, of max-pooling and of all else that is homogeneous of degree 1, nothing.

use crate::build::{Var, signed};
use crate::error::Result;
use crate::kind::Kind;
use crate::step::{Signals, Step};

/// What is left at a node, times the signal at its output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rest<'g> {
    /// Nothing.
    Nothing,
    /// A number at each position of the first output, or of a shape that broadcasts to it.
    Placed(Var<'g>),
    /// Something, of which only the sum is known: Σ dy · y − Σ dx · x.
    Total,
}

/// What is left at this node, of which `found` are the derivatives' signals at the inputs.
pub(crate) fn rest<'g>(s: &Step<'g>, found: &Signals<'g>) -> Result<Rest<'g>> {
    match s.node.operator.as_str() {
        "Add" | "Sum" => added(s, 1.0),
        "Mean" => added(s, signed(s.input_count()) as f64),
        "Sub" => subtracted(s),
        "Mul" | "MatMul" => multiplied(s, None),
        "Div" => divided(s),
        "Gemm" => {
            let factor = f64::from(s.node.float("beta", 1.0));
            multiplied(s, s.input(2).map(|bias| scaled(bias, factor)))
        }
        "Conv" | "ConvTranspose" => {
            let bias = match s.input(2) {
                Some(bias) => Some(by_channel(bias, s.y()?.rank()?)),
                None => None,
            };
            multiplied(s, bias)
        }
        "BatchNormalization" => shifted(s),
        // Homogeneous of degree 1, though their kind does not say so.
        "Abs" | "LeakyRelu" | "PRelu" | "Relu" | "ThresholdedRelu" => Ok(Rest::Nothing),
        _ => by_kind(s, found),
    }
}

fn by_kind<'g>(s: &Step<'g>, found: &Signals<'g>) -> Result<Rest<'g>> {
    match s.kind() {
        // A constant that is joined on, padded with or picked is a bias: the node on zeros leaves it.
        Kind::Move if has_constants(s) => replayed(s),
        Kind::Select if has_constants(s) => elementwise(s, found),
        Kind::Linear(_) | Kind::Move | Kind::Select => Ok(Rest::Nothing),
        Kind::Bilinear => multiplied(s, None),
        Kind::Flat => Ok(Rest::Placed(s.dy()? * s.y()?)),
        _ => elementwise(s, found),
    }
}

/// Whether some float input does not depend on the model's input.
fn has_constants(s: &Step<'_>) -> bool {
    (0..s.input_count())
        .any(|index| !s.wants(index) && s.input(index).is_some_and(|input| input.element().is_float()))
}

/// Σ of inputs that do not depend on the model's, times `factor`.
/// What the inputs that get no signal add, of which the output is the sum divided by `parts`.
fn added<'g>(s: &Step<'g>, parts: f64) -> Result<Rest<'g>> {
    let dy = s.dy()?;
    let mut sum: Option<Var<'g>> = None;
    for index in (0..s.input_count()).filter(|index| !s.wants(*index)) {
        let term = dy * s.x(index)?;
        sum = Some(sum.map_or(term, |sum| sum + term));
    }
    let share = |sum| if parts > 1.0 { sum / parts } else { sum };
    Ok(sum.map_or(Rest::Nothing, |sum| Rest::Placed(share(sum))))
}

fn scaled(v: Var<'_>, factor: f64) -> Var<'_> {
    if (factor - 1.0).abs() < f64::EPSILON { v } else { v * factor }
}

fn subtracted<'g>(s: &Step<'g>) -> Result<Rest<'g>> {
    Ok(match (s.wants(0), s.wants(1)) {
        (true, true) => Rest::Nothing,
        (true, false) => Rest::Placed(-(s.dy()? * s.x(1)?)),
        _ => Rest::Placed(s.dy()? * s.x(0)?),
    })
}

/// A product of factors plus a bias: with k factors that depend on the model's input, (1 − k) · product + bias.
fn multiplied<'g>(s: &Step<'g>, bias: Option<Var<'g>>) -> Result<Rest<'g>> {
    let bias_index = if bias.is_some() { 2 } else { s.input_count() };
    let factors = (0..s.input_count()).filter(|index| *index != bias_index && s.wants(*index)).count();
    let (dy, y) = (s.dy()?, s.y()?);
    let constant = bias.filter(|_| !s.wants(2));
    let product = |weight: f64| {
        let product = bias.map_or(y, |bias| y - bias);
        dy * product * weight
    };
    let bent = match factors {
        1 => None,
        0 => Some(product(1.0)),
        many => Some(product(1.0 - signed(many) as f64)),
    };
    let constant = constant.map(|constant| dy * constant);
    Ok(match (bent, constant) {
        (Some(bent), Some(constant)) => Rest::Placed(bent + constant),
        (Some(one), None) | (None, Some(one)) => Rest::Placed(one),
        (None, None) => Rest::Nothing,
    })
}

/// a / b has the derivative y − y = 0 along (a, b), and c / b has −y.
fn divided<'g>(s: &Step<'g>) -> Result<Rest<'g>> {
    Ok(match (s.wants(0), s.wants(1)) {
        (true, false) => Rest::Nothing,
        (true, true) => Rest::Placed(s.dy()? * s.y()?),
        _ => Rest::Placed(s.dy()? * s.y()? * 2.0),
    })
}

/// β − γ · μ / √(σ² + ε)
fn shifted<'g>(s: &Step<'g>) -> Result<Rest<'g>> {
    if (1..s.input_count()).any(|index| s.wants(index)) {
        return Ok(Rest::Total);
    }
    let epsilon = f64::from(s.node.float("epsilon", 1e-5));
    let shift = s.x(2)? - s.x(3)? * s.x(1)? / (s.x(4)? + epsilon).sqrt();
    Ok(Rest::Placed(s.dy()? * by_channel(shift, s.y()?.rank()?)))
}

/// [c] as [c, 1, …], which broadcasts to [n, c, …] of `rank` axes.
fn by_channel(v: Var<'_>, rank: usize) -> Var<'_> {
    let mut sizes = vec![1; rank.saturating_sub(1)];
    if let Some(first) = sizes.first_mut() {
        *first = -1;
    }
    v.reshape(&sizes)
}

/// The node again, on zeros.
fn replayed<'g>(s: &Step<'g>) -> Result<Rest<'g>> {
    if s.node.outputs.len() > 1 {
        return Ok(Rest::Total);
    }
    let mut inputs = Vec::new();
    for index in 0..s.input_count() {
        inputs.push(match s.input(index) {
            Some(input) if s.wants(index) => Some(input.zeros_like()?),
            other => other,
        });
    }
    let attributes: Vec<_> =
        s.node.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    Ok(Rest::Placed(s.dy()? * s.builder().ops(&s.node.operator, &inputs, &attributes, 1)[0]))
}

/// dy · y − Σ dx · x, position by position, where all have the output's shape.
fn elementwise<'g>(s: &Step<'g>, found: &Signals<'g>) -> Result<Rest<'g>> {
    if s.node.outputs.iter().flatten().count() > 1 {
        return Ok(Rest::Total);
    }
    let y = s.y()?;
    let shape = y.shape()?;
    // Numbers of a quantised network are integers, their signals floats.
    let dy = s.dy()?;
    let mut left = dy * y.cast(dy.element());
    for (index, signal) in found.iter().enumerate() {
        let (Some(signal), true) = (signal, s.wants(index)) else { continue };
        let part = *signal * s.x(index)?.cast(signal.element());
        if part.shape()? != shape {
            return Ok(Rest::Total);
        }
        left = left - part;
    }
    Ok(Rest::Placed(left))
}
