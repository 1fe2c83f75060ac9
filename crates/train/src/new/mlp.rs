//! Fully connected layers with rectifiers between them.
//!
//! Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986), Learning representations by back-propagating errors,
//! doi:10.1038/323533a0.

use pellucid::Error;

use super::build::Network;
use super::initial::Initial;
use super::{Family, Made};

pub(super) const FAMILY: Family = Family {
    name: "mlp",
    summary: "fully connected layers with rectifiers between them; widths: units of each hidden layer",
    source: "D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986), doi:10.1038/323533a0",
    widths: &[512, 256],
    defaults: None,
    dropout: 0.0,
    head: "head",
    build,
};

fn build(network: &mut Network, made: &Made) -> Result<(), Error> {
    network.flatten()?;
    for (number, width) in made.widths.iter().enumerate() {
        network.linear(&format!("layers.{number}"), *width, Initial::HeInputs, Some(Initial::Zero))?;
        network.relu(&format!("activations.{number}"))?;
    }
    network.dropout("dropout", made.dropout)?;
    network.linear("head", made.outputs, Initial::Inputs, Some(Initial::Inputs))
}
