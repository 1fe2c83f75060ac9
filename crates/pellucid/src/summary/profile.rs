//! How long layers take: each one run by itself.

use std::collections::BTreeSet;
use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{ElementType, Graph, Value, ValueId, element_count};
use pellucid_runtime::{Session, open};
use serde::Serialize;

use super::{SummaryOptions, layers, parameters};
use crate::array::Array;
use crate::error::Error;
use crate::explain::{Limits, Progress};
use crate::model::Model;
use crate::sizes;

/// Runs that count, after one that does not.
const RUNS: u64 = 3;

/// Times of a model's layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// Name of the engine.
    pub engine: String,
    /// Seconds of a whole pass.
    pub whole: f64,
    /// Seconds of every layer, in the order of the summary; `None` of one that cannot be run alone.
    pub seconds: Vec<Option<f64>>,
}

impl Profile {
    /// What was measured, in a sentence.
    pub(super) fn meaning(&self) -> String {
        let sum: f64 = self.seconds.iter().flatten().sum();
        format!(
            "times are those of layers run one by one on {}, each the best of {RUNS}, on numbers that mean nothing: {} ms \
             together, where a whole pass takes {} ms, which hands results on without copying and may join layers; \
             shares are of the sum",
            self.engine,
            milliseconds(sum),
            milliseconds(self.whole)
        )
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1}", 1e3 * seconds)
}

/// Runs the whole model, then every layer by itself: a session is fed what the layer takes and asked for what it gives.
/// Cost: one evaluation of the model for the whole, and one for the layers together, four times each.
///
/// # Errors
/// Sizes that are not known; what the engine cannot run; [`Error::Cancelled`].
pub fn profile(
    model: &Model,
    options: &SummaryOptions,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Profile, Error> {
    let (graph, _) = sizes::bound(model.graph(), Some(options.rows), &options.sizes)?;
    let layers = layers::layers(&graph, &parameters::find(&graph));
    let session = open(&graph, &limits.engine_options())?;
    let total = layers.nodes.len() as u64 + 1;
    let outputs: Vec<ValueId> = graph.outputs().to_vec();
    let whole = timed(session.as_ref(), &graph, graph.inputs(), &outputs)?.ok_or_else(|| Error::Setting {
        name: "profile".to_owned(),
        problem: "an input has a size that is not known; set it with --size NAME=N".to_owned(),
    })?;
    progress.report(1, total);
    let mut seconds = Vec::with_capacity(layers.nodes.len());
    for (done, id) in (2u64..).zip(&layers.nodes) {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let taken: BTreeSet<ValueId> =
            graph.dependencies(*id).into_iter().filter(|input| !graph.value(*input).fixed).collect();
        let taken: Vec<ValueId> = taken.into_iter().collect();
        let given: Vec<ValueId> = graph.node(*id).output(0).into_iter().collect();
        // A part may be beyond an engine that can run the whole, such as one that only makes sense beside its neighbours.
        seconds.push(timed(session.as_ref(), &graph, &taken, &given).ok().flatten());
        progress.report(done, total);
    }
    Ok(Profile { engine: limits.engine.name().to_owned(), whole, seconds })
}

/// The shortest of several runs; `None` where a size is not known.
fn timed(
    session: &dyn Session,
    graph: &Graph,
    inputs: &[ValueId],
    outputs: &[ValueId],
) -> Result<Option<f64>, Error> {
    let arrays: Option<Vec<(&str, Array)>> =
        inputs.iter().map(|id| Some((graph.value(*id).name.as_str(), invented(graph.value(*id))?))).collect();
    let Some(arrays) = arrays else { return Ok(None) };
    let fed: Vec<(&str, &Array)> = arrays.iter().map(|(name, array)| (*name, array)).collect();
    let wanted: Vec<&str> = outputs.iter().map(|id| graph.value(*id).name.as_str()).collect();
    session.run(&fed, &wanted)?;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        session.run(&fed, &wanted)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(Some(best))
}

/// Numbers of a value's shape: between −1 and 1 where it holds floats, else 0, so that every index exists.
fn invented(value: &Value) -> Option<Array> {
    let sizes = value.static_shape()?;
    let shape = IxDyn(&sizes);
    let wave = |at: usize| (at as f32 * 0.618).sin();
    Some(match value.element {
        None => return None,
        Some(ElementType::Bool) => Array::Bool(ArrayD::from_elem(shape, false)),
        Some(element) if element.is_float() => {
            let count = element_count(&sizes)?;
            Array::F32(ArrayD::from_shape_vec(shape, (0..count).map(wave).collect()).ok()?)
        }
        Some(_) => Array::I64(ArrayD::zeros(shape)),
    })
}
