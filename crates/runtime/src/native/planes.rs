//! How an image's planes are laid out, so that what a kernel position sees of a plane is the plane from another place on.

use super::tile::SLACK;

/// What a convolution is over: two spatial axes, no dilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Kernel's height and width.
    pub(super) kernel: [usize; 2],
    /// Strides.
    pub(super) stride: [usize; 2],
    /// Zeros above and left.
    pub(super) before: [usize; 2],
    /// Zeros below and right.
    pub(super) after: [usize; 2],
}

impl Geometry {
    /// The output's size along an axis; `None` where the kernel does not fit.
    pub(super) fn output(&self, axis: usize, input: usize) -> Option<usize> {
        let padded = input.checked_add(self.before[axis])?.checked_add(self.after[axis])?;
        Some(padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
    }
}

/// Images `[n, channels, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) space: [usize; 2],
}

impl Sizes {
    pub(super) fn of(shape: &[usize]) -> Option<Self> {
        let [rows, channels, height, width] = *shape else { return None };
        Some(Self { rows, channels, space: [height, width] })
    }

    pub(super) fn plane(self) -> usize {
        self.space[0] * self.space[1]
    }

    pub(super) fn image(self) -> usize {
        self.channels * self.plane()
    }

    pub(super) fn len(self) -> usize {
        self.rows * self.image()
    }
}

/// How an image's planes are laid out: `[s_y · s_x phases][channels][height · width]`, zeros around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) channels: usize,
    pub(super) space: [usize; 2],
    pub(super) step: [usize; 2],
    pub(super) before: [usize; 2],
    /// Rows of a phase's plane, and numbers between them.
    pub(super) size: [usize; 2],
}

impl Layout {
    pub(super) fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Numbers of an image, and what may be read past them.
    pub(super) fn len(&self) -> usize {
        self.step[0] * self.step[1] * self.channels * self.plane() + SLACK + self.size[1]
    }

    /// Where a channel's plane lies as a kernel position sees it.
    fn offset(&self, channel: usize, position: [usize; 2]) -> u32 {
        let phase = [0, 1].map(|axis| position[axis] % self.step[axis]);
        let moved = [0, 1].map(|axis| position[axis] / self.step[axis]);
        let plane = (phase[0] * self.step[1] + phase[1]) * self.channels + channel;
        u32::try_from(plane * self.plane() + moved[0] * self.size[1] + moved[1]).unwrap_or(u32::MAX)
    }

    /// Whether every place can be told in 32 bits.
    pub(super) fn fits(&self) -> bool {
        u32::try_from(self.len()).is_ok()
    }

    /// Lays an image out in `planes`, where zeros are zero already.
    pub(super) fn lay(&self, image: &[f32], planes: &mut [f32]) {
        let [height, width] = self.space;
        let mut at = 0;
        for a in 0..self.step[0] {
            for b in 0..self.step[1] {
                // The first column of this phase that is inside, and where it lies.
                let first = (b + self.step[1] - self.before[1] % self.step[1]) % self.step[1];
                let lies = (first + self.before[1] - b) / self.step[1];
                for plane in image.chunks_exact(height * width) {
                    let target = &mut planes[at..at + self.plane()];
                    at += self.plane();
                    for (row, target) in target.chunks_exact_mut(self.size[1]).enumerate() {
                        let inside = (row * self.step[0] + a).checked_sub(self.before[0]);
                        let Some(y) = inside.filter(|y| *y < height) else { continue };
                        let source = &plane[y * width..(y + 1) * width];
                        if self.step[1] == 1 {
                            let count = width.min(target.len() - self.before[1]);
                            target[self.before[1]..][..count].copy_from_slice(&source[..count]);
                        } else if let (Some(target), Some(source)) =
                            (target.get_mut(lies..), source.get(first..))
                        {
                            for (to, from) in target.iter_mut().zip(source.iter().step_by(self.step[1])) {
                                *to = *from;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Places of a plane that are computed together, some apart from each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Lines, and places of each.
    pub(super) size: [usize; 2],
    /// Where the first place lies in the plane, and how far places are apart.
    pub(super) start: [usize; 2],
    pub(super) step: [usize; 2],
}

impl Grid {
    /// All places of a plane.
    pub(super) fn whole(size: [usize; 2]) -> Self {
        Self { size, start: [0, 0], step: [1, 1] }
    }

    /// Numbers from the first place to the last where lines lie `across` apart.
    pub(super) fn count(&self, across: usize) -> usize {
        let [height, width] = self.size;
        if height == 0 || width == 0 { 0 } else { (height - 1) * across + width }
    }

    /// Writes what was computed, lines `across` apart, to its places in a plane of lines of `width`.
    pub(super) fn write(
        &self,
        (computed, across): (&[f32], usize),
        bias: f32,
        (plane, width): (&mut [f32], usize),
    ) {
        for (y, line) in computed.chunks(across).take(self.size[0]).enumerate() {
            let from = &line[..self.size[1]];
            let first = (self.start[0] + y * self.step[0]) * width + self.start[1];
            let to = plane[first..].iter_mut();
            // Written apart, for neighbours are copied as vectors.
            if self.step[1] == 1 {
                to.zip(from).for_each(|(to, from)| *to = from + bias);
            } else {
                to.step_by(self.step[1]).zip(from).for_each(|(to, from)| *to = from + bias);
            }
        }
    }
}

/// Zeros at the right end of a row may be those at the left end of the next.
pub(super) fn pitch(needed: usize, width: usize, before: usize) -> usize {
    needed - needed.saturating_sub(width + before).min(before)
}

/// The layout in which a convolution reads its input of `sizes`, of which it makes maps of `output`.
pub(super) fn of_input(geometry: &Geometry, sizes: Sizes, output: [usize; 2]) -> Layout {
    let mut size = [0, 1].map(|axis| output[axis] + (geometry.kernel[axis] - 1) / geometry.stride[axis]);
    if geometry.stride[1] == 1 {
        // Lines of a signal are laid out in it too, whole.
        size[1] = pitch(size[1], sizes.space[1], geometry.before[1]).max(output[1]);
    }
    Layout {
        channels: sizes.channels,
        space: sizes.space,
        step: geometry.stride,
        before: geometry.before,
        size,
    }
}

/// Where the planes of an input lie as each weight of an output channel sees them.
pub(super) fn offsets(geometry: &Geometry, layout: &Layout) -> Vec<u32> {
    let [height, width] = geometry.kernel;
    let positions = (0..height).flat_map(|y| (0..width).map(move |x| [y, x]));
    (0..layout.channels)
        .flat_map(|channel| positions.clone().map(move |position| layout.offset(channel, position)))
        .collect()
}
