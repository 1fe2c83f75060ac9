//! The figure of one row as a drawing: title, heatmap or chart, scale with its limits, and the numbers that go with it.

use std::fmt::Write as _;

use super::colour::ColourMap;
use super::heat::{Drawn, HeatMap, draw_row};
use super::picture::{self, Ground};
use super::scene::{Anchor, Ink, Item, Scene};
use super::text::{self, Weight};
use super::words::{self, number};
use crate::attribution::{Explained, Explanation};

/// Space around and between.
const MARGIN: f32 = 28.0;
/// Width of charts.
const CHART: f32 = 720.0;
/// Height of one bar, with the space below it.
const BAR: f32 = 26.0;
/// Colours of lines, told apart by people with and without a colour vision deficiency (Okabe and Ito 2008).
const LINES: [[u8; 3]; 6] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [230, 159, 0]];

/// The figure of one row: a block for every target and input.
pub(super) fn figure(explanation: &Explanation, row: usize) -> Scene {
    let name = &explanation.inputs.rows()[row].name;
    let targets: Vec<String> =
        explanation.explained.iter().map(|explained| explained.targets[row].to_string()).collect();
    let mut scene = Scene::new(
        CHART + 2.0 * MARGIN,
        format!("{} of {}: {} in {}", explanation.method.name, explanation.model, targets.join(", "), name),
    );
    scene.height = MARGIN;
    for explained in &explanation.explained {
        for index in 0..explained.attribution.values.len() {
            block(&mut scene, explanation, explained, index, row);
        }
    }
    scene.height += MARGIN - 8.0;
    scene
}

fn block(scene: &mut Scene, explanation: &Explanation, explained: &Explained, index: usize, row: usize) {
    let (input, _) = &explained.attribution.values[index];
    let drawn = draw_row(explanation, explained, index, row);
    let ground = match &drawn {
        Drawn::Map(map) => Some(Ground::new((&explanation.inputs, &explanation.spaces), row, input, map)),
        _ => None,
    };
    let width = ground.as_ref().map_or(CHART, |ground| (ground.picture.width() as f32).max(480.0));
    scene.width = scene.width.max(width + 2.0 * MARGIN);
    heading(scene, explanation, explained, row, width);
    match (&drawn, &ground) {
        (Drawn::Map(map), Some(ground)) => {
            let picture = ground.with_overlay(map);
            let (width, height) = (picture.width() as f32, picture.height() as f32);
            let alt = format!("heatmap over {}", explanation.inputs.rows()[row].name);
            scene.items.push(Item::Picture { x: MARGIN, y: scene.height, width, height, picture, alt });
            if ground.is_cropped() {
                let (left, top, width, height) = ground.view;
                scene.items.push(Item::Frame {
                    x: MARGIN + left as f32,
                    y: scene.height + top as f32,
                    width: width as f32,
                    height: height as f32,
                    ink: Ink::Own([255; 3]),
                });
            }
            scene.height += height + 16.0;
            scale(scene, map, explained, row, width.max(480.0));
        }
        (Drawn::Bars { bars, of }, _) => bar_chart(scene, explanation, input, bars, *of, row),
        (Drawn::Lines { lines, channels }, _) => line_chart(scene, input, lines, *channels),
        (Drawn::Map(_), None) => {}
    }
    let drawing = match (&drawn, &ground) {
        (Drawn::Map(map), Some(ground)) => Some(how_drawn(map, ground)),
        _ => None,
    };
    caption(scene, explained, drawing, row, width);
}

fn heading(scene: &mut Scene, explanation: &Explanation, explained: &Explained, row: usize, width: f32) {
    let target = &explained.targets[row];
    let probability = match &target.minus {
        None => explanation
            .prediction
            .probabilities(row)
            .and_then(|probabilities| probabilities.get(target.class()?).copied())
            .map(words::percent),
        Some(_) => None,
    };
    scene.height += 22.0;
    let right = probability.unwrap_or_default();
    let right_width = text::width(&right, 26.0, Weight::Regular);
    let title = text::fitted(&target.to_string(), 26.0, Weight::SemiBold, width - right_width - 24.0);
    scene.text(MARGIN, scene.height, 26.0, Weight::SemiBold, Ink::Strong, title);
    scene.anchored(MARGIN + width, scene.height, 26.0, Weight::Regular, Anchor::End, Ink::Soft, right);
    scene.height += 26.0;
    let layer = explanation.layer.as_ref().map(|layer| format!(" at {layer}")).unwrap_or_default();
    let line = format!(
        "{}{layer}  ·  {}  ·  {}",
        explanation.method.name,
        explanation.model,
        explanation.inputs.rows()[row].name
    );
    let line = text::fitted(&line, 15.0, Weight::Regular, width);
    scene.text(MARGIN, scene.height, 15.0, Weight::Regular, Ink::Soft, line);
    scene.height += 16.0;
}

/// The colours from end to end, their limits in numbers, and what the ends mean.
fn scale(scene: &mut Scene, map: &HeatMap, explained: &Explained, row: usize, width: f32) {
    let height = 12.0;
    let strip = picture::scale(map.colours);
    let alt = "scale of the colours".to_owned();
    scene.items.push(Item::Picture { x: MARGIN, y: scene.height, width, height, picture: strip, alt });
    scene.items.push(Item::Frame { x: MARGIN, y: scene.height, width, height, ink: Ink::Line });
    scene.height += height + 19.0;
    let (against, for_it) = words::ends(&explained.targets[row]);
    let limit = number(map.limit);
    let half = width / 2.0 - 40.0;
    let (low, high) = match map.colours {
        ColourMap::BlueWhiteRed => (format!("−{limit}  {against}"), format!("{for_it}  {limit}")),
        ColourMap::Cividis => ("0".to_owned(), format!("{for_it}  {limit}")),
    };
    let put = |scene: &mut Scene, x: f32, anchor, label: &str| {
        let label = text::fitted(label, 14.0, Weight::Regular, half);
        scene.anchored(x, scene.height, 14.0, Weight::Regular, anchor, Ink::Strong, label);
    };
    put(scene, MARGIN, Anchor::Start, &low);
    put(scene, MARGIN + width, Anchor::End, &high);
    if map.colours == ColourMap::BlueWhiteRed {
        put(scene, MARGIN + width / 2.0, Anchor::Middle, "0");
    }
    scene.height += 8.0;
}

fn bar_chart(
    scene: &mut Scene,
    explanation: &Explanation,
    input: &str,
    bars: &[(usize, f32)],
    of: usize,
    row: usize,
) {
    let values = explanation.inputs.get(input).map(|array| array.rows(row..row + 1).to_f32());
    let largest = bars.iter().map(|(_, value)| value.abs()).fold(f32::MIN_POSITIVE, f32::max);
    let signed = bars.iter().any(|(_, value)| *value < 0.0);
    let (labels, numbers) = (220.0, 84.0);
    let room = CHART - labels - numbers;
    let zero = MARGIN + labels + if signed { room / 2.0 } else { 0.0 };
    let reach = if signed { room / 2.0 } else { room };
    let top = scene.height + 6.0;
    for (position, value) in bars {
        let middle = scene.height + BAR / 2.0 + 6.0;
        let mut label = format!("{input}[{position}]");
        if let Some(found) = values.as_ref().and_then(|values| values.iter().nth(*position)) {
            let _ = write!(label, " = {}", number(*found));
        }
        let label = text::fitted(&label, 14.0, Weight::Regular, labels - 16.0);
        scene.text(MARGIN, middle + 5.0, 14.0, Weight::Regular, Ink::Strong, label);
        let length = value.abs() / largest * reach;
        let colour = ColourMap::BlueWhiteRed.colour(0.75f32.copysign(*value));
        scene.items.push(Item::Rectangle {
            x: if *value < 0.0 { zero - length } else { zero },
            y: middle - 8.0,
            width: length.max(1.0),
            height: 16.0,
            ink: Ink::Own(colour),
        });
        let text = number(*value);
        scene.anchored(MARGIN + CHART, middle + 5.0, 14.0, Weight::Regular, Anchor::End, Ink::Strong, text);
        scene.height += BAR;
    }
    let height = scene.height + 6.0 - top;
    scene.items.push(Item::Rectangle { x: zero, y: top, width: 1.0, height, ink: Ink::Soft });
    scene.height += 22.0;
    if of > bars.len() {
        let note = format!("the {} largest of {of} values", bars.len());
        scene.text(MARGIN, scene.height + 6.0, 14.0, Weight::Regular, Ink::Soft, note);
        scene.height += 14.0;
    }
}

fn line_chart(scene: &mut Scene, input: &str, lines: &[Vec<f32>], channels: usize) {
    let height = 240.0;
    let all = || lines.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = all().fold((0f32, 0f32), |(low, high), value| (low.min(value), high.max(value)));
    let span = (high - low).max(f32::MIN_POSITIVE);
    let (left, top, width) = (MARGIN + 76.0, scene.height + 10.0, CHART - 76.0);
    let y = |value: f32| top + (high - value) / span * height;
    scene.items.push(Item::Frame { x: left, y: top, width, height, ink: Ink::Line });
    scene.items.push(Item::Rectangle { x: left, y: y(0.0), width, height: 1.0, ink: Ink::Soft });
    let mut put = |value: f32| {
        let label = number(value);
        scene.anchored(left - 10.0, y(value) + 5.0, 14.0, Weight::Regular, Anchor::End, Ink::Strong, label);
    };
    [low, high].into_iter().filter(|value| *value != 0.0).for_each(&mut put);
    put(0.0);
    for (line, colour) in lines.iter().zip(LINES) {
        let last = (line.len().max(2) - 1) as f32;
        let points =
            line.iter().enumerate().map(|(at, value)| (left + at as f32 / last * width, y(*value))).collect();
        scene.items.push(Item::Line { points, ink: Ink::Own(colour) });
    }
    scene.height = top + height + 20.0;
    let length = lines.first().map_or(0, Vec::len);
    scene.text(left, scene.height, 14.0, Weight::Regular, Ink::Soft, "0");
    let end = length.saturating_sub(1).to_string();
    scene.anchored(left + width, scene.height, 14.0, Weight::Regular, Anchor::End, Ink::Soft, end);
    let axis = if lines.len() < channels {
        format!("position in {input}, {channels} channels summed")
    } else {
        format!("position in {input}")
    };
    scene.anchored(left + width / 2.0, scene.height, 14.0, Weight::Regular, Anchor::Middle, Ink::Soft, axis);
    if lines.len() > 1 {
        scene.height += 22.0;
        let mut x = left;
        for (channel, colour) in (0..lines.len()).zip(LINES) {
            let label = format!("channel {channel}");
            scene.items.push(Item::Rectangle {
                x,
                y: scene.height - 9.0,
                width: 14.0,
                height: 8.0,
                ink: Ink::Own(colour),
            });
            scene.text(x + 20.0, scene.height, 14.0, Weight::Regular, Ink::Strong, label.clone());
            x += 40.0 + text::width(&label, 14.0, Weight::Regular);
        }
    }
    scene.height += 10.0;
}

/// The chart of a vector or a series, alone.
pub(super) fn chart(
    explanation: &Explanation,
    explained: &Explained,
    index: usize,
    drawn: &Drawn,
    row: usize,
) -> Scene {
    let (input, _) = &explained.attribution.values[index];
    let title = format!("attributions of {input} to {}", explained.targets[row]);
    let mut scene = Scene::new(CHART, title);
    scene.left = MARGIN;
    match drawn {
        Drawn::Bars { bars, of } => bar_chart(&mut scene, explanation, input, bars, *of, row),
        Drawn::Lines { lines, channels } => line_chart(&mut scene, input, lines, *channels),
        Drawn::Map(_) => {}
    }
    scene.height += 8.0;
    scene
}

/// What was done to draw a map.
pub(super) fn how_drawn(map: &HeatMap, ground: &Ground) -> String {
    let mut parts = Vec::new();
    parts.extend((!map.summed.is_empty()).then_some(map.summed));
    parts.push("colours end at the 99th percentile of |value|");
    if ground.is_cropped() {
        parts.push("framed: what the network saw");
    }
    let text = parts.join(", ");
    text[..1].to_uppercase() + &text[1..]
}

/// The numbers below a figure, and what was done to draw it.
fn caption(scene: &mut Scene, explained: &Explained, drawing: Option<String>, row: usize, width: f32) {
    let lines = [Some(words::summary(explained, row)), drawing];
    for (line, ink) in lines.iter().flatten().zip([Ink::Strong, Ink::Soft]) {
        for line in text::wrapped(line, 14.0, Weight::Regular, width) {
            scene.height += 18.0;
            scene.text(MARGIN, scene.height, 14.0, Weight::Regular, ink, line);
        }
    }
    scene.height += 8.0 + MARGIN / 2.0;
}
