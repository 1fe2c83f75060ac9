//! Limits: Min, Max, Relu and Clip with numbers, to one Clip; the hard sigmoid where it ends in its limits.

use pellucid_graph::{Tensor, ValueId};

use super::gate::{hard_sigmoid, hard_sigmoid_of};
use super::polynomial::{candidates, of_value};
use super::view::{Piece, View};
use super::{Canonical, Operand};

/// A value held between numbers.
struct Limits {
    x: ValueId,
    low: Option<f64>,
    high: Option<f64>,
}

/// Recognises an upper limit on a lower one or the reverse, a Clip whose limits are cast, and the hard sigmoid.
pub(super) fn recognise(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    let outer = limits(view, last)?;
    let inner = view.piece(view.resolve(outer.x)).and_then(|piece| limits(view, &piece));
    let nested = inner.and_then(|inner| match (&outer, &inner) {
        (Limits { low: None, high: Some(high), .. }, Limits { low: Some(low), high: None, .. })
        | (Limits { low: Some(low), high: None, .. }, Limits { low: None, high: Some(high), .. })
            if low <= high =>
        {
            Some(Limits { x: inner.x, low: Some(*low), high: Some(*high) })
        }
        _ => None,
    });
    // Rules read the limits, so they must be constants.
    let cast = last.operator == "Clip"
        && [1, 2].iter().filter_map(|index| last.input(*index)).any(|id| view.graph.constant(id).is_none());
    let changed = nested.is_some() || cast;
    let found = nested.unwrap_or(outer);
    if !view.fits(found.x) {
        return None;
    }
    if let (Some(low), Some(high)) = (found.low, found.high)
        && view.near(low, 0.0)
        && view.near(high, 1.0)
        && let Some(gate) = hard_sigmoid_under(found.x, view)
    {
        return Some(gate);
    }
    if !changed {
        return None;
    }
    let element = view.graph.value(found.x).element?;
    let limit = |limit: Option<f64>| match limit {
        Some(limit) => Operand::Constant(Tensor::scalar(element, limit)),
        None => Operand::Absent,
    };
    let clip = Canonical::new("Clip", found.x).and(limit(found.low));
    Some(if found.high.is_some() { clip.and(limit(found.high)) } else { clip })
}

/// clip(x/6 + ½, 0, 1), and with the slope 1/5
fn hard_sigmoid_under(argument: ValueId, view: &View<'_>) -> Option<Canonical> {
    candidates(view, argument).into_iter().find_map(|x| {
        let view = View::new(view.graph);
        let slope = hard_sigmoid_of(&view, &of_value(&view, argument, x)?, 1.0)?;
        view.fits(x).then(|| hard_sigmoid(x, slope))
    })
}

fn limits(view: &View<'_>, piece: &Piece<'_>) -> Option<Limits> {
    let sided = |lower: bool| {
        piece.orders().into_iter().find_map(|(x, number)| {
            let number = view.number(number)?;
            let (low, high) = if lower { (Some(number), None) } else { (None, Some(number)) };
            Some(Limits { x, low, high })
        })
    };
    match piece.operator {
        "Relu" => Some(Limits { x: piece.input(0)?, low: Some(0.0), high: None }),
        "Max" => sided(true),
        "Min" => sided(false),
        "Clip" => {
            let limit = |index| match piece.input(index) {
                Some(id) => view.number(id).map(Some),
                None => Some(None),
            };
            Some(Limits { x: piece.input(0)?, low: limit(1)?, high: limit(2)? })
        }
        _ => None,
    }
}
