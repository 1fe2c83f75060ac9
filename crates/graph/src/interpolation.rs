//! `Resize` as linear maps: one matrix an axis.
//!
//! Interpolation is separable: an output is the input multiplied, axis after axis, by a matrix of `output × input`
//! weights. The interpreter, the derivatives and the engines' lowering all take the weights from here, so they
//! cannot disagree. The one part that is not linear, `extrapolation_value` of `tf_crop_and_resize`, is said by
//! [`Axis::outside`].
//!
//! Conventions, where readers of the ONNX text differ: `align_corners`, `pytorch_half_pixel` and
//! `tf_crop_and_resize` count with the integer output size (as PyTorch and ONNX Runtime do, while `onnx.reference`
//! takes `scale · input`); `floor(scale · input)` is taken in `float32`, the type of the scales.

use crate::node::Node;

/// How an output is made of the inputs near its coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The nearest input.
    Nearest(Rounding),
    /// Two neighbours.
    Linear,
    /// Four neighbours under the cubic kernel with this coefficient (`cubic_coeff_a`).
    Cubic(f64),
}

/// Which input is nearest to a coordinate between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, halves down.
    PreferFloor,
    /// To nearest, halves up.
    PreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

/// Which input coordinate an output index stands for (`coordinate_transformation_mode`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Coordinates {
    /// `(x + ½) / scale − ½`.
    HalfPixel,
    /// As `HalfPixel`, the middle of the output on the middle of the input.
    HalfPixelSymmetric,
    /// As `HalfPixel`, but 0 where the output has one element.
    PytorchHalfPixel,
    /// First on first, last on last: `x · (input − 1) / (output − 1)`.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
    /// `AlignCorners` on the part of the input between two relative positions (`tf_crop_and_resize`).
    CropAndResize {
        /// Where the part starts, 0 being the first element.
        start: f64,
        /// Where it ends, 1 being the last element.
        end: f64,
    },
}

/// How one axis is interpolated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Kernel.
    pub mode: Mode,
    /// Coordinates.
    pub coordinates: Coordinates,
    /// Whether neighbours outside the input weigh nothing (the rest then sums to one) instead of repeating the edge.
    pub exclude_outside: bool,
    /// Whether the kernel widens when the axis shrinks; ignored by `Mode::Nearest`.
    pub antialias: bool,
}

/// One axis of a `Resize`, its sizes known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// How it is interpolated.
    pub config: Config,
    /// Size of the input.
    pub input: usize,
    /// Size of the output.
    pub output: usize,
    /// Output size over input size, as the node gives it: not always the quotient of the two.
    pub scale: f64,
}

/// The weights of a resize along one axis, row-major, `output_size × input_size`.
///
/// Costs `output_size · input_size` numbers: check the sizes first. [`Axis::taps`] holds the same without the zeros.
pub fn matrix(config: Config, input_size: usize, output_size: usize, scale: f64) -> Vec<f64> {
    Axis { config, input: input_size, output: output_size, scale }.matrix()
}

impl Axis {
    /// Whether the axis stays as it is.
    pub fn is_identity(&self) -> bool {
        let whole = match self.config.coordinates {
            Coordinates::CropAndResize { start, end } => start == 0.0 && (end - 1.0).abs() < f64::EPSILON,
            _ => true,
        };
        whole && self.input == self.output && (self.scale - 1.0).abs() < 1e-9
    }

    /// The weights, row-major, `output × input`. Rows of outputs [outside](Self::outside) are zero.
    pub fn matrix(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.output.saturating_mul(self.input)];
        if self.input > 0 {
            for (row, index) in weights.chunks_exact_mut(self.input).zip(0..self.output) {
                for (input, weight) in self.taps_of(index) {
                    row[input] += weight;
                }
            }
        }
        weights
    }

    /// For every output, the inputs it is made of and their weights, inputs rising. Empty for outputs
    /// [outside](Self::outside) and where the input is empty.
    pub fn taps(&self) -> Vec<Vec<(usize, f64)>> {
        (0..self.output).map(|index| self.taps_of(index)).collect()
    }

    /// Whether each output is outside the input, so that it is the node's `extrapolation_value`; only
    /// `tf_crop_and_resize` has such outputs.
    pub fn outside(&self) -> Vec<bool> {
        (0..self.output).map(|index| self.is_outside(self.coordinate(index))).collect()
    }

    fn is_outside(&self, coordinate: f64) -> bool {
        matches!(self.config.coordinates, Coordinates::CropAndResize { .. })
            && !(coordinate >= 0.0 && coordinate <= self.input as f64 - 1.0)
    }

    /// The input coordinate that output `index` stands for.
    fn coordinate(&self, index: usize) -> f64 {
        let (x, input, output) = (index as f64, self.input as f64, self.output as f64);
        match self.config.coordinates {
            Coordinates::HalfPixel => (x + 0.5) / self.scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let offset = input / 2.0 * (1.0 - output / (self.scale * input));
                offset + (x + 0.5) / self.scale - 0.5
            }
            Coordinates::PytorchHalfPixel if self.output > 1 => (x + 0.5) / self.scale - 0.5,
            Coordinates::AlignCorners if self.output > 1 => x * (input - 1.0) / (output - 1.0),
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners => 0.0,
            Coordinates::Asymmetric => x / self.scale,
            Coordinates::CropAndResize { start, end } if self.output > 1 => {
                start * (input - 1.0) + x * (end - start) * (input - 1.0) / (output - 1.0)
            }
            Coordinates::CropAndResize { start, end } => 0.5 * (start + end) * (input - 1.0),
        }
    }

    /// As [`Axis::taps`], for one output.
    pub fn taps_of(&self, index: usize) -> Vec<(usize, f64)> {
        let x = self.coordinate(index);
        if self.input == 0 || !x.is_finite() || self.is_outside(x) {
            return Vec::new();
        }
        let kernel: &dyn Fn(f64) -> f64 = match self.config.mode {
            Mode::Nearest(rounding) => {
                let nearest = match rounding {
                    Rounding::PreferFloor => (x - 0.5).ceil(),
                    Rounding::PreferCeil => (x + 0.5).floor(),
                    Rounding::Floor => x.floor(),
                    Rounding::Ceil => x.ceil(),
                };
                return vec![(self.clamp(nearest), 1.0)];
            }
            Mode::Linear => &|t: f64| (1.0 - t.abs()).max(0.0),
            Mode::Cubic(a) => &move |t: f64| cubic(t.abs(), a),
        };
        let radius = if matches!(self.config.mode, Mode::Linear) { 1.0 } else { 2.0 };
        let shrink = if self.config.antialias { self.scale.min(1.0) } else { 1.0 };
        self.weigh(x, radius / shrink, |t| kernel(t * shrink))
    }

    /// Neighbours of `x` within `radius` under `kernel`, summed by the input they clamp to.
    fn weigh(&self, x: f64, radius: f64, kernel: impl Fn(f64) -> f64) -> Vec<(usize, f64)> {
        let mut taps: Vec<(usize, f64)> = Vec::new();
        let mut total = 0.0;
        // Neighbours farther out than this all clamp to the same edge; a tiny scale must not make the loop long.
        let reach = self.input as f64 + radius.min(4.0 * self.input as f64 + 8.0);
        let mut position = (x - radius).ceil().max(x.min(0.0) - reach);
        let last = (x + radius).floor().min(x.max(0.0) + reach);
        while position <= last {
            let inside = position >= 0.0 && position < self.input as f64;
            let weight = kernel(position - x);
            if weight != 0.0 && (inside || !self.config.exclude_outside) {
                total += weight;
                let input = self.clamp(position);
                match taps.last_mut() {
                    Some((previous, sum)) if *previous == input => *sum += weight,
                    _ => taps.push((input, weight)),
                }
            }
            position += 1.0;
        }
        if taps.is_empty() || total == 0.0 {
            return vec![(self.clamp(x.round()), 1.0)];
        }
        if self.config.antialias || self.config.exclude_outside {
            for (_, weight) in &mut taps {
                *weight /= total;
            }
        }
        taps
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the input's range, which is a usize"
    )]
    fn clamp(&self, position: f64) -> usize {
        position.clamp(0.0, self.input as f64 - 1.0) as usize
    }
}

/// Keys' cubic kernel at distance `t ≥ 0`, with coefficient `a`.
fn cubic(t: f64, a: f64) -> f64 {
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}

/// The axes of a `Resize` node, one for every axis of its input, in order.
///
/// `input` is the input's shape; `roi`, `scales` and `sizes` are the node's inputs, `None` or empty where they are
/// left out.
///
/// # Errors
/// What is wrong with the node or its inputs, without the node's name.
pub fn axes(
    node: &Node,
    input: &[usize],
    roi: Option<&[f64]>,
    scales: Option<&[f64]>,
    sizes: Option<&[i64]>,
) -> Result<Vec<Axis>, String> {
    let config = config(node)?;
    let rank = input.len();
    let chosen = chosen_axes(node, rank)?;
    let mut axes: Vec<Axis> =
        input.iter().map(|size| Axis { config, input: *size, output: *size, scale: 1.0 }).collect();
    let scales = scales.filter(|scales| !scales.is_empty());
    let sizes = sizes.filter(|sizes| !sizes.is_empty());
    match (scales, sizes) {
        (Some(scales), None) => scale_axes(&mut axes, &chosen, scales)?,
        (None, Some(sizes)) => {
            let policy = node.string("keep_aspect_ratio_policy", "stretch");
            size_axes(&mut axes, &chosen, sizes, policy)?;
        }
        (None, None) => return Err("neither scales nor sizes are given; give one of them".to_owned()),
        (Some(_), Some(_)) => return Err("both scales and sizes are given; give one of them".to_owned()),
    }
    if matches!(config.coordinates, Coordinates::CropAndResize { .. }) {
        let roi = roi.unwrap_or_default();
        if roi.len() != 2 * chosen.len() {
            let expected = 2 * chosen.len();
            return Err(format!("tf_crop_and_resize needs a roi of {expected} numbers, found {}", roi.len()));
        }
        for axis in &mut axes {
            axis.config.coordinates = Coordinates::CropAndResize { start: 0.0, end: 1.0 };
        }
        for (position, axis) in chosen.iter().enumerate() {
            let (start, end) = (roi[position], roi[chosen.len() + position]);
            axes[*axis].config.coordinates = Coordinates::CropAndResize { start, end };
        }
    }
    if let Some(empty) = axes.iter().position(|axis| axis.input == 0 && axis.output != 0) {
        return Err(format!("axis {empty} is empty and cannot be resized to {}", axes[empty].output));
    }
    Ok(axes)
}

fn config(node: &Node) -> Result<Config, String> {
    let mode = match node.string("mode", "nearest") {
        "nearest" => Mode::Nearest(match node.string("nearest_mode", "round_prefer_floor") {
            "round_prefer_floor" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => return Err(format!("unknown nearest_mode {other:?}")),
        }),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic(f64::from(node.float("cubic_coeff_a", -0.75))),
        other => return Err(format!("unknown mode {other:?}; nearest, linear and cubic exist")),
    };
    let coordinates = match node.string("coordinate_transformation_mode", "half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => Coordinates::CropAndResize { start: 0.0, end: 1.0 },
        other => return Err(format!("unknown coordinate_transformation_mode {other:?}")),
    };
    let antialias = node.int("antialias", 0) != 0 && !matches!(mode, Mode::Nearest(_));
    Ok(Config { mode, coordinates, exclude_outside: node.int("exclude_outside", 0) != 0, antialias })
}

/// The axes that `scales`, `sizes` and `roi` speak of.
fn chosen_axes(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    let Some(listed) = node.ints("axes").filter(|axes| !axes.is_empty()) else {
        return Ok((0..rank).collect());
    };
    let mut chosen = Vec::with_capacity(listed.len());
    for axis in listed {
        let wrapped = if *axis < 0 { axis.checked_add_unsigned(rank as u64) } else { Some(*axis) };
        match wrapped.and_then(|axis| usize::try_from(axis).ok()) {
            Some(axis) if axis < rank && !chosen.contains(&axis) => chosen.push(axis),
            Some(axis) if axis < rank => return Err(format!("axis {axis} is listed twice")),
            _ => return Err(format!("axis {axis} is outside the input's {rank} axes")),
        }
    }
    Ok(chosen)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; a size past the address range fails later, where memory is asked for"
)]
fn scale_axes(axes: &mut [Axis], chosen: &[usize], scales: &[f64]) -> Result<(), String> {
    if scales.len() != chosen.len() {
        return Err(format!("{} scales for {} axes", scales.len(), chosen.len()));
    }
    for (axis, scale) in chosen.iter().zip(scales) {
        if !scale.is_finite() || *scale <= 0.0 {
            return Err(format!("scale {scale} of axis {axis} is not a positive number"));
        }
        let axis = &mut axes[*axis];
        axis.scale = *scale;
        axis.output = (axis.input as f32 * *scale as f32).floor() as usize;
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; a size past the address range fails later, where memory is asked for"
)]
fn size_axes(axes: &mut [Axis], chosen: &[usize], sizes: &[i64], policy: &str) -> Result<(), String> {
    if sizes.len() != chosen.len() {
        return Err(format!("{} sizes for {} axes", sizes.len(), chosen.len()));
    }
    for (axis, size) in chosen.iter().zip(sizes) {
        let size = usize::try_from(*size).map_err(|_| format!("size {size} of axis {axis} is negative"))?;
        let axis = &mut axes[*axis];
        axis.output = size;
        axis.scale = if axis.input == 0 { 1.0 } else { size as f64 / axis.input as f64 };
    }
    let scales = chosen.iter().map(|axis| axes[*axis].scale);
    let common = match policy {
        "stretch" => return Ok(()),
        "not_larger" => scales.fold(f64::INFINITY, f64::min),
        "not_smaller" => scales.fold(0.0, f64::max),
        other => return Err(format!("unknown keep_aspect_ratio_policy {other:?}")),
    };
    for axis in chosen {
        let axis = &mut axes[*axis];
        axis.scale = common;
        axis.output = (axis.input as f64 * common + 0.5).floor() as usize;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Config = Config {
        mode: Mode::Linear,
        coordinates: Coordinates::HalfPixel,
        exclude_outside: false,
        antialias: false,
    };

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found_value, expected_value) in found.iter().zip(expected) {
            assert!((found_value - expected_value).abs() < 1e-12, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn doubling_mixes_neighbours_by_quarters() {
        assert_close(&matrix(LINEAR, 2, 4, 2.0), &[1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
    }

    #[test]
    fn aligned_corners_count_with_the_integer_size() {
        let config = Config { coordinates: Coordinates::AlignCorners, ..LINEAR };
        assert_close(&matrix(config, 3, 2, 0.7), &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_close(&matrix(config, 3, 1, 0.34), &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn nearest_rounds_halves_as_asked() {
        let pick = |rounding| {
            let config = Config {
                mode: Mode::Nearest(rounding),
                coordinates: Coordinates::Asymmetric,
                exclude_outside: false,
                antialias: false,
            };
            let taps = Axis { config, input: 3, output: 6, scale: 2.0 }.taps();
            taps.iter().map(|taps| taps[0].0).collect::<Vec<_>>()
        };
        assert_eq!(pick(Rounding::PreferFloor), [0, 0, 1, 1, 2, 2]);
        assert_eq!(pick(Rounding::PreferCeil), [0, 1, 1, 2, 2, 2]);
        assert_eq!(pick(Rounding::Floor), [0, 0, 1, 1, 2, 2]);
        assert_eq!(pick(Rounding::Ceil), [0, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn every_row_sums_to_one() {
        let modes =
            [Mode::Linear, Mode::Cubic(-0.75), Mode::Cubic(-0.5), Mode::Nearest(Rounding::PreferFloor)];
        let coordinates = [
            Coordinates::HalfPixel,
            Coordinates::HalfPixelSymmetric,
            Coordinates::PytorchHalfPixel,
            Coordinates::AlignCorners,
            Coordinates::Asymmetric,
        ];
        for mode in modes {
            for coordinates in coordinates {
                for (exclude_outside, antialias) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let config = Config { mode, coordinates, exclude_outside, antialias };
                    for (input, output) in [(1, 1), (1, 5), (5, 1), (7, 3), (3, 7), (4, 8)] {
                        let scale = output as f64 / input as f64;
                        for row in matrix(config, input, output, scale).chunks(input) {
                            let sum: f64 = row.iter().sum();
                            assert!((sum - 1.0).abs() < 1e-9, "{config:?} {input} to {output}: {row:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn cropping_past_the_input_is_outside() {
        let config = Config { coordinates: Coordinates::CropAndResize { start: 0.5, end: 1.5 }, ..LINEAR };
        let axis = Axis { config, input: 3, output: 3, scale: 1.0 };
        assert_eq!(axis.outside(), [false, false, true]);
        assert_close(&axis.matrix(), &[0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert!(!axis.is_identity());
    }

    #[test]
    fn antialias_averages_what_it_skips() {
        let config = Config { antialias: true, ..LINEAR };
        assert_close(&matrix(config, 4, 2, 0.5), &[0.5, 0.375, 0.125, 0.0, 0.0, 0.125, 0.375, 0.5]);
    }

    #[test]
    fn sizes_and_scales_are_resolved() {
        let mut node = Node {
            operator: "Resize".to_owned(),
            name: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: std::collections::BTreeMap::default(),
            metadata: std::collections::BTreeMap::default(),
        };
        // 0.7 as a float32 is below 0.7; in f64 the product would be floored to 6.
        let scaled = axes(&node, &[10], None, Some(&[f64::from(0.7f32)]), None).unwrap();
        assert_eq!(scaled[0].output, 7);
        assert!(axes(&node, &[10], None, None, None).unwrap_err().contains("neither"));
        assert!(axes(&node, &[10], None, Some(&[f64::NAN]), None).unwrap_err().contains("positive"));
        assert!(axes(&node, &[10, 2], None, None, Some(&[3])).unwrap_err().contains("1 sizes for 2 axes"));
        node.attributes.insert("axes".to_owned(), crate::Attribute::Ints(vec![-1, 1]));
        node.attributes
            .insert("keep_aspect_ratio_policy".to_owned(), crate::Attribute::String("not_larger".into()));
        let kept = axes(&node, &[1, 10, 20], None, None, Some(&[10, 8])).unwrap();
        assert_eq!(kept.iter().map(|axis| axis.output).collect::<Vec<_>>(), [1, 5, 10]);
    }
}
