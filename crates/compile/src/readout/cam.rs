//! Class activation maps: one number a position of a layer, from its activation a and the signal g that arrived there.
//!
//! Both are `[n, channels, …]`; a map is `[n, 1, …]`, at the layer's resolution and in the unit of its formula: nothing
//! is scaled to 0…1 here.

use super::Seen;
use crate::build::{Keep, Var};
use crate::error::Result;

/// Axes after rows and channels.
fn space(v: Var<'_>) -> Result<Vec<usize>> {
    Ok((2..v.rank()?).collect())
}

/// `max(0, Σ_c w_c · a_c)`
fn weighted<'g>(weights: Var<'g>, activation: Var<'g>) -> Var<'g> {
    (weights * activation).sum(&[1], Keep::Axes).relu()
}

/// Grad-CAM: w_c is the mean of g over space.
pub(super) fn channel_weighted<'g>(seen: &Seen<'g>) -> Result<Var<'g>> {
    Ok(weighted(seen.signal.mean(&space(seen.value)?, Keep::Axes), seen.value))
}

/// Grad-CAM++: w_c = Σ α · max(0, g), α = g² / (2·g² + Σa · g³).
///
/// Where g > 0 the summand is g / (2 + Σa · g), and elsewhere 0: so nothing is divided by 0 where g is.
pub(super) fn positive_weighted<'g>(seen: &Seen<'g>) -> Result<Var<'g>> {
    let axes = space(seen.value)?;
    let positive = seen.signal.relu();
    let total = seen.value.sum(&axes, Keep::Axes);
    let weights = (positive / (positive * total + 2.0)).sum(&axes, Keep::Axes);
    Ok(weighted(weights, seen.value))
}

/// XGrad-CAM: w_c is the mean of g over space, each position weighted by its share of the channel: Σ a·g / Σ a. A
/// channel whose sum is 0 has no shares, and weight 0.
pub(super) fn share_weighted<'g>(seen: &Seen<'g>) -> Result<Var<'g>> {
    let axes = space(seen.value)?;
    let total = seen.value.sum(&axes, Keep::Axes);
    let empty = total.equals(total.scalar(0.0));
    let weights = (seen.value * seen.signal).sum(&axes, Keep::Axes) * (1.0 - empty) / (total + empty);
    Ok(weighted(weights, seen.value))
}

/// `HiResCAM`: Σ_c a·g, both signs.
pub(super) fn channel_sum<'g>(seen: &Seen<'g>) -> Var<'g> {
    (seen.value * seen.signal).sum(&[1], Keep::Axes)
}

/// `LayerCAM`: max(0, Σ_c a · max(0, g)).
pub(super) fn positive_channel_sum<'g>(seen: &Seen<'g>) -> Var<'g> {
    (seen.value * seen.signal.relu()).sum(&[1], Keep::Axes).relu()
}
