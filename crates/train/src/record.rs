//! What a run's folder holds beside the checkpoint: settings, hashes, metrics and models.

use std::fmt::Write as _;
use std::path::Path;

use pellucid::{Error, Model};
use pellucid_compile::lower;
use pellucid_graph::Graph;
use pellucid_graph::onnx::{EncodeOptions, encode};

use crate::checkpoint::{Epoch, write_atomically};

/// Settings of the run, complete.
pub(crate) const SETTINGS: &str = "settings.toml";
/// A line an epoch.
pub(crate) const METRICS: &str = "metrics.csv";
/// Hashes of data and model, and what is known of the run.
pub(crate) const RUN: &str = "run.json";
/// The model as it was before the first step.
pub(crate) const START: &str = "start.onnx";
/// The trained model.
pub(crate) const MODEL: &str = "model.onnx";

/// The lines of `metrics.csv`.
pub(crate) fn metrics(history: &[Epoch]) -> String {
    let mut text = String::from(
        "epoch,step,learning_rate,loss,accuracy,validation_loss,validation_accuracy,gradient_norm,seconds\n",
    );
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.6}"));
    for row in history {
        let _ = writeln!(
            text,
            "{},{},{:.6e},{:.6},{},{},{},{:.4e},{:.1}",
            row.epoch,
            row.step,
            row.learning_rate,
            row.loss,
            optional(row.accuracy),
            optional(row.validation_loss),
            optional(row.validation_accuracy),
            row.norm,
            row.seconds
        );
    }
    text
}

/// Writes a graph as an ONNX file.
pub(crate) fn write_model(path: &Path, graph: &Graph) -> Result<(), Error> {
    let encoded = encode(&lower(graph)?, &EncodeOptions::default())
        .map_err(|error| Error::Model { place: path.display().to_string(), problem: error.to_string() })?;
    write_atomically(path, &encoded.model)
}

/// Reads a model of the run's folder.
pub(crate) fn read_model(folder: &Path) -> Result<Model, Error> {
    Model::open(folder.join(START))
}
