//! Convolutions whose weights change from run to run, and both their derivatives, over images of many rows.
//!
//! Nothing is gathered into columns: an image's planes are laid out once with zeros around them, so that what a kernel
//! position sees of a plane is that plane from another place on, and a result is a sum of planes, weighed. With stride s
//! the s² planes of every s-th row and column lie side by side. The derivative for the input is such a sum too, over the
//! planes of the signal, one for each of the s² places that an element can have between strides; that for the weights is
//! the product of the signal's planes with the input's.
//!
//! Images are independent of each other; weights' derivatives are summed over a fixed number of groups of images in their
//! order. So bits do not depend on threads.

use rayon::prelude::*;
use rten_simd::SimdOp;

use super::planes::{Geometry, Grid, Layout, Sizes, of_input, offsets, pitch};
use super::tile::{Lanes, ROWS, Rows, SLACK, Terms};

/// A grid of results: a weighed sum of planes.
#[derive(Debug)]
struct Part {
    /// `[tiles][k][ROWS]`.
    weights: Vec<f32>,
    offsets: Vec<u32>,
    grid: Grid,
}

/// Sums of planes for images.
#[derive(Debug)]
struct Sums<'a> {
    layout: Layout,
    parts: Vec<Part>,
    output: Sizes,
    bias: Option<&'a [f32]>,
}

/// Weights of a sum as they are read: `of` gives the weight of an output channel for a term.
fn packed(outputs: usize, terms: usize, of: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut weights = vec![0.0; outputs.div_ceil(ROWS) * terms * ROWS];
    for (tile, weights) in weights.chunks_exact_mut((terms * ROWS).max(1)).enumerate() {
        for (term, weights) in weights.chunks_exact_mut(ROWS).enumerate() {
            for (row, weight) in weights.iter_mut().enumerate() {
                if tile * ROWS + row < outputs {
                    *weight = of(tile * ROWS + row, term);
                }
            }
        }
    }
    weights
}

impl Sums<'_> {
    fn run(&self, images: &[f32], results: &mut [f32]) {
        let from = self.layout.channels * self.layout.space[0] * self.layout.space[1];
        let to = self.output.image();
        if from == 0 || to == 0 {
            return;
        }
        // A few images a task, which share what zeros lie in.
        let together = self.output.rows.div_ceil(64).max(1);
        let tasks = results.par_chunks_mut(to * together).zip(images.par_chunks(from * together));
        tasks.for_each(|(results, images)| {
            let mut planes = vec![0.0; self.layout.len()];
            let mut rows = Vec::new();
            for (result, image) in results.chunks_exact_mut(to).zip(images.chunks_exact(from)) {
                self.layout.lay(image, &mut planes);
                for part in &self.parts {
                    self.part(part, &planes, &mut rows, result);
                }
            }
        });
    }

    fn part(&self, part: &Part, planes: &[f32], rows: &mut Vec<f32>, result: &mut [f32]) {
        let across = self.layout.size[1];
        let count = part.grid.count(across);
        if count == 0 {
            return;
        }
        let pitch = count + SLACK;
        if rows.len() < ROWS * pitch {
            rows.resize(ROWS * pitch, 0.0);
        }
        let terms = part.offsets.len();
        let plane = self.output.plane();
        for (tile, results) in result.chunks_mut(ROWS * plane).enumerate() {
            let weights = &part.weights[tile * terms * ROWS..(tile + 1) * terms * ROWS];
            let products =
                Rows { weights, offsets: &part.offsets, source: planes, count, sums: &mut rows[..], pitch };
            products.dispatch();
            for (row, result) in results.chunks_exact_mut(plane).enumerate() {
                let bias = self.bias.map_or(0.0, |bias| bias[tile * ROWS + row]);
                let row = &rows[row * pitch..][..count];
                part.grid.write((row, across), bias, (result, self.output.space[1]));
            }
        }
    }
}

/// `y = W ∗ x + b`, `[n, o, h', w']`, of `x` and weights `[o, c, k_y, k_x]`; `None` where the sizes do not fit.
pub(super) fn forward(
    geometry: &Geometry,
    (x, sizes): (&[f32], Sizes),
    (weights, outputs): (&[f32], usize),
    bias: Option<&[f32]>,
    mut y: Vec<f32>,
) -> Option<Vec<f32>> {
    let [height, width] = geometry.kernel;
    let space = [geometry.output(0, sizes.space[0])?, geometry.output(1, sizes.space[1])?];
    let output = Sizes { rows: sizes.rows, channels: outputs, space };
    let layout = of_input(geometry, sizes, space);
    let terms = sizes.channels * height * width;
    if x.len() != sizes.len()
        || weights.len() != outputs * terms
        || y.len() != output.len()
        || bias.is_some_and(|bias| bias.len() != outputs)
        || !layout.fits()
    {
        return None;
    }
    let part = Part {
        weights: packed(outputs, terms, |output, term| weights[output * terms + term]),
        offsets: offsets(geometry, &layout),
        grid: Grid::whole(space),
    };
    Sums { layout, parts: vec![part], output, bias }.run(x, &mut y);
    Some(y)
}

/// `dx = Wᵀ ∗ dy`, of the sizes `input`, for weights `[o, c, k_y, k_x]`; `None` where the sizes do not fit.
pub(super) fn input_derivative(
    geometry: &Geometry,
    (dy, sizes): (&[f32], Sizes),
    weights: &[f32],
    input: Sizes,
    mut dx: Vec<f32>,
) -> Option<Vec<f32>> {
    let [height, width] = geometry.kernel;
    let fits = (0..2).all(|axis| {
        geometry.output(axis, input.space[axis]) == Some(sizes.space[axis])
            && geometry.before[axis] < geometry.kernel[axis]
    });
    if !fits
        || dy.len() != sizes.len()
        || weights.len() != sizes.channels * input.channels * height * width
        || dx.len() != input.len()
        || input.rows != sizes.rows
    {
        return None;
    }
    let (layout, axes) = phases(geometry, sizes, input.space);
    if !layout.fits() {
        return None;
    }
    let mut parts = Vec::new();
    for [down, across] in axes[0].iter().flat_map(|down| axes[1].iter().map(move |across| [down, across])) {
        let positions = down.positions * across.positions;
        let term = |term: usize| {
            let (channel, position) = (term / positions, term % positions);
            (channel, [position / across.positions, position % across.positions])
        };
        let terms = sizes.channels * positions;
        let at = |k: usize| {
            let (channel, [v, u]) = term(k);
            let y = down.first + layout.before[0] - v;
            let x = across.first + layout.before[1] - u;
            u32::try_from(channel * layout.plane() + y * layout.size[1] + x).unwrap_or(u32::MAX)
        };
        let weight = |to: usize, k: usize| {
            let (channel, [v, u]) = term(k);
            let (ky, kx) = (v * geometry.stride[0] + down.between, u * geometry.stride[1] + across.between);
            weights[((channel * input.channels + to) * height + ky) * width + kx]
        };
        parts.push(Part {
            weights: packed(input.channels, terms, weight),
            offsets: (0..terms).map(at).collect(),
            grid: Grid {
                size: [down.count, across.count],
                start: [down.start, across.start],
                step: geometry.stride,
            },
        });
    }
    Sums { layout, parts, output: input, bias: None }.run(dy, &mut dx);
    Some(dx)
}

/// Elements of an axis that have the same place between strides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    pub(super) between: usize,
    /// Kernel positions that reach them.
    pub(super) positions: usize,
    /// u of the first.
    pub(super) first: usize,
    pub(super) count: usize,
    /// The first.
    pub(super) start: usize,
}

/// The layout in which a signal of `sizes` is read for the derivative of an input of `space`, and the phases of both axes.
///
/// Element i of the input, counted with the zeros before it, is s·u + a, and position s·v + a of the kernel brings it signal
/// u − v.
pub(super) fn phases(geometry: &Geometry, sizes: Sizes, space: [usize; 2]) -> (Layout, [Vec<Phase>; 2]) {
    let axes = [0, 1].map(|axis| phases_of(geometry, axis, space[axis]));
    let before = [0, 1].map(|axis| {
        axes[axis].iter().map(|phase| phase.positions.saturating_sub(phase.first + 1)).max().unwrap_or(0)
    });
    let mut size = [0, 1].map(|axis| {
        let end = |phase: &Phase| phase.first + phase.count + before[axis];
        axes[axis].iter().map(end).max().unwrap_or(0).max(sizes.space[axis] + before[axis])
    });
    size[1] = pitch(size[1], sizes.space[1], before[1]);
    (Layout { channels: sizes.channels, space: sizes.space, step: [1, 1], before, size }, axes)
}

fn phases_of(geometry: &Geometry, axis: usize, size: usize) -> Vec<Phase> {
    let (stride, before) = (geometry.stride[axis], geometry.before[axis]);
    (0..stride)
        .map(|phase| {
            let first = before.saturating_sub(phase).div_ceil(stride);
            let start = first * stride + phase - before;
            Phase {
                between: phase,
                positions: geometry.kernel[axis].saturating_sub(phase).div_ceil(stride),
                first,
                count: size.saturating_sub(start).div_ceil(stride),
                start,
            }
        })
        .collect()
}

/// Groups of images whose weights' derivatives are summed apart.
const GROUPS: usize = 8;

/// Numbers of an image's planes that are in use together: half of a processor's second cache.
const CACHED: usize = 1 << 16;

/// `dW = Σ dy · x`, `[o, c, k_y, k_x]`; `None` where the sizes do not fit.
pub(super) fn weight_derivative(
    geometry: &Geometry,
    (x, sizes): (&[f32], Sizes),
    (dy, signal): (&[f32], Sizes),
) -> Option<Vec<f32>> {
    let fits = (0..2).all(|axis| geometry.output(axis, sizes.space[axis]) == Some(signal.space[axis]));
    let layout = of_input(geometry, sizes, signal.space);
    if !fits
        || x.len() != sizes.len()
        || dy.len() != signal.len()
        || sizes.rows != signal.rows
        || !layout.fits()
    {
        return None;
    }
    let offsets = offsets(geometry, &layout);
    let length = signal.channels * offsets.len();
    if length == 0 || sizes.image() == 0 || signal.image() == 0 {
        return Some(vec![0.0; length]);
    }
    let group = sizes.rows.div_ceil(GROUPS).max(1);
    let across = layout.size[1];
    let count = (signal.space[0] - 1) * across + signal.space[1];
    let pitch = count.next_multiple_of(Lanes.dispatch());
    let rows_image = signal.channels.next_multiple_of(ROWS) * pitch;
    let together = (CACHED / (layout.len() + rows_image)).clamp(1, group);
    let groups: Vec<Vec<f32>> = x
        .par_chunks(group * sizes.image())
        .zip(dy.par_chunks(group * signal.image()))
        .map(|(x, dy)| {
            let mut sums = vec![0.0; signal.channels.next_multiple_of(ROWS) * offsets.len()];
            let mut planes = vec![0.0; together * layout.len()];
            let mut rows = vec![0.0; together * rows_image];
            let blocks = x.chunks(together * sizes.image()).zip(dy.chunks(together * signal.image()));
            for (x, dy) in blocks {
                let images = x.len() / sizes.image();
                for (image, planes) in
                    x.chunks_exact(sizes.image()).zip(planes.chunks_exact_mut(layout.len()))
                {
                    layout.lay(image, planes);
                }
                for (image, rows) in dy.chunks_exact(signal.image()).zip(rows.chunks_exact_mut(rows_image)) {
                    for (plane, row) in image.chunks_exact(signal.plane()).zip(rows.chunks_exact_mut(pitch)) {
                        let lines = plane.chunks_exact(signal.space[1]);
                        for (line, target) in lines.zip(row.chunks_mut(across)) {
                            target[..line.len()].copy_from_slice(line);
                        }
                    }
                }
                for (tile, sums) in sums.chunks_exact_mut(ROWS * offsets.len()).enumerate() {
                    let terms = Terms {
                        rows: &rows,
                        rows_image,
                        first: tile * ROWS,
                        pitch,
                        source: &planes,
                        source_image: layout.len(),
                        images,
                        offsets: &offsets,
                        sums,
                    };
                    terms.dispatch();
                }
            }
            sums.truncate(length);
            sums
        })
        .collect();
    let mut groups = groups.into_iter();
    let mut total = groups.next().unwrap_or_else(|| vec![0.0; length]);
    for group in groups {
        for (sum, part) in total.iter_mut().zip(group) {
            *sum += part;
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Σ dy · (W ∗ x)` by definition, in float64, with what each element of x and of W meets in it, and y itself.
    struct Plain {
        y: Vec<f64>,
        dx: Vec<f64>,
        dw: Vec<f64>,
    }

    fn plain(geometry: &Geometry, sizes: Sizes, outputs: usize, x: &[f32], w: &[f32], dy: &[f32]) -> Plain {
        let space = [0, 1].map(|axis| geometry.output(axis, sizes.space[axis]).unwrap());
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
        let [height, width] = sizes.space;
        let [kernel_height, kernel_width] = geometry.kernel;
        for n in 0..sizes.rows {
            for o in 0..outputs {
                for at in 0..space[0] * space[1] {
                    let to = (n * outputs + o) * space[0] * space[1] + at;
                    for c in 0..sizes.channels {
                        for k in 0..kernel_height * kernel_width {
                            let row = at / space[1] * geometry.stride[0] + k / kernel_width;
                            let column = at % space[1] * geometry.stride[1] + k % kernel_width;
                            let inside = row.checked_sub(geometry.before[0]).filter(|row| *row < height);
                            let along =
                                column.checked_sub(geometry.before[1]).filter(|column| *column < width);
                            let (Some(row), Some(column)) = (inside, along) else { continue };
                            let from = ((n * sizes.channels + c) * height + row) * width + column;
                            let weight = (o * sizes.channels + c) * kernel_height * kernel_width + k;
                            let (a, b, signal) =
                                (f64::from(x[from]), f64::from(w[weight]), f64::from(dy[to]));
                            y[to] += a * b;
                            dx[from] += b * signal;
                            dw[weight] += a * signal;
                        }
                    }
                }
            }
        }
        Plain { y, dx, dw }
    }

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|k| ((k * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    fn error(found: &[f32], wanted: &[f64]) -> f64 {
        let most = wanted.iter().fold(1e-3f64, |most, value| most.max(value.abs()));
        let errors = found.iter().zip(wanted).map(|(found, wanted)| (f64::from(*found) - wanted).abs());
        errors.fold(0.0, f64::max) / most
    }

    /// Rows, input and output channels, height and width, and what a kernel is.
    fn cases() -> Vec<(Sizes, usize, Geometry)> {
        let case = |sizes: [usize; 5], kernel, stride, before, after| {
            let [rows, channels, outputs, height, width] = sizes;
            let sizes = Sizes { rows, channels, space: [height, width] };
            (sizes, outputs, Geometry { kernel, stride, before, after })
        };
        vec![
            case([3, 2, 5, 7, 9], [3, 3], [1, 1], [1, 1], [1, 1]),
            case([2, 3, 4, 28, 28], [3, 3], [1, 1], [1, 1], [1, 1]),
            case([2, 3, 4, 8, 7], [3, 3], [2, 2], [1, 1], [1, 1]),
            case([2, 3, 4, 8, 8], [1, 1], [2, 2], [0, 0], [0, 0]),
            case([2, 3, 6, 11, 12], [5, 3], [2, 3], [2, 0], [1, 2]),
            case([9, 1, 3, 6, 6], [2, 4], [1, 1], [0, 0], [0, 0]),
            case([17, 3, 4, 9, 9], [7, 7], [2, 2], [3, 3], [3, 3]),
            case([1, 2, 3, 10, 10], [3, 3], [3, 1], [2, 2], [0, 1]),
            case([1, 1, 1, 1, 1], [1, 1], [1, 1], [0, 0], [0, 0]),
        ]
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        for (sizes, outputs, geometry) in cases() {
            let space = [0, 1].map(|axis| geometry.output(axis, sizes.space[axis]).unwrap());
            let signal = Sizes { rows: sizes.rows, channels: outputs, space };
            let x = numbers(sizes.len(), 1);
            let w = numbers(outputs * sizes.channels * geometry.kernel[0] * geometry.kernel[1], 2);
            let dy = numbers(signal.len(), 3);
            let wanted = plain(&geometry, sizes, outputs, &x, &w, &dy);
            // What lay in the results before does not matter.
            let y = forward(&geometry, (&x, sizes), (&w, outputs), None, vec![f32::NAN; dy.len()]).unwrap();
            assert!(error(&y, &wanted.y) < 2e-6, "{geometry:?}: {:e}", error(&y, &wanted.y));
            let dx = input_derivative(&geometry, (&dy, signal), &w, sizes, vec![f32::NAN; x.len()]).unwrap();
            assert!(error(&dx, &wanted.dx) < 2e-6, "{geometry:?}: {:e}", error(&dx, &wanted.dx));
            let dw = weight_derivative(&geometry, (&x, sizes), (&dy, signal)).unwrap();
            assert!(error(&dw, &wanted.dw) < 2e-6, "{geometry:?}: {:e}", error(&dw, &wanted.dw));
            let bias = numbers(outputs, 4);
            let biased =
                forward(&geometry, (&x, sizes), (&w, outputs), Some(&bias), vec![0.0; dy.len()]).unwrap();
            let plane = space[0] * space[1];
            let added = biased.iter().zip(&y).enumerate();
            assert!(
                added
                    .into_iter()
                    .all(|(at, (biased, y))| { (biased - (y + bias[at / plane % outputs])).abs() < 1e-6 })
            );
        }
    }

    /// The check above finds a kernel that is one place off.
    #[test]
    fn a_shifted_kernel_is_found() {
        let (sizes, outputs, geometry) = cases().swap_remove(0);
        let x = numbers(sizes.len(), 1);
        let w = numbers(outputs * sizes.channels * 9, 2);
        let dy = numbers(sizes.rows * outputs * 63, 3);
        let wanted = plain(&geometry, sizes, outputs, &x, &w, &dy);
        let shifted = Geometry { before: [0, 1], after: [2, 1], ..geometry };
        let signal = Sizes { channels: outputs, ..sizes };
        let y = forward(&shifted, (&x, sizes), (&w, outputs), None, vec![0.0; dy.len()]).unwrap();
        let dx = input_derivative(&shifted, (&dy, signal), &w, sizes, vec![0.0; x.len()]).unwrap();
        let dw = weight_derivative(&shifted, (&x, sizes), (&dy, signal)).unwrap();
        for (found, wanted) in [(y, wanted.y), (dx, wanted.dx), (dw, wanted.dw)] {
            assert!(error(&found, &wanted) > 1e-2);
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let (sizes, outputs, geometry) = cases().swap_remove(1);
        let x = numbers(sizes.len(), 1);
        let w = numbers(outputs * sizes.channels * 9, 2);
        let dy = numbers(sizes.rows * outputs * 784, 3);
        let signal = Sizes { channels: outputs, ..sizes };
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (
                    forward(&geometry, (&x, sizes), (&w, outputs), None, vec![0.0; dy.len()]),
                    input_derivative(&geometry, (&dy, signal), &w, sizes, vec![0.0; x.len()]),
                    weight_derivative(&geometry, (&x, sizes), (&dy, signal)),
                )
            })
        };
        assert_eq!(all(1), all(3));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let (sizes, outputs, geometry) = cases().swap_remove(0);
        let x = numbers(sizes.len(), 1);
        let w = numbers(outputs * sizes.channels * 9, 2);
        assert!(forward(&geometry, (&x[1..], sizes), (&w, outputs), None, vec![0.0; 945]).is_none());
        assert!(forward(&geometry, (&x, sizes), (&w[1..], outputs), None, vec![0.0; 945]).is_none());
        assert!(forward(&geometry, (&x, sizes), (&w, outputs), None, vec![0.0; 944]).is_none());
        let small = Sizes { space: [1, 0], ..sizes };
        assert!(forward(&geometry, (&[], small), (&w, outputs), None, Vec::new()).is_none());
    }
}
