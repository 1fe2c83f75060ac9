//! Grids of small pictures: filters, feature maps, patches.

use image::{Rgb, RgbImage};

use super::colour::ColourMap;

/// Colour between the tiles.
const BETWEEN: Rgb<u8> = Rgb([205, 210, 217]);

/// Numbers along height and width, as a picture in colours of `map`, values divided by `limit` first.
pub(super) fn coloured(values: &[f32], width: usize, map: ColourMap, limit: f32) -> RgbImage {
    let limit = if limit > 0.0 { limit } else { 1.0 };
    from_pixels(values.iter().map(|value| map.colour(value / limit)), width)
}

/// Three planes of numbers as a coloured picture: 0 is grey, ±`limit` the ends.
pub(super) fn signed_rgb(planes: &[f32], width: usize, limit: f32) -> RgbImage {
    let limit = if limit > 0.0 { limit } else { 1.0 };
    let size = planes.len() / 3;
    let byte = |value: f32| crate::resample::to_byte(127.5 * (1.0 + (value / limit).clamp(-1.0, 1.0)));
    from_pixels((0..size).map(|at| [0, 1, 2].map(|plane| byte(planes[plane * size + at]))), width)
}

fn from_pixels(pixels: impl Iterator<Item = [u8; 3]>, width: usize) -> RgbImage {
    let bytes: Vec<u8> = pixels.flatten().collect();
    let side = |length: usize| u32::try_from(length).unwrap_or(0);
    let height = bytes.len() / 3 / width.max(1);
    RgbImage::from_raw(side(width), side(height), bytes).unwrap_or_else(|| RgbImage::new(1, 1))
}

/// Pictures of one size side by side, each pixel as `zoom` × `zoom`, its edges kept, with a line between the pictures.
pub(super) fn grid(tiles: &[RgbImage], columns: usize, zoom: u32) -> RgbImage {
    let Some(first) = tiles.first() else { return RgbImage::new(1, 1) };
    let columns = columns.clamp(1, tiles.len());
    let (wide, high) = (first.width() * zoom, first.height() * zoom);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (across, down) = (count(columns), count(tiles.len().div_ceil(columns)));
    let gap = 2;
    let mut picture = RgbImage::from_pixel(across * (wide + gap) + gap, down * (high + gap) + gap, BETWEEN);
    for (number, tile) in (0u32..).zip(tiles) {
        let (left, top) = (gap + number % across * (wide + gap), gap + number / across * (high + gap));
        for (x, y, pixel) in
            tile.enumerate_pixels().filter(|(x, y, _)| *x < first.width() && *y < first.height())
        {
            for row in 0..zoom {
                for column in 0..zoom {
                    picture.put_pixel(left + x * zoom + column, top + y * zoom + row, *pixel);
                }
            }
        }
    }
    picture
}

/// Columns and zoom for `count` tiles of `width` × `height`, so that the grid is about `room` wide and not too high.
pub(super) fn arranged(count: usize, width: usize, height: usize, room: usize) -> (usize, u32) {
    let side = width.max(height).max(1);
    // Few tiles may be large, many must be small.
    let wanted = (room / 8).min(room * 2 / (count.max(1).isqrt() + 1)).max(16);
    let zoom = (wanted / side).clamp(1, 16);
    let columns = (room / (width.max(1) * zoom + 2)).clamp(1, count.max(1));
    (columns, u32::try_from(zoom).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lie_where_they_are_counted() {
        let tile = |value: f32| coloured(&[value; 4], 2, ColourMap::BlueWhiteRed, 1.0);
        let picture = grid(&[tile(0.0), tile(1.0), tile(-1.0)], 2, 3);
        assert_eq!(picture.dimensions(), (2 * 8 + 2, 2 * 8 + 2));
        assert_eq!(picture.get_pixel(0, 0), &BETWEEN);
        assert_eq!(picture.get_pixel(2, 2).0, [255; 3]);
        assert_eq!(picture.get_pixel(10, 7).0, ColourMap::BlueWhiteRed.colour(1.0));
        assert_eq!(picture.get_pixel(2, 10).0, ColourMap::BlueWhiteRed.colour(-1.0));
    }

    #[test]
    fn colours_of_planes_are_red_green_blue() {
        let picture = signed_rgb(&[1.0, 0.0, -1.0, 0.0, -1.0, 0.0], 2, 1.0);
        assert_eq!((picture.get_pixel(0, 0).0, picture.get_pixel(1, 0).0), ([255, 0, 0], [128; 3]));
    }

    #[test]
    fn a_grid_fits_its_room() {
        for (count, width, height) in [(64, 7, 7), (96, 11, 11), (1, 3, 3), (512, 3, 3), (10, 224, 224)] {
            let (columns, zoom) = arranged(count, width, height, 720);
            assert!(columns * (width * zoom as usize + 2) <= 730 || columns == 1, "{count} {columns} {zoom}");
        }
    }
}
