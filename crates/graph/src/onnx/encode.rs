//! Writing: a [`Graph`] as an ONNX file of opset 18.

use std::collections::HashSet;
use std::io::{self, Write};

use prost::Message;
use thiserror::Error;

use super::error::{NodeName, list};
use super::proto::{self, kind};
use crate::dim::Dim;
use crate::graph::{Graph, Origin, Value, ValueId};
use crate::node::{Attribute, Node};
use crate::operators;
use crate::tensor::Tensor;

/// Opset of `ai.onnx` that is written.
pub const OPSET: i64 = 18;

/// Version of the file format that is written: the one of opset 18.
const IR_VERSION: i64 = 8;

/// Past this many bytes no protobuf reader accepts a message.
const MESSAGE_LIMIT: usize = 0x7fff_ffff;

/// Offsets in a data file are multiples of this: enough for aligned vector loads and cache lines.
const ALIGNMENT: u64 = 64;

/// Where a tensor's bytes lie outside the model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the data file, relative to the model's folder.
    pub file: String,
    /// Where the bytes begin.
    pub offset: u64,
}

/// Decides for one tensor where its bytes lie; `None` leaves them in the model file.
pub type Placement<'a> = dyn Fn(&Tensor) -> Option<Place> + 'a;

/// Where the bytes of constants go.
#[derive(Default)]
pub enum Weights<'a> {
    /// Into the model file.
    #[default]
    Inline,
    /// Into one data file of this name beside the model.
    External {
        /// Name of the data file, without a folder.
        file: &'a str,
        /// Tensors of fewer bytes stay in the model file, where readers that infer shapes find them.
        threshold: usize,
    },
    /// Wherever the caller says that they already lie: how buffers are shared with an engine without copying.
    Placed(&'a Placement<'a>),
}

impl<'a> Weights<'a> {
    /// One data file for tensors of 1 KiB and more.
    pub fn external(file: &'a str) -> Self {
        Self::External { file, threshold: 1024 }
    }
}

/// How a graph is written.
#[derive(Default)]
pub struct EncodeOptions<'a> {
    /// Where the bytes of constants go.
    pub weights: Weights<'a>,
    /// Whether the inferred types of interior values are left out (`value_info`).
    pub omit_value_info: bool,
    /// Whether `Gelu` and `Swish` are written as they are, though the file's opset lacks them: for an engine that
    /// knows them whatever the opset says. Never for a file that others read.
    pub keep_later: bool,
}

/// A written model.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The model file.
    pub model: Vec<u8>,
    /// What lies outside the model file: `None` where nothing does.
    pub external: Option<External>,
}

/// Tensors outside the model file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct External {
    /// The tensors, by rising offset where one data file was asked for.
    pub tensors: Vec<ExternalTensor>,
    /// Size of the data file in bytes; zero where the caller placed the tensors.
    pub length: u64,
}

/// A tensor outside the model file.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalTensor {
    /// Name of the constant in the file.
    pub name: String,
    /// Where its bytes lie, or are to be written.
    pub place: Place,
    /// The constant; its bytes are shared with the graph.
    pub tensor: Tensor,
}

impl External {
    /// Writes the data file: each tensor at its offset, zeros between.
    pub fn write_to(&self, mut file: impl Write) -> io::Result<()> {
        let mut position = 0u64;
        for entry in &self.tensors {
            let padding = entry.place.offset.saturating_sub(position);
            io::copy(&mut io::Read::take(io::repeat(0), padding), &mut file)?;
            file.write_all(entry.tensor.bytes())?;
            position = entry.place.offset.saturating_add(length_of(&entry.tensor));
        }
        file.flush()
    }
}

/// Why a graph cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Operators that opset 18 lacks, each with its nodes.
    #[error("opset {OPSET} lacks {}: lower them before writing", list(.0))]
    Unknown(Vec<NodeName>),
    /// The model file would be larger than any reader accepts.
    #[error(
        "the model file would take {0} bytes, more than protobuf's 2 GiB: write the weights to a data file"
    )]
    TooLarge(usize),
    /// The same value is an output twice.
    #[error("output {0:?} is listed twice")]
    DuplicateOutput(String),
    /// A value has no name.
    #[error("an input, constant or output has an empty name, which in a file means that it is left out")]
    Unnamed,
    /// A data file must lie in the model's own folder.
    #[error("data file {0:?} is not a bare file name: give one without a folder")]
    DataFile(String),
}

/// Writes `graph`.
///
/// Values of bodies that share a name with an outer value are renamed; everything else keeps its name.
pub fn encode(graph: &Graph, options: &EncodeOptions<'_>) -> Result<Encoded, EncodeError> {
    if let Weights::External { file, .. } = &options.weights {
        let bare = std::path::Path::new(file).file_name().is_some_and(|name| name == *file);
        if !bare || file.contains(['\\', ':']) {
            return Err(EncodeError::DataFile((*file).to_owned()));
        }
    }
    let mut unknown = Vec::new();
    list_unknown(graph, options.keep_later, &mut unknown);
    if !unknown.is_empty() {
        return Err(EncodeError::Unknown(unknown));
    }
    let mut writer = Writer { options, external: External::default(), used: HashSet::new(), next: 1 };
    reserve_names(graph, &mut writer.used);
    let body = writer.graph(graph, None)?;
    let producer = if graph.producer.is_empty() {
        concat!("pellucid ", env!("CARGO_PKG_VERSION"))
    } else {
        &graph.producer
    };
    let model = proto::Model {
        ir_version: Some(IR_VERSION),
        producer_name: producer.to_owned(),
        producer_version: String::new(),
        doc_string: graph.description.clone(),
        graph: Some(body),
        opset_import: vec![proto::OperatorSetId { domain: String::new(), version: Some(OPSET) }],
        metadata_props: entries(&graph.metadata),
        functions: Vec::new(),
    };
    let length = model.encoded_len();
    if length > MESSAGE_LIMIT {
        return Err(EncodeError::TooLarge(length));
    }
    let external = (!writer.external.tensors.is_empty()).then_some(writer.external);
    Ok(Encoded { model: model.encode_to_vec(), external })
}

fn length_of(tensor: &Tensor) -> u64 {
    u64::try_from(tensor.bytes().len()).unwrap_or(u64::MAX)
}

/// Every node of a later opset.
fn list_unknown(graph: &Graph, keep_later: bool, unknown: &mut Vec<NodeName>) {
    for node in graph.nodes() {
        let writable = operators::lookup(&node.operator)
            .is_some_and(|known| keep_later || i64::from(known.since) <= OPSET);
        if !writable {
            let output = node.outputs.iter().flatten().next();
            unknown.push(NodeName {
                operator: node.operator.clone(),
                name: node.name.clone(),
                output: output.map_or_else(String::new, |id| graph.value(*id).name.clone()),
            });
        }
        for attribute in node.attributes.values() {
            if let Attribute::Graph(body) = attribute {
                list_unknown(body, keep_later, unknown);
            }
        }
    }
}

/// The names of the model's own graph stay as they are: bodies give way.
fn reserve_names(graph: &Graph, used: &mut HashSet<String>) {
    used.extend(graph.values().iter().map(|value| value.name.clone()));
}

fn entries(map: &std::collections::BTreeMap<String, String>) -> Vec<proto::Entry> {
    map.iter().map(|(key, value)| proto::Entry { key: key.clone(), value: value.clone() }).collect()
}

struct Writer<'a> {
    options: &'a EncodeOptions<'a>,
    external: External,
    /// Every name in the file so far.
    used: HashSet<String>,
    /// Number for the next name that would not be new without one.
    next: u64,
}

impl Writer<'_> {
    /// Writes a graph; `outer` are the written names of the enclosing graph's values.
    fn graph(&mut self, graph: &Graph, outer: Option<&[String]>) -> Result<proto::Graph, EncodeError> {
        let names = self.names(graph, outer);
        let mut written = proto::Graph {
            name: if graph.name.is_empty() { "graph".to_owned() } else { graph.name.clone() },
            doc_string: if outer.is_some() { graph.description.clone() } else { String::new() },
            ..proto::Graph::default()
        };
        for (value, name) in graph.values().iter().zip(&names) {
            if name.is_empty() {
                return Err(EncodeError::Unnamed);
            }
            if let Origin::Constant(tensor) = &value.origin {
                let initializer = self.initializer(name, tensor);
                written.initializer.push(initializer);
            }
        }
        for input in graph.inputs() {
            written.input.push(value_info(&names[input.index()], graph.value(*input)));
        }
        for node in graph.nodes() {
            let node = self.node(node, &names)?;
            written.node.push(node);
        }
        self.outputs(graph, &names, outer.is_some(), &mut written)?;
        if !self.options.omit_value_info {
            let outputs: HashSet<ValueId> = graph.outputs().iter().copied().collect();
            for (id, value) in graph.value_ids().zip(graph.values()) {
                let interior = matches!(value.origin, Origin::Node(..)) && !outputs.contains(&id);
                if interior && value.element.is_some() && value.shape.is_some() {
                    written.value_info.push(value_info(&names[id.index()], value));
                }
            }
        }
        Ok(written)
    }

    /// What every value of `graph` is called in the file.
    fn names(&mut self, graph: &Graph, outer: Option<&[String]>) -> Vec<String> {
        let Some(outer) = outer else {
            return graph.values().iter().map(|value| value.name.clone()).collect();
        };
        graph
            .values()
            .iter()
            .map(|value| match value.origin {
                Origin::Captured(id) => outer.get(id.index()).cloned().unwrap_or_default(),
                _ => self.fresh(&value.name),
            })
            .collect()
    }

    /// A name that no value in the file has.
    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while name.is_empty() || self.used.contains(&name) {
            name = format!("{wanted}.{}", self.next);
            self.next += 1;
        }
        self.used.insert(name.clone());
        name
    }

    /// Outputs. In a body, one that no node of the body computes, or that is listed twice, goes through `Identity`:
    /// runtimes refuse a body that hands an outer value on.
    fn outputs(
        &mut self,
        graph: &Graph,
        names: &[String],
        in_body: bool,
        written: &mut proto::Graph,
    ) -> Result<(), EncodeError> {
        let mut listed: HashSet<ValueId> = HashSet::new();
        for output in graph.outputs() {
            let value = graph.value(*output);
            let name = &names[output.index()];
            let first = listed.insert(*output);
            if in_body && !(first && matches!(value.origin, Origin::Node(..))) {
                let copy = self.fresh(&format!("{name}.output"));
                written.node.push(proto::Node {
                    input: vec![name.clone()],
                    output: vec![copy.clone()],
                    op_type: "Identity".to_owned(),
                    ..proto::Node::default()
                });
                written.output.push(value_info(&copy, value));
            } else if first {
                written.output.push(value_info(name, value));
            } else {
                return Err(EncodeError::DuplicateOutput(name.clone()));
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, names: &[String]) -> Result<proto::Node, EncodeError> {
        let name_of = |id: &Option<ValueId>| id.map_or_else(String::new, |id| names[id.index()].clone());
        let mut attribute = Vec::with_capacity(node.attributes.len());
        for (name, value) in &node.attributes {
            attribute.push(self.attribute(name, value, names)?);
        }
        let mut input: Vec<String> = node.inputs.iter().map(name_of).collect();
        while input.last().is_some_and(String::is_empty) {
            input.pop();
        }
        Ok(proto::Node {
            input,
            output: node.outputs.iter().map(name_of).collect(),
            name: node.name.clone(),
            op_type: node.operator.clone(),
            attribute,
            domain: String::new(),
            overload: String::new(),
            metadata_props: entries(&node.metadata),
        })
    }

    fn attribute(
        &mut self,
        name: &str,
        value: &Attribute,
        names: &[String],
    ) -> Result<proto::Attribute, EncodeError> {
        let mut written = proto::Attribute { name: name.to_owned(), ..proto::Attribute::default() };
        written.kind = Some(match value {
            Attribute::Int(value) => {
                written.i = Some(*value);
                kind::INT
            }
            Attribute::Float(value) => {
                written.f = Some(*value);
                kind::FLOAT
            }
            Attribute::String(value) => {
                written.s = Some(value.clone().into());
                kind::STRING
            }
            Attribute::Ints(values) => {
                written.ints.clone_from(values);
                kind::INTS
            }
            Attribute::Floats(values) => {
                written.floats.clone_from(values);
                kind::FLOATS
            }
            Attribute::Strings(values) => {
                written.strings = values.iter().map(|value| value.clone().into()).collect();
                kind::STRINGS
            }
            Attribute::Tensor(tensor) => {
                written.t = Some(inline("", tensor));
                kind::TENSOR
            }
            Attribute::Graph(body) => {
                written.g = Some(self.graph(body, Some(names))?);
                kind::GRAPH
            }
        });
        Ok(written)
    }

    fn initializer(&mut self, name: &str, tensor: &Tensor) -> proto::Tensor {
        let Some(place) = self.place(tensor) else {
            return inline(name, tensor);
        };
        let entry = |key: &str, value: String| proto::Entry { key: key.to_owned(), value };
        let written = proto::Tensor {
            dims: dims(tensor),
            data_type: tensor.element().onnx_code(),
            name: name.to_owned(),
            external_data: vec![
                entry("location", place.file.clone()),
                entry("offset", place.offset.to_string()),
                entry("length", tensor.bytes().len().to_string()),
            ],
            data_location: proto::EXTERNAL,
            ..proto::Tensor::default()
        };
        self.external.tensors.push(ExternalTensor { name: name.to_owned(), place, tensor: tensor.clone() });
        written
    }

    fn place(&mut self, tensor: &Tensor) -> Option<Place> {
        match &self.options.weights {
            Weights::Inline => None,
            Weights::Placed(placement) => placement(tensor),
            Weights::External { file, threshold } => {
                if tensor.is_empty() || tensor.bytes().len() < *threshold {
                    return None;
                }
                let offset = self.external.length.next_multiple_of(ALIGNMENT);
                self.external.length = offset.saturating_add(length_of(tensor));
                Some(Place { file: (*file).to_owned(), offset })
            }
        }
    }
}

fn dims(tensor: &Tensor) -> Vec<i64> {
    tensor.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect()
}

fn inline(name: &str, tensor: &Tensor) -> proto::Tensor {
    proto::Tensor {
        dims: dims(tensor),
        data_type: tensor.element().onnx_code(),
        name: name.to_owned(),
        raw_data: Some(tensor.bytes().clone()),
        ..proto::Tensor::default()
    }
}

/// Name and, as far as it is known, type. A size that is an expression is written as its text.
fn value_info(name: &str, value: &Value) -> proto::ValueInfo {
    let dimension = |dim: &Dim| proto::Dimension {
        value: match dim.value() {
            Some(size) if size >= 0 => Some(proto::DimensionKind::Value(size)),
            Some(_) => None,
            None => Some(proto::DimensionKind::Parameter(dim.to_string())),
        },
    };
    let tensor = value.element.map(|element| proto::TensorType {
        elem_type: element.onnx_code(),
        shape: value
            .shape
            .as_ref()
            .map(|shape| proto::TensorShape { dim: shape.iter().map(dimension).collect() }),
    });
    proto::ValueInfo {
        name: name.to_owned(),
        r#type: tensor.map(|tensor| proto::Type { value: Some(proto::TypeKind::Tensor(tensor)) }),
    }
}
