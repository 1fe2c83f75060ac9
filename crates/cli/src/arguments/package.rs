//! What `pellucid package` takes.

use std::path::PathBuf;

use clap::Args;

use super::{Describing, Running, key_value};

#[derive(Debug, Args)]
pub(crate) struct Package {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Pictures that the file is checked on, beside pictures of random numbers
    pub(crate) pictures: Vec<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "FILE.onnx")]
    pub(crate) output: PathBuf,
    /// Give an attribution too, by this method; `pellucid methods` says which compile
    #[arg(long, value_name = "METHOD")]
    pub(crate) explain: Option<String>,
    /// A parameter of that method
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, requires = "explain")]
    pub(crate) set: Vec<(String, String)>,
    /// The layer that it looks at
    #[arg(long, value_name = "VALUE", requires = "explain")]
    pub(crate) layer: Option<String>,
    /// What it explains: a class, a label or top1
    #[arg(long, value_name = "TARGET", requires = "explain", default_value = "top1")]
    pub(crate) target: String,
    /// What it starts from: zero, or an .npy file
    #[arg(long, value_name = "BASELINE", requires = "explain", default_value = "zero")]
    pub(crate) baseline: String,
    /// What it draws baselines from: an .npy file
    #[arg(long, value_name = "FILE", requires = "explain")]
    pub(crate) background: Option<String>,
    /// Write programs that run the file, in Python and in Rust, to this folder, which is made
    #[arg(long, value_name = "FOLDER")]
    pub(crate) examples: Option<PathBuf>,
    /// Seed of the pictures of random numbers, and of what the method draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) describing: Describing,
    #[command(flatten)]
    pub(crate) running: Running,
}
