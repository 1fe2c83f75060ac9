//! The graph of a model as flow charts: one for the whole, with modules as boxes, and one for what is in every module.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{shape, times, what};
use crate::render::layout::{Flow, Placed, layout};
use crate::render::scene::{Anchor, Ink, Item, Scene, escape};
use crate::render::text::{self, Weight};
use crate::render::words::count;
use crate::summary::{Row, Size, Summary};

/// Boxes of a chart; where there would be more, neighbours are put into blocks.
const MOST: usize = 120;

/// Lines of a chart.
const LINES: usize = 4_000;

/// What comes from outside by name; the rest is one box.
const NAMED: usize = 6;

/// Size of a box.
const BOX: (f32, f32) = (216.0, 48.0);
const PORT: (f32, f32) = (176.0, 28.0);

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An input or output of the model.
    End,
    /// A layer with parameters.
    Weighted,
    /// A layer without.
    Plain,
    /// A module, or neighbours without a name together.
    Module,
    /// What is outside of a module.
    Outside,
}

/// A box of a chart.
#[derive(Debug, Clone)]
pub(super) struct Vertex {
    at: (f32, f32),
    size: (f32, f32),
    shape: Shape,
    title: String,
    detail: String,
    /// All that is known of it.
    told: String,
    /// The chart of what is in it.
    chart: Option<usize>,
    /// Its row in the table.
    row: Option<usize>,
}

/// One flow chart.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// Name of the module; empty of the whole.
    pub(super) title: String,
    /// The chart that it is a box of.
    pub(super) parent: Option<usize>,
    pub(super) size: (f32, f32),
    pub(super) vertices: Vec<Vertex>,
    edges: Vec<Vec<(f32, f32)>>,
    /// Lines that there was no room for.
    pub(super) left_out: usize,
}

/// A part of the model: a layer, a module, an end.
#[derive(Debug, Clone)]
struct Block {
    parent: usize,
    depth: usize,
    shape: Shape,
    title: String,
    detail: String,
    told: String,
    row: Option<usize>,
    children: Vec<usize>,
}

/// Every chart, the whole first.
pub(super) fn charts(summary: &Summary) -> Vec<Chart> {
    let mut plan = Plan::new(summary);
    plan.connect(summary);
    plan.draw()
}

#[derive(Debug)]
struct Plan {
    blocks: Vec<Block>,
    /// By value, the block that computes it.
    makes: BTreeMap<String, usize>,
    outputs: Vec<usize>,
    /// By block: lines between its children, and between them and what is outside.
    inside: Vec<BTreeSet<(usize, usize)>>,
    enters: Vec<BTreeSet<(usize, usize)>>,
    leaves: Vec<BTreeSet<(usize, usize)>>,
}

impl Plan {
    fn new(summary: &Summary) -> Self {
        let root = Block {
            parent: 0,
            depth: 0,
            shape: Shape::Module,
            title: String::new(),
            detail: String::new(),
            told: String::new(),
            row: None,
            children: Vec::new(),
        };
        let mut plan = Self {
            blocks: vec![root],
            makes: BTreeMap::new(),
            outputs: Vec::new(),
            inside: Vec::new(),
            enters: Vec::new(),
            leaves: Vec::new(),
        };
        for input in &summary.inputs {
            let block = plan.add(0, end(&input.name, input.shape.as_deref(), "input"));
            plan.makes.insert(input.name.clone(), block);
        }
        // By row: its block; modules come before what is in them.
        let mut of_row: Vec<usize> = Vec::with_capacity(summary.modules.rows.len());
        for (number, row) in summary.modules.rows.iter().enumerate() {
            let parent = row.parent.map_or(0, |parent| of_row[parent]);
            let block = plan.add(parent, of(summary, row, number));
            of_row.push(block);
            if let Some(layer) = row.layer {
                plan.makes.insert(summary.layers[layer].value.clone(), block);
            }
        }
        for output in &summary.outputs {
            let block = plan.add(0, end(&output.name, output.shape.as_deref(), "output"));
            plan.outputs.push(block);
        }
        plan.divide();
        plan
    }

    fn add(&mut self, parent: usize, block: Block) -> usize {
        let depth = self.blocks[parent].depth + 1;
        self.blocks.push(Block { parent, depth, ..block });
        let number = self.blocks.len() - 1;
        self.blocks[parent].children.push(number);
        number
    }

    /// Puts neighbours into blocks where a module has too many children for one chart.
    fn divide(&mut self) {
        let mut number = 0;
        while number < self.blocks.len() {
            while self.blocks[number].children.len() > MOST {
                let children = std::mem::take(&mut self.blocks[number].children);
                let size = children.len().isqrt().clamp(2, MOST);
                for part in children.chunks(size) {
                    let block = self.add(number, together(&self.blocks, part));
                    for child in part {
                        self.blocks[*child].parent = block;
                    }
                    self.blocks[block].children = part.to_vec();
                }
            }
            number += 1;
        }
        // Parents may have come after their children: depths anew, from outside to inside.
        let mut waiting = vec![0];
        while let Some(block) = waiting.pop() {
            for child in self.blocks[block].children.clone() {
                self.blocks[child].depth = self.blocks[block].depth + 1;
                waiting.push(child);
            }
        }
    }

    fn connect(&mut self, summary: &Summary) {
        for sets in [&mut self.inside, &mut self.enters, &mut self.leaves] {
            sets.resize(self.blocks.len(), BTreeSet::new());
        }
        for layer in &summary.layers {
            let Some(to) = self.makes.get(&layer.value).copied() else { continue };
            for from in
                layer.inputs.iter().filter_map(|input| self.makes.get(input).copied()).collect::<Vec<_>>()
            {
                self.line(from, to);
            }
        }
        for (number, output) in summary.outputs.iter().enumerate() {
            let from = output.value.as_ref().and_then(|value| self.makes.get(value).copied());
            if let (Some(from), Some(to)) = (from, self.outputs.get(number).copied()) {
                self.line(from, to);
            }
        }
    }

    /// A line from one leaf to another, in every chart that shows a part of it.
    fn line(&mut self, from: usize, to: usize) {
        let (mut a, mut b) = (from, to);
        while self.blocks[a].parent != self.blocks[b].parent {
            if self.blocks[a].depth >= self.blocks[b].depth {
                let parent = self.blocks[a].parent;
                self.leaves[parent].insert((a, to));
                a = parent;
            } else {
                let parent = self.blocks[b].parent;
                self.enters[parent].insert((from, b));
                b = parent;
            }
        }
        self.inside[self.blocks[a].parent].insert((a, b));
    }

    fn draw(&self) -> Vec<Chart> {
        let shown: Vec<usize> = (0..self.blocks.len())
            .filter(|block| *block == 0 || !self.blocks[*block].children.is_empty())
            .collect();
        let number: BTreeMap<usize, usize> =
            shown.iter().enumerate().map(|(number, block)| (*block, number)).collect();
        shown.iter().map(|block| self.chart(*block, &number)).collect()
    }

    fn chart(&self, block: usize, number: &BTreeMap<usize, usize>) -> Chart {
        let own = &self.blocks[block];
        let mut vertices: Vec<Vertex> = Vec::new();
        let mut edges: BTreeSet<(usize, usize)> = BTreeSet::new();
        let sources: Vec<usize> =
            self.enters[block].iter().map(|(from, _)| *from).collect::<BTreeSet<_>>().into_iter().collect();
        let named = if sources.len() > NAMED + 1 { NAMED } else { sources.len() };
        for source in &sources[..named] {
            vertices.push(outside(&format!("from {}", self.named(*source))));
        }
        if named < sources.len() {
            vertices.push(outside(&format!("from {} others", sources.len() - named)));
        }
        let port = |source: usize| sources.binary_search(&source).map_or(0, |place| place.min(named));
        let first = vertices.len();
        let place: BTreeMap<usize, usize> =
            own.children.iter().enumerate().map(|(at, child)| (*child, first + at)).collect();
        for child in &own.children {
            let child_block = &self.blocks[*child];
            vertices.push(Vertex {
                at: (0.0, 0.0),
                size: if child_block.shape == Shape::End { PORT } else { BOX },
                shape: child_block.shape,
                title: child_block.title.clone(),
                detail: child_block.detail.clone(),
                told: child_block.told.clone(),
                chart: number.get(child).copied(),
                row: child_block.row,
            });
        }
        let at = |child: &usize| place.get(child).copied();
        edges.extend(self.enters[block].iter().filter_map(|(from, to)| Some((port(*from), at(to)?))));
        edges.extend(self.inside[block].iter().filter_map(|(from, to)| Some((at(from)?, at(to)?))));
        let mut goals: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in &self.leaves[block] {
            goals.entry(*from).or_default().push(*to);
        }
        for (from, to) in goals {
            let more = if to.len() > 1 { format!(" and {} more", to.len() - 1) } else { String::new() };
            vertices.push(outside(&format!("to {}{more}", self.named(to[0]))));
            edges.extend(at(&from).map(|from| (from, vertices.len() - 1)));
        }
        let left_out = edges.len().saturating_sub(LINES);
        let flow = Flow {
            boxes: vertices.iter().map(|vertex| vertex.size).collect(),
            edges: edges.into_iter().take(LINES).collect(),
        };
        let Placed { boxes, edges, size } = layout(&flow);
        for (vertex, at) in vertices.iter_mut().zip(boxes) {
            vertex.at = at;
        }
        let parent = (block != 0).then(|| number.get(&own.parent).copied()).flatten();
        Chart { title: own.title.clone(), parent, size, vertices, edges, left_out }
    }

    /// What a leaf is called from outside.
    fn named(&self, block: usize) -> String {
        let own = &self.blocks[block];
        let above = &self.blocks[own.parent];
        if above.title.is_empty() || own.shape == Shape::End {
            own.title.clone()
        } else {
            format!("{} · {}", above.title, own.title)
        }
    }
}

fn outside(title: &str) -> Vertex {
    Vertex {
        at: (0.0, 0.0),
        size: PORT,
        shape: Shape::Outside,
        title: title.to_owned(),
        detail: String::new(),
        told: title.to_owned(),
        chart: None,
        row: None,
    }
}

fn end(name: &str, sizes: Option<&[Size]>, what: &str) -> Block {
    let sizes = sizes.map_or_else(String::new, shape);
    Block {
        parent: 0,
        depth: 0,
        shape: Shape::End,
        title: format!("{name}  {sizes}"),
        detail: String::new(),
        told: format!("{what} {name} {sizes}"),
        row: None,
        children: Vec::new(),
    }
}

fn of(summary: &Summary, row: &Row, number: usize) -> Block {
    let sizes = row.output_shape.as_deref().map_or_else(|| "?".to_owned(), shape);
    let layer = row.layer.map(|layer| &summary.layers[layer]);
    let kernel = layer
        .and_then(|layer| layer.kernel.as_deref())
        .map_or_else(String::new, |kernel| format!(" {}", times(kernel)));
    let detail = match row.layer {
        Some(_) => format!("{}{kernel} → {sizes}", what(row)),
        None => format!("{} → {sizes}", what(row)),
    };
    let mut told = format!("{}: {}{kernel}, gives {sizes}", row.name, what(row));
    if row.parameters > 0 {
        let _ = write!(told, ", {} parameters", count(row.parameters));
    }
    if let Some(adds) = row.multiply_adds.filter(|adds| *adds > 0) {
        let _ = write!(told, ", {} multiply-adds", count(adds));
    }
    let kind = match (layer, row.parameters) {
        (None, _) => Shape::Module,
        (Some(_), 0) => Shape::Plain,
        (Some(_), _) => Shape::Weighted,
    };
    Block {
        parent: 0,
        depth: 0,
        shape: kind,
        title: title(row),
        detail,
        told,
        row: Some(number),
        children: Vec::new(),
    }
}

/// What a box is called: a number says too little, so what it is a number of comes first.
fn title(row: &Row) -> String {
    let number = row.label.bytes().all(|byte| byte.is_ascii_digit());
    let above = row.name.strip_suffix(&row.label).and_then(|above| above.strip_suffix('.'));
    match above.filter(|_| number) {
        Some(above) => format!("{}.{}", above.rsplit('.').next().unwrap_or(above), row.label),
        None => row.label.clone(),
    }
}

/// Neighbours without a module of their own.
fn together(blocks: &[Block], part: &[usize]) -> Block {
    let title = match (part.first(), part.last()) {
        (Some(first), Some(last)) if first != last => {
            format!("{} … {}", blocks[*first].title, blocks[*last].title)
        }
        (Some(first), _) => blocks[*first].title.clone(),
        _ => String::new(),
    };
    let detail = format!("{} neighbours", part.len());
    Block {
        parent: 0,
        depth: 0,
        shape: Shape::Module,
        told: format!("{title}: {detail}"),
        title,
        detail,
        row: None,
        children: Vec::new(),
    }
}

/// Letters in the page are another typeface's: room for wider ones.
const ROOM: f32 = 0.9;

impl Chart {
    /// Its boxes and lines as elements of an SVG, boxes that open and layers that have a row as links.
    pub(super) fn markup(&self) -> String {
        let mut svg = String::from("<path class=\"line\" d=\"");
        for points in &self.edges {
            svg += &curve(points);
        }
        svg += "\"/>";
        for vertex in &self.vertices {
            svg += &vertex.markup();
        }
        svg
    }
}

impl Vertex {
    fn markup(&self) -> String {
        let ((x, y), (width, height)) = (self.at, self.size);
        let class = match self.shape {
            Shape::End => "end",
            Shape::Weighted => "weighted",
            Shape::Plain => "plain",
            Shape::Module => "module",
            Shape::Outside => "outside",
        };
        let radius = if matches!(self.shape, Shape::End | Shape::Outside) { height / 2.0 } else { 8.0 };
        let fit = |text: &str, size, weight| escape(&text::fitted(text, size, weight, (width - 20.0) * ROOM));
        let middle = x + width / 2.0;
        let mut inner = format!(
            "<title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\"/>",
            escape(&self.told)
        );
        let baseline = if self.detail.is_empty() { y + height / 2.0 + 4.5 } else { y + 20.0 };
        let size = if self.detail.is_empty() { 12.0 } else { 14.0 };
        let _ = write!(
            inner,
            "<text class=\"name\" x=\"{middle:.1}\" y=\"{baseline:.1}\" font-size=\"{size}\">{}</text>",
            fit(&self.title, size, Weight::SemiBold)
        );
        if !self.detail.is_empty() {
            let _ = write!(
                inner,
                "<text class=\"detail\" x=\"{middle:.1}\" y=\"{:.1}\" font-size=\"12\">{}</text>",
                y + 37.0,
                fit(&self.detail, 12.0, Weight::Regular)
            );
        }
        match (self.chart, self.row) {
            (Some(chart), _) => {
                format!(
                    "<a class=\"vertex {class}\" href=\"#chart-{chart}\" data-chart=\"{chart}\">{inner}</a>"
                )
            }
            (None, Some(row)) => {
                format!("<a class=\"vertex {class}\" href=\"#row-{row}\" data-row=\"{row}\">{inner}</a>")
            }
            (None, None) => format!("<g class=\"vertex {class}\">{inner}</g>"),
        }
    }
}

/// A smooth line through points.
fn curve(points: &[(f32, f32)]) -> String {
    let mut path = String::new();
    let Some(((x, y), rest)) = points.split_first() else { return path };
    let _ = write!(path, "M{x:.0} {y:.0}");
    let mut last = (*x, *y);
    for (x, y) in rest {
        if (last.0 - x).abs() < 0.5 || *y <= last.1 {
            let _ = write!(path, "L{x:.0} {y:.0}");
        } else {
            let middle = f32::midpoint(last.1, *y);
            let _ = write!(path, "C{:.0} {middle:.0} {x:.0} {middle:.0} {x:.0} {y:.0}", last.0);
        }
        last = (*x, *y);
    }
    path
}

/// Space around the drawing.
const MARGIN: f32 = 28.0;

/// The chart of the whole as a drawing.
pub(super) fn scene(summary: &Summary) -> Scene {
    let charts = charts(summary);
    let chart = &charts[0];
    let mut scene = Scene::new(
        chart.size.0.max(360.0) + 2.0 * MARGIN,
        format!("the graph of {}, modules as boxes", summary.model),
    );
    let top = MARGIN + 34.0;
    let title = text::fitted(&summary.model, 20.0, Weight::SemiBold, scene.width - 2.0 * MARGIN);
    scene.text(MARGIN, MARGIN + 14.0, 20.0, Weight::SemiBold, Ink::Strong, title);
    for points in &chart.edges {
        let points = points.iter().map(|(x, y)| (x + MARGIN, y + top)).collect();
        scene.items.push(Item::Line { points, ink: Ink::Soft });
    }
    for vertex in &chart.vertices {
        let (x, y) = (vertex.at.0 + MARGIN, vertex.at.1 + top);
        let (width, height) = vertex.size;
        let colour = match vertex.shape {
            Shape::Module => [227, 236, 250],
            Shape::Weighted => [252, 240, 219],
            _ => [244, 245, 247],
        };
        scene.items.push(Item::Rectangle { x, y, width, height, ink: Ink::Own(colour) });
        scene.items.push(Item::Frame { x, y, width, height, ink: Ink::Line });
        let fit = |text: &str, size, weight| text::fitted(text, size, weight, width - 16.0);
        let middle = x + width / 2.0;
        let plain = vertex.detail.is_empty();
        let (size, baseline) = if plain { (12.0, y + height / 2.0 + 4.5) } else { (14.0, y + 20.0) };
        let title = fit(&vertex.title, size, Weight::SemiBold);
        scene.anchored(middle, baseline, size, Weight::SemiBold, Anchor::Middle, Ink::Strong, title);
        if !plain {
            let detail = fit(&vertex.detail, 12.0, Weight::Regular);
            scene.anchored(middle, y + 37.0, 12.0, Weight::Regular, Anchor::Middle, Ink::Soft, detail);
        }
    }
    scene.height = chart.size.1 + top + MARGIN;
    scene
}
