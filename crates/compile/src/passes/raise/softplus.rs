//! Softplus, as PyTorch's newer exporter writes it and as its formula says.

use pellucid_graph::ValueId;

use super::polynomial::{Polynomial, of_value};
use super::rectifier::branches;
use super::view::{Piece, View};
use super::{Canonical, Operand};

/// Above this, log(1 + eᵗ) and t are the same float32: e⁻ᵗ/t is 2·10⁻⁸ here.
const MIN_THRESHOLD: f64 = 15.0;

/// Recognises `where(β·x > t, x, softplus(β·x) / β)` and `log(1 + exp(x))`.
pub(super) fn recognise(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    match last.operator {
        "Where" => above_threshold(view, last),
        "Log" => {
            let sum = view.of(last.input(0)?, "Add")?;
            let exp = sum.orders().into_iter().find_map(|(exp, one)| {
                let exp = view.of(exp, "Exp")?;
                view.number(one).filter(|one| view.near(*one, 1.0)).map(|_| exp)
            })?;
            let x = view.resolve(exp.input(0)?);
            view.fits(x).then(|| Canonical::new("Softplus", x))
        }
        _ => None,
    }
}

fn above_threshold(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    let (comparison, above, below) = branches(view, last)?;
    if comparison.number < MIN_THRESHOLD {
        return None;
    }
    let x = view.resolve(above);
    let (softplus, divisor) = divided(view, below);
    let argument = view.resolve(view.of(softplus, "Softplus")?.input(0)?);
    if comparison.value != argument || !view.fits(x) {
        return None;
    }
    let scale = of_value(view, argument, x)?;
    let beta = match divisor {
        None => 1.0,
        Some(divisor) => view.number(divisor)?,
    };
    if beta <= 0.0 || !scale.is(view, &Polynomial::of(&[(1, 0, beta)])) {
        return None;
    }
    // With another β the formula has no node of its own: what is left is the quotient.
    Some(match divisor {
        Some(divisor) if !view.near(beta, 1.0) => {
            Canonical::new("Div", softplus).and(Operand::Value(divisor))
        }
        _ => Canonical::new("Softplus", x),
    })
}

/// Numerator and divisor, where the value is a quotient.
fn divided(view: &View<'_>, id: ValueId) -> (ValueId, Option<ValueId>) {
    match view.of(id, "Div").and_then(|piece| piece.pair()) {
        Some((numerator, divisor)) => (view.resolve(numerator), Some(divisor)),
        None => (view.resolve(id), None),
    }
}
