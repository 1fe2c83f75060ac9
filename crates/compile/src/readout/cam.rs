//! Class activation maps: one number a position of a layer, from its activation a and the signal g that arrived there.
//!
//! Both are `[n, channels, …]`; a map is `[n, 1, …]`, at the layer's resolution and in the unit of its formula: nothing
//! is scaled to 0…1 here.

use pellucid_graph::Attribute;

use super::Seen;
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};

/// How a map is brought to another resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Between neighbours along each axis; pixels are areas, and the outermost are continued: half-pixel centres.
    Linear,
    /// The nearest element, as `floor(position · size / new size)`.
    Nearest,
}

/// Axes after rows and channels.
fn space(v: Var<'_>) -> Result<Vec<usize>> {
    Ok((2..v.rank()?).collect())
}

/// `max(0, Σ_c w_c · a_c)`
fn weighted<'g>(weights: Var<'g>, activation: Var<'g>) -> Var<'g> {
    (weights * activation).sum(&[1], Keep::Axes).relu()
}

/// Grad-CAM: `w_c` is the mean of g over space.
pub(super) fn channel_weighted<'g>(seen: &Seen<'_, 'g>) -> Result<Var<'g>> {
    Ok(weighted(seen.signal.mean(&space(seen.value)?, Keep::Axes), seen.value))
}

/// Grad-CAM++: `w_c = Σ α · max(0, g)`, α = g² / (2·g² + Σa · g³).
///
/// Where g > 0 the summand is g / (2 + Σa · g), and elsewhere 0: so nothing is divided by 0 where g is.
pub(super) fn positive_weighted<'g>(seen: &Seen<'_, 'g>) -> Result<Var<'g>> {
    let axes = space(seen.value)?;
    let positive = seen.signal.relu();
    let total = seen.value.sum(&axes, Keep::Axes);
    let weights = (positive / (positive * total + 2.0)).sum(&axes, Keep::Axes);
    Ok(weighted(weights, seen.value))
}

/// XGrad-CAM: `w_c` is the mean of g over space, each position weighted by its share of the channel: Σ a·g / Σ a. A
/// channel whose sum is 0 has no shares, and weight 0.
pub(super) fn share_weighted<'g>(seen: &Seen<'_, 'g>) -> Result<Var<'g>> {
    let axes = space(seen.value)?;
    let total = seen.value.sum(&axes, Keep::Axes);
    let empty = total.equals(total.scalar(0.0));
    let weights = (seen.value * seen.signal).sum(&axes, Keep::Axes) * (1.0 - empty) / (total + empty);
    Ok(weighted(weights, seen.value))
}

/// `HiResCAM`: `Σ_c a·g`, both signs.
pub(super) fn channel_sum<'g>(seen: &Seen<'_, 'g>) -> Var<'g> {
    (seen.value * seen.signal).sum(&[1], Keep::Axes)
}

/// `LayerCAM`: `max(0, Σ_c a · max(0, g))`.
pub(super) fn positive_channel_sum<'g>(seen: &Seen<'_, 'g>) -> Var<'g> {
    (seen.value * seen.signal.relu()).sum(&[1], Keep::Axes).relu()
}

/// A map `[n, 1, …]` at the spatial sizes `sizes`.
pub(crate) fn resized<'g>(map: Var<'g>, sizes: &[usize], interpolation: Interpolation) -> Result<Var<'g>> {
    let axes = space(map)?;
    let own = axes.iter().map(|axis| map.size(*axis)).collect::<Result<Vec<_>>>()?;
    if own == sizes {
        return Ok(map);
    }
    if own.len() != sizes.len() {
        return Err(CompileError::Setting(format!(
            "the layer's map has {} axes of space and the input has {}: name a layer with the input's space",
            own.len(),
            sizes.len()
        )));
    }
    let sizes: Vec<i64> = sizes.iter().copied().map(signed).collect();
    let builder = map.builder();
    let text = |value: &str| Attribute::String(value.to_owned());
    let (mode, grid) = match interpolation {
        Interpolation::Linear => ("linear", "half_pixel"),
        Interpolation::Nearest => ("nearest", "asymmetric"),
    };
    let mut attributes = vec![
        ("mode", text(mode)),
        ("coordinate_transformation_mode", text(grid)),
        ("axes", Attribute::Ints(axes.iter().map(|axis| signed(*axis)).collect())),
    ];
    if interpolation == Interpolation::Nearest {
        attributes.push(("nearest_mode", text("floor")));
    }
    let inputs = [Some(map), None, None, Some(builder.integers(&sizes))];
    Ok(builder.ops("Resize", &inputs, &attributes, 1)[0])
}
