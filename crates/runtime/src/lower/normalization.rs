//! Normalisations and what is normalised to one.

use pellucid_graph::{Attribute, ValueId};

use super::rewrite::{Rewrite, Step, never, node, whole};
use super::{Rule, Takes};

use Rule::{By, Same};
use Takes::Floats;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", By(batch_normalization)),
    ("GroupNormalization", By(group_normalization)),
    ("Hardmax", By(hardmax)),
    ("InstanceNormalization", Same(Floats, &["epsilon"])),
    ("LRN", By(lrn)),
    ("LayerNormalization", By(layer_normalization)),
    ("LogSoftmax", Same(Floats, &["axis"])),
    ("LpNormalization", Same(Floats, &["axis", "p"])),
    ("MeanVarianceNormalization", By(mean_variance_normalization)),
    ("Softmax", Same(Floats, &["axis"])),
];

fn batch_normalization(r: &mut Rewrite<'_>) -> Step<()> {
    if r.node.int("training_mode", 0) != 0 {
        // No exporter writes this momentum: it is that of a training step.
        if r.node.float("momentum", 0.9).abs() < f32::MIN_POSITIVE {
            return by_the_batch(r);
        }
        return never("it is in training mode: export the model in evaluation mode");
    }
    let new = r.copy(Floats, &["epsilon"])?;
    let y = r.add(new)?;
    r.done(y)
}

/// In a training step: by the batch's own mean and variance, which are the other outputs. The factor and the bias of a
/// channel are put together first, so that the map is read twice for the result.
fn by_the_batch(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, scale, bias) = (r.x(0)?, r.x(1)?, r.x(2)?);
    r.require(x, Floats)?;
    let rank = r.rank(x)?;
    let axes: Vec<i64> = (0..whole(rank)).filter(|axis| *axis != 1).collect();
    let mut column = vec![1; rank.saturating_sub(1)];
    column[0] = -1;
    let mean = super::reduce::staged(r, "ReduceMean", x, &axes)?;
    let centred = r.op("Sub", &[x, mean])?;
    let squares = r.op("Mul", &[centred, centred])?;
    let variance = super::reduce::staged(r, "ReduceMean", squares, &axes)?;
    let epsilon = r.float(r.node.float("epsilon", 1e-5))?;
    let sum = r.op("Add", &[variance, epsilon])?;
    let deviation = r.op("Sqrt", &[sum])?;
    let scale = r.reshape(scale, &column)?;
    let bias = r.reshape(bias, &column)?;
    let factor = r.op("Div", &[scale, deviation])?;
    let y = r.op("Mul", &[centred, factor])?;
    let y = r.op("Add", &[y, bias])?;
    r.done(y)?;
    for (position, statistic) in [(1, mean), (2, variance)] {
        if r.wants(position) {
            let flat = r.reshape(statistic, &[-1])?;
            r.done_at(position, flat);
        }
    }
    Ok(())
}

/// rten has no outputs but the first: mean and inverse deviation are computed beside it where they are asked for.
fn layer_normalization(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    let new = r.copy(Floats, &["axis", "epsilon"])?;
    let y = r.add(new)?;
    r.done(y)?;
    if !r.wants(1) && !r.wants(2) {
        return Ok(());
    }
    let rank = r.rank(x)?;
    let axes: Vec<i64> = (whole(r.axis("axis", -1, rank)?)..whole(rank)).collect();
    let mean = r.reduce("ReduceMean", x, &axes)?;
    r.done_at(1, mean);
    if r.wants(2) {
        let distance = r.op("Sub", &[x, mean])?;
        let variance = r.op("Mul", &[distance, distance])?;
        let variance = r.reduce("ReduceMean", variance, &axes)?;
        let epsilon = r.float(r.node.float("epsilon", 1e-5))?;
        let variance = r.op("Add", &[variance, epsilon])?;
        let deviation = r.op("Sqrt", &[variance])?;
        let inverse = r.op("Reciprocal", &[deviation])?;
        r.done_at(2, inverse);
    }
    Ok(())
}

/// Not in rten: a group is an instance of one channel. Opset 18 scales groups, opset 21 channels; the length of the
/// scale tells.
fn group_normalization(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, scale, bias) = (r.x(0)?, r.x(1)?, r.x(2)?);
    r.require(x, Floats)?;
    let groups = r.node.int("num_groups", 0);
    let Ok(count) = usize::try_from(groups) else { return never(format!("num_groups is {groups}")) };
    let length = r.sizes(scale)?.first().copied().unwrap_or_default();
    let epsilon = Attribute::Float(r.node.float("epsilon", 1e-5));
    let shape = r.op("Shape", &[x])?;
    let grouped = r.reshape(x, &[0, groups, -1])?;
    let by_group = length == count;
    let (unit_scale, unit_bias) = if by_group {
        (scale, bias)
    } else {
        (r.floats(vec![count], &vec![1.0; count])?, r.floats(vec![count], &vec![0.0; count])?)
    };
    let y =
        r.add(node("InstanceNormalization", &[grouped, unit_scale, unit_bias]).with("epsilon", epsilon))?;
    let y = r.op("Reshape", &[y, shape])?;
    if by_group {
        return r.done(y);
    }
    let mut column = vec![1; r.rank(x)?.saturating_sub(1)];
    column[0] = -1;
    let scale = r.reshape(scale, &column)?;
    let bias = r.reshape(bias, &column)?;
    let y = r.op("Mul", &[y, scale])?;
    let y = r.op("Add", &[y, bias])?;
    r.done(y)
}

/// Not in rten: `x / (bias + α · mean of squares over neighbouring channels)^β`, the mean as a pool over channels,
/// padding counted.
fn lrn(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let size = r.node.int("size", 1);
    if size < 1 {
        return never(format!("size is {size}, expected a positive number"));
    }
    let shape = r.op("Shape", &[x])?;
    let squares = r.op("Mul", &[x, x])?;
    let columns = r.sizes_but_first(x)?;
    let channels = whole(columns.first().copied().unwrap_or(1));
    let space = whole(columns.iter().skip(1).product());
    let squares = r.reshape(squares, &[0, 1, channels, space])?;
    let before = (size - 1) / 2;
    let mean = r.add(
        node("AveragePool", &[squares])
            .with("kernel_shape", Attribute::Ints(vec![size, 1]))
            .with("strides", Attribute::Ints(vec![1, 1]))
            .with("pads", Attribute::Ints(vec![before, 0, size - 1 - before, 0]))
            .with("count_include_pad", Attribute::Int(1)),
    )?;
    let mean = r.op("Reshape", &[mean, shape])?;
    let alpha = r.float(r.node.float("alpha", 1e-4))?;
    let bias = r.float(r.node.float("bias", 1.0))?;
    let beta = r.float(r.node.float("beta", 0.75))?;
    let sum = r.op("Mul", &[mean, alpha])?;
    let sum = r.op("Add", &[sum, bias])?;
    let power = r.op("Pow", &[sum, beta])?;
    let y = r.op("Div", &[x, power])?;
    r.done(y)
}

/// Not in rten: `(x − mean) / (√variance + 10⁻⁹)` over the axes.
fn mean_variance_normalization(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let axes = r.node.ints("axes").map_or_else(|| vec![0, 2, 3], <[i64]>::to_vec);
    let mean = super::reduce::staged(r, "ReduceMean", x, &axes)?;
    let distance = r.op("Sub", &[x, mean])?;
    let squares = r.op("Mul", &[distance, distance])?;
    let variance = super::reduce::staged(r, "ReduceMean", squares, &axes)?;
    let deviation = r.op("Sqrt", &[variance])?;
    let epsilon = r.float(1e-9)?;
    let deviation = r.op("Add", &[deviation, epsilon])?;
    let y = r.op("Div", &[distance, deviation])?;
    r.done(y)
}

/// Not in rten: one at the first maximum along the axis.
fn hardmax(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let axis = r.node.int("axis", -1);
    let first = first_extreme(r, x, axis, true)?;
    let squeezed = r.squeeze(first, &[axis])?;
    let shape = r.op("Shape", &[x])?;
    let place = r.integers(&[axis])?;
    let depth = r.op("Gather", &[shape, place])?;
    let values = r.floats(vec![2], &[0.0, 1.0])?;
    let y = r.add(node("OneHot", &[squeezed, depth, values]).with("axis", Attribute::Int(axis)))?;
    r.done(y)
}

/// The first place of the largest or smallest along an axis, which stays as a unit axis. rten's own `ArgMax` takes the
/// last of equals; its `TopK` the first, slowly where the axis is not the last.
pub(super) fn first_extreme(r: &mut Rewrite<'_>, x: ValueId, axis: i64, largest: bool) -> Step<ValueId> {
    let one = r.integers(&[1])?;
    let new = node("TopK", &[x, one])
        .with("axis", Attribute::Int(axis))
        .with("largest", Attribute::Int(i64::from(largest)));
    let outputs = r.add_many(new, 2)?;
    outputs.get(1).copied().map_or_else(|| never("TopK has no second output"), Ok)
}
