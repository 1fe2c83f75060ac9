//! Forms of the patterns that derivatives are written in: faster here than the operators they are made of. The figures
//! that chose them stand in the crate's README.

use pellucid_graph::{Attribute, Dim, ElementType, Node, ValueId};

use super::rewrite::{Rewrite, Step, node, whole};

/// 2^127: times this, every normal number is at least 2, and the least of them is not lost.
const STEEP: f32 = 1.701_411_8e38;

/// The node that makes the input at `position`.
fn producer<'a>(r: &Rewrite<'a>, position: usize) -> Option<&'a Node> {
    r.source.producer_of(r.node.input(position)?).map(|id| r.source.node(id))
}

/// `[x > 0]` as a number, where this node casts it: a rectifier's derivative. `min(max(2^127 · x, 0), 1)` is one
/// vectorised operator on every thread in place of two on one. Only numbers below 2^−127, which are subnormal, come
/// out as less than 1.
pub(super) fn step_of(r: &mut Rewrite<'_>) -> Step<Option<ValueId>> {
    let Some(above) = producer(r, 0).filter(|node| node.operator == "Greater") else { return Ok(None) };
    let (Some(x), Some(limit)) = (above.input(0), above.input(1)) else { return Ok(None) };
    let zero = r.source.constant(limit).is_some_and(|limit| {
        limit.element().is_float() && limit.shape().is_empty() && limit.to_f64() == [0.0]
    });
    let Some(x) = r.values[x.index()].filter(|_| zero) else { return Ok(None) };
    let step =
        node("HardSigmoid", &[x]).with("alpha", Attribute::Float(STEEP)).with("beta", Attribute::Float(0.0));
    r.add(step).map(Some)
}

/// Elements along an axis among which the first extreme is found by going through them.
const FEW: usize = 32;

/// The first place of the largest or smallest along an axis of few elements that do not lie next to each other, which
/// stays as a unit axis: every element that passes all before it marks its place, and the last mark counts. Elements
/// that were joined for this are taken as they were before.
pub(super) fn first_of_few(
    r: &mut Rewrite<'_>,
    x: ValueId,
    axis: usize,
    largest: bool,
) -> Step<Option<ValueId>> {
    let shape = r.shape(x)?;
    let Some(size) = shape.get(axis).and_then(Dim::size) else { return Ok(None) };
    if axis + 1 == shape.len() || !(2..=FEW).contains(&size) {
        return Ok(None);
    }
    let parts = match joined(r, axis, size) {
        Some(parts) => parts,
        None => (0..whole(size)).map(|k| r.slice(x, axis, k, k + 1, 1)).collect::<Step<_>>()?,
    };
    let (passes, best_of) = if largest { ("Greater", "Max") } else { ("Less", "Min") };
    let mut best = parts[0];
    let mut place: Option<ValueId> = None;
    for (k, part) in parts.iter().enumerate().skip(1) {
        let better = r.op(passes, &[*part, best])?;
        let mark = r.cast(better, ElementType::I64)?;
        let mark = if k == 1 {
            mark
        } else {
            let number = r.integer(whole(k))?;
            r.op("Mul", &[mark, number])?
        };
        place = Some(match place {
            Some(place) => r.op("Max", &[place, mark])?,
            None => mark,
        });
        if k + 1 < size {
            best = r.op(best_of, &[best, *part])?;
        }
    }
    Ok(place)
}

/// What this node's first input was joined of along `axis`, where every part is one element wide.
fn joined(r: &Rewrite<'_>, axis: usize, size: usize) -> Option<Vec<ValueId>> {
    let join = producer(r, 0).filter(|node| node.operator == "Concat")?;
    let rank = whole(r.source.value(r.node.input(0)?).shape.as_ref()?.len());
    let along = join.int("axis", 0);
    let along = if along < 0 { along + rank } else { along };
    if along != whole(axis) || join.inputs.len() != size {
        return None;
    }
    join.inputs.iter().map(|input| input.and_then(|id| r.values[id.index()])).collect()
}
