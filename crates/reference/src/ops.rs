//! Implementations of operators: one file a family, each with a table of its operators' names.

pub(crate) mod activation;
pub(crate) mod binary;
pub(crate) mod broadcast;
pub(crate) mod cast;
pub(crate) mod control;
pub(crate) mod convolution;
pub(crate) mod einsum;
pub(crate) mod gather;
pub(crate) mod generate;
pub(crate) mod linear;
pub(crate) mod normalization;
pub(crate) mod order;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod quantize;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
pub(crate) mod unary;
pub(crate) mod window;
