//! `DeepLIFT`.

use super::{Claim, Definition, Form, Parameter, ParameterKind, Settings, Source};
use crate::method::Method;
use crate::readout::Readout;
use crate::rules::{Rescale, RevealCancel, RuleMap, When};

/// How differences pass rectifiers.
pub(super) const RULE: Parameter = Parameter {
    name: "rule",
    summary: "how a difference passes: rescale, by the slope of the chord; or reveal-cancel, its positive and negative \
              parts apart, for networks of linear operators and rectifiers only",
    kind: ParameterKind::Choice(&["rescale", "reveal-cancel"]),
    default: "rescale",
};

pub(super) const DEFINITION: Definition = Definition {
    name: "deeplift",
    summary: "How much each input number adds to what the score differs from that of a baseline, its difference followed \
              through every operator",
    formula: "A = m · (x − b), m = ∂f/∂x with each derivative of a nonlinear operator replaced by a quotient of \
              differences, Δy / Δx, so that Σ A = f(x) − f(b)",
    conventions: "The derivative stands in for Δy / Δx only where Δx is rounding, |Δx| ≤ 2⁻²⁰ · (|x| + |x₀|); Captum's \
                  threshold is 10⁻¹⁰ in any type, so that in float32 its quotients of rounding errors are of any size. \
                  A maximum over a window gives Δy to the element that is the greater of the two maxima, as Captum's rule \
                  for max-pooling; of several to that which is greatest on the other side, where Captum's takes the first: \
                  of max(x₁, x₂) at (1, 2) with the baseline (3, 3), A = (0, −1), there (−1, 0). Windows that overlap add \
                  up, where Captum keeps one: of max(x₁, x₂) + max(x₂, x₃) at (0, 2, 1) with the baseline 0 the score is \
                  4, here A = (0, 4, 0), there (0, 2, 0). Where one function of Captum's list directly follows another, \
                  the earlier is told the derivative of the later in place of its rule: of max(relu x₁, relu x₂) at \
                  (1, 0) with the baseline (0, 3) the score falls by 2, here A = (0, −2), there (1, 0). With a baseline of \
                  one number in each window both give the same. A product of signals, of attention too, is shared by the middles, \
                  Δ(a·b) = Δa · (b + b₀)/2 + Δb · (a + a₀)/2: of x·x at x = 3 with the baseline 1, A = 2 · 4 = 8 = 9 − 1, where \
                  Captum passes the derivative, 2 · 6 = 12, as it does at every function that is not a module of \
                  its list. Softmax is e^u with u = x − ln Σ eˣ, each piece exact; Captum's rule divides each Δy by \
                  its own Δx and takes a mean away: of the first of two at x = (1, 0) with the baseline 0 the score \
                  differs by 0.2311, here A = (0.2311, 0), there (0.2272, 0). rule=reveal-cancel, which Captum lacks, tells \
                  apart what raises and what lowers the input of a rectifier: of min(a, b) = a − max(0, a − b) at (3, 1) \
                  with the baseline 0, A = (1/2, 1/2), where rescale has (0, 1). Sums, factors and added constants between \
                  a layer and its rectifier count as the layer's; of another operator the error names every node.",
    source: Source {
        authors: "A. Shrikumar, P. Greenside, A. Kundaje",
        year: 2017,
        title: "Learning Important Features Through Propagating Activation Differences",
        id: "arXiv:1704.02685",
    },
    parameters: &[RULE],
    claims: &[Claim::Completeness, Claim::Linearity, Claim::Dummy],
    cost: "2 forward and 1 backward",
    signed: true,
    baseline: true,
    layer: false,
    form: Form::Compiled(|settings| Ok(lifted(settings))),
};

/// The rule that is set at every node, times what the input differs from the baseline.
pub(super) fn lifted(settings: &Settings) -> Method {
    let rules = match settings.text("rule") {
        Some("reveal-cancel") => RuleMap::GRADIENT.with(When::Always, RevealCancel),
        _ => RuleMap::GRADIENT.with(When::Always, Rescale),
    };
    Method { rules, readout: Readout::TimesDifference, ..Method::GRADIENT }
}
