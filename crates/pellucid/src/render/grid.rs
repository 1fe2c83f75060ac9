//! A comparison as one drawing: a row an input, a column a method, and how alike the methods are.

use super::colour::ColourMap;
use super::heat::{Drawn, draw_row};
use super::picture::{self, Ground};
use super::scene::{Anchor, Ink, Item, Scene, pixels};
use super::text::{self, Weight};
use super::words::{self, number};
use crate::compare::{Compared, Comparison};
use crate::resample::{self, Interpolation};

/// Space around the grid and between its cells.
const MARGIN: f32 = 28.0;
const GAP: f32 = 16.0;
/// Width of a cell.
const CELL: f32 = 240.0;
/// Bars in a cell.
const BARS: usize = 8;
/// Columns of the table of correlations.
const LABEL: f32 = 230.0;
const COLUMN: f32 = 128.0;

/// The grid.
pub(super) fn grid(comparison: &Comparison) -> Scene {
    let columns = comparison.methods.len() as f32;
    let first = &comparison.methods[0].explanation;
    let names: Vec<&str> = comparison.methods.iter().map(|method| method.name.as_str()).collect();
    let with_inputs = (0..comparison.rows()).any(|row| original(comparison, row).is_some());
    let shown = columns + f32::from(u8::from(with_inputs));
    let table = if names.len() > 1 { LABEL + columns * COLUMN } else { 0.0 };
    let width = (shown * (CELL + GAP) - GAP).max(table);
    let mut scene = Scene::new(
        width + 2.0 * MARGIN,
        format!("{} of {} on {} inputs", names.join(", "), first.model, comparison.rows()),
    );
    scene.height = MARGIN + 22.0;
    let left = MARGIN + if with_inputs { CELL + GAP } else { 0.0 };
    for (column, name) in names.iter().enumerate() {
        let name = text::fitted(name, 17.0, Weight::SemiBold, CELL);
        let x = left + column as f32 * (CELL + GAP);
        scene.text(x, scene.height, 17.0, Weight::SemiBold, Ink::Strong, name);
    }
    scene.height += 14.0;
    for row in 0..comparison.rows() {
        heading(&mut scene, comparison, row, width);
        let top = scene.height;
        let mut bottom = top;
        if let Some(input) = original(comparison, row) {
            bottom = bottom.max(top + put(&mut scene, (MARGIN, top), &input, "the input"));
        }
        for (column, method) in comparison.methods.iter().enumerate() {
            let x = left + column as f32 * (CELL + GAP);
            bottom = bottom.max(cell(&mut scene, method, row, (x, top)));
        }
        scene.height = bottom + GAP;
    }
    if names.len() > 1 {
        correlations(&mut scene, comparison);
    }
    scene.height += MARGIN - GAP;
    scene
}

/// The input's name, and what is explained of it.
fn heading(scene: &mut Scene, comparison: &Comparison, row: usize, width: f32) {
    let explanation = &comparison.methods[0].explanation;
    let explained = &explanation.explained[0];
    let name = &explanation.inputs.rows()[row].name;
    let target =
        format!("{name}  ·  {}, {}", explained.targets[row], words::score(&explained.attribution, row));
    scene.height += 16.0;
    let line = text::fitted(&target, 15.0, Weight::Regular, width);
    scene.text(MARGIN, scene.height, 15.0, Weight::Regular, Ink::Soft, line);
    scene.height += 10.0;
}

/// What was looked at, where it is a photograph.
fn original(comparison: &Comparison, row: usize) -> Option<image::RgbImage> {
    let photograph = comparison.methods[0].explanation.inputs.rows()[row].photograph.as_ref()?;
    Some(photograph.picture.clone())
}

/// A picture of a cell's width; returns its height.
fn put(scene: &mut Scene, (x, y): (f32, f32), picture: &image::RgbImage, alt: &str) -> f32 {
    let height = (CELL * picture.height() as f32 / picture.width().max(1) as f32).round();
    let picture = resample::resize(picture, pixels(CELL), pixels(height), Interpolation::Bicubic, true);
    scene.items.push(Item::Picture { x, y, width: CELL, height, picture, alt: alt.to_owned() });
    height
}

/// One method on one input; returns where it ends.
fn cell(scene: &mut Scene, method: &Compared, row: usize, (x, top): (f32, f32)) -> f32 {
    let explanation = &method.explanation;
    let attribution = &explanation.explained[0].attribution;
    let mut y = top;
    for (index, (input, _)) in attribution.values.iter().enumerate() {
        match draw_row(explanation, &explanation.explained[0], index, row) {
            Drawn::Map(map) => {
                let ground = Ground::new((&explanation.inputs, &explanation.spaces), row, input, &map);
                let alt = format!("{} of {}", method.name, explanation.inputs.rows()[row].name);
                y += put(scene, (x, y), &ground.with_overlay(&map), &alt) + 6.0;
                y = scale(scene, map.colours, map.limit, (x, y));
            }
            Drawn::Bars { bars, .. } => y = chart(scene, input, &bars, (x, y)),
            Drawn::Lines { lines, .. } => y = curves(scene, &lines, (x, y)),
        }
    }
    let mut checks = Vec::new();
    if let Some(gap) = &attribution.gap {
        checks.push(format!("gap {}", number(gap[row])));
    }
    checks.push(format!("trust {}", words::verdict(&explanation.explained[0], row).trust.name()));
    y += 16.0;
    let line = text::fitted(&checks.join("  ·  "), 12.0, Weight::Regular, CELL);
    scene.text(x, y, 12.0, Weight::Regular, Ink::Soft, line);
    y + 4.0
}

/// The colours from end to end, and their limits.
fn scale(scene: &mut Scene, colours: ColourMap, limit: f32, (x, y): (f32, f32)) -> f32 {
    let alt = "scale of the colours".to_owned();
    let strip = picture::scale(colours);
    scene.items.push(Item::Picture { x, y, width: CELL, height: 8.0, picture: strip, alt });
    scene.items.push(Item::Frame { x, y, width: CELL, height: 8.0, ink: Ink::Line });
    let limit = number(limit);
    let low = if colours == ColourMap::BlueWhiteRed { format!("−{limit}") } else { "0".to_owned() };
    let below = y + 22.0;
    scene.text(x, below, 12.0, Weight::Regular, Ink::Strong, low);
    scene.anchored(x + CELL, below, 12.0, Weight::Regular, Anchor::End, Ink::Strong, limit);
    below
}

/// The strongest numbers of a vector.
fn chart(scene: &mut Scene, input: &str, bars: &[(usize, f32)], (x, top): (f32, f32)) -> f32 {
    let largest = bars.iter().map(|(_, value)| value.abs()).fold(f32::MIN_POSITIVE, f32::max);
    let (zero, reach) = (x + 150.0, 40.0);
    let mut y = top;
    for (position, value) in bars.iter().take(BARS) {
        y += 18.0;
        let label = text::fitted(&format!("{input}[{position}]"), 12.0, Weight::Regular, 104.0);
        scene.text(x, y, 12.0, Weight::Regular, Ink::Strong, label);
        let length = (value.abs() / largest * reach).max(1.0);
        scene.items.push(Item::Rectangle {
            x: if *value < 0.0 { zero - length } else { zero },
            y: y - 10.0,
            width: length,
            height: 12.0,
            ink: Ink::Own(ColourMap::BlueWhiteRed.colour(0.75f32.copysign(*value))),
        });
        let end = x + CELL;
        scene.anchored(end, y, 12.0, Weight::Regular, Anchor::End, Ink::Strong, number(*value));
    }
    y
}

/// A series' lines between its extremes.
fn curves(scene: &mut Scene, lines: &[Vec<f32>], (x, top): (f32, f32)) -> f32 {
    let height = 120.0;
    let all = || lines.iter().flatten().copied().filter(|value| value.is_finite());
    let most = all().map(f32::abs).fold(f32::MIN_POSITIVE, f32::max);
    scene.items.push(Item::Frame { x, y: top, width: CELL, height, ink: Ink::Line });
    for line in lines {
        let last = (line.len().max(2) - 1) as f32;
        let place = |(at, value): (usize, &f32)| {
            (x + at as f32 / last * CELL, top + height / 2.0 * (1.0 - value / most))
        };
        let points = line.iter().enumerate().map(place).collect();
        scene.items.push(Item::Line { points, ink: Ink::Strong });
    }
    let below = top + height + 14.0;
    scene.text(x, below, 12.0, Weight::Regular, Ink::Strong, format!("between −{0} and {0}", number(most)));
    below
}

/// A rank correlation for people.
pub(super) fn rank(correlation: Option<f64>) -> String {
    let Some(value) = correlation else { return "–".to_owned() };
    let text = format!("{value:.2}");
    if text == "-0.00" { "0.00".to_owned() } else { text.replace('-', "−") }
}

/// Signed and of sizes, of every two methods.
fn correlations(scene: &mut Scene, comparison: &Comparison) {
    scene.height += 26.0;
    let title = "Rank correlations: of signed values / of their sizes, mean over the inputs";
    scene.text(MARGIN, scene.height, 14.0, Weight::SemiBold, Ink::Strong, title);
    scene.height += 22.0;
    let put = |scene: &mut Scene, column: usize, ink, label: &str| {
        let x = MARGIN + LABEL + (column as f32 + 1.0) * COLUMN;
        let label = text::fitted(label, 12.0, Weight::Regular, COLUMN - 10.0);
        scene.anchored(x, scene.height, 12.0, Weight::Regular, Anchor::End, ink, label);
    };
    for (column, method) in comparison.methods.iter().enumerate() {
        put(scene, column, Ink::Soft, &method.name);
    }
    for (row, method) in comparison.methods.iter().enumerate() {
        scene.height += 19.0;
        let name = text::fitted(&method.name, 12.0, Weight::Regular, LABEL);
        scene.text(MARGIN, scene.height, 12.0, Weight::Regular, Ink::Soft, name);
        for column in 0..comparison.methods.len() {
            let label = match comparison.correlation(row, column) {
                Some(found) => format!("{} / {}", rank(found.mean_signed()), rank(found.mean_absolute())),
                None => "·".to_owned(),
            };
            put(scene, column, Ink::Strong, &label);
        }
    }
    scene.height += GAP;
}
