//! Residual networks.
//!
//! Source: K. He, X. Zhang, S. Ren, J. Sun (2016), Deep residual learning for image recognition, arXiv:1512.03385, its
//! weights drawn as in He et al. (2015), arXiv:1502.01852. Names, and the stride in the 3 × 3 convolution of a
//! bottleneck, are torchvision's.

use pellucid::Error;

use super::build::Network;
use super::initial::Initial;
use super::layers::{Conv, Padding, Window};
use super::{Family, IMAGENET, Made};

const SOURCE: &str = "K. He, X. Zhang, S. Ren, J. Sun (2016), arXiv:1512.03385";
const WIDTHS: &[usize] = &[64, 128, 256, 512];

pub(super) const SMALL: Family = Family {
    name: "resnet-small",
    summary: "residual blocks for small pictures: a stem, one block a stage, each stage but the first at half the size; \
              widths: channels of each stage",
    source: SOURCE,
    widths: &[32, 64, 128],
    defaults: None,
    dropout: 0.0,
    head: "fc",
    build: small,
};

/// A family of torchvision's.
const fn deep(
    name: &'static str,
    summary: &'static str,
    build: fn(&mut Network, &Made) -> Result<(), Error>,
) -> Family {
    Family {
        name,
        summary,
        source: SOURCE,
        widths: WIDTHS,
        defaults: Some(IMAGENET),
        dropout: 0.0,
        head: "fc",
        build,
    }
}

pub(super) const RESNET18: Family =
    deep("resnet18", "18 layers: 2, 2, 2, 2 basic blocks", |network, made| {
        stages(network, made, basic, [2, 2, 2, 2])
    });
pub(super) const RESNET34: Family =
    deep("resnet34", "34 layers: 3, 4, 6, 3 basic blocks", |network, made| {
        stages(network, made, basic, [3, 4, 6, 3])
    });
pub(super) const RESNET50: Family = deep("resnet50", "50 layers: 3, 4, 6, 3 bottlenecks", |network, made| {
    stages(network, made, bottleneck, [3, 4, 6, 3])
});
pub(super) const RESNET101: Family =
    deep("resnet101", "101 layers: 3, 4, 23, 3 bottlenecks", |network, made| {
        stages(network, made, bottleneck, [3, 4, 23, 3])
    });
pub(super) const RESNET152: Family =
    deep("resnet152", "152 layers: 3, 8, 36, 3 bottlenecks", |network, made| {
        stages(network, made, bottleneck, [3, 8, 36, 3])
    });

fn small(network: &mut Network, made: &Made) -> Result<(), Error> {
    network.conv("conv1", &Conv::of(made.widths.first().copied().unwrap_or(32), 3, 1))?;
    network.norm("bn1", 1.0)?;
    network.relu("relu")?;
    for (stage, width) in made.widths.iter().enumerate() {
        basic(network, &format!("layer{}.0", stage + 1), *width, if stage == 0 { 1 } else { 2 })?;
    }
    finish(network, made)
}

type Block = fn(&mut Network, &str, usize, usize) -> Result<(), Error>;

fn stages(network: &mut Network, made: &Made, block: Block, depths: [usize; 4]) -> Result<(), Error> {
    let widths: [usize; 4] = made.widths_of()?;
    network.conv("conv1", &Conv::of(widths[0], 7, 2))?;
    network.norm("bn1", 1.0)?;
    network.relu("relu")?;
    let window = Window { kernel: 3, stride: 2, padding: Padding::Each(1) };
    network.windows("maxpool", "MaxPool", window)?;
    for (stage, (width, depth)) in widths.into_iter().zip(depths).enumerate() {
        for number in 0..depth {
            let stride = if stage > 0 && number == 0 { 2 } else { 1 };
            block(network, &format!("layer{}.{number}", stage + 1), width, stride)?;
        }
    }
    finish(network, made)
}

fn finish(network: &mut Network, made: &Made) -> Result<(), Error> {
    network.pool("avgpool")?;
    network.dropout("dropout", made.dropout)?;
    network.linear("fc", made.outputs, Initial::Inputs, Some(Initial::Inputs))
}

/// Two 3 × 3 convolutions beside the identity.
fn basic(network: &mut Network, module: &str, width: usize, stride: usize) -> Result<(), Error> {
    let branch = [Conv::of(width, 3, stride), Conv::of(width, 3, 1)];
    residual(network, module, &branch, stride)
}

/// A 1 × 1 convolution to fewer channels, a 3 × 3, and a 1 × 1 to four times as many.
fn bottleneck(network: &mut Network, module: &str, width: usize, stride: usize) -> Result<(), Error> {
    let branch = [Conv::of(width, 1, 1), Conv::of(width, 3, stride), Conv::of(4 * width, 1, 1)];
    residual(network, module, &branch, stride)
}

/// Convolutions beside the identity, or beside a 1 × 1 convolution where sizes change. The last scale of a branch begins
/// at 0, so that a block begins as the identity.
///
/// Source: P. Goyal et al. (2017), Accurate, large minibatch SGD, arXiv:1706.02677.
fn residual(network: &mut Network, module: &str, branch: &[Conv], stride: usize) -> Result<(), Error> {
    let (from, channels) = (network.value, network.channels());
    for (number, conv) in (1..).zip(branch) {
        network.conv(&format!("{module}.conv{number}"), conv)?;
        let last = number == branch.len();
        network.norm(&format!("{module}.bn{number}"), if last { 0.0 } else { 1.0 })?;
        if !last {
            network.relu(&format!("{module}.relu"))?;
        }
    }
    let (branched, width) = (network.value, network.channels());
    let mut beside = from;
    if stride > 1 || channels != width {
        network.value = from;
        network.conv(&format!("{module}.downsample.0"), &Conv::of(width, 1, stride))?;
        network.norm(&format!("{module}.downsample.1"), 1.0)?;
        beside = network.value;
    }
    network.value = branched;
    network.add(module, beside)?;
    network.relu(&format!("{module}.relu"))
}
