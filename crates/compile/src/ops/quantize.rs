//! Numbers as small integers and back: the straight-through estimator.
//!
//! Rounding is flat, and a quantised network would have no gradient at all. Its derivative is therefore taken as 1
//! (Bengio, Léonard and Courville 2013, arXiv:1308.3432), and everything else as it is: inside the range of the stored
//! type `QuantizeLinear` then `DequantizeLinear` is the identity, outside it is constant, and scales get what follows
//! from that (Esser et al. 2020, arXiv:1902.08153). Between the two, the signal of a stored number is a float.

use pellucid_graph::{ElementType, Graph, Node};

use super::Operator;
use crate::build::{Keep, Var};
use crate::error::{CompileError, Result};
use crate::kind::Kind;
use crate::step::{Signals, Step};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::new("DequantizeLinear", kind, dequantize),
    Operator::new("QuantizeLinear", kind, quantize).convention(
        "straight-through estimator: rounding has slope 1 inside the stored type's range, 0 outside",
    ),
];

fn kind(_: &Graph, _: &Node) -> Kind {
    Kind::Quantised
}

/// What scales and zero points of a node stand along.
struct Along {
    rank: usize,
    /// `None` where one number stands for all.
    axis: Option<usize>,
}

impl Along {
    fn of(s: &Step<'_>) -> Result<Self> {
        let (rank, scale) = (s.x(0)?.rank()?, s.x(1)?.shape()?);
        let one = scale.iter().all(|size| size.value() == Some(1));
        if scale.len() > 1 {
            return Err(CompileError::Model("scales in blocks are not known in this form".to_owned()));
        }
        Ok(Self { rank, axis: if one { None } else { Some(s.axis("axis", 1, rank)?) } })
    }

    /// A scale or zero point, shaped to broadcast.
    fn spread<'g>(&self, v: Var<'g>) -> Var<'g> {
        let mut shape = vec![1; self.rank];
        match self.axis {
            None => v.reshape(&[]),
            Some(axis) => {
                shape[axis] = -1;
                v.reshape(&shape)
            }
        }
    }

    /// A signal summed to one number a scale.
    fn total<'g>(&self, v: Var<'g>, scale: Var<'g>) -> Result<Var<'g>> {
        let axes: Vec<usize> = (0..self.rank).filter(|axis| Some(*axis) != self.axis).collect();
        v.sum(&axes, Keep::None).reshape_to(&scale.shape()?)
    }
}

/// y = (x − z) · s: dx = dy · s, ds = Σ dy · (x − z)
fn dequantize<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, scale, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let along = Along::of(s)?;
    let mut signals = vec![None; s.input_count()];
    if s.wants(0) {
        signals[0] = Some(dy * along.spread(scale));
    }
    if s.wants(1) {
        let mut stored = x.cast(dy.element());
        if let Some(zero) = s.input(2) {
            stored = stored - along.spread(zero).cast(dy.element());
        }
        signals[1] = Some(along.total(dy * stored, scale)?);
    }
    Ok(signals)
}

/// y = clamp(round(x / s) + z): dx = dy / s · [inside], ds = −Σ dy · x / s² · [inside]
fn quantize<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let (low, high) = range(s.y()?.element())?;
    let along = Along::of(s)?;
    let scale = along.spread(s.x(1)?);
    let mut rounded = (x / scale).apply("Round");
    if let Some(zero) = s.input(2) {
        rounded = rounded + along.spread(zero).cast(x.element());
    }
    let inside = rounded.at_least(rounded.scalar(low)) * rounded.at_most(rounded.scalar(high));
    let dx = dy * inside / scale;
    let mut signals = vec![None; s.input_count()];
    if s.wants(1) {
        signals[1] = Some(along.total(-(dx * x / scale), s.x(1)?)?);
    }
    signals[0] = Some(dx);
    Ok(signals)
}

/// Smallest and largest number of a stored type.
fn range(element: ElementType) -> Result<(f64, f64)> {
    Ok(match element {
        ElementType::U8 => (0.0, 255.0),
        ElementType::I8 => (-128.0, 127.0),
        ElementType::U16 => (0.0, 65_535.0),
        ElementType::I16 => (-32_768.0, 32_767.0),
        other => return Err(CompileError::Model(format!("nothing is quantised to {other}"))),
    })
}
