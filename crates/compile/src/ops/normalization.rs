//! Normalisations, and Softmax.

use pellucid_graph::{Graph, Node};

use super::{Operator, linear};
use crate::build::{Keep, Var};
use crate::error::{CompileError, Result};
use crate::kind::Kind;
use crate::step::{Signals, Step};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("BatchNormalization", linear, batch_normalization),
    Operator::new("InstanceNormalization", normaliser, instance_normalization),
    Operator::new("LayerNormalization", normaliser, layer_normalization),
    Operator::new("LogSoftmax", weights, log_softmax),
    Operator::new("Softmax", weights, softmax),
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
        let normal = Normalized::over(x, &axes, epsilon);
        let dx = normal.backward(dy * by_channel(scale, rank), &axes);
        let dscale = s.wants(1).then(|| total(dy * normal.value));
        return Ok(vec![Some(dx), dscale, s.wants(2).then(|| total(dy)), None, None]);
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
