//! Forms of onnxruntime's own, where they differ from those that every engine takes.

use pellucid_graph::ElementType;

use super::rewrite::{Rewrite, Step};
use super::{Rule, Takes};

use Rule::{By, Same};
use Takes::{Floats, Numbers};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ArgMax", Same(Numbers, &["axis", "keepdims", "select_last_index"])),
    ("ArgMin", Same(Numbers, &["axis", "keepdims", "select_last_index"])),
    ("Gelu", By(gelu)),
    ("Swish", By(swish)),
    ("Where", By(choose)),
];

/// It has no kernel for truth values: `(c ∧ x) ∨ (¬c ∧ y)`.
fn choose(r: &mut Rewrite<'_>) -> Step<()> {
    let (condition, x, y) = (r.x(0)?, r.x(1)?, r.x(2)?);
    if r.element(x)? != ElementType::Bool {
        return r.same(Takes::All, &[]);
    }
    let otherwise = r.op("Not", &[condition])?;
    let first = r.op("And", &[condition, x])?;
    let second = r.op("And", &[otherwise, y])?;
    let z = r.op("Or", &[first, second])?;
    r.done(z)
}

/// The operator came after opset 18: written out, and fused again by the engine.
fn gelu(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let (half, one) = (r.float(0.5)?, r.float(1.0)?);
    let inner = if r.node.string("approximate", "none") == "tanh" {
        // x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2
        let (cubic, scale) = (r.float(0.044_715)?, r.float((2.0 / std::f32::consts::PI).sqrt())?);
        let square = r.op("Mul", &[x, x])?;
        let cube = r.op("Mul", &[square, x])?;
        let cube = r.op("Mul", &[cube, cubic])?;
        let sum = r.op("Add", &[x, cube])?;
        let scaled = r.op("Mul", &[sum, scale])?;
        r.op("Tanh", &[scaled])?
    } else {
        let root = r.float(std::f32::consts::SQRT_2)?;
        let scaled = r.op("Div", &[x, root])?;
        r.op("Erf", &[scaled])?
    };
    let gate = r.op("Add", &[inner, one])?;
    let y = r.op("Mul", &[x, gate])?;
    let y = r.op("Mul", &[y, half])?;
    r.done(y)
}

/// `x · σ(αx)`: the operator came after opset 18.
fn swish(r: &mut Rewrite<'_>) -> Step<()> {
    let x = r.x(0)?;
    r.require(x, Floats)?;
    let alpha = r.node.float("alpha", 1.0);
    let scaled = if (alpha - 1.0).abs() < f32::EPSILON {
        x
    } else {
        let alpha = r.float(alpha)?;
        r.op("Mul", &[x, alpha])?
    };
    let gate = r.op("Sigmoid", &[scaled])?;
    let y = r.op("Mul", &[x, gate])?;
    r.done(y)
}
