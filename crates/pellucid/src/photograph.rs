//! Photographs: decoding under limits, and the way from a photograph's pixels to the network's and back.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use crate::error::Error;

/// Largest picture that is decoded, in pixels: a camera's largest, not a bomb.
const MOST_PIXELS: u64 = 120_000_000;
/// Longest side that is decoded, in pixels.
const LONGEST_SIDE: u32 = 32_768;
/// Memory a decoder may take, in bytes.
const MOST_MEMORY: u64 = 1 << 30;

/// A photograph as its network saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Photograph {
    /// The photograph itself, upright.
    pub picture: RgbImage,
    /// Where the network's input lies on it.
    pub geometry: Geometry,
}

impl Photograph {
    /// A picture that a network sees as it is, from the bytes of 1 or 3 channels one after the other; `None` where they
    /// are not as many as the sizes say.
    pub fn from_planes(channels: usize, height: usize, width: usize, bytes: &[u8]) -> Option<Self> {
        let plane = height.checked_mul(width)?;
        if !matches!(channels, 1 | 3) || plane.checked_mul(channels)? != bytes.len() {
            return None;
        }
        let pixels = (0..plane)
            .flat_map(|at| [0, 1, 2].map(|channel: usize| bytes[channel.min(channels - 1) * plane + at]))
            .collect();
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        let picture = RgbImage::from_raw(width, height, pixels)?;
        Some(Self { picture, geometry: Geometry::whole(width, height) })
    }
}

/// Where the network's input lies on a photograph. All sizes are in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Width and height of the photograph.
    pub original: (u32, u32),
    /// Width and height after the resize.
    pub resized: (u32, u32),
    /// Left and top edge of the crop, in the resized picture.
    pub offset: (u32, u32),
    /// Width and height of the crop: the network's input.
    pub crop: (u32, u32),
}

impl Geometry {
    /// The network's input is the photograph as it is.
    pub fn whole(width: u32, height: u32) -> Self {
        Self { original: (width, height), resized: (width, height), offset: (0, 0), crop: (width, height) }
    }

    /// The crop on the photograph: left, top, width, height.
    pub fn region(&self) -> (f64, f64, f64, f64) {
        let across = f64::from(self.original.0) / f64::from(self.resized.0);
        let down = f64::from(self.original.1) / f64::from(self.resized.1);
        (
            f64::from(self.offset.0) * across,
            f64::from(self.offset.1) * down,
            f64::from(self.crop.0) * across,
            f64::from(self.crop.1) * down,
        )
    }

    /// Whether the network saw less than the whole photograph.
    pub fn is_cropped(&self) -> bool {
        self.crop != self.resized
    }
}

/// The format of a picture, by its first bytes; `None` for what is none of PNG, JPEG and WebP.
pub(crate) fn format(bytes: &[u8]) -> Option<ImageFormat> {
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => Some(format),
        _ => None,
    }
}

/// Decodes a PNG, JPEG or WebP picture: turned upright as its EXIF orientation says, transparent parts laid over
/// white, 16 bits a channel rounded to 8.
///
/// # Errors
/// Other or broken files, and pictures over the limits, which are refused before memory is taken; `place` is named.
pub fn decode(place: &str, bytes: &[u8]) -> Result<RgbImage, Error> {
    let format = format(bytes).ok_or_else(|| {
        Error::input(place, "it is no picture that can be read, expected PNG, JPEG or WebP")
    })?;
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "WebP",
    };
    let broken = |error: image::ImageError| {
        Error::input(place, format!("it is not a whole {name} picture: {}", reason(&error)))
    };
    let mut limits = Limits::default();
    // The sizes are checked below, with a message of our own.
    limits.max_image_width = None;
    limits.max_image_height = None;
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > LONGEST_SIDE || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Error::input(
            place,
            format!(
                "the picture is {width} × {height}, expected at most {} million pixels and {LONGEST_SIDE} a side; \
                 make it smaller",
                MOST_PIXELS / 1_000_000
            ),
        ));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    if picture.width() == 0 || picture.height() == 0 {
        return Err(Error::input(place, "the picture has no pixels"));
    }
    Ok(flatten(picture))
}

fn reason(error: &image::ImageError) -> String {
    match error {
        image::ImageError::Limits(_) => "it needs too much memory".to_owned(),
        image::ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it ends too early".to_owned()
        }
        other => {
            let text = other.to_string();
            text.trim_end_matches('.').to_owned()
        }
    }
}

/// Lays transparent parts over white, which is what most viewers show.
fn flatten(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let over = |value: u8| {
            let (value, alpha) = (u32::from(value), u32::from(alpha));
            u8::try_from((value * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
        };
        Rgb([over(red), over(green), over(blue)])
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageEncoder, Rgba, RgbaImage};

    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// A PNG header of any size, with no pixels behind it.
    fn header(width: u32, height: u32) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend(width.to_be_bytes());
        chunk.extend(height.to_be_bytes());
        chunk.extend([8, 2, 0, 0, 0]);
        let mut crc = u32::MAX;
        for byte in &chunk {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
        bytes.extend(chunk);
        bytes.extend((!crc).to_be_bytes());
        bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
        bytes
    }

    #[test]
    fn a_giant_header_is_refused_before_memory_is_taken() {
        assert_eq!(
            decode("bomb.png", &header(40_000, 40_000)).unwrap_err().to_string(),
            "bomb.png: the picture is 40000 × 40000, expected at most 120 million pixels and 32768 a side; make it \
             smaller"
        );
        assert!(decode("bomb.png", &header(20_000, 20_000)).is_err());
    }

    #[test]
    fn transparent_parts_are_white_and_a_cut_file_is_told() {
        let bytes = png(&DynamicImage::ImageRgba8(RgbaImage::from_pixel(2, 1, Rgba([0, 100, 200, 0]))));
        assert_eq!(decode("a.png", &bytes).unwrap().get_pixel(1, 0).0, [255; 3]);
        let error = decode("a.png", &bytes[..bytes.len() - 30]).unwrap_err().to_string();
        assert!(error.starts_with("a.png: it is not a whole PNG picture: "), "{error}");
        assert_eq!(
            decode("a.txt", b"hello").unwrap_err().to_string(),
            "a.txt: it is no picture that can be read, expected PNG, JPEG or WebP"
        );
    }

    #[test]
    fn exif_orientation_turns_the_picture_upright() {
        let mut picture = RgbImage::from_pixel(16, 8, Rgb([255; 3]));
        for y in 0..8 {
            for x in 0..8 {
                picture.put_pixel(x, y, Rgb([200, 0, 0]));
            }
        }
        // Orientation 6: the camera was turned, the top is on the right.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(picture.as_raw(), 16, 8, image::ExtendedColorType::Rgb8).unwrap();
        let upright = decode("a.jpg", &bytes).unwrap();
        assert_eq!(upright.dimensions(), (8, 16));
        assert!(upright.get_pixel(4, 2)[1] < 60 && upright.get_pixel(4, 13)[1] > 200);
    }

    #[test]
    fn the_region_undoes_crop_and_resize() {
        let geometry =
            Geometry { original: (451, 300), resized: (384, 256), offset: (80, 16), crop: (224, 224) };
        let (left, top, width, height) = geometry.region();
        assert!((left - 80.0 * 451.0 / 384.0).abs() < 1e-9 && (top - 18.75).abs() < 1e-9);
        assert!((width - 224.0 * 451.0 / 384.0).abs() < 1e-9 && (height - 262.5).abs() < 1e-9);
        assert!(geometry.is_cropped() && !Geometry::whole(3, 4).is_cropped());
    }
}
