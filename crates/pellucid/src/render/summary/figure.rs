//! Plots of a summary: costs by module, first filters, weights; and how far weights moved.

use super::{terminal, times};
use crate::render::colour::ColourMap;
use crate::render::plot::{Area, Bar, bars, histogram};
use crate::render::scene::{Ink, Item, Scene};
use crate::render::text::{self, Weight};
use crate::render::tiles::{arranged, coloured, grid, signed_rgb};
use crate::render::words::{bytes, count, number, percent, to_f32};
use crate::summary::{Difference, Filters, Summary, WeightStatistics};

/// Space around, and width without it.
const MARGIN: f32 = 28.0;
const WIDTH: f32 = 860.0;

/// Histograms side by side, and how many at most.
const COLUMNS: usize = 4;
const HISTOGRAMS: usize = 240;

/// Modules and weights that have a bar.
const BARS: usize = 40;

fn heading(scene: &mut Scene, title: &str, line: &str) {
    scene.height += 24.0;
    let title = text::fitted(title, 20.0, Weight::SemiBold, WIDTH);
    scene.text(MARGIN, scene.height, 20.0, Weight::SemiBold, Ink::Strong, title);
    for line in text::wrapped(line, 14.0, Weight::Regular, WIDTH) {
        scene.height += 19.0;
        scene.text(MARGIN, scene.height, 14.0, Weight::Regular, Ink::Soft, line);
    }
    scene.height += 14.0;
}

fn drawing(title: String) -> Scene {
    let mut scene = Scene::new(WIDTH + 2.0 * MARGIN, title);
    scene.height = MARGIN / 2.0;
    scene
}

/// Costs, filters and weights.
pub(super) fn all(summary: &Summary) -> Scene {
    let mut scene = drawing(format!("summary of {}", summary.model));
    add_costs(&mut scene, summary);
    if let Some(filters) = &summary.filters {
        add_filters(&mut scene, filters);
    }
    add_weights(&mut scene, summary);
    scene.height += MARGIN;
    scene
}

/// Parameters and multiply-adds by module.
pub(super) fn costs(summary: &Summary) -> Scene {
    let mut scene = drawing(format!("parameters and multiply-adds of {}", summary.model));
    add_costs(&mut scene, summary);
    scene.height += MARGIN;
    scene
}

fn add_costs(scene: &mut Scene, summary: &Summary) {
    let adds = summary.multiply_adds.map_or_else(|| "unknown".to_owned(), count);
    let line = format!(
        "{} parameters, {adds} multiply-adds, weights of {}",
        count(summary.parameters.trainable),
        bytes(summary.memory.weights)
    );
    heading(scene, &summary.model, &line);
    let rows: Vec<_> = summary.modules.down_to(Some(1)).collect();
    let mut part = |name: &str, value: &dyn Fn(&crate::summary::Row) -> u64, all: u64| {
        let mut found: Vec<Bar> = rows
            .iter()
            .filter(|row| value(row) > 0)
            .map(|row| Bar {
                label: row.name.clone(),
                value: value(row) as f64,
                text: percent(to_f32(value(row) as f64 / all.max(1) as f64)),
            })
            .collect();
        found.truncate(BARS);
        if !found.is_empty() {
            scene.height += 20.0;
            scene.text(MARGIN, scene.height, 15.0, Weight::SemiBold, Ink::Strong, name);
            scene.height += 8.0;
            bars(scene, MARGIN, WIDTH, &found);
        }
    };
    part("Parameters", &|row| row.parameters, summary.parameters.trainable);
    part("Multiply-adds", &|row| row.multiply_adds.unwrap_or(0), summary.multiply_adds.unwrap_or(0));
    scene.height += 12.0;
}

/// The filters of the first layer.
pub(super) fn filters(summary: &Summary) -> Option<Scene> {
    let filters = summary.filters.as_ref()?;
    let mut scene = drawing(format!("first filters of {}", summary.model));
    add_filters(&mut scene, filters);
    scene.height += MARGIN;
    Some(scene)
}

/// The filters as one picture, and what the colours mean: each is stretched to its own largest number, as some are
/// hundreds of times stronger than others; dead ones stay grey.
pub(super) fn filter_grid(filters: &Filters) -> (image::RgbImage, String) {
    let [count, channels, height, width] = filters.shape;
    let largest = |values: &[f32]| {
        values.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f32::max)
    };
    let each: Vec<&[f32]> = filters.values.chunks_exact((channels * height * width).max(1)).collect();
    let all = largest(&filters.values);
    let limits: Vec<f32> = each.iter().map(|values| largest(values)).collect();
    let tiles: Vec<_> = each
        .iter()
        .zip(&limits)
        .map(|(values, limit)| {
            let limit = if *limit > 1e-6 * all { *limit } else { f32::MAX };
            match channels {
                3 => signed_rgb(values, width, limit),
                _ => coloured(values, width, ColourMap::BlueWhiteRed, limit),
            }
        })
        .collect();
    let (columns, zoom) = arranged(count, width, height, 860);
    let shown = if count < filters.of {
        format!("the first {count} of {} filters", filters.of)
    } else {
        format!("{count} filters")
    };
    let colours = if channels == 3 { "grey is 0" } else { "blue negative, white 0, red positive" };
    let least = limits.iter().copied().fold(f32::INFINITY, f32::min);
    let told = format!(
        "{shown} of {channels}×{height}×{width}; {colours}; full colour is each filter's own largest, from {} to {}",
        number(least),
        number(all)
    );
    (grid(&tiles, columns, zoom), told)
}

fn add_filters(scene: &mut Scene, filters: &Filters) {
    let (picture, told) = filter_grid(filters);
    heading(scene, "What the first layer looks for", &format!("{}: {told}", filters.name));
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    scene.width = scene.width.max(width + 2.0 * MARGIN);
    let y = scene.height.round();
    scene.items.push(Item::Picture { x: MARGIN, y, width, height, picture, alt: told });
    scene.height = y + height + 12.0;
}

/// How weights are distributed, where they were read.
pub(super) fn weights(summary: &Summary) -> Option<Scene> {
    summary.layers.iter().any(|layer| !layer.weights.is_empty()).then(|| {
        let mut scene = drawing(format!("weights of {}", summary.model));
        add_weights(&mut scene, summary);
        scene.height += MARGIN;
        scene
    })
}

fn add_weights(scene: &mut Scene, summary: &Summary) {
    let all: Vec<&WeightStatistics> = summary
        .layers
        .iter()
        .flat_map(|layer| &layer.weights)
        .filter(|weight| weight.role.is_product())
        .collect();
    if all.is_empty() {
        return;
    }
    let shown = all.len().min(HISTOGRAMS);
    let more =
        if shown < all.len() { format!("; the first {shown} of {}", all.len()) } else { String::new() };
    let line = format!(
        "kernels and matrices, from the smallest to the largest number, heights by the root of counts{more}"
    );
    heading(scene, "How the weights are distributed", &line);
    let gap = 24.0;
    let width = (WIDTH - gap * (COLUMNS as f32 - 1.0)) / COLUMNS as f32;
    let step = 118.0;
    let top = scene.height;
    for (place, weight) in all.iter().take(shown).enumerate() {
        let (column, row) = ((place % COLUMNS) as f32, (place / COLUMNS) as f32);
        let (x, y) = (MARGIN + column * (width + gap), top + row * step);
        let name = text::fitted(&weight.title(), 12.0, Weight::SemiBold, width);
        scene.text(x, y + 12.0, 12.0, Weight::SemiBold, Ink::Strong, name);
        let detail = format!("{}  std {}", times(&weight.shape), number(to_f32(weight.std)));
        let detail = text::fitted(&detail, 12.0, Weight::Regular, width);
        scene.text(x, y + 27.0, 12.0, Weight::Regular, Ink::Soft, detail);
        let area = Area { x, y: y + 34.0, width, height: 48.0 };
        histogram(scene, area, &weight.histogram, weight.quantiles[0], weight.quantiles[6]);
    }
    scene.height = top + shown.div_ceil(COLUMNS) as f32 * step;
}

/// How far weights moved: in words, by module, by weight.
pub(super) fn moved(difference: &Difference) -> Scene {
    let title = format!("{} → {}", difference.first, difference.second);
    let mut scene = drawing(title.clone());
    heading(&mut scene, &title, "bars: ‖after − before‖ / ‖before‖");
    for line in difference.words.iter().flat_map(|line| text::wrapped(line, 14.0, Weight::Regular, WIDTH)) {
        scene.height += 19.0;
        scene.text(MARGIN, scene.height, 14.0, Weight::Regular, Ink::Strong, line);
    }
    let mut part = |name: &str, found: Vec<Bar>| {
        if !found.is_empty() {
            scene.height += 32.0;
            scene.text(MARGIN, scene.height, 15.0, Weight::SemiBold, Ink::Strong, name);
            scene.height += 8.0;
            bars(&mut scene, MARGIN, WIDTH, &found);
        }
    };
    let bar = |name: &str, relative: f64| Bar {
        label: name.to_owned(),
        value: relative,
        text: percent(to_f32(relative)),
    };
    part(
        "By module",
        difference.modules.iter().take(BARS).map(|module| bar(&module.name, module.relative)).collect(),
    );
    let most = terminal::most_moved(difference);
    let weights = most.iter().filter_map(|weight| Some(bar(&weight.name, weight.relative?))).take(BARS);
    part("Weights that moved most", weights.collect());
    scene.height += MARGIN;
    scene
}
