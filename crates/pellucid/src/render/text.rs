//! Text on pictures: the typeface Inter (SIL Open Font License 1.1, see `fonts/`), reduced to Latin, Greek and Cyrillic.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, ScaleFont, point};

/// Weight of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    SemiBold,
}

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("fonts/Inter-Regular.otf")).expect("the embedded font is whole")
});
static SEMI_BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("fonts/Inter-SemiBold.otf")).expect("the embedded font is whole")
});

fn font(weight: Weight) -> &'static FontRef<'static> {
    match weight {
        Weight::Regular => &REGULAR,
        Weight::SemiBold => &SEMI_BOLD,
    }
}

/// Glyphs of `text` with their distances from its start, and its width; `size` in pixels an em.
fn place(text: &str, size: f32, weight: Weight) -> (Vec<(GlyphId, f32)>, f32) {
    let font = font(weight);
    let scaled = font.as_scaled(font.pt_to_px_scale(size * 0.75).unwrap_or_else(|| size.into()));
    let mut glyphs = Vec::new();
    let mut at = 0.0;
    let mut before = None;
    for character in text.chars().filter(|character| !character.is_control()) {
        let known = |character: char| Some(scaled.glyph_id(character)).filter(|glyph| glyph.0 != 0);
        // Scripts that the font lacks are shown as replacement characters.
        let glyph = known(character).or_else(|| known('\u{fffd}')).or_else(|| known('?')).unwrap_or_default();
        if let Some(before) = before {
            at += scaled.kern(before, glyph);
        }
        glyphs.push((glyph, at));
        at += scaled.h_advance(glyph);
        before = Some(glyph);
    }
    (glyphs, at)
}

/// Width of a text in pixels.
pub(super) fn width(text: &str, size: f32, weight: Weight) -> f32 {
    place(text, size, weight).1
}

/// `text` cut so that it is at most `most` pixels wide, with an ellipsis where something is missing.
pub(super) fn fitted(text: &str, size: f32, weight: Weight, most: f32) -> String {
    // No letter is narrower than a tenth of its size: what is longer is cut before it is measured.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length in letters")]
    let enough = (most / (0.1 * size)).max(0.0) as usize + 2;
    let visible =
        |text: &str| text.chars().filter(|character| !character.is_control()).take(enough).collect();
    let start: String = visible(text);
    let (glyphs, wide) = place(&start, size, weight);
    if glyphs.len() < enough && wide <= most {
        return text.to_owned();
    }
    let room = most - width("…", size, weight);
    if room < 0.0 {
        return String::new();
    }
    // Where a glyph begins, those before it end.
    let kept = glyphs.iter().skip(1).take_while(|(_, at)| *at <= room).count();
    start.chars().take(kept).collect::<String>().trim_end().to_owned() + "…"
}

/// `text` as lines of at most `most` pixels.
pub(super) fn wrapped(text: &str, size: f32, weight: Weight, most: f32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if line.is_empty() || width(&longer, size, weight) <= most {
            *line = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Draws a text whose baseline starts at (`x`, `y`); `pixel` gets column, row and cover between 0 and 1.
pub(super) fn draw(
    text: &str,
    size: f32,
    weight: Weight,
    (x, y): (f32, f32),
    mut pixel: impl FnMut(i64, i64, f32),
) {
    let font = font(weight);
    let scale = font.pt_to_px_scale(size * 0.75).unwrap_or_else(|| size.into());
    for (glyph, at) in place(text, size, weight).0 {
        let glyph = glyph.with_scale_and_position(scale, point(x + at, y));
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        #[expect(clippy::cast_possible_truncation, reason = "bounds of a glyph are whole and small")]
        let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
        outline.draw(|column, row, cover| {
            pixel(left + i64::from(column), top + i64::from(row), cover.clamp(0.0, 1.0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_grow_with_size_and_weight_and_strange_scripts_have_one() {
        let regular = width("Egyptian cat", 20.0, Weight::Regular);
        assert!((90.0..150.0).contains(&regular), "{regular}");
        assert!((width("Egyptian cat", 40.0, Weight::Regular) - 2.0 * regular).abs() < 0.5);
        assert!(width("Egyptian cat", 20.0, Weight::SemiBold) > regular);
        assert!(width("猫", 20.0, Weight::Regular) > 5.0);
    }

    #[test]
    fn long_texts_are_cut_or_broken() {
        let text = "a text that is far too long for its place";
        let short = fitted(text, 16.0, Weight::Regular, 120.0);
        assert!(short.ends_with('…') && width(&short, 16.0, Weight::Regular) <= 120.0);
        let lines = wrapped(text, 16.0, Weight::Regular, 120.0);
        assert_eq!(lines.join(" "), text);
        assert!(lines.len() > 2 && lines.iter().all(|line| width(line, 16.0, Weight::Regular) <= 120.0));
    }

    #[test]
    fn ink_stands_on_the_baseline() {
        let mut rows = Vec::new();
        draw("H", 20.0, Weight::Regular, (0.0, 30.0), |_, row, cover| {
            if cover > 0.5 {
                rows.push(row);
            }
        });
        let (top, bottom) = (rows.iter().min().unwrap(), rows.iter().max().unwrap());
        assert!((28..=30).contains(bottom) && (14..=17).contains(top), "{top} {bottom}");
    }
}
