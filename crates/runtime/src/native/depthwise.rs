//! Convolutions that have a kernel for each channel, and both their derivatives.
//!
//! As in `convolution.rs` a result is a weighed sum of planes laid out with zeros around them; but a channel is made of one
//! plane alone, which stays in the processor's first cache. Planes are independent of each other, and a kernel's derivative
//! is summed over the images in their order: bits do not depend on threads.

use rayon::prelude::*;
use rten_simd::SimdOp;

use super::convolution::phases;
use super::planes::{Geometry, Grid, Layout, Sizes, of_input, offsets};
use super::tile::{Dots, Lanes, Row, SLACK};

/// A grid of a result's plane: a weighed sum of planes.
#[derive(Debug)]
struct Part {
    /// Which weights of a channel's kernel.
    positions: Vec<usize>,
    offsets: Vec<u32>,
    grid: Grid,
}

/// Sums of planes, a plane at a time.
#[derive(Debug)]
struct Sums<'a> {
    layout: Layout,
    parts: Vec<Part>,
    output: Sizes,
    /// `[channels][kernel]`.
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
}

impl Sums<'_> {
    fn run(&self, images: &[f32], results: &mut [f32]) {
        let from = self.layout.space[0] * self.layout.space[1];
        let to = self.output.plane();
        if from == 0 || to == 0 || self.output.channels == 0 {
            return;
        }
        let kernel = self.weights.len() / self.output.channels;
        // Some planes a task, which share what zeros lie in.
        let together = (self.output.rows * self.output.channels).div_ceil(64).max(1);
        let tasks = results.par_chunks_mut(to * together).zip(images.par_chunks(from * together)).enumerate();
        tasks.for_each(|(task, (results, images))| {
            let mut planes = vec![0.0; self.layout.len()];
            let (mut weights, mut sums) = (Vec::new(), Vec::new());
            let pairs = results.chunks_exact_mut(to).zip(images.chunks_exact(from)).enumerate();
            for (at, (result, image)) in pairs {
                let channel = (task * together + at) % self.output.channels;
                let kernel = &self.weights[channel * kernel..][..kernel];
                let bias = self.bias.map_or(0.0, |bias| bias[channel]);
                self.layout.lay(image, &mut planes);
                for part in &self.parts {
                    weights.clear();
                    weights.extend(part.positions.iter().map(|position| kernel[*position]));
                    self.part(part, (&weights, bias), &planes, &mut sums, result);
                }
            }
        });
    }

    fn part(
        &self,
        part: &Part,
        (weights, bias): (&[f32], f32),
        planes: &[f32],
        sums: &mut Vec<f32>,
        result: &mut [f32],
    ) {
        let across = self.layout.size[1];
        let count = part.grid.count(across);
        if count == 0 {
            return;
        }
        if sums.len() < count + SLACK {
            sums.resize(count + SLACK, 0.0);
        }
        Row { weights, offsets: &part.offsets, source: planes, count, sums: &mut sums[..] }.dispatch();
        part.grid.write((&sums[..count], across), bias, (result, self.output.space[1]));
    }
}

/// `y = W ∗ x + b`, `[n, c, h', w']`, of `x` and weights `[c, 1, k_y, k_x]`; `None` where the sizes do not fit.
pub(super) fn forward(
    geometry: &Geometry,
    (x, sizes): (&[f32], Sizes),
    weights: &[f32],
    bias: Option<&[f32]>,
    mut y: Vec<f32>,
) -> Option<Vec<f32>> {
    let space = [geometry.output(0, sizes.space[0])?, geometry.output(1, sizes.space[1])?];
    let output = Sizes { space, ..sizes };
    let layout = of_input(geometry, Sizes { channels: 1, ..sizes }, space);
    let positions = geometry.kernel[0] * geometry.kernel[1];
    if x.len() != sizes.len()
        || weights.len() != sizes.channels * positions
        || y.len() != output.len()
        || bias.is_some_and(|bias| bias.len() != sizes.channels)
        || !layout.fits()
    {
        return None;
    }
    let part = Part {
        positions: (0..positions).collect(),
        offsets: offsets(geometry, &layout),
        grid: Grid::whole(space),
    };
    Sums { layout, parts: vec![part], output, weights, bias }.run(x, &mut y);
    Some(y)
}

/// `dx = Wᵀ ∗ dy`, of the sizes `input`, for weights `[c, 1, k_y, k_x]`; `None` where the sizes do not fit.
pub(super) fn input_derivative(
    geometry: &Geometry,
    (dy, sizes): (&[f32], Sizes),
    weights: &[f32],
    input: Sizes,
    mut dx: Vec<f32>,
) -> Option<Vec<f32>> {
    let fits = (0..2).all(|axis| {
        geometry.output(axis, input.space[axis]) == Some(sizes.space[axis])
            && geometry.before[axis] < geometry.kernel[axis]
    });
    if !fits
        || dy.len() != sizes.len()
        || weights.len() != sizes.channels * geometry.kernel[0] * geometry.kernel[1]
        || dx.len() != input.len()
        || (input.rows, input.channels) != (sizes.rows, sizes.channels)
    {
        return None;
    }
    let (layout, axes) = phases(geometry, Sizes { channels: 1, ..sizes }, input.space);
    if !layout.fits() {
        return None;
    }
    let mut parts = Vec::new();
    for [down, across] in axes[0].iter().flat_map(|down| axes[1].iter().map(move |across| [down, across])) {
        let positions = (0..down.positions).flat_map(|v| (0..across.positions).map(move |u| [v, u]));
        let (mut of_kernel, mut offsets) = (Vec::new(), Vec::new());
        for [v, u] in positions {
            let (ky, kx) = (v * geometry.stride[0] + down.between, u * geometry.stride[1] + across.between);
            of_kernel.push(ky * geometry.kernel[1] + kx);
            let y = down.first + layout.before[0] - v;
            let x = across.first + layout.before[1] - u;
            offsets.push(u32::try_from(y * layout.size[1] + x).unwrap_or(u32::MAX));
        }
        parts.push(Part {
            positions: of_kernel,
            offsets,
            grid: Grid {
                size: [down.count, across.count],
                start: [down.start, across.start],
                step: geometry.stride,
            },
        });
    }
    Sums { layout, parts, output: input, weights, bias: None }.run(dy, &mut dx);
    Some(dx)
}

/// `dW = Σ dy · x`, `[c, 1, k_y, k_x]`; `None` where the sizes do not fit.
pub(super) fn weight_derivative(
    geometry: &Geometry,
    (x, sizes): (&[f32], Sizes),
    (dy, signal): (&[f32], Sizes),
) -> Option<Vec<f32>> {
    let fits = (0..2).all(|axis| geometry.output(axis, sizes.space[axis]) == Some(signal.space[axis]));
    let layout = of_input(geometry, Sizes { channels: 1, ..sizes }, signal.space);
    if !fits
        || x.len() != sizes.len()
        || dy.len() != signal.len()
        || (sizes.rows, sizes.channels) != (signal.rows, signal.channels)
        || !layout.fits()
    {
        return None;
    }
    let offsets = offsets(geometry, &layout);
    let mut derivative = vec![0.0; sizes.channels * offsets.len()];
    if derivative.is_empty() || sizes.plane() == 0 || signal.plane() == 0 {
        return Some(derivative);
    }
    let across = layout.size[1];
    let count = (signal.space[0] - 1) * across + signal.space[1];
    let pitch = count.next_multiple_of(Lanes.dispatch());
    derivative.par_chunks_exact_mut(offsets.len()).enumerate().for_each(|(channel, sums)| {
        let mut planes = vec![0.0; layout.len()];
        let mut row = vec![0.0; pitch];
        let x = x.chunks_exact(sizes.plane()).skip(channel).step_by(sizes.channels);
        let dy = dy.chunks_exact(signal.plane()).skip(channel).step_by(sizes.channels);
        for (x, dy) in x.zip(dy) {
            layout.lay(x, &mut planes);
            for (line, target) in dy.chunks_exact(signal.space[1]).zip(row.chunks_mut(across)) {
                target[..line.len()].copy_from_slice(line);
            }
            Dots { row: &row, source: &planes, offsets: &offsets, sums: &mut *sums }.dispatch();
        }
    });
    Some(derivative)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|k| ((k * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// y, dx and dW by definition, in float64.
    fn plain(geometry: &Geometry, sizes: Sizes, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
        let space = [0, 1].map(|axis| geometry.output(axis, sizes.space[axis]).unwrap());
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
        let [height, width] = sizes.space;
        let [kernel_height, kernel_width] = geometry.kernel;
        for plane in 0..sizes.rows * sizes.channels {
            for at in 0..space[0] * space[1] {
                for k in 0..kernel_height * kernel_width {
                    let row = at / space[1] * geometry.stride[0] + k / kernel_width;
                    let column = at % space[1] * geometry.stride[1] + k % kernel_width;
                    let row = row.checked_sub(geometry.before[0]).filter(|row| *row < height);
                    let column = column.checked_sub(geometry.before[1]).filter(|column| *column < width);
                    let (Some(row), Some(column)) = (row, column) else { continue };
                    let from = (plane * height + row) * width + column;
                    let to = plane * space[0] * space[1] + at;
                    let weight = plane % sizes.channels * kernel_height * kernel_width + k;
                    let (a, b, signal) = (f64::from(x[from]), f64::from(w[weight]), f64::from(dy[to]));
                    y[to] += a * b;
                    dx[from] += b * signal;
                    dw[weight] += a * signal;
                }
            }
        }
        [y, dx, dw]
    }

    fn error(found: &[f32], wanted: &[f64]) -> f64 {
        assert_eq!(found.len(), wanted.len());
        let most = wanted.iter().fold(1e-3f64, |most, value| most.max(value.abs()));
        let errors = found.iter().zip(wanted).map(|(found, wanted)| (f64::from(*found) - wanted).abs());
        errors.fold(0.0, f64::max) / most
    }

    /// Rows, channels, height and width, and what a kernel is.
    fn cases() -> Vec<(Sizes, Geometry)> {
        let case = |[rows, channels, height, width]: [usize; 4], kernel, stride, before, after| {
            let sizes = Sizes { rows, channels, space: [height, width] };
            (sizes, Geometry { kernel, stride, before, after })
        };
        vec![
            case([3, 5, 7, 9], [3, 3], [1, 1], [1, 1], [1, 1]),
            case([2, 3, 24, 24], [5, 5], [1, 1], [2, 2], [2, 2]),
            case([2, 7, 8, 7], [3, 3], [2, 2], [1, 1], [1, 1]),
            case([2, 3, 9, 9], [3, 3], [2, 2], [0, 0], [1, 1]),
            case([9, 2, 6, 6], [2, 4], [1, 1], [0, 0], [0, 0]),
            case([3, 3, 11, 12], [5, 3], [2, 3], [2, 0], [1, 2]),
            case([5, 70, 2, 2], [5, 5], [1, 1], [2, 2], [2, 2]),
            case([1, 1, 1, 1], [1, 1], [1, 1], [0, 0], [0, 0]),
        ]
    }

    /// y, dx and dW of a case.
    fn found(geometry: &Geometry, sizes: Sizes, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
        let space = [0, 1].map(|axis| geometry.output(axis, sizes.space[axis]).unwrap());
        let signal = Sizes { space, ..sizes };
        // What lay in the results before does not matter.
        let before = |count| vec![f32::NAN; count];
        [
            forward(geometry, (x, sizes), w, None, before(dy.len())).unwrap(),
            input_derivative(geometry, (dy, signal), w, sizes, before(x.len())).unwrap(),
            weight_derivative(geometry, (x, sizes), (dy, signal)).unwrap(),
        ]
    }

    fn arrays(geometry: &Geometry, sizes: Sizes) -> [Vec<f32>; 3] {
        let places: usize = (0..2).map(|axis| geometry.output(axis, sizes.space[axis]).unwrap()).product();
        let kernel = geometry.kernel[0] * geometry.kernel[1];
        [
            numbers(sizes.len(), 1),
            numbers(sizes.channels * kernel, 2),
            numbers(sizes.rows * sizes.channels * places, 3),
        ]
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        for (sizes, geometry) in cases() {
            let [x, w, dy] = arrays(&geometry, sizes);
            let wanted = plain(&geometry, sizes, &x, &w, &dy);
            for (found, wanted) in found(&geometry, sizes, &x, &w, &dy).iter().zip(&wanted) {
                assert!(error(found, wanted) < 2e-6, "{sizes:?} {geometry:?}: {:e}", error(found, wanted));
            }
            let bias = numbers(sizes.channels, 4);
            let places = dy.len() / sizes.rows / sizes.channels;
            let biased = forward(&geometry, (&x, sizes), &w, Some(&bias), vec![0.0; dy.len()]).unwrap();
            let with_bias = |(at, y): (usize, &f64)| y + f64::from(bias[at / places % sizes.channels]);
            let wanted: Vec<f64> = wanted[0].iter().enumerate().map(with_bias).collect();
            assert!(error(&biased, &wanted) < 2e-6);
        }
    }

    /// The check above finds a kernel that is one place off.
    #[test]
    fn a_shifted_kernel_is_found() {
        let (sizes, geometry) = cases().swap_remove(0);
        let [x, w, dy] = arrays(&geometry, sizes);
        let wanted = plain(&geometry, sizes, &x, &w, &dy);
        let shifted = Geometry { before: [0, 1], after: [2, 1], ..geometry };
        for (found, wanted) in found(&shifted, sizes, &x, &w, &dy).iter().zip(&wanted) {
            assert!(error(found, wanted) > 1e-2);
        }
    }

    /// What surrounds a map may be as wide as the kernel: then a line of the signal is longer than the input's own with the
    /// zeros before it.
    #[test]
    fn weights_of_a_kernel_that_sees_zeros_alone_have_their_derivative() {
        for (space, kernel, pad) in [([5, 13], 1, 1), ([5, 4], 3, 3), ([2, 2], 2, 5)] {
            let sizes = Sizes { rows: 2, channels: 3, space };
            let (kernel, pads) = ([kernel; 2], [pad; 2]);
            let geometry = Geometry { kernel, stride: [1, 1], before: pads, after: pads };
            let [x, w, dy] = arrays(&geometry, sizes);
            let signal =
                Sizes { space: [0, 1].map(|axis| geometry.output(axis, space[axis]).unwrap()), ..sizes };
            let found = weight_derivative(&geometry, (&x, sizes), (&dy, signal)).unwrap();
            let [_, _, wanted] = plain(&geometry, sizes, &x, &w, &dy);
            assert!(error(&found, &wanted) < 2e-6, "{kernel:?} {pad}");
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let (sizes, geometry) = cases().swap_remove(1);
        let [x, w, dy] = arrays(&geometry, sizes);
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| found(&geometry, sizes, &x, &w, &dy))
        };
        assert_eq!(all(1), all(3));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let (sizes, geometry) = cases().swap_remove(0);
        let [x, w, dy] = arrays(&geometry, sizes);
        assert!(forward(&geometry, (&x[1..], sizes), &w, None, vec![0.0; dy.len()]).is_none());
        assert!(forward(&geometry, (&x, sizes), &w[1..], None, vec![0.0; dy.len()]).is_none());
        assert!(forward(&geometry, (&x, sizes), &w, None, vec![0.0; dy.len() - 1]).is_none());
        let other = Sizes { channels: sizes.channels - 1, ..sizes };
        assert!(weight_derivative(&geometry, (&x, sizes), (&dy, other)).is_none());
        assert!(input_derivative(&geometry, (&dy, sizes), &w[1..], sizes, vec![0.0; x.len()]).is_none());
    }
}
