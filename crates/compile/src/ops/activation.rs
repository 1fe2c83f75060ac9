//! Activation functions.

use pellucid_graph::{Graph, Node};

use super::Operator;
use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::kind::{Kind, Role};
use crate::reference::LEAST;
use crate::step::{Signals, Step};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("Celu", other, celu),
    Operator::new("Clip", clip_kind, clip)
        .convention("at a limit the signal passes, as PyTorch's clamp; above the limits and below it is 0"),
    Operator::new("Elu", other, elu).convention("at 0: alpha"),
    Operator::new("Gelu", gate, gelu),
    Operator::new("HardSigmoid", saturating, hard_sigmoid).convention("at the two kinks: 0"),
    Operator::new("HardSwish", gate, hard_swish).convention("at −3: −1/2, at 3: 3/2, the inner slopes"),
    Operator::new("LeakyRelu", rectifier, leaky_relu)
        .difference(leaky_relu_difference)
        .convention("at 0: alpha"),
    Operator::new("Mish", gate, mish),
    Operator::new("PRelu", rectifier, prelu).difference(prelu_difference).convention("at 0: the slope"),
    Operator::new("Relu", rectifier, relu).difference(relu_difference).convention("at 0: 0"),
    Operator::new("Selu", other, selu).convention("at 0: gamma · alpha"),
    Operator::new("Shrink", other, shrink).convention("at lambd and −lambd: 0"),
    Operator::new("Sigmoid", saturating, sigmoid),
    Operator::new("Softplus", other, softplus),
    Operator::new("Softsign", saturating, softsign),
    Operator::new("Swish", gate, swish),
    Operator::new("Tanh", saturating, tanh),
    Operator::new("ThresholdedRelu", rectifier, thresholded_relu).convention("at alpha: 0"),
];

fn rectifier(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Rectifier)
}

fn gate(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Gate)
}

fn saturating(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Saturating)
}

fn other(_: &Graph, _: &Node) -> Kind {
    Kind::Elementwise(Role::Other)
}

/// Clip(0, ·) is a rectifier with a ceiling; between any other limits it saturates.
fn clip_kind(graph: &Graph, node: &Node) -> Kind {
    let low =
        node.input(1).and_then(|id| graph.constant(id)).and_then(|tensor| tensor.to_f64().first().copied());
    if low == Some(0.0) { Kind::Elementwise(Role::Rectifier) } else { Kind::Elementwise(Role::Saturating) }
}

fn one<'g>(step: &Step<'g>, signal: Var<'g>) -> Signals<'g> {
    step.only_first(signal)
}

/// relu: dx = dy · [y > 0]
fn relu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.y()?.above_number(0.0)))
}

/// A factor that is 1 where `positive` is 1 and `slope` elsewhere.
fn either<'g>(positive: Var<'g>, slope: Var<'g>) -> Var<'g> {
    positive + (1.0 - positive) * slope
}

/// leaky relu: dx = dy · (x > 0 ? 1 : α)
fn leaky_relu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let alpha = x.scalar(f64::from(s.node.float("alpha", 0.01)));
    Ok(one(s, s.dy()? * either(x.above_number(0.0), alpha)))
}

/// prelu: dx = dy · (x > 0 ? 1 : a), da = dy · min(x, 0)
fn prelu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, slope, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let positive = x.above_number(0.0);
    let dx = s.wants(0).then(|| dy * either(positive, slope));
    let dslope = s.wants(1).then(|| dy * (x * (1.0 - positive)));
    Ok(vec![dx, dslope])
}

/// thresholded relu: dx = dy · [x > α]
fn thresholded_relu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.x(0)?.above_number(f64::from(s.node.float("alpha", 1.0)))))
}

/// shrink, x ∓ bias past ±λ and 0 between: dx = dy · [|x| > λ]
fn shrink<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let distance = s.x(0)?.apply("Abs");
    Ok(one(s, s.dy()? * distance.above_number(f64::from(s.node.float("lambd", 0.5)))))
}

/// clip: dx = dy · [x = y], which holds where low ≤ x ≤ high; dlow = dy · [x < low], dhigh = dy · [x > high]
fn clip<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (s.x(0)?, s.y()?, s.dy()?);
    let (low, high) = (s.input(1), s.input(2));
    let dx = if low.is_some() || high.is_some() { dy * x.equals(y) } else { dy };
    let dlow = low.filter(|_| s.wants(1)).map(|low| dy * x.below(low));
    let dhigh = high.filter(|_| s.wants(2)).map(|high| dy * x.above(high));
    let mut signals = vec![Some(dx), dlow, dhigh];
    signals.truncate(s.input_count());
    Ok(signals)
}

/// γ · α · eˣ below 0, γ above, without overflow of the branch not taken.
fn exponential_unit<'g>(s: &Step<'g>, alpha: f64, gamma: f64, width: f64) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let positive = x.above_number(0.0);
    let below = (-((-x).relu()) / width).exp() * alpha;
    Ok(one(s, s.dy()? * (either(positive, below) * gamma)))
}

/// elu: dx = dy · (x > 0 ? 1 : α·eˣ)
fn elu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    exponential_unit(s, f64::from(s.node.float("alpha", 1.0)), 1.0, 1.0)
}

/// selu: dx = dy · γ · (x > 0 ? 1 : α·eˣ)
fn selu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let alpha = f64::from(s.node.float("alpha", 1.673_263_2));
    let gamma = f64::from(s.node.float("gamma", 1.050_701));
    exponential_unit(s, alpha, gamma, 1.0)
}

/// celu: dx = dy · (x > 0 ? 1 : e^(x/α))
fn celu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    exponential_unit(s, 1.0, 1.0, f64::from(s.node.float("alpha", 1.0)))
}

/// sigmoid: dx = dy · y · (1 − y)
fn sigmoid<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, s.dy()? * (y * (1.0 - y))))
}

/// hard sigmoid, max(0, min(1, α·x + β)): dx = dy · α · [0 < y < 1]
fn hard_sigmoid<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    let inside = y.above_number(0.0) * y.below(y.scalar(1.0));
    Ok(one(s, s.dy()? * (inside * f64::from(s.node.float("alpha", 0.2)))))
}

/// tanh: dx = dy · (1 − y²)
fn tanh<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, s.dy()? * (1.0 - y * y)))
}

/// softplus, ln(1 + eˣ): dx = dy · σ(x)
fn softplus<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    Ok(one(s, s.dy()? * s.x(0)?.sigmoid()))
}

/// softsign, x / (1 + |x|): dx = dy / (1 + |x|)²
fn softsign<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let denominator = s.x(0)?.apply("Abs") + 1.0;
    Ok(one(s, s.dy()? / (denominator * denominator)))
}

/// swish, x · σ(α·x): dx = dy · (p + α·x·p·(1 − p)) with p = σ(α·x)
fn swish<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let scaled = x * f64::from(s.node.float("alpha", 1.0));
    let p = scaled.sigmoid();
    Ok(one(s, s.dy()? * (p + scaled * p * (1.0 - p))))
}

/// hard swish, x · max(0, min(1, x/6 + 1/2)): dx = dy · (0 | x/3 + 1/2 | 1)
fn hard_swish<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let (low, high) = (x.scalar(-3.0), x.scalar(3.0));
    let inside = x.at_least(low) * x.at_most(high);
    Ok(one(s, s.dy()? * (inside * (x / 3.0 + 0.5) + x.above(high))))
}

/// mish, x · t with t = tanh(softplus(x)): dx = dy · (t + x · (1 − t²) · σ(x))
fn mish<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let t = x.apply("Softplus").apply("Tanh");
    Ok(one(s, s.dy()? * (t + x * (1.0 - t * t) * x.sigmoid())))
}

/// gelu: x · Φ(x): dx = dy · (Φ(x) + x · φ(x)); with `approximate = tanh`, the derivative of
/// x/2 · (1 + t), t = tanh(u), u = √(2/π) · (x + 0.044715·x³)
fn gelu<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let slope = if s.node.string("approximate", "none") == "tanh" {
        let square = x * x;
        let c = std::f64::consts::FRAC_2_PI.sqrt();
        let t = (x * (square * 0.044_715 + 1.0) * c).apply("Tanh");
        let du = (square * (3.0 * 0.044_715) + 1.0) * c;
        (t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * du
    } else {
        let cumulative = ((x * std::f64::consts::FRAC_1_SQRT_2).apply("Erf") + 1.0) * 0.5;
        let density =
            (x * x * -0.5).exp() * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
        cumulative + x * density
    };
    Ok(one(s, s.dy()? * slope))
}

/// Δ max(0, x) / Δx = (y + y₀) / (|x| + |x₀|): nothing cancels, whichever side of 0 either is on. 0 where both are 0.
fn rectified<'g>(s: &Step<'g>, x: Var<'g>, y: Var<'g>, y0: Var<'g>) -> Var<'g> {
    let size = x.apply("Abs") + s.reference(x).apply("Abs");
    (y + y0) / (size + LEAST)
}

/// relu
fn relu_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let y = s.y()?;
    Ok(one(s, s.dy()? * rectified(s, s.x(0)?, y, s.reference(y))))
}

/// leaky relu, α · x + (1 − α) · relu x
fn leaky_relu_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = s.x(0)?;
    let share = rectified(s, x, x.relu(), s.reference(x).relu());
    Ok(one(s, s.dy()? * either(share, x.scalar(f64::from(s.node.float("alpha", 0.01))))))
}

/// As leaky relu, with fixed slopes.
fn prelu_difference<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, slope) = (s.x(0)?, s.x(1)?);
    if s.is_moved(slope) {
        return Err(CompileError::Model("its slope depends on the input".to_owned()));
    }
    let share = rectified(s, x, x.relu(), s.reference(x).relu());
    Ok(one(s, s.dy()? * either(share, slope)))
}
