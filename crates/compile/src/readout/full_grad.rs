//! `FullGrad`: the score as input-gradient × input plus a term of every bias, and its maps.
//!
//! `f(x) = ∇f · x + Σ_b f_b`, `f_b = ∂f/∂b ⊙ b`: exact for networks of linear operators and rectifiers, and for any other
//! where the bias is what is left of a function after slope × input (the paper's implicit bias). A term that arises at
//! the positions of a feature map stays there; the others, those of fully connected layers, have no place.

use pellucid_graph::{Dim, Graph, ValueId};

use super::Seen;
use super::cam::{Interpolation, resized};
use crate::build::{Builder, Keep, Var, signed};
use crate::error::{CompileError, Result};
use crate::ops::{Rest, rest};
use crate::space::order;
use crate::step::{Signals, Step};

/// What `FullGrad`'s terms are made into, [n, 1, …] at the input's resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullGrad {
    /// The paper's map, each channel's magnitudes scaled to 0…1.
    ByChannel,
    /// The paper's map as its authors compute it, the magnitudes of all channels of a layer scaled together.
    ByLayer,
    /// Every term with its sign, where it arises; those without a place are spread evenly. Values sum to the score.
    Signed,
}

/// The terms of biases, as the walk finds them.
#[derive(Debug)]
pub(crate) struct Terms<'g> {
    builder: &'g Builder,
    /// For each value, which axis of `[n, channels, …]`, the input's, each of its axes is; `None` where they are other axes.
    orders: Vec<Option<Vec<usize>>>,
    rows: Dim,
    /// `[n, channels, …]`.
    placed: Vec<Var<'g>>,
    /// [n].
    unplaced: Vec<Var<'g>>,
}

impl<'g> Terms<'g> {
    /// No terms yet. `inputs` are what the score is explained by: one, with channels and space, `channels_last` or first.
    pub(crate) fn new(builder: &'g Builder, inputs: &[ValueId], channels_last: bool) -> Result<Self> {
        let [input] = inputs else {
            return Err(CompileError::Setting(format!(
                "full-grad explains by one floating-point input, and the model has {}: biases belong to none of them",
                inputs.len()
            )));
        };
        let shape = builder.var(*input).shape()?;
        if shape.len() < 3 {
            return Err(CompileError::Setting(format!(
                "full-grad needs an input with channels and space, [n, channels, …], and {:?} has shape {}: use \
                 input-x-gradient or integrated-gradients",
                builder.var(*input).name(),
                pellucid_graph::display_shape(&shape)
            )));
        }
        let rank = shape.len();
        let own = if channels_last {
            [0].into_iter().chain(2..rank).chain([1]).collect()
        } else {
            (0..rank).collect()
        };
        let orders = orders(&builder.graph(), *input, own);
        Ok(Self { builder, orders, rows: shape[0].clone(), placed: Vec::new(), unplaced: Vec::new() })
    }

    /// Adds what is left at a node.
    pub(crate) fn note(&mut self, step: &Step<'g>, found: &Signals<'g>) -> Result<()> {
        match rest(step, found)? {
            Rest::Nothing => Ok(()),
            Rest::Placed(term) => self.place(step, term),
            Rest::Total => {
                // Numbers of a quantised network are integers, their signals floats.
                let dy = step.dy()?;
                let mut total = self.by_row(dy * step.y()?.cast(dy.element()))?;
                for index in 1..step.node.outputs.len() {
                    if let (Some(signal), Some(output)) = (step.signal(index), step.output(index)) {
                        total = total + self.by_row(signal * output.cast(signal.element()))?;
                    }
                }
                for (index, signal) in found.iter().enumerate() {
                    if let (Some(signal), true) = (signal, step.wants(index)) {
                        total = total - self.by_row(*signal * step.x(index)?.cast(signal.element()))?;
                    }
                }
                self.unplaced.push(total);
                Ok(())
            }
        }
    }

    fn place(&mut self, step: &Step<'g>, term: Var<'g>) -> Result<()> {
        let y = step.y()?;
        let order = self.orders.get(y.id().index()).cloned().flatten();
        let (Some(order), true) = (order, term.shape()? == y.shape()?) else {
            self.unplaced.push(self.by_row(term)?);
            return Ok(());
        };
        // Where the axis of the input is in the value.
        let back: Vec<usize> =
            (0..order.len()).map(|axis| order.iter().position(|of| *of == axis).unwrap_or(axis)).collect();
        let turned = term.transpose(&back);
        if turned.shape()?[2..].iter().all(|dim| dim.value() == Some(1)) {
            self.unplaced.push(self.by_row(turned)?);
        } else {
            self.placed.push(turned);
        }
        Ok(())
    }

    /// Sums by row: [n].
    fn by_row(&self, v: Var<'g>) -> Result<Var<'g>> {
        let shape = v.shape()?;
        let others = |axis: usize| (0..shape.len()).filter(|other| *other != axis).collect::<Vec<_>>();
        if let Some(axis) = shape.iter().position(|dim| *dim == self.rows) {
            return Ok(v.sum(&others(axis), Keep::None));
        }
        // Windows and heads that were made rows: the numbers of one row still stand together.
        let count = shape.iter().try_fold(Dim::known(1), |count, dim| count.times(dim));
        match count.and_then(|count| count.exact_quotient(&self.rows)).and_then(|each| each.value()) {
            Some(each) => Ok(v.reshape(&[-1, each]).sum(&[1], Keep::None)),
            None => Err(CompileError::Model(format!(
                "which numbers of {:?}, of shape {}, belong to which row is not known: give the sizes of the inputs",
                v.name(),
                pellucid_graph::display_shape(&shape)
            ))),
        }
    }

    fn sum(&self, seen: &Seen<'_, 'g>) -> Result<Var<'g>> {
        let mut total = self.by_row(seen.signal * seen.value)?;
        for term in &self.placed {
            total = total + self.by_row(*term)?;
        }
        for term in &self.unplaced {
            total = total + *term;
        }
        Ok(total)
    }

    /// `score − ∇f · x − Σ_b f_b`, by row.
    pub(crate) fn gap(&self, seen: &Seen<'_, 'g>, score: Var<'g>) -> Result<Var<'g>> {
        Ok(score - self.sum(seen)?)
    }

    /// The map.
    pub(super) fn map(&self, seen: &Seen<'_, 'g>, form: FullGrad) -> Result<Var<'g>> {
        let contribution = seen.channels_first(seen.signal * seen.value)?;
        // Maps of one resolution are added before they are brought to the input's: both are linear.
        let mut sums: Vec<(Vec<Dim>, Var<'g>)> = Vec::new();
        let parts = std::iter::once(&contribution).chain(&self.placed);
        for part in parts {
            let scaled = match form {
                FullGrad::Signed => *part,
                FullGrad::ByChannel => scaled(*part, 2)?,
                FullGrad::ByLayer => scaled(*part, 1)?,
            };
            let map = scaled.sum(&[1], Keep::Axes);
            let space = map.shape()?[2..].to_vec();
            match sums.iter_mut().find(|(known, _)| *known == space) {
                Some((_, sum)) => *sum = *sum + map,
                None => sums.push((space, map)),
            }
        }
        let sizes = seen.space()?;
        let axes: Vec<usize> = (2..2 + sizes.len()).collect();
        let positions = sizes.iter().product::<usize>();
        let mut total: Option<Var<'g>> = None;
        for (_, map) in sums {
            let mut large = resized(map, &sizes, Interpolation::Linear)?;
            if form == FullGrad::Signed {
                // A sum over the small map is spread: what interpolation changed of it goes to every position alike.
                large = large * (signed(map_positions(map, &axes)?) as f64 / signed(positions) as f64);
                let lost = map.sum(&axes, Keep::Axes) - large.sum(&axes, Keep::Axes);
                large = large + lost / signed(positions) as f64;
            }
            total = Some(total.map_or(large, |total| total + large));
        }
        let mut total = total.ok_or_else(|| CompileError::Emitted("there is no term".to_owned()))?;
        if form == FullGrad::Signed && !self.unplaced.is_empty() {
            let mut rest = self.unplaced[0];
            for term in &self.unplaced[1..] {
                rest = rest + *term;
            }
            let after: Vec<usize> = (1..seen.value.rank()?).collect();
            total = total + rest.unsqueeze(&after) / signed(positions) as f64;
        }
        self.builder.check()?;
        Ok(total)
    }
}

fn map_positions(map: Var<'_>, axes: &[usize]) -> Result<usize> {
    axes.iter().map(|axis| map.size(*axis)).product()
}

/// |v|, its smallest value taken away, divided by what is then the largest, over the axes from `first` on.
fn scaled(v: Var<'_>, first: usize) -> Result<Var<'_>> {
    let builder = v.builder();
    let axes: Vec<usize> = (first..v.rank()?).collect();
    let reduced = |operator: &str, v| {
        let keep = pellucid_graph::Attribute::Int(1);
        builder.op(operator, &[v, builder.axes(&axes)], &[("keepdims", keep)])
    };
    let size = v.apply("Abs");
    let lifted = size - reduced("ReduceMin", size);
    let high = reduced("ReduceMax", lifted);
    Ok(lifted / (high + high.equals(high.scalar(0.0))))
}

/// For each value, which axis of `[n, channels, …]` each of its axes is; those of the input are `own`.
///
/// Axes keep their meaning through every node that keeps their number, Transpose moves them, and a Reshape that leaves
/// the axes of space at the end, or that moves axes of size 1, makes channels first; whatever else changes the number of
/// axes ends it.
fn orders(graph: &Graph, input: ValueId, own: Vec<usize>) -> Vec<Option<Vec<usize>>> {
    let rank = own.len();
    let mut orders: Vec<Option<Vec<usize>>> = vec![None; graph.values().len()];
    let mut depends = vec![false; graph.values().len()];
    orders[input.index()] = Some(own);
    depends[input.index()] = true;
    for id in graph.node_ids() {
        let node = graph.node(id);
        let carrying: Vec<ValueId> =
            node.inputs.iter().flatten().copied().filter(|input| depends[input.index()]).collect();
        let Some(first) = carrying.first() else { continue };
        let own = carrying.iter().find_map(|input| orders[input.index()].clone());
        let shape = |id: &ValueId| graph.value(*id).shape.clone();
        for output in node.outputs.iter().flatten() {
            depends[output.index()] = true;
            let Some(after) = shape(output).filter(|after| after.len() == rank) else { continue };
            let before = shape(first).unwrap_or_default();
            orders[output.index()] = match node.operator.as_str() {
                "Transpose" => own
                    .as_ref()
                    .and_then(|own| order(node, rank)?.iter().map(|axis| own.get(*axis).copied()).collect()),
                "Reshape" if before == after => own.clone(),
                "Reshape" => {
                    let space = rank - 2;
                    let first = own.as_ref().is_none_or(|own| own.iter().copied().eq(0..rank));
                    let kept = first && before.len() >= space && before[before.len() - space..] == after[2..];
                    let moved = || own.as_ref().is_some_and(|own| one_is_moved(&before, &after, own));
                    (kept || moved()).then(|| (0..rank).collect())
                }
                _ => own.clone(),
            };
        }
    }
    orders
}

/// Whether a Reshape of values whose axes are `own` of `[n, 1, …]` only brings the one channel to its place.
fn one_is_moved(before: &[Dim], after: &[Dim], own: &[usize]) -> bool {
    let Some(channels) = own.iter().position(|axis| *axis == 1) else { return false };
    if before.len() != own.len() {
        return false;
    }
    let mut turned = before.to_vec();
    let one = turned.remove(channels);
    turned.insert(1, one.clone());
    one.value() == Some(1) && turned == after
}
