//! ONNX files by hand: a writer of protobuf fields that knows nothing of the reader's schema.

use bytes::Bytes;
use pellucid_graph::Graph;
use pellucid_graph::onnx::{self, DecodeError, Limits};

/// A message, field by field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }

    pub(crate) fn int(mut self, field: u64, value: i64) -> Self {
        self.key(field, 0);
        self.varint(value.cast_unsigned());
        self
    }

    pub(crate) fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(u64::try_from(value.len()).unwrap());
        self.0.extend(value);
        self
    }

    pub(crate) fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(crate) fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    pub(crate) fn messages(self, field: u64, values: &[Message]) -> Self {
        values.iter().fold(self, |message, value| message.message(field, value))
    }

    pub(crate) fn texts(self, field: u64, values: &[&str]) -> Self {
        values.iter().fold(self, |message, value| message.text(field, value))
    }
}

/// A node; attributes are added by the functions below.
pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    Message::new().texts(1, inputs).texts(2, outputs).text(3, &format!("the {operator}")).text(4, operator)
}

impl Message {
    /// Attribute of a node: an integer.
    pub(crate) fn with_int(self, name: &str, value: i64) -> Self {
        self.message(5, &Message::new().text(1, name).int(3, value).int(20, 2))
    }

    /// Attribute of a node: integers.
    pub(crate) fn with_ints(self, name: &str, values: &[i64]) -> Self {
        let list = values.iter().fold(Message::new().text(1, name), |list, value| list.int(8, *value));
        self.message(5, &list.int(20, 7))
    }

    /// Attribute of a node: a number.
    pub(crate) fn with_float(self, name: &str, value: f32) -> Self {
        self.message(5, &Message::new().text(1, name).float(2, value).int(20, 1))
    }

    /// Attribute of a node: numbers.
    pub(crate) fn with_floats(self, name: &str, values: &[f32]) -> Self {
        let list = values.iter().fold(Message::new().text(1, name), |list, value| list.float(7, *value));
        self.message(5, &list.int(20, 6))
    }

    /// Attribute of a node: text.
    pub(crate) fn with_text(self, name: &str, value: &str) -> Self {
        self.message(5, &Message::new().text(1, name).text(4, value).int(20, 3))
    }

    /// Attribute of a node: a body.
    pub(crate) fn with_body(self, name: &str, body: &Message) -> Self {
        self.message(5, &Message::new().text(1, name).message(6, body).int(20, 5))
    }

    /// Attribute of a node in a function: what the call gives for `reference`.
    pub(crate) fn with_reference(self, name: &str, reference: &str, kind: i64) -> Self {
        self.message(5, &Message::new().text(1, name).text(21, reference).int(20, kind))
    }

    /// Domain of a node.
    pub(crate) fn of(self, domain: &str) -> Self {
        self.text(7, domain)
    }
}

/// A `float32` value with sizes; texts are names of sizes, an empty one is a size without a name.
pub(crate) fn value(name: &str, sizes: &[&str]) -> Message {
    typed(name, 1, sizes)
}

/// A value of the element type `code`.
pub(crate) fn typed(name: &str, code: i64, sizes: &[&str]) -> Message {
    let mut shape = Message::new();
    for size in sizes {
        let dimension = match size.parse::<i64>() {
            Ok(number) => Message::new().int(1, number),
            Err(_) if size.is_empty() => Message::new(),
            Err(_) => Message::new().text(2, size),
        };
        shape = shape.message(1, &dimension);
    }
    let tensor = Message::new().int(1, code).message(2, &shape);
    Message::new().text(1, name).message(2, &Message::new().message(1, &tensor))
}

/// A `float32` tensor with raw elements.
pub(crate) fn floats(name: &str, sizes: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    header(name, 1, sizes).bytes(9, &raw)
}

/// An `int64` tensor with raw elements.
pub(crate) fn integers(name: &str, sizes: &[i64], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    header(name, 7, sizes).bytes(9, &raw)
}

/// A tensor without elements.
pub(crate) fn header(name: &str, code: i64, sizes: &[i64]) -> Message {
    sizes.iter().fold(Message::new(), |tensor, size| tensor.int(1, *size)).int(2, code).text(8, name)
}

/// A graph.
pub(crate) fn graph(
    nodes: &[Message],
    inputs: &[Message],
    outputs: &[&str],
    constants: &[Message],
) -> Message {
    let outputs: Vec<Message> = outputs.iter().map(|name| value(name, &[])).collect();
    Message::new()
        .messages(1, nodes)
        .text(2, "main")
        .messages(5, constants)
        .messages(11, inputs)
        .messages(12, &outputs)
}

/// A model of `opset` with functions.
pub(crate) fn model_with(opset: i64, graph: &Message, functions: &[Message]) -> Vec<u8> {
    let import = Message::new().text(1, "").int(2, opset);
    Message::new().int(1, 8).message(7, graph).message(8, &import).messages(25, functions).0
}

/// A model of `opset`.
pub(crate) fn model(opset: i64, graph: &Message) -> Vec<u8> {
    model_with(opset, graph, &[])
}

/// A function of domain `own`.
pub(crate) fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: &[Message]) -> Message {
    Message::new().text(1, name).texts(4, inputs).texts(5, outputs).messages(7, nodes).text(10, "own")
}

/// Reads a model with the default limits.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Graph, DecodeError> {
    onnx::decode(Bytes::from(bytes), &Limits::default())
}

/// Why a model is not read.
pub(crate) fn message(bytes: Vec<u8>) -> String {
    match read(bytes) {
        Ok(graph) => panic!("read though it should be refused:\n{}", graph.text()),
        Err(error) => error.to_string(),
    }
}

/// A small valid model: `y = Relu(x · w + b)`.
pub(crate) fn small() -> Vec<u8> {
    let nodes = [node("Gemm", &["x", "w", "b"], &["h"]), node("Relu", &["h"], &["y"])];
    let constants =
        [floats("w", &[3, 2], &[1.0, -2.0, 3.0, -4.0, 5.0, -6.0]), floats("b", &[2], &[0.5, -0.5])];
    model(18, &graph(&nodes, &[value("x", &["n", "3"])], &["y"], &constants))
}
