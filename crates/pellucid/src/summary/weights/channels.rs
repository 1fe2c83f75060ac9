//! Output channels of a parameter: their norms, and which are dead or repeat another.

use pellucid_graph::Tensor;

use super::numbers::pieces;
use super::{Place, Role};

/// Channels whose norm is below this share of the median channel's are dead.
const DEAD: f64 = 1e-6;

/// Channels that agree in direction beyond this cosine, and in norm to the same share, are duplicates.
const SAME: f64 = 1.0 - 1e-6;

/// Unit vectors of that cosine are at most √(2·1e-6) apart; their sums under random signs hardly ever six times as far.
const NEAR: f64 = 6.0 * 1.415e-3;

/// Pairs that are compared element by element; no model that learnt has as many that are near.
const PAIRS: usize = 1 << 17;

#[derive(Debug, Default)]
pub(super) struct Channels {
    pub(super) norms: Vec<f64>,
    pub(super) dead: Vec<usize>,
    pub(super) duplicates: Vec<(usize, usize)>,
}

/// Where a channel's elements lie: runs of `inner`, one in every `channels` runs.
#[derive(Debug, Clone, Copy)]
struct Layout {
    channels: usize,
    inner: usize,
}

impl Channels {
    /// Of a parameter of two axes or more, or of the factors of a normalisation; others have none.
    pub(super) fn of(tensor: &Tensor, place: Place) -> Self {
        let shape = tensor.shape();
        let wanted = shape.len() >= 2 || place.role == Role::Scale;
        let Some(channels) = shape.get(place.axis).copied().filter(|size| wanted && *size > 0) else {
            return Self::default();
        };
        let layout = Layout { channels, inner: shape[place.axis + 1..].iter().product::<usize>().max(1) };
        let (norms, projections) = projected(tensor, layout);
        let dead = dead(&norms);
        let comparable =
            shape.len() >= 2 && place.role.is_product() && (place.groups == 1 || place.axis == 0);
        let duplicates = if comparable {
            let members = channels.div_ceil(place.groups);
            duplicates(tensor, layout, &norms, &projections, members)
        } else {
            Vec::new()
        };
        Self { norms: if shape.len() >= 2 { norms } else { Vec::new() }, dead, duplicates }
    }
}

/// 1 or −1, without a pattern along `position`.
fn sign(position: usize) -> f64 {
    let mixed = (position as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    if mixed >> 63 == 1 { -1.0 } else { 1.0 }
}

/// The norm of every channel, and its sum under random signs divided by it. What is not finite counts as 0.
fn projected(tensor: &Tensor, layout: Layout) -> (Vec<f64>, Vec<f64>) {
    let mut norms = vec![0f64; layout.channels];
    let mut sums = vec![0f64; layout.channels];
    let length = (tensor.len() / layout.channels).max(1);
    let signs: Vec<f64> = (0..length).map(sign).collect();
    let (mut channel, mut within, mut outer) = (0, 0, 0);
    pieces(tensor, |mut piece| {
        while !piece.is_empty() {
            let (run, rest) = piece.split_at(piece.len().min(layout.inner - within));
            let signs = &signs[outer * layout.inner + within..];
            let (mut squares, mut sum) = (0f64, 0f64);
            for (value, sign) in run.iter().zip(signs).filter(|(value, _)| value.is_finite()) {
                let value = f64::from(*value);
                squares += value * value;
                sum += value * sign;
            }
            norms[channel] += squares;
            sums[channel] += sum;
            within += run.len();
            if within == layout.inner {
                (within, channel) = (0, channel + 1);
                if channel == layout.channels {
                    (channel, outer) = (0, outer + 1);
                }
            }
            piece = rest;
        }
    });
    for (norm, sum) in norms.iter_mut().zip(&mut sums) {
        *norm = norm.sqrt();
        *sum /= norm.max(f64::MIN_POSITIVE);
    }
    (norms, sums)
}

fn dead(norms: &[f64]) -> Vec<usize> {
    let mut sorted = norms.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    (0..norms.len()).filter(|channel| norms[*channel] <= DEAD * middle).collect()
}

/// The elements of a channel.
fn channel(tensor: &Tensor, layout: Layout, channel: usize) -> Vec<f32> {
    let width = tensor.element().size() * layout.inner;
    let runs = tensor.bytes().chunks_exact(width).skip(channel).step_by(layout.channels);
    let bytes: Vec<u8> = runs.flatten().copied().collect();
    let shape = vec![bytes.len() / tensor.element().size()];
    Tensor::new(tensor.element(), shape, bytes.into()).map_or_else(|_| Vec::new(), |tensor| tensor.to_f32())
}

/// Channels of the same norm and direction: neighbours in the order of their sums are compared, as duplicates must be.
/// Only channels of the same group, `members` each, see the same inputs.
fn duplicates(
    tensor: &Tensor,
    layout: Layout,
    norms: &[f64],
    projections: &[f64],
    members: usize,
) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..norms.len()).filter(|channel| norms[*channel] > 0.0).collect();
    order.sort_unstable_by(|a, b| projections[*a].total_cmp(&projections[*b]).then(a.cmp(b)));
    let mut of: Vec<Option<usize>> = vec![None; norms.len()];
    let mut compared = 0;
    for (place, first) in order.iter().enumerate() {
        if of[*first].is_some() {
            continue;
        }
        let mut elements = None;
        for second in &order[place + 1..] {
            if projections[*second] - projections[*first] > NEAR || compared == PAIRS {
                break;
            }
            let (low, high) = (norms[*first].min(norms[*second]), norms[*first].max(norms[*second]));
            if low < high * SAME || first / members != second / members || of[*second].is_some() {
                continue;
            }
            compared += 1;
            let elements = elements.get_or_insert_with(|| channel(tensor, layout, *first));
            let dot: f64 = elements
                .iter()
                .zip(channel(tensor, layout, *second))
                .map(|(a, b)| f64::from(*a) * f64::from(b))
                .sum();
            if dot >= SAME * norms[*first] * norms[*second] {
                of[*second] = Some(*first);
            }
        }
    }
    named_by_the_first(&of)
}

/// Each channel that repeats another, with the first of those that are the same.
fn named_by_the_first(of: &[Option<usize>]) -> Vec<(usize, usize)> {
    let mut first: Vec<usize> = (0..of.len()).collect();
    for (channel, other) in of.iter().enumerate() {
        if let Some(other) = other {
            first[*other] = first[*other].min(channel);
        }
    }
    let mut pairs = Vec::new();
    for (channel, other) in of.iter().enumerate() {
        let head = first[other.unwrap_or(channel)];
        if head != channel {
            pairs.push((channel, head));
        }
    }
    pairs
}
