//! Plots: histograms, bars and curves, in a drawing, a page or a line of text.

use std::fmt::Write as _;

use super::scene::{Anchor, Ink, Item, Scene, escape};
use super::text::{self, Weight};
use super::words::{number, to_f32};

/// Colour of what is counted.
pub(super) const BLUE: [u8; 3] = [0, 114, 178];

/// A part of a drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    /// Left end.
    pub(super) x: f32,
    /// Upper end.
    pub(super) y: f32,
    /// Width.
    pub(super) width: f32,
    /// Height.
    pub(super) height: f32,
}

/// Heights of bars between 0 and 1: by the root of the counts, so that tails show.
fn heights(counts: &[u64]) -> Vec<f32> {
    let roots: Vec<f64> = counts.iter().map(|count| (*count as f64).sqrt()).collect();
    let most = roots.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    roots.into_iter().map(|root| to_f32(root / most)).collect()
}

/// A histogram in one line of text, two bins a character, by the root of their counts.
pub(super) fn sparkline(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let pairs: Vec<u64> = counts.chunks(2).map(|pair| pair.iter().sum()).collect();
    let bar = |height: f32| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of seven")]
        let level = (height * 7.0).round() as usize;
        if height == 0.0 { ' ' } else { BARS[level.min(7)] }
    };
    heights(&pairs).into_iter().map(bar).collect()
}

/// A histogram in an area of a drawing: bars by the root of their counts over an axis from `low` to `high`, with 0 marked.
pub(super) fn histogram(scene: &mut Scene, area: Area, counts: &[u64], low: f64, high: f64) {
    let bottom = area.y + area.height;
    let step = area.width / counts.len().max(1) as f32;
    for (place, height) in heights(counts).into_iter().enumerate().filter(|(_, height)| *height > 0.0) {
        let height = (height * area.height).max(1.0);
        scene.items.push(Item::Rectangle {
            x: area.x + place as f32 * step,
            y: bottom - height,
            width: (step - 1.0).max(1.0),
            height,
            ink: Ink::Own(BLUE),
        });
    }
    scene.items.push(Item::Rectangle {
        x: area.x,
        y: bottom,
        width: area.width,
        height: 1.0,
        ink: Ink::Soft,
    });
    let size = 12.0;
    let below = bottom + 15.0;
    let (left, right) = (number(to_f32(low)), number(to_f32(high)));
    let taken = text::width(&left, size, Weight::Regular) + text::width(&right, size, Weight::Regular);
    scene.text(area.x, below, size, Weight::Regular, Ink::Soft, left.clone());
    scene.anchored(area.x + area.width, below, size, Weight::Regular, Anchor::End, Ink::Soft, right.clone());
    if low < 0.0 && high > 0.0 {
        let zero = area.x + area.width * to_f32(-low / (high - low));
        scene.items.push(Item::Rectangle {
            x: zero,
            y: area.y,
            width: 1.0,
            height: area.height,
            ink: Ink::Line,
        });
        let free = area.x + text::width(&left, size, Weight::Regular) + 12.0;
        let end = area.x + area.width - text::width(&right, size, Weight::Regular) - 12.0;
        if taken < area.width && (free..end).contains(&zero) {
            scene.anchored(zero, below, size, Weight::Regular, Anchor::Middle, Ink::Soft, "0");
        }
    }
}

/// A histogram for a cell of a page's table, in the colour of its text; `told` says it in words.
pub(super) fn small_histogram(counts: &[u64], told: &str) -> String {
    let mut path = String::new();
    for (place, height) in heights(counts).into_iter().enumerate().filter(|(_, height)| *height > 0.0) {
        let _ = write!(
            path,
            "M{} 24v-{:.1}h3v{:.1}z",
            4 * place,
            (height * 24.0).max(0.8),
            (height * 24.0).max(0.8)
        );
    }
    format!(
        "<svg class=\"small\" viewBox=\"0 0 {} 25\" role=\"img\" aria-label=\"{}\"><path d=\"{path}\"/></svg>",
        4 * counts.len().max(1),
        escape(told)
    )
}

/// A falling curve for a cell of a page's table, such as singular values; `told` says it in words.
pub(super) fn small_curve(values: &[f64], told: &str) -> String {
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let last = values.len().max(2) - 1;
    // More points than pixels do not show.
    let step = values.len().div_ceil(96).max(1);
    let mut path = String::from("M0 24");
    for (place, value) in values.iter().enumerate().step_by(step) {
        let _ = write!(path, "L{:.1} {:.1}", 128.0 * place as f64 / last as f64, 24.0 - 23.0 * value / most);
    }
    format!(
        "<svg class=\"small\" viewBox=\"0 0 128 25\" role=\"img\" aria-label=\"{}\"><path d=\"{path}L128 24z\"/></svg>",
        escape(told)
    )
}

/// A bar with what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// Before it.
    pub(super) label: String,
    /// Its length, not negative.
    pub(super) value: f64,
    /// Behind it.
    pub(super) text: String,
}

/// Bars below each other from `scene.height` on, the longest as long as there is room.
pub(super) fn bars(scene: &mut Scene, x: f32, width: f32, bars: &[Bar]) {
    let (labels, numbers, line) = (width * 0.4, 96.0, 24.0);
    let room = (width - labels - numbers).max(1.0);
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    for bar in bars {
        let middle = scene.height + line / 2.0;
        let label = text::fitted(&bar.label, 14.0, Weight::Regular, labels - 14.0);
        scene.text(x, middle + 5.0, 14.0, Weight::Regular, Ink::Strong, label);
        scene.items.push(Item::Rectangle {
            x: x + labels,
            y: middle - 7.0,
            width: (to_f32(bar.value / most) * room).max(1.0),
            height: 14.0,
            ink: Ink::Own(BLUE),
        });
        let end = x + width;
        scene.anchored(end, middle + 5.0, 14.0, Weight::Regular, Anchor::End, Ink::Strong, bar.text.clone());
        scene.height += line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_show_and_nothing_is_blank() {
        assert_eq!(sparkline(&[1, 0, 0, 0, 100, 0]), "▂ █");
        assert_eq!(sparkline(&[]), "");
        let svg = small_histogram(&[0, 4, 1], "from −1 to \"1\"");
        assert!(svg.contains("&quot;1&quot;") && svg.matches('M').count() == 2, "{svg}");
    }

    #[test]
    fn a_histogram_stays_in_its_area() {
        let mut scene = Scene::new(200.0, "histogram");
        let area = Area { x: 10.0, y: 10.0, width: 100.0, height: 50.0 };
        histogram(&mut scene, area, &[1, 5, 2, 0], -1.0, 3.0);
        let mut bars = 0;
        for item in &scene.items {
            if let Item::Rectangle { x, y, width, height, ink: Ink::Own(_) } = item {
                bars += 1;
                assert!(*x >= 10.0 && x + width <= 110.0 && *y >= 10.0 && y + height <= 60.5);
            }
        }
        assert_eq!(bars, 3);
    }
}
