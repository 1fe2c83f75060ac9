//! Moments, quantiles and histogram of a tensor, read in pieces so that no copy of it is made.

use pellucid_graph::{ElementType, Tensor};

/// Quantiles between the smallest and the largest number.
const INNER: [f64; 5] = [0.01, 0.25, 0.5, 0.75, 0.99];

/// Bins of a histogram.
const BINS: usize = 32;

/// Elements that are decoded at a time.
const PIECE: usize = 4096;

/// Bits of a number that a pass finds.
const STEP: u32 = 11;

#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) excess_kurtosis: f64,
    pub(super) sparsity: f64,
    pub(super) quantiles: [f64; 7],
    pub(super) histogram: Vec<u64>,
    pub(super) not_finite: u64,
}

/// Gives the elements of `tensor` in order, some at a time.
pub(super) fn pieces(tensor: &Tensor, mut take: impl FnMut(&[f32])) {
    let mut buffer = [0f32; PIECE];
    if tensor.element() == ElementType::F32 {
        for piece in tensor.bytes().chunks(4 * PIECE) {
            let mut count = 0;
            for (place, bytes) in buffer.iter_mut().zip(piece.as_chunks::<4>().0) {
                *place = f32::from_le_bytes(*bytes);
                count += 1;
            }
            take(&buffer[..count]);
        }
    } else {
        tensor.to_f32().chunks(PIECE).for_each(take);
    }
}

/// `count` elements from `start` on.
pub(in crate::summary) fn part(tensor: &Tensor, start: usize, count: usize) -> Vec<f32> {
    stored(tensor, start, count).map_or_else(Vec::new, |part| part.to_f32())
}

/// The same in 64 bits, as no element is rounded.
pub(in crate::summary) fn part_in_full(tensor: &Tensor, start: usize, count: usize) -> Vec<f64> {
    stored(tensor, start, count).map_or_else(Vec::new, |part| part.to_f64())
}

fn stored(tensor: &Tensor, start: usize, count: usize) -> Option<Tensor> {
    let width = tensor.element().size();
    let bytes = tensor.bytes().slice(start * width..(start + count) * width);
    Tensor::new(tensor.element(), vec![count], bytes).ok()
}

/// Numbers in an order that is that of floats.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn from_key(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

impl Numbers {
    /// Three passes; `None` where no number is finite.
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        let mut first = First::default();
        pieces(tensor, |piece| piece.iter().for_each(|value| first.add(*value)));
        let count = first.count;
        if count == 0 {
            return None;
        }
        let mean = first.sum / count as f64;
        let mut bins = Bins::new(f64::from(first.low), f64::from(first.high));
        let (mut second, mut fourth) = (0f64, 0f64);
        let mut ranks = Ranks::new(count);
        pieces(tensor, |piece| {
            for value in piece.iter().filter(|value| value.is_finite()) {
                let square = (f64::from(*value) - mean).powi(2);
                second += square;
                fourth += square * square;
                bins.add(f64::from(*value));
                ranks.add(key(*value));
            }
        });
        ranks.finish_pass();
        while ranks.known < u32::BITS {
            pieces(tensor, |piece| {
                piece.iter().filter(|value| value.is_finite()).for_each(|value| ranks.add(key(*value)));
            });
            ranks.finish_pass();
        }
        let variance = second / count as f64;
        let kurtosis = if variance > 0.0 { fourth / count as f64 / (variance * variance) - 3.0 } else { 0.0 };
        let [a, b, c, d, e] = ranks.values();
        Some(Self {
            mean,
            std: variance.sqrt(),
            excess_kurtosis: kurtosis,
            sparsity: first.zeros as f64 / count as f64,
            quantiles: [f64::from(first.low), a, b, c, d, e, f64::from(first.high)],
            histogram: bins.counts,
            not_finite: first.not_finite,
        })
    }
}

/// The nearest rank of a share of `count` numbers, from 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn place(share: f64, count: u64) -> usize {
    (share * count.saturating_sub(1) as f64).round() as usize
}

/// What a first pass finds.
struct First {
    sum: f64,
    low: f32,
    high: f32,
    count: u64,
    zeros: u64,
    not_finite: u64,
}

impl Default for First {
    fn default() -> Self {
        Self { sum: 0.0, low: f32::INFINITY, high: f32::NEG_INFINITY, count: 0, zeros: 0, not_finite: 0 }
    }
}

impl First {
    fn add(&mut self, value: f32) {
        if !value.is_finite() {
            self.not_finite += 1;
            return;
        }
        self.count += 1;
        self.sum += f64::from(value);
        self.zeros += u64::from(value == 0.0);
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }
}

struct Bins {
    low: f64,
    scale: f64,
    counts: Vec<u64>,
}

impl Bins {
    fn new(low: f64, high: f64) -> Self {
        Self { low, scale: BINS as f64 / (high - low).max(f64::MIN_POSITIVE), counts: vec![0; BINS] }
    }

    fn add(&mut self, value: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; cut below"
        )]
        let bin = ((value - self.low) * self.scale) as usize;
        self.counts[bin.min(BINS - 1)] += 1;
    }
}

/// Finds the numbers of given ranks bit by bit: a pass counts what the next bits are among the numbers that begin like
/// those that are sought. Three passes know all 32 bits, and take little memory.
struct Ranks {
    /// For every quantile: how its number begins, and its rank among those that begin so.
    wanted: [(u32, u64); INNER.len()],
    /// Bits that are known.
    known: u32,
    /// For every beginning: how often the next bits are what.
    counts: Vec<(u32, Vec<u64>)>,
}

impl Ranks {
    fn new(count: u64) -> Self {
        let rank = |share| u64::try_from(place(share, count)).unwrap_or(0).min(count.saturating_sub(1));
        let wanted = INNER.map(|share| (0, rank(share)));
        Self { wanted, known: 0, counts: vec![(0, vec![0; 1 << STEP])] }
    }

    /// Bits of the next step.
    fn step(&self) -> u32 {
        STEP.min(u32::BITS - self.known)
    }

    fn add(&mut self, key: u32) {
        let step = self.step();
        let begins = if self.known == 0 { 0 } else { key >> (u32::BITS - self.known) };
        let next = (key >> (u32::BITS - self.known - step)) & ((1 << step) - 1);
        if let Some((_, counts)) = self.counts.iter_mut().find(|(known, _)| *known == begins) {
            counts[usize::try_from(next).unwrap_or(0)] += 1;
        }
    }

    /// Ends a pass.
    fn finish_pass(&mut self) {
        let step = self.step();
        for (begins, rank) in &mut self.wanted {
            let Some((_, counts)) = self.counts.iter().find(|(known, _)| known == begins) else { continue };
            let mut next = 0;
            while next + 1 < counts.len() && *rank >= counts[next] {
                *rank -= counts[next];
                next += 1;
            }
            *begins = *begins << step | u32::try_from(next).unwrap_or(0);
        }
        self.known += step;
        self.counts.clear();
        if self.known < u32::BITS {
            let width = 1 << self.step();
            for (begins, _) in self.wanted {
                if !self.counts.iter().any(|(known, _)| *known == begins) {
                    self.counts.push((begins, vec![0; width]));
                }
            }
        }
    }

    fn values(&self) -> [f64; INNER.len()] {
        self.wanted.map(|(key, _)| f64::from(from_key(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_their_definitions() {
        let tensor = Tensor::from_f32(vec![4], &[-1.0, -1.0, 1.0, 1.0]).unwrap();
        let found = Numbers::of(&tensor).unwrap();
        assert!((found.std - 1.0).abs() < 1e-12 && (found.excess_kurtosis + 2.0).abs() < 1e-12);
        assert!((found.quantiles[0] + 1.0).abs() < 1e-12 && (found.quantiles[6] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_those_of_sorting() {
        for count in [997usize, 65_537] {
            let number = |k: usize| (k * 7919 % count) as f32 / count as f32 - 0.4;
            let mut values: Vec<f32> = (0..count).map(|k| number(k).powi(3)).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            values.extend([f32::NAN, f32::INFINITY]);
            let found = Numbers::of(&Tensor::from_f32(vec![count + 2], &values).unwrap()).unwrap();
            let shares = [&[0.0][..], &INNER, &[1.0]].concat();
            for (share, value) in shares.iter().zip(found.quantiles) {
                let expected = f64::from(sorted[place(*share, count as u64)]);
                assert_eq!(value.to_bits(), expected.to_bits(), "{share} of {count}");
            }
            assert_eq!((found.not_finite, found.histogram.iter().sum::<u64>()), (2, count as u64));
        }
    }

    #[test]
    fn keys_are_in_the_order_of_numbers() {
        let sorted = [f32::MIN, -1.5, -1e-40, 0.0, 1e-40, 2.0, f32::MAX];
        assert!(sorted.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert!(sorted.iter().all(|value| from_key(key(*value)).to_bits() == value.to_bits()));
    }
}
