//! LeNet-5, as it is drawn today.
//!
//! Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Gradient-based learning applied to document recognition,
//! doi:10.1109/5.726791. Four things are left out that the paper has: a coefficient and a bias in each pooling layer, the
//! table by which the second convolution sees some maps only, the factors of its hyperbolic tangent, and the fixed
//! radial basis functions in the end, for which there is a linear layer.

use pellucid::Error;

use super::build::Network;
use super::initial::Initial;
use super::layers::{Conv, Padding, Window};
use super::{Family, Made};

pub(super) const FAMILY: Family = Family {
    name: "lenet",
    summary: "LeNet-5: two convolutions with pooling, three fully connected layers, hyperbolic tangents; widths: channels \
              of both convolutions, units of both hidden layers",
    source: "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), doi:10.1109/5.726791",
    widths: &[6, 16, 120, 84],
    defaults: None,
    dropout: 0.0,
    head: "fc3",
    build,
};

fn build(network: &mut Network, made: &Made) -> Result<(), Error> {
    let [first, second, third, fourth] = made.widths_of()?;
    let small = network.sizes().iter().skip(1).any(|side| *side < 32);
    // The paper pads its 28 × 28 digits to 32 × 32 beforehand.
    for (number, width, padding) in [(1, first, if small { 2 } else { 0 }), (2, second, 0)] {
        let conv = Conv {
            padding: Padding::Each(padding),
            weight: Initial::Glorot,
            bias: Some(Initial::Zero),
            ..Conv::of(width, 5, 1)
        };
        network.conv(&format!("conv{number}"), &conv)?;
        network.apply("tanh", "Tanh")?;
        let window = Window { kernel: 2, stride: 2, padding: Padding::Each(0) };
        network.windows(&format!("pool{number}"), "AveragePool", window)?;
    }
    network.flatten()?;
    for (number, width) in [(1, third), (2, fourth)] {
        network.linear(&format!("fc{number}"), width, Initial::Glorot, Some(Initial::Zero))?;
        network.apply("tanh", "Tanh")?;
    }
    network.dropout("dropout", made.dropout)?;
    network.linear("fc3", made.outputs, Initial::Glorot, Some(Initial::Zero))
}
