//! How a photograph becomes a network's input: value = (pixel − mean) · scale, after a resize and a crop.
//!
//! The description travels in the model's metadata (`pellucid.preprocessing`), in a TOML file beside the model, or in
//! settings given by the caller; this module holds the description and applies it. Reading files is
//! [`crate::description`]'s business.

use image::{RgbImage, imageops};
use ndarray::{Array3, ArrayD};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Error;
use crate::photograph::Geometry;
use crate::resample::{self, Interpolation};

/// Longest side of a network's input, in pixels.
pub const LONGEST_INPUT_SIDE: u32 = 8192;

/// Order of a network input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Layout {
    /// Batch, channel, row, column.
    #[default]
    #[serde(rename = "NCHW")]
    Nchw,
    /// Batch, row, column, channel.
    #[serde(rename = "NHWC")]
    Nhwc,
}

/// Channels of a network's input, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Color {
    /// Red, green, blue.
    #[default]
    #[serde(rename = "RGB", alias = "rgb")]
    Rgb,
    /// Blue, green, red.
    #[serde(rename = "BGR", alias = "bgr")]
    Bgr,
    /// One channel: 0.299 red + 0.587 green + 0.114 blue.
    #[serde(rename = "gray", alias = "grey", alias = "GRAY")]
    Gray,
}

impl Color {
    /// Number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// A resize before the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// The shorter side becomes this long, the other keeps the proportion (rounded down).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shorter_side: Option<u32>,
    /// Height and width, whatever the proportion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// How values between pixels are found.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Whether the filter grows with the factor of reduction.
    #[serde(default = "yes")]
    pub antialias: bool,
}

impl Default for Resize {
    /// No size yet; bilinear, the filter growing with the factor of reduction.
    fn default() -> Self {
        Self { shorter_side: None, size: None, interpolation: Interpolation::default(), antialias: true }
    }
}

fn yes() -> bool {
    true
}

/// How a photograph becomes one input of a network.
///
/// A pixel is first mapped from 0..255 to `range`, if there is one; then value = (pixel − mean) · scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Order of axes.
    #[serde(default)]
    pub layout: Layout,
    /// Channels.
    #[serde(default)]
    pub color: Color,
    /// Resize before the crop; none leaves the photograph's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Height and width cut from the middle; none leaves everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<[u32; 2]>,
    /// What the pixel values 0 and 255 become before `mean` and `scale`; `[0, 255]` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f32; 2]>,
    /// Subtracted; one number, or one a channel. Zero where it is left out.
    #[serde(default, deserialize_with = "numbers", skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Multiplied after that; one number, or one a channel. One where it is left out.
    #[serde(default, deserialize_with = "numbers", skip_serializing_if = "Vec::is_empty")]
    pub scale: Vec<f32>,
    /// Divided by instead of `scale`.
    #[serde(default, deserialize_with = "numbers", skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
}

/// One number or a list of them.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number, or a list with one number a channel")]
    enum Numbers {
        One(f32),
        Many(Vec<f32>),
    }
    Ok(match Numbers::deserialize(deserializer)? {
        Numbers::One(number) => vec![number],
        Numbers::Many(numbers) => numbers,
    })
}

impl Default for ImageInput {
    fn default() -> Self {
        Self {
            layout: Layout::Nchw,
            color: Color::Rgb,
            resize: None,
            crop: None,
            range: None,
            mean: Vec::new(),
            scale: Vec::new(),
            std: Vec::new(),
        }
    }
}

impl ImageInput {
    /// Checks that it has a meaning.
    ///
    /// # Errors
    /// Sizes of zero or over 8192, lists of a wrong length, numbers that are not finite, `scale` beside `std`; `place`
    /// is named.
    pub fn check(&self, place: &str) -> Result<(), Error> {
        let wrong = |problem: String| Err(Error::description(place, problem));
        if let Some(resize) = &self.resize {
            match (resize.shorter_side, resize.size) {
                (Some(side), None) => check_side(place, "resize.shorter_side", side)?,
                (None, Some(size)) => {
                    size.into_iter().try_for_each(|side| check_side(place, "resize.size", side))?;
                }
                _ => {
                    return wrong(
                        "resize: expected either shorter_side or size = [height, width]".to_owned(),
                    );
                }
            }
        }
        if let Some(crop) = self.crop {
            crop.into_iter().try_for_each(|side| check_side(place, "crop", side))?;
            if let Some(Resize { shorter_side: Some(side), .. }) = self.resize
                && crop.into_iter().any(|length| length > side)
            {
                return wrong(format!(
                    "crop: {} × {} found, expected at most the shorter side of the resize, {side}",
                    crop[0], crop[1]
                ));
            }
        }
        let channels = self.color.channels();
        for (name, list) in [("mean", &self.mean), ("scale", &self.scale), ("std", &self.std)] {
            if list.len() > 1 && list.len() != channels {
                return wrong(format!(
                    "{name}: {} numbers found, expected one, or one for each of {channels} channels",
                    list.len()
                ));
            }
            if list.iter().any(|number| !number.is_finite()) {
                return wrong(format!("{name}: expected finite numbers"));
            }
        }
        if !self.scale.is_empty() && !self.std.is_empty() {
            return wrong("scale and std: expected one of them, std is 1 / scale".to_owned());
        }
        if self.std.contains(&0.0) || self.scale.contains(&0.0) {
            return wrong("scale and std: expected no zero".to_owned());
        }
        if self.range.is_some_and(|[low, high]| !(low < high && low.is_finite() && high.is_finite())) {
            return wrong("range: expected [low, high], the lower number first".to_owned());
        }
        Ok(())
    }

    /// Height and width of the network's input, where the photograph does not matter.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.crop
            .or_else(|| self.resize.and_then(|resize| resize.size))
            .map(|[height, width]| (height, width))
    }

    /// Sizes of the network's input, without a batch axis and in the order of its axes, where the photograph does not matter.
    pub fn shape(&self) -> Option<[usize; 3]> {
        let (height, width) = self.size()?;
        let (height, width, channels) =
            (resample::index(height), resample::index(width), self.color.channels());
        Some(match self.layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        })
    }

    /// The network's input, without a batch axis, and where it lies on the photograph.
    ///
    /// Cost: one pass over the photograph. Height and width are those of `crop`, `resize.size` or the photograph.
    ///
    /// # Errors
    /// A photograph from which the crop cannot be cut, or that stays too large; `place` is named.
    pub fn apply(&self, place: &str, photograph: &RgbImage) -> Result<(ArrayD<f32>, Geometry), Error> {
        let (seen, geometry) = self.view(place, photograph)?;
        let [height, width] = [seen.height(), seen.width()].map(resample::index);
        let channels = self.color.channels();
        let table = self.table();
        let mut values = match self.layout {
            Layout::Nchw => Array3::zeros((channels, height, width)),
            Layout::Nhwc => Array3::zeros((height, width, channels)),
        };
        let mut view = match self.layout {
            Layout::Nchw => values.view_mut(),
            Layout::Nhwc => values.view_mut().permuted_axes([2, 0, 1]),
        };
        for (x, y, pixel) in seen.enumerate_pixels() {
            let [red, green, blue] = pixel.0;
            let bytes = match self.color {
                Color::Rgb => [red, green, blue],
                Color::Bgr => [blue, green, red],
                Color::Gray => [gray(pixel.0); 3],
            };
            for (channel, (table, byte)) in table.iter().zip(bytes).enumerate() {
                view[[channel, resample::index(y), resample::index(x)]] = table[usize::from(byte)];
            }
        }
        Ok((values.into_dyn(), geometry))
    }

    /// The part of the photograph that the network sees, in the network's size.
    fn view(&self, place: &str, photograph: &RgbImage) -> Result<(RgbImage, Geometry), Error> {
        let (width, height) = photograph.dimensions();
        let geometry = self.geometry(place, width, height)?;
        let mut seen = photograph.clone();
        if let Some(resize) = &self.resize {
            let (width, height) = geometry.resized;
            seen = resample::resize(&seen, width, height, resize.interpolation, resize.antialias);
        }
        let ((left, top), (width, height)) = (geometry.offset, geometry.crop);
        let seen = imageops::crop_imm(&seen, left, top, width, height).to_image();
        Ok((seen, geometry))
    }

    /// Where the network's input lies on a photograph of `width` × `height` pixels. Nothing is resized for it.
    ///
    /// # Errors
    /// As [`ImageInput::apply`].
    pub fn geometry(&self, place: &str, width: u32, height: u32) -> Result<Geometry, Error> {
        let mut geometry = Geometry::whole(width, height);
        if let Some(resize) = &self.resize {
            let (width, height) = match (resize.shorter_side, resize.size) {
                (_, Some([height, width])) => (width, height),
                (Some(side), _) => proportional(width, height, side),
                _ => (width, height),
            };
            // A strip of 1 × 30,000 pixels would become far larger than any network takes.
            if width.max(height) > 4 * LONGEST_INPUT_SIDE {
                return Err(Error::input(
                    place,
                    format!("the picture is too narrow: it would be resized to {width} × {height}"),
                ));
            }
            geometry.resized = (width, height);
        }
        let (width, height) = geometry.resized;
        let [crop_height, crop_width] = self.crop.unwrap_or([height, width]);
        if crop_width > width || crop_height > height {
            return Err(Error::input(
                place,
                format!(
                    "the picture is {width} × {height} before the crop, expected at least {crop_width} × \
                     {crop_height}; add a resize to the preprocessing"
                ),
            ));
        }
        if crop_width.max(crop_height) > LONGEST_INPUT_SIDE {
            return Err(Error::input(
                place,
                format!(
                    "the network's input would be {crop_width} × {crop_height}, expected at most \
                     {LONGEST_INPUT_SIDE} a side; add a resize or a crop to the preprocessing"
                ),
            ));
        }
        geometry.crop = (crop_width, crop_height);
        geometry.offset = (half(width - crop_width), half(height - crop_height));
        Ok(geometry)
    }

    /// For every channel, the smallest and the largest number that a pixel can become.
    pub(crate) fn bounds(&self) -> Vec<(f32, f32)> {
        let ends = |channel: Vec<f32>| {
            let (first, last) = (channel.first().copied(), channel.last().copied());
            let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
            (first.min(last), first.max(last))
        };
        self.table().into_iter().map(ends).collect()
    }

    /// For every channel, in the network's order, what each of the 256 pixel values becomes.
    pub fn table(&self) -> Vec<Vec<f32>> {
        let [low, high] = self.range.unwrap_or([0.0, 255.0]).map(f64::from);
        let of = |list: &[f32], channel: usize, default: f64| {
            list.get(channel)
                .or_else(|| list.first().filter(|_| list.len() == 1))
                .map_or(default, |v| f64::from(*v))
        };
        (0..self.color.channels())
            .map(|channel| {
                let mean = of(&self.mean, channel, 0.0);
                let scale = of(&self.scale, channel, 1.0) / of(&self.std, channel, 1.0);
                (0..256u16)
                    .map(|pixel| {
                        let pixel = low + (high - low) * f64::from(pixel) / 255.0;
                        #[expect(clippy::cast_possible_truncation, reason = "networks take float32")]
                        let value = ((pixel - mean) * scale) as f32;
                        value
                    })
                    .collect()
            })
            .collect()
    }

    /// Sets one field from text, as command lines give it: `layout`, `color`, `resize` (`256`, or `224x224` for an
    /// exact height and width), `interpolation`, `antialias`, `crop` (`224` or `224x224`), `range`, `mean`, `scale`,
    /// `std` (numbers between commas).
    ///
    /// # Errors
    /// Unknown keys and values that cannot be read.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let value = value.trim();
        match key {
            "layout" => self.layout = word(key, value, &["NCHW", "NHWC"])?,
            "color" => self.color = word(key, value, &["RGB", "BGR", "gray"])?,
            "resize" => {
                let old = self.resize.unwrap_or_default();
                let (shorter_side, size) = match sides(key, value)? {
                    Sides::One(side) => (Some(side), None),
                    Sides::Two(size) => (None, Some(size)),
                };
                self.resize = Some(Resize { shorter_side, size, ..old });
            }
            "interpolation" | "antialias" => {
                let Some(resize) = &mut self.resize else {
                    return Err(setting(key, "expected a resize before it, such as resize=256"));
                };
                if key == "interpolation" {
                    resize.interpolation = word(key, value, &["nearest", "bilinear", "bicubic"])?;
                } else {
                    resize.antialias = word(key, value, &["true", "false"])?;
                }
            }
            "crop" => {
                self.crop = Some(match sides(key, value)? {
                    Sides::One(side) => [side, side],
                    Sides::Two(size) => size,
                });
            }
            "range" => {
                let list = list(key, value)?;
                self.range = Some(
                    <[f32; 2]>::try_from(list)
                        .map_err(|_| setting(key, format!("{value:?} found, expected two numbers")))?,
                );
            }
            "mean" => self.mean = list(key, value)?,
            "scale" => self.scale = list(key, value)?,
            "std" => self.std = list(key, value)?,
            _ => {
                return Err(Error::Unknown {
                    kind: "preprocessing setting",
                    found: key.to_owned(),
                    valid: KEYS.iter().map(|key| (*key).to_owned()).collect(),
                });
            }
        }
        Ok(())
    }

    /// The description as a complete section of a TOML file, for the input called `name`.
    pub fn to_toml(&self, name: &str) -> String {
        let array = |numbers: &[f32]| {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            format!("[{}]", numbers.join(", "))
        };
        let mut lines = vec![format!("[preprocessing.{}]", toml_key(name))];
        lines.push(format!("layout = {}", quoted(&self.layout)));
        lines.push(format!("color = {}", quoted(&self.color)));
        if let Some(resize) = &self.resize {
            let size = match (resize.shorter_side, resize.size) {
                (_, Some([height, width])) => format!("size = [{height}, {width}]"),
                (side, None) => format!("shorter_side = {}", side.unwrap_or_default()),
            };
            let antialias = resize.antialias;
            lines.push(format!(
                "resize = {{ {size}, interpolation = {}, antialias = {antialias} }}",
                quoted(&resize.interpolation)
            ));
        }
        if let Some([height, width]) = self.crop {
            lines.push(format!("crop = [{height}, {width}]"));
        }
        if let Some(range) = self.range {
            lines.push(format!("range = {}", array(&range)));
        }
        for (key, list) in [("mean", &self.mean), ("scale", &self.scale), ("std", &self.std)] {
            if !list.is_empty() {
                lines.push(format!("{key} = {}", array(list)));
            }
        }
        lines.join("\n") + "\n"
    }
}

/// Keys of [`ImageInput::set`].
pub const KEYS: &[&str] =
    &["layout", "color", "resize", "interpolation", "antialias", "crop", "range", "mean", "scale", "std"];

fn check_side(place: &str, name: &str, side: u32) -> Result<(), Error> {
    if side == 0 || side > LONGEST_INPUT_SIDE {
        return Err(Error::description(
            place,
            format!("{name}: {side} found, expected 1 to {LONGEST_INPUT_SIDE} pixels"),
        ));
    }
    Ok(())
}

/// Width and height whose shorter one is `side`.
fn proportional(width: u32, height: u32, side: u32) -> (u32, u32) {
    let (short, long) = (width.min(height), width.max(height));
    let other = u64::from(side) * u64::from(long) / u64::from(short);
    let other = u32::try_from(other).unwrap_or(u32::MAX);
    if width <= height { (side, other) } else { (other, side) }
}

/// Half, a half of one rounded to even, which is where torchvision's centre crop starts.
fn half(difference: u32) -> u32 {
    let lower = difference / 2;
    if difference % 2 == 1 && lower % 2 == 1 { lower + 1 } else { lower }
}

/// The one channel of a gray picture: 0.299 red + 0.587 green + 0.114 blue, rounded as Pillow rounds (ITU-R BT.601).
pub fn gray([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue) + 0x8000;
    u8::try_from(sum >> 16).unwrap_or(u8::MAX)
}

fn quoted<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A key as TOML takes it.
fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        serde_json::to_string(name).unwrap_or_default()
    }
}

fn setting(key: &str, problem: impl Into<String>) -> Error {
    Error::Setting { name: key.to_owned(), problem: problem.into() }
}

/// A value that is one of a few words, in any case.
fn word<T: for<'de> Deserialize<'de>>(key: &str, value: &str, words: &[&str]) -> Result<T, Error> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(value))
        .and_then(|word| {
            serde_json::from_value(serde_json::Value::String((*word).to_owned()))
                .or_else(|_| serde_json::from_str(word))
                .ok()
        })
        .ok_or_else(|| setting(key, format!("{value:?} found, expected {}", words.join(" or "))))
}

enum Sides {
    One(u32),
    Two([u32; 2]),
}

fn sides(key: &str, value: &str) -> Result<Sides, Error> {
    let wrong = || {
        setting(key, format!("{value:?} found, expected a number of pixels or HEIGHTxWIDTH, such as 224x224"))
    };
    let parts: Vec<u32> = value
        .split(['x', ','])
        .map(|part| part.trim().parse::<u32>().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [side] => Ok(Sides::One(*side)),
        [height, width] => Ok(Sides::Two([*height, *width])),
        _ => Err(wrong()),
    }
}

fn list(key: &str, value: &str) -> Result<Vec<f32>, Error> {
    value
        .split(',')
        .map(|part| {
            part.trim().parse::<f32>().map_err(|_| {
                setting(
                    key,
                    format!("{value:?} found, expected numbers between commas, such as 0.485,0.456,0.406"),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
