//! A drawing of rectangles, lines, texts and pictures, given out as PNG or SVG.
//!
//! Layouts are written once against this; nothing here knows what is drawn. Lengths are pixels, y grows downwards.

use std::fmt::Write as _;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage, RgbaImage};

use super::colour::blend;
use super::text::{self, Weight};
use crate::error::Error;
use crate::resample::{self, Interpolation};

/// A colour by its purpose, so that a drawing in a page can follow the page's theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text that is read.
    Strong,
    /// Text that explains.
    Soft,
    /// Rules and frames.
    Line,
    /// A colour that means something.
    Own([u8; 3]),
}

impl Ink {
    fn on_white(self) -> [u8; 3] {
        match self {
            Self::Strong => [24, 28, 33],
            Self::Soft => [89, 97, 107],
            Self::Line => [205, 210, 217],
            Self::Own(colour) => colour,
        }
    }

    fn css(self, theme: Theme) -> String {
        match (theme, self) {
            (Theme::Page, Self::Strong) => "var(--ink)".to_owned(),
            (Theme::Page, Self::Soft) => "var(--soft)".to_owned(),
            (Theme::Page, Self::Line) => "var(--line)".to_owned(),
            _ => {
                let [red, green, blue] = self.on_white();
                format!("#{red:02x}{green:02x}{blue:02x}")
            }
        }
    }
}

/// Where an SVG drawing will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// Alone, on white.
    White,
    /// In a page that defines `--ink`, `--soft` and `--line`.
    Page,
}

/// Which end of a text is at its x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    Rectangle {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        ink: Ink,
    },
    /// An outline, one pixel wide.
    Frame {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        ink: Ink,
    },
    /// A line through points, 1.5 pixels wide.
    Line {
        points: Vec<(f32, f32)>,
        ink: Ink,
    },
    Text {
        x: f32,
        y: f32,
        size: f32,
        weight: Weight,
        anchor: Anchor,
        ink: Ink,
        text: String,
    },
    Picture {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        picture: RgbImage,
        alt: String,
    },
}

/// A drawing.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// Where it begins, for a drawing in a page, which has margins of its own.
    pub(super) left: f32,
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) title: String,
    pub(super) items: Vec<Item>,
}

impl Scene {
    pub(super) fn new(width: f32, title: impl Into<String>) -> Self {
        Self { left: 0.0, width, height: 0.0, title: title.into(), items: Vec::new() }
    }

    pub(super) fn text(
        &mut self,
        x: f32,
        y: f32,
        size: f32,
        weight: Weight,
        ink: Ink,
        text: impl Into<String>,
    ) {
        self.anchored(x, y, size, weight, Anchor::Start, ink, text);
    }

    #[expect(clippy::too_many_arguments, reason = "a text has as many properties")]
    pub(super) fn anchored(
        &mut self,
        x: f32,
        y: f32,
        size: f32,
        weight: Weight,
        anchor: Anchor,
        ink: Ink,
        text: impl Into<String>,
    ) {
        self.items.push(Item::Text { x, y, size, weight, anchor, ink, text: text.into() });
    }

    /// The drawing as PNG, on white.
    pub(super) fn to_png(&self) -> Result<Vec<u8>, Error> {
        let size = |length: f32| resample::index(pixels(length)).try_into().unwrap_or(1u32).max(1);
        let mut canvas = RgbImage::from_pixel(size(self.width), size(self.height), Rgb([255; 3]));
        for item in &self.items {
            paint(&mut canvas, item);
        }
        png(&canvas)
    }

    /// The drawing as SVG: a document of its own, or an element of a page.
    pub(super) fn to_svg(&self, theme: Theme) -> Result<String, Error> {
        let (left, width, height) = (self.left.round(), self.width.round(), self.height.round());
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{left} 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{0}\" font-family=\"Inter, system-ui, -apple-system, \
             'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\">\n<title>{0}</title>\n",
            escape(&self.title)
        );
        if theme == Theme::White {
            let _ = writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>");
        }
        for item in &self.items {
            svg += &element(item, theme)?;
            svg.push('\n');
        }
        svg += "</svg>\n";
        Ok(svg)
    }
}

fn element(item: &Item, theme: Theme) -> Result<String, Error> {
    Ok(match item {
        Item::Rectangle { x, y, width, height, ink } => format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
            ink.css(theme)
        ),
        Item::Frame { x, y, width, height, ink } => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"{}\"/>",
            x + 0.5,
            y + 0.5,
            width - 1.0,
            height - 1.0,
            ink.css(theme)
        ),
        Item::Line { points, ink } => {
            let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" stroke-linejoin=\"round\"/>",
                points.join(" "),
                ink.css(theme)
            )
        }
        Item::Text { x, y, size, weight, anchor, ink, text } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let weight = match weight {
                Weight::Regular => 400,
                Weight::SemiBold => 600,
            };
            format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" \
                 text-anchor=\"{anchor}\" fill=\"{}\">{}</text>",
                ink.css(theme),
                escape(text)
            )
        }
        Item::Picture { x, y, width, height, picture, alt } => format!(
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\" href=\"{}\"/>",
            escape(alt),
            data_uri("image/png", &png(picture)?)
        ),
    })
}

fn paint(canvas: &mut RgbImage, item: &Item) {
    match item {
        Item::Rectangle { x, y, width, height, ink } => {
            fill(canvas, (*x, *y, *width, *height), ink.on_white());
        }
        Item::Frame { x, y, width, height, ink } => {
            let colour = ink.on_white();
            fill(canvas, (*x, *y, *width, 1.0), colour);
            fill(canvas, (*x, y + height - 1.0, *width, 1.0), colour);
            fill(canvas, (*x, *y, 1.0, *height), colour);
            fill(canvas, (x + width - 1.0, *y, 1.0, *height), colour);
        }
        Item::Line { points, ink } => {
            for pair in points.windows(2) {
                segment(canvas, pair[0], pair[1], ink.on_white());
            }
        }
        Item::Text { x, y, size, weight, anchor, ink, text } => {
            let width = text::width(text, *size, *weight);
            let start = match anchor {
                Anchor::Start => *x,
                Anchor::Middle => x - width / 2.0,
                Anchor::End => x - width,
            };
            let colour = ink.on_white();
            text::draw(text, *size, *weight, (start, *y), |column, row, cover| {
                touch(canvas, column, row, colour, cover);
            });
        }
        Item::Picture { x, y, width, height, picture, .. } => {
            let scaled =
                resample::resize(picture, pixels(*width), pixels(*height), Interpolation::Bilinear, true);
            image::imageops::replace(canvas, &scaled, i64::from(pixels(*x)), i64::from(pixels(*y)));
        }
    }
}

/// A length as whole pixels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "kept within 0..=65535 first")]
pub(super) fn pixels(length: f32) -> u32 {
    length.round().clamp(0.0, 65_535.0) as u32
}

fn fill(canvas: &mut RgbImage, (x, y, width, height): (f32, f32, f32, f32), colour: [u8; 3]) {
    let (left, right) = (pixels(x), pixels(x + width).min(canvas.width()));
    let (top, bottom) = (pixels(y), pixels(y + height).min(canvas.height()));
    for row in top..bottom {
        for column in left..right {
            canvas.put_pixel(column, row, Rgb(colour));
        }
    }
}

fn touch(canvas: &mut RgbImage, column: i64, row: i64, colour: [u8; 3], cover: f32) {
    if let (Ok(column), Ok(row)) = (u32::try_from(column), u32::try_from(row))
        && let Some(pixel) = canvas.get_pixel_mut_checked(column, row)
    {
        pixel.0 = blend(pixel.0, colour, resample::to_byte(cover * 255.0));
    }
}

/// A line from `a` to `b`, 1.5 pixels wide, its edge softened over one pixel.
fn segment(canvas: &mut RgbImage, a: (f32, f32), b: (f32, f32), colour: [u8; 3]) {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).max(f32::MIN_POSITIVE);
    let (left, right) = (pixels(a.0.min(b.0) - 2.0), pixels(a.0.max(b.0) + 2.0));
    let (top, bottom) = (pixels(a.1.min(b.1) - 2.0), pixels(a.1.max(b.1) + 2.0));
    for row in top..bottom {
        for column in left..right {
            let (x, y) = (column as f32 + 0.5 - a.0, row as f32 + 0.5 - a.1);
            let along = ((x * dx + y * dy) / length).clamp(0.0, 1.0);
            let distance = (x - along * dx).hypot(y - along * dy);
            touch(canvas, i64::from(column), i64::from(row), colour, (1.25 - distance).clamp(0.0, 1.0));
        }
    }
}

fn encoded(result: Result<(), image::ImageError>, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    result.map_err(|error| Error::Internal(format!("a picture cannot be encoded: {error}")))?;
    Ok(bytes)
}

/// A picture as PNG.
pub(super) fn png(picture: &RgbImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(Cursor::new(&mut bytes), CompressionType::Default, FilterType::Adaptive);
    let result =
        encoder.write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8);
    encoded(result, bytes)
}

/// A picture with transparent parts as PNG.
pub(super) fn png_with_alpha(picture: &RgbaImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(Cursor::new(&mut bytes), CompressionType::Default, FilterType::Adaptive);
    let result =
        encoder.write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgba8);
    encoded(result, bytes)
}

/// A photograph as JPEG.
pub(super) fn jpeg(picture: &RgbImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    let result =
        encoder.write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8);
    encoded(result, bytes)
}

/// Bytes as a link that holds them.
pub(super) fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", STANDARD.encode(bytes))
}

/// Text that may stand in HTML and SVG, in attributes too; control characters, which XML forbids, are left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\n' | '\t' => escaped.push(character),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {}
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        let mut scene = Scene::new(80.0, "a < b");
        scene.height = 40.0;
        let red = Ink::Own([200, 0, 0]);
        scene.items.push(Item::Rectangle { x: 10.0, y: 10.0, width: 20.0, height: 5.0, ink: red });
        scene.items.push(Item::Line { points: vec![(40.0, 5.0), (70.0, 35.0)], ink: Ink::Strong });
        let picture = RgbImage::from_pixel(2, 2, Rgb([0, 0, 250]));
        let alt = "blue".to_owned();
        scene.items.push(Item::Picture { x: 2.0, y: 30.0, width: 8.0, height: 8.0, picture, alt });
        scene.text(30.0, 38.0, 12.0, Weight::Regular, Ink::Soft, "x & \"y\"");
        scene
    }

    #[test]
    fn png_holds_every_item_where_it_belongs() {
        let decoded = crate::photograph::decode("scene", &scene().to_png().unwrap()).unwrap();
        assert_eq!(decoded.dimensions(), (80, 40));
        assert_eq!(decoded.get_pixel(15, 12).0, [200, 0, 0]);
        assert_eq!(decoded.get_pixel(15, 16).0, [255; 3]);
        assert_eq!(decoded.get_pixel(5, 34).0, [0, 0, 250]);
        assert!(decoded.get_pixel(55, 20)[0] < 80, "the line passes here");
        assert!((30..60).any(|x| (28..40).any(|y| decoded.get_pixel(x, y)[0] < 180)), "there is text");
    }

    #[test]
    fn svg_is_self_contained_and_escaped() {
        let svg = scene().to_svg(Theme::White).unwrap();
        assert!(svg.contains("<title>a &lt; b</title>") && svg.contains("x &amp; &quot;y&quot;"));
        assert!(svg.contains("href=\"data:image/png;base64,"));
        assert!(svg.contains("fill=\"#c80000\"") && svg.contains("fill=\"#ffffff\""));
        let page = scene().to_svg(Theme::Page).unwrap();
        assert!(page.contains("var(--soft)") && !page.contains("#ffffff"));
        assert_eq!(escape("a\u{0}b"), "ab");
    }
}
