//! How numbers are distributed, found in one pass and in memory that does not grow with them.
//!
//! Numbers are counted by their leading bits: sign, exponent, and six bits of the mantissa, so that a bin is at most 1/64
//! of its numbers wide. Counts do not depend on the order in which numbers come, nor on how they are split into batches.
//! Source of the idea: G. Tene (2012), `HdrHistogram`; C. Masson, J. E. Rim, H. K. Lee (2019), `DDSketch`: a fast and
//! fully-mergeable quantile sketch with relative-error guarantees, arXiv:1908.10693.

use serde::Serialize;

/// Bins of a histogram.
pub const BINS: usize = 32;

/// Bins that share sign and exponent.
const SLOTS: usize = 64;

/// Sign and exponent of a `float32`: 9 bits.
const PAGES: usize = 512;

/// Of these shares of the numbers [`Distribution::quantiles`] are told.
pub const SHARES: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];

/// How numbers are distributed. Moments are exact up to rounding; quantiles are within 1/64 of their size, the smallest
/// and the largest exact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    /// How many numbers, those that are not finite left out.
    pub count: u64,
    /// Σ x / n.
    pub mean: f64,
    /// √(Σ (x − mean)² / n).
    pub std: f64,
    /// √(Σ x² / n).
    pub rms: f64,
    /// Third central moment / std³.
    pub skewness: f64,
    /// Fourth central moment / std⁴, less 3, which is a normal distribution's.
    pub excess_kurtosis: f64,
    /// Smallest, 1 %, 25 %, 50 %, 75 %, 99 %, largest: nearest ranks.
    pub quantiles: [f64; 7],
    /// Share of exact zeros.
    pub zeros: f64,
    /// Numbers that are not finite.
    pub not_finite: u64,
    /// Counts in equal bins.
    pub histogram: Histogram,
}

/// Counts in equal bins between the 0.1 % and the 99.9 % quantile; what lies outside is in the first and last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Where the first bin begins.
    pub low: f64,
    /// Where the last bin ends.
    pub high: f64,
    /// Counts.
    pub counts: Vec<u64>,
}

/// Counts numbers as they come.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    pages: Vec<Option<Box<[u64; SLOTS]>>>,
    count: u64,
    zeros: u64,
    not_finite: u64,
    /// Sums are of differences from the first number, so that a large mean does not swallow a small spread.
    pivot: f64,
    sums: [f64; 4],
    low: f32,
    high: f32,
}

impl Sketch {
    pub(crate) fn new() -> Self {
        Self {
            pages: vec![None; PAGES],
            count: 0,
            zeros: 0,
            not_finite: 0,
            pivot: 0.0,
            sums: [0.0; 4],
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
        }
    }

    /// Counts one number.
    pub(crate) fn add(&mut self, value: f32) {
        if !value.is_finite() {
            self.not_finite += 1;
            return;
        }
        if self.count == 0 {
            self.pivot = f64::from(value);
        }
        self.count += 1;
        // Both zeros are one.
        let bits = if value == 0.0 { 0 } else { value.to_bits() };
        self.zeros += u64::from(bits == 0);
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        let difference = f64::from(value) - self.pivot;
        let square = difference * difference;
        self.sums[0] += difference;
        self.sums[1] += square;
        self.sums[2] += square * difference;
        self.sums[3] += square * square;
        let page = self.pages[(bits >> 23) as usize].get_or_insert_with(|| Box::new([0; SLOTS]));
        page[(bits >> 17) as usize % SLOTS] += 1;
    }

    /// Every bin with a number in it, from the lowest to the highest: its ends and its count.
    fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        let negative =
            (PAGES / 2..PAGES).rev().flat_map(|page| (0..SLOTS).rev().map(move |slot| (page, slot)));
        let positive = (0..PAGES / 2).flat_map(|page| (0..SLOTS).map(move |slot| (page, slot)));
        negative.chain(positive).filter_map(|(page, slot)| {
            let count = self.pages[page].as_ref()?[slot];
            let number = |slot: usize| {
                let bits = ((page % (PAGES / 2)) * SLOTS + slot) << 17;
                f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0)))
            };
            let (near, far) = (number(slot), number(slot + 1).min(f64::from(f32::MAX)));
            // Denormal numbers are as good as zero.
            let (near, far) = if page % (PAGES / 2) == 0 { (0.0, 0.0) } else { (near, far) };
            let (low, high) = if page >= PAGES / 2 { (-far, -near) } else { (near, far) };
            (count > 0).then_some((low.max(f64::from(self.low)), high.min(f64::from(self.high)), count))
        })
    }

    /// The number that a share of all numbers lies below.
    fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.count.saturating_sub(1) as f64).round();
        let mut before = 0.0;
        for (low, high, count) in self.bins() {
            let count = count as f64;
            if rank < before + count {
                let within = if count > 1.0 { (rank - before) / (count - 1.0) } else { 0.5 };
                return low + (high - low) * within.clamp(0.0, 1.0);
            }
            before += count;
        }
        f64::from(self.high)
    }

    fn histogram(&self) -> Histogram {
        let (low, high) = (self.quantile(0.001), self.quantile(0.999));
        let width = (high - low) / BINS as f64;
        let mut counts = vec![0; BINS];
        for (from, to, count) in self.bins() {
            let place = if width > 0.0 { (f64::midpoint(from, to) - low) / width } else { 0.0 };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to the bins"
            )]
            let bin = place.clamp(0.0, BINS as f64 - 1.0) as usize;
            counts[bin] += count;
        }
        Histogram { low, high, counts }
    }

    /// What was counted; `None` where no finite number was.
    pub(crate) fn distribution(&self) -> Option<Distribution> {
        if self.count == 0 {
            return None;
        }
        let n = self.count as f64;
        let [a, b, c, d] = self.sums.map(|sum| sum / n);
        let variance = (b - a * a).max(0.0);
        let third = c - 3.0 * a * b + 2.0 * a * a * a;
        let fourth = d - 4.0 * a * c + 6.0 * a * a * b - 3.0 * a * a * a * a;
        let std = variance.sqrt();
        let mean = self.pivot + a;
        // What rounding leaves of a spread that is none has no shape.
        let spread = variance > 1e-14 * b.max(f64::MIN_POSITIVE);
        let mut quantiles = SHARES.map(|share| self.quantile(share));
        (quantiles[0], quantiles[6]) = (f64::from(self.low), f64::from(self.high));
        Some(Distribution {
            count: self.count,
            mean,
            std,
            rms: (variance + mean * mean).sqrt(),
            skewness: if spread { third / (variance * std) } else { 0.0 },
            excess_kurtosis: if spread { fourth / (variance * variance) - 3.0 } else { 0.0 },
            quantiles,
            zeros: self.zeros as f64 / n,
            not_finite: self.not_finite,
            histogram: self.histogram(),
        })
    }

    /// Numbers that are not finite.
    pub(crate) fn not_finite(&self) -> u64 {
        self.not_finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Distribution {
        let mut sketch = Sketch::new();
        for value in values {
            sketch.add(*value);
        }
        sketch.distribution().unwrap()
    }

    fn close(found: f64, wanted: f64, tolerance: f64) {
        assert!((found - wanted).abs() <= tolerance * wanted.abs().max(1e-12), "{found} {wanted}");
    }

    #[test]
    fn moments_are_those_of_their_definitions() {
        let found = of(&[-1.0, -1.0, 1.0, 1.0, f32::NAN]);
        close(found.std, 1.0, 1e-12);
        close(found.excess_kurtosis, -2.0, 1e-12);
        assert_eq!((found.count, found.not_finite), (4, 1));
        // 0, 0, 0, 4: mean 1, variance 3, third moment (−3 + 27) / 4 = 6, over 3^1.5.
        let skewed = of(&[0.0, -0.0, 0.0, 4.0]);
        close(skewed.skewness, 6.0 / 27f64.sqrt(), 1e-12);
        close(skewed.rms, 2.0, 1e-12);
        close(skewed.zeros, 0.75, 1e-12);
        // A small spread around a large mean.
        let far = of(&[10_000.0, 10_000.01, 9_999.99]);
        close(far.std, (2.0f64 / 3.0).sqrt() * 0.01, 0.05);
    }

    #[test]
    fn quantiles_are_within_a_64th_whatever_the_order() {
        let values: Vec<f32> =
            (0..10_000u32).map(|k| ((k * 7919 % 10_000) as f32 / 500.0 - 8.0).powi(3)).collect();
        let found = of(&values);
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        for (share, quantile) in SHARES.iter().zip(found.quantiles) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
            let exact = f64::from(sorted[(share * 9_999.0).round() as usize]);
            assert!((quantile - exact).abs() <= exact.abs() / 64.0 + 0.05, "{share}: {quantile} {exact}");
        }
        let reversed: Vec<f32> = values.iter().rev().copied().collect();
        assert_eq!(of(&reversed).quantiles.map(f64::to_bits), found.quantiles.map(f64::to_bits));
        assert_eq!(found.histogram.counts.iter().sum::<u64>(), 10_000);
    }

    #[test]
    fn one_number_is_all_of_its_quantiles() {
        let found = of(&[-2.5; 7]);
        assert_eq!(found.quantiles.map(f64::to_bits), [(-2.5f64).to_bits(); 7]);
        assert_eq!((found.std, found.skewness), (0.0, 0.0));
        assert!(Sketch::new().distribution().is_none());
    }
}
