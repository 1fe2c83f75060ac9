//! Reductions.

use pellucid_graph::{Attribute, ValueId};

use super::derivative::first_of_few;
use super::normalization::first_extreme;
use super::rewrite::{Refusal, Rewrite, Step, node, whole, wrap_axis};
use super::{Rule, Takes};

use Rule::By;
use Takes::{Floats, Numbers};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ArgMax", By(|r| extreme(r, true))),
    ("ArgMin", By(|r| extreme(r, false))),
    ("CumSum", Rule::Same(Numbers, &["exclusive", "reverse"])),
    ("ReduceL1", By(|r| reduce(r, Numbers))),
    ("ReduceL2", By(|r| reduce(r, Floats))),
    ("ReduceLogSum", By(|r| reduce(r, Floats))),
    ("ReduceLogSumExp", By(|r| reduce(r, Floats))),
    ("ReduceMax", By(|r| reduce(r, Numbers))),
    ("ReduceMean", By(|r| reduce(r, Floats))),
    ("ReduceMin", By(|r| reduce(r, Numbers))),
    ("ReduceProd", By(|r| reduce(r, Numbers))),
    ("ReduceSum", By(|r| reduce(r, Numbers))),
    ("ReduceSumSquare", By(|r| reduce(r, Numbers))),
    ("TopK", Rule::Same(Numbers, &["axis", "largest", "sorted"])),
];

/// Reductions that may be taken in two steps.
const STAGED: &[&str] = &["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"];

/// Axes become constants; a reduction over no axes is its function of each element.
fn reduce(r: &mut Rewrite<'_>, takes: Takes) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, takes)?;
    let axes = match r.contents(1) {
        Ok(axes) => axes.unwrap_or_default(),
        Err(Refusal::Sizes(_)) => return r.same(takes, &["keepdims", "noop_with_empty_axes"]),
        Err(refusal) => return Err(refusal),
    };
    if axes.is_empty() && r.node.int("noop_with_empty_axes", 0) != 0 {
        let y = match r.node.operator.as_str() {
            "ReduceL1" | "ReduceL2" => r.op("Abs", &[x])?,
            "ReduceLogSum" => r.op("Log", &[x])?,
            "ReduceSumSquare" => r.op("Mul", &[x, x])?,
            _ => x,
        };
        return r.done(y);
    }
    let operator = r.node.operator.clone();
    let keep = r.node.int("keepdims", 1) != 0;
    if STAGED.contains(&operator.as_str()) && keep && !axes.is_empty() && r.rank(x).is_ok() {
        let y = staged(r, &operator, x, &axes)?;
        return r.done(y);
    }
    let mut new = node(&operator, &[x]).with("keepdims", Attribute::Int(i64::from(keep)));
    if !axes.is_empty() {
        if STAGED.contains(&operator.as_str()) && r.rank(x).is_ok() {
            let y = staged(r, &operator, x, &axes)?;
            let y = r.squeeze(y, &axes)?;
            return r.done(y);
        }
        let axes = r.integers(&axes)?;
        new.inputs.push(Some(axes));
    }
    let y = r.add(new)?;
    r.done(y)
}

/// A reduction that keeps its axes. Where axes at the end are joined by others, the end goes first: rten gathers
/// the elements of scattered axes one by one, which takes twice as long.
pub(super) fn staged(r: &mut Rewrite<'_>, operator: &str, x: ValueId, axes: &[i64]) -> Step<ValueId> {
    let rank = r.rank(x)?;
    let mut sorted = axes.iter().map(|axis| wrap_axis(*axis, rank)).collect::<Step<Vec<usize>>>()?;
    sorted.sort_unstable();
    sorted.dedup();
    if r.made.native {
        // A kernel sums over channels at once.
        let axes: Vec<i64> = sorted.into_iter().map(whole).collect();
        return r.reduce(operator, x, &axes);
    }
    let mut end = rank;
    while end > 0 && sorted.contains(&(end - 1)) {
        end -= 1;
    }
    let (front, back): (Vec<usize>, Vec<usize>) = sorted.iter().partition(|axis| **axis < end);
    let mut y = x;
    for axes in [back, front] {
        if !axes.is_empty() {
            let axes: Vec<i64> = axes.into_iter().map(whole).collect();
            y = r.reduce(operator, y, &axes)?;
        }
    }
    Ok(y)
}

/// rten's `ArgMax` and `ArgMin` take the last of equals, and refuse to be asked for it: their own form is used for
/// `select_last_index`, and for the first [`first_of_few`] or `TopK` of one.
fn extreme(r: &mut Rewrite<'_>, largest: bool) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Numbers)?;
    if r.node.int("select_last_index", 0) != 0 {
        return r.same(Numbers, &["axis", "keepdims"]);
    }
    let axis = r.node.int("axis", 0);
    let found = match r.rank(x) {
        Ok(rank) => first_of_few(r, x, r.axis("axis", 0, rank)?, largest)?,
        Err(_) => None,
    };
    let y = found.map_or_else(|| first_extreme(r, x, axis, largest), Ok)?;
    if r.node.int("keepdims", 1) != 0 {
        return r.done(y);
    }
    let y = r.squeeze(y, &[axis])?;
    r.done(y)
}
