//! Rectifiers written as a choice or a maximum, and Elu between scales of 1.

use pellucid_graph::{Attribute, ValueId};

use super::Canonical;
use super::polynomial::{Atoms, Polynomial, candidates, is_arithmetic, of_piece, of_value, values_under};
use super::view::{Piece, View};

/// Recognises `where(x > 0, x, a·x)`, `max(x, a·x)` and `1 · elu(1 · x)`.
pub(super) fn recognise(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    match last.operator {
        "Where" => choice(view, last),
        "Max" => maximum(view, last),
        "Elu" => {
            let argument = last.input(0)?;
            let x = unscaled(view, argument)?;
            (x != argument).then(|| {
                let alpha = Attribute::Float(last.float("alpha", 1.0));
                Canonical::new("Elu", x).with("alpha", alpha)
            })
        }
        operator if is_arithmetic(operator) => scaled_elu(view, last),
        _ => None,
    }
}

/// A comparison with a number: the value, the number, and whether the value is above where it holds.
pub(super) struct Comparison {
    pub(super) value: ValueId,
    pub(super) number: f64,
    pub(super) above: bool,
}

/// The comparison that a truth value is. Whether equality counts does not matter to continuous functions.
pub(super) fn comparison(view: &View<'_>, id: ValueId) -> Option<Comparison> {
    let piece = view.piece(view.resolve(id))?;
    let above = match piece.operator {
        "Greater" | "GreaterOrEqual" => true,
        "Less" | "LessOrEqual" => false,
        _ => return None,
    };
    let (left, right) = piece.pair()?;
    if let Some(number) = view.number(right) {
        return Some(Comparison { value: view.resolve(left), number, above });
    }
    Some(Comparison { value: view.resolve(right), number: view.number(left)?, above: !above })
}

/// Condition and branches of a Where, the branch above first.
pub(super) fn branches(view: &View<'_>, last: &Piece<'_>) -> Option<(Comparison, ValueId, ValueId)> {
    let [Some(condition), Some(yes), Some(no)] = last.inputs else { return None };
    let comparison = comparison(view, *condition)?;
    Some(if comparison.above { (comparison, *yes, *no) } else { (comparison, *no, *yes) })
}

/// where(x > 0, x, a·x)
fn choice(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    let (comparison, above, below) = branches(view, last)?;
    let x = comparison.value;
    if !view.near(comparison.number, 0.0) || view.resolve(above) != x {
        return None;
    }
    let slope = slope(view, below, x)?;
    if !view.fits(x) {
        return None;
    }
    Some(if slope > 0.0 { leaky(x, slope) } else { Canonical::new("Relu", x) })
}

/// max(x, a·x)
fn maximum(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    last.orders().into_iter().find_map(|(x, other)| {
        let view = View::new(view.graph);
        let x = view.resolve(x);
        let slope = slope(&view, other, x)?;
        // Max(x, 0) alone stands: it is an operator of its own.
        (slope > 0.0 && view.fits(x)).then(|| leaky(x, slope))
    })
}

/// a, where the value is a·x with 0 ≤ a < 1.
fn slope(view: &View<'_>, id: ValueId, x: ValueId) -> Option<f64> {
    let line = of_value(view, id, x)?;
    let slope = line.at(1, 0);
    let linear = line.is(view, &Polynomial::of(&[(1, 0, slope)]));
    (linear && (0.0..1.0).contains(&slope)).then_some(slope)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "attributes are float32; rounded to nearest"
)]
fn leaky(x: ValueId, slope: f64) -> Canonical {
    Canonical::new("LeakyRelu", x).with("alpha", Attribute::Float(slope as f32))
}

/// 1 · elu(x; α): a copy, so that the name of either value leads to the same node's result.
fn scaled_elu(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    values_under(view, last).into_iter().find_map(|gate| {
        let piece = view.of(gate, "Elu")?;
        let view = View::new(view.graph);
        let x = view.resolve(piece.input(0)?);
        let found = of_piece(&view, last, Atoms { x, gate: Some(gate) })?;
        (found.is(&view, &Polynomial::of(&[(0, 1, 1.0)])) && view.fits(x))
            .then(|| Canonical::new("Identity", gate))
    })
}

/// The value under factors of 1.
fn unscaled(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    let identity = Polynomial::of(&[(1, 0, 1.0)]);
    let same = |x: &ValueId| of_value(view, id, *x).is_some_and(|found| found.is(view, &identity));
    candidates(view, id).into_iter().rfind(same).filter(|x| view.fits(*x))
}
