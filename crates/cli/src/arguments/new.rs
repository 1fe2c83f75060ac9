//! What `pellucid new` takes.

use std::path::PathBuf;

use clap::Args;

use super::{Sizes, sizes};

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Family (efficientnet-lite0, lenet, mlp, mobilenet-v2, resnet-small, resnet18, resnet34, resnet50, resnet101,
    /// resnet152), or a description's file, which ends in .toml
    #[arg(value_name = "FAMILY|FILE.toml")]
    pub(crate) family: String,
    /// Sizes of a row, such as 1x28x28 or 30; the family's without it
    #[arg(long, value_name = "SIZES", value_parser = sizes)]
    pub(crate) input: Option<Sizes>,
    /// Classes, or numbers to predict; the family's without it
    #[arg(long, value_name = "N")]
    pub(crate) outputs: Option<usize>,
    /// Of mlp the units of each hidden layer, of residual networks the channels of each stage, such as 512x256
    #[arg(long, value_name = "SIZES", value_parser = sizes)]
    pub(crate) widths: Option<Sizes>,
    /// Share of the units before the last layer that training drops; the family's without it
    #[arg(long, value_name = "SHARE")]
    pub(crate) dropout: Option<f64>,
    /// Seed of the numbers to begin with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// State dictionary whose weights the network takes: PyTorch's .pth or .pt, or .safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Put a fresh last layer of so many outputs in place of the one of the weights
    #[arg(long, value_name = "N", requires = "weights")]
    pub(crate) head: Option<usize>,
    /// Tell layers, parameters, multiply-adds and memory, before anything is trained
    #[arg(long)]
    pub(crate) explain: bool,
    /// Rows of the training step whose memory is told
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Levels of modules that are told; deeper layers are added up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) depth: Option<u16>,
    /// Files to write: one ending in .onnx gets the network; .html .svg .png .json draw and tell it
    #[arg(short, long, value_name = "FILE", required_unless_present = "explain")]
    pub(crate) output: Vec<PathBuf>,
}
