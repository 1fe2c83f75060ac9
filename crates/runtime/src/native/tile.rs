//! The innermost loops of convolutions: products of a few rows, summed in registers.
//!
//! Vectors are as wide as the processor's; sums of a row run over its terms in their order, so results depend on that width
//! alone, never on threads.
#![allow(clippy::inline_always, reason = "what is dispatched to a processor's vectors must be one function")]

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Rows that are summed together.
pub(super) const ROWS: usize = 4;

/// Vectors of a row that are summed together: with four rows as many sums as are under way at once. With three vectors the
/// compiler moves sums between registers, and a convolution takes twice as long.
const VECTORS: usize = 2;

/// Numbers past the end of what is read that must be there, whatever they are: two vectors of the widest processor.
pub(super) const SLACK: usize = 16 * VECTORS;

/// `sums[r][q] = Σ_k weights[k][r] · source[offsets[k] + q]`, for each of `count` places q.
pub(super) struct Rows<'a> {
    /// `[k][ROWS]`.
    pub(super) weights: &'a [f32],
    /// Where the first place of each term lies.
    pub(super) offsets: &'a [u32],
    /// What is weighed, [`SLACK`] numbers longer than is needed.
    pub(super) source: &'a [f32],
    /// Places of a row.
    pub(super) count: usize,
    /// `ROWS` rows of `pitch` numbers each.
    pub(super) sums: &'a mut [f32],
    /// At least `count` and [`SLACK`].
    pub(super) pitch: usize,
}

impl SimdOp for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let lanes = isa.f32().len();
        let mut at = 0;
        while at < self.count {
            match (self.count - at).div_ceil(lanes) {
                1 => self.some::<I, 1>(isa, at),
                2 => self.some::<I, 2>(isa, at),
                _ => self.some::<I, VECTORS>(isa, at),
            }
            at += VECTORS * lanes;
        }
    }
}

impl Rows<'_> {
    /// `V` vectors of each row from place `at`.
    #[inline(always)]
    fn some<I: Isa, const V: usize>(&mut self, isa: I, at: usize) {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut sums = [[ops.zero(); V]; ROWS];
        let source = &self.source[at..];
        for (offset, weights) in self.offsets.iter().zip(self.weights.chunks_exact(ROWS)) {
            let from = *offset as usize;
            let seen = &source[from..from + V * lanes];
            let seen: [_; V] = std::array::from_fn(
                #[inline(always)]
                |vector| ops.load(&seen[vector * lanes..]),
            );
            let weights: [f32; ROWS] = std::array::from_fn(|row| weights[row]);
            for (sums, weight) in sums.iter_mut().zip(weights) {
                let weight = ops.splat(weight);
                for (sum, seen) in sums.iter_mut().zip(seen) {
                    *sum = ops.mul_add(weight, seen, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                ops.store(sum, &mut self.sums[row * self.pitch + at + vector * lanes..]);
            }
        }
    }
}

/// `sums[q] = Σ_k weights[k] · source[offsets[k] + q]`, for each of `count` places q.
pub(super) struct Row<'a> {
    pub(super) weights: &'a [f32],
    /// Where the first place of each term lies.
    pub(super) offsets: &'a [u32],
    /// What is weighed, [`SLACK`] numbers longer than is needed.
    pub(super) source: &'a [f32],
    /// Places.
    pub(super) count: usize,
    /// At least `count` and [`SLACK`].
    pub(super) sums: &'a mut [f32],
}

impl SimdOp for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let lanes = isa.f32().len();
        let mut at = 0;
        while at < self.count {
            // Sums that are under way at once hide how long one takes.
            let vectors = match (self.count - at).div_ceil(lanes) {
                1 => self.some::<I, 1>(isa, at),
                2 | 3 => self.some::<I, 2>(isa, at),
                4..8 => self.some::<I, 4>(isa, at),
                _ => self.some::<I, 8>(isa, at),
            };
            at += vectors * lanes;
        }
    }
}

impl Row<'_> {
    /// `V` vectors from place `at`.
    #[inline(always)]
    fn some<I: Isa, const V: usize>(&mut self, isa: I, at: usize) -> usize {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut sums = [ops.zero(); V];
        let source = &self.source[at..];
        for (offset, weight) in self.offsets.iter().zip(self.weights) {
            let from = *offset as usize;
            let seen = &source[from..from + V * lanes];
            let weight = ops.splat(*weight);
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = ops.mul_add(weight, ops.load(&seen[vector * lanes..]), *sum);
            }
        }
        for (vector, sum) in sums.into_iter().enumerate() {
            ops.store(sum, &mut self.sums[at + vector * lanes..]);
        }
        V
    }
}

/// `sums[k] += Σ_q row[q] · source[offsets[k] + q]`.
pub(super) struct Dots<'a> {
    /// Whole vectors, zero where no place is.
    pub(super) row: &'a [f32],
    /// What the row meets, [`SLACK`] numbers longer than is needed.
    pub(super) source: &'a [f32],
    /// Where the first place of each term lies.
    pub(super) offsets: &'a [u32],
    /// By term.
    pub(super) sums: &'a mut [f32],
}

impl SimdOp for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let mut at = 0;
        while at < self.offsets.len() {
            at += match self.offsets.len() - at {
                1 => self.some::<I, 1>(isa, at),
                2 => self.some::<I, 2>(isa, at),
                3 => self.some::<I, 3>(isa, at),
                4 => self.some::<I, 4>(isa, at),
                _ => self.some::<I, 5>(isa, at),
            };
        }
    }
}

impl Dots<'_> {
    /// `K` terms from term `at`.
    #[inline(always)]
    fn some<I: Isa, const K: usize>(&mut self, isa: I, at: usize) -> usize {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut sums = [ops.zero(); K];
        let terms: [&[f32]; K] =
            std::array::from_fn(|k| &self.source[self.offsets[at + k] as usize..][..self.row.len()]);
        let mut place = 0;
        while place < self.row.len() {
            let row = ops.load(&self.row[place..]);
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum = ops.mul_add(row, ops.load(&term[place..]), *sum);
            }
            place += lanes;
        }
        for (k, sum) in sums.into_iter().enumerate() {
            self.sums[at + k] += ops.sum(sum);
        }
        K
    }
}

/// Numbers of a vector.
pub(super) struct Lanes;

impl SimdOp for Lanes {
    type Output = usize;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> usize {
        isa.f32().len()
    }
}

/// Terms that are summed together for each of [`ROWS`] rows.
pub(super) const TERMS: usize = 3;

/// `sums[r][k] += Σ_image Σ_q rows[image][r][q] · source[image][offsets[k] + q]`.
pub(super) struct Terms<'a> {
    /// `[image][all rows][pitch]`, zero where no place is; a pitch is whole vectors.
    pub(super) rows: &'a [f32],
    /// Numbers between images of `rows`.
    pub(super) rows_image: usize,
    /// The first of the [`ROWS`] rows.
    pub(super) first: usize,
    /// Numbers between rows.
    pub(super) pitch: usize,
    /// What the rows meet, [`SLACK`] numbers longer than is needed.
    pub(super) source: &'a [f32],
    /// Numbers between images of `source`.
    pub(super) source_image: usize,
    /// Images of both.
    pub(super) images: usize,
    /// Where the first place of each term lies.
    pub(super) offsets: &'a [u32],
    /// `[ROWS][offsets]`.
    pub(super) sums: &'a mut [f32],
}

impl SimdOp for Terms<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let count = self.offsets.len();
        let mut at = 0;
        while at + TERMS <= count {
            self.some::<I, TERMS>(isa, at);
            at += TERMS;
        }
        while at < count {
            self.some::<I, 1>(isa, at);
            at += 1;
        }
    }
}

impl Terms<'_> {
    /// `K` terms from term `at`.
    #[inline(always)]
    fn some<I: Isa, const K: usize>(&mut self, isa: I, at: usize) {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut sums = [[ops.zero(); K]; ROWS];
        for image in 0..self.images {
            let rows = &self.rows[image * self.rows_image + self.first * self.pitch..][..ROWS * self.pitch];
            let rows: [&[f32]; ROWS] =
                std::array::from_fn(|row| &rows[row * self.pitch..(row + 1) * self.pitch]);
            let source = &self.source[image * self.source_image..];
            let terms: [&[f32]; K] =
                std::array::from_fn(|k| &source[self.offsets[at + k] as usize..][..self.pitch]);
            let mut place = 0;
            while place < self.pitch {
                let seen: [_; K] = std::array::from_fn(
                    #[inline(always)]
                    |k| ops.load(&terms[k][place..]),
                );
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let row = ops.load(&row[place..]);
                    for (sum, seen) in sums.iter_mut().zip(seen) {
                        *sum = ops.mul_add(row, seen, *sum);
                    }
                }
                place += lanes;
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (k, sum) in sums.into_iter().enumerate() {
                self.sums[row * self.offsets.len() + at + k] += ops.sum(sum);
            }
        }
    }
}
