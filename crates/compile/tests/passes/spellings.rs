//! How exporters and people spell the canonical functions.

use pellucid_compile::{Keep, Var};
use pellucid_graph::{Attribute, ElementType};

pub(crate) type Formula = for<'g> fn(Var<'g>) -> Var<'g>;

/// A spelling: what it is, the pieces, and the operators that are left after raising.
pub(crate) struct Spelling {
    pub(crate) name: &'static str,
    pub(crate) formula: Formula,
    pub(crate) raised: &'static [(&'static str, usize)],
}

const fn spelling(
    name: &'static str,
    raised: &'static [(&'static str, usize)],
    formula: Formula,
) -> Spelling {
    Spelling { name, formula, raised }
}

const SWISH: &[(&str, usize)] = &[("Swish", 1)];
const GELU: &[(&str, usize)] = &[("Gelu", 1)];
const MISH: &[(&str, usize)] = &[("Mish", 1)];
const HARD_SWISH: &[(&str, usize)] = &[("HardSwish", 1)];
const HARD_SIGMOID: &[(&str, usize)] = &[("HardSigmoid", 1)];
const CLIP: &[(&str, usize)] = &[("Clip", 1)];
const SOFTPLUS: &[(&str, usize)] = &[("Softplus", 1)];
const LEAKY: &[(&str, usize)] = &[("LeakyRelu", 1)];
const ELU: &[(&str, usize)] = &[("Elu", 1), ("Identity", 1)];
const LAYER_NORM: &[(&str, usize)] = &[("LayerNormalization", 1)];

const ROOT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
const ROOT_TWO: f64 = std::f64::consts::SQRT_2;

/// √(2/π)
fn slope() -> f64 {
    std::f64::consts::FRAC_2_PI.sqrt()
}

pub(crate) fn erf(x: Var<'_>) -> Var<'_> {
    x.apply("Erf")
}

pub(crate) fn tanh(x: Var<'_>) -> Var<'_> {
    x.apply("Tanh")
}

pub(crate) fn clip(x: Var<'_>, low: f64, high: f64) -> Var<'_> {
    x.builder().op("Clip", &[x, x.scalar(low), x.scalar(high)], &[])
}

pub(crate) fn one_element<'g>(x: Var<'g>, shape: &[usize], number: f64) -> Var<'g> {
    x.builder().values(x.element(), shape.to_vec(), &[number])
}

fn max<'g>(a: Var<'g>, b: Var<'g>) -> Var<'g> {
    a.builder().op("Max", &[a, b], &[])
}

fn min<'g>(a: Var<'g>, b: Var<'g>) -> Var<'g> {
    a.builder().op("Min", &[a, b], &[])
}

pub(crate) fn select<'g>(comparison: &str, a: Var<'g>, b: Var<'g>, yes: Var<'g>, no: Var<'g>) -> Var<'g> {
    a.builder().op(comparison, &[a, b], &[]).choose(yes, no)
}

/// A number of another element type, cast to that of `x`.
fn cast_like(x: Var<'_>, element: ElementType, number: f64) -> Var<'_> {
    x.builder().op("CastLike", &[x.builder().scalar(element, number), x], &[])
}

fn elu(x: Var<'_>) -> Var<'_> {
    x.builder().op("Elu", &[x], &[("alpha", Attribute::Float(0.5))])
}

fn cubic_gate(x: Var<'_>, cube: for<'h> fn(Var<'h>) -> Var<'h>) -> Var<'_> {
    tanh(slope() * (x + 0.044_715 * cube(x)))
}

/// x minus its mean over the last two axes.
pub(crate) fn centred(x: Var<'_>) -> Var<'_> {
    x - x.mean(&[1, 2], Keep::Axes)
}

/// Of whole rows of the last axis: (x − mean) / √(var + ε).
pub(crate) fn normalised(x: Var<'_>) -> Var<'_> {
    let c = x - x.mean(&[2], Keep::Axes);
    c / (c.powf(2.0).mean(&[2], Keep::Axes) + 1e-5).sqrt()
}

/// Six numbers.
pub(crate) fn parameter(x: Var<'_>) -> Var<'_> {
    x.builder().values(x.element(), vec![6], &[0.5, -1.25, 2.0, 0.75, 1.5, -0.5])
}

pub(crate) const SPELLINGS: &[Spelling] = &[
    spelling("silu", SWISH, |x| x * x.sigmoid()),
    spelling("silu, gate first", SWISH, |x| x.sigmoid() * x),
    spelling("silu of a product", &[("Mul", 1), ("Swish", 1)], |x| {
        let scaled = x * 2.0;
        scaled * scaled.sigmoid()
    }),
    spelling("silu through a copy", SWISH, |x| x * x.apply("Identity").sigmoid()),
    spelling("sigmoid approximation of gelu", SWISH, |x| x * (x * 1.702).sigmoid()),
    spelling("sigmoid approximation of gelu, gate first", SWISH, |x| (1.702 * x).sigmoid() * x),
    spelling("gelu, old exporter", GELU, |x| (x * (erf(x / ROOT_TWO) + 1.0)) * 0.5),
    spelling("gelu, new exporter", GELU, |x| x * (0.5 * (erf(x / ROOT_TWO) + 1.0))),
    spelling("gelu, half of x first", GELU, |x| (x * 0.5) * (1.0 + erf(x / ROOT_TWO))),
    spelling("gelu, half of x second", GELU, |x| (1.0 + erf(x / ROOT_TWO)) * (0.5 * x)),
    spelling("gelu, product with the root", GELU, |x| 0.5 * (x * (1.0 + erf(x * ROOT_HALF)))),
    spelling("gelu, quotient by two", GELU, |x| x * (1.0 + erf(ROOT_HALF * x)) / 2.0),
    spelling("gelu, distributed gate", GELU, |x| x * (0.5 + 0.5 * erf(x / ROOT_TWO))),
    spelling("gelu, distributed", GELU, |x| 0.5 * x + 0.5 * x * erf(x / ROOT_TWO)),
    spelling("gelu, five digits", GELU, |x| 0.5 * x * (1.0 + erf(x / 1.414_21))),
    spelling("gelu, constants of one element", GELU, |x| {
        let half = one_element(x, &[1], 0.5);
        let one = one_element(x, &[1, 1], 1.0);
        half * (x * (erf(x / ROOT_TWO) + one))
    }),
    spelling("gelu of x + x", &[("Add", 1), ("Gelu", 1)], |x| {
        let x = x + x;
        0.5 * x * (1.0 + erf(x / ROOT_TWO))
    }),
    spelling("gelu by tanh, old exporter", GELU, |x| 0.5 * (x * (1.0 + cubic_gate(x, |x| x * (x * x))))),
    spelling("gelu by tanh, new exporter", GELU, |x| x * (0.5 * (cubic_gate(x, |x| x.powf(3.0)) + 1.0))),
    spelling("gelu by tanh, factored", GELU, |x| {
        0.5 * x * (1.0 + tanh(x * slope() * (1.0 + 0.044_715 * x * x)))
    }),
    spelling("gelu by tanh, distributed", GELU, |x| {
        0.5 * x * (1.0 + tanh(slope() * x + slope() * 0.044_715 * x.powf(2.0) * x))
    }),
    spelling("mish", MISH, |x| x * tanh(x.apply("Softplus"))),
    spelling("mish of a softplus in pieces", MISH, |x| {
        tanh(select("Greater", x, x.scalar(20.0), x, x.apply("Softplus"))) * x
    }),
    spelling("hard swish, opset 13", HARD_SWISH, |x| {
        let alpha = Attribute::Float(1.0 / 6.0);
        x * x.builder().op("HardSigmoid", &[x], &[("alpha", alpha)])
    }),
    spelling("hard swish, quotient last", HARD_SWISH, |x| x * clip(x + 3.0, 0.0, 6.0) / 6.0),
    spelling("hard swish, quotient first", HARD_SWISH, |x| x * (clip(3.0 + x, 0.0, 6.0) / 6.0)),
    spelling("hard swish, product", HARD_SWISH, |x| clip(x + 3.0, 0.0, 6.0) * (1.0 / 6.0) * x),
    spelling("hard swish of limits in pieces", HARD_SWISH, |x| {
        let low = max(x + 3.0, x.scalar(0.0));
        x * (min(low, x.scalar(6.0)) / 6.0)
    }),
    spelling("hard swish of a unit gate", HARD_SWISH, |x| x * clip(x / 6.0 + 0.5, 0.0, 1.0)),
    spelling("hard sigmoid", HARD_SIGMOID, |x| clip(x + 3.0, 0.0, 6.0) / 6.0),
    spelling("hard sigmoid, product", HARD_SIGMOID, |x| (1.0 / 6.0) * clip(x + 3.0, 0.0, 6.0)),
    spelling("hard sigmoid, unit gate", HARD_SIGMOID, |x| clip(x * 0.2 + 0.5, 0.0, 1.0)),
    spelling("hard sigmoid of limits in pieces", HARD_SIGMOID, |x| {
        min(max(x / 6.0 + 0.5, x.scalar(0.0)), x.scalar(1.0))
    }),
    spelling("softsign", &[("Softsign", 1)], |x| x / (1.0 + x.apply("Abs"))),
    spelling("relu6 as min of max", CLIP, |x| min(max(x, x.scalar(0.0)), x.scalar(6.0))),
    spelling("relu6 as max of min", CLIP, |x| max(x.scalar(0.0), min(x.scalar(6.0), x))),
    spelling("relu6 as min of relu", CLIP, |x| min(x.relu(), x.scalar(6.0))),
    spelling("relu6 as clip of clip", CLIP, |x| {
        let b = x.builder();
        let low = b.op("Clip", &[x, x.scalar(0.0)], &[]);
        b.ops("Clip", &[Some(low), None, Some(x.scalar(6.0))], &[], 1)[0]
    }),
    spelling("relu6 with limits cast", CLIP, |x| {
        let (low, high) = (cast_like(x, ElementType::F32, 0.0), cast_like(x, ElementType::I64, 6.0));
        x.builder().op("Clip", &[x, low, high], &[])
    }),
    spelling("softplus, new exporter", SOFTPLUS, |x| {
        select("Greater", x, x.scalar(20.0), x, x.apply("Softplus"))
    }),
    spelling("softplus, new exporter, unfolded", SOFTPLUS, |x| {
        let beta = cast_like(x, ElementType::F32, 1.0);
        let scaled = x * beta;
        let quotient = scaled.apply("Softplus") / beta;
        select("Greater", scaled, cast_like(x, ElementType::F32, 20.0), x, quotient)
    }),
    spelling("softplus below a threshold", SOFTPLUS, |x| {
        select("LessOrEqual", x, x.scalar(20.0), x.apply("Softplus"), x)
    }),
    spelling("softplus with a factor", &[("Mul", 1), ("Softplus", 1), ("Div", 1)], |x| {
        let scaled = x * 2.0;
        select("Greater", scaled, x.scalar(20.0), x, scaled.apply("Softplus") / 2.0)
    }),
    spelling("softplus by its formula", SOFTPLUS, |x| (x.exp() + 1.0).ln()),
    spelling("leaky relu as a maximum", LEAKY, |x| max(x, x * 0.125)),
    spelling("leaky relu as a choice", LEAKY, |x| select("Greater", x, x.scalar(0.0), x, 0.125 * x)),
    spelling("leaky relu, the other choice", LEAKY, |x| select("Less", x, x.scalar(0.0), 0.125 * x, x)),
    spelling("relu as a choice", &[("Relu", 1)], |x| select("Greater", x, x.scalar(0.0), x, x.scalar(0.0))),
    spelling("elu, new exporter, unfolded", ELU, |x| {
        let one = cast_like(x, ElementType::F32, 1.0);
        elu(x * one) * one
    }),
    spelling("layer norm without parameters", LAYER_NORM, normalised),
    spelling("layer norm", LAYER_NORM, |x| normalised(x) * parameter(x) + parameter(x)),
    spelling("layer norm, parameters first", LAYER_NORM, |x| parameter(x) + parameter(x) * normalised(x)),
    spelling("layer norm, scale alone", LAYER_NORM, |x| normalised(x) * parameter(x)),
    spelling("layer norm over two axes", LAYER_NORM, |x| {
        let c = centred(x);
        c / (1e-3 + (c * c).mean(&[1, 2], Keep::Axes)).sqrt()
    }),
    spelling("layer norm, centred twice, variance reshaped", LAYER_NORM, |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        let variance = (c * c).mean(&[2], Keep::None).unsqueeze(&[2]);
        (x - x.mean(&[2], Keep::Axes)) / (variance + 1e-5).sqrt() * parameter(x)
    }),
    spelling("layer norm by a reciprocal root", LAYER_NORM, |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        let root = (c.powf(2.0).mean(&[2], Keep::Axes) + 1e-5).sqrt();
        c * root.apply("Reciprocal") * parameter(x)
    }),
    spelling("layer norm by a power", LAYER_NORM, |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        (c.powf(2.0).mean(&[2], Keep::Axes) + 1e-5).powf(-0.5) * c
    }),
];

/// Formulas that look like a canonical function and are none.
pub(crate) const NEAR_MISSES: &[(&str, Formula)] = &[
    ("a gate of another value", |x| x * (x + 1.0).sigmoid()),
    ("a gate of minus x", |x| x * (-x).sigmoid()),
    ("half a silu", |x| 0.5 * x * x.sigmoid()),
    ("a squared silu", |x| x * x * x.sigmoid()),
    ("a silu of a squared gate", |x| x * x.sigmoid().powf(2.0)),
    ("a gated sum", |x| (x + 1.0) * x.sigmoid()),
    ("gelu without its half", |x| x * (erf(x / ROOT_TWO) + 1.0)),
    ("gelu with another half", |x| 0.51 * x * (erf(x / ROOT_TWO) + 1.0)),
    ("gelu with another root", |x| 0.5 * x * (erf(x / 1.4) + 1.0)),
    ("gelu with another one", |x| 0.5 * x * (erf(x / ROOT_TWO) + 1.01)),
    ("gelu less one", |x| 0.5 * x * (erf(x / ROOT_TWO) - 1.0)),
    ("gelu of another x", |x| 0.5 * x.relu() * (erf(x / ROOT_TWO) + 1.0)),
    ("gelu of a complementary gate", |x| 0.5 * x * (1.0 - erf(x / ROOT_TWO))),
    ("gelu by tanh with another cubic", |x| 0.5 * x * (1.0 + tanh(slope() * (x + 0.045 * x.powf(3.0))))),
    ("gelu by tanh with a square", |x| 0.5 * x * (1.0 + tanh(slope() * (x + 0.044_715 * x.powf(2.0))))),
    ("a number that widens x", |x| {
        let half = one_element(x, &[1, 1, 1, 1], 0.5);
        half * (x * (erf(x / ROOT_TWO) + 1.0))
    }),
    ("a half for each column", |x| {
        let half = x.builder().values(x.element(), vec![6], &[0.5; 6]);
        half * (x * (erf(x / ROOT_TWO) + 1.0))
    }),
    ("mish of another x", |x| x * tanh((x * 2.0).apply("Softplus"))),
    ("mish of relu", |x| x.relu() * tanh(x.apply("Softplus"))),
    ("hard swish with another shift", |x| x * clip(x + 2.0, 0.0, 6.0) / 6.0),
    ("hard swish with another limit", |x| x * clip(x + 3.0, 0.0, 5.0) / 6.0),
    ("hard swish with another quotient", |x| x * clip(x + 3.0, 0.0, 6.0) / 5.0),
    ("hard swish with another slope", |x| x * clip(x * 1.2 + 3.0, 0.0, 6.0) / 6.0),
    ("hard swish from below", |x| x * clip(x + 3.0, -1.0, 6.0) / 6.0),
    ("hard sigmoid with another slope", |x| clip(x * 0.3 + 0.5, 0.0, 1.0)),
    ("hard sigmoid with another limit", |x| clip(x / 6.0 + 0.5, 0.0, 2.0)),
    ("a clip to the unit range", |x| clip(x, 0.0, 1.0)),
    ("limits that cross", |x| min(max(x, x.scalar(6.0)), x.scalar(0.0))),
    ("a limit by column", |x| min(max(x, parameter(x)), x.scalar(6.0))),
    ("softplus with a low threshold", |x| select("Greater", x, x.scalar(2.0), x, x.apply("Softplus"))),
    ("softplus of the other branch", |x| select("Less", x, x.scalar(20.0), x, x.apply("Softplus"))),
    ("softplus over another x", |x| select("Greater", x, x.scalar(20.0), x * 2.0, x.apply("Softplus"))),
    ("softsign with another sum", |x| x / (2.0 + x.apply("Abs"))),
    ("softsign of another x", |x| (x + 1.0) / (1.0 + x.apply("Abs"))),
    ("softplus with two factors", |x| {
        let scaled = x * 2.0;
        select("Greater", scaled, x.scalar(20.0), x, scaled.apply("Softplus") / 3.0)
    }),
    ("softplus cut by another x", |x| select("Greater", x + 1.0, x.scalar(20.0), x, x.apply("Softplus"))),
    ("log of another sum", |x| (x.exp() + 2.0).ln()),
    ("a maximum of a steeper line", |x| max(x, x * 2.0)),
    ("a choice at another place", |x| select("Greater", x, x.scalar(0.5), x, 0.125 * x)),
    ("a scaled elu", |x| elu(x) * 1.5),
    ("elu of a scaled x", |x| elu(x * 2.0)),
    ("no centre", |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        x / (c.powf(2.0).mean(&[2], Keep::Axes) + 1e-5).sqrt()
    }),
    ("a variance over other axes", |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        c / (c.powf(2.0).mean(&[1, 2], Keep::Axes) + 1e-5).sqrt()
    }),
    ("a normalisation over an inner axis", |x| {
        let c = x - x.mean(&[1], Keep::Axes);
        c / (c.powf(2.0).mean(&[1], Keep::Axes) + 1e-5).sqrt()
    }),
    ("a fourth moment", |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        c / (c.powf(4.0).mean(&[2], Keep::Axes) + 1e-5).sqrt()
    }),
    ("no root", |x| {
        let c = x - x.mean(&[2], Keep::Axes);
        c / (c.powf(2.0).mean(&[2], Keep::Axes) + 1e-5)
    }),
    ("a bias after a bias", |x| {
        let p = parameter(x);
        x.builder().op("LayerNormalization", &[x, p, p], &[]) + p
    }),
    ("a scale after a scale", |x| {
        let p = parameter(x);
        x.builder().op("LayerNormalization", &[x, p], &[]) * p
    }),
    ("a bias of another shape", |x| {
        let p = parameter(x);
        let bias = x.builder().values(x.element(), vec![4, 6], &[0.5; 24]);
        x.builder().op("LayerNormalization", &[x, p], &[]) + bias
    }),
    ("a sum of residuals", |x| x + x.relu() + x.sigmoid()),
];
