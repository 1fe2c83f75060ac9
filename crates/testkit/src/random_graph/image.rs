//! Blocks on [n, channels, height, width].

use pellucid_graph::{Attribute, ValueId};

use super::maker::{Maker, signed};

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|value| signed(*value)).collect())
}

/// Sizes along one spatial axis.
#[derive(Clone, Copy)]
struct Along {
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

impl Maker<'_> {
    /// One of all blocks.
    pub(super) fn image_block(&mut self, x: ValueId) -> ValueId {
        match self.random.below(14) {
            0 => self.convolution(x),
            1 => {
                let y = self.convolution(x);
                let y = self.batch_normalization(y);
                self.activation(y)
            }
            2 => {
                let y = self.convolution(x);
                self.activation(y)
            }
            3 => self.pool(x),
            4 => self.residual(x),
            5 => self.dense_connection(x),
            6 => self.squeeze_and_excite(x),
            7 => self.halves(x),
            8 => self.cut_and_pad(x),
            9 => self.channels_last(x),
            10 => self.neighbours(x),
            11 => self.mixture(x),
            12 => self.blocks_of_space(x),
            _ => {
                let weights = self.node("Softmax", &[x], &[("axis", Attribute::Int(1))]);
                self.node("Mul", &[x, weights], &[])
            }
        }
    }

    fn along(&mut self, size: usize) -> Along {
        let kernel = self.random.whole(1, 3.min(size));
        let dilation = if kernel == 2 && size > 2 { self.random.whole(1, 2) } else { 1 };
        let stride = if size > 3 { self.random.whole(1, 2) } else { 1 };
        let reach = dilation * (kernel - 1);
        Along {
            kernel,
            stride,
            dilation,
            before: self.random.below(reach + 1),
            after: self.random.below(reach + 1),
        }
    }

    fn convolution(&mut self, x: ValueId) -> ValueId {
        let sizes = self.sizes(x);
        let axes = [self.along(sizes[1]), self.along(sizes[2])];
        let group = if sizes[0].is_multiple_of(2) && self.random.chance(0.5) { 2 } else { 1 };
        let group = if self.random.chance(0.2) { sizes[0] } else { group };
        let channels = group * self.random.whole(1, 2).max(if group == 1 { 2 } else { 1 });
        self.convolution_of(x, channels, group, axes)
    }

    fn convolution_of(&mut self, x: ValueId, channels: usize, group: usize, axes: [Along; 2]) -> ValueId {
        let inputs = self.sizes(x)[0] / group;
        let kernel = axes.map(|axis| axis.kernel);
        let fan_in = inputs * kernel[0] * kernel[1];
        let weights = self.weights(&[channels, inputs, kernel[0], kernel[1]], fan_in);
        let mut given = vec![x, weights];
        if self.random.chance(0.7) {
            given.push(self.random_parameter(&[channels], -0.5, 0.5));
        }
        let attributes = [
            ("group", Attribute::Int(signed(group))),
            ("strides", ints(&axes.map(|axis| axis.stride))),
            ("dilations", ints(&axes.map(|axis| axis.dilation))),
            ("pads", ints(&[axes[0].before, axes[1].before, axes[0].after, axes[1].after])),
        ];
        self.node("Conv", &given, &attributes)
    }

    /// A convolution that keeps height and width.
    fn same(&mut self, x: ValueId, channels: usize) -> ValueId {
        let side = self.random.below(2);
        let axis = Along { kernel: 2 * side + 1, stride: 1, dilation: 1, before: side, after: side };
        self.convolution_of(x, channels, 1, [axis, axis])
    }

    fn pool(&mut self, x: ValueId) -> ValueId {
        let sizes = self.sizes(x);
        let side = |size: usize| size.min(3);
        let kernel = [self.random.whole(1, side(sizes[1])), self.random.whole(1, side(sizes[2]))];
        let stride = [self.random.whole(1, kernel[0]), self.random.whole(1, kernel[1])];
        let pads = kernel.map(|k| if k > 1 { self.random.below(2) } else { 0 });
        let mut attributes = vec![
            ("kernel_shape", ints(&kernel)),
            ("strides", ints(&stride)),
            ("pads", ints(&[pads[0], pads[1], pads[0], pads[1]])),
            ("ceil_mode", Attribute::Int(i64::from(self.random.chance(0.4)))),
        ];
        if !self.smooth() && self.random.chance(0.5) {
            return self.node("MaxPool", &[x], &attributes);
        }
        attributes.push(("count_include_pad", Attribute::Int(i64::from(self.random.chance(0.5)))));
        self.node("AveragePool", &[x], &attributes)
    }

    fn residual(&mut self, x: ValueId) -> ValueId {
        let channels = self.sizes(x)[0];
        let y = self.same(x, channels);
        let y = if self.random.chance(0.5) { self.batch_normalization(y) } else { y };
        let y = self.activation(y);
        self.node("Add", &[x, y], &[])
    }

    fn dense_connection(&mut self, x: ValueId) -> ValueId {
        let y = self.activation(x);
        let y = self.same(y, 2);
        self.node("Concat", &[x, y], &[("axis", Attribute::Int(1))])
    }

    fn squeeze_and_excite(&mut self, x: ValueId) -> ValueId {
        let channels = self.sizes(x)[0];
        let operator =
            if !self.smooth() && self.random.chance(0.3) { "GlobalMaxPool" } else { "GlobalAveragePool" };
        let squeezed = self.node(operator, &[x], &[]);
        let point = Along { kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };
        let inner = self.convolution_of(squeezed, 2, 1, [point; 2]);
        let inner = self.activation(inner);
        let excited = self.convolution_of(inner, channels, 1, [point; 2]);
        let gate = self.gate(excited);
        self.node("Mul", &[x, gate], &[])
    }

    /// Channels split in two, one half changed, joined in the other order.
    fn halves(&mut self, x: ValueId) -> ValueId {
        let mut x = x;
        if self.sizes(x)[0] < 2 {
            x = self.same(x, 3);
        }
        let channels = self.sizes(x)[0];
        let first = self.random.whole(1, channels - 1);
        let sizes = self.integers(&[signed(first), signed(channels - first)]);
        let parts = self.nodes("Split", &[x, sizes], &[("axis", Attribute::Int(1))], 2);
        let changed = self.activation(parts[0]);
        self.node("Concat", &[parts[1], changed], &[("axis", Attribute::Int(1))])
    }

    fn cut_and_pad(&mut self, x: ValueId) -> ValueId {
        let sizes = self.sizes(x);
        let mut y = x;
        if sizes[1] > 2 {
            let start = self.random.below(2);
            let step = self.random.whole(1, 2);
            let parts = [start, sizes[1], 2, step].map(|value| self.integers(&[signed(value)]));
            y = self.node("Slice", &[y, parts[0], parts[1], parts[2], parts[3]], &[]);
        }
        let sizes = self.sizes(y);
        let mut modes = vec!["constant", "edge"];
        if sizes[1] > 1 && sizes[2] > 1 {
            modes.push("reflect");
        }
        let mode = self.random.pick(&modes);
        let amounts: Vec<i64> = (0..4).map(|_| signed(self.random.below(2))).collect();
        let pads = self.integers(&[0, 0, amounts[0], amounts[1], 0, 0, amounts[2], amounts[3]]);
        let mut given = vec![y, pads];
        if mode == "constant" {
            given.push(self.random_parameter(&[], -0.5, 0.5));
        }
        self.node("Pad", &given, &[("mode", Attribute::String(mode.to_owned()))])
    }

    /// Normalisation over channels, as networks with channels last do it.
    fn channels_last(&mut self, x: ValueId) -> ValueId {
        // One channel alone normalises to a constant.
        let x = if self.sizes(x)[0] < 3 { self.same(x, 4) } else { x };
        let last = self.node("Transpose", &[x], &[("perm", ints(&[0, 2, 3, 1]))]);
        let normal = self.layer_normalization(last);
        self.node("Transpose", &[normal], &[("perm", ints(&[0, 3, 1, 2]))])
    }

    /// Normalisation over neighbouring channels, or over the positions of a channel or of a group. Epsilons are large,
    /// so that the functions stay far from their poles.
    fn neighbours(&mut self, x: ValueId) -> ValueId {
        let sizes = self.sizes(x);
        let epsilon = ("epsilon", Attribute::Float(0.2));
        match self.random.below(3) {
            // One position alone normalises to a constant.
            0 if sizes[1] * sizes[2] > 2 => {
                let parameters = [0, 1].map(|_| self.random_parameter(&[sizes[0]], 0.4, 1.5));
                self.node("InstanceNormalization", &[x, parameters[0], parameters[1]], &[epsilon])
            }
            1 if sizes[1] * sizes[2] > 2 => {
                let groups = if sizes[0].is_multiple_of(2) { 2 } else { 1 };
                let parameters = [0, 1].map(|_| self.random_parameter(&[groups], 0.4, 1.5));
                let groups = ("num_groups", Attribute::Int(signed(groups)));
                self.node("GroupNormalization", &[x, parameters[0], parameters[1]], &[groups, epsilon])
            }
            _ => {
                let size = signed(self.random.whole(1, 4));
                let attributes = [
                    ("size", Attribute::Int(size)),
                    ("alpha", Attribute::Float(0.6)),
                    ("beta", Attribute::Float(0.7)),
                    ("bias", Attribute::Float(1.2)),
                ];
                self.node("LRN", &[x], &attributes)
            }
        }
    }

    /// Channels mixed by a matrix.
    fn mixture(&mut self, x: ValueId) -> ValueId {
        let channels = self.sizes(x)[0];
        let mixed = self.random.whole(2, 3);
        let weights = self.weights(&[mixed, channels], channels);
        let equation = Attribute::String("nchw,oc->nohw".to_owned());
        self.node("Einsum", &[x, weights], &[("equation", equation)])
    }

    /// Channels moved to space, or space to channels, where the sizes allow it.
    fn blocks_of_space(&mut self, x: ValueId) -> ValueId {
        let sizes = self.sizes(x);
        let block = ("blocksize", Attribute::Int(2));
        if sizes[1].is_multiple_of(2) && sizes[2].is_multiple_of(2) {
            return self.node("SpaceToDepth", &[x], &[block]);
        }
        let x = self.same(x, 4);
        let mode = self.random.pick(&["DCR", "CRD"]);
        self.node("DepthToSpace", &[x], &[block, ("mode", Attribute::String(mode.to_owned()))])
    }

    /// [n, channels, height, width] as [n, width].
    pub(super) fn leave_space(&mut self, x: ValueId) -> ValueId {
        match self.random.below(5) {
            0 => {
                let pooled = self.node("GlobalAveragePool", &[x], &[]);
                self.node("Flatten", &[pooled], &[("axis", Attribute::Int(1))])
            }
            1 => self.node("Flatten", &[x], &[]),
            2 => {
                let shape = self.integers(&[0, -1]);
                self.node("Reshape", &[x, shape], &[])
            }
            3 => {
                let moved = self.node("Transpose", &[x], &[("perm", ints(&[0, 3, 2, 1]))]);
                let width: usize = self.sizes(x).iter().product();
                let shape = self.integers(&[-1, signed(width)]);
                self.node("Reshape", &[moved, shape], &[])
            }
            _ => {
                let axes = self.integers(&[2, 3]);
                self.node("ReduceMean", &[x, axes], &[("keepdims", Attribute::Int(0))])
            }
        }
    }
}
