//! What is measured on rows that nothing is learned from, and the model in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use pellucid::{Array, Error};
use pellucid_compile::training::with_weights;
use pellucid_data::{Batches, Dataset, Plan};
use pellucid_graph::Tensor;

use super::{Outcome, Place, Run};
use crate::measure::Measured;
use crate::record::{MODEL, write_model};

impl Run<'_> {
    /// Losses and right answers over rows, by the newest weights, or their average where there is one.
    pub(super) fn measure(&self, place: &Place, data: &Dataset) -> Result<Measured, Error> {
        let weights: Vec<(&str, &Array)> =
            self.weights.iter().map(|(name, at)| (name.as_str(), &place.state[*at])).collect();
        self.measured(&weights, data)
    }

    fn measured(&self, weights: &[(&str, &Array)], data: &Dataset) -> Result<Measured, Error> {
        let mut measured = Measured::default();
        let plan = Plan::in_order(data.len(), self.batch);
        let data = Arc::new(data.clone());
        for batch in Batches::start(data, plan, 0, self.threads.clamp(1, 4), 4) {
            let mut batch = batch?;
            let size = batch.rows.len() / batch.len.max(1);
            if self.fitted.rows.is_none() {
                // The model takes so many rows and no other number.
                batch.rows.resize(self.batch * size, 0.0);
            }
            let rows =
                self.rows(batch.rows, if self.fitted.rows.is_none() { self.batch } else { batch.len })?;
            let mut fed: Vec<(&str, &Array)> = vec![(&self.fitted.input, &rows)];
            fed.extend(weights);
            let results = self.measuring.run(&fed, &[&self.step.prediction])?;
            let found: Vec<f32> =
                results.first().map(|array| array.to_f32().iter().copied().collect()).unwrap_or_default();
            let outputs = self.fitted.outputs;
            let kept = found.get(..batch.len * outputs).unwrap_or(&found);
            measured.add(kept, &batch.targets, batch.len, self.fitted.loss, self.settings.delta);
        }
        Ok(measured)
    }

    /// Writes the model: the best weights where they were kept, else the last, or their average.
    pub(super) fn finish(&self, place: Place, began: Instant, before: f64) -> Result<Outcome, Error> {
        let newest: BTreeMap<String, Array> =
            self.weights.iter().map(|(name, at)| (name.clone(), place.state[*at].clone())).collect();
        let kept = if place.best.is_empty() { &newest } else { &place.best };
        let mut tensors = BTreeMap::new();
        for (name, array) in kept {
            let constant = self.fitted.graph.find(name).and_then(|id| self.fitted.graph.constant(id));
            let element = constant.map_or(pellucid_graph::ElementType::F32, Tensor::element);
            let values: Vec<f64> = array.to_f64().iter().copied().collect();
            let tensor = Tensor::from_values(element, array.shape().to_vec(), &values)
                .map_err(|error| Error::Internal(error.to_string()))?;
            tensors.insert(name.clone(), tensor);
        }
        let weights: Vec<(&str, &Array)> = kept.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let test = match &self.fitted.test {
            Some(data) => Some(self.measured(&weights, data)?),
            None => None,
        };
        let mut graph = with_weights(&self.fitted.graph, &tensors)?;
        graph.metadata.extend(self.fitted.description.to_metadata());
        graph
            .metadata
            .insert("pellucid.training".to_owned(), format!("{{\"identity\":{:?}}}", self.identity));
        let path = self.folder.join(MODEL);
        write_model(&path, &graph)?;
        let history = place.counts.history;
        let last = history.last().map(|epoch| epoch.epoch);
        Ok(Outcome {
            model: Some(path),
            best_epoch: place.counts.best_epoch.filter(|best| !place.best.is_empty() && Some(*best) != last),
            history,
            test,
            seconds: before + began.elapsed().as_secs_f64(),
        })
    }
}
