//! A walk over the wire format before anything is decoded: what is there is counted against the limits.
//!
//! Protobuf lets a few bytes stand for large structures: an empty node is two bytes in the file and some two hundred
//! in memory. Here nothing is allocated but one small frame for each level of nesting.

use super::error::DecodeError;
use super::limits::Limits;
use super::proto;

/// Kinds of messages that the reader decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    Function,
    Entry,
    OperatorSet,
    Other,
}

/// What a field holds.
enum Field {
    Message(Kind),
    /// Text that is copied.
    Text,
    /// Bytes that are shared with the file.
    Bytes,
    /// Varints that take this many bytes each once decoded.
    Varints(u64),
    /// Numbers of a fixed width.
    Fixed,
    /// Nothing that is decoded.
    Skipped,
}

/// Deepest nesting of bodies, whatever the limits say: each takes three levels of prost's hundred.
const DEEPEST: u64 = 24;

fn field(kind: Kind, number: u64) -> Field {
    use Field::{Bytes, Fixed, Message, Skipped, Text, Varints};
    match (kind, number) {
        (Kind::Model, 7) | (Kind::Attribute, 6) => Message(Kind::Graph),
        (Kind::Model, 8) | (Kind::Function, 9) => Message(Kind::OperatorSet),
        (Kind::Model, 14) | (Kind::Node, 9) | (Kind::Tensor, 13) => Message(Kind::Entry),
        (Kind::Model, 25) => Message(Kind::Function),
        (Kind::Graph, 1) | (Kind::Function, 7) => Message(Kind::Node),
        (Kind::Graph | Kind::Attribute, 5) | (Kind::Sparse, 1) => Message(Kind::Tensor),
        (Kind::Graph, 11..=13) => Message(Kind::ValueInfo),
        (Kind::Graph, 15) => Message(Kind::Sparse),
        (Kind::Node, 5) | (Kind::Function, 11) => Message(Kind::Attribute),
        (Kind::ValueInfo, 2) => Message(Kind::Type),
        (Kind::Type, 1) => Message(Kind::TensorType),
        (Kind::Type, 4 | 5 | 8 | 9) => Message(Kind::Other),
        (Kind::TensorType, 2) => Message(Kind::Shape),
        (Kind::Shape, 1) => Message(Kind::Dimension),
        (Kind::Model, 2 | 3 | 6)
        | (Kind::Graph, 2 | 10)
        | (Kind::Node, 1..=4 | 7 | 8)
        | (Kind::Attribute, 1 | 21)
        | (Kind::Tensor, 8)
        | (Kind::ValueInfo | Kind::OperatorSet, 1)
        | (Kind::Dimension, 2)
        | (Kind::Function, 1 | 4 | 5 | 6 | 10 | 13)
        | (Kind::Entry, 1 | 2) => Text,
        (Kind::Attribute, 4 | 9) | (Kind::Tensor, 6 | 9) => Bytes,
        (Kind::Attribute, 8) | (Kind::Tensor, 1 | 7 | 11) => Varints(8),
        (Kind::Tensor, 5) => Varints(4),
        (Kind::Attribute, 2 | 7) | (Kind::Tensor, 4 | 10) => Fixed,
        _ => Skipped,
    }
}

/// Bytes that a message of a kind takes once decoded, without what hangs on it.
fn cost(kind: Kind) -> u64 {
    let bytes = match kind {
        Kind::Model => size_of::<proto::Model>(),
        Kind::Graph => size_of::<proto::Graph>(),
        Kind::Node => size_of::<proto::Node>(),
        Kind::Attribute => size_of::<proto::Attribute>(),
        Kind::Tensor => size_of::<proto::Tensor>(),
        Kind::Sparse => size_of::<proto::Sparse>(),
        Kind::ValueInfo => size_of::<proto::ValueInfo>(),
        Kind::Type => size_of::<proto::Type>(),
        Kind::TensorType => size_of::<proto::TensorType>(),
        Kind::Shape => size_of::<proto::TensorShape>(),
        Kind::Dimension => size_of::<proto::Dimension>(),
        Kind::Function => size_of::<proto::Function>(),
        Kind::Entry => size_of::<proto::Entry>(),
        Kind::OperatorSet => size_of::<proto::OperatorSetId>(),
        Kind::Other => size_of::<proto::Other>(),
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Checks that `bytes` are nested messages throughout and within `limits`.
pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    let length = count(bytes.len());
    check("bytes of model file", length, limits.file_bytes)?;
    if let Some(hint) = foreign(bytes) {
        return Err(DecodeError::NotOnnx(hint.to_owned()));
    }
    let mut scan = Scan { bytes, position: 0, memory: 0, nodes: 0, tensors: 0, nesting: 0, limits };
    // Frames: kind of the message, and where it ends.
    let mut frames = vec![(Kind::Model, bytes.len())];
    while let Some((kind, end)) = frames.last().copied() {
        if scan.position == end {
            if kind == Kind::Graph {
                scan.nesting = scan.nesting.saturating_sub(1);
            }
            frames.pop();
        } else if let Some(child) = scan.field(kind, end)? {
            frames.push(child);
        }
    }
    Ok(())
}

/// What a file is that starts like no model.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("the file is empty");
    }
    let starts: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "it is a zip archive, as PyTorch checkpoints are: export the network to ONNX first"),
        (b"\x89HDF", "it is an HDF5 file: convert the network to ONNX first"),
        (b"version https://git-lfs", "it is a Git LFS pointer: fetch the file itself with `git lfs pull`"),
        (b"\x80\x02", "it is a Python pickle: export the network to ONNX first"),
    ];
    starts.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, hint)| *hint)
}

/// Refuses `found` above `limit`.
pub(super) fn check(what: &'static str, found: u64, limit: u64) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::Limit { what, found, limit }) } else { Ok(()) }
}

/// A length as a count.
pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

struct Scan<'a> {
    bytes: &'a [u8],
    position: usize,
    memory: u64,
    nodes: u64,
    tensors: u64,
    nesting: u64,
    limits: &'a Limits,
}

impl Scan<'_> {
    /// Passes one field of a message that ends at `end`; returns the message that the field opens, if it does.
    fn field(&mut self, kind: Kind, end: usize) -> Result<Option<(Kind, usize)>, DecodeError> {
        let start = self.position;
        let key = self.varint(end)?;
        let (number, wire) = (key >> 3, key & 7);
        if number == 0 || number > 0x1fff_ffff {
            return Err(bad(start, "no field has such a number"));
        }
        let field = field(kind, number);
        match wire {
            0 => {
                self.varint(end)?;
                if let Field::Varints(width) = field {
                    self.take(width)?;
                }
            }
            1 => self.skip(8, end, start)?,
            5 => self.skip(4, end, start)?,
            2 => {
                let length = self.varint(end)?;
                let left = count(end.saturating_sub(self.position));
                let Some(stop) = usize::try_from(length)
                    .ok()
                    .filter(|_| length <= left)
                    .and_then(|length| self.position.checked_add(length))
                else {
                    return Err(bad(start, &format!("a field of {length} bytes, but {left} are left")));
                };
                return self.delimited(&field, stop, start);
            }
            _ => return Err(bad(start, "no field of ONNX is of such a kind")),
        }
        if matches!(field, Field::Message(_) | Field::Text | Field::Bytes) {
            return Err(bad(start, "a number where text or a message was expected"));
        }
        if matches!(field, Field::Fixed) {
            self.take(8)?;
        }
        Ok(None)
    }

    /// Passes, or enters, a field that runs up to `stop`.
    fn delimited(
        &mut self,
        field: &Field,
        stop: usize,
        start: usize,
    ) -> Result<Option<(Kind, usize)>, DecodeError> {
        let length = count(stop - self.position);
        match field {
            Field::Message(kind) => {
                self.enter(*kind)?;
                return Ok(Some((*kind, stop)));
            }
            Field::Text => self.take(length.saturating_add(24))?,
            Field::Bytes => self.take(32)?,
            Field::Fixed => self.take(length)?,
            Field::Varints(width) => {
                // A varint ends at a byte without the continuation bit.
                let ends = self.bytes.get(self.position..stop).unwrap_or_default();
                let numbers = count(ends.iter().filter(|byte| **byte < 0x80).count());
                self.take(numbers.saturating_mul(*width))?;
            }
            Field::Skipped => {}
        }
        if stop > self.bytes.len() {
            return Err(bad(start, "the file ends too early"));
        }
        self.position = stop;
        Ok(None)
    }

    /// Counts a message.
    fn enter(&mut self, kind: Kind) -> Result<(), DecodeError> {
        self.take(cost(kind))?;
        match kind {
            Kind::Node => {
                self.nodes += 1;
                check("nodes", self.nodes, self.limits.nodes)
            }
            Kind::Tensor => {
                self.tensors += 1;
                check("tensors", self.tensors, self.limits.tensors)
            }
            Kind::Graph => {
                self.nesting += 1;
                // The model's own graph is no body.
                check("levels of nested bodies", self.nesting - 1, self.limits.nesting.min(DEEPEST))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), DecodeError> {
        self.memory = self.memory.saturating_add(bytes);
        check("bytes of decoded structure", self.memory, self.limits.memory_bytes)
    }

    fn skip(&mut self, length: usize, end: usize, start: usize) -> Result<(), DecodeError> {
        match self.position.checked_add(length).filter(|stop| *stop <= end) {
            Some(stop) => {
                self.position = stop;
                Ok(())
            }
            None => Err(bad(start, "the file ends within a number")),
        }
    }

    fn varint(&mut self, end: usize) -> Result<u64, DecodeError> {
        let start = self.position;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = match self.bytes.get(self.position) {
                Some(byte) if self.position < end => *byte,
                _ => return Err(bad(start, "the file ends within a number")),
            };
            self.position += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(bad(start, "a number of more than 64 bits"))
    }
}

fn bad(position: usize, problem: &str) -> DecodeError {
    DecodeError::NotOnnx(format!("at byte {position}: {problem}"))
}
