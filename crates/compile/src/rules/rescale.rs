//! `DeepLIFT`'s rescale rule.

use super::Rule;
use crate::build::Var;
use crate::error::{CompileError, Result};
use crate::kind::Kind;
use crate::step::{Signals, Step};

/// Factors that carry a difference from a baseline through every operator: Σ m · Δx = dy · Δy at each node, so that
/// factor × difference at the inputs sums to the difference of the scores.
///
/// - linear operators: their derivative;
/// - an elementwise function: the slope of the chord, m = dy · Δy / Δx, and the derivative where Δx is rounding
///   (|Δx| ≤ 2⁻²⁰ · (|x| + |x₀|)); rectifiers in a form without cancellation, (y + y₀) / (|x| + |x₀|);
/// - a product of two signals, attention's among them: each factor's derivative at the middle of the other and its
///   reference, Δ(a·b) = Δa · (b + b₀)/2 + (a + a₀)/2 · Δb;
/// - quotients, normalisations, softmax, norms, powers: the exact difference of the pieces that they are made of;
/// - a maximum over a window: Δy goes to the element that is the greater of the two maxima, as in SHAP and Captum, but
///   windows that overlap add up.
///
/// Source: A. Shrikumar, P. Greenside, A. Kundaje (2017), Learning Important Features Through Propagating Activation
/// Differences, arXiv:1704.02685; as a modified derivative: M. Ancona, E. Ceolini, C. Öztireli, M. Gross (2018), Towards
/// better understanding of gradient-based attribution methods for Deep Neural Networks, arXiv:1711.06104.
#[derive(Debug, Clone, Copy)]
pub struct Rescale;

impl Rule for Rescale {
    fn name(&self) -> &'static str {
        "deeplift-rescale"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>> {
        if let Some(found) = step.difference() {
            return found;
        }
        match step.kind() {
            Kind::Bilinear => in_the_middle(step),
            Kind::Elementwise(_) | Kind::Quantised => chord(step),
            // A step has a chord too, where it is one number in, one number out.
            Kind::Flat if step.is_pointwise()? => chord(step),
            // What is linear is its own difference; what is flat and makes something else of its input has none.
            Kind::Linear(_) | Kind::Move | Kind::Flat => step.vjp(),
            kind @ (Kind::Quotient | Kind::Normaliser | Kind::Weights | Kind::Select) => {
                Err(CompileError::Model(format!("no exact difference is known of this {kind}")))
            }
        }
    }

    fn compares(&self) -> bool {
        true
    }
}

/// Linear in each of two inputs: the derivative where both are halfway from their references.
fn in_the_middle<'g>(step: &Step<'g>) -> Result<Signals<'g>> {
    let moved = (0..step.input_count())
        .filter(|index| step.input(*index).is_some_and(|input| step.is_moved(input)))
        .count();
    if moved > 2 + usize::from(step.bias().is_some()) {
        return Err(CompileError::Model(format!("{moved} of its factors depend on the input; two can")));
    }
    let middles: Vec<Option<Var<'g>>> =
        (0..step.input_count()).map(|index| step.input(index).map(|input| step.middle(input))).collect();
    step.on(&middles).vjp()
}

/// dy · Δy / Δx
fn chord<'g>(step: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (step.x(0)?, step.y()?, step.dy()?);
    let others = (1..step.input_count()).filter_map(|index| step.input(index));
    if others.into_iter().any(|other| step.is_moved(other)) {
        return Err(CompileError::Model("more than its first input depends on the input".to_owned()));
    }
    if x.shape()? != y.shape()? {
        return Err(CompileError::Model("its output has not the places of its input".to_owned()));
    }
    // The slope by itself: the derivative of a signal of ones.
    let ones = dy.scalar(1.0).expand_like(dy)?;
    let slope = step.with_signal(ones).vjp()?.into_iter().next().flatten();
    let slope = match slope {
        Some(slope) => slope,
        None => dy.scalar(0.0),
    };
    Ok(step.only_first(dy * step.chord(x, y, slope)))
}
