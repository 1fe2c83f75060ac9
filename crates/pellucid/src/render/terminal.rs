//! Explanations and predictions as text for a terminal. Whether a terminal can show colours is the caller's to know.

use std::fmt::Write as _;

use super::grid::rank;
use super::heat::{Drawn, draw_row};
use super::picture::Ground;
use super::words::{self, number, percent};
use crate::attribution::{Explanation, Prediction};
use crate::compare::Comparison;
use crate::inspect::{FullLayer, Inspection, Strongest, Trace};
use crate::resample::{self, Interpolation};
use crate::stream::{Streamed, StreamedPrediction};

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal.
    pub columns: usize,
    /// Whether colours of 24 bits are understood.
    pub colours: bool,
}

/// Columns and lines of a picture.
const PICTURE: (u32, u32) = (72, 26);
/// Columns of the longest bar.
const BAR: usize = 24;
/// Classes that are listed.
const LISTED: usize = 5;

/// Everything a person wants to know of every row; with colours, heatmaps too.
pub fn explanation(explanation: &Explanation, style: Style) -> String {
    let mut text = String::new();
    for row in 0..explanation.rows() {
        if row > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", strong(&clean(&explanation.inputs.rows()[row].name), style));
        let targets: Vec<usize> =
            explanation.explained.iter().filter_map(|explained| explained.targets[row].class()).collect();
        classes(&mut text, &explanation.prediction, row, &targets, style);
        for explained in &explanation.explained {
            let target = clean(&explained.targets[row].to_string());
            let layer =
                explanation.layer.as_ref().map(|layer| format!(" at {}", clean(layer))).unwrap_or_default();
            let _ = writeln!(text, "\n{}{layer} for {}", explanation.method.name, strong(&target, style));
            for index in 0..explained.attribution.values.len() {
                match draw_row(explanation, explained, index, row) {
                    Drawn::Map(map) => {
                        let _ = writeln!(text, "  limits of colours ±{}", number(map.limit));
                        if style.colours {
                            let input = &explained.attribution.values[index].0;
                            let ground =
                                Ground::new((&explanation.inputs, &explanation.spaces), row, input, &map);
                            picture(&mut text, &ground.with_overlay(&map), style);
                        }
                    }
                    Drawn::Bars { bars, .. } => {
                        for (position, value) in bars.iter().take(8) {
                            let input = clean(&explained.attribution.values[index].0);
                            let _ = writeln!(text, "  {:>10}  {input}[{position}]", number(*value));
                        }
                    }
                    Drawn::Lines { .. } => {}
                }
            }
            let verdict = words::verdict(explained, row);
            let _ = writeln!(text, "  {}", words::summary(explained, row));
            let _ = writeln!(text, "  {}", strong(&verdict.headline, style));
        }
    }
    for note in &explanation.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    text
}

/// What every method of a comparison cost, how far it can be trusted, and how alike every two are.
pub fn comparison(comparison: &Comparison, style: Style) -> String {
    let mut text = String::new();
    let Some(first) = comparison.methods.first() else { return text };
    let explanation = &first.explanation;
    for (row, input) in explanation.inputs.rows().iter().enumerate() {
        let explained = &explanation.explained[0];
        let target = clean(&explained.targets[row].to_string());
        let score = words::score(&explained.attribution, row);
        let _ = writeln!(text, "{}  {target}, {score}", strong(&clean(&input.name), style));
    }
    let names: Vec<String> = comparison.methods.iter().map(|method| clean(&method.name)).collect();
    let wide = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(6);
    let head = format!("{:<wide$}  {:>11}  {:>8}  {:>11}  trust", "method", "evaluations", "seconds", "gap");
    let _ = writeln!(text, "\n{}", strong(&head, style));
    for (method, name) in comparison.methods.iter().zip(&names) {
        let explained = &method.explanation.explained[0];
        let trust = (0..comparison.rows()).map(|row| words::verdict(explained, row).trust).max();
        let _ = writeln!(
            text,
            "{name:<wide$}  {:>11}  {:>8.2}  {:>11}  {}",
            explained.attribution.evaluations,
            method.seconds,
            words::gap_share(&method.explanation),
            trust.map_or("", words::Trust::name),
        );
    }
    if names.len() > 1 {
        correlations(&mut text, comparison, &names, wide, style);
    }
    // What several methods say is told once.
    let mut told: Vec<&str> = Vec::new();
    for (method, name) in comparison.methods.iter().zip(&names) {
        for note in &method.explanation.notes {
            if !told.contains(&note.as_str()) {
                let _ = writeln!(text, "note: {name}: {}", clean(note));
                told.push(note);
            }
        }
    }
    text
}

/// A table, signed values above sizes.
fn correlations(text: &mut String, comparison: &Comparison, names: &[String], wide: usize, style: Style) {
    for (title, signed) in [("rank correlation of signed values", true), ("of their sizes", false)] {
        let _ = writeln!(text, "\n{}", strong(title, style));
        let heads: Vec<String> = (1..=names.len()).map(|number| format!("{number:>6}")).collect();
        let _ = writeln!(text, "{:<wide$}     {}", "", heads.concat());
        for (row, name) in names.iter().enumerate() {
            let _ = write!(text, "{name:<wide$}  {:>2} ", row + 1);
            for column in 0..names.len() {
                let cell = match comparison.correlation(row, column) {
                    Some(found) if signed => rank(found.mean_signed()),
                    Some(found) => rank(found.mean_absolute()),
                    None => "·".to_owned(),
                };
                let _ = write!(text, "{cell:>6}");
            }
            text.push('\n');
        }
    }
}

/// What is known of rows that were written to files: the first ones, and how far all can be trusted.
pub fn streamed(streamed: &Streamed, style: Style) -> String {
    let mut text = explanation(&streamed.first, style);
    let _ = writeln!(text, "\n{}", strong(&shown(streamed.first.rows(), streamed.rows), style));
    let trust: Vec<String> = streamed.trust.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let evaluations: u64 =
        streamed.first.explained.iter().map(|explained| explained.attribution.evaluations).sum();
    let _ = writeln!(text, "  {evaluations} evaluations; trust: {}", trust.join(", "));
    text
}

/// What is known of predictions that were written to files: the first ones.
pub fn streamed_prediction(streamed: &StreamedPrediction, style: Style) -> String {
    let names: Vec<&str> = streamed.names.iter().map(String::as_str).collect();
    let mut text = prediction(&streamed.first, &names, style);
    let _ = writeln!(text, "\n{}", strong(&shown(names.len(), streamed.rows), style));
    text
}

fn shown(first: usize, rows: usize) -> String {
    format!("{rows} rows in all, of which the first {first} are shown")
}

/// How one number came to be, as a textbook writes it.
pub fn trace(trace: &Trace, style: Style) -> String {
    super::trace::trace(trace, style)
}

/// Every neuron of every layer of single numbers, with its error where the model was judged.
pub fn full(layers: &[FullLayer], judged: Option<(&'static str, f64)>, style: Style) -> String {
    super::trace::full(layers, judged, style)
}

/// The examples that excite units most, as a table.
pub fn strongest(strongest: &Strongest) -> String {
    super::pictures::strongest_text(strongest)
}

/// What was seen inside a model: a table of layers, of weights where the model was judged, and what is wrong.
pub fn inspection(inspection: &Inspection, style: Style) -> String {
    super::inside::inspection(inspection, style)
}

/// The best classes of every row; `rows` are their names.
pub fn prediction(prediction: &Prediction, rows: &[&str], style: Style) -> String {
    let mut text = String::new();
    for (row, name) in rows.iter().enumerate() {
        if row > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", strong(&clean(name), style));
        classes(&mut text, prediction, row, &[], style);
    }
    text
}

fn classes(text: &mut String, prediction: &Prediction, row: usize, targets: &[usize], style: Style) {
    let all = prediction.top(row, usize::MAX);
    let largest = all.iter().map(|class| class.score.abs()).fold(f32::MIN_POSITIVE, f32::max);
    for (place, class) in all.iter().enumerate() {
        let chosen = targets.contains(&class.index);
        if place >= LISTED && !chosen {
            continue;
        }
        let (value, part) = match class.probability {
            Some(probability) => (percent(probability), probability),
            None => (number(class.score), class.score.abs() / largest),
        };
        let name = clean(&class.name());
        let name = if chosen { strong(&name, style) } else { name };
        let _ = writeln!(text, "  {:<BAR$}  {value:>11}  {name}", bar(part));
    }
}

/// A bar of up to 24 columns in eighths of one.
pub(super) fn bar(part: f32) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 192")]
    let eighths = (part.clamp(0.0, 1.0) * (8 * BAR) as f32).round() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let bar = "█".repeat(eighths / 8) + rest;
    if bar.is_empty() && part > 0.0 { "▏".to_owned() } else { bar }
}

/// A picture in half blocks: each character is two pixels, one above the other.
fn picture(text: &mut String, picture: &image::RgbImage, style: Style) {
    let columns = PICTURE.0.min(u32::try_from(style.columns.saturating_sub(3)).unwrap_or(u32::MAX)).max(8);
    let factor = (f64::from(columns) / f64::from(picture.width()))
        .min(f64::from(2 * PICTURE.1) / f64::from(picture.height()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 72")]
    let scaled = |length: u32| ((f64::from(length) * factor).round() as u32).max(1);
    let (width, height) = (scaled(picture.width()), scaled(picture.height()).next_multiple_of(2));
    let small = resample::resize(picture, width, height, Interpolation::Bilinear, true);
    for line in (0..height).step_by(2) {
        text.push_str("  ");
        for column in 0..width {
            let [red, green, blue] = small.get_pixel(column, line).0;
            let [below_red, below_green, below_blue] = small.get_pixel(column, line + 1).0;
            let _ =
                write!(text, "\x1b[38;2;{red};{green};{blue};48;2;{below_red};{below_green};{below_blue}m▀");
        }
        text.push_str("\x1b[0m\n");
    }
}

pub(super) fn strong(text: &str, style: Style) -> String {
    if style.colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// Names come from files that nobody vouches for: without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::example::{invented, of_photograph, photograph};
    use super::*;

    #[test]
    fn plain_text_says_what_is_known() {
        let example = of_photograph("a\x1b[31m.png", photograph(40, 30), 8, invented(8, true));
        let text = explanation(&example, Style { columns: 80, colours: false });
        assert!(!text.contains('\x1b'), "names cannot command the terminal");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a[31m.png");
        assert_eq!(lines[1], "  █████████████▉                   58 %  Egyptian cat");
        assert!(text.contains("\nintegrated-gradients for Egyptian cat\n  limits of colours ±"));
        assert!(text.contains("  score 9.83 logits · baseline −0.412 · gap 0.0312 · quadrature error 1.4 ("));
        assert!(text.ends_with("note: The final Softmax was stepped over: scores are logits.\n"));
    }

    #[test]
    fn pictures_fit_the_terminal_and_end_their_colours() {
        let example = of_photograph("a.png", photograph(40, 30), 8, invented(8, true));
        let text = explanation(&example, Style { columns: 43, colours: true });
        let picture: Vec<&str> = text.lines().filter(|line| line.contains('▀')).collect();
        assert_eq!(picture.len(), 15);
        assert!(picture.iter().all(|line| line.matches('▀').count() == 40 && line.ends_with("\x1b[0m")));
    }

    #[test]
    fn bars_grow_in_eighths() {
        assert_eq!(bar(1.0), "█".repeat(24));
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(1e-9), "▏");
        assert_eq!(bar(0.5 / 24.0), "▌");
    }
}
