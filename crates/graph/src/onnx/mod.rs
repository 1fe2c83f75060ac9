//! ONNX files: reading opsets 7 to 24 as a [`Graph`](crate::Graph) in the form of opset 18, and writing it.
//!
//! Reading goes in steps, each bounded by [`Limits`]: the wire format is scanned before anything is decoded; weights
//! in data files are fetched; functions of the model's own are expanded; nodes are put in order; and each is brought
//! to the form of opset 18 as it is appended to the graph. Bytes that are no model are an error, never a panic.

#![deny(clippy::as_conversions)]

mod align;
mod attribute;
mod build;
mod draft;
mod encode;
mod error;
mod expand;
mod expansions;
mod external;
mod limits;
mod order;
mod proto;
mod read;
mod scan;
mod sequence;
mod tensor;
mod types;
mod upgrade;

pub use encode::{
    EncodeError, EncodeOptions, Encoded, External, ExternalTensor, OPSET, Place, Placement, Weights, encode,
};
pub use error::{DecodeError, NodeName};
pub use expansions::expanded;
pub use limits::Limits;
pub use read::{decode, read_file};
