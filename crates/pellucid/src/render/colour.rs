//! Colour maps: blue-white-red for signed values, cividis for values that are never negative.
//!
//! Over a photograph, blue-white-red is laid so that the photograph takes the place of white: over a white sheet the
//! overlay is the map itself. Cividis is laid evenly.

use super::cividis::CIVIDIS;

/// How strongly an overlay of cividis covers the photograph.
const EVEN_COVER: u8 = 180;

/// A colour map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourMap {
    /// From −1 (blue) over 0 (white) to 1 (red).
    BlueWhiteRed,
    /// From 0 (dark blue) to 1 (yellow).
    Cividis,
}

/// Colours at equal steps from the middle of blue-white-red to its ends.
const REDS: [[u8; 3]; 5] = [[255, 255, 255], [251, 186, 164], [240, 105, 82], [206, 37, 43], [140, 6, 30]];
const BLUES: [[u8; 3]; 5] = [[255, 255, 255], [164, 200, 246], [82, 145, 232], [25, 92, 196], [8, 45, 130]];

impl ColourMap {
    /// The colour of a value that was divided by the limit; values beyond it have the colour at the end.
    pub fn colour(self, value: f32) -> [u8; 3] {
        match self {
            Self::Cividis => CIVIDIS[position(value, 255).0],
            Self::BlueWhiteRed => {
                let side = if value < 0.0 { &BLUES } else { &REDS };
                let (step, part) = position(value.abs(), 4);
                let next = (step + 1).min(4);
                std::array::from_fn(|channel| {
                    let (from, to) = (f32::from(side[step][channel]), f32::from(side[next][channel]));
                    crate::resample::to_byte(from + (to - from) * part)
                })
            }
        }
    }

    /// The same as a layer over a photograph: red, green, blue and cover.
    pub fn overlay(self, value: f32) -> [u8; 4] {
        let [red, green, blue] = self.colour(value);
        match self {
            Self::Cividis => [red, green, blue, EVEN_COVER],
            Self::BlueWhiteRed => {
                // The least cover whose layer over white is the colour.
                let cover = 255 - red.min(green).min(blue);
                let under = |channel: u8| {
                    let (channel, cover) = (f32::from(channel), f32::from(cover));
                    if cover == 0.0 {
                        255
                    } else {
                        crate::resample::to_byte(255.0 - (255.0 - channel) * 255.0 / cover)
                    }
                };
                [under(red), under(green), under(blue), cover]
            }
        }
    }

    /// The lowest value of the scale: −1 or 0.
    pub fn lowest(self) -> f32 {
        match self {
            Self::BlueWhiteRed => -1.0,
            Self::Cividis => 0.0,
        }
    }
}

/// Step below `value · steps` and the part of the way to the next; NaN counts as 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255 first")]
fn position(value: f32, steps: u8) -> (usize, f32) {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    let at = value * f32::from(steps);
    (at.floor() as usize, at.fract())
}

/// A layer of `colour` with `cover` out of 255 over `under`.
pub(super) fn blend(under: [u8; 3], colour: [u8; 3], cover: u8) -> [u8; 3] {
    let cover = f32::from(cover) / 255.0;
    std::array::from_fn(|channel| {
        let (below, above) = (f32::from(under[channel]), f32::from(colour[channel]));
        crate::resample::to_byte(below + (above - below) * cover)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_white_and_the_ends_are_far_from_each_other() {
        let map = ColourMap::BlueWhiteRed;
        assert_eq!(map.colour(0.0), [255; 3]);
        assert_eq!(map.colour(f32::NAN), [255; 3]);
        let (blue, red) = (map.colour(-1.0), map.colour(7.0));
        assert!(blue[2] > blue[0] + 100 && red[0] > red[2] + 100);
        assert_eq!(ColourMap::Cividis.colour(-1.0), CIVIDIS[0]);
        assert_eq!(ColourMap::Cividis.colour(1.0), CIVIDIS[255]);
    }

    #[test]
    fn lightness_falls_from_the_middle_and_rises_along_cividis() {
        let light = |[red, green, blue]: [u8; 3]| {
            0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
        };
        for step in 0..20u8 {
            let (near, far) = (f32::from(step) / 20.0, f32::from(step + 1) / 20.0);
            for sign in [-1.0, 1.0] {
                let map = ColourMap::BlueWhiteRed;
                assert!(light(map.colour(sign * near)) > light(map.colour(sign * far)), "{sign} {step}");
            }
            assert!(light(ColourMap::Cividis.colour(near)) < light(ColourMap::Cividis.colour(far)), "{step}");
        }
    }

    #[test]
    fn over_white_the_overlay_is_the_map() {
        for step in -50i8..=50 {
            let value = f32::from(step) / 50.0;
            let [red, green, blue, cover] = ColourMap::BlueWhiteRed.overlay(value);
            let over = blend([255; 3], [red, green, blue], cover);
            let map = ColourMap::BlueWhiteRed.colour(value);
            assert!(over.iter().zip(map).all(|(a, b)| a.abs_diff(b) <= 1), "{value}: {over:?} {map:?}");
        }
        assert_eq!(ColourMap::BlueWhiteRed.overlay(0.0)[3], 0);
    }
}
