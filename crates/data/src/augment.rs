//! Changes of pictures that leave their class, drawn anew each time a row is seen.
//!
//! They work on the network's input, `[channels, height, width]`, after scaling. What comes in from outside is black.

use crate::random::Stream;

/// What is changed, and how far. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Augment {
    /// Whether every second picture, by chance, is mirrored left to right.
    pub flip: bool,
    /// Most places that a picture moves along each axis; what leaves is lost.
    pub shift: usize,
    /// Most degrees that a picture turns to either side, between its places linearly.
    pub rotate: f64,
    /// Largest relative change of brightness and of contrast: 0.2 is a factor between 0.8 and 1.2.
    pub colour: f64,
    /// Chance that a rectangle of 2 % to 33 % of the picture is made black.
    ///
    /// Source: Z. Zhong et al. (2020), Random erasing data augmentation, arXiv:1708.04896.
    pub erase: f64,
    /// α of the beta distribution of shares in which rows of a batch are mixed, targets alike; 0 mixes none.
    ///
    /// Source: H. Zhang et al. (2018), mixup: beyond empirical risk minimization, arXiv:1710.09412.
    pub mixup: f64,
}

impl Augment {
    /// Whether rows change by themselves.
    pub fn changes_rows(&self) -> bool {
        self.flip || self.shift > 0 || self.rotate > 0.0 || self.colour > 0.0 || self.erase > 0.0
    }

    /// Changes one row of shape `[channels, height, width]` in place.
    pub(crate) fn apply(&self, row: &mut [f32], shape: [usize; 3], black: &[f32], stream: &mut Stream) {
        let [_, height, width] = shape;
        let place = height * width;
        // Every number is drawn, whatever is switched on, so that one change does not move the others.
        let flipped = stream.unit() < 0.5;
        let moves = [stream.unit(), stream.unit()];
        let angle = stream.between(-1.0, 1.0);
        let [bright, contrast] = [stream.between(-1.0, 1.0), stream.between(-1.0, 1.0)];
        let erased = stream.unit() < self.erase;
        let rectangle = [stream.unit(), stream.unit(), stream.unit(), stream.unit()];
        if self.flip && flipped {
            row.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
        if self.shift > 0 || self.rotate > 0.0 {
            let [down, right] = moves.map(|unit| whole_between(unit, self.shift));
            let radians = angle * self.rotate.to_radians();
            for (plane, black) in row.chunks_exact_mut(place).zip(black.iter().cycle()) {
                if self.rotate > 0.0 {
                    turn(plane, height, width, radians, *black);
                }
                if self.shift > 0 {
                    shift(plane, height, width, (down, right), *black);
                }
            }
        }
        if self.colour > 0.0 {
            recolour(row, place, black, 1.0 + self.colour * bright, 1.0 + self.colour * contrast);
        }
        if erased {
            erase(row, height, width, black, rectangle);
        }
    }
}

/// A whole number from −most to most.
fn whole_between(unit: f64, most: usize) -> i64 {
    let most = i64::try_from(most).unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, reason = "below twice a number of pixels")]
    let drawn = (unit * (2 * most + 1) as f64) as i64;
    drawn.min(2 * most) - most
}

fn shift(plane: &mut [f32], height: usize, width: usize, (down, right): (i64, i64), black: f32) {
    let before = plane.to_vec();
    let from = |to: usize, by: i64, size: usize| {
        i64::try_from(to)
            .ok()
            .map(|to| to - by)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| *at < size)
    };
    for y in 0..height {
        let source = from(y, down, height);
        for x in 0..width {
            plane[y * width + x] = match (source, from(x, right, width)) {
                (Some(y), Some(x)) => before[y * width + x],
                _ => black,
            };
        }
    }
}

/// Turns around the middle, between places linearly.
fn turn(plane: &mut [f32], height: usize, width: usize, radians: f64, black: f32) {
    let before = plane.to_vec();
    let (sin, cos) = radians.sin_cos();
    let (middle_y, middle_x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
    let at = |y: i64, x: i64| match (usize::try_from(y), usize::try_from(x)) {
        (Ok(y), Ok(x)) if y < height && x < width => f64::from(before[y * width + x]),
        _ => f64::from(black),
    };
    for y in 0..height {
        for x in 0..width {
            let (down, right) = (y as f64 - middle_y, x as f64 - middle_x);
            let (from_y, from_x) = (cos * down - sin * right + middle_y, sin * down + cos * right + middle_x);
            let (low_y, low_x) = (from_y.floor(), from_x.floor());
            let (part_y, part_x) = (from_y - low_y, from_x - low_x);
            #[expect(clippy::cast_possible_truncation, reason = "places of a picture")]
            let (y0, x0) = (low_y as i64, low_x as i64);
            let above = at(y0, x0) * (1.0 - part_x) + at(y0, x0 + 1) * part_x;
            let below = at(y0 + 1, x0) * (1.0 - part_x) + at(y0 + 1, x0 + 1) * part_x;
            #[expect(clippy::cast_possible_truncation, reason = "pixels are float32")]
            let value = (above * (1.0 - part_y) + below * part_y) as f32;
            plane[y * width + x] = value;
        }
    }
}

/// Multiplies what lies above black by one factor, and distances from each channel's mean by another.
fn recolour(row: &mut [f32], place: usize, black: &[f32], bright: f64, contrast: f64) {
    for (plane, black) in row.chunks_exact_mut(place).zip(black.iter().cycle()) {
        let black = f64::from(*black);
        let mean = plane.iter().map(|value| f64::from(*value)).sum::<f64>() / place as f64;
        let mean = black + (mean - black) * bright;
        for value in plane {
            let lit = black + (f64::from(*value) - black) * bright;
            #[expect(clippy::cast_possible_truncation, reason = "pixels are float32")]
            let changed = (mean + (lit - mean) * contrast) as f32;
            *value = changed;
        }
    }
}

fn erase(row: &mut [f32], height: usize, width: usize, black: &[f32], drawn: [f64; 4]) {
    let area = (0.02 + (0.33 - 0.02) * drawn[0]) * (height * width) as f64;
    let aspect = (0.3f64.ln() + (3.3f64.ln() - 0.3f64.ln()) * drawn[1]).exp();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "parts of a picture's sides")]
    let side = |length: f64, most: usize| (length.round() as usize).clamp(1, most);
    let (tall, wide) = (side((area * aspect).sqrt(), height), side((area / aspect).sqrt(), width));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of pixels"
    )]
    let start = |unit: f64, room: usize| ((unit * (room + 1) as f64) as usize).min(room);
    let (top, left) = (start(drawn[2], height - tall), start(drawn[3], width - wide));
    for (plane, black) in row.chunks_exact_mut(height * width).zip(black.iter().cycle()) {
        for y in top..top + tall {
            plane[y * width + left..y * width + left + wide].fill(*black);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<f32> {
        (1u8..=9).map(f32::from).collect()
    }

    #[test]
    fn shifts_move_and_fill() {
        let mut plane = picture();
        shift(&mut plane, 3, 3, (1, -1), 0.0);
        assert_eq!(plane, [0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
        let drawn: Vec<i64> = (0..100).map(|k| whole_between(f64::from(k) / 100.0, 2)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-2), Some(&2)));
    }

    #[test]
    fn a_quarter_turn_moves_rows_to_columns() {
        let mut plane = picture();
        turn(&mut plane, 3, 3, std::f64::consts::FRAC_PI_2, 0.0);
        let wanted = [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0];
        let turned_other_way = [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0];
        let near = |wanted: &[f32]| plane.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&wanted) || near(&turned_other_way), "{plane:?}");
    }

    #[test]
    fn the_same_stream_changes_alike() {
        let augment = Augment { flip: true, shift: 1, rotate: 10.0, colour: 0.2, erase: 0.5, mixup: 0.0 };
        let changed = |place: u64| {
            let mut row = picture();
            augment.apply(&mut row, [1, 3, 3], &[0.0], &mut Stream::new(1, &[place]));
            row
        };
        assert_eq!(changed(1), changed(1));
        assert!((0..10).any(|place| changed(place) != changed(1)));
    }

    #[test]
    fn erasing_makes_a_rectangle_black() {
        let mut row = vec![1.0; 100];
        erase(&mut row, 10, 10, &[-2.0], [0.5, 0.5, 0.5, 0.5]);
        let black = row.iter().filter(|value| (**value + 2.0).abs() < 1e-6).count();
        assert!((5..40).contains(&black), "{black}");
    }
}
