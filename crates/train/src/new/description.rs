//! A network from a TOML file: layers one after the other, residual blocks with layers of their own, and a last linear
//! layer called `head`.
//!
//! Every mistake is told with its line and key.

use std::path::Path;

use pellucid::Error;
use pellucid_graph::Graph;
use serde::Deserialize;
use toml::Spanned;

use super::build::Network;
use super::described::Builder;
use super::initial::Initial;
use super::{Design, check, wrong};

/// Largest file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// Most layers, those that repeat counted as often.
const MOST_LAYERS: usize = 10_000;
/// Most residual blocks inside of each other.
const MOST_DEPTH: usize = 8;

/// What the file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    input: Option<Spanned<Vec<usize>>>,
    outputs: Option<Spanned<usize>>,
    #[serde(default)]
    layers: Vec<Spanned<Layer>>,
}

/// One layer: all keys that any kind has; [`Layer::check`] says which belong to which.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    pub(super) channels: Option<usize>,
    pub(super) units: Option<usize>,
    pub(super) kernel: Option<usize>,
    pub(super) stride: Option<usize>,
    pub(super) padding: Option<PaddingName>,
    pub(super) groups: Option<usize>,
    pub(super) bias: Option<bool>,
    pub(super) normalization: Option<Normalization>,
    pub(super) activation: Option<Activation>,
    pub(super) share: Option<f64>,
    pub(super) repeat: Option<usize>,
    #[serde(default)]
    pub(super) layers: Vec<Spanned<Layer>>,
}

/// Kinds of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Conv,
    Linear,
    MaxPool,
    AveragePool,
    GlobalPool,
    Flatten,
    Dropout,
    Activation,
    Normalization,
    Residual,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::Linear => "linear",
            Self::MaxPool => "max-pool",
            Self::AveragePool => "average-pool",
            Self::GlobalPool => "global-pool",
            Self::Flatten => "flatten",
            Self::Dropout => "dropout",
            Self::Activation => "activation",
            Self::Normalization => "normalization",
            Self::Residual => "residual",
        }
    }

    /// The keys that it takes beside `type`, `name` and `repeat`; those with a star it needs.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Conv => {
                &["channels*", "kernel", "stride", "padding", "groups", "bias", "normalization", "activation"]
            }
            Self::Linear => &["units*", "bias", "normalization", "activation"],
            Self::MaxPool | Self::AveragePool => &["kernel", "stride", "padding"],
            Self::GlobalPool | Self::Flatten => &[],
            Self::Dropout => &["share*"],
            Self::Activation => &["activation*"],
            Self::Normalization => &["normalization*"],
            Self::Residual => &["layers*", "activation"],
        }
    }
}

/// What is added around pictures: so many places on every side, or `"same"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a number of places, or \"same\"")]
pub(super) enum PaddingName {
    Each(usize),
    Named(Same),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Same {
    Same,
}

/// Normalisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Normalization {
    Batch,
    Instance,
    Layer,
}

/// Activation functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Activation {
    Relu,
    Relu6,
    LeakyRelu,
    Elu,
    Gelu,
    Silu,
    Softplus,
    HardSwish,
    Tanh,
    Sigmoid,
}

impl Activation {
    /// What weights in front of it begin with.
    pub(super) fn initial(self) -> Initial {
        match self {
            Self::Tanh | Self::Sigmoid => Initial::Glorot,
            _ => Initial::HeInputs,
        }
    }

    pub(super) fn operator(self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::Relu6 => "Clip",
            Self::LeakyRelu => "LeakyRelu",
            Self::Elu => "Elu",
            Self::Gelu => "Gelu",
            Self::Silu => "Swish",
            Self::Softplus => "Softplus",
            Self::HardSwish => "HardSwish",
            Self::Tanh => "Tanh",
            Self::Sigmoid => "Sigmoid",
        }
    }
}

/// A description that was read.
pub(super) struct Description {
    place: String,
    text: String,
    file: File,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Description, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let place = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        let problem = "expected a file of at most 1 MiB".to_owned();
        return Err(Error::Description { place, problem });
    }
    Description::parse(&place, std::fs::read_to_string(path).map_err(failed)?)
}

/// The number of the line that a byte is in, from 1.
fn line(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1
}

impl Description {
    pub(super) fn parse(place: &str, text: String) -> Result<Self, Error> {
        let file: File = toml::from_str(&text).map_err(|error| Error::Description {
            place: format!("{place}, line {}", error.span().map_or(1, |span| line(&text, span.start))),
            problem: error.message().trim().to_owned(),
        })?;
        let description = Self { place: place.to_owned(), text, file };
        let mut layers = 0;
        description.check(&description.file.layers, 1, 0, &mut layers)?;
        Ok(description)
    }

    /// An error of a layer, with the line of the key where it has one of its own.
    pub(super) fn wrong(&self, layer: &Spanned<Layer>, key: &str, problem: impl std::fmt::Display) -> Error {
        let mut span = layer.span();
        let rest = self.text.get(span.start..).unwrap_or_default();
        if let Some(rest) = rest.strip_prefix('[') {
            // Of `[[layers]]` the span is the header alone: its keys follow, up to the next one.
            span.end = span.start + 1 + rest.find("\n[").unwrap_or(rest.len());
        }
        let inside = self.text.get(span.clone()).unwrap_or_default();
        let mut at = span.start;
        let mut offset = span.start;
        for text in inside.split_inclusive('\n') {
            let found = text.find(key).filter(|found| {
                let before = text[..*found].trim_end();
                let after = text[found + key.len()..].trim_start();
                after.starts_with('=') && (before.is_empty() || before.ends_with([',', '{']))
            });
            if let Some(found) = found {
                at = offset + found;
                break;
            }
            offset += text.len();
        }
        Error::Description {
            place: format!("{}, line {}", self.place, line(&self.text, at)),
            problem: format!("{key}: {problem}"),
        }
    }

    /// Refuses keys that a kind does not have, those that it lacks, and numbers outside their range.
    fn check(
        &self,
        layers: &[Spanned<Layer>],
        times: usize,
        depth: usize,
        count: &mut usize,
    ) -> Result<(), Error> {
        for layer in layers {
            let inner = layer.get_ref();
            inner.check_keys().map_err(|(key, problem)| self.wrong(layer, key, problem))?;
            inner.check_numbers().map_err(|(key, problem)| self.wrong(layer, key, problem))?;
            let times = times.saturating_mul(inner.repeat.unwrap_or(1));
            *count = count.saturating_add(times);
            if *count > MOST_LAYERS {
                return Err(self.wrong(layer, "repeat", format!("more than {MOST_LAYERS} layers")));
            }
            if depth >= MOST_DEPTH && !inner.layers.is_empty() {
                return Err(self.wrong(
                    layer,
                    "layers",
                    format!("more than {MOST_DEPTH} residual blocks inside of each other"),
                ));
            }
            self.check(&inner.layers, times, depth + 1, count)?;
        }
        Ok(())
    }

    /// The network.
    pub(super) fn design(&self, design: &Design) -> Result<Graph, Error> {
        if design.widths.is_some() {
            return Err(wrong("widths", format!("{} says each layer's; leave them out", self.place)));
        }
        let told = |key: &str, at: usize, error: Error| match error {
            Error::Setting { problem, .. } => Error::Description {
                place: format!("{}, line {}", self.place, line(&self.text, at)),
                problem: format!("{key}: {problem}"),
            },
            error => error,
        };
        let missing = |key: &str, example: &str| Error::Description {
            place: self.place.clone(),
            problem: format!("{key} is missing: write {key} = {example}, or give --{key}"),
        };
        if let Some(input) = &self.file.input {
            check("input", input.get_ref()).map_err(|error| told("input", input.span().start, error))?;
        }
        if let Some(outputs) = &self.file.outputs {
            check("outputs", [outputs.get_ref()])
                .map_err(|error| told("outputs", outputs.span().start, error))?;
        }
        let own = self.file.input.as_ref().map(|input| input.get_ref().clone());
        let input = design.input.clone().or(own).filter(|input| !input.is_empty());
        let input = input.ok_or_else(|| missing("input", "[1, 28, 28]"))?;
        let outputs = design.outputs.or(self.file.outputs.as_ref().map(|outputs| *outputs.get_ref()));
        let outputs = outputs.ok_or_else(|| missing("outputs", "10"))?;
        let mut network = Network::new(&input, design.seed)?;
        Builder { description: self, network: &mut network }.layers("", &self.file.layers, false, true)?;
        network.flatten()?;
        network.dropout("dropout", design.dropout.unwrap_or(0.0))?;
        network.linear("head", outputs, Initial::Inputs, Some(Initial::Inputs))?;
        let stem = Path::new(&self.place).file_stem().and_then(|stem| stem.to_str()).unwrap_or("network");
        network.finish(self.file.name.as_deref().unwrap_or(stem))
    }
}

impl Layer {
    fn given(&self) -> [(&'static str, bool); 11] {
        [
            ("channels", self.channels.is_some()),
            ("units", self.units.is_some()),
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("padding", self.padding.is_some()),
            ("groups", self.groups.is_some()),
            ("bias", self.bias.is_some()),
            ("normalization", self.normalization.is_some()),
            ("activation", self.activation.is_some()),
            ("share", self.share.is_some()),
            ("layers", !self.layers.is_empty()),
        ]
    }

    fn check_keys(&self) -> Result<(), (&'static str, String)> {
        let keys = self.kind.keys();
        let kind = self.kind.name();
        for (key, given) in self.given() {
            let known = keys.iter().find(|known| known.trim_end_matches('*') == key);
            match known {
                None if given => {
                    let all: Vec<&str> = keys.iter().map(|key| key.trim_end_matches('*')).collect();
                    let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
                    return Err((key, format!("a layer of type \"{kind}\" has none; its keys are: {all}")));
                }
                Some(known) if known.ends_with('*') && !given => {
                    return Err((key, format!("it is missing; a layer of type \"{kind}\" needs it")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), (&'static str, String)> {
        let most = super::MOST;
        for (key, number, least, most) in [
            ("channels", self.channels, 1, most),
            ("units", self.units, 1, most),
            ("kernel", self.kernel, 1, 1024),
            ("stride", self.stride, 1, 1024),
            ("groups", self.groups, 1, most),
            ("repeat", self.repeat, 1, MOST_LAYERS),
        ] {
            if let Some(number) = number.filter(|number| !(least..=most).contains(number)) {
                return Err((key, format!("{number} found, expected {least} to {most}")));
            }
        }
        if let Some(PaddingName::Each(places)) = self.padding.filter(|padding| match padding {
            PaddingName::Each(places) => *places > 1024,
            PaddingName::Named(_) => false,
        }) {
            return Err(("padding", format!("{places} found, expected 0 to 1024")));
        }
        if let Some(share) = self.share.filter(|share| !(0.0..1.0).contains(share)) {
            return Err(("share", format!("{share} found, expected at least 0 and below 1")));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if let Some(name) = self.name.as_ref().filter(|name| name.is_empty() || !name.chars().all(plain)) {
            return Err(("name", format!("{name:?} found, expected letters, digits, _ and -")));
        }
        Ok(())
    }
}
