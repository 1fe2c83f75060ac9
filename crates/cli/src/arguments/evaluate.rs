//! What `pellucid evaluate` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Answers, Describing, Running, key_value};

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The rows to learn from
    Train,
    /// The rows to measure on
    Test,
}

/// What is asked of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// Which one of several classes it is
    Classification,
    /// Which labels it has, any number of them
    MultiLabel,
    /// Numbers
    Regression,
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// ONNX file, or two to compare on the same rows
    #[arg(required = true, num_args = 1..=2, value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    /// Data: a folder of IDX files (also packed by gzip) or of pictures (a folder a class), an .npz, a .csv
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,
    /// Which part of it; without it the test part, or all rows where the data has none
    #[arg(long, value_name = "NAME")]
    pub(crate) part: Option<Part>,
    #[command(flatten)]
    pub(crate) answers: Answers,
    /// What is asked of a row; without it what the data's targets are
    #[arg(long, value_name = "NAME")]
    pub(crate) task: Option<Task>,
    /// A row also counts in the top-K accuracy where its class is among the K best
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub(crate) top: usize,
    /// Bins of the reliability diagram and of the expected calibration error
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub(crate) bins: usize,
    /// Replicates of the bootstrap behind the intervals; 0 for no intervals
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) replicates: usize,
    /// Probability with which an interval holds what it is of
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    pub(crate) level: f64,
    /// Seed of the bootstrap, and of an explanation
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Worst mistakes that are told
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub(crate) mistakes: usize,
    /// Explain the worst mistakes by this method; `pellucid methods` lists them
    #[arg(long, value_name = "METHOD")]
    pub(crate) explain: Option<String>,
    /// A parameter of that method
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, requires = "explain")]
    pub(crate) set: Vec<(String, String)>,
    /// The layer that it looks at
    #[arg(long, value_name = "VALUE", requires = "explain")]
    pub(crate) layer: Option<String>,
    /// Files to write: .html, .json, .png, .svg
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}
