//! Medians and quartiles of a few numbers.

/// The middle half of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
    pub(crate) count: usize,
}

impl Spread {
    /// Median and quartiles, by linear interpolation; `None` of no numbers.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = share * last as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index below a length"
            )]
            let below = place.floor() as usize;
            let above = (below + 1).min(last);
            sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
        };
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75), count: sorted.len() })
    }

    /// The width of the middle half as a share of the median.
    pub(crate) fn width(&self) -> f64 {
        (self.high - self.low) / self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_numpys() {
        assert_eq!(Spread::of(&[]), None);
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        // numpy.percentile([1, 2, 3, 4], [25, 50, 75])
        assert_eq!(spread, Spread { low: 1.75, median: 2.5, high: 3.25, count: 4 });
        assert!((spread.width() - 0.6).abs() < 1e-12);
        let one = Spread::of(&[7.0]).unwrap();
        assert_eq!((one.low, one.median, one.high), (7.0, 7.0, 7.0));
    }
}
