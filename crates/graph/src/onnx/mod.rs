//! ONNX files: reading any opset from 7 up as a [`Graph`](crate::Graph) of opset 18, and writing it.

#![deny(clippy::as_conversions)]

mod encode;
mod proto;

pub use encode::{
    EncodeError, EncodeOptions, Encoded, External, ExternalTensor, OPSET, Place, Placement, Weights, encode,
};
