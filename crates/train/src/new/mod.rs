//! Networks that are designed here: a family or a description, its sizes, and numbers to begin with, as the literature
//! has them.
//!
//! Batch normalisation stays a layer of its own, and nodes carry the paths of their modules, so that a network is
//! trained, looked into and told about as one that an exporter wrote. Weights have torchvision's names, where it has the
//! family: a state dictionary goes in as it is.

mod build;
mod described;
mod description;
mod efficientnet;
mod explain;
mod initial;
mod layers;
mod lenet;
mod mlp;
mod mobilenet;
mod resnet;
mod weights;

use std::path::Path;

use pellucid::Error;
use pellucid_compile::training::trainable;
pub use pellucid_graph::Graph;
use pellucid_graph::Tensor;

use crate::record::write_model;
use build::Network;

pub use explain::{StepMemory, step_memory};
pub use weights::{Pretrained, pretrained};

/// A family of networks.
#[derive(Debug)]
pub struct Family {
    /// Name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// The literature.
    pub source: &'static str,
    /// Widths where none are given; none where they are fixed.
    pub widths: &'static [usize],
    /// Sizes of a row and classes where none are given.
    pub defaults: Option<([usize; 3], usize)>,
    /// Share of the units before the last layer that training drops where nothing is said.
    pub dropout: f64,
    /// Name of the last layer.
    pub head: &'static str,
    build: fn(&mut Network, &Made) -> Result<(), Error>,
}

/// Pictures and classes of the competition that most published weights are of.
const IMAGENET: ([usize; 3], usize) = ([3, 224, 224], 1000);

/// Every family, sorted by name.
pub const FAMILIES: &[Family] = &[
    efficientnet::LITE0,
    lenet::FAMILY,
    mlp::FAMILY,
    mobilenet::FAMILY,
    resnet::SMALL,
    resnet::RESNET101,
    resnet::RESNET152,
    resnet::RESNET18,
    resnet::RESNET34,
    resnet::RESNET50,
];

/// What a network is like.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Design {
    /// Name of the family, or a description's file, which ends in `.toml`.
    pub family: String,
    /// Sizes of a row: `[channels, height, width]`, or `[columns]`; the family's without it.
    pub input: Option<Vec<usize>>,
    /// Classes, or numbers that are predicted; the family's without it.
    pub outputs: Option<usize>,
    /// What [`Family::summary`] says; the family's without it.
    pub widths: Option<Vec<usize>>,
    /// Share of the units before the last layer that training drops; the family's without it.
    pub dropout: Option<f64>,
    /// Seed of the numbers to begin with.
    pub seed: u64,
}

/// Sizes that were settled.
struct Made {
    family: &'static str,
    widths: Vec<usize>,
    outputs: usize,
    dropout: f64,
}

impl Made {
    /// The widths of a family that has just so many.
    fn widths_of<const N: usize>(&self) -> Result<[usize; N], Error> {
        self.widths.as_slice().try_into().map_err(|_| Error::Setting {
            name: "widths".to_owned(),
            problem: match N {
                0 => format!("those of {} are fixed; leave them out", self.family),
                _ => format!("{} given, expected the {N} of {}", self.widths.len(), self.family),
            },
        })
    }
}

/// The family called `name`.
///
/// # Errors
/// Families that do not exist, with the nearest.
pub fn family(name: &str) -> Result<&'static Family, Error> {
    FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| Error::Unknown {
        kind: "family",
        found: name.to_owned(),
        valid: FAMILIES.iter().map(|family| family.name.to_owned()).collect(),
    })
}

fn wrong(name: &str, problem: impl Into<String>) -> Error {
    Error::Setting { name: name.to_owned(), problem: problem.into() }
}

/// Largest size of an axis.
const MOST: usize = 1 << 20;

fn check<'a>(name: &str, sizes: impl IntoIterator<Item = &'a usize>) -> Result<(), Error> {
    match sizes.into_iter().find(|size| **size == 0 || **size > MOST) {
        Some(size) => Err(wrong(name, format!("{size} found, expected numbers from 1 to {MOST}"))),
        None => Ok(()),
    }
}

fn check_dropout(dropout: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&dropout) {
        return Ok(());
    }
    Err(wrong("dropout", format!("{dropout} found, expected a share of at least 0 and below 1")))
}

/// Designs a network: a graph with logits `[n, outputs]`, its weights drawn by the seed.
///
/// # Errors
/// Families that do not exist, with the nearest; sizes that the family cannot be of; a description without a meaning,
/// with its line.
pub fn design(design: &Design) -> Result<Graph, Error> {
    check("input", design.input.iter().flatten())?;
    check("outputs", &design.outputs)?;
    check("widths", design.widths.iter().flatten())?;
    check_dropout(design.dropout.unwrap_or_default())?;
    if is_description(&design.family) {
        return description::read(Path::new(&design.family))?.design(design);
    }
    let family = family(&design.family)?;
    let missing = |name: &str, example: &str| {
        wrong(name, format!("{} has none of its own; give --{name} {example}", family.name))
    };
    let own = family.defaults;
    let input = design.input.clone().or_else(|| own.map(|(input, _)| input.to_vec()));
    let input = input.ok_or_else(|| missing("input", "1x28x28"))?;
    let outputs = design.outputs.or(own.map(|(_, outputs)| outputs));
    let outputs = outputs.ok_or_else(|| missing("outputs", "10"))?;
    if input.len() != 3 && family.name != mlp::FAMILY.name {
        let takes =
            format!("{} takes pictures, expected channels, height and width, such as 1x28x28", family.name);
        return Err(wrong("input", takes));
    }
    let made = Made {
        family: family.name,
        widths: design.widths.clone().unwrap_or_else(|| family.widths.to_vec()),
        outputs,
        dropout: design.dropout.unwrap_or(family.dropout),
    };
    let mut network = Network::new(&input, design.seed)?;
    (family.build)(&mut network, &made)?;
    network.finish(family.name)
}

/// Whether a name is a description's file rather than a family.
fn is_description(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "toml")
}

/// What a network has, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Numbers that training changes.
    pub parameters: usize,
    /// Layers with weights that inputs are multiplied by.
    pub layers: usize,
}

/// Counts a network's parameters and layers.
pub fn count(graph: &Graph) -> Counts {
    let weights = graph.outputs().first().map(|output| trainable(graph, *output)).unwrap_or_default();
    let sizes = weights.iter().filter_map(|id| graph.constant(*id)).map(Tensor::len);
    let layers =
        graph.nodes().iter().filter(|node| ["Conv", "Gemm"].contains(&node.operator.as_str())).count();
    Counts { parameters: sizes.sum(), layers }
}

/// Writes a network as an ONNX file, whole or not at all.
///
/// # Errors
/// What the disk says.
pub fn write(graph: &Graph, path: &Path) -> Result<(), Error> {
    write_model(path, graph)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::onnx::{EncodeOptions, Limits, decode, encode};

    use super::*;

    fn of(family: &str, input: &[usize]) -> Design {
        Design {
            family: family.to_owned(),
            input: Some(input.to_vec()),
            outputs: Some(10),
            dropout: Some(0.1),
            seed: 3,
            ..Design::default()
        }
    }

    #[test]
    fn families_are_sorted_and_can_be_written_and_read() {
        assert!(FAMILIES.is_sorted_by_key(|family| family.name));
        for family in FAMILIES {
            // Narrow ones, to be quick.
            let widths = match family.name {
                name if name.starts_with("resnet") && family.widths.len() == 4 => Some(vec![4, 8, 8, 16]),
                _ => None,
            };
            let designed = Design { widths, ..of(family.name, &[1, 28, 28]) };
            let graph = design(&designed).unwrap();
            assert_eq!(graph, design(&designed).unwrap(), "the seed decides");
            let bytes = encode(&graph, &EncodeOptions::default()).unwrap().model;
            let read = decode(bytes.into(), &Limits::default()).unwrap();
            assert_eq!(read.nodes().len(), graph.nodes().len(), "{}", family.name);
            let output = graph.value(graph.outputs()[0]);
            assert_eq!(pellucid_graph::display_shape(output.shape.as_ref().unwrap()), "[n, 10]");
            assert!(graph.find(&format!("{}.weight", family.head)).is_some(), "{}", family.name);
        }
    }

    /// What torchvision's models have, and LeNet-5 with every map seen: what the papers print, and torchinfo counts.
    #[test]
    fn parameters_are_as_many_as_those_of_the_literature() {
        let count = |design: &Design| super::count(&super::design(design).unwrap()).parameters;
        let mlp = Design { widths: Some(vec![512, 256]), dropout: Some(0.0), ..of("mlp", &[784]) };
        assert_eq!(count(&mlp), 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10);
        assert_eq!(count(&of("lenet", &[1, 28, 28])), 61_706);
        assert_eq!(count(&of("lenet", &[1, 32, 32])), 61_706);
        for (family, parameters) in [
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("mobilenet-v2", 3_504_872),
            ("efficientnet-lite0", 4_652_008),
        ] {
            let own = Design { family: family.to_owned(), ..Design::default() };
            assert_eq!(count(&own), parameters, "{family}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        let told = |design: &Design| super::design(design).unwrap_err().to_string();
        assert!(told(&of("resnet-smal", &[1, 28, 28])).contains("did you mean \"resnet-small\"?"));
        assert_eq!(
            told(&of("resnet-small", &[10])),
            "input: resnet-small takes pictures, expected channels, height and width, such as 1x28x28"
        );
        assert_eq!(
            told(&Design { input: None, ..of("mlp", &[1]) }),
            "input: mlp has none of its own; give --input 1x28x28"
        );
        assert_eq!(
            told(&Design { widths: Some(vec![3]), ..of("resnet18", &[3, 64, 64]) }),
            "widths: 1 given, expected the 4 of resnet18"
        );
        assert_eq!(
            told(&Design { widths: Some(vec![3]), ..of("mobilenet-v2", &[3, 64, 64]) }),
            "widths: those of mobilenet-v2 are fixed; leave them out"
        );
        assert_eq!(
            told(&of("lenet", &[1, 8, 8])),
            "input: it is too small: conv2 looks at 5×5 places and finds 4×4"
        );
        assert_eq!(
            told(&Design { widths: Some(vec![1 << 20, 1 << 20]), ..of("mlp", &[4]) }),
            "layers.1.weight: with [1048576, 1048576] the network has more than 1073741824 parameters"
        );
        assert_eq!(
            told(&Design { dropout: Some(1.0), ..of("mlp", &[4]) }),
            "dropout: 1 found, expected a share of at least 0 and below 1"
        );
    }
}
