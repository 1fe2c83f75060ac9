//! The layers of a description, appended to a network.

use std::collections::BTreeMap;

use pellucid::Error;
use pellucid_graph::{Attribute, NewNode};
use toml::Spanned;

use super::build::Network;
use super::description::{Activation, Description, Kind, Layer, Normalization, PaddingName};
use super::initial::Initial;
use super::layers::{Conv, Padding, Window};

/// Appends what a description says.
pub(super) struct Builder<'a> {
    pub(super) description: &'a Description,
    pub(super) network: &'a mut Network,
}

impl Builder<'_> {
    /// Layers one after the other, inside of the module `parent`; `closes` says that what follows is the sum of a
    /// residual block, in which the last normalisation begins with the scale 0; `strides` that strides count, as they do
    /// the first time that a block is there.
    pub(super) fn layers(
        &mut self,
        parent: &str,
        layers: &[Spanned<Layer>],
        closes: bool,
        strides: bool,
    ) -> Result<(), Error> {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, spanned) in layers.iter().enumerate() {
            let layer = spanned.get_ref();
            let own = layer.name.clone().unwrap_or_else(|| {
                let number = numbers.entry(layer.kind.name()).or_insert(0);
                *number += 1;
                format!("{}{number}", layer.kind.name())
            });
            let path = if parent.is_empty() { own } else { format!("{parent}.{own}") };
            let taken = |name: &str| self.network.graph.find(&format!("{name}.weight")).is_some();
            if taken(&path) || path == "head" {
                return Err(self.description.wrong(spanned, "name", format!("{path:?} is taken already")));
            }
            let times = layer.repeat.unwrap_or(1);
            for number in 0..times {
                let name = if times > 1 { format!("{path}.{number}") } else { path.clone() };
                let last = closes && place + 1 == layers.len() && number + 1 == times;
                self.layer(&name, spanned, strides && number == 0, last)?;
            }
        }
        Ok(())
    }

    fn layer(
        &mut self,
        name: &str,
        spanned: &Spanned<Layer>,
        strides: bool,
        closes: bool,
    ) -> Result<(), Error> {
        let layer = spanned.get_ref();
        let stride = layer.stride.filter(|_| strides);
        // The network knows neither lines nor keys.
        let description = self.description;
        let told = |error: Error| match error {
            Error::Description { .. } => error,
            Error::Setting { problem, .. } => description.wrong(spanned, "type", problem),
            error => description.wrong(spanned, "type", error),
        };
        let window = |kernel: usize, stride: usize, padding: usize| Window {
            kernel,
            stride,
            padding: match layer.padding {
                None => Padding::Each(padding),
                Some(PaddingName::Each(places)) => Padding::Each(places),
                Some(PaddingName::Named(_)) => Padding::Same,
            },
        };
        let biased = layer.bias.unwrap_or(layer.normalization.is_none());
        let bias = biased.then_some(Initial::Zero);
        match layer.kind {
            Kind::Conv => {
                let kernel = layer.kernel.unwrap_or(3);
                let window = window(kernel, stride.unwrap_or(1), kernel / 2);
                let conv = Conv {
                    outputs: layer.channels.unwrap_or(1),
                    kernel,
                    stride: window.stride,
                    padding: window.padding,
                    groups: layer.groups.unwrap_or(1),
                    weight: initial(layer, closes),
                    bias,
                };
                self.network.conv(name, &conv).map_err(told)?;
                self.after(name, spanned, closes)
            }
            Kind::Linear => {
                self.network.flatten().map_err(told)?;
                let units = layer.units.unwrap_or(1);
                self.network.linear(name, units, initial(layer, closes), bias).map_err(told)?;
                self.after(name, spanned, closes)
            }
            Kind::MaxPool | Kind::AveragePool => {
                let kernel = layer.kernel.unwrap_or(2);
                let step = if layer.stride.is_some() { stride.unwrap_or(1) } else { kernel };
                let operator = if layer.kind == Kind::MaxPool { "MaxPool" } else { "AveragePool" };
                self.network.windows(name, operator, window(kernel, step, 0)).map_err(told)
            }
            Kind::GlobalPool if self.network.sizes().len() == 3 => {
                self.network.apply(name, "GlobalAveragePool").map_err(told)?;
                self.network.flatten().map_err(told)
            }
            Kind::GlobalPool => Err(description.wrong(spanned, "type", self.flat())),
            Kind::Flatten => self.network.flatten().map_err(told),
            Kind::Dropout => self.network.dropout(name, layer.share.unwrap_or(0.5)).map_err(told),
            Kind::Activation => {
                layer.activation.map_or(Ok(()), |kind| self.activation(name, kind).map_err(told))
            }
            Kind::Normalization => layer.normalization.map_or(Ok(()), |kind| {
                self.normalization(name, spanned, kind, if closes { 0.0 } else { 1.0 })
            }),
            Kind::Residual => self.residual(name, spanned, strides),
        }
    }

    fn flat(&self) -> String {
        format!("it takes pictures, channels × height × width, and finds {:?}", self.network.sizes())
    }

    /// The normalisation and the activation that a layer with weights says.
    fn after(&mut self, name: &str, spanned: &Spanned<Layer>, closes: bool) -> Result<(), Error> {
        let layer = spanned.get_ref();
        if let Some(kind) = layer.normalization {
            let scale = if closes && layer.activation.is_none() { 0.0 } else { 1.0 };
            self.normalization(&format!("{name}_norm"), spanned, kind, scale)?;
        }
        match layer.activation {
            Some(kind) => self.activation(&format!("{name}_activation"), kind),
            None => Ok(()),
        }
    }

    fn normalization(
        &mut self,
        name: &str,
        spanned: &Spanned<Layer>,
        kind: Normalization,
        scale: f32,
    ) -> Result<(), Error> {
        let pictures = self.network.sizes().len() == 3;
        let wrong = |problem: &str| Err(self.description.wrong(spanned, "normalization", problem));
        match kind {
            Normalization::Batch => self.network.norm(name, scale),
            Normalization::Instance if !pictures => {
                wrong("\"instance\" takes pictures, and a row is flat here; choose \"batch\" or \"layer\"")
            }
            Normalization::Layer if pictures => {
                wrong("\"layer\" takes flat rows, and pictures are here; choose \"batch\" or \"instance\"")
            }
            Normalization::Instance => self.network.normalized(name, "InstanceNormalization", scale),
            Normalization::Layer => self.network.normalized(name, "LayerNormalization", scale),
        }
    }

    fn activation(&mut self, name: &str, kind: Activation) -> Result<(), Error> {
        match kind {
            Activation::Relu6 => self.network.relu6(name),
            kind => self.network.apply(name, kind.operator()),
        }
    }

    /// Layers beside the identity, or beside a 1 × 1 convolution (of flat rows a linear layer) where sizes change.
    fn residual(&mut self, name: &str, spanned: &Spanned<Layer>, strides: bool) -> Result<(), Error> {
        let layer = spanned.get_ref();
        let (from, before) = (self.network.value, self.network.sizes());
        self.layers(name, &layer.layers, true, strides)?;
        let (branch, after) = (self.network.value, self.network.sizes());
        let mut beside = from;
        if before != after {
            self.network.value = from;
            self.shortcut(&format!("{name}.shortcut"), spanned, &before, &after)?;
            beside = self.network.value;
        }
        self.network.value = branch;
        self.network.add(name, beside)?;
        match layer.activation {
            Some(kind) => self.activation(&format!("{name}.activation"), kind),
            None => Ok(()),
        }
    }

    fn shortcut(
        &mut self,
        name: &str,
        spanned: &Spanned<Layer>,
        before: &[usize],
        after: &[usize],
    ) -> Result<(), Error> {
        let wrong = |problem: String| self.description.wrong(spanned, "layers", problem);
        match (before, after) {
            ([_, height, width], [channels, high, wide]) => {
                let stride = height.div_ceil((*high).max(1));
                if height.div_ceil(stride) != *high || width.div_ceil(stride) != *wide {
                    return Err(wrong(format!(
                        "they make {before:?} to {after:?}, and no stride of a 1×1 convolution beside them does"
                    )));
                }
                self.network.conv(name, &Conv::of(*channels, 1, stride))?;
                self.network.norm(&format!("{name}_norm"), 1.0)
            }
            ([_], [units]) => self.network.linear(name, *units, Initial::Inputs, None),
            _ => Err(wrong(format!("they make {before:?} to {after:?}, which cannot be added"))),
        }
    }
}

/// By what follows: an activation, a normalisation, or nothing.
fn initial(layer: &Layer, closes: bool) -> Initial {
    match layer.activation {
        Some(activation) => activation.initial(),
        None if layer.normalization.is_some() || closes => Initial::HeInputs,
        None => Initial::Inputs,
    }
}

impl Network {
    /// A normalisation over each row (`LayerNormalization`) or each channel of it (`InstanceNormalization`).
    ///
    /// Source: J. L. Ba, J. R. Kiros, G. E. Hinton (2016), Layer normalization, arXiv:1607.06450; D. Ulyanov,
    /// A. Vedaldi, V. Lempitsky (2016), Instance normalization, arXiv:1607.08022.
    fn normalized(&mut self, module: &str, operator: &str, scale: f32) -> Result<(), Error> {
        let channels = self.channels();
        let mut inputs = vec![self.value];
        for (name, value) in [("weight", scale), ("bias", 0.0)] {
            inputs.push(self.constant(&format!("{module}.{name}"), &[channels], &vec![value; channels])?);
        }
        let node = NewNode::new(operator, &inputs, "").with("epsilon", Attribute::Float(1e-5));
        self.push(module, node)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Design, count};
    use super::*;
    use pellucid_graph::Graph;

    const OWN: &str = r#"
name = "own"
input = [3, 16, 16]
outputs = 5

[[layers]]
type = "conv"
name = "stem"
channels = 8
normalization = "batch"
activation = "relu"

[[layers]]
type = "residual"
repeat = 2
activation = "relu"

[[layers.layers]]
type = "conv"
channels = 12
stride = 2
normalization = "batch"
activation = "silu"

[[layers.layers]]
type = "conv"
channels = 12
normalization = "batch"

[[layers]]
type = "max-pool"

[[layers]]
type = "global-pool"

[[layers]]
type = "residual"
layers = [{ type = "linear", units = 7, normalization = "layer", activation = "gelu" }, { type = "linear", units = 9 }]

[[layers]]
type = "dropout"
share = 0.25
"#;

    fn made(text: &str) -> Result<Graph, Error> {
        Description::parse("own.toml", text.to_owned())?.design(&Design::default())
    }

    #[test]
    fn layers_are_what_is_written() {
        let graph = made(OWN).unwrap();
        let shape = |name: &str| {
            graph.constant(graph.find(name).unwrap_or_else(|| panic!("{name}"))).unwrap().shape().to_vec()
        };
        assert_eq!(shape("stem.weight"), [8, 3, 3, 3]);
        assert_eq!(shape("residual1.0.conv1.weight"), [12, 8, 3, 3]);
        assert_eq!(shape("residual1.0.shortcut.weight"), [12, 8, 1, 1]);
        assert_eq!(shape("residual1.1.conv2.weight"), [12, 12, 3, 3]);
        assert!(graph.find("residual1.1.shortcut.weight").is_none(), "strides count the first time only");
        assert_eq!(shape("residual2.linear2.weight"), [9, 7]);
        assert_eq!(shape("residual2.shortcut.weight"), [9, 12]);
        assert_eq!(shape("head.weight"), [5, 9]);
        assert_eq!(graph.name, "own");
        let text = graph.text();
        for operator in ["Swish", "Gelu", "LayerNormalization", "MaxPool", "Dropout", "Add"] {
            assert!(text.contains(operator), "{operator}: {text}");
        }
        // A block begins as the identity.
        let scale = graph.constant(graph.find("residual1.1.conv2_norm.weight").unwrap()).unwrap();
        assert!(scale.to_f64().iter().all(|scale| *scale == 0.0));
        assert!(count(&graph).parameters > 2000);
    }

    #[test]
    fn mistakes_are_told_with_line_and_key() {
        let told = |from: &str, to: &str| made(&OWN.replacen(from, to, 1)).unwrap_err().to_string();
        assert_eq!(
            told("channels = 8", "channels = 0"),
            "own.toml, line 9: channels: 0 found, expected 1 to 1048576"
        );
        assert_eq!(
            told("channels = 8", "units = 8"),
            "own.toml, line 6: channels: it is missing; a layer of type \"conv\" needs it"
        );
        assert_eq!(
            told("share = 0.25", "share = 0.25\nkernel = 3"),
            "own.toml, line 43: kernel: a layer of type \"dropout\" has none; its keys are: share"
        );
        let unknown = told("channels = 8", "chanels = 8");
        assert!(unknown.starts_with("own.toml, line 9: unknown field `chanels`"), "{unknown}");
        let unknown = told("type = \"conv\"", "type = \"convolution\"");
        assert!(unknown.starts_with("own.toml, line 7: unknown variant `convolution`"), "{unknown}");
        assert_eq!(
            told("[3, 16, 16]", "[3, 0, 16]"),
            "own.toml, line 3: input: 0 found, expected numbers from 1 to 1048576"
        );
        assert_eq!(
            told("outputs = 5", ""),
            "own.toml: outputs is missing: write outputs = 10, or give --outputs"
        );
        assert_eq!(
            told("normalization = \"layer\", ", "normalization = \"instance\", "),
            "own.toml, line 38: normalization: \"instance\" takes pictures, and a row is flat here; choose \"batch\" or \
             \"layer\""
        );
        assert_eq!(
            told("[3, 16, 16]", "[48]"),
            "own.toml, line 7: type: stem takes pictures, expected channels, height and width, such as 1x28x28; found [48]"
        );
        assert_eq!(told("repeat = 2", "repeat = 9000"), "own.toml, line 18: repeat: more than 10000 layers");
        assert_eq!(
            told("type = \"max-pool\"", "type = \"max-pool\"\nkernel = 20"),
            "own.toml, line 31: type: it is too small: max-pool1 looks at 20×20 places and finds 8×8"
        );
    }
}
