//! What was seen inside a model, as tables for a terminal and as one drawing.

use std::fmt::Write as _;

use super::scene::{Anchor, Ink, Item, Scene};
use super::terminal::{Style, clean, strong};
use super::text::{self, Weight};
use super::words::{number, percent};
use crate::inspect::{Distribution, Inspection, LayerInspection};

const MARGIN: f32 = 28.0;
/// Widths of the drawing's columns: names, and each of both histograms.
const NAME: f32 = 260.0;
const PLOT: f32 = 300.0;
const GAP: f32 = 28.0;
const HIGH: f32 = 40.0;
const ROW: f32 = 74.0;
/// Colours of activations and of errors.
const BLUE: [u8; 3] = [46, 95, 168];
const RED: [u8; 3] = [176, 58, 46];

/// A number for people.
pub(super) fn told(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "for people")]
    number(value as f32)
}

fn share(part: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "for people")]
    percent(part as f32)
}

/// Columns as wide as their widest cell, numbers to the right.
pub(super) fn aligned(table: &[Vec<String>], numbers: &[usize]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|column| table.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in table {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| {
                let space = " ".repeat(widths[column] - cell.chars().count());
                if numbers.contains(&column) { format!("{space}{cell}") } else { format!("{cell}{space}") }
            })
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// A histogram in one line: pairs of bins, by the root of their counts, so that tails show.
fn bars(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let pairs: Vec<f64> = counts.chunks(2).map(|pair| (pair.iter().sum::<u64>() as f64).sqrt()).collect();
    let most = pairs.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |height: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of eight")]
        let level = (height / most * 7.0).round() as usize;
        if height == 0.0 { ' ' } else { BARS[level.min(7)] }
    };
    pairs.into_iter().map(bar).collect()
}

/// Everything that was seen, as tables; what is wrong comes last, where it is read.
pub(super) fn inspection(inspection: &Inspection, style: Style) -> String {
    let mut text = String::new();
    let rows =
        if inspection.rows == 1 { "1 example".to_owned() } else { format!("{} examples", inspection.rows) };
    let _ = writeln!(text, "{} on {rows}", strong(&clean(&inspection.model), style));
    if let Some(judged) = &inspection.judged {
        let accuracy =
            judged.accuracy.map_or_else(String::new, |right| format!(", accuracy {}", share(right)));
        let _ = writeln!(text, "mean {} {}{accuracy}", judged.by, told(judged.mean));
    }
    for input in &inspection.inputs {
        let Some(values) = &input.values else { continue };
        let channels: Vec<String> =
            input.channels.iter().take(4).map(|c| format!("{} ± {}", told(c.mean), told(c.std))).collect();
        let more = if input.channels.len() > 4 { " …" } else { "" };
        let _ = writeln!(
            text,
            "input {}: {} to {}; mean ± standard deviation by channel {}{more}",
            clean(&input.name),
            told(values.quantiles[0]),
            told(values.quantiles[6]),
            channels.join(", ")
        );
    }
    text.push('\n');
    text += &aligned(&layers(inspection), &[2, 3, 4, 5, 7, 8, 9]);
    let winners: Vec<String> = inspection.layers.iter().filter_map(winners).collect();
    if !winners.is_empty() {
        let _ = writeln!(text, "\n{}", winners.join("\n"));
    }
    if !inspection.weights.is_empty() {
        text.push('\n');
        text += &aligned(&weights(inspection), &[2, 3, 4]);
    }
    text.push('\n');
    faults(&mut text, inspection, style);
    for note in &inspection.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    text
}

fn layers(inspection: &Inspection) -> Vec<Vec<String>> {
    let judged = inspection.judged.is_some();
    let mut head = vec!["layer", "kind", "mean", "std", "1 %", "99 %", "distribution", "zeros", "units that"];
    if judged {
        head.push("error norm");
    }
    let mut table = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for layer in &inspection.layers {
        let mut row = vec![clean(&layer.name), layer.kind.clone()];
        match &layer.activation {
            Some(found) => row.extend([
                told(found.mean),
                told(found.std),
                told(found.quantiles[1]),
                told(found.quantiles[5]),
                bars(&found.histogram.counts),
                share(found.zeros),
            ]),
            None => row.extend((0..6).map(|_| String::new())),
        }
        row.push(units(layer));
        if judged {
            row.push(layer.error.as_ref().and_then(|error| error.norm).map_or_else(|| "–".to_owned(), told));
        }
        table.push(row);
    }
    table
}

/// What units of a layer do not do, in a few words.
fn units(layer: &LayerInspection) -> String {
    let Some(units) = &layer.units else { return String::new() };
    if let Some(silent) = units.never_firing {
        return format!("never fire {}", share(silent));
    }
    if let Some(saturated) = units.saturated {
        return format!("are saturated {}", share(saturated));
    }
    if units.dead > 0.0 { format!("never change {}", share(units.dead)) } else { String::new() }
}

fn winners(layer: &LayerInspection) -> Option<String> {
    let winners = layer.winners.as_ref()?;
    let shares: Vec<String> = winners.shares.iter().map(|won| share(*won)).collect();
    let window: Vec<String> = winners.window.iter().map(usize::to_string).collect();
    let width = winners.window.last().copied().unwrap_or(1).max(1);
    let lines: Vec<String> = shares.chunks(width).map(|line| line.join(" ")).collect();
    Some(format!(
        "{}: places of its {} windows that won: {}; ties {}",
        clean(&layer.name),
        window.join("×"),
        lines.join(" | "),
        share(winners.ties)
    ))
}

fn weights(inspection: &Inspection) -> Vec<Vec<String>> {
    let head = ["weight", "shape", "norm", "gradient norm", "one step changes"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for weight in &inspection.weights {
        let shape: Vec<String> = weight.shape.iter().map(usize::to_string).collect();
        table.push(vec![
            clean(&weight.name),
            shape.join("×"),
            told(weight.norm),
            told(weight.gradient),
            weight.update.map_or_else(|| "–".to_owned(), |update| format!("{:.4} %", 100.0 * update)),
        ]);
    }
    table
}

fn faults(text: &mut String, inspection: &Inspection, style: Style) {
    match inspection.faults.len() {
        0 => {
            let _ = writeln!(text, "nothing wrong was found");
        }
        count => {
            let things = if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") };
            let _ = writeln!(text, "{}", strong(&format!("{things} found"), style));
            for fault in &inspection.faults {
                let _ = writeln!(text, "  {}: {}", fault.kind.name(), clean(&fault.text));
            }
        }
    }
}

/// Histograms of activations, and of errors where there are some, a row a layer.
pub(super) fn drawing(inspection: &Inspection) -> Scene {
    let judged = inspection.judged.is_some();
    let plots = if judged { 2.0 } else { 1.0 };
    let width = 2.0 * MARGIN + NAME + plots * (PLOT + GAP);
    let title = format!("{} on {} examples: activations by layer", inspection.model, inspection.rows);
    let mut scene = Scene::new(width, title.clone());
    scene.height = MARGIN + 20.0;
    let most = width - 2.0 * MARGIN;
    let title = text::fitted(&title, 18.0, Weight::SemiBold, most);
    scene.text(MARGIN, scene.height, 18.0, Weight::SemiBold, Ink::Strong, title);
    scene.height += 30.0;
    let left = MARGIN + NAME;
    scene.text(left, scene.height, 14.0, Weight::SemiBold, Ink::Own(BLUE), "activations");
    if judged {
        let what = "errors, ∂objective/∂activation";
        scene.text(left + PLOT + GAP, scene.height, 14.0, Weight::SemiBold, Ink::Own(RED), what);
    }
    scene.height += 12.0;
    for layer in &inspection.layers {
        let top = scene.height;
        let name = text::fitted(&layer.name, 14.0, Weight::SemiBold, NAME - GAP);
        scene.text(MARGIN, top + 18.0, 14.0, Weight::SemiBold, Ink::Strong, name);
        let kind = [layer.kind.clone(), units(layer)];
        let kind = kind.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", units ");
        let kind = text::fitted(&kind, 12.0, Weight::Regular, NAME - GAP);
        scene.text(MARGIN, top + 36.0, 12.0, Weight::Regular, Ink::Soft, kind);
        if let Some(found) = &layer.activation {
            histogram(&mut scene, found, (left, top), BLUE);
        }
        if let Some(error) = &layer.error {
            histogram(&mut scene, &error.distribution, (left + PLOT + GAP, top), RED);
        }
        scene.height += ROW;
    }
    for fault in &inspection.faults {
        for line in text::wrapped(&fault.text, 14.0, Weight::Regular, most) {
            scene.height += 18.0;
            scene.text(MARGIN, scene.height, 14.0, Weight::Regular, Ink::Own(RED), line);
        }
    }
    scene.height += MARGIN;
    scene
}

/// Bars by the root of their counts, with the limits.
fn histogram(scene: &mut Scene, found: &Distribution, (x, top): (f32, f32), colour: [u8; 3]) {
    let counts = &found.histogram.counts;
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f32;
    let width = PLOT / counts.len().max(1) as f32;
    let base = top + HIGH + 4.0;
    for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = ((*count as f32 / most).sqrt() * HIGH).max(1.0);
        let x = x + place as f32 * width;
        let y = base - height;
        scene.items.push(Item::Rectangle {
            x,
            y,
            width: (width - 1.0).max(0.5),
            height,
            ink: Ink::Own(colour),
        });
    }
    scene.items.push(Item::Rectangle { x, y: base, width: PLOT, height: 1.0, ink: Ink::Line });
    let label = base + 16.0;
    scene.text(x, label, 12.0, Weight::Regular, Ink::Soft, told(found.histogram.low));
    let middle = format!("{} ± {}", told(found.mean), told(found.std));
    scene.anchored(x + PLOT / 2.0, label, 12.0, Weight::Regular, Anchor::Middle, Ink::Strong, middle);
    let high = told(found.histogram.high);
    scene.anchored(x + PLOT, label, 12.0, Weight::Regular, Anchor::End, Ink::Soft, high);
}
