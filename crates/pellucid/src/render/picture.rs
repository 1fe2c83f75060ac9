//! Heatmaps over photographs: the crop and the resize of the network's input undone.

use image::{Rgb, RgbImage, Rgba, RgbaImage};
use ndarray::Axis;

use super::colour::{ColourMap, blend};
use super::heat::HeatMap;
use crate::array::Array;
use crate::input::Inputs;
use crate::resample::{self, Interpolation};
use crate::space::{Space, Spaces};

/// Longest side of a picture that is shown: smaller ones are enlarged to the first, larger ones reduced to the second.
const SHOWN: (u32, u32) = (720, 960);
/// Inputs up to this size are shown with the edges of their pixels.
const SMALL: usize = 64;
/// What lies outside the network's view is covered with this.
const OUTSIDE: Rgba<u8> = Rgba([116, 121, 128, 150]);

/// What a heatmap is laid over.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// The photograph, or the input itself in grey, in the size in which it is shown.
    pub(super) picture: RgbImage,
    /// What the network saw of it: left, top, width, height.
    pub(super) view: (u32, u32, u32, u32),
    /// Whether it is a photograph.
    pub(super) is_photograph: bool,
    keep_edges: bool,
}

impl Ground {
    /// What to show of a row under a map of the input called `name`.
    pub(super) fn new((inputs, spaces): (&Inputs, &Spaces), row: usize, name: &str, map: &HeatMap) -> Self {
        let small = |height: usize, width: usize| height.max(width) <= SMALL;
        if let Some(photograph) = &inputs.rows()[row].photograph {
            let (width, height) = photograph.picture.dimensions();
            let (shown_width, shown_height) = shown(width, height);
            let keep_edges = small(resample::index(height), resample::index(width));
            let interpolation = if keep_edges { Interpolation::Nearest } else { Interpolation::Bicubic };
            let picture =
                resample::resize(&photograph.picture, shown_width, shown_height, interpolation, true);
            let factor = f64::from(shown_width) / f64::from(width);
            let (left, top, view_width, view_height) = photograph.geometry.region();
            let (left, right) = (whole(left * factor), whole((left + view_width) * factor).min(shown_width));
            let (top, bottom) = (whole(top * factor), whole((top + view_height) * factor).min(shown_height));
            let view = (left, top, (right - left).max(1), (bottom - top).max(1));
            return Self { picture, view, is_photograph: true, keep_edges };
        }
        // A layer is laid over the first input that is like a picture.
        let of_input = |name: &str, array: &Array| grey(spaces.of(name), array, row);
        let grey = match inputs.get(name) {
            Some(array) => of_input(name, array),
            None => inputs.arrays().iter().find_map(|(name, array)| of_input(name, array)),
        };
        let (height, width, values) = grey.unwrap_or_else(|| {
            let (height, width) = map.values.dim();
            (height, width, vec![235; height * width])
        });
        let sizes = [width, height].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        let pixels = values.into_iter().flat_map(|value| [value; 3]).collect();
        let picture = RgbImage::from_raw(sizes[0], sizes[1], pixels).unwrap_or_else(|| RgbImage::new(1, 1));
        let (shown_width, shown_height) = shown(picture.width(), picture.height());
        let keep_edges = small(height, width);
        let interpolation = if keep_edges { Interpolation::Nearest } else { Interpolation::Bicubic };
        Self {
            picture: resample::resize(&picture, shown_width, shown_height, interpolation, true),
            view: (0, 0, shown_width, shown_height),
            is_photograph: false,
            keep_edges,
        }
    }

    /// Whether the network saw less than all of it.
    pub(super) fn is_cropped(&self) -> bool {
        (self.view.2, self.view.3) != self.picture.dimensions()
    }

    fn values(&self, map: &HeatMap) -> Vec<f32> {
        // A layer's map is coarser than the input and is interpolated even where the input is small.
        let (height, width) = map.values.dim();
        let keep_edges = self.keep_edges && height.max(width) > SMALL / 4;
        map.resized(self.view.2, self.view.3, keep_edges)
    }

    /// The layer to lay over the picture, of the same size; outside the view it is a grey veil.
    pub(super) fn overlay(&self, map: &HeatMap) -> RgbaImage {
        let mut layer = RgbaImage::from_pixel(self.picture.width(), self.picture.height(), OUTSIDE);
        let (left, top, width, _) = self.view;
        for (at, value) in (0u32..).zip(self.values(map)) {
            layer.put_pixel(left + at % width, top + at / width, Rgba(map.colours.overlay(value)));
        }
        layer
    }

    /// Values divided by the limit, row by row, as many as a page needs: the map's own, unless they are few and are to
    /// be interpolated.
    fn native(&self, map: &HeatMap) -> (u32, u32, Vec<f32>) {
        let (height, width) = map.values.dim();
        if height.max(width) > SMALL || (self.keep_edges && height.max(width) > SMALL / 4) {
            let sizes = [width, height].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
            return (sizes[0], sizes[1], map.values.iter().map(|value| value / map.limit).collect());
        }
        (self.view.2, self.view.3, self.values(map))
    }

    /// The layer over the view, and the map alone, in the resolution that a page needs.
    pub(super) fn layers(&self, map: &HeatMap) -> (RgbaImage, RgbImage) {
        let (width, height, values) = self.native(map);
        let layer = values.iter().flat_map(|value| map.colours.overlay(*value)).collect();
        let alone = values.iter().flat_map(|value| map.colours.colour(*value)).collect();
        let fits = "as many values as the picture has pixels";
        (
            RgbaImage::from_raw(width, height, layer).expect(fits),
            RgbImage::from_raw(width, height, alone).expect(fits),
        )
    }

    /// Whether enlarged pixels keep their edges.
    pub(super) fn keeps_edges(&self) -> bool {
        self.keep_edges
    }

    /// The picture in grey with the layer over it.
    pub(super) fn with_overlay(&self, map: &HeatMap) -> RgbImage {
        let layer = self.overlay(map);
        let mut picture = self.picture.clone();
        let (left, top, width, height) = self.view;
        for ((x, y, pixel), Rgba([red, green, blue, cover])) in
            picture.enumerate_pixels_mut().zip(layer.pixels().copied())
        {
            let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
            let under = if inside { faded(pixel.0) } else { pixel.0 };
            *pixel = Rgb(blend(under, [red, green, blue], cover));
        }
        picture
    }
}

/// A pixel in grey, of less contrast and lighter, so that colours over it stand out.
fn faded([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let grey = 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue);
    [resample::to_byte(58.0 + 0.74 * grey); 3]
}

/// The size in which a picture is shown.
fn shown(width: u32, height: u32) -> (u32, u32) {
    let longest = f64::from(width.max(height).max(1));
    let factor = longest.clamp(f64::from(SHOWN.0), f64::from(SHOWN.1)) / longest;
    (whole(f64::from(width) * factor).max(1), whole(f64::from(height) * factor).max(1))
}

/// Rounded to whole pixels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` from float saturates")]
fn whole(length: f64) -> u32 {
    length.round() as u32
}

/// A row of a picture-like input in grey: height, width, and the mean over channels stretched to 0..=255.
fn grey(space: Space, array: &Array, row: usize) -> Option<(usize, usize, Vec<u8>)> {
    let values = space.channels_first(array.rows(row..row + 1).to_f32()).index_axis_move(Axis(0), 0);
    let plane = match values.shape() {
        [_, _, _] => values.mean_axis(Axis(0))?,
        [_, _, _, _] => values.mean_axis(Axis(0))?.mean_axis(Axis(0))?,
        [_, _] => values,
        _ => return None,
    };
    let (lowest, highest) = plane
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    let span = if highest > lowest { highest - lowest } else { 1.0 };
    let bytes = plane.iter().map(|value| resample::to_byte((value - lowest) / span * 255.0)).collect();
    Some((plane.shape()[0], plane.shape()[1], bytes))
}

/// The scale of a colour map, as a strip from its lowest value to its highest.
pub(super) fn scale(colours: ColourMap) -> RgbImage {
    RgbImage::from_fn(256, 1, |x, _| {
        let lowest = colours.lowest();
        Rgb(colours.colour(lowest + (1.0 - lowest) * (x as f32) / 255.0))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::{ArrayD, IxDyn};

    use super::super::heat::{Drawn, draw};
    use super::*;
    use crate::input::Row;
    use crate::photograph::{Geometry, Photograph};

    fn map(values: &ArrayD<f32>) -> HeatMap {
        match draw(&values.view(), 1) {
            Drawn::Map(map) => map,
            other => panic!("expected a map, found {other:?}"),
        }
    }

    /// A photograph twice as wide as high of which the network saw the middle square.
    fn inputs() -> Inputs {
        let picture = RgbImage::from_pixel(1000, 500, Rgb([0, 160, 0]));
        let geometry =
            Geometry { original: (1000, 500), resized: (200, 100), offset: (50, 0), crop: (100, 100) };
        let photograph = Photograph { picture, geometry };
        let row = Row { name: "a.png".into(), photograph: Some(Arc::new(photograph)) };
        let array = Array::F32(ArrayD::zeros(IxDyn(&[1, 3, 100, 100])));
        Inputs::new(vec![("x".into(), array)], vec![row]).unwrap()
    }

    /// Nothing, but for a hot lower right quarter.
    fn quarter(sign: f32) -> HeatMap {
        let mut values = ArrayD::zeros(IxDyn(&[1, 100, 100]));
        values.slice_mut(ndarray::s![.., 50.., 50..]).fill(sign);
        values[[0, 0, 0]] = -1e-9;
        map(&values)
    }

    #[test]
    fn the_heat_lies_where_the_network_saw_it() {
        let map = quarter(1.0);
        let ground = Ground::new((&inputs(), &Spaces::default()), 0, "x", &map);
        assert_eq!((ground.picture.dimensions(), ground.view), ((960, 480), (240, 0, 480, 480)));
        assert!(ground.is_cropped() && ground.is_photograph);
        let picture = ground.with_overlay(&map);
        let red = |x, y| {
            let [red, green, blue] = picture.get_pixel(x, y).0;
            red > 120 && green < 60 && blue < 80
        };
        assert!(red(600, 360) && red(700, 470) && !red(360, 360) && !red(600, 100) && !red(900, 360));
        let [red, green, blue] = picture.get_pixel(300, 100).0;
        assert!(red == green && green == blue, "inside, the photograph is grey");
        let layer = ground.overlay(&map);
        assert_eq!(*layer.get_pixel(10, 10), OUTSIDE);
        assert_eq!(layer.get_pixel(300, 100)[3], 0);
    }

    #[test]
    fn layers_of_a_page_have_exactly_the_colours_of_the_values() {
        let map = quarter(-2.0);
        let ground = Ground::new((&inputs(), &Spaces::default()), 0, "x", &map);
        let (layer, alone) = ground.layers(&map);
        assert_eq!((layer.dimensions(), alone.dimensions()), ((100, 100), (100, 100)));
        assert_eq!(alone.get_pixel(80, 80).0, ColourMap::BlueWhiteRed.colour(-1.0));
        assert_eq!(layer.get_pixel(80, 80).0, ColourMap::BlueWhiteRed.overlay(-1.0));
        assert_eq!(alone.get_pixel(80, 20).0, [255; 3]);
    }

    #[test]
    fn without_a_photograph_the_input_itself_is_the_ground() {
        let mut values = ArrayD::zeros(IxDyn(&[1, 1, 8, 16]));
        values[[0, 0, 0, 0]] = 3.0;
        let inputs = Inputs::from_arrays(vec![("x".into(), Array::F32(values))]).unwrap();
        let map = map(&ArrayD::ones(IxDyn(&[1, 2, 4])));
        let ground = Ground::new((&inputs, &Spaces::default()), 0, "x", &map);
        assert_eq!((ground.picture.dimensions(), ground.is_photograph), ((720, 360), false));
        assert_eq!(ground.picture.get_pixel(44, 44).0, [255; 3]);
        assert_eq!(ground.picture.get_pixel(46, 46).0, [0; 3]);
        let (_, heat) = ground.layers(&map);
        assert_eq!(heat.dimensions(), (720, 360));
        assert!(heat.pixels().all(|pixel| pixel.0 == ColourMap::Cividis.colour(1.0)));
    }
}
