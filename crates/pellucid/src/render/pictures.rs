//! Grids of pictures: a layer's maps, and the examples that excite units most.

use image::{Rgb, RgbImage};

use super::colour::ColourMap;
use super::inside::told;
use super::picture::scale;
use super::scene::{Anchor, Ink, Item, Scene, pixels};
use super::text::{self, Weight};
use super::words::number;
use crate::inspect::{FeatureMaps, StrongExample, Strongest};
use crate::resample::{self, Interpolation};

const MARGIN: f32 = 28.0;
const GAP: f32 = 10.0;
/// Width of a cell of maps, and of examples.
const MAP: f32 = 96.0;
const EXAMPLE: f32 = 112.0;
/// Cells in a row, and maps in all.
const ACROSS: usize = 8;
const MOST_MAPS: usize = 64;
/// Width of the names of units.
const NAME: f32 = 150.0;
/// Pictures up to this size are shown with the edges of their pixels.
const SMALL: u32 = 64;

fn put(scene: &mut Scene, (x, y): (f32, f32), side: f32, picture: &RgbImage, alt: String) {
    let (width, height) = picture.dimensions();
    let longest = width.max(height).max(1) as f32;
    let (wide, high) = (side * width as f32 / longest, side * height as f32 / longest);
    let interpolation =
        if width.max(height) <= SMALL { Interpolation::Nearest } else { Interpolation::Bicubic };
    let shown = resample::resize(picture, pixels(wide).max(1), pixels(high).max(1), interpolation, true);
    let (x, y) = (x + (side - wide) / 2.0, y + (side - high) / 2.0);
    scene.items.push(Item::Picture { x, y, width: wide, height: high, picture: shown, alt });
}

fn titled(width: f32, title: &str, below: &str) -> Scene {
    let mut scene = Scene::new(width, title);
    scene.height = MARGIN + 20.0;
    let most = width - 2.0 * MARGIN;
    let title = text::fitted(title, 18.0, Weight::SemiBold, most);
    scene.text(MARGIN, scene.height, 18.0, Weight::SemiBold, Ink::Strong, title);
    for line in text::wrapped(below, 13.0, Weight::Regular, most) {
        scene.height += 20.0;
        scene.text(MARGIN, scene.height, 13.0, Weight::Regular, Ink::Soft, line);
    }
    scene.height += 16.0;
    scene
}

/// The maps of a layer in colours that all of them share; of many those with the largest numbers, in their order.
pub(super) fn maps(found: &FeatureMaps) -> Scene {
    let size = |place: usize| found.maps[place].iter().fold(0f32, |most, value| most.max(value.abs()));
    let mut order: Vec<usize> = (0..found.maps.len()).collect();
    order.sort_by(|a, b| size(*b).total_cmp(&size(*a)).then(a.cmp(b)));
    order.truncate(MOST_MAPS);
    order.sort_unstable();
    let limit = order.iter().map(|place| size(*place)).fold(f32::MIN_POSITIVE, f32::max);
    let signed = order.iter().any(|place| found.maps[*place].iter().any(|value| *value < 0.0));
    let colours = if signed { ColourMap::BlueWhiteRed } else { ColourMap::Cividis };
    let across = order.len().clamp(1, ACROSS);
    let width = (across as f32 * (MAP + GAP) - GAP).max(420.0) + 2.0 * MARGIN;
    let shown = if order.len() < found.maps.len() {
        format!("the {} of {} channels with the largest numbers", order.len(), found.maps.len())
    } else {
        format!("{} channels", order.len())
    };
    let title = format!("{} of {}", found.layer, found.example);
    let mut scene = titled(width, &title, &format!("{}: {shown}", found.model));
    for line in order.chunks(across) {
        for (column, place) in line.iter().enumerate() {
            let map = &found.maps[*place];
            let (height, width) = map.dim();
            let side = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
            let picture = RgbImage::from_fn(side(width), side(height), |x, y| {
                Rgb(colours.colour(map[[y as usize, x as usize]] / limit))
            });
            let x = MARGIN + column as f32 * (MAP + GAP);
            let top = scene.height;
            put(&mut scene, (x, top), MAP, &picture, format!("channel {place}"));
            let label = format!("{place}");
            scene.text(x, top + MAP + 14.0, 12.0, Weight::Regular, Ink::Soft, label);
        }
        scene.height += MAP + 24.0;
    }
    let (x, y, wide) = (MARGIN, scene.height, 260.0);
    let alt = "scale of the colours".to_owned();
    scene.items.push(Item::Picture { x, y, width: wide, height: 8.0, picture: scale(colours), alt });
    scene.items.push(Item::Frame { x, y, width: wide, height: 8.0, ink: Ink::Line });
    let low = if signed { format!("−{}", number(limit)) } else { "0".to_owned() };
    scene.text(x, y + 24.0, 12.0, Weight::Regular, Ink::Strong, low);
    scene.anchored(x + wide, y + 24.0, 12.0, Weight::Regular, Anchor::End, Ink::Strong, number(limit));
    scene.height += 24.0 + MARGIN;
    scene
}

/// A row a unit: the part of each example that excites it most, with its number.
pub(super) fn strongest(found: &Strongest) -> Scene {
    let across = found.units.iter().map(|unit| unit.examples.len()).max().unwrap_or(0).max(1);
    let width = 2.0 * MARGIN + NAME + across as f32 * (EXAMPLE + GAP);
    let title = format!("What excites {} most", found.layer);
    let patches = found.units.iter().flat_map(|unit| &unit.examples).any(|example| example.patch.is_some());
    let what = if patches { "the part of each that the unit sees" } else { "each example whole" };
    let below = format!("{}: the strongest of {} examples, {what}", found.model, found.rows);
    let mut scene = titled(width, &title, &below);
    for unit in &found.units {
        let top = scene.height;
        let name = unit.label.clone().unwrap_or_else(|| format!("unit {}", unit.unit));
        let name = text::fitted(&name, 14.0, Weight::SemiBold, NAME - GAP);
        scene.text(MARGIN, top + EXAMPLE / 2.0, 14.0, Weight::SemiBold, Ink::Strong, name);
        if unit.examples.is_empty() {
            let none = "never above 0";
            scene.text(MARGIN, top + EXAMPLE / 2.0 + 18.0, 12.0, Weight::Regular, Ink::Soft, none);
        }
        for (column, example) in unit.examples.iter().enumerate() {
            let x = MARGIN + NAME + column as f32 * (EXAMPLE + GAP);
            if let Some(picture) = patch(example) {
                put(
                    &mut scene,
                    (x, top),
                    EXAMPLE,
                    &picture,
                    format!("{} at unit {}", example.name, unit.unit),
                );
            }
            let label = format!("{}  {}", number(example.value), short(&example.name));
            let label = text::fitted(&label, 11.0, Weight::Regular, EXAMPLE);
            scene.text(x, top + EXAMPLE + 14.0, 11.0, Weight::Regular, Ink::Soft, label);
        }
        scene.height += EXAMPLE + 26.0;
    }
    scene.height += MARGIN - GAP;
    scene
}

/// Of one row of many its number alone: the file is the same for all.
fn short(name: &str) -> &str {
    match name.rsplit_once('[') {
        Some((_, row)) if row.ends_with(']') => row.trim_end_matches(']'),
        _ => name,
    }
}

/// The part of an example that a unit sees.
fn patch(example: &StrongExample) -> Option<RgbImage> {
    let picture = example.picture.as_ref()?;
    Some(match example.patch {
        Some((left, top, width, height)) => {
            image::imageops::crop_imm(picture, left, top, width, height).to_image()
        }
        None => picture.clone(),
    })
}

/// The same as a table.
pub(super) fn strongest_text(found: &Strongest) -> String {
    let mut table = vec![
        ["unit", "number", "example", "at", "sees (left, top, width, height)"].map(str::to_owned).to_vec(),
    ];
    for unit in &found.units {
        let name = unit.label.clone().unwrap_or_else(|| unit.unit.to_string());
        for (place, example) in unit.examples.iter().enumerate() {
            let position: Vec<String> = example.position.iter().map(usize::to_string).collect();
            table.push(vec![
                if place == 0 { super::terminal::clean(&name) } else { String::new() },
                told(f64::from(example.value)),
                super::terminal::clean(&example.name),
                position.join(", "),
                example.patch.map_or_else(
                    || "all of it".to_owned(),
                    |(left, top, width, height)| format!("{left}, {top}, {width}, {height}"),
                ),
            ]);
        }
    }
    let head = format!("{}: what excites {} most, of {} examples\n", found.model, found.layer, found.rows);
    head + &super::inside::aligned(&table, &[1])
}
