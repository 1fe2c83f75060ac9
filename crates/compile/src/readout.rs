//! Readouts: what is read off the signals at one point, appended to the graph. One function a readout.
//!
//! A method is points × statistic × rules × collect × readout. Every point's finished readout is what the statistic
//! takes, so a readout knows nothing of points.

mod cam;
mod full_grad;

use crate::build::Var;
use crate::error::{CompileError, Result};

pub use cam::Interpolation;
pub use full_grad::FullGrad;
pub(crate) use full_grad::Terms;

/// What is read off the signal at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readout {
    /// The signal.
    Signal,
    /// Signal × value.
    TimesInput,
    /// Between neighbouring points of a path, ends included: the mean of the signals × the change of the value. The
    /// program gives the signal; who knows the points multiplies.
    TimesChange,
    /// Signal × what the value changes by as the inputs move from their baselines: ∂value/∂input · (input − baseline),
    /// the value's directional derivative. The differences are inputs of the program.
    TimesTangent,
    /// Signal × (value − baseline). The program multiplies where it holds the baseline; else it gives the signal, and who
    /// knows the baseline of a point multiplies.
    TimesDifference,
    /// Grad-CAM's: max(0, Σ over channels of activation × spatial mean of the signal), [n, 1, …] of the layer.
    ChannelWeighted,
    /// Grad-CAM++'s: as [`Readout::ChannelWeighted`], weighted by the sum of the signal's positive part, each position
    /// by its α.
    PositiveWeighted,
    /// XGrad-CAM's: as [`Readout::ChannelWeighted`], each position of the mean by its share of the activation.
    ShareWeighted,
    /// `HiResCAM`'s: Σ over channels of activation × signal, [n, 1, …] of the layer.
    ChannelSum,
    /// `LayerCAM`'s: max(0, Σ over channels of activation × the signal's positive part), [n, 1, …] of the layer.
    PositiveChannelSum,
    /// The value itself, for methods that need no signal.
    Value,
    /// Signal × Grad-CAM's map of the layer, brought to the value's resolution.
    TimesMap(Interpolation),
    /// `FullGrad`'s map: signal × value and the terms of every bias, [n, 1, …] at the value's resolution.
    FullGrad(FullGrad),
}

/// What a readout sees at one point: a value and the signal that arrived there, both `[n, …]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a, 'g> {
    pub(crate) value: Var<'g>,
    pub(crate) signal: Var<'g>,
    /// The value on the baseline, where the graph holds it.
    pub(crate) reference: Option<Var<'g>>,
    /// Grad-CAM's map of the layer, for readouts that take one.
    pub(crate) map: Option<Var<'g>>,
    /// The terms of biases, for readouts that take them.
    pub(crate) terms: Option<&'a Terms<'g>>,
    /// The directional derivative of the value, for readouts that take it.
    pub(crate) tangent: Option<Var<'g>>,
    /// Whether the value's channels stand behind its space.
    pub(crate) channels_last: bool,
}

impl<'g> Seen<'_, 'g> {
    /// A value and its signal, and nothing else.
    pub(crate) fn new(value: Var<'g>, signal: Var<'g>) -> Self {
        Self { value, signal, reference: None, map: None, terms: None, tangent: None, channels_last: false }
    }

    /// Sizes of the value's space, which must be known.
    fn space(&self) -> Result<Vec<usize>> {
        let rank = self.value.rank()?;
        let axes = if self.channels_last { 1..rank - 1 } else { 2..rank };
        axes.map(|axis| self.value.size(axis)).collect()
    }

    /// What has the value's axes, with channels in front of space.
    fn channels_first(&self, v: Var<'g>) -> Result<Var<'g>> {
        let rank = v.rank()?;
        let order: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        Ok(if self.channels_last { v.transpose(&order) } else { v })
    }

    /// What has channels in front of space, with the value's axes.
    fn as_value(&self, v: Var<'g>) -> Result<Var<'g>> {
        let order: Vec<usize> = [0].into_iter().chain(2..v.rank()?).chain([1]).collect();
        Ok(if self.channels_last { v.transpose(&order) } else { v })
    }
}

impl Readout {
    /// The same along a path or from drawn baselines: signals are multiplied by what the input differs from its
    /// baseline, as integrated gradients do.
    #[must_use]
    pub fn from_baseline(self) -> Self {
        match self {
            Self::Signal | Self::TimesInput => Self::TimesDifference,
            other => other,
        }
    }

    /// Appends the readout.
    pub(crate) fn append<'g>(self, seen: &Seen<'_, 'g>) -> Result<Var<'g>> {
        match self {
            Self::Signal | Self::TimesChange => Ok(seen.signal),
            Self::TimesDifference => Ok(match seen.reference {
                Some(reference) => seen.signal * (seen.value - reference),
                None => seen.signal,
            }),
            Self::TimesInput => Ok(times_input(seen)),
            Self::TimesTangent => match seen.tangent {
                Some(tangent) => Ok(seen.signal * tangent),
                None => Err(CompileError::Emitted("there is no direction".to_owned())),
            },
            Self::ChannelWeighted => cam::channel_weighted(seen),
            Self::PositiveWeighted => cam::positive_weighted(seen),
            Self::ShareWeighted => cam::share_weighted(seen),
            Self::ChannelSum => Ok(cam::channel_sum(seen)),
            Self::PositiveChannelSum => Ok(cam::positive_channel_sum(seen)),
            Self::Value => Ok(seen.value),
            Self::TimesMap(interpolation) => {
                let map = seen.map.ok_or_else(|| CompileError::Emitted("there is no map".to_owned()))?;
                Ok(seen.signal * seen.as_value(cam::resized(map, &seen.space()?, interpolation)?)?)
            }
            Self::FullGrad(form) => match seen.terms {
                Some(terms) => terms.map(seen, form),
                None => Err(CompileError::Emitted("there are no terms".to_owned())),
            },
        }
    }

    /// Whether it takes the signal: for the others no derivative needs to be known.
    pub(crate) fn takes_signal(self) -> bool {
        self != Self::Value
    }

    /// Whether it means something at any value, an input or a layer, whatever its axes are.
    pub fn is_of_any_value(self) -> bool {
        use Readout::{Signal, TimesChange, TimesDifference, TimesInput, TimesTangent};
        matches!(self, Signal | TimesInput | TimesDifference | TimesChange | TimesTangent)
    }

    /// Whether it takes the value's directional derivative.
    pub(crate) fn takes_tangent(self) -> bool {
        self == Self::TimesTangent
    }

    /// Whether it takes the terms of biases.
    pub(crate) fn takes_terms(self) -> bool {
        matches!(self, Self::FullGrad(_))
    }
}

fn times_input<'g>(seen: &Seen<'_, 'g>) -> Var<'g> {
    seen.signal * seen.value
}
