//! x times a gate of x: SiLU, GELU, Mish, `HardSwish`, Softsign; and the piecewise linear gate alone.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use pellucid_graph::{Attribute, ValueId};

use super::Canonical;
use super::polynomial::{Atoms, Polynomial, candidates, is_arithmetic, of_piece, of_value, values_under};
use super::view::{Piece, View};

/// Cubic coefficient of the approximation of GELU by tanh.
const CUBIC: f64 = 0.044_715;

/// Recognises y = p(x, gate(q(x))) for polynomials p and q of a known function.
pub(super) fn recognise(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    if !is_arithmetic(last.operator) {
        return None;
    }
    if last.operator == "Div"
        && let Some(found) = softsign(&View::new(view.graph), last)
    {
        return Some(found);
    }
    values_under(view, last).into_iter().find_map(|gate| {
        let piece = view.piece(gate)?;
        // Each attempt weighs its own numbers.
        let view = &View::new(view.graph);
        match piece.operator {
            "Sigmoid" => swish(view, last, gate, &piece),
            "Erf" => gelu(view, last, gate, &piece),
            "Tanh" => gelu_tanh(view, last, gate, &piece).or_else(|| mish(view, last, gate, &piece)),
            "HardSigmoid" => hard_swish_of_hard_sigmoid(view, last, gate, &piece),
            "Clip" => hard_gate(view, last, gate, &piece),
            _ => None,
        }
    })
}

/// `last` as a polynomial in `x` and `gate`, compared with a sum of terms.
fn is(view: &View<'_>, last: &Piece<'_>, x: ValueId, gate: ValueId, terms: &[(usize, usize, f64)]) -> bool {
    of_piece(view, last, Atoms { x, gate: Some(gate) })
        .is_some_and(|found| found.is(view, &Polynomial::of(terms)) && view.fits(x))
}

/// x / (1 + |x|)
fn softsign(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    let (x, divisor) = last.pair()?;
    let x = view.resolve(x);
    let of_x = view.of(divisor, "Add")?.orders().into_iter().any(|(magnitude, one)| {
        let magnitude = view.of(magnitude, "Abs").and_then(|abs| abs.input(0));
        magnitude.is_some_and(|of| view.resolve(of) == x)
            && view.number(one).is_some_and(|one| view.near(one, 1.0))
    });
    (of_x && view.fits(x)).then(|| Canonical::new("Softsign", x))
}

/// x · sigmoid(α·x)
fn swish(view: &View<'_>, last: &Piece<'_>, gate: ValueId, sigmoid: &Piece<'_>) -> Option<Canonical> {
    let argument = sigmoid.input(0)?;
    candidates(view, argument).into_iter().find_map(|x| {
        let inner = of_value(view, argument, x)?;
        let alpha = inner.at(1, 0);
        let linear = inner.is(view, &Polynomial::of(&[(1, 0, alpha)])) && alpha > 0.0;
        if !linear || !is(view, last, x, gate, &[(1, 1, 1.0)]) {
            return None;
        }
        let swish = Canonical::new("Swish", x);
        let alpha = narrow(alpha);
        // 1 is the default.
        Some(if (alpha - 1.0).abs() > 0.0 { swish.with("alpha", Attribute::Float(alpha)) } else { swish })
    })
}

/// ½·x · (1 + erf(x/√2))
fn gelu(view: &View<'_>, last: &Piece<'_>, gate: ValueId, erf: &Piece<'_>) -> Option<Canonical> {
    let x = argument(view, erf, &[(1, 0, FRAC_1_SQRT_2)], |x| {
        is(view, last, x, gate, &[(1, 0, 0.5), (1, 1, 0.5)])
    })?;
    Some(Canonical::new("Gelu", x).with("approximate", Attribute::String("none".to_owned())))
}

/// ½·x · (1 + tanh(√(2/π)·(x + 0.044715·x³)))
fn gelu_tanh(view: &View<'_>, last: &Piece<'_>, gate: ValueId, tanh: &Piece<'_>) -> Option<Canonical> {
    let slope = FRAC_2_PI.sqrt();
    let x = argument(view, tanh, &[(1, 0, slope), (3, 0, slope * CUBIC)], |x| {
        is(view, last, x, gate, &[(1, 0, 0.5), (1, 1, 0.5)])
    })?;
    Some(Canonical::new("Gelu", x).with("approximate", Attribute::String("tanh".to_owned())))
}

/// x · tanh(softplus x)
fn mish(view: &View<'_>, last: &Piece<'_>, gate: ValueId, tanh: &Piece<'_>) -> Option<Canonical> {
    let softplus = view.of(tanh.input(0)?, "Softplus")?;
    let x = view.resolve(softplus.input(0)?);
    is(view, last, x, gate, &[(1, 1, 1.0)]).then(|| Canonical::new("Mish", x))
}

/// x · max(0, min(1, x/6 + ½)), the gate being one node already
fn hard_swish_of_hard_sigmoid(
    view: &View<'_>,
    last: &Piece<'_>,
    gate: ValueId,
    hard_sigmoid: &Piece<'_>,
) -> Option<Canonical> {
    let slope = f64::from(hard_sigmoid.float("alpha", 0.2));
    let offset = f64::from(hard_sigmoid.float("beta", 0.5));
    if !view.near(slope, 1.0 / 6.0) || !view.near(offset, 0.5) {
        return None;
    }
    let x = view.resolve(hard_sigmoid.input(0)?);
    is(view, last, x, gate, &[(1, 1, 1.0)]).then(|| Canonical::new("HardSwish", x))
}

/// c · clip(a·x + b, 0, h) with c·h = 1, and that times x
fn hard_gate(view: &View<'_>, last: &Piece<'_>, gate: ValueId, clip: &Piece<'_>) -> Option<Canonical> {
    let (low, high) = (view.number(clip.input(1)?)?, view.number(clip.input(2)?)?);
    if !view.near(low, 0.0) || high <= 0.0 {
        return None;
    }
    let argument = clip.input(0)?;
    candidates(view, argument).into_iter().find_map(|x| {
        let inner = of_value(view, argument, x)?;
        let slopes = hard_sigmoid_of(view, &inner, high)?;
        if is(view, last, x, gate, &[(0, 1, 1.0 / high)]) {
            return Some(hard_sigmoid(x, slopes));
        }
        let six = slopes.1;
        (six && is(view, last, x, gate, &[(1, 1, 1.0 / high)])).then(|| Canonical::new("HardSwish", x))
    })
}

/// The slope of the gate `clip(inner, 0, high) / high`, exactly as frameworks define it, and whether it is 1/6.
pub(super) fn hard_sigmoid_of(view: &View<'_>, inner: &Polynomial, high: f64) -> Option<(f32, bool)> {
    let known = |slope: f64| inner.is(view, &Polynomial::of(&[(0, 0, 0.5 * high), (1, 0, slope * high)]));
    if known(1.0 / 6.0) {
        Some((narrow(1.0 / 6.0), true))
    } else if known(0.2) {
        Some((narrow(0.2), false))
    } else {
        None
    }
}

/// `HardSigmoid` of `x` with a slope of [`hard_sigmoid_of`].
pub(super) fn hard_sigmoid(x: ValueId, slope: (f32, bool)) -> Canonical {
    Canonical::new("HardSigmoid", x)
        .with("alpha", Attribute::Float(slope.0))
        .with("beta", Attribute::Float(0.5))
}

/// The x of which the gate's argument is the polynomial `terms`, and which passes `accept`.
fn argument(
    view: &View<'_>,
    gate: &Piece<'_>,
    terms: &[(usize, usize, f64)],
    accept: impl Fn(ValueId) -> bool,
) -> Option<ValueId> {
    let argument = gate.input(0)?;
    candidates(view, argument).into_iter().find(|x| {
        of_value(view, argument, *x).is_some_and(|inner| inner.is(view, &Polynomial::of(terms))) && accept(*x)
    })
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "attributes are float32; rounded to nearest"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}
