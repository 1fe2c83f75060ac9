//! What `pellucid train` takes.

use std::path::PathBuf;

use clap::Args;
use pellucid::Engine;

use super::{Answers, bytes, engine, key_value};

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// ONNX file
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    pub(crate) model: Option<PathBuf>,
    /// Data: a folder of IDX files (also packed by gzip) or of pictures (a folder a class), an .npz, a .csv
    #[arg(long, value_name = "PATH")]
    pub(crate) data: Option<PathBuf>,
    /// More rows to measure on in the end, where the data does not hold them
    #[arg(long, value_name = "PATH")]
    pub(crate) test: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answers: Answers,
    /// TOML file of settings; what is given here goes before it
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// A setting, such as `optimizer.learning_rate=0.01`, schedule.shape=one-cycle, augment.flip=true; docs/training.md
    /// lists them
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Passes over the data
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: Option<u32>,
    /// Rows a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// Learning rate at its highest
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f64>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Put a fresh last layer of so many outputs in place of the model's
    #[arg(long, value_name = "N")]
    pub(crate) head: Option<usize>,
    /// Folder of the run, which is made: settings, metrics, checkpoint, model
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "resume")]
    pub(crate) output: Option<PathBuf>,
    /// Go on with the run in a folder, to the same bits as if it had never stopped
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["data", "test", "targets", "settings", "set", "epochs", "batch", "learning_rate", "seed", "head", "output"])]
    pub(crate) resume: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Engine that computes
    #[arg(long, value_name = "NAME", value_parser = engine(), default_value = Engine::default().name(), help_heading = "Running")]
    pub(crate) engine: Engine,
    /// Threads; without it one a processor core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Running")]
    pub(crate) threads: Option<u16>,
    /// Most memory that a step may take, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Running")]
    pub(crate) memory: Option<u64>,
}
