//! EfficientNet-Lite0, under the names of the package `efficientnet-lite-pytorch`, whose weights it takes.
//!
//! Source: M. Tan, Q. V. Le (2019), EfficientNet: rethinking model scaling for convolutional neural networks,
//! arXiv:1905.11946; R. Liu (2020), Higher accuracy on vision models with EfficientNet-Lite: no squeeze-and-excitation,
//! ReLU6 in place of swish, a stem and a head that do not scale. Stochastic depth, which only training has, is left out.

use pellucid::Error;

use super::build::Network;
use super::initial::Initial;
use super::layers::{Conv, Padding};
use super::{Family, IMAGENET, Made};

pub(super) const LITE0: Family = Family {
    name: "efficientnet-lite0",
    summary: "EfficientNet-Lite0: inverted residuals of 3×3 and 5×5 depthwise convolutions",
    source: "M. Tan, Q. V. Le (2019), arXiv:1905.11946; R. Liu (2020), EfficientNet-Lite",
    widths: &[],
    defaults: Some(IMAGENET),
    dropout: 0.2,
    head: "_fc",
    build,
};

/// Kernel, expansion, channels, blocks, stride of the first.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
];

fn build(network: &mut Network, made: &Made) -> Result<(), Error> {
    made.widths_of::<0>()?;
    rectified(network, ["_conv_stem", "_bn0", "_swish"], &same(32, 3, 2))?;
    let mut number = 0;
    for (kernel, expansion, width, depth, first) in STAGES {
        for block in 0..depth {
            let stride = if block == 0 { first } else { 1 };
            inverted(network, &format!("_blocks.{number}"), kernel, expansion, width, stride)?;
            number += 1;
        }
    }
    rectified(network, ["_conv_head", "_bn1", "_swish"], &same(1280, 1, 1))?;
    network.pool("_avg_pooling")?;
    network.dropout("_dropout", made.dropout)?;
    network.linear("_fc", made.outputs, Initial::Outputs, Some(Initial::Zero))
}

/// A convolution that is padded as TensorFlow pads.
fn same(outputs: usize, kernel: usize, stride: usize) -> Conv {
    Conv { padding: Padding::Same, ..Conv::of(outputs, kernel, stride) }
}

fn norm(network: &mut Network, module: &str) -> Result<(), Error> {
    network.norm_with(module, 1.0, 1e-3, 0.99)
}

/// A convolution, its normalisation and ReLU6, by their names.
fn rectified(network: &mut Network, names: [&str; 3], conv: &Conv) -> Result<(), Error> {
    network.conv(names[0], conv)?;
    norm(network, names[1])?;
    network.relu6(names[2])
}

/// Wide inside, narrow outside, where nothing rectifies; beside the identity where sizes stay.
fn inverted(
    network: &mut Network,
    module: &str,
    kernel: usize,
    expansion: usize,
    width: usize,
    stride: usize,
) -> Result<(), Error> {
    let (from, inputs) = (network.value, network.channels());
    let inside = inputs * expansion;
    let of = |name: &str| format!("{module}.{name}");
    let swish = of("_swish");
    if expansion > 1 {
        rectified(network, [&of("_expand_conv"), &of("_bn0"), &swish], &same(inside, 1, 1))?;
    }
    let depthwise = Conv { groups: inside, ..same(inside, kernel, stride) };
    rectified(network, [&of("_depthwise_conv"), &of("_bn1"), &swish], &depthwise)?;
    network.conv(&of("_project_conv"), &same(width, 1, 1))?;
    norm(network, &of("_bn2"))?;
    if stride == 1 && inputs == width {
        network.add(module, from)?;
    }
    Ok(())
}
