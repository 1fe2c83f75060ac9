//! Networks that are designed here: a family, its sizes, and numbers to begin with, as the literature has them.
//!
//! Batch normalisation stays a layer of its own, and nodes carry the paths of their modules, so that a network is
//! trained, looked into and told about as one that an exporter wrote.

mod build;
mod mlp;
mod resnet;

use std::path::Path;

use pellucid::Error;
use pellucid_compile::training::trainable;
use pellucid_graph::{Graph, Tensor};

use crate::record::write_model;
use build::Network;

/// A family of networks.
#[derive(Debug)]
pub struct Family {
    /// Name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Widths where none are given.
    pub widths: &'static [usize],
    build: fn(&mut Network, &Design) -> Result<(), Error>,
}

/// Every family, sorted by name.
pub const FAMILIES: &[Family] = &[mlp::FAMILY, resnet::SMALL];

/// What a network is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// Name of the family.
    pub family: String,
    /// Sizes of a row: `[channels, height, width]`, or `[columns]`.
    pub input: Vec<usize>,
    /// Classes, or numbers that are predicted.
    pub outputs: usize,
    /// Of `mlp` the units of each hidden layer, of `resnet-small` the channels of each stage; the family's without it.
    pub widths: Option<Vec<usize>>,
    /// Share of the units before the last layer that training drops; none at 0.
    pub dropout: f64,
    /// Seed of the numbers to begin with.
    pub seed: u64,
}

/// Designs a network: a graph with logits `[n, outputs]`, its weights drawn by the seed.
///
/// # Errors
/// Families that do not exist, with the nearest; sizes that the family cannot be of.
pub fn design(design: &Design) -> Result<Graph, Error> {
    let family =
        FAMILIES.iter().find(|family| family.name == design.family).ok_or_else(|| Error::Unknown {
            kind: "family",
            found: design.family.clone(),
            valid: FAMILIES.iter().map(|family| family.name.to_owned()).collect(),
        })?;
    let wrong =
        |name: &str, problem: &str| Error::Setting { name: name.to_owned(), problem: problem.to_owned() };
    let sizes = design.input.iter().chain(design.widths.iter().flatten()).chain([&design.outputs]);
    if design.input.is_empty() || sizes.clone().any(|size| *size == 0 || *size > 1 << 20) {
        return Err(wrong("sizes", "expected numbers from 1 to 1048576"));
    }
    if !(0.0..1.0).contains(&design.dropout) {
        return Err(wrong("dropout", "expected a share of at least 0 and below 1"));
    }
    let mut network = Network::new(&design.input, design.seed)?;
    (family.build)(&mut network, design)?;
    network.finish(&design.family)
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Numbers that training changes.
    pub parameters: usize,
    /// Layers with weights that inputs are multiplied by.
    pub layers: usize,
}

/// Designs a network and writes it as an ONNX file, whole or not at all.
///
/// # Errors
/// As [`design`](design()), and what the disk says.
pub fn write(design: &Design, path: &Path) -> Result<Written, Error> {
    let graph = self::design(design)?;
    write_model(path, &graph)?;
    let weights = trainable(&graph, graph.outputs()[0]);
    let sizes = weights.iter().filter_map(|id| graph.constant(*id)).map(Tensor::len);
    let layers =
        graph.nodes().iter().filter(|node| ["Conv", "Gemm"].contains(&node.operator.as_str())).count();
    Ok(Written { parameters: sizes.sum(), layers })
}

impl Design {
    /// The widths given, or the family's.
    fn widths(&self, family: &Family) -> Vec<usize> {
        self.widths.clone().unwrap_or_else(|| family.widths.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use pellucid_graph::onnx::{EncodeOptions, Limits, decode, encode};

    use super::*;

    fn of(family: &str, input: &[usize]) -> Design {
        Design {
            family: family.to_owned(),
            input: input.to_vec(),
            outputs: 10,
            widths: None,
            dropout: 0.1,
            seed: 3,
        }
    }

    #[test]
    fn families_are_sorted_and_can_be_written_and_read() {
        assert!(FAMILIES.is_sorted_by_key(|family| family.name));
        for family in FAMILIES {
            let graph = design(&of(family.name, &[1, 28, 28])).unwrap();
            assert_eq!(graph, design(&of(family.name, &[1, 28, 28])).unwrap(), "the seed decides");
            let bytes = encode(&graph, &EncodeOptions::default()).unwrap().model;
            let read = decode(bytes.into(), &Limits::default()).unwrap();
            assert_eq!(read.nodes().len(), graph.nodes().len(), "{}", family.name);
            let output = graph.value(graph.outputs()[0]);
            assert_eq!(pellucid_graph::display_shape(output.shape.as_ref().unwrap()), "[n, 10]");
        }
    }

    #[test]
    fn parameters_are_as_many_as_the_layers_have() {
        let count = |graph: &Graph| {
            let floats = graph.values().iter().filter_map(|value| value.constant());
            floats
                .filter(|tensor| tensor.element().is_float() && tensor.len() > 1)
                .map(pellucid_graph::Tensor::len)
                .sum::<usize>()
        };
        let mlp =
            design(&Design { widths: Some(vec![512, 256]), dropout: 0.0, ..of("mlp", &[784]) }).unwrap();
        assert_eq!(count(&mlp), 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let told = |design: &Design| super::design(design).unwrap_err().to_string();
        assert!(told(&of("resnet-smal", &[1, 28, 28])).contains("did you mean \"resnet-small\"?"));
        assert_eq!(
            told(&of("resnet-small", &[10])),
            "input: resnet-small takes pictures, expected channels, height and width, such as 1x28x28"
        );
    }
}
