//! What a run is, in one hash, in `run.json`, and in words.

use pellucid::Error;
use pellucid::preprocessing::ImageInput;
use pellucid_data::Dataset;
use pellucid_graph::Tensor;
use sha2::{Digest, Sha256};

use super::Run;
use crate::checkpoint::{hex, write_atomically};
use crate::record::{RUN, START};
use crate::watch;

impl Run<'_> {
    /// How pictures become the network's input; `None` for rows that are no pictures.
    fn preparation(&self) -> Option<&ImageInput> {
        self.fitted
            .stored
            .as_ref()
            .and_then(|_| self.fitted.description.preprocessing.get(&self.fitted.input))
    }

    /// One hash of settings, data, engine and the model's file. How often checkpoints are written changes nothing.
    pub(super) fn identify(&self) -> Result<String, Error> {
        let mut settings = self.settings.clone();
        settings.checkpoint_seconds = 60.0;
        settings.checkpoint_steps = None;
        let mut hash = Sha256::new();
        hash.update(settings.to_toml()?);
        hash.update(&self.fitted.train.hash);
        hash.update(serde_json::to_string(&self.preparation()).unwrap_or_default());
        hash.update(self.engine.name());
        let start = self.folder.join(START);
        hash.update(std::fs::read(&start).map_err(|source| Error::Read { path: start, source })?);
        Ok(hex(&hash.finalize()))
    }

    /// Writes `run.json`, and tells what the run is about.
    pub(super) fn record(&self) -> Result<(), Error> {
        let count = |tensor: &Tensor| tensor.len();
        let trained: usize = self
            .step
            .state
            .iter()
            .filter(|carried| self.step.weights.iter().any(|weight| weight.weight == carried.input))
            .map(|carried| count(&carried.start))
            .sum();
        let text = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "identity": self.identity,
            "data": {
                "name": self.fitted.train.name,
                "sha256": self.fitted.train.hash,
                "rows": self.fitted.train.len(),
                "held_out": self.fitted.validation.as_ref().map(Dataset::len),
                "test": self.fitted.test.as_ref().map(Dataset::len),
            },
            "weights": { "tensors": self.step.weights.len(), "numbers": trained },
            "frozen": self.step.frozen,
            "input": {
                "name": self.fitted.input,
                "shape": self.fitted.shape,
                "pictures": self.fitted.stored,
                "preparation": self.preparation(),
            },
            "batch": self.batch,
            "steps": self.steps(),
        });
        write_atomically(&self.folder.join(RUN), format!("{text:#}\n").as_bytes())?;
        for note in &self.fitted.notes {
            self.watcher.note(note);
        }
        let (all, frozen) = self.step.normalizations;
        self.watcher.note(&format!(
            "{trained} numbers in {} weights are trained on {} rows, {} a step, {} steps{}",
            self.step.weights.len(),
            self.fitted.train.len(),
            self.batch,
            self.steps(),
            self.fitted
                .validation
                .as_ref()
                .map_or_else(String::new, |held| format!("; {} rows are held out", held.len()))
        ));
        if !self.step.frozen.is_empty() {
            self.watcher.note(&format!("{} weights are frozen", self.step.frozen.len()));
        }
        let convolutions = self.fitted.graph.nodes().iter().filter(|node| node.operator == "Conv").count();
        if all == 0 && convolutions > 4 {
            self.watcher.note(
                "no batch normalisation is in the file: an exporter may have folded it into the convolutions, which are \
                 trained as they are; export unfolded to train with it",
            );
        } else if frozen > 0 {
            self.watcher
                .note(&format!("{frozen} of {all} batch normalisations keep their running statistics"));
        }
        if let Some(note) = watch::of_statistics(&self.step, self.steps()) {
            self.watcher.note(&note);
        }
        Ok(())
    }
}
