//! MobileNetV2, under torchvision's names.
//!
//! Source: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen (2018), MobileNetV2: inverted residuals and linear
//! bottlenecks, arXiv:1801.04381.

use pellucid::Error;

use super::build::Network;
use super::initial::Initial;
use super::layers::Conv;
use super::{Family, IMAGENET, Made};

pub(super) const FAMILY: Family = Family {
    name: "mobilenet-v2",
    summary: "MobileNetV2: inverted residuals of depthwise convolutions, at width 1",
    source: "M. Sandler et al. (2018), arXiv:1801.04381",
    widths: &[],
    defaults: Some(IMAGENET),
    dropout: 0.2,
    head: "classifier.1",
    build,
};

/// Table 2 of the paper: expansion, channels, blocks, stride of the first.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

fn build(network: &mut Network, made: &Made) -> Result<(), Error> {
    made.widths_of::<0>()?;
    rectified(network, "features.0", &Conv::of(32, 3, 2))?;
    let mut number = 1;
    for (expansion, width, depth, first) in STAGES {
        for block in 0..depth {
            let stride = if block == 0 { first } else { 1 };
            inverted(network, &format!("features.{number}"), expansion, width, stride)?;
            number += 1;
        }
    }
    rectified(network, &format!("features.{number}"), &Conv::of(1280, 1, 1))?;
    network.pool("")?;
    network.dropout("classifier.0", made.dropout)?;
    network.linear("classifier.1", made.outputs, Initial::Normal(0.01), Some(Initial::Zero))
}

/// A convolution, its normalisation and ReLU6.
fn rectified(network: &mut Network, module: &str, conv: &Conv) -> Result<(), Error> {
    network.conv(&format!("{module}.0"), conv)?;
    network.norm(&format!("{module}.1"), 1.0)?;
    network.relu6(&format!("{module}.2"))
}

/// Wide inside, narrow outside, where nothing rectifies; beside the identity where sizes stay.
fn inverted(
    network: &mut Network,
    module: &str,
    expansion: usize,
    width: usize,
    stride: usize,
) -> Result<(), Error> {
    let (from, inputs) = (network.value, network.channels());
    let inside = inputs * expansion;
    let mut number = 0;
    if expansion > 1 {
        rectified(network, &format!("{module}.conv.0"), &Conv::of(inside, 1, 1))?;
        number = 1;
    }
    let depthwise = Conv { groups: inside, ..Conv::of(inside, 3, stride) };
    rectified(network, &format!("{module}.conv.{number}"), &depthwise)?;
    network.conv(&format!("{module}.conv.{}", number + 1), &Conv::of(width, 1, 1))?;
    network.norm(&format!("{module}.conv.{}", number + 2), 1.0)?;
    if stride == 1 && inputs == width {
        network.add(module, from)?;
    }
    Ok(())
}
