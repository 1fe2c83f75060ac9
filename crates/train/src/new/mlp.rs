//! Fully connected layers with rectifiers between them.
//!
//! Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986), Learning representations by back-propagating errors,
//! doi:10.1038/323533a0.

use pellucid::Error;

use super::build::Network;
use super::{Design, Family};

pub(super) const FAMILY: Family = Family {
    name: "mlp",
    summary: "fully connected layers with rectifiers between them",
    widths: &[512, 256],
    build,
};

fn build(network: &mut Network, design: &Design) -> Result<(), Error> {
    network.flatten()?;
    for (number, width) in design.widths(&FAMILY).into_iter().enumerate() {
        network.rectified_linear(&format!("layers.{number}"), width)?;
        network.relu(&format!("activations.{number}"))?;
    }
    network.dropout("dropout", design.dropout)?;
    network.linear("head", design.outputs)
}
