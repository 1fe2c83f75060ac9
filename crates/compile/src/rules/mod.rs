//! Rules: how a signal at a node's outputs becomes a signal at its inputs.
//!
//! One file a rule. A [`RuleMap`] chooses a rule for each node by what the node is to a rule ([`Kind`](crate::Kind)) and by where it
//! stands, never by an operator's name.

mod alpha_beta;
mod choose;
mod deconvnet;
mod epsilon;
mod flat;
mod gamma;
mod gate;
mod gradient;
mod guided_backprop;
mod norm;
mod parts;
mod pass;
mod rescale;
mod reveal_cancel;
mod spec;
mod w_square;
mod z_box;
mod z_plus;

use std::fmt::Debug;

pub use alpha_beta::AlphaBeta;
pub use choose::{Choice, Plan, Planned, RuleMap, Site, When};
pub use deconvnet::Deconvnet;
pub use epsilon::Epsilon;
pub use flat::Flat;
pub use gamma::Gamma;
pub use gate::Gate;
pub use gradient::Gradient;
pub use guided_backprop::GuidedBackprop;
pub use norm::Norm;
pub use pass::Pass;
pub use rescale::Rescale;
pub use reveal_cancel::RevealCancel;
pub(crate) use reveal_cancel::Sides;
pub use spec::{kind_named, kind_names, rule_named, rule_names};
pub use w_square::WSquare;
pub use z_box::{Bound, ZBox};
pub use z_plus::ZPlus;

use crate::error::Result;
use crate::step::{Signals, Step};

/// What a rule passes back that tells the positive from the negative part of a difference: m⁺ = whole + apart, and
/// m⁻ = whole − apart.
#[derive(Debug, Clone, Default)]
pub struct Parted<'g> {
    /// For each input of the node, the mean of both signals.
    pub whole: Signals<'g>,
    /// For each input, half of their difference; it may be shorter, and nothing is 0.
    pub apart: Signals<'g>,
}

impl<'g> From<Signals<'g>> for Parted<'g> {
    /// The same signal for both parts.
    fn from(whole: Signals<'g>) -> Self {
        Self { whole, apart: Vec::new() }
    }
}

/// How a signal passes a node. A rule may have parameters: it is a value of its own, shared by the nodes it meets.
pub trait Rule: Debug + Send + Sync {
    /// Name, in kebab-case, as reports print it.
    fn name(&self) -> &'static str;

    /// Name and parameters, as reports print them.
    fn describe(&self) -> String {
        self.name().to_owned()
    }

    /// The signals at the inputs, from those at the outputs.
    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>>;

    /// The signals for both parts of each input's difference from the baseline; the same for both unless a rule tells them
    /// apart. The walk asks this.
    fn parted<'g>(&self, step: &Step<'g>) -> Result<Parted<'g>> {
        self.backward(step).map(Parted::from)
    }

    /// Whether it asks for values on a baseline ([`Step::reference`]): the compiled graph then holds the model a second
    /// time, on it.
    fn compares(&self) -> bool {
        false
    }

    /// Why it does not pass a node, as far as is known before anything is appended; every such node is named in one error.
    fn refuses(&self, site: &Site<'_>) -> Option<String> {
        let _ = site;
        None
    }

    /// Why relevance may be lost or made at a node; `None` where what arrives is what leaves.
    fn breaks(&self, site: &Site<'_>) -> Option<&'static str> {
        let _ = site;
        None
    }
}
