//! Activations with their bias, and pooling with channels last.

use super::site::{Site, channels_first, channels_last, transposed};
use crate::node::{Attribute, NewNode};

fn by_tanh(node: NewNode) -> NewNode {
    node.with("approximate", Attribute::String("tanh".to_owned()))
}

/// x + bias (+ skip)
pub(super) fn bias_add(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, bias) = (site.input(0)?, site.input(1)?);
    match site.maybe(2) {
        None => site.done("Add", &[x, bias]),
        Some(skip) => {
            let sum = site.op("Add", &[x, bias])?;
            site.done("Add", &[sum, skip])
        }
    }
}

/// gelu(x + bias)
pub(super) fn bias_gelu(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, bias) = (site.input(0)?, site.input(1)?);
    let sum = site.op("Add", &[x, bias])?;
    site.done("Gelu", &[sum])
}

pub(super) fn gelu(site: &mut Site<'_, '_>) -> Result<(), String> {
    let x = site.input(0)?;
    site.done("Gelu", &[x])
}

/// gelu(x (+ bias)) in its form by tanh
pub(super) fn fast_gelu(site: &mut Site<'_, '_>) -> Result<(), String> {
    let mut x = site.input(0)?;
    if let Some(bias) = site.maybe(1) {
        x = site.op("Add", &[x, bias])?;
    }
    site.finish(0, by_tanh(NewNode::new("Gelu", &[x], ""))).map(drop)
}

/// x · σ(α·x)
pub(super) fn quick_gelu(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, alpha) = (site.input(0)?, site.float("alpha", 1.702)?);
    site.finish(0, NewNode::new("Swish", &[x], "").with("alpha", Attribute::Float(alpha))).map(drop)
}

/// left · gelu(right), the halves of x + bias along the last axis
pub(super) fn bias_split_gelu(site: &mut Site<'_, '_>) -> Result<(), String> {
    let (x, bias) = (site.input(0)?, site.input(1)?);
    let rank = site.rank(x)?;
    let last = rank.checked_sub(1).ok_or("the input has no axes")?;
    let size = site.size(x, last)?;
    let half = i64::try_from(size / 2).map_err(|_| "too many elements".to_owned())?;
    let sum = site.op("Add", &[x, bias])?;
    let mut halves = Vec::new();
    for (start, end) in [(0, half), (half, i64::MAX)] {
        let bounds = [site.integers(&[start])?, site.integers(&[end])?, site.integers(&[-1])?];
        halves.push(site.op("Slice", &[sum, bounds[0], bounds[1], bounds[2]])?);
    }
    let gate = site.op("Gelu", &[halves[1]])?;
    site.done("Mul", &[halves[0], gate])
}

/// `MaxPool` of [n, …, c].
pub(super) fn max_pool_channels_last(site: &mut Site<'_, '_>) -> Result<(), String> {
    let x = site.input(0)?;
    let rank = site.rank(x)?;
    let x = site.transpose(x, &channels_first(rank))?;
    let mut pool = NewNode::new("MaxPool", &[x], "");
    for name in ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"] {
        if let Some(value) = site.take(name) {
            pool.attributes.insert(name.to_owned(), value);
        }
    }
    let y = site.add(pool)?;
    site.finish(0, transposed(y, &channels_last(rank))?).map(drop)
}
