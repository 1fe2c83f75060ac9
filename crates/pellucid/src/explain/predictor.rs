//! Only predicting; and what predictions and explanations have in common.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array2;
use pellucid_compile::score;
use pellucid_graph::Graph;

use super::runner::Runner;
use super::{Limits, Progress};
use crate::array::Array;
use crate::attribution::{Prediction, Unit};
use crate::error::Error;
use crate::input::{Inputs, Shapes};
use crate::model::Model;

/// A model made ready to predict: opened once for inputs of one shape, then run over any number of batches.
pub struct Predictor<'a> {
    model: &'a Model,
    runner: Runner<'a>,
    /// Names of the outputs, and behind them of the value that is explained.
    wanted: Vec<String>,
    outputs: usize,
    unit: Unit,
    shapes: Shapes,
}

impl<'a> Predictor<'a> {
    /// Opens a session for rows of the sizes `shapes`, of which the first, the number of rows, does not matter; `score`
    /// names the output to look at, the first where it is `None`.
    ///
    /// # Errors
    /// Models that the engine cannot run.
    pub fn new(
        model: &'a Model,
        shapes: &Shapes,
        score: Option<&str>,
        limits: &Limits,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let graph = bound(model.graph(), shapes)?;
        let mut wanted: Vec<String> =
            graph.outputs().iter().map(|id| graph.value(*id).name.clone()).collect();
        let outputs = wanted.len();
        let mut unit = Unit::Raw;
        if let Ok(scored) = score::find(&graph, score) {
            wanted.push(graph.value(scored.value).name.clone());
            unit = unit_of(model, &graph.value(scored.output).name, scored.unit);
        }
        let names: Vec<&str> = wanted[..outputs].iter().map(String::as_str).collect();
        let runner = Runner::new(&graph, &names, limits, progress)?;
        Ok(Self { model, runner, wanted, outputs, unit, shapes: shapes.clone() })
    }

    /// Rows that are worth predicting at once: some batches for each thread. The bits of a prediction do not depend on how
    /// many rows are given at once, as long as it is a multiple of this.
    pub fn wave(&self) -> usize {
        self.runner.wave()
    }

    /// What the model says of `inputs`.
    ///
    /// # Errors
    /// Inputs of other sizes than the predictor was made for; cancelled runs; failures of the engine.
    pub fn predict(&mut self, inputs: &Inputs) -> Result<Prediction, Error> {
        inputs.require(&self.shapes)?;
        let wanted: Vec<&str> = self.wanted.iter().map(String::as_str).collect();
        let mut results = self.runner.run(inputs.arrays(), inputs.len(), &wanted)?;
        let scores = if self.wanted.len() > self.outputs { results.pop() } else { None };
        let outputs: Vec<(String, Array)> = self.wanted.iter().cloned().zip(results).collect();
        let scores = table(scores.as_ref().or(outputs.first().map(|(_, array)| array)), inputs.len())?;
        Ok(Prediction::new(outputs, scores, self.unit, self.model.labels().cloned()))
    }
}

/// The model with every size known that the inputs tell, but for the number of rows.
pub(crate) fn bound(graph: &Graph, shapes: &Shapes) -> Result<Graph, Error> {
    let mut rows = BTreeSet::new();
    for id in graph.inputs() {
        if let Some(first) = graph.value(*id).shape.as_ref().and_then(|shape| shape.first()) {
            first.symbols(&mut rows);
        }
    }
    let mut sizes = BTreeMap::new();
    for id in graph.inputs() {
        let value = graph.value(*id);
        let Some((_, shape)) = shapes.iter().find(|(name, _)| *name == value.name) else { continue };
        for (dim, size) in value.shape.iter().flatten().zip(shape) {
            if let Some(symbol) = dim.as_symbol().filter(|symbol| !rows.contains(*symbol)) {
                sizes.insert(symbol.to_owned(), i64::try_from(*size).unwrap_or(i64::MAX));
            }
        }
    }
    if sizes.is_empty() {
        return Ok(graph.clone());
    }
    graph
        .bind(&sizes)
        .map_err(|error| Error::Input { place: "inputs".to_owned(), problem: error.to_string() })
}

/// What the model's description says of an output, else what the graph shows.
pub(super) fn unit_of(model: &Model, output: &str, found: Unit) -> Unit {
    model.output_unit(output).unwrap_or(found)
}

/// Scores as [n, classes].
pub(super) fn table(scores: Option<&Array>, rows: usize) -> Result<Array2<f32>, Error> {
    let values = scores.map(Array::to_f32).unwrap_or_default();
    let columns = values.len().checked_div(rows).unwrap_or_default();
    let flat: Vec<f32> = values.iter().copied().collect();
    Array2::from_shape_vec((rows, columns), flat)
        .map_err(|_| Error::Internal(format!("{} scores do not fit {rows} rows", values.len())))
}
