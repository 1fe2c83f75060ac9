//! What a model was given as a picture again: its preparation undone, or stretched to be seen.

use image::RgbImage;
use ndarray::{ArrayD, Axis};

use super::channels::channel_axis;
use crate::input::Inputs;
use crate::model::Model;
use crate::preprocessing::{Color, ImageInput, Layout};
use crate::resample::to_byte;

/// The first input of one row that is a picture, as people see it: what the model's preprocessing did to pixels is undone;
/// where the model says nothing, the smallest number is black and the largest white. `None` where nothing has the axes of a
/// picture.
pub(crate) fn picture(model: &Model, example: &Inputs) -> Option<RgbImage> {
    for (name, array) in example.arrays() {
        let image = model.description().preprocessing.get(name);
        let values = unflattened(array.rows(0..1).to_f32(), image);
        if let [1, height, width] = *values.shape() {
            return grey(&values, (height, width));
        }
        let axis = channel_axis(model, name, values.shape()).filter(|_| values.ndim() == 4)?;
        // Channels first, without the row.
        let mut values = values.index_axis_move(Axis(0), 0);
        if axis == 3 {
            values = values.permuted_axes(vec![2, 0, 1]);
        }
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

/// A flat row with the axes of the picture that it was made of, where the model says which.
fn unflattened(values: ArrayD<f32>, image: Option<&ImageInput>) -> ArrayD<f32> {
    let Some([a, b, c]) = image.filter(|_| values.ndim() == 2).and_then(ImageInput::shape) else {
        return values;
    };
    let reshaped = values.to_shape(vec![1, a, b, c]).map(|values| values.to_owned());
    reshaped.unwrap_or(values)
}

/// Whether an input is laid out with its channels behind the space.
pub(crate) fn is_channels_last(model: &Model, name: &str) -> bool {
    model.description().preprocessing.get(name).is_some_and(|image| image.layout == Layout::Nhwc)
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
