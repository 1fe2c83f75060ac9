//! What a model was given as a picture again: its preparation undone, or stretched to be seen.

use image::RgbImage;
use ndarray::{ArrayD, Axis};

use crate::input::Inputs;
use crate::model::Model;
use crate::preprocessing::Color;
use crate::resample::to_byte;
use crate::space::Spaces;

/// The first input of one row that is a picture, as people see it: what the model's preprocessing did to pixels is undone;
/// where the model says nothing, the smallest number is black and the largest white. `None` where nothing has the axes of a
/// picture.
pub(crate) fn picture(model: &Model, example: &Inputs) -> Option<RgbImage> {
    for (name, array) in example.arrays() {
        let image = model.description().preprocessing.get(name);
        let rows = array.rows(0..1).to_f32();
        if let [1, height, width] = *rows.shape() {
            return grey(&rows, (height, width));
        }
        let space = Spaces::of_model(model, &vec![(name.clone(), rows.shape().to_vec())]).of(name);
        let values = space.channels_first(rows).index_axis_move(Axis(0), 0);
        let [channels, height, width] = *values.shape() else { continue };
        let bounds = image.map(|image| (image.bounds(), image.color));
        if let (Some((bounds, color)), 1 | 3) = (&bounds, channels) {
            return Some(undone(&values, bounds, *color, (height, width)));
        }
        if channels == 3 {
            let (low, high) = limits(&values);
            let bounds = vec![(low, high); 3];
            return Some(undone(&values, &bounds, Color::Rgb, (height, width)));
        }
        return grey(&values.mean_axis(Axis(0))?, (height, width));
    }
    None
}

fn limits(values: &ArrayD<f32>) -> (f32, f32) {
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

fn side(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Each channel from its smallest to its largest number that a pixel can become.
fn undone(
    values: &ArrayD<f32>,
    bounds: &[(f32, f32)],
    color: Color,
    (height, width): (usize, usize),
) -> RgbImage {
    let channels = values.shape()[0];
    RgbImage::from_fn(side(width), side(height), |x, y| {
        let byte = |channel: usize| {
            let source = if color == Color::Bgr { channels - 1 - channel.min(channels - 1) } else { channel };
            let source = source.min(channels - 1);
            let (low, high) = bounds.get(source).or(bounds.first()).copied().unwrap_or((0.0, 1.0));
            let value = values[[source, y as usize, x as usize]];
            to_byte(255.0 * (value - low) / (high - low).max(f32::MIN_POSITIVE))
        };
        image::Rgb([byte(0), byte(1), byte(2)])
    })
}

fn grey(values: &ArrayD<f32>, (height, width): (usize, usize)) -> Option<RgbImage> {
    let (low, high) = limits(values);
    let span = (high - low).max(f32::MIN_POSITIVE);
    let bytes = values.iter().flat_map(|value| [to_byte(255.0 * (value - low) / span); 3]).collect();
    RgbImage::from_raw(side(width), side(height), bytes)
}
