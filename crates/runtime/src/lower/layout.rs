//! Operators that move elements and compute nothing.

use pellucid_graph::{Attribute, Dim};

use super::rewrite::{Refusal, Rewrite, Step, known, never, node, whole, wrap_axis};
use super::{Rule, Takes};

use Rule::{By, Same};
use Takes::All;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Concat", Same(All, &["axis"])),
    ("DepthToSpace", By(depth_to_space)),
    ("Expand", Same(All, &[])),
    ("Flatten", Same(All, &["axis"])),
    ("Pad", By(pad)),
    ("Reshape", Same(All, &["allowzero"])),
    ("Slice", By(slice)),
    ("SpaceToDepth", By(space_to_depth)),
    ("Split", By(split)),
    ("Squeeze", Same(All, &[])),
    ("Tile", Same(All, &[])),
    ("Transpose", Same(All, &["perm"])),
    ("Trilu", Same(All, &["upper"])),
    ("Unsqueeze", Same(All, &[])),
];

/// rten takes as many bounds as the input has axes, unless the axes are listed.
fn slice(r: &mut Rewrite<'_>) -> Step<()> {
    let mut new = r.copy(All, &[])?;
    if r.maybe(3).is_none() {
        let starts = r.x(1)?;
        let count = known(r.shape(starts)?.first().unwrap_or(&Dim::known(1)))?;
        let axes: Vec<i64> = (0..whole(count)).collect();
        let axes = r.integers(&axes)?;
        new.inputs.resize(new.inputs.len().max(4), None);
        new.inputs[3] = Some(axes);
    }
    r.write(new)
}

/// rten reads no `axes` input, and pads with copies along the last two axes alone, by less than their size. What is
/// beyond that is gathered axis by axis.
fn pad(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let mode = r.node.string("mode", "constant").to_owned();
    let rank = r.rank(x)?;
    let given = match r.contents(1) {
        Ok(given) => given.unwrap_or_default(),
        Err(Refusal::Sizes(_)) if r.maybe(3).is_none() && mode == "constant" => {
            return r.same(All, &["mode"]);
        }
        Err(refusal) => return Err(refusal),
    };
    let axes = r.contents(3)?.unwrap_or_else(|| (0..whole(rank)).collect());
    if given.len() != 2 * axes.len() {
        return never(format!("{} pads for {} axes", given.len(), axes.len()));
    }
    let mut pads = vec![0i64; 2 * rank];
    for (position, axis) in axes.iter().enumerate() {
        let axis = wrap_axis(*axis, rank)?;
        pads[axis] = given[position];
        pads[rank + axis] = given[axes.len() + position];
    }
    if mode == "constant" {
        let list = r.integers(&pads)?;
        let mut new = node("Pad", &[x, list]);
        if let Some(value) = r.maybe(2) {
            let value = r.reshape(value, &[])?;
            new.inputs.push(Some(value));
        }
        let y = r.add(new)?;
        return r.done(y);
    }
    if !matches!(mode.as_str(), "reflect" | "edge" | "wrap") {
        return never(format!("unknown mode {mode:?}"));
    }
    if pads.iter().any(|pad| *pad < 0) {
        return never(format!("negative pads in mode {mode:?} are not computed"));
    }
    let mut y = x;
    for axis in 0..rank {
        let (begin, end) = (pads[axis], pads[rank + axis]);
        if begin == 0 && end == 0 {
            continue;
        }
        let size = whole(known(&r.shape(x)?[axis])?);
        if size == 0 {
            return never(format!("axis {axis} is empty and has nothing to pad with"));
        }
        let places: Vec<i64> = (-begin..size + end).map(|place| source_of(place, size, &mode)).collect();
        let places = r.integers(&places)?;
        y = r.add(node("Gather", &[y, places]).with("axis", Attribute::Int(whole(axis))))?;
    }
    r.done(y)
}

/// Which element of an axis of `size` stands at `place`, which may lie outside.
fn source_of(place: i64, size: i64, mode: &str) -> i64 {
    match mode {
        "edge" => place.clamp(0, size - 1),
        "wrap" => place.rem_euclid(size),
        _ if size == 1 => 0,
        _ => {
            let folded = place.rem_euclid(2 * (size - 1));
            folded.min(2 * (size - 1) - folded)
        }
    }
}

/// rten divides `num_outputs` by its own rule, which may give fewer parts: sizes are written out.
fn split(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let rank = r.rank(x)?;
    let axis = r.axis("axis", 0, rank)?;
    let sizes = if r.maybe(1).is_some() {
        r.contents(1)?.unwrap_or_default()
    } else {
        let count = whole(r.node.outputs.len());
        let size = whole(known(&r.shape(x)?[axis])?);
        let count = r.node.int("num_outputs", count).max(1);
        let part = (size + count - 1) / count;
        (0..count).map(|index| (size - index * part).clamp(0, part)).collect()
    };
    if sizes.len() != r.node.outputs.len() {
        return never(format!("{} sizes for {} outputs", sizes.len(), r.node.outputs.len()));
    }
    let sizes = r.integers(&sizes)?;
    r.write(node("Split", &[x, sizes]).with("axis", Attribute::Int(whole(axis))))
}

/// rten has it on floats alone.
fn depth_to_space(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    if r.element(x)?.is_float() {
        return r.same(All, &["blocksize", "mode"]);
    }
    let block = r.node.int("blocksize", 0);
    let shape = r.sizes_but_first(x)?;
    let [channels, height, width] = shape[..] else {
        return never(format!("{} axes, expected 4", shape.len() + 1));
    };
    if block < 1 || whole(channels) % (block * block) != 0 {
        return never(format!("{channels} channels in blocks of {block}"));
    }
    let (depth, height, width) = (whole(channels) / (block * block), whole(height), whole(width));
    let columns = r.node.string("mode", "DCR") == "CRD";
    let (split, order) = if columns {
        ([-1, depth, block, block, height, width], [0, 1, 4, 2, 5, 3])
    } else {
        ([-1, block, block, depth, height, width], [0, 3, 4, 1, 5, 2])
    };
    let y = r.reshape(x, &split)?;
    let y = r.transpose(y, &order)?;
    let y = r.reshape(y, &[-1, depth, height * block, width * block])?;
    r.done(y)
}

/// Not in rten: split the space into blocks and move them before the channels.
fn space_to_depth(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let block = r.node.int("blocksize", 0);
    let shape: Vec<Dim> = r.shape(x)?;
    let [_, channels, height, width] = shape.as_slice() else {
        return never(format!("{} axes, expected 4", shape.len()));
    };
    let (channels, height, width) = (whole(known(channels)?), whole(known(height)?), whole(known(width)?));
    if block < 1 || height % block != 0 || width % block != 0 {
        return never(format!("{height} × {width} in blocks of {block}"));
    }
    let (rows, columns) = (height / block, width / block);
    let y = r.reshape(x, &[-1, channels, rows, block, columns, block])?;
    let y = r.transpose(y, &[0, 3, 5, 1, 2, 4])?;
    let y = r.reshape(y, &[-1, channels * block * block, rows, columns])?;
    r.done(y)
}
