//! One file a command.

pub(crate) mod compare;
pub(crate) mod compile;
pub(crate) mod coverage;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod methods;
pub(crate) mod new;
pub(crate) mod package;
pub(crate) mod predict;
pub(crate) mod show;
pub(crate) mod summary;
pub(crate) mod trace;
pub(crate) mod train;
pub(crate) mod verify;

use std::path::{Path, PathBuf};

use pellucid::{Baseline, Error, Labels, Limits, Model, TargetChoice};

use crate::arguments::{Describing, Running};

/// Opens a model and adds what the arguments say of it.
fn open(path: &Path, describing: &Describing) -> Result<Model, Error> {
    let mut model = Model::open(path)?;
    if let Some(labels) = &describing.labels {
        model = model.with_labels(Labels::read(labels)?);
    }
    model.with_preprocessing(&describing.image)
}

fn limits(running: &Running) -> Limits {
    Limits {
        engine: running.engine,
        device: running.device,
        threads: running.threads.map(usize::from),
        memory: running.memory,
        batch: running.batch.and_then(|rows| usize::try_from(rows).ok()),
    }
}

fn baseline(text: &str) -> Baseline {
    match text {
        "zero" => Baseline::Zero,
        "mean" => Baseline::Mean,
        "blur" => Baseline::Blur,
        file => Baseline::File(PathBuf::from(file)),
    }
}

/// What is explained, by the model's labels where it has some.
fn targets(model: &Model, text: &str) -> Vec<TargetChoice> {
    TargetChoice::list(text, model.labels().map(AsRef::as_ref))
}
