//! Normalisations, and Softmax.

pub(super) mod difference;

use pellucid_graph::{Graph, Node};

use super::{Operator, scaling};
use crate::build::{Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::kind::Kind;
use crate::step::{Signals, Step, countable, position};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("BatchNormalization", scaling, batch_normalization).difference(difference::batch),
    Operator::new("GroupNormalization", normaliser, group_normalization).difference(difference::group),
    Operator::new("InstanceNormalization", normaliser, instance_normalization)
        .difference(difference::instance),
    Operator::new("LRN", normaliser, local_response).difference(difference::local),
    Operator::new("LayerNormalization", normaliser, layer_normalization).difference(difference::layer),
    Operator::new("LogSoftmax", weights, log_softmax).difference(difference::log_softmax),
    Operator::new("LpNormalization", normaliser, by_norm)
        .difference(difference::norm)
        .convention("undefined where the norm is 0: NaN"),
    Operator::new("MeanVarianceNormalization", normaliser, mean_variance)
        .difference(difference::mean_variance)
        .convention("undefined where the deviation is 0: NaN"),
    Operator::new("Softmax", weights, softmax).difference(difference::softmax),
];

fn normaliser(_: &Graph, _: &Node) -> Kind {
    Kind::Normaliser
}

fn weights(_: &Graph, _: &Node) -> Kind {
    Kind::Weights
}

/// A value by channel, shaped to broadcast with [n, c, …] of `rank` axes.
fn by_channel(v: Var<'_>, rank: usize) -> Var<'_> {
    let trailing: Vec<usize> = (1..rank - 1).collect();
    v.unsqueeze(&trailing)
}

/// In evaluation, y = (x − μ) · s / √(v + ε) + b with constant statistics; in training μ and v are the batch's own.
fn batch_normalization<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, scale, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let rank = x.rank()?;
    if rank < 2 {
        return Err(CompileError::Model(format!("the input has {rank} axes where at least 2 are needed")));
    }
    let epsilon = f64::from(s.node.float("epsilon", 1e-5));
    let axes: Vec<usize> = (0..rank).filter(|axis| *axis != 1).collect();
    let total = |v: Var<'g>| v.sum(&axes, Keep::None);
    if s.node.int("training_mode", 0) != 0 {
        if s.signal(1).is_some() || s.signal(2).is_some() {
            return Err(CompileError::Model("running statistics carry no signal".to_owned()));
        }
        return by_the_batch(s, x, scale, dy, epsilon);
    }
    let (mean, variance) = (s.x(3)?, s.x(4)?);
    let inverse = ((variance + epsilon).sqrt()).apply("Reciprocal");
    let centred = || x - by_channel(mean, rank);
    let dx = s.wants(0).then(|| dy * by_channel(scale * inverse, rank));
    let dscale = s.wants(1).then(|| total(dy * centred()) * inverse);
    let dmean = s.wants(3).then(|| -(total(dy) * scale * inverse));
    let dvariance = s.wants(4).then(|| total(dy * centred()) * scale * (inverse * inverse * inverse) * -0.5);
    Ok(vec![dx, dscale, s.wants(2).then(|| total(dy)), dmean, dvariance])
}

/// With c = x − μ, r = 1 / √(v + ε) and N numbers a channel: ds = r · Σ dy · c, db = Σ dy and
/// dx = s · r · (dy − Σ dy / N − c · r² · Σ (dy · c) / N).
fn by_the_batch<'g>(
    s: &Step<'g>,
    x: Var<'g>,
    scale: Var<'g>,
    dy: Var<'g>,
    epsilon: f64,
) -> Result<Signals<'g>> {
    let rank = x.rank()?;
    let axes: Vec<usize> = (0..rank).filter(|axis| *axis != 1).collect();
    let mean = |v: Var<'g>| v.mean(&axes, Keep::Axes);
    // With momentum 0 the node's other outputs are the batch's own mean and variance.
    let own = s.node.float("momentum", 0.9).abs() < f32::MIN_POSITIVE;
    let center = match s.output(1).filter(|_| own) {
        Some(center) => by_channel(center, rank),
        None => mean(x),
    };
    let centred = x - center;
    let variance = match s.output(2).filter(|_| own) {
        Some(variance) => by_channel(variance, rank),
        None => mean(centred * centred),
    };
    let inverse = (variance + epsilon).sqrt().apply("Reciprocal");
    let (mean_dy, along) = (mean(dy), mean(dy * centred));
    let dx = s.wants(0).then(|| {
        let factor = by_channel(scale, rank) * inverse;
        dy * factor - centred * (along * (factor * (inverse * inverse))) - mean_dy * factor
    });
    let count = || count_of(x, &axes);
    // Sums are means times their number, so that each is taken once.
    let dscale = if s.wants(1) { Some((along * inverse * count()?).reshape(&[-1])) } else { None };
    let dbias = if s.wants(2) { Some((mean_dy * count()?).reshape(&[-1])) } else { None };
    Ok(vec![dx, dscale, dbias, None, None])
}

/// How many numbers the axes hold, a scalar of x's element type.
fn count_of<'g>(x: Var<'g>, axes: &[usize]) -> Result<Var<'g>> {
    let shape = x.shape()?;
    let known = axes.iter().try_fold(1.0, |all, axis| Some(all * shape.get(*axis)?.size()? as f64));
    Ok(match known {
        Some(count) => x.scalar(count),
        None => x.apply("Size").cast(x.element()) / x.size(1)? as f64,
    })
}

/// (x − mean) / √(variance + ε) over some axes, and the factor that divides.
struct Normalized<'g> {
    value: Var<'g>,
    inverse: Var<'g>,
}

impl<'g> Normalized<'g> {
    fn over(x: Var<'g>, axes: &[usize], epsilon: f64) -> Self {
        let centred = x - x.mean(axes, Keep::Axes);
        let variance = (centred * centred).mean(axes, Keep::Axes);
        let inverse = (variance + epsilon).sqrt().apply("Reciprocal");
        Self { value: centred * inverse, inverse }
    }

    /// dx = r · (g − mean g − x̂ · mean(g · x̂))
    fn backward(&self, g: Var<'g>, axes: &[usize]) -> Var<'g> {
        let along = (g * self.value).mean(axes, Keep::Axes);
        self.inverse * (g - g.mean(axes, Keep::Axes) - self.value * along)
    }
}

/// y = x̂ · scale + bias, where x̂ is normalised over the axes from `axis` on.
fn layer_normalization<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    if s.signal(1).is_some() || s.signal(2).is_some() {
        return Err(CompileError::Model("the mean and deviation outputs carry no signal".to_owned()));
    }
    let (x, scale, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let rank = x.rank()?;
    let axes: Vec<usize> = (s.axis("axis", -1, rank)?..rank).collect();
    let normal = Normalized::over(x, &axes, f64::from(s.node.float("epsilon", 1e-5)));
    let dx = s.wants(0).then(|| normal.backward(dy * scale, &axes));
    let mut signals = vec![dx, s.wants(1).then(|| dy * normal.value)];
    if s.input_count() > 2 {
        signals.push(Some(dy));
    }
    Ok(signals)
}

/// As `LayerNormalization` over the spatial axes, with scale and bias by channel.
fn instance_normalization<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, scale, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let rank = x.rank()?;
    let axes: Vec<usize> = (2..rank).collect();
    let normal = Normalized::over(x, &axes, f64::from(s.node.float("epsilon", 1e-5)));
    let others: Vec<usize> = (0..rank).filter(|axis| *axis != 1).collect();
    let dx = s.wants(0).then(|| normal.backward(dy * by_channel(scale, rank), &axes));
    let dscale = s.wants(1).then(|| (dy * normal.value).sum(&others, Keep::None));
    Ok(vec![dx, dscale, s.wants(2).then(|| dy.sum(&others, Keep::None))])
}

/// As `InstanceNormalization`, over all that a group of channels holds, with scale and bias by group.
fn group_normalization<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, scale) = (s.x(0)?, s.x(1)?);
    let groups = s.node.int("num_groups", 1);
    let grouped = |v: Var<'g>| v.reshape(&[0, groups, -1]);
    let dy = grouped(s.dy()?);
    let normal = Normalized::over(grouped(x), &[2], f64::from(s.node.float("epsilon", 1e-5)));
    let dx = normal.backward(dy * scale.unsqueeze(&[1]), &[2]).reshape_like(x)?;
    let dscale = s.wants(1).then(|| (dy * normal.value).sum(&[0, 2], Keep::None));
    Ok(vec![Some(dx), dscale, s.wants(2).then(|| dy.sum(&[0, 2], Keep::None))])
}

/// Channels that a local response may look at: each becomes nodes.
const NEIGHBOURS: i64 = 1 << 10;

/// y = x / Sᵝ with S = k + α/size · Σ x² over neighbouring channels:
/// dx = dy / Sᵝ − 2·α·β/size · x · Σ dy · y / S, the sum over the channels that have this one as a neighbour.
fn local_response<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (s.x(0)?, s.y()?, s.dy()?);
    let size = s.node.int("size", 1);
    countable([size], NEIGHBOURS, "neighbouring channels")?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let (alpha, beta) = (f64::from(s.node.float("alpha", 1e-4)), f64::from(s.node.float("beta", 0.75)));
    let share = alpha / size as f64;
    let sum = neighbours(x * x, before, after)? * share + f64::from(s.node.float("bias", 1.0));
    let through = neighbours(dy * y / sum, after, before)? * (2.0 * share * beta);
    Ok(s.only_first(dy * sum.powf(-beta) - x * through))
}

/// Sums over the channels from `before` ahead of each to `after` behind it.
fn neighbours(v: Var<'_>, before: i64, after: i64) -> Result<Var<'_>> {
    let (rank, channels) = (v.rank()?, signed(v.size(1)?));
    let (mut low, mut high) = (vec![0; rank], vec![0; rank]);
    (low[1], high[1]) = (before, after);
    let padded = v.pad(&low, &high, 0.0);
    let mut sum = padded.slice(1, 0, channels, 1);
    for offset in 1..=before + after {
        sum = sum + padded.slice(1, offset, offset + channels, 1);
    }
    Ok(sum)
}

/// y = x / ‖x‖: dx = (dy − d · Σ dy · y) / ‖x‖, where d is the norm's derivative: y for p = 2, sign x for p = 1
fn by_norm<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (s.x(0)?, s.y()?, s.dy()?);
    let axes = [s.axis("axis", -1, x.rank()?)?];
    let along = (dy * y).sum(&axes, Keep::Axes);
    let (norm, slope) = if s.node.int("p", 2) == 1 {
        (x.apply("Abs").sum(&axes, Keep::Axes), x.apply("Sign"))
    } else {
        ((x * x).sum(&axes, Keep::Axes).sqrt(), y)
    };
    Ok(s.only_first((dy - slope * along) / norm))
}

/// y = (x − μ) / (σ + 10⁻⁹): dx = (dy − mean dy) / (σ + 10⁻⁹) − (x − μ) · mean(dy · (x − μ)) / (σ · (σ + 10⁻⁹)²)
fn mean_variance<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let rank = x.rank()?;
    let axes = spatial_axes(s, rank)?;
    let mean = |v: Var<'g>| v.mean(&axes, Keep::Axes);
    let centred = x - mean(x);
    let deviation = mean(centred * centred).sqrt();
    let divisor = deviation + 1e-9;
    let along = mean(dy * centred) / (deviation * (divisor * divisor));
    Ok(s.only_first((dy - mean(dy)) / divisor - centred * along))
}

/// dx = y · (dy − Σ dy · y)
fn softmax<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (y, dy) = (s.y()?, s.dy()?);
    let axis = s.axis("axis", -1, y.rank()?)?;
    Ok(vec![Some(y * (dy - (dy * y).sum(&[axis], Keep::Axes)))])
}

/// dx = dy − eʸ · Σ dy
fn log_softmax<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (y, dy) = (s.y()?, s.dy()?);
    let axis = s.axis("axis", -1, y.rank()?)?;
    Ok(vec![Some(dy - y.exp() * dy.sum(&[axis], Keep::Axes))])
}

/// The axes that a `MeanVarianceNormalization` looks along.
fn spatial_axes(s: &Step<'_>, rank: usize) -> Result<Vec<usize>> {
    match s.node.ints("axes") {
        Some(axes) => axes.iter().map(|axis| position(*axis, rank)).collect(),
        None => Ok(vec![0, 2, 3]),
    }
}
