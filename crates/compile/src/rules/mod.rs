//! Rules: how a signal at a node's outputs becomes a signal at its inputs.
//!
//! One file a rule. A [`RuleMap`] chooses a rule by [`Kind`], never by an operator's name.

mod deconvnet;
mod gradient;
mod guided_backprop;

use std::fmt::Debug;

pub use deconvnet::Deconvnet;
pub use gradient::Gradient;
pub use guided_backprop::GuidedBackprop;

use crate::error::Result;
use crate::kind::{Kind, Role};
use crate::step::{Signals, Step};

/// How a signal passes a node.
pub trait Rule: Debug + Sync {
    /// Name, in kebab-case, as reports print it.
    fn name(&self) -> &'static str;

    /// The signals at the inputs, from those at the outputs.
    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>>;
}

/// Which rule meets which kind of operator.
#[derive(Debug, Clone, Copy)]
pub struct RuleMap {
    rectifier: &'static dyn Rule,
    other: &'static dyn Rule,
}

impl RuleMap {
    /// The derivative everywhere.
    pub const GRADIENT: Self = Self { rectifier: &Gradient, other: &Gradient };

    /// `rule` at rectifiers, the derivative elsewhere.
    pub const fn at_rectifiers(rule: &'static dyn Rule) -> Self {
        Self { rectifier: rule, other: &Gradient }
    }

    /// Whether it is the derivative everywhere.
    pub fn is_derivative(&self) -> bool {
        [self.rectifier, self.other].iter().all(|rule| rule.name() == Gradient.name())
    }

    /// The rule for a kind.
    pub fn rule(&self, kind: Kind) -> &'static dyn Rule {
        match kind {
            Kind::Elementwise(Role::Rectifier) => self.rectifier,
            _ => self.other,
        }
    }
}
