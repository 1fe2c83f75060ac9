//! Readouts: what is read off the signals at one point, appended to the graph. One function a readout.
//!
//! A method is points × statistic × rules × collect × readout. Every point's finished readout is what the statistic
//! takes, so a readout knows nothing of points.

use crate::build::{Keep, Var};
use crate::error::Result;

/// What is read off the signal at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readout {
    /// The signal.
    Signal,
    /// Signal × value.
    TimesInput,
    /// Signal × (value − baseline). The program gives the signal; who knows the baseline of a point multiplies.
    TimesDifference,
    /// max(0, Σ over channels of activation × spatial mean of the signal): [n, 1, …] of the layer.
    ChannelWeighted,
}

/// What a readout sees at one point: a value and the signal that arrived there, both `[n, …]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'g> {
    pub(crate) value: Var<'g>,
    pub(crate) signal: Var<'g>,
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
    pub(crate) fn append<'g>(self, seen: &Seen<'g>) -> Result<Var<'g>> {
        match self {
            Self::Signal | Self::TimesDifference => Ok(seen.signal),
            Self::TimesInput => Ok(times_input(seen)),
            Self::ChannelWeighted => channel_weighted(seen),
        }
    }
}

fn times_input<'g>(seen: &Seen<'g>) -> Var<'g> {
    seen.signal * seen.value
}

/// `max(0, Σ_c mean over space of the signal · activation)`, channels kept as an axis of size 1.
fn channel_weighted<'g>(seen: &Seen<'g>) -> Result<Var<'g>> {
    let space: Vec<usize> = (2..seen.value.rank()?).collect();
    let weights = seen.signal.mean(&space, Keep::Axes);
    Ok((weights * seen.value).sum(&[1], Keep::Axes).relu())
}
