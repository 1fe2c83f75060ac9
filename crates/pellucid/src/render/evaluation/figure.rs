//! Drawings of an evaluation: confusion matrix, reliability diagram, truth against prediction.

use super::{lead, measures, range, told};
use crate::evaluate::{Calibration, Confusion, Density, Evaluation, Report, Task};
use crate::render::colour::ColourMap;
use crate::render::picture;
use crate::render::plot::BLUE;
use crate::render::scene::{Anchor, Ink, Item, Scene, pixels};
use crate::render::text::{self, Weight};
use crate::render::tiles;
use crate::render::words::{count, number, percent, to_f32};
use crate::resample::{self, Interpolation};

const MARGIN: f32 = 28.0;
/// Classes that a matrix shows, those of the most mistakes where there are more.
const SHOWN: usize = 32;
/// Classes up to which counts stand in the cells.
const COUNTED: usize = 14;
/// Room of names beside a matrix.
const NAME: f32 = 150.0;
/// Side of a matrix and of a plot.
const SIDE: f32 = 480.0;
const PLOT: f32 = 340.0;
/// Where a curve should be.
const ORANGE: [u8; 3] = [213, 94, 0];

/// Everything that is drawn, below each other.
pub(super) fn all(evaluation: &Evaluation) -> Scene {
    let mut scene = Scene::new(2.0 * MARGIN + NAME + SIDE + 40.0, lead(evaluation));
    scene.height = MARGIN + 18.0;
    let most = scene.width - 2.0 * MARGIN;
    for line in text::wrapped(&lead(evaluation), 18.0, Weight::SemiBold, most) {
        scene.text(MARGIN, scene.height, 18.0, Weight::SemiBold, Ink::Strong, line);
        scene.height += 24.0;
    }
    for report in &evaluation.reports {
        scene.height += 10.0;
        if evaluation.reports.len() > 1 {
            let name = text::fitted(&report.model, 16.0, Weight::SemiBold, most);
            scene.text(MARGIN, scene.height + 8.0, 16.0, Weight::SemiBold, Ink::Strong, name);
            scene.height += 26.0;
        }
        numbers(&mut scene, evaluation, report);
        for drawing in drawings(evaluation, report) {
            scene.height += 24.0;
            put(&mut scene, drawing);
        }
    }
    scene.height += MARGIN;
    scene
}

/// The drawings of one model, each by itself.
pub(super) fn drawings(evaluation: &Evaluation, report: &Report) -> Vec<Scene> {
    let mut scenes = Vec::new();
    scenes.extend(report.confusion.as_ref().map(|confusion| matrix(confusion, &evaluation.names)));
    scenes.extend(report.calibration.as_ref().map(|calibration| reliability(calibration, evaluation.task)));
    for (density, name) in report.densities.iter().zip(&evaluation.names) {
        scenes.push(scatter(density, name));
    }
    scenes
}

/// A drawing below what is there already.
fn put(scene: &mut Scene, drawing: Scene) {
    let down = scene.height;
    for mut item in drawing.items {
        match &mut item {
            Item::Rectangle { x, y, .. }
            | Item::Frame { x, y, .. }
            | Item::Text { x, y, .. }
            | Item::Picture { x, y, .. } => {
                *x += MARGIN;
                *y += down;
            }
            Item::Line { points, .. } => points.iter_mut().for_each(|(x, y)| {
                *x += MARGIN;
                *y += down;
            }),
        }
        scene.items.push(item);
    }
    scene.height += drawing.height;
}

fn numbers(scene: &mut Scene, evaluation: &Evaluation, report: &Report) {
    for (measure, all) in measures(evaluation) {
        let at = evaluation.reports.iter().position(|known| std::ptr::eq(known, report)).unwrap_or(0);
        let Some(found) = all[at] else { continue };
        scene.height += 20.0;
        scene.text(MARGIN, scene.height, 14.0, Weight::Regular, Ink::Soft, measure.name.clone());
        let (right, y) = (MARGIN + 330.0, scene.height);
        let value = told(found.value, found.is_share);
        scene.anchored(right, y, 14.0, Weight::SemiBold, Anchor::End, Ink::Strong, value);
        let interval = range(found.interval, found.is_share);
        scene.text(right + 16.0, y, 14.0, Weight::Regular, Ink::Soft, interval);
    }
}

/// Classes that are shown, and whether these are all.
fn chosen(confusion: &Confusion) -> Vec<usize> {
    if confusion.classes <= SHOWN {
        return (0..confusion.classes).collect();
    }
    let mut classes = Vec::new();
    for (truth, predicted, _) in confusion.mistaken() {
        for class in [truth, predicted] {
            if classes.len() < SHOWN && !classes.contains(&class) {
                classes.push(class);
            }
        }
    }
    classes.sort_unstable();
    classes
}

/// Rows by what they are, columns by what they are taken for; colours are shares of a row.
fn matrix(confusion: &Confusion, names: &[String]) -> Scene {
    let classes = chosen(confusion);
    let side = (SIDE / classes.len().max(1) as f32).min(64.0);
    let small = (side * 0.36).clamp(7.0, 13.0);
    let mut scene = Scene::new(NAME + side * classes.len() as f32 + 8.0, "Confusion matrix");
    let title = if classes.len() < confusion.classes {
        format!("Confusion: the {} of {} classes that are mistaken most", classes.len(), confusion.classes)
    } else {
        "Confusion: what a row is, and what it is taken for".to_owned()
    };
    scene.text(0.0, 14.0, 14.0, Weight::SemiBold, Ink::Strong, title);
    let top = 44.0;
    let truths = confusion.truths();
    for (at, class) in classes.iter().enumerate() {
        let middle = NAME + (at as f32 + 0.5) * side;
        scene.anchored(
            middle,
            top - 6.0,
            small,
            Weight::Regular,
            Anchor::Middle,
            Ink::Soft,
            class.to_string(),
        );
        let y = top + (at as f32 + 0.5) * side + small * 0.36;
        let name = names.get(*class).cloned().unwrap_or_default();
        let numbered = format!("{class}");
        let size = small.max(9.0).min(side.max(7.0));
        let name = text::fitted(&name, size, Weight::Regular, NAME - 40.0);
        scene.text(0.0, y, size, Weight::Regular, Ink::Strong, name);
        scene.anchored(NAME - 8.0, y, small, Weight::Regular, Anchor::End, Ink::Soft, numbered);
    }
    for row in 0..classes.len() {
        for column in 0..classes.len() {
            square(&mut scene, (NAME + column as f32 * side, top + row as f32 * side), side, 0.0);
        }
    }
    for (truth, predicted, rows) in &confusion.counts {
        let place = |class: &usize| classes.binary_search(class).ok();
        let (Some(row), Some(column)) = (place(truth), place(predicted)) else { continue };
        let share = to_f32(*rows as f64 / truths[*truth].max(1) as f64);
        let at = (NAME + column as f32 * side, top + row as f32 * side);
        square(&mut scene, at, side, share);
        if classes.len() <= COUNTED {
            let ink = if share > 0.5 { [24, 28, 33] } else { [255; 3] };
            let (x, y) = (at.0 + side / 2.0, at.1 + side / 2.0 + small * 0.36);
            scene.anchored(x, y, small, Weight::Regular, Anchor::Middle, Ink::Own(ink), rows.to_string());
        }
    }
    scene.height = top + side * classes.len() as f32 + 16.0;
    scale(&mut scene, NAME, "0 % of the class", "100 %");
    scene
}

fn square(scene: &mut Scene, (x, y): (f32, f32), side: f32, share: f32) {
    let ink = Ink::Own(ColourMap::Cividis.colour(share));
    let gap = if side > 12.0 { 1.0 } else { 0.0 };
    scene.items.push(Item::Rectangle { x, y, width: side - gap, height: side - gap, ink });
}

/// The colours, with what their ends mean.
fn scale(scene: &mut Scene, x: f32, low: &str, high: &str) {
    let (y, width) = (scene.height, 220.0);
    let strip = picture::scale(ColourMap::Cividis);
    let alt = "scale of the colours".to_owned();
    scene.items.push(Item::Picture { x, y, width, height: 10.0, picture: strip, alt });
    scene.text(x, y + 25.0, 12.0, Weight::Regular, Ink::Soft, low);
    scene.anchored(x + width, y + 25.0, 12.0, Weight::Regular, Anchor::End, Ink::Soft, high);
    scene.height = y + 32.0;
}

/// A frame with an axis from `low` to `high` on both sides.
fn axes(scene: &mut Scene, (left, top): (f32, f32), ends: [String; 2], across: &str, up: &str) {
    scene.items.push(Item::Frame { x: left, y: top, width: PLOT, height: PLOT, ink: Ink::Line });
    let below = top + PLOT + 16.0;
    let [low, high] = ends;
    scene.text(left, below, 12.0, Weight::Regular, Ink::Soft, low.clone());
    scene.anchored(left + PLOT, below, 12.0, Weight::Regular, Anchor::End, Ink::Soft, high.clone());
    scene.anchored(left + PLOT / 2.0, below, 12.0, Weight::Regular, Anchor::Middle, Ink::Strong, across);
    scene.anchored(left - 6.0, top + PLOT, 12.0, Weight::Regular, Anchor::End, Ink::Soft, low);
    scene.anchored(left - 6.0, top + 10.0, 12.0, Weight::Regular, Anchor::End, Ink::Soft, high);
    scene.text(left, top - 8.0, 12.0, Weight::Regular, Ink::Strong, up);
}

/// The reliability diagram: the share of right answers by confidence, which should be on the diagonal; below, how many
/// answers there are.
fn reliability(calibration: &Calibration, task: Task) -> Scene {
    let left = 44.0;
    let what = if task == Task::MultiLabel {
        "share of labels that are set"
    } else {
        "share of answers that are right"
    };
    let title = format!(
        "Calibration error {}, at most {}",
        told(calibration.expected_error, true),
        told(calibration.maximum_error, true)
    );
    let wide = text::width(&title, 14.0, Weight::SemiBold) + 8.0;
    let mut scene = Scene::new((left + PLOT + 16.0).max(wide), "Reliability diagram");
    scene.text(0.0, 14.0, 14.0, Weight::SemiBold, Ink::Strong, title);
    let top = 50.0;
    axes(&mut scene, (left, top), ["0".to_owned(), "1".to_owned()], "probability given", what);
    let width = PLOT / calibration.bins.len() as f32;
    let y_of = |share: f64| top + PLOT * (1.0 - to_f32(share));
    for (at, bin) in calibration.bins.iter().enumerate() {
        let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) else { continue };
        let x = left + at as f32 * width;
        let y = y_of(accuracy).min(top + PLOT - 1.0);
        let height = top + PLOT - y;
        let bar = (width - 1.0).max(1.0);
        scene.items.push(Item::Rectangle { x, y, width: bar, height, ink: Ink::Own(BLUE) });
        // From what is right to what was promised.
        let middle = left + PLOT * to_f32(confidence);
        let points = vec![(middle, y_of(accuracy)), (middle, y_of(confidence))];
        scene.items.push(Item::Line { points, ink: Ink::Own(ORANGE) });
    }
    let diagonal = vec![(left, top + PLOT), (left + PLOT, top)];
    scene.items.push(Item::Line { points: diagonal, ink: Ink::Strong });
    let (base, high) = (top + PLOT + 84.0, 52.0);
    let most = calibration.bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    for (at, bin) in calibration.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let height = (high * to_f32(bin.count as f64 / most as f64)).max(1.0);
        let x = left + at as f32 * width;
        let bar = (width - 1.0).max(1.0);
        scene.items.push(Item::Rectangle { x, y: base - height, width: bar, height, ink: Ink::Soft });
    }
    scene.items.push(Item::Rectangle { x: left, y: base, width: PLOT, height: 1.0, ink: Ink::Line });
    let most = format!("answers by probability, at most {} in a bar", count(most));
    scene.text(left, base + 16.0, 12.0, Weight::Regular, Ink::Soft, most);
    scene.height = base + 22.0;
    scene
}

/// Truth across, prediction up; the diagonal is where they are equal.
fn scatter(density: &Density, name: &str) -> Scene {
    let left = 64.0;
    let mut scene = Scene::new(left + PLOT + 16.0, format!("Truth and prediction of {name}"));
    let title = text::fitted(&format!("{name}: truth and prediction"), 14.0, Weight::SemiBold, PLOT);
    scene.text(0.0, 14.0, 14.0, Weight::SemiBold, Ink::Strong, title);
    let top = 50.0;
    let ends = [density.low, density.high].map(|end| number(to_f32(end)));
    axes(&mut scene, (left, top), ends, "truth", "prediction");
    let steps = density.steps;
    let most = density.counts.iter().copied().max().unwrap_or(0).max(1);
    // By the root of the counts, so that what is rare shows; upwards is more.
    let root = |count: u64| to_f32((count as f64 / most as f64).sqrt());
    let values: Vec<f32> = (0..steps)
        .rev()
        .flat_map(|up| (0..steps).map(move |across| (across, up)))
        .map(|(across, up)| root(density.counts[across * steps + up]))
        .collect();
    let picture = tiles::coloured(&values, steps, ColourMap::Cividis, 1.0);
    let side = pixels(PLOT);
    let picture = resample::resize(&picture, side, side, Interpolation::Nearest, false);
    let alt = format!("how many rows have which truth and which prediction, at most {most} in a place");
    scene.items.push(Item::Picture { x: left, y: top, width: PLOT, height: PLOT, picture, alt });
    let diagonal = vec![(left, top + PLOT), (left + PLOT, top)];
    scene.items.push(Item::Line { points: diagonal, ink: Ink::Own([255; 3]) });
    scene.height = top + PLOT + 30.0;
    scale(&mut scene, left, "no row", &format!("{} rows, by the root", count(most)));
    scene
}

/// Names of what a matrix shows besides its picture, for those who cannot see it.
pub(super) fn in_words(confusion: &Confusion, names: &[String]) -> String {
    let truths = confusion.truths();
    let told: Vec<String> = confusion
        .mistaken()
        .into_iter()
        .take(5)
        .map(|(truth, predicted, rows)| {
            let name = |class: usize| names.get(class).map_or("?", String::as_str);
            let share = rows as f64 / truths[truth].max(1) as f64;
            format!(
                "{} is taken for {} in {} rows ({} of its rows)",
                name(truth),
                name(predicted),
                count(rows),
                percent(to_f32(share))
            )
        })
        .collect();
    if told.is_empty() { "Nothing is mistaken.".to_owned() } else { format!("{}.", told.join("; ")) }
}
