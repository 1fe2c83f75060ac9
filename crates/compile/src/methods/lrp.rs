//! What all methods of layer-wise relevance propagation share: what meets operators that are no layer, and their keys. Not
//! a method.

use super::{Parameter, ParameterKind, Settings, Source};
use crate::error::Result;
use crate::kind::{Form, Kind};
use crate::method::{Method, Prepare, Seed};
use crate::rules::{
    AlphaBeta, Bound, Epsilon, Flat, Gamma, Gate, Gradient, Norm, Pass, RuleMap, When, ZBox, ZPlus,
};

/// ε of LRP-ε.
pub(super) const EPSILON: Parameter = Parameter {
    name: "epsilon",
    summary: "ε of LRP-ε, added to what a layer gives with its sign: larger values leave out weak contributions",
    kind: ParameterKind::Number { min: 1e-12, max: 1e6 },
    default: "1e-6",
};

/// γ of LRP-γ.
pub(super) const GAMMA: Parameter = Parameter {
    name: "gamma",
    summary: "γ of LRP-γ: contributions that agree in sign with a result count 1 + γ times",
    kind: ParameterKind::Number { min: 0.0, max: 1e6 },
    default: "0.25",
};

/// α of LRP-αβ.
pub(super) const ALPHA: Parameter = Parameter {
    name: "alpha",
    summary: "α of LRP-αβ: the weight of what raises a result; β + 1 where only beta is set",
    kind: ParameterKind::Number { min: 1.0, max: 1e6 },
    default: "2",
};

/// β of LRP-αβ.
pub(super) const BETA: Parameter = Parameter {
    name: "beta",
    summary: "β of LRP-αβ: the weight of what lowers a result; α − 1 where only alpha is set",
    kind: ParameterKind::Number { min: 0.0, max: 1e6 },
    default: "1",
};

/// What keeps denominators from 0.
pub(super) const STABILIZER: Parameter = Parameter {
    name: "stabilizer",
    summary: "added to the denominators of all other rules, with their sign, so that nothing is divided by 0",
    kind: ParameterKind::Number { min: 1e-12, max: 1e6 },
    default: "1e-6",
};

/// A file of rules.
pub(super) const RULES: Parameter = Parameter {
    name: "rules",
    summary: "a TOML file of rules that come before the method's own: tables [[rule]] with layer (a name, * and ? \
              standing for characters), kind, depth, first, and use, the rule, with its parameters",
    kind: ParameterKind::Text,
    default: "",
};

/// The lower bound of z^B.
pub(super) const LOW: Parameter = Parameter {
    name: "low",
    summary: "the smallest number that the first layer may take: one, or one a channel separated by commas; row is the \
              smallest of each row, image that of a picture after the model's preprocessing, the default where it has one",
    kind: ParameterKind::Numbers(&["row", "image"]),
    default: "row",
};

/// The upper bound of z^B.
pub(super) const HIGH: Parameter = Parameter {
    name: "high",
    summary: "the largest number that the first layer may take: one, or one a channel separated by commas; row is the \
              largest of each row, image that of a picture after the model's preprocessing, the default where it has one",
    kind: ParameterKind::Numbers(&["row", "image"]),
    default: "row",
};

/// What holds for every operator that is no layer, for the documentation.
pub(super) const CONVENTIONS: &str = "Relevance starts as the score, so that values are shares of it; the gap is what was lost or made on the way. Batch \
     normalisations behind a convolution or fully connected layer are folded into it first, and those in front of one that \
     does not pad; others pass relevance unchanged. Zennit folds those behind only. A constant added behind a convolution or fully connected layer is its bias. Activations (rectifiers, \
     SiLU, GELU, HardSwish, sigmoids), normalisations (LayerNorm and its kin, whose statistics count as constants), \
     softmax, factors and added constants pass relevance unchanged. Sums of several values, residual ones too, average \
     pooling, means and resizing share it in proportion to what each contributes (norm), so a residual sum gives each \
     branch its share, however it is written. Concatenation and other moves return it to where each number came from. \
     Max-pooling gives it to the maximum. Of a product of two values the signal takes all and its gate nothing \
     (squeeze-and-excite, attention weights); products without a gate share evenly. Rounding passes nothing. \
     First layers are those with no other layer \
     between them and the input, so several where a model begins with branches; Zennit takes the one module that is \
     defined first.";

/// The overview that composites follow.
pub(super) const OVERVIEW: Source = Source {
    authors: "G. Montavon, A. Binder, S. Lapuschkin, W. Samek, K.-R. Müller",
    year: 2019,
    title: "Layer-Wise Relevance Propagation: An Overview",
    id: "doi:10.1007/978-3-030-28954-6_10",
};

/// The evaluation that named composites with the flat rule.
pub(super) const BEST_PRACTICE: Source = Source {
    authors: "M. Kohlbrenner, A. Bauer, S. Nakajima, A. Binder, W. Samek, S. Lapuschkin",
    year: 2020,
    title: "Towards Best Practice in Explaining Neural Network Decisions with LRP",
    id: "arXiv:1910.09840",
};

/// The paper that named LRP.
pub(super) const FIRST: Source = Source {
    authors: "S. Bach, A. Binder, G. Montavon, F. Klauschen, K.-R. Müller, W. Samek",
    year: 2015,
    title: "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
    id: "doi:10.1371/journal.pone.0130140",
};

/// What meets operators that are no layer, behind what meets layers.
fn base(layers: RuleMap, stabilizer: f64) -> RuleMap {
    let (pass, norm, gate) = (Pass { stabilizer }, Norm { stabilizer }, Gate { stabilizer });
    let one = |form| When::All(vec![When::Kind(Kind::Linear(form)), When::OneSignal]);
    layers
        .with(When::Elementwise, pass)
        .with(When::Kind(Kind::Normaliser), pass)
        .with(When::Kind(Kind::Weights), pass)
        .with(When::Kind(Kind::Quantised), pass)
        .with(When::Kind(Kind::Linear(Form::Scale)), pass)
        .with(one(Form::Sum), pass)
        .with(one(Form::Difference), pass)
        .with(When::Kind(Kind::Linear(Form::Sum)), norm)
        .with(When::Kind(Kind::Linear(Form::Difference)), norm)
        .with(When::Kind(Kind::Linear(Form::Pool)), norm)
        .with(When::Kind(Kind::Bilinear), gate)
        .with(When::Kind(Kind::Quotient), gate)
        .with(When::Kind(Kind::Select), Gradient)
        .with(When::Kind(Kind::Move), Gradient)
        .with(When::Kind(Kind::Flat), Gradient)
        .joining_biases()
}

/// The method that `layers` makes of convolutions and fully connected layers, and everything else as by default.
pub(super) fn method(layers: RuleMap, settings: &Settings) -> Method {
    let rules = base(layers, stabilizer(settings)).before(settings.rules().to_vec());
    Method { prepare: Prepare::Fold, seed: Seed::Score, rules, ..Method::GRADIENT }
}

/// What is added to denominators.
pub(super) fn stabilizer(settings: &Settings) -> f64 {
    settings.number("stabilizer")
}

/// A convolution.
pub(super) fn convolution() -> When {
    When::Kind(Kind::Linear(Form::Convolution))
}

/// A fully connected layer.
pub(super) fn dense() -> When {
    When::Kind(Kind::Linear(Form::Dense))
}

/// A layer that takes the model's input.
pub(super) fn first(of: When) -> When {
    When::All(vec![When::First, of])
}

/// LRP-ε as set.
pub(super) fn epsilon(settings: &Settings) -> Epsilon {
    Epsilon { epsilon: settings.number("epsilon") }
}

/// LRP-γ as set.
pub(super) fn gamma(settings: &Settings) -> Gamma {
    Gamma { gamma: settings.number("gamma"), stabilizer: stabilizer(settings) }
}

/// LRP-αβ as set: one of α and β follows from the other.
pub(super) fn alpha_beta(settings: &Settings) -> Result<AlphaBeta> {
    let (mut alpha, mut beta) = (settings.number("alpha"), settings.number("beta"));
    match (settings.is_given("alpha"), settings.is_given("beta")) {
        (true, false) => beta = alpha - 1.0,
        (false, true) => alpha = beta + 1.0,
        _ => {}
    }
    if (alpha - beta - 1.0).abs() > 1e-9 {
        return Err(crate::error::CompileError::Setting(format!(
            "alpha={alpha} beta={beta}: expected α − β = 1, so that relevance is shared out: set one, the other follows"
        )));
    }
    Ok(AlphaBeta { alpha, beta, stabilizer: stabilizer(settings) })
}

/// z⁺ as set.
pub(super) fn z_plus(settings: &Settings) -> ZPlus {
    ZPlus { stabilizer: stabilizer(settings) }
}

/// αβ with α = 2, β = 1.
pub(super) fn alpha2_beta1(settings: &Settings) -> AlphaBeta {
    AlphaBeta { alpha: 2.0, beta: 1.0, stabilizer: stabilizer(settings) }
}

/// z^B as set.
pub(super) fn z_box(settings: &Settings) -> Result<ZBox> {
    let (low, high) = (bound(settings, "low")?, bound(settings, "high")?);
    Ok(ZBox { low, high, stabilizer: stabilizer(settings) })
}

fn bound(settings: &Settings, key: &str) -> Result<Bound> {
    match settings.text(key) {
        None | Some("row") => Ok(Bound::OfRow),
        Some("image") => Err(crate::error::CompileError::Setting(format!(
            "{key}=image: the model says no mean and scale of its preprocessing: give {key} as numbers"
        ))),
        Some(text) => Ok(Bound::Given(text.split(',').filter_map(|part| part.trim().parse().ok()).collect())),
    }
}

/// z⁺ for every layer.
pub(super) fn z_plus_everywhere(settings: &Settings) -> RuleMap {
    RuleMap::GRADIENT.with(When::Layer, z_plus(settings))
}

/// The flat rule for first layers.
pub(super) fn flat_first(settings: &Settings) -> RuleMap {
    RuleMap::GRADIENT.with(first(When::Layer), Flat { stabilizer: stabilizer(settings) })
}
