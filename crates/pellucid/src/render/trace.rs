//! How one number came to be, and a network's neurons, as a textbook writes them.

use std::fmt::Write as _;

use super::inside::{aligned, told};
use super::terminal::{Style, clean, strong};
use crate::inspect::{Back, FullLayer, Link, Sum, Trace, Winner};

/// Terms that are written out.
const TERMS: usize = 12;

/// Neurons of a layer that are written out.
const NEURONS: usize = 64;

fn at(name: &str, place: &[usize]) -> String {
    let place: Vec<String> = place.iter().map(usize::to_string).collect();
    if place.is_empty() { clean(name) } else { format!("{}[{}]", clean(name), place.join(",")) }
}

/// A number that is added: ` + 2` or ` − 2`.
fn plus(value: f64) -> String {
    format!(" {} {}", if value < 0.0 { '−' } else { '+' }, told(value.abs()))
}

/// The whole of a trace.
pub(super) fn trace(trace: &Trace, style: Style) -> String {
    let mut text = String::new();
    let title = format!("{} of {}", clean(&trace.neuron), clean(&trace.example));
    let _ = writeln!(text, "{} = {}\n", strong(&title, style), told(trace.number));
    if let Some(sum) = &trace.sum {
        terms(&mut text, sum);
    }
    if let Some(winner) = &trace.winner {
        window(&mut text, winner);
    }
    for link in &trace.links {
        forward(&mut text, link);
    }
    if let Some(back) = &trace.back {
        backward(&mut text, trace, back);
    }
    text
}

fn terms(text: &mut String, sum: &Sum) {
    let named = !sum.weight.is_empty();
    let what = if named { "input × weight" } else { "input × factor" };
    let _ = writeln!(text, "{}: {} terms {what}, the largest first", sum.kind, sum.terms.len());
    if !sum.window.is_empty() {
        let window: Vec<String> =
            sum.window.iter().map(|(first, last)| format!("{first} to {last}")).collect();
        let _ = writeln!(text, "the window it looked at in {}: {}", clean(&sum.takes), window.join(" × "));
    }
    let mut table = Vec::new();
    for term in sum.terms.iter().take(TERMS) {
        let weight = if named { at(&sum.weight, &term.weight_place) } else { String::new() };
        table.push(vec![
            format!("  {}", at(if sum.takes.contains(" + ") { "" } else { &sum.takes }, &term.place)),
            told(term.input),
            format!("× {}", told(term.weight)),
            weight,
            "=".to_owned(),
            told(term.product),
        ]);
    }
    if sum.terms.len() > TERMS {
        let rest: f64 = sum.terms[TERMS..].iter().map(|term| term.product).sum();
        let name = format!("  the other {}", sum.terms.len() - TERMS);
        table.push(vec![name, String::new(), String::new(), String::new(), "=".to_owned(), told(rest)]);
    }
    if let Some(bias) = sum.bias {
        let empty = String::new();
        table.push(vec![
            "  bias".to_owned(),
            empty.clone(),
            empty.clone(),
            empty,
            "=".to_owned(),
            told(bias),
        ]);
    }
    *text += &aligned(&table, &[1, 5]);
    let rounding = (sum.total - sum.computed).abs();
    let note = if rounding > 1e-3 * sum.total.abs().max(1e-6) {
        format!(" (the engine computed {})", told(sum.computed))
    } else {
        String::new()
    };
    let _ = writeln!(text, "sum = {}{note}\n", told(sum.total));
}

fn window(text: &mut String, winner: &Winner) {
    let _ = writeln!(text, "the largest of a window of {}:", clean(&winner.takes));
    for (place, (position, value)) in winner.window.iter().enumerate().take(TERMS) {
        let won = if place == 0 { "  won" } else { "" };
        let _ = writeln!(text, "  {} = {}{won}", at("", position).trim_start_matches(' '), told(*value));
    }
    text.push('\n');
}

fn forward(text: &mut String, link: &Link) {
    match link {
        Link::Normalised { before, mean, variance, epsilon, scale, shift, after } => {
            let _ = writeln!(
                text,
                "batch normalisation: γ·(x − mean) / √(variance + ε) + β\n  = {}·({}{}) / √({}{}){} = {}\n",
                told(*scale),
                told(*before),
                plus(-*mean),
                told(*variance),
                plus(*epsilon),
                plus(*shift),
                told(*after)
            );
        }
        Link::Activation { function, formula, z, a, .. } => {
            let _ = writeln!(text, "z = {}\na = {function}(z) = {formula} = {}\n", told(*z), told(*a));
        }
    }
}

fn backward(text: &mut String, trace: &Trace, back: &Back) {
    let by = back.by;
    let _ = writeln!(text, "back from the {by}, {}", told(back.objective));
    let slope = trace.links.iter().rev().find_map(|link| match link {
        Link::Activation { slope, .. } => Some(*slope),
        Link::Normalised { .. } => None,
    });
    match (back.activation, slope.flatten()) {
        (Some(activation), Some(slope)) => {
            let _ = writeln!(text, "  ∂{by}/∂a = {}", told(activation));
            let _ = writeln!(text, "  f′(z) = {}", told(slope));
            let _ = writeln!(
                text,
                "  δ = ∂{by}/∂z = ∂{by}/∂a · f′(z) = {} · {} = {}",
                told(activation),
                told(slope),
                told(back.delta)
            );
        }
        _ => {
            let _ = writeln!(text, "  δ = ∂{by}/∂z = {}", told(back.delta));
        }
    }
    let Some(sum) = &trace.sum else { return };
    let mut name = "δ";
    if let Some(error) = back.sum.filter(|error| (error - back.delta).abs() > 1e-9 * back.delta.abs()) {
        let _ =
            writeln!(text, "  ε = ∂{by}/∂sum = {}, before what stands between the sum and z", told(error));
        name = "ε";
    }
    if sum.weight.is_empty() {
        return;
    }
    let shared = if sum.window.is_empty() { "" } else { ", of this position alone" };
    let _ = writeln!(text, "  ∂{by}/∂weight = {name} · input{shared}:");
    let rows = sum.terms.iter().take(TERMS).filter_map(|term| {
        Some(vec![format!("    {}", at(&sum.weight, &term.weight_place)), told(term.gradient?)])
    });
    *text += &aligned(&rows.collect::<Vec<_>>(), &[1]);
    if let (Some(error), Some(_)) = (back.sum, sum.bias) {
        let _ = writeln!(text, "  ∂{by}/∂bias = {name} = {}", told(error));
    }
}

/// Every neuron of every layer of single numbers.
pub(super) fn full(layers: &[FullLayer], judged: Option<(&'static str, f64)>, style: Style) -> String {
    let mut text = String::new();
    let by = judged.map(|(by, _)| by);
    for layer in layers {
        let _ = writeln!(text, "{}", strong(&clean(&layer.name), style));
        if let Some((function, formula)) = &layer.function {
            let _ = writeln!(text, "a = {function}(z) = {formula}");
        }
        let mut head = vec!["neuron".to_owned(), "z".to_owned()];
        if layer.function.is_some() {
            head.push("a".to_owned());
        }
        if let Some(by) = by {
            if layer.function.is_some() {
                head.push(format!("∂{by}/∂a"));
            }
            head.push(format!("δ = ∂{by}/∂z"));
        }
        let numbers: Vec<usize> = (0..head.len()).collect();
        let mut table = vec![head];
        for (place, neuron) in layer.neurons.iter().enumerate().take(NEURONS) {
            let told_or = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), told);
            let mut row = vec![place.to_string(), told(neuron.z)];
            if layer.function.is_some() {
                row.push(told(neuron.a));
            }
            if by.is_some() {
                if layer.function.is_some() {
                    row.push(told_or(neuron.error));
                }
                row.push(told_or(neuron.delta));
            }
            table.push(row);
        }
        text += &aligned(&table, &numbers);
        if layer.neurons.len() > NEURONS {
            let _ = writeln!(text, "… and {} more; --json has all", layer.neurons.len() - NEURONS);
        }
        text.push('\n');
    }
    if let Some((by, value)) = judged {
        let _ = writeln!(text, "{by} {}", told(value));
    }
    text
}
