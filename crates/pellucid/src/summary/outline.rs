//! Modules and layers as a tree, rebuilt from the layers' dotted places.

use std::collections::BTreeMap;

use serde::Serialize;

use super::places::Place;
use super::{Layer, Size};

/// Names are split into at most so many levels; a hostile name could have millions.
const LEVELS: usize = 24;

/// A tree, in the order in which it is read: every module before what is in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Outline {
    /// Modules and layers.
    pub rows: Vec<Row>,
}

/// A module, with the sums of what is in it, or a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Dotted name.
    pub name: String,
    /// What it is called within its module.
    pub label: String,
    /// Level, from 1.
    pub depth: usize,
    /// The row of the module that it is in.
    pub parent: Option<usize>,
    /// The layer, by its position in the summary; `None` of a module.
    pub layer: Option<usize>,
    /// Layers in it; 1 of a layer.
    pub layers: usize,
    /// The operator of a layer.
    pub kind: Option<String>,
    /// Trainable parameters.
    pub parameters: u64,
    /// Running statistics.
    pub statistics: u64,
    /// Multiply-adds; `None` where those of a layer are not known.
    pub multiply_adds: Option<u64>,
    /// Bytes of all that is computed in it; `None` where a size is not known.
    pub activation_bytes: Option<u64>,
    /// Shape of what its last layer gives.
    pub output_shape: Option<Vec<Size>>,
    /// Seconds that its layers take, where they were measured.
    pub seconds: Option<f64>,
}

#[derive(Debug, Default)]
struct Module {
    name: String,
    label: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Module(usize),
    Layer(usize),
}

/// The parts of a name; the last holds what is deeper than is split.
pub(super) fn levels(name: &str) -> Vec<&str> {
    name.splitn(LEVELS, ['.', '/']).filter(|part| !part.is_empty()).collect()
}

impl Outline {
    /// Of layers that stand at `places`.
    pub(super) fn of(layers: &[Layer], places: &[Place]) -> Self {
        let modules = modules(layers, places);
        let mut rows: Vec<Row> = Vec::new();
        // A stack of its own: nothing is as deep as a hostile file.
        let mut waiting: Vec<(Item, usize, Option<usize>)> =
            modules[0].items.iter().rev().map(|item| (*item, 1, None)).collect();
        while let Some((item, depth, parent)) = waiting.pop() {
            match item {
                Item::Layer(layer) => rows.push(of_layer(layers, layer, None, depth, parent)),
                Item::Module(module) => {
                    let module = &modules[module];
                    if let [Item::Layer(layer)] = module.items[..] {
                        rows.push(of_layer(layers, layer, Some(&module.label), depth, parent));
                        continue;
                    }
                    let row = rows.len();
                    rows.push(of_module(module, depth, parent));
                    waiting.extend(module.items.iter().rev().map(|item| (*item, depth + 1, Some(row))));
                }
            }
        }
        let mut outline = Self { rows };
        outline.add_up(layers);
        outline
    }

    /// Adds what layers have to the modules that they are in.
    fn add_up(&mut self, layers: &[Layer]) {
        let mut last: Vec<usize> = self.rows.iter().map(|row| row.layer.unwrap_or(0)).collect();
        for index in (0..self.rows.len()).rev() {
            let row = self.rows[index].clone();
            if row.layer.is_none() {
                self.rows[index].output_shape.clone_from(&layers[last[index]].output_shape);
            }
            let Some(parent) = row.parent else { continue };
            last[parent] = last[parent].max(last[index]);
            let above = &mut self.rows[parent];
            above.layers += row.layers;
            above.parameters = above.parameters.saturating_add(row.parameters);
            above.statistics = above.statistics.saturating_add(row.statistics);
            let sum = |a: Option<u64>, b: Option<u64>| a?.checked_add(b?);
            above.multiply_adds = sum(above.multiply_adds, row.multiply_adds);
            above.activation_bytes = sum(above.activation_bytes, row.activation_bytes);
        }
    }

    /// Adds seconds of layers, by their positions in the summary.
    pub(super) fn add_times(&mut self, seconds: &[Option<f64>]) {
        for index in (0..self.rows.len()).rev() {
            if let Some(layer) = self.rows[index].layer {
                self.rows[index].seconds = seconds.get(layer).copied().flatten();
            }
            if let (Some(parent), Some(own)) = (self.rows[index].parent, self.rows[index].seconds) {
                *self.rows[parent].seconds.get_or_insert(0.0) += own;
            }
        }
    }

    /// Rows down to a level; modules at that level stand for what is in them.
    pub fn down_to(&self, depth: Option<usize>) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| depth.is_none_or(|depth| row.depth <= depth))
    }
}

/// Most characters of a module's name: every module within has it again.
const CHARACTERS: usize = 120;

/// A part of a name as it is shown.
fn shortened(part: &str) -> String {
    match part.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &part[..end]),
        None => part.to_owned(),
    }
}

/// Every module by its path, from the one that holds all.
fn modules(layers: &[Layer], places: &[Place]) -> Vec<Module> {
    let mut modules = vec![Module::default()];
    let mut known: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    // By layer, the modules from outside to inside and its own: names may be long, and those of others are not taken apart again.
    let mut through: Vec<Vec<usize>> = Vec::with_capacity(places.len());
    for (position, place) in places.iter().enumerate() {
        let mut chain =
            if place.of == position { Vec::new() } else { through[place.of][..place.levels].to_vec() };
        for part in levels(&layers[position].name) {
            let at = chain.last().copied().unwrap_or(0);
            let next = *known.entry((at, part)).or_insert_with(|| {
                let above = &modules[at].name;
                let label = shortened(part);
                let name = if above.is_empty() { label.clone() } else { format!("{above}.{label}") };
                modules.push(Module { name, label, items: Vec::new() });
                let new = modules.len() - 1;
                modules[at].items.push(Item::Module(new));
                new
            });
            chain.push(next);
        }
        modules[chain.last().copied().unwrap_or(0)].items.push(Item::Layer(position));
        through.push(chain);
    }
    modules
}

fn of_layer(
    layers: &[Layer],
    position: usize,
    label: Option<&str>,
    depth: usize,
    parent: Option<usize>,
) -> Row {
    let layer = &layers[position];
    Row {
        name: layer.name.clone(),
        label: label.unwrap_or(&layer.kind).to_owned(),
        depth,
        parent,
        layer: Some(position),
        layers: 1,
        kind: Some(layer.kind.clone()),
        parameters: layer.parameters.trainable,
        statistics: layer.parameters.statistics,
        multiply_adds: layer.multiply_adds,
        activation_bytes: layer.activation_bytes,
        output_shape: layer.output_shape.clone(),
        seconds: None,
    }
}

fn of_module(module: &Module, depth: usize, parent: Option<usize>) -> Row {
    Row {
        name: module.name.clone(),
        label: module.label.clone(),
        depth,
        parent,
        layer: None,
        layers: 0,
        kind: None,
        parameters: 0,
        statistics: 0,
        multiply_adds: Some(0),
        activation_bytes: Some(0),
        output_shape: None,
        seconds: None,
    }
}
