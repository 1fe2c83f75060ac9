//! Residual networks.
//!
//! Source: K. He, X. Zhang, S. Ren, J. Sun (2016), Deep residual learning for image recognition, arXiv:1512.03385.

use pellucid::Error;

use super::build::Network;
use super::{Design, Family};

pub(super) const SMALL: Family = Family {
    name: "resnet-small",
    summary: "residual blocks for small pictures: a stem, one block a stage, each stage but the first at half the size",
    widths: &[32, 64, 128],
    build: small,
};

fn small(network: &mut Network, design: &Design) -> Result<(), Error> {
    if design.input.len() != 3 {
        return Err(Error::Setting {
            name: "input".to_owned(),
            problem: "resnet-small takes pictures, expected channels, height and width, such as 1x28x28"
                .to_owned(),
        });
    }
    let widths = design.widths(&SMALL);
    network.conv("conv1", widths.first().copied().unwrap_or(32), 3, 1)?;
    network.norm("bn1", 1.0)?;
    network.relu("relu")?;
    for (stage, width) in widths.into_iter().enumerate() {
        basic(network, &format!("layer{}.0", stage + 1), width, if stage == 0 { 1 } else { 2 })?;
    }
    network.pool()?;
    network.dropout("dropout", design.dropout)?;
    network.linear("fc", design.outputs)
}

/// Two 3 × 3 convolutions beside the identity, or beside a 1 × 1 convolution where sizes change. The last scale of a
/// branch begins at 0, so that a block begins as the identity.
///
/// Source: P. Goyal et al. (2017), Accurate, large minibatch SGD, arXiv:1706.02677.
fn basic(network: &mut Network, module: &str, width: usize, stride: usize) -> Result<(), Error> {
    let (from, channels) = (network.value, network.sizes().first().copied());
    network.conv(&format!("{module}.conv1"), width, 3, stride)?;
    network.norm(&format!("{module}.bn1"), 1.0)?;
    network.relu(&format!("{module}.relu"))?;
    network.conv(&format!("{module}.conv2"), width, 3, 1)?;
    network.norm(&format!("{module}.bn2"), 0.0)?;
    let branch = network.value;
    let mut beside = from;
    if stride > 1 || channels != Some(width) {
        network.value = from;
        network.conv(&format!("{module}.downsample.0"), width, 1, stride)?;
        network.norm(&format!("{module}.downsample.1"), 1.0)?;
        beside = network.value;
    }
    network.value = branch;
    network.add(module, beside)?;
    network.relu(&format!("{module}.relu"))
}
