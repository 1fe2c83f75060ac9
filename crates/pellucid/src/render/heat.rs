//! From an attribution to what is drawn: the sum over channels, and the limits of its colours.

use ndarray::{Array2, ArrayD, ArrayViewD, Axis};

use super::colour::ColourMap;
use crate::attribution::{Explained, Explanation};
use crate::resample;

/// Part of the values that lie within the limits of the colours.
const PERCENTILE: f64 = 99.0;
/// Bars in a chart of a vector.
pub(super) const MOST_BARS: usize = 20;
/// Lines in a chart of a series; more channels are summed.
pub(super) const MOST_LINES: usize = 6;

/// A map of one value a pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// `[height, width]`: the attribution, summed over channels.
    pub values: Array2<f32>,
    /// The value at the end of the colours: the 99th percentile of |value|. Positive.
    pub limit: f32,
    /// The colours: signed where any value is negative.
    pub colours: ColourMap,
    /// What was summed, in words.
    pub summed: &'static str,
}

/// One row's attribution to one input, in the form in which it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Drawn {
    /// A picture's.
    Map(HeatMap),
    /// A vector's: (position, value), the largest first.
    Bars {
        /// The values that are drawn.
        bars: Vec<(usize, f32)>,
        /// How many there are.
        of: usize,
    },
    /// A series': a line a channel, or one line of their sum.
    Lines {
        /// Values in order of time.
        lines: Vec<Vec<f32>>,
        /// How many channels there are.
        channels: usize,
    },
}

/// The form in which an attribution is drawn, by its shape without the batch axis: `[c, h, w]` as a map, `[c, d, h, w]` as
/// one map, `[h, w]` as a map where it looks like one, `[c, t]` as lines, everything else as bars.
///
/// Where each number repeats along `repeated` channels, as an occluded window's drop does, a sum over channels counts it
/// once.
pub fn draw(values: &ArrayViewD<'_, f32>, repeated: usize) -> Drawn {
    let once = |sum: ArrayD<f32>| sum / repeated.max(1) as f32;
    let shape = values.shape().to_vec();
    match shape.as_slice() {
        [channels, _, _] => {
            let summed = match *channels {
                1 => "",
                all if all == repeated => "the same in every channel",
                _ if repeated > 1 => "sum over channels, each window once",
                _ => "sum over channels",
            };
            map(&once(values.sum_axis(Axis(0))).view(), summed)
        }
        [_, _, _, _] => {
            map(&once(values.sum_axis(Axis(0)).sum_axis(Axis(0))).view(), "sum over channels and depth")
        }
        [height, width]
            if (*height).min(*width) >= 8 && (*height).max(*width) <= 4 * (*height).min(*width) =>
        {
            map(values, "")
        }
        [channels, _] if *channels > MOST_LINES => Drawn::Lines {
            lines: vec![once(values.sum_axis(Axis(0))).iter().copied().collect()],
            channels: *channels,
        },
        [channels, _] => Drawn::Lines {
            lines: values.outer_iter().map(|line| line.iter().copied().collect()).collect(),
            channels: *channels,
        },
        _ => {
            let mut bars: Vec<(usize, f32)> = values.iter().copied().enumerate().collect();
            let of = bars.len();
            bars.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
            bars.truncate(MOST_BARS);
            Drawn::Bars { bars, of }
        }
    }
}

/// The form in which one row's attribution to one input, or to a layer, is drawn. A layer has its channels first.
pub fn draw_row(explanation: &Explanation, explained: &Explained, index: usize, row: usize) -> Drawn {
    let attribution = &explained.attribution;
    let values = attribution.row(index, row);
    let of_layer = explanation.layer.as_ref() == attribution.values.get(index).map(|(name, _)| name);
    if let (true, [channels, _, _]) = (of_layer, values.shape()) {
        let summed = if *channels == 1 { "" } else { "sum over channels" };
        return map(&values.sum_axis(Axis(0)).view(), summed);
    }
    let name = attribution.values[index].0.as_str();
    let as_input = explanation.inputs.get(name).is_some_and(|array| array.shape()[1..] == *values.shape());
    if as_input && !of_layer {
        let rows = values.to_owned().insert_axis(Axis(0));
        let seen = explanation.spaces.of(name).channels_first(rows);
        return draw(&seen.index_axis(Axis(0), 0), attribution.repeats(index));
    }
    draw(&values, attribution.repeats(index))
}

fn map(values: &ArrayViewD<'_, f32>, summed: &'static str) -> Drawn {
    let sizes = (values.shape()[0], values.shape()[1]);
    let values =
        Array2::from_shape_vec(sizes, values.iter().copied().collect()).expect("the sizes are its own");
    let signed = values.iter().any(|value| *value < 0.0);
    let colours = if signed { ColourMap::BlueWhiteRed } else { ColourMap::Cividis };
    Drawn::Map(HeatMap { limit: limit(&values), values, colours, summed })
}

/// The 99th percentile of |value|, between neighbours linearly; the largest where that is zero; 1 where all are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position among the values, and a mean of two float32"
)]
fn limit(values: &Array2<f32>) -> f32 {
    let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let Some(last) = sizes.last().copied() else { return 1.0 };
    let at = PERCENTILE / 100.0 * (sizes.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = sizes[(below + 1).min(sizes.len() - 1)];
    let percentile = (f64::from(sizes[below]) * (1.0 - part) + f64::from(above) * part) as f32;
    [percentile, last].into_iter().find(|value| *value > 0.0).unwrap_or(1.0)
}

impl HeatMap {
    /// Whether there is nothing to see.
    pub fn is_zero(&self) -> bool {
        self.values.iter().all(|value| *value == 0.0)
    }

    /// The map at another size, each value divided by the limit, row by row. Small inputs keep their pixels' edges;
    /// everything else is interpolated.
    pub fn resized(&self, width: u32, height: u32, keep_edges: bool) -> Vec<f32> {
        let (old_height, old_width) = self.values.dim();
        let (new_height, new_width) = (resample::index(height), resample::index(width));
        let values: Vec<f32> = self.values.iter().map(|value| value / self.limit).collect();
        if keep_edges {
            return (0..new_height)
                .flat_map(|y| {
                    let row = y * old_height / new_height * old_width;
                    (0..new_width).map(move |x| row + x * old_width / new_width)
                })
                .map(|at| values[at])
                .collect();
        }
        resample::resize_map(&values, (old_height, old_width), (new_height, new_width))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{IxDyn, array};

    use super::*;

    fn ramp(shape: &[usize]) -> ArrayD<f32> {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|value| f32::from(u16::try_from(value).unwrap())).collect();
        ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
    }

    #[test]
    fn pictures_are_summed_over_channels() {
        let Drawn::Map(first) = draw(&ramp(&[3, 2, 5]).view(), 1) else { panic!("expected a map") };
        assert_eq!(first.values.dim(), (2, 5));
        assert!((first.values[[1, 4]] - (9.0 + 19.0 + 29.0)).abs() < 1e-6);
        let Drawn::Map(volume) = draw(&ramp(&[2, 3, 4, 5]).view(), 1) else { panic!("expected a map") };
        assert_eq!(volume.values.dim(), (4, 5));
    }

    #[test]
    fn the_limit_is_numpys_percentile_and_the_sign_chooses_colours() {
        // numpy.percentile(numpy.arange(100), 99) = 98.01
        let Drawn::Map(map) = draw(&ramp(&[1, 10, 10]).view(), 1) else { panic!("expected a map") };
        assert!((map.limit - 98.01).abs() < 1e-4);
        assert_eq!(map.colours, ColourMap::Cividis);
        let Drawn::Map(signed) = draw(&(-ramp(&[1, 10, 10])).view(), 1) else { panic!("expected a map") };
        assert_eq!(signed.colours, ColourMap::BlueWhiteRed);
        let Drawn::Map(zero) = draw(&ArrayD::zeros(IxDyn(&[1, 10, 10])).view(), 1) else {
            panic!("expected a map")
        };
        assert!(zero.is_zero() && (zero.limit - 1.0).abs() < 1e-9);
        let mut one = ArrayD::zeros(IxDyn(&[1, 20, 20]));
        one[[0, 3, 3]] = 5.0;
        let Drawn::Map(one) = draw(&one.view(), 1) else { panic!("expected a map") };
        assert!((one.limit - 5.0).abs() < 1e-6);
    }

    #[test]
    fn vectors_become_bars_and_series_lines() {
        let Drawn::Bars { bars, of } = draw(&array![1.0, -3.0, 2.0].into_dyn().view(), 1) else {
            panic!("expected bars")
        };
        assert_eq!((bars, of), (vec![(1, -3.0), (2, 2.0), (0, 1.0)], 3));
        let Drawn::Lines { lines, channels } = draw(&ramp(&[2, 50]).view(), 1) else {
            panic!("expected lines")
        };
        assert_eq!((lines.len(), lines[1].len(), channels), (2, 50, 2));
        let Drawn::Lines { lines, channels } = draw(&ramp(&[7, 100]).view(), 1) else {
            panic!("expected lines")
        };
        assert_eq!((lines.len(), channels), (1, 7));
        assert!(matches!(draw(&ramp(&[28, 28]).view(), 1), Drawn::Map(_)));
    }

    #[test]
    fn small_maps_keep_their_edges() {
        let Drawn::Map(map) = draw(&array![[[0.0, 1.0], [2.0, 4.0]]].into_dyn().view(), 1) else {
            panic!("expected a map")
        };
        let large = map.resized(4, 4, true);
        assert!((large[0] - large[5]).abs() < 1e-9);
        assert!((large[15] * map.limit - 4.0).abs() < 1e-6);
    }

    #[test]
    fn numbers_that_repeat_along_channels_are_counted_once() {
        let window = ArrayD::from_elem(IxDyn(&[3, 9, 9]), 2.0);
        let Drawn::Map(map) = draw(&window.view(), 3) else { panic!("expected a map") };
        assert!(map.values.iter().all(|value| (value - 2.0).abs() < 1e-6));
        assert_eq!(map.summed, "the same in every channel");
        let Drawn::Map(sum) = draw(&window.view(), 1) else { panic!("expected a map") };
        assert!(sum.values.iter().all(|value| (value - 6.0).abs() < 1e-6));
    }
}
