//! Normalisations with what was fused into them.

use super::site::{Site, channels_first, channels_last, transposed};
use crate::element::ElementType;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::tensor::Tensor;

/// x / √(mean x² + ε) · scale over the axes from `axis` on; the second output is 1 / √(mean x² + ε).
pub(super) fn root_mean_square(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, scale) = (site.input(0)?, site.input(1)?);
    let axis = site.int("axis", -1)?;
    // The precision of the statistics is the engine's affair.
    site.take("stash_type");
    normalised_by_root(site, x, scale, axis, 1)
}

/// The second output of `ai.onnx` and of ONNX Runtime is `position`.
fn normalised_by_root(
    site: &mut Site<'_, '_>,
    x: ValueId,
    scale: ValueId,
    axis: i64,
    position: usize,
) -> Result<(), String> {
    let epsilon = site.float("epsilon", 1e-5)?;
    let rank = i64::try_from(site.rank(x)?).map_err(|_| "too many axes".to_owned())?;
    let first = if axis < 0 { axis + rank } else { axis };
    if !(0..rank).contains(&first) {
        return Err(format!("axis {axis} is outside a tensor of {rank} axes"));
    }
    let axes = site.integers(&(first..rank).collect::<Vec<i64>>())?;
    let squares = site.op("Mul", &[x, x])?;
    let mean = site.op("ReduceMean", &[squares, axes])?;
    let epsilon = site.scalar(x, f64::from(epsilon))?;
    let sum = site.op("Add", &[mean, epsilon])?;
    let root = site.op("Sqrt", &[sum])?;
    let normal = if site.wants(position) {
        let inverse = site.finish(position, NewNode::new("Reciprocal", &[root], ""))?;
        site.op("Mul", &[x, inverse])?
    } else {
        site.op("Div", &[x, root])?
    };
    site.done("Mul", &[normal, scale])
}

/// x + skip (+ bias), which is the fourth output.
fn with_skip(site: &mut Site<'_, '_>, bias: Option<ValueId>) -> Result<ValueId, String> {
    let (x, skip) = (site.input(0)?, site.input(1)?);
    let sum = NewNode::new("Add", &[x, skip], "");
    match bias {
        None => site.finish(3, sum),
        Some(bias) => {
            let sum = site.add(sum)?;
            site.finish(3, NewNode::new("Add", &[sum, bias], ""))
        }
    }
}

/// Layer normalisation over the last axis, with as many outputs as are wanted.
fn layer(
    site: &mut Site<'_, '_>,
    x: ValueId,
    scale: ValueId,
    bias: Option<ValueId>,
    epsilon: f32,
) -> Result<(), String> {
    if site.wants(1) || site.wants(2) {
        return Err("mean and deviation are outputs, which are only used in training".to_owned());
    }
    let mut inputs = vec![x, scale];
    inputs.extend(bias);
    let node = NewNode::new("LayerNormalization", &inputs, "")
        .with("axis", Attribute::Int(-1))
        .with("epsilon", Attribute::Float(epsilon));
    site.finish(0, node).map(drop)
}

/// Layer normalisation of x + skip (+ bias).
pub(super) fn skip(site: &mut Site<'_, '_>) -> Result<(), String> {
    let epsilon = site.float("epsilon", 1e-12)?;
    let (scale, bias) = (site.input(2)?, site.maybe(3));
    let sum = with_skip(site, site.maybe(4))?;
    layer(site, sum, scale, bias, epsilon)
}

/// Root-mean-square normalisation of x + skip (+ bias).
pub(super) fn skip_root_mean_square(site: &mut Site<'_, '_>) -> Result<(), String> {
    let scale = site.input(2)?;
    if site.wants(1) {
        return Err("the mean is an output, which is only used in training".to_owned());
    }
    let sum = with_skip(site, site.maybe(3))?;
    normalised_by_root(site, sum, scale, -1, 2)
}

/// Layer normalisation of word + position + segment embeddings.
pub(super) fn embed(site: &mut Site<'_, '_>) -> Result<(), String> {
    let epsilon = site.float("epsilon", 1e-12)?;
    // The mask's index is made for Attention, which is not read.
    site.take("mask_index_type");
    let words = site.input(0)?;
    let (word, place) = (site.input(2)?, site.input(3)?);
    let mut sum = site.op("Gather", &[word, words])?;
    let position = if let Some(places) = site.maybe(8) {
        site.op("Gather", &[place, places])?
    } else {
        let length = site.size(words, 1)?;
        let end = i64::try_from(length).map_err(|_| "too many words".to_owned())?;
        let (start, end, axis) = (site.integers(&[0])?, site.integers(&[end])?, site.integers(&[0])?);
        site.op("Slice", &[place, start, end, axis])?
    };
    sum = site.op("Add", &[sum, position])?;
    if let (Some(segments), Some(segment)) = (site.maybe(1), site.maybe(4)) {
        let looked_up = site.op("Gather", &[segment, segments])?;
        sum = site.op("Add", &[sum, looked_up])?;
    }
    if site.wants(1) {
        let count = if let Some(mask) = site.maybe(7) {
            let axis = site.integers(&[1])?;
            NewNode::new("ReduceSum", &[mask, axis], "").with("keepdims", Attribute::Int(0))
        } else {
            let rows = NewNode::new("Shape", &[words], "").with("end", Attribute::Int(1));
            let rows = site.add(rows)?;
            let zero =
                Tensor::from_values(ElementType::I32, vec![1], &[0.0]).map_err(|error| error.to_string())?;
            NewNode::new("ConstantOfShape", &[rows], "").with("value", Attribute::Tensor(zero))
        };
        site.finish(1, count)?;
    }
    if site.wants(2) {
        sum = site.finish(2, NewNode::new("Identity", &[sum], ""))?;
    }
    let (scale, bias) = (site.input(5)?, site.input(6)?);
    let node = NewNode::new("LayerNormalization", &[sum, scale, bias], "")
        .with("axis", Attribute::Int(-1))
        .with("epsilon", Attribute::Float(epsilon));
    site.finish(0, node).map(drop)
}

/// Group normalisation, its scale and bias by channel, and a SiLU if asked for; channels come last by default.
pub(super) fn group(site: &mut Site<'_, '_>) -> Result<(), String> {
    let x = site.input(0)?;
    grouped(site, x, 1, 2)
}

/// [`group`] of x + skip (+ bias), which is the second output.
pub(super) fn skip_group(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, skip) = (site.input(0)?, site.input(3)?);
    let mut sum = NewNode::new("Add", &[x, skip], "");
    if let Some(bias) = site.maybe(4) {
        let both = site.add(sum)?;
        sum = NewNode::new("Add", &[both, bias], "");
    }
    let sum = site.finish(1, sum)?;
    grouped(site, sum, 1, 2)
}

fn grouped(site: &mut Site<'_, '_>, x: ValueId, scale: usize, bias: usize) -> Result<(), String> {
    let (scale, bias) = (site.input(scale)?, site.input(bias)?);
    let (groups, epsilon) = (site.int("groups", 0)?, site.float("epsilon", 1e-5)?);
    let (last, activation) = (site.int("channels_last", 1)? != 0, site.int("activation", 0)?);
    let count = usize::try_from(groups).ok().filter(|count| (1..=1 << 20).contains(count));
    let count = count.ok_or_else(|| format!("{groups} groups make no sense"))?;
    let rank = site.rank(x)?;
    if rank < 3 {
        return Err(format!("a tensor of {rank} axes has no groups of channels"));
    }
    let x = if last { site.transpose(x, &channels_first(rank))? } else { x };
    let shape = site.op("Shape", &[x])?;
    let grouped = site.reshape(x, &[0, groups, -1])?;
    let element = site.element(x)?;
    let mut constant = |value: f64| -> Result<ValueId, String> {
        let tensor = Tensor::from_values(element, vec![count], &vec![value; count]);
        site.constant(tensor.map_err(|error| error.to_string())?)
    };
    let (one, zero) = (constant(1.0)?, constant(0.0)?);
    let normal = NewNode::new("InstanceNormalization", &[grouped, one, zero], "")
        .with("epsilon", Attribute::Float(epsilon));
    let normal = site.add(normal)?;
    let mut y = site.op("Reshape", &[normal, shape])?;
    let mut column = vec![1; rank - 1];
    column[0] = -1;
    for (operator, parameter) in [("Mul", scale), ("Add", bias)] {
        let parameter = site.cast(parameter, element)?;
        let parameter = site.reshape(parameter, &column)?;
        y = site.op(operator, &[y, parameter])?;
    }
    let end = match activation {
        0 => NewNode::new("Identity", &[y], ""),
        1 => NewNode::new("Swish", &[y], ""),
        other => return Err(format!("activation {other} is not known")),
    };
    if !last {
        return site.finish(0, end).map(drop);
    }
    let y = site.add(end)?;
    site.finish(0, transposed(y, &channels_last(rank))?).map(drop)
}
