//! Resizing of 8-bit pictures the way imaging libraries do it: separable, rounded to 8 bits after each axis.
//!
//! With `antialias` the filter grows with the factor of reduction (Pillow; `antialias=True` in PyTorch), its cubic
//! parameter is −0.5, and what hangs over the edge is left out. Without, it stays two or four pixels wide (`antialias=False` in
//! PyTorch), the parameter is −0.75, and the edge pixel is repeated.

use image::RgbImage;

/// How values between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The pixel whose area holds the point.
    Nearest,
    /// Linear on each axis.
    #[default]
    Bilinear,
    /// Cubic convolution on each axis.
    Bicubic,
}

/// The source pixels that make one target pixel: the first, and the weights from there on.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// `picture` at `width` × `height`.
pub(crate) fn resize(
    picture: &RgbImage,
    width: u32,
    height: u32,
    interpolation: Interpolation,
    antialias: bool,
) -> RgbImage {
    if picture.dimensions() == (width, height) || picture.width() == 0 || picture.height() == 0 {
        return picture.clone();
    }
    let (old_width, old_height) = (index(picture.width()), index(picture.height()));
    let (new_width, new_height) = (index(width), index(height));
    let columns = taps(old_width, new_width, interpolation, antialias);
    let rows = taps(old_height, new_height, interpolation, antialias);
    let source = picture.as_raw();
    let mut wide = vec![0u8; 3 * new_width * old_height];
    for (line, target) in source.chunks_exact(3 * old_width).zip(wide.chunks_exact_mut(3 * new_width)) {
        for (tap, pixel) in columns.iter().zip(target.chunks_exact_mut(3)) {
            let mut sum = [0f32; 3];
            for (weight, from) in tap.weights.iter().zip(line[3 * tap.first..].chunks_exact(3)) {
                for (sum, value) in sum.iter_mut().zip(from) {
                    *sum += weight * f32::from(*value);
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sum) {
                *value = to_byte(sum);
            }
        }
    }
    let mut result = vec![0u8; 3 * new_width * new_height];
    let mut sums = vec![0f32; 3 * new_width];
    for (tap, target) in rows.iter().zip(result.chunks_exact_mut(3 * new_width)) {
        sums.fill(0.0);
        let lines = wide[3 * new_width * tap.first..].chunks_exact(3 * new_width);
        for (weight, line) in tap.weights.iter().zip(lines) {
            for (sum, value) in sums.iter_mut().zip(line) {
                *sum += weight * f32::from(*value);
            }
        }
        for (value, sum) in target.iter_mut().zip(&sums) {
            *value = to_byte(*sum);
        }
    }
    RgbImage::from_raw(width, height, result).expect("the buffer was made for this size")
}

/// A size or position as an index.
pub(crate) fn index(size: u32) -> usize {
    usize::try_from(size).expect("a u32 fits in usize on every supported target")
}

/// Rounded to nearest, kept within 0..=255.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255 first")]
pub(crate) fn to_byte(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}

/// `f64` to an index, by truncation; negative ones and NaN become 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, as documented")]
fn truncate(value: f64) -> usize {
    value.max(0.0) as usize
}

fn taps(old: usize, new: usize, interpolation: Interpolation, antialias: bool) -> Vec<Taps> {
    let ratio = old as f64 / new as f64;
    let center = |target: usize| (target as f64 + 0.5) * ratio;
    let (radius, filter): (f64, fn(f64, bool) -> f64) = match interpolation {
        Interpolation::Nearest => {
            return (0..new)
                .map(|target| Taps { first: truncate(center(target)).min(old - 1), weights: vec![1.0] })
                .collect();
        }
        Interpolation::Bilinear => (1.0, |x, _| (1.0 - x.abs()).max(0.0)),
        Interpolation::Bicubic => (2.0, |x, antialias| cubic(x, if antialias { -0.5 } else { -0.75 })),
    };
    (0..new)
        .map(|target| {
            if antialias {
                let scale = ratio.max(1.0);
                let first = truncate(center(target) - radius * scale + 0.5);
                let end = truncate(center(target) + radius * scale + 0.5).min(old);
                let weights: Vec<f64> = (first..end)
                    .map(|source| filter((source as f64 + 0.5 - center(target)) / scale, true))
                    .collect();
                normalised(first, &weights)
            } else {
                clamped(center(target) - 0.5, old, radius, filter)
            }
        })
        .collect()
}

/// Taps of a filter that keeps its width; weights beyond an edge fall on the edge's pixel.
fn clamped(position: f64, old: usize, radius: f64, filter: fn(f64, bool) -> f64) -> Taps {
    let last = old as f64 - 1.0;
    let start = position.floor() - (radius - 1.0);
    let first = truncate(start.min(last));
    let mut weights = vec![0f64; truncate((start + 2.0 * radius - 1.0).min(last)) + 1 - first];
    for step in 0..truncate(2.0 * radius) {
        let source = start + step as f64;
        let at = truncate(source.min(last));
        weights[at - first] += filter(source - position, false);
    }
    normalised(first, &weights)
}

#[expect(clippy::cast_possible_truncation, reason = "weights are computed in f64 and used in f32")]
fn normalised(first: usize, weights: &[f64]) -> Taps {
    let sum: f64 = weights.iter().sum();
    Taps { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
}

/// Keys' cubic convolution kernel with parameter `a`.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// A map of `old` = (height, width) values, bilinearly at another size; corners are pixel areas' corners.
pub(crate) fn resize_map(values: &[f32], old: (usize, usize), new: (usize, usize)) -> Vec<f32> {
    let columns = taps(old.1, new.1, Interpolation::Bilinear, new.1 < old.1);
    let rows = taps(old.0, new.0, Interpolation::Bilinear, new.0 < old.0);
    let along = |line: &[f32], tap: &Taps| -> f32 {
        tap.weights.iter().zip(&line[tap.first..]).map(|(weight, value)| weight * value).sum()
    };
    let wide: Vec<f32> =
        values.chunks_exact(old.1).flat_map(|line| columns.iter().map(move |tap| along(line, tap))).collect();
    rows.iter()
        .flat_map(|tap| {
            let wide = &wide;
            (0..new.1).map(move |column| {
                tap.weights
                    .iter()
                    .enumerate()
                    .map(|(step, weight)| weight * wide[(tap.first + step) * new.1 + column])
                    .sum::<f32>()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// A picture without symmetry, so that swapped axes or channels show.
    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let byte = |value: u32| u8::try_from(value % 256).unwrap();
            Rgb([byte(x * 37 + y * 11), byte(x * x + 3 * y), byte(y * 53 + x * 5)])
        })
    }

    #[test]
    fn constant_pictures_stay_constant_in_every_way() {
        let plain = RgbImage::from_pixel(13, 7, Rgb([10, 128, 255]));
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
            for antialias in [false, true] {
                for (width, height) in [(5, 3), (1, 1), (40, 31), (13, 2)] {
                    let resized = resize(&plain, width, height, interpolation, antialias);
                    assert!(
                        resized.pixels().all(|pixel| *pixel == Rgb([10, 128, 255])),
                        "{interpolation:?} {antialias} {width}x{height}"
                    );
                }
            }
        }
    }

    /// Values from Pillow 12 (`antialias`) and PyTorch 2 (`interpolate` on uint8, then rounded), see
    /// `tests/data/resize.py`; one level of rounding is allowed.
    #[test]
    fn resizing_agrees_with_pillow_and_pytorch() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/data/resize.json")).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() >= 10, "the reference is too small");
        for case in cases {
            let interpolation: Interpolation = serde_json::from_value(case["interpolation"].clone()).unwrap();
            let antialias = case["antialias"].as_bool().unwrap();
            let size = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
            let source = picture(size("from_width"), size("from_height"));
            let resized = resize(&source, size("width"), size("height"), interpolation, antialias);
            let expected: Vec<u8> = serde_json::from_value(case["pixels"].clone()).unwrap();
            assert_eq!(resized.as_raw().len(), expected.len());
            let worst = resized.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 1, "{interpolation:?} antialias {antialias}: off by {worst}");
        }
    }

    #[test]
    fn maps_grow_smoothly_and_keep_their_extremes() {
        let grown = resize_map(&[0.0, 1.0, 2.0, 3.0], (2, 2), (4, 6));
        assert_eq!(grown.len(), 24);
        assert!((grown[0] - 0.0).abs() < 1e-6 && (grown[23] - 3.0).abs() < 1e-6);
        assert!(grown[0] < grown[3] && grown[0] < grown[18]);
    }
}
