//! `DeepLIFT`'s `RevealCancel` rule.

use std::collections::HashMap;

use pellucid_graph::ValueId;

use super::parts::Layer;
use super::{Parted, Rule, Site};
use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::kind::{Form, Kind, Role};
use crate::reference::NOISE;
use crate::step::{Known, Signals, Step};

/// Factors that carry the positive and the negative part of a difference from a baseline apart, so that parts that
/// cancel at a rectifier show. With Δx = Δx⁺ + Δx⁻ at a rectifier y = r(x), the parts being the sums of what raises
/// and of what lowers x among the terms of the linear operator before it:
///
/// - Δy⁺ = ½ (r(x₀ + Δx⁺) − r(x₀)) + ½ (r(x₀ + Δx⁺ + Δx⁻) − r(x₀ + Δx⁻)), Δy⁻ the same with the parts exchanged;
/// - m⁺ = dy · Δy⁺ / Δx⁺ and m⁻ = dy · Δy⁻ / Δx⁻, and half the sum of the slopes at x and x₀ where a part is rounding;
/// - at a convolution or fully connected layer an input u gets Σ w · m⁺ over the results that w · Δu raises, and
///   Σ w · m⁻ over those that it lowers; half of both where Δu is 0.
///
/// Both signals travel as their mean and half of their difference, m± = s ± d: with that, an input of a layer gets
/// Wᵀs + sign(Δu) · |W|ᵀd. Sums of several values, factors, added constants and moves pass both on, as if they were one
/// with the layers before them, so that a bias added by a node of its own or a folded normalisation changes nothing.
/// Other operators are refused.
///
/// Source: A. Shrikumar, P. Greenside, A. Kundaje (2017), Learning Important Features Through Propagating Activation
/// Differences, arXiv:1704.02685, sections 3.5.1 and 3.5.3.
#[derive(Debug, Clone, Copy)]
pub struct RevealCancel;

/// What was computed of values for this rule, so that it is computed once.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    /// Δ's sign: −1, 0 or 1.
    signs: HashMap<ValueId, ValueId>,
    /// Δ⁺ − Δ⁻; `None` where the value is the same on the baseline.
    spreads: HashMap<ValueId, Option<ValueId>>,
}

impl Rule for RevealCancel {
    fn name(&self) -> &'static str {
        "deeplift-reveal-cancel"
    }

    /// One signal for both parts of each input: m⁺ where its difference is positive, m⁻ where it is negative.
    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        let Parted { whole, apart } = self.parted(step)?;
        let apart = apart.into_iter().chain(std::iter::repeat(None));
        let joined = whole.into_iter().zip(apart).enumerate().map(|(index, (whole, apart))| {
            let Some((whole, input)) = whole.zip(step.input(index)) else { return Ok(None) };
            let apart = apart.map(|apart| apart.fit(input)).transpose()?;
            Ok(Some(step.known.joined(input, whole.fit(input)?, apart)))
        });
        joined.collect()
    }

    fn parted<'g>(&self, step: &Step<'g>) -> Result<Parted<'g>> {
        match step.kind() {
            Kind::Elementwise(Role::Rectifier) => rectifier(step),
            Kind::Linear(Form::Convolution | Form::Dense) => layer(step).map(Parted::from),
            Kind::Linear(Form::Sum | Form::Difference) => sum(step),
            Kind::Linear(Form::Scale) => scale(step),
            Kind::Linear(Form::Pool) if step.apart(0).is_none() => step.vjp().map(Parted::from),
            Kind::Linear(Form::Pool) => Err(CompileError::Model(between(Kind::Linear(Form::Pool)))),
            Kind::Move => Ok(Parted { whole: step.vjp()?, apart: apart_through(step)? }),
            // What measures sizes and compares carries nothing.
            Kind::Flat => step.vjp().map(Parted::from),
            kind => Err(CompileError::Model(neither(kind))),
        }
    }

    fn compares(&self) -> bool {
        true
    }

    fn refuses(&self, site: &Site<'_>) -> Option<String> {
        let refused = match site.kind {
            Kind::Elementwise(role) => role != Role::Rectifier,
            Kind::Linear(_) | Kind::Move => false,
            // A step function would have to be followed.
            Kind::Flat => site.is_pointwise(),
            Kind::Bilinear
            | Kind::Quotient
            | Kind::Normaliser
            | Kind::Weights
            | Kind::Select
            | Kind::Quantised => true,
        };
        refused.then(|| neither(site.kind))
    }
}

fn neither(kind: Kind) -> String {
    format!(
        "reveal-cancel is of linear operators and rectifiers, and this {kind} is neither: use rule=rescale"
    )
}

fn between(kind: Kind) -> String {
    format!(
        "reveal-cancel does not know what raises and what lowers the result of this {kind} before a rectifier"
    )
}

/// Both parts of a rectifier's difference, of which each part of its input's makes one.
fn rectifier<'g>(step: &Step<'g>) -> Result<Parted<'g>> {
    let (x, y) = (step.x(0)?, step.y()?);
    let others = (1..step.input_count()).filter_map(|index| step.input(index));
    if others.into_iter().any(|other| step.is_moved(other)) {
        return Err(CompileError::Model("more than its first input depends on the input".to_owned()));
    }
    let dy = step.known.joined(y, step.dy()?, step.apart(0));
    let (x0, y0) = (step.reference(x), step.reference(y));
    let Some(spread) = step.spread(x)? else { return Ok(Parted::from(vec![None; step.input_count()])) };
    let on = |x: Var<'g>| {
        let inputs: Vec<_> = (0..step.input_count())
            .map(|index| if index == 0 { Some(x) } else { step.input(index) })
            .collect();
        step.replay(&inputs)
    };
    let difference = x - x0;
    let (up, down) = ((spread + difference) * 0.5, (difference - spread) * 0.5);
    let (raised, lowered) = (on(x0 + up)?.y()?, on(x0 + down)?.y()?);
    let ones = dy.scalar(1.0).expand_like(dy)?;
    let slope_of = |at: &Step<'g>| -> Result<Var<'g>> {
        let found = at.with_signal(ones).vjp()?.into_iter().next().flatten();
        Ok(found.unwrap_or_else(|| dy.scalar(0.0)))
    };
    let slope = (slope_of(step)? + slope_of(&on(x0)?)?) * 0.5;
    let noise = (x.apply("Abs") + x0.apply("Abs") + spread) * NOISE;
    let factor = |part: Var<'g>, change: Var<'g>| {
        let apart = x.builder().op("Greater", &[part.apply("Abs"), noise], &[]);
        apart.choose(change / part, slope)
    };
    let positive = factor(up, ((raised - y0) + (y - lowered)) * 0.5);
    let negative = factor(down, ((lowered - y0) + (y - raised)) * 0.5);
    let first = |signal: Var<'g>| step.only_first(dy * signal * 0.5);
    Ok(Parted { whole: first(positive + negative), apart: first(positive - negative) })
}

/// Wᵀs + sign(Δu) · |W|ᵀd
fn layer<'g>(step: &Step<'g>) -> Result<Signals<'g>> {
    let whole = step.vjp()?;
    let Some(apart) = step.apart(0) else { return Ok(whole) };
    let layer = Layer::of(step)?;
    let weights = layer.w.apply("Abs");
    let back = layer.on(layer.x, weights, None)?.back(apart)?;
    let by_sign = layer.signals(step.known.sign(layer.x) * back);
    Ok(added(whole, by_sign))
}

/// Each term raises or lowers the sum as it itself rises or falls, what is taken away the other way round.
fn sum<'g>(step: &Step<'g>) -> Result<Parted<'g>> {
    let mut apart = apart_through(step)?;
    if step.kind() == Kind::Linear(Form::Difference)
        && let Some(Some(second)) = apart.get_mut(1)
    {
        *second = -*second;
    }
    Ok(Parted { whole: step.vjp()?, apart })
}

/// What the derivative passes of the halves, where some arrived.
fn apart_through<'g>(step: &Step<'g>) -> Result<Signals<'g>> {
    if step.apart.iter().all(Option::is_none) { Ok(Vec::new()) } else { step.of_apart().vjp() }
}

/// A negative factor exchanges what raises and what lowers.
fn scale<'g>(step: &Step<'g>) -> Result<Parted<'g>> {
    let whole = step.vjp()?;
    let Some(apart) = step.apart(0) else { return Ok(Parted::from(whole)) };
    let slopes = slopes(step)?;
    let apart = slopes.into_iter().map(|slope| Some(slope?.apply("Abs") * apart)).collect();
    Ok(Parted { whole, apart })
}

/// The derivative of each number that is made by what it is made of, for operators that work by place.
fn slopes<'g>(step: &Step<'g>) -> Result<Signals<'g>> {
    let y = step.y()?;
    step.with_signal(y.scalar(1.0).expand_like(y)?).vjp()
}

fn added<'g>(first: Signals<'g>, second: Signals<'g>) -> Signals<'g> {
    let sum = |(first, second): (Option<Var<'g>>, Option<Var<'g>>)| match (first, second) {
        (Some(first), Some(second)) => Some(first + second),
        (first, second) => first.or(second),
    };
    first.into_iter().zip(second).map(sum).collect()
}

impl Known {
    /// One signal for both parts of a value's difference, of which one part is all of it: s + sign(Δ) · d.
    pub(crate) fn joined<'g>(&self, value: Var<'g>, whole: Var<'g>, apart: Option<Var<'g>>) -> Var<'g> {
        match apart {
            Some(apart) => whole + self.sign(value) * apart,
            None => whole,
        }
    }

    /// −1, 0 or 1: the sign of what a value differs from its reference, 0 where that is rounding.
    fn sign<'g>(&self, value: Var<'g>) -> Var<'g> {
        let builder = value.builder();
        if let Some(known) = self.sides.borrow().signs.get(&value.id()) {
            return builder.var(*known);
        }
        let reference = builder.var(builder.reference(value.id()));
        let difference = value - reference;
        let noise = (value.apply("Abs") + reference.apply("Abs")) * NOISE;
        let sign = difference.above(noise) - difference.below(-noise);
        self.sides.borrow_mut().signs.insert(value.id(), sign.id());
        sign
    }
}

impl<'g> Step<'g> {
    /// Δ⁺ − Δ⁻ of a value, at least 0: how far apart what raises it and what lowers it are. `None` where it is the same
    /// on the baseline.
    fn spread(&self, value: Var<'g>) -> Result<Option<Var<'g>>> {
        if !self.is_moved(value) {
            return Ok(None);
        }
        if let Some(known) = self.known.sides.borrow().spreads.get(&value.id()) {
            return Ok(known.map(|id| self.builder.var(id)));
        }
        let spread = self.spread_of(value)?;
        self.known.sides.borrow_mut().spreads.insert(value.id(), spread.map(Var::id));
        Ok(spread)
    }

    fn spread_of(&self, value: Var<'g>) -> Result<Option<Var<'g>>> {
        let whole = || Ok(Some(self.known.sign(value) * (value - self.reference(value))));
        let producer = self.builder.graph().producer_of(value.id());
        let Some(producer) = producer.filter(|_| !self.known.ends.contains(&value.id())) else {
            return whole();
        };
        let step = self.of_node(producer)?;
        match step.kind() {
            // What a layer takes, and what a rectifier gives, is one difference.
            Kind::Elementwise(Role::Rectifier) => whole(),
            Kind::Linear(Form::Convolution | Form::Dense) => {
                let layer = Layer::of(&step)?;
                let x = self.known.sign(layer.x) * (layer.x - step.reference(layer.x));
                Ok(Some(layer.on(x, layer.w.apply("Abs"), None)?.y))
            }
            Kind::Linear(Form::Sum | Form::Difference) => {
                let terms = (0..step.input_count()).filter_map(|index| step.input(index));
                let mut sum = None;
                for term in terms {
                    let Some(spread) = step.spread(term)? else { continue };
                    sum = Some(sum.map_or(spread, |before: Var<'g>| before + spread));
                }
                sum.map(|sum| sum.expand_like(value)).transpose()
            }
            Kind::Linear(Form::Scale) => {
                let slopes = Step { wanted: vec![true; step.input_count()], ..step.clone() };
                let slopes = slopes_of_moved(&slopes)?;
                let Some((input, slope)) = slopes else { return Ok(None) };
                let Some(spread) = step.spread(input)? else { return Ok(None) };
                (slope.apply("Abs") * spread).expand_like(value).map(Some)
            }
            Kind::Move => {
                let index = step.node.outputs.iter().position(|output| *output == Some(value.id()));
                step.moved_spread(index.unwrap_or_default()).map(Some)
            }
            kind => {
                let name = value.name();
                Err(CompileError::Model(format!("{} (value {name:?})", between(kind))))
            }
        }
    }

    /// An output of a node that moves numbers, of the spreads of what it moves.
    fn moved_spread(&self, output: usize) -> Result<Var<'g>> {
        let mut inputs = Vec::new();
        for index in 0..self.input_count() {
            let Some(input) = self.input(index) else {
                inputs.push(None);
                continue;
            };
            let spread = self.spread(input)?;
            inputs.push(Some(match spread {
                Some(spread) => spread,
                // What is moved from elsewhere does not differ; sizes and places stay.
                None if input.element().is_float() => input.zeros_like()?,
                None => input,
            }));
        }
        let found = self.replay(&inputs)?.output(output);
        found.ok_or_else(|| CompileError::Emitted("a moved value has no output".to_owned()))
    }
}

/// The one input that differs on the baseline, and the derivative by it.
fn slopes_of_moved<'g>(step: &Step<'g>) -> Result<Option<(Var<'g>, Var<'g>)>> {
    let found = slopes(step)?;
    let moved = found.into_iter().enumerate().find_map(|(index, slope)| {
        let input = step.input(index)?;
        Some((input, slope?)).filter(|_| step.is_moved(input))
    });
    Ok(moved)
}
