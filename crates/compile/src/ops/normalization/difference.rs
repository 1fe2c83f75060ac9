//! Exact differences from a baseline: each normalisation in pieces, products shared by their middles.

use super::{by_channel, neighbours, spatial_axes};
use crate::build::{Keep, Var};
use crate::error::{CompileError, Result};
use crate::reference::{LEAST, chord};
use crate::step::{Signals, Step, countable};

/// A value and what stands for it on the baseline.
type Pair<'g> = [Var<'g>; 2];

fn middle([v, v0]: Pair<'_>) -> Var<'_> {
    (v + v0) * 0.5
}

fn pair<'g>(s: &Step<'g>, v: Var<'g>) -> Pair<'g> {
    [v, s.reference(v)]
}

/// Parameters are the same on the baseline, or the difference is none of these.
fn fixed_from(s: &Step<'_>, first: usize) -> Result<()> {
    let moved = (first..s.input_count()).find(|index| s.input(*index).is_some_and(|input| s.is_moved(input)));
    match moved {
        Some(index) => {
            Err(CompileError::Model(format!("its parameter, input {index}, depends on the input")))
        }
        None => Ok(()),
    }
}

/// Linear in evaluation; in training the batch's own statistics couple rows.
pub(super) fn batch<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    fixed_from(s, 1)?;
    if s.node.int("training_mode", 0) != 0 {
        return Err(CompileError::Model(
            "in training mode its rows see each other: export the model in evaluation mode".to_owned(),
        ));
    }
    s.vjp()
}

/// x̂ = c / d with c = x − mean x and d = √(mean c² + ε):
/// Δx̂ = Δc · (1/d + 1/d₀)/2 + (c + c₀)/2 · Δ(1/d), Δ(1/d) = −Δ mean c² / (d·d₀·(d + d₀)).
fn normalized<'g>(x: Pair<'g>, signal: Var<'g>, axes: &[usize], epsilon: f64) -> Var<'g> {
    let mean = |v: Var<'g>| v.mean(axes, Keep::Axes);
    let c = x.map(|x| x - mean(x));
    let d = c.map(|c| (mean(c * c) + epsilon).sqrt());
    through_norm(signal, c, d, (d[0] * d[1]) * (d[0] + d[1]), axes)
}

/// The signal at x of c / d, where d depends on mean c² and Δ(1/d) = −Δ mean c² / `divisor`.
fn through_norm<'g>(signal: Var<'g>, c: Pair<'g>, d: Pair<'g>, divisor: Var<'g>, axes: &[usize]) -> Var<'g> {
    let mean = |v: Var<'g>| v.mean(axes, Keep::Axes);
    let c = middle(c);
    let inverse = middle(d.map(|d| d.apply("Reciprocal")));
    let along = mean(signal * c) * 2.0 / divisor;
    let of_c = signal * inverse - c * along;
    of_c - mean(of_c)
}

pub(super) fn layer<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    fixed_from(s, 1)?;
    if s.signal(1).is_some() || s.signal(2).is_some() {
        return Err(CompileError::Model("the mean and deviation outputs carry no signal".to_owned()));
    }
    let x = s.x(0)?;
    let rank = x.rank()?;
    let axes: Vec<usize> = (s.axis("axis", -1, rank)?..rank).collect();
    let epsilon = f64::from(s.node.float("epsilon", 1e-5));
    Ok(s.only_first(normalized(pair(s, x), s.dy()? * s.x(1)?, &axes, epsilon)))
}

pub(super) fn instance<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    fixed_from(s, 1)?;
    let x = s.x(0)?;
    let rank = x.rank()?;
    let axes: Vec<usize> = (2..rank).collect();
    let epsilon = f64::from(s.node.float("epsilon", 1e-5));
    Ok(s.only_first(normalized(pair(s, x), s.dy()? * by_channel(s.x(1)?, rank), &axes, epsilon)))
}

pub(super) fn group<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    fixed_from(s, 1)?;
    let (x, scale) = (s.x(0)?, s.x(1)?);
    let groups = s.node.int("num_groups", 1);
    let grouped = |v: Var<'g>| v.reshape(&[0, groups, -1]);
    let signal = grouped(s.dy()?) * scale.unsqueeze(&[1]);
    let epsilon = f64::from(s.node.float("epsilon", 1e-5));
    let found = normalized(pair(s, x).map(grouped), signal, &[2], epsilon);
    Ok(s.only_first(found.reshape_like(x)?))
}

/// y = x · p with p = S⁻ᵝ and S = k + α/size · Σ x² over neighbours.
pub(super) fn local<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (pair(s, s.x(0)?), s.dy()?);
    let size = s.node.int("size", 1);
    countable([size], super::NEIGHBOURS, "neighbouring channels")?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let (alpha, beta) = (f64::from(s.node.float("alpha", 1e-4)), f64::from(s.node.float("beta", 0.75)));
    let (share, bias) = (alpha / size as f64, f64::from(s.node.float("bias", 1.0)));
    let sum = |x: Var<'g>| Ok::<_, CompileError>(neighbours(x * x, before, after)? * share + bias);
    let sums = [sum(x[0])?, sum(x[1])?];
    let powers = sums.map(|sum| sum.powf(-beta));
    let slope = chord(sums, powers, powers[0] / sums[0] * -beta);
    let through = neighbours(dy * middle(x) * slope, after, before)? * (2.0 * share);
    Ok(s.only_first(dy * middle(powers) + middle(x) * through))
}

/// y = x / n: Δy = Δx · (1/n + 1/n₀)/2 − (x + x₀)/2 · Δn / (n·n₀)
pub(super) fn norm<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, dy) = (pair(s, s.x(0)?), s.dy()?);
    let axes = [s.axis("axis", -1, x[0].rank()?)?];
    let sum = |v: Var<'g>| v.sum(&axes, Keep::Axes);
    let (norms, slope) = if s.node.int("p", 2) == 1 {
        let sizes = x.map(|x| x.apply("Abs"));
        (sizes.map(sum), (x[0] + x[1]) / (sizes[0] + sizes[1] + LEAST))
    } else {
        let norms = x.map(|x| sum(x * x).sqrt());
        (norms, (x[0] + x[1]) / (norms[0] + norms[1]))
    };
    let along = sum(dy * middle(x)) / (norms[0] * norms[1]);
    let inverse = middle(norms.map(|norm| norm.apply("Reciprocal")));
    Ok(s.only_first(dy * inverse - slope * along))
}

pub(super) fn mean_variance<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let x = pair(s, s.x(0)?);
    let axes = spatial_axes(s, x[0].rank()?)?;
    let mean = |v: Var<'g>| v.mean(&axes, Keep::Axes);
    let c = x.map(|x| x - mean(x));
    let deviations = c.map(|c| mean(c * c).sqrt());
    let d = deviations.map(|deviation| deviation + 1e-9);
    let divisor = (d[0] * d[1]) * (deviations[0] + deviations[1]);
    Ok(s.only_first(through_norm(s.dy()?, c, d, divisor, &axes)))
}

/// ln Σ eˣ over some axes, on the input and on the baseline, each less its own maximum first.
fn log_sums<'g>(x: Pair<'g>, axes: &[usize]) -> Pair<'g> {
    x.map(|x| {
        let keep = ("keepdims", pellucid_graph::Attribute::Int(1));
        let most = x.builder().op("ReduceMax", &[x, x.builder().axes(axes)], &[keep]);
        (x - most).exp().sum(axes, Keep::Axes).ln() + most
    })
}

/// Δ ln Σ eˣ = Σ w · Δx: the factors w, of x's shape, where `shares` are eˣ / Σ eˣ.
///
/// w = (p · eᴰ − p₀) / Δx · D / (eᴰ − 1) with D = Δ ln Σ eˣ, divided by eᴰ where D > 0: however far apart input and
/// baseline are, no number leaves the range of D, and what is divided by 1 − e^(−|D|) sums to it.
fn of_log_sum<'g>(x: Pair<'g>, shares: Pair<'g>, sums: Pair<'g>) -> Var<'g> {
    let ([p, p0], d) = (shares, sums[0] - sums[1]);
    let size = d.apply("Abs");
    let less = (-size).exp();
    let rises = d.builder().op("GreaterOrEqual", &[d, d.scalar(0.0)], &[]);
    let (high, low) = (rises.choose(p, p * less), rises.choose(p0 * less, p0));
    let rest = 1.0 - less;
    let none = d.builder().op("Equal", &[rest, rest.scalar(0.0)], &[]);
    chord(x, [high, low], high) * none.choose(d.scalar(1.0), size / rest)
}

/// y = ln Σ eˣ
pub(in crate::ops) fn log_sum_exp<'g>(s: &Step<'g>, x: Var<'g>, axes: &[usize]) -> Var<'g> {
    let x = pair(s, x);
    let sums = log_sums(x, axes);
    of_log_sum(x, [(x[0] - sums[0]).exp(), (x[1] - sums[1]).exp()], sums)
}

/// y = eᵘ with u = x − ln Σ eˣ: Δy = (Δx − Δ ln Σ eˣ) · Δy / Δu
pub(super) fn softmax<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (pair(s, s.x(0)?), pair(s, s.y()?), s.dy()?);
    let axes = [s.axis("axis", -1, x[0].rank()?)?];
    let sums = log_sums(x, &axes);
    let of_u = dy * chord([x[0] - sums[0], x[1] - sums[1]], y, y[0]);
    Ok(vec![Some(of_u - of_log_sum(x, y, sums) * of_u.sum(&axes, Keep::Axes))])
}

/// y = x − ln Σ eˣ
pub(super) fn log_softmax<'g>(s: &Step<'g>) -> Result<Signals<'g>> {
    let (x, y, dy) = (pair(s, s.x(0)?), pair(s, s.y()?), s.dy()?);
    let axes = [s.axis("axis", -1, x[0].rank()?)?];
    let weights = of_log_sum(x, y.map(Var::exp), log_sums(x, &axes));
    Ok(vec![Some(dy - weights * dy.sum(&axes, Keep::Axes))])
}
