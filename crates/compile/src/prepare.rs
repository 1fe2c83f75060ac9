//! What happens to a picture before a network sees it, as nodes: resize, crop, channels, scaling.
//!
//! A resize is a product with a matrix of weights along each axis, made from the picture's own size where the graph runs:
//! numerators of positions are whole numbers, so the weights have float32's accuracy on every engine, and pictures of any
//! size go in. As imaging libraries do it (Pillow, torchvision), each axis is rounded to 8 bits. What a byte becomes is
//! looked up in a table, which has the very numbers that the network was trained with.

use pellucid_graph::{Attribute, ElementType};

use crate::build::{Keep, Var, signed};
use crate::error::Result;

/// The channels that a network takes, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// ⌊(19595 red + 38470 green + 7471 blue + 2¹⁵) / 2¹⁶⌋, which float32 computes exactly.
    Gray,
}

/// The size that a picture is brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// The shorter side becomes this long, the other keeps the proportion, rounded down.
    Shorter(usize),
    /// Height and width.
    Exact([usize; 2]),
}

/// How values between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The pixel whose area holds the point.
    Nearest,
    /// max(0, 1 − |x|)
    Linear,
    /// Keys' cubic convolution; its parameter is −0.5 with antialiasing and −0.75 without.
    Cubic,
}

/// What happens to a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// Whether the network takes the channels last.
    pub channels_last: bool,
    /// The channels.
    pub channels: Channels,
    /// The size, the filter, and whether it grows with the factor of reduction.
    pub resize: Option<(Size, Filter, bool)>,
    /// Height and width cut from the middle; an odd difference is halved to even, as torchvision does it.
    pub crop: Option<[usize; 2]>,
    /// By channel, what each of the 256 byte values becomes.
    pub tables: Vec<Vec<f32>>,
}

/// The network's input from a picture, uint8 `[n, height, width, 3]`, red first.
///
/// Cost: two matrix products, height · width · (new width + new height) multiply-adds a channel.
///
/// # Errors
/// None that a picture could cause: a picture that the crop cannot be cut from fails where the graph runs.
pub fn prepared<'g>(image: Var<'g>, how: &Preparation) -> Result<Var<'g>> {
    let builder = image.builder();
    let mut x = image.cast(ElementType::F32).transpose(&[0, 3, 1, 2]);
    let shape = builder.op("Shape", &[image], &[]);
    let mut sides = [shape.slice(0, 1, 2, 1), shape.slice(0, 2, 3, 1)];
    let mut fixed = None;
    if let Some((size, filter, antialias)) = how.resize {
        let to = match size {
            Size::Exact(size) => {
                fixed = Some(size);
                size.map(|side| builder.integers(&[signed(side)]))
            }
            Size::Shorter(side) => {
                let shorter = builder.op("Min", &sides, &[]);
                sides.map(|length| length * builder.integers(&[signed(side)]) / shorter)
            }
        };
        // Rows first, as Pillow has it: each axis is rounded by itself.
        for axis in [1, 0] {
            x = along(x, axis, (sides[axis], to[axis]), filter, antialias);
        }
        sides = to;
    }
    if let Some(crop) = how.crop {
        x = cut(x, sides, crop);
        fixed = Some(crop);
    }
    x = channels(x, how.channels);
    let count = how.tables.len();
    if let Some([height, width]) = fixed {
        // Sizes that are known from here on; a picture too small for the crop ends here.
        x = x.reshape(&[0, signed(count), signed(height), signed(width)]);
    }
    let table: Vec<f64> = how.tables.iter().flatten().map(|value| f64::from(*value)).collect();
    let starts: Vec<f64> = (0..count).map(|channel| 256.0 * channel as f64).collect();
    let table = builder.values(ElementType::F32, vec![256 * count], &table);
    let starts = builder.values(ElementType::I64, vec![1, count, 1, 1], &starts);
    let x = builder.op("Gather", &[table, x.cast(ElementType::I64) + starts], &[("axis", Attribute::Int(0))]);
    Ok(if how.channels_last { x.transpose(&[0, 2, 3, 1]) } else { x })
}

/// A picture `[n, 3, height, width]` with another height (`axis` 0) or width (1), rounded to whole numbers.
fn along<'g>(
    x: Var<'g>,
    axis: usize,
    (old, new): (Var<'g>, Var<'g>),
    filter: Filter,
    antialias: bool,
) -> Var<'g> {
    let builder = x.builder();
    let zero = builder.scalar(ElementType::I64, 0.0);
    let one = builder.scalar(ElementType::I64, 1.0);
    let range = |end: Var<'g>| builder.op("Range", &[zero, end.squeeze(&[0]), one], &[]);
    // Twice the middles of pixels: 2t + 1, 2s + 1.
    let [two, once] = [2, 1].map(|number| builder.integers(&[number]));
    let targets = range(new) * two + once;
    if filter == Filter::Nearest {
        // ⌊(t + ½) · old / new⌋
        let places = targets * old / (new * two);
        return builder.op("Gather", &[x, places], &[("axis", Attribute::Int(signed(axis + 2)))]);
    }
    let sources = range(old) * two + once;
    // (2s + 1) · new − (2t + 1) · old over 2 · new: how far a source pixel is from the middle of a target pixel.
    let apart = sources.unsqueeze(&[0]) * new - targets.unsqueeze(&[1]) * old;
    let apart = apart.cast(ElementType::F32) / (new * two).cast(ElementType::F32);
    let weights = if antialias {
        let ratio = old.cast(ElementType::F32) / new.cast(ElementType::F32);
        let scale = builder.op("Max", &[ratio, ratio.scalar(1.0)], &[]);
        weight(apart / scale, filter, -0.5)
    } else {
        // What falls beyond an edge falls on the edge's pixel.
        let taps = if filter == Filter::Cubic { 2 } else { 1 };
        let edge = |is_edge: Var<'g>, away: f64| {
            let beyond = (1..=taps).map(|step| weight(apart + away * f64::from(step), filter, -0.75));
            let beyond = beyond.reduce(|sum, more| sum + more).unwrap_or(apart * 0.0);
            beyond * is_edge.cast(ElementType::F32)
        };
        let first = sources.equals(once);
        let last = sources.equals(old * two - once);
        weight(apart, filter, -0.75) + edge(first, -1.0) + edge(last, 1.0)
    };
    let weights = weights / weights.sum(&[1], Keep::Axes);
    let sum = if axis == 1 { x.matmul(weights.transpose(&[1, 0])) } else { weights.matmul(x) };
    let rounded = (sum + 0.5).apply("Floor");
    builder.op("Clip", &[rounded, sum.scalar(0.0), sum.scalar(255.0)], &[])
}

/// The filter at some distances; `a` is the cubic's parameter.
fn weight(apart: Var<'_>, filter: Filter, a: f64) -> Var<'_> {
    let x = apart.apply("Abs");
    if filter == Filter::Linear {
        return (1.0 - x).relu();
    }
    let near = (x * (a + 2.0) - (a + 3.0)) * x * x + 1.0;
    let far = ((x * a - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    let [inner, all] = [1.0, 2.0].map(|end| x.below(x.scalar(end)));
    near * inner + far * (all - inner)
}

/// The middle of a picture whose sides are known where it runs.
fn cut<'g>(x: Var<'g>, sides: [Var<'g>; 2], crop: [usize; 2]) -> Var<'g> {
    let builder = x.builder();
    let two = builder.integers(&[2]);
    let starts = [0, 1].map(|axis| {
        let spare = sides[axis] - builder.integers(&[signed(crop[axis])]);
        let half = spare / two;
        // Half, a half of one rounded to even.
        half + (spare - half * two) * (half - half / two * two)
    });
    let starts = builder.op("Max", &[builder.concat(&starts, 0), builder.integers(&[0])], &[]);
    let ends = starts + builder.integers(&crop.map(signed));
    builder.op("Slice", &[x, starts, ends, builder.integers(&[2, 3])], &[])
}

fn channels(x: Var<'_>, channels: Channels) -> Var<'_> {
    let one = |channel: i64| x.slice(1, channel, channel + 1, 1);
    match channels {
        Channels::Rgb => x,
        Channels::Bgr => x.builder().concat(&[one(2), one(1), one(0)], 1),
        Channels::Gray => {
            let sum = one(0) * 19_595.0 + one(1) * 38_470.0 + one(2) * 7_471.0 + 32_768.0;
            (sum / 65_536.0).apply("Floor")
        }
    }
}
