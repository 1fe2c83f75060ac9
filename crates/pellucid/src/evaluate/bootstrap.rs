//! The bootstrap in one pass: every row counts in each replicate as often as a Poisson number of mean 1 says.
//!
//! Sampling n of n rows with replacement gives each row a multinomial count; for many rows the counts are Poisson numbers,
//! independent of each other, so that no row must be kept and replicates are sums. What is drawn follows from the seed and
//! from a row's place, so two models that are measured on the same rows have the same replicates, which makes their
//! differences paired.
//!
//! Source: B. Efron (1979), Bootstrap methods: another look at the jackknife, doi:10.1214/aos/1176344552 (percentile
//! intervals); N. Chamandy, O. Muralidharan, A. Najmi, S. Naidu (2012), Estimating uncertainty for massive data streams,
//! Google research report 43157 (the Poisson bootstrap).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Sums over rows, from which measures are computed.
pub(super) trait Tally: Clone {
    /// What one row comes to.
    type Row;
    /// Counts a row `weight` times.
    fn add(&mut self, row: &Self::Row, weight: u32);
    /// The measures, NaN where one is not defined: those of the whole, then those of the parts where they are kept.
    fn measures(&self) -> Vec<f64>;
}

/// How often a row counts in each of `replicates` replicates.
pub(super) fn weights(seed: u64, row: u64, replicates: usize) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(mixed(seed ^ mixed(row.wrapping_add(0x9e37_79b9_7f4a_7c15))));
    (0..replicates).map(|_| poisson(random.next_u32())).collect()
}

/// P(X ≤ k) · 2³² of a Poisson number of mean 1, for k = 0, 1, 2 …
const CUMULATIVE: [u32; 11] = [
    1_580_030_169,
    3_160_060_337,
    3_950_075_422,
    4_213_413_783,
    4_279_248_374,
    4_292_415_292,
    4_294_609_778,
    4_294_923_276,
    4_294_962_463,
    4_294_966_817,
    4_294_967_253,
];

/// A Poisson number of mean 1 from 32 random bits, by inverting its distribution.
fn poisson(bits: u32) -> u32 {
    let mut count = 0;
    for limit in CUMULATIVE {
        if bits < limit {
            return count;
        }
        count += 1;
    }
    count
}

/// Spreads every bit over all: the finaliser of `SplitMix64`.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Sums over all rows, and over the rows of each replicate.
#[derive(Debug, Clone)]
pub(super) struct Resampled<T> {
    pub(super) whole: T,
    replicates: Vec<T>,
}

impl<T: Tally> Resampled<T> {
    /// `empty` is what sums begin with, `replicate` the same for replicates, which may keep less.
    pub(super) fn new(empty: T, replicate: &T, replicates: usize) -> Self {
        Self { whole: empty, replicates: vec![replicate.clone(); replicates] }
    }

    /// Counts a row.
    pub(super) fn add(&mut self, row: &T::Row, weights: &[u32]) {
        self.whole.add(row, 1);
        for (tally, weight) in self.replicates.iter_mut().zip(weights) {
            if *weight > 0 {
                tally.add(row, *weight);
            }
        }
    }

    /// The measures of each replicate.
    pub(super) fn drawn(&self) -> Drawn {
        Drawn(self.replicates.iter().map(Tally::measures).collect())
    }
}

/// Measures of replicates, replicate by replicate.
#[derive(Debug, Clone)]
pub(super) struct Drawn(Vec<Vec<f64>>);

impl Drawn {
    /// A measure's numbers in all replicates where it is defined, sorted.
    fn sorted(&self, measure: usize) -> Vec<f64> {
        let numbers = self.0.iter().filter_map(|measures| measures.get(measure).copied());
        let mut sorted: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The interval that holds a measure with the probability `level`: percentiles of the replicates. `None` where it is
    /// defined in less than nine tenths of them.
    pub(super) fn interval(&self, measure: usize, level: f64) -> Option<[f64; 2]> {
        interval(&self.sorted(measure), self.0.len(), level)
    }

    /// Of a measure of this less that of `other`, whose replicates are of the same rows: the interval, and the two-sided
    /// probability of a difference as far from zero where there is none, (1 + min(#{≤ 0}, #{≥ 0})) · 2 / (1 + replicates).
    pub(super) fn difference(
        &self,
        other: &Self,
        measure: usize,
        level: f64,
    ) -> (Option<[f64; 2]>, Option<f64>) {
        let pairs = self.0.iter().zip(&other.0);
        let mut found: Vec<f64> = pairs
            .filter_map(|(a, b)| Some(a.get(measure)? - b.get(measure)?))
            .filter(|number| number.is_finite())
            .collect();
        found.sort_by(f64::total_cmp);
        let range = interval(&found, self.0.len(), level);
        let below = found.iter().filter(|number| **number <= 0.0).count();
        let above = found.iter().filter(|number| **number >= 0.0).count();
        let p = range.map(|_| (2.0 * (1 + below.min(above)) as f64 / (1 + found.len()) as f64).min(1.0));
        (range, p)
    }
}

fn interval(sorted: &[f64], all: usize, level: f64) -> Option<[f64; 2]> {
    if sorted.is_empty() || sorted.len() * 10 < all * 9 {
        return None;
    }
    Some([percentile(sorted, (1.0 - level) / 2.0), percentile(sorted, f64::midpoint(1.0, level))])
}

/// The number below which `share` of sorted numbers lie, between two of them in proportion.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Mean {
        sum: f64,
        rows: f64,
    }

    impl Tally for Mean {
        type Row = f64;
        fn add(&mut self, row: &f64, weight: u32) {
            self.sum += row * f64::from(weight);
            self.rows += f64::from(weight);
        }
        fn measures(&self) -> Vec<f64> {
            vec![self.sum / self.rows]
        }
    }

    #[test]
    fn counts_are_poisson_numbers_of_mean_one() {
        let mut term = (-1f64).exp();
        let mut sum = 0.0;
        for (k, limit) in CUMULATIVE.iter().enumerate() {
            sum += term;
            term /= (k + 1) as f64;
            assert!((f64::from(*limit) - sum * 4_294_967_296.0).abs() < 0.51, "{k}");
        }
        let drawn: Vec<u32> = (0..500).flat_map(|row| weights(7, row, 400)).collect();
        let mean = drawn.iter().map(|w| f64::from(*w)).sum::<f64>() / drawn.len() as f64;
        let square = drawn.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / drawn.len() as f64;
        assert!((mean - 1.0).abs() < 0.01 && (square - 2.0).abs() < 0.04, "{mean} {square}");
    }

    /// The mean of n numbers has the standard error σ/√n: the interval is ±1.96 of them.
    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let mut all = Resampled::new(Mean::default(), &Mean::default(), 4000);
        let numbers: Vec<f64> = (0..400).map(|row| f64::from((row * 7919) % 400) / 400.0).collect();
        for (row, number) in (0u64..).zip(&numbers) {
            all.add(number, &weights(1, row, 4000));
        }
        let mean = all.whole.measures()[0];
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 400.0;
        let expected = 1.959_964 * (variance / 400.0).sqrt();
        let [low, high] = all.drawn().interval(0, 0.95).unwrap();
        assert!(((mean - low) / expected - 1.0).abs() < 0.06, "{low} {mean} {expected}");
        assert!(((high - mean) / expected - 1.0).abs() < 0.06, "{high} {mean} {expected}");
    }

    #[test]
    fn a_difference_from_itself_is_none_and_a_constant_one_is_certain() {
        let mut one = Resampled::new(Mean::default(), &Mean::default(), 999);
        let mut other = one.clone();
        for row in 0..50 {
            let weights = weights(3, row, 999);
            one.add(&(row as f64), &weights);
            other.add(&(row as f64 + 1.0), &weights);
        }
        let (range, p) = one.drawn().difference(&one.drawn(), 0, 0.95);
        assert_eq!((range, p), (Some([0.0, 0.0]), Some(1.0)));
        let (range, p) = other.drawn().difference(&one.drawn(), 0, 0.95);
        assert!(range.unwrap().iter().all(|end| (end - 1.0).abs() < 1e-9));
        assert!((p.unwrap() - 0.002).abs() < 1e-9, "{p:?}");
    }

    #[test]
    fn a_seed_and_a_row_say_what_is_drawn() {
        assert_eq!(weights(1, 5, 100), weights(1, 5, 100));
        assert_eq!(weights(1, 5, 100)[..10], weights(1, 5, 10)[..]);
        assert_ne!(weights(1, 5, 100), weights(2, 5, 100));
        assert_ne!(weights(1, 5, 100), weights(1, 6, 100));
    }
}
