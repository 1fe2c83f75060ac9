//! What a run sees of its own network between epochs.

use std::sync::Arc;

use ndarray::ArrayD;
use pellucid::{Array, Error};
use pellucid_compile::training::Role;
use pellucid_compile::{Kind, kind::Role as Function, ops};
use pellucid_data::{Batches, Plan};
use pellucid_graph::Graph;

use super::{Place, Run};
use crate::settings::LossName;
use crate::watch;

impl Run<'_> {
    /// What is to be said after an epoch: of losses, of the sizes of derivatives, of dead units.
    pub(super) fn said(&self, place: &Place) -> Result<Vec<String>, Error> {
        let guess =
            (self.fitted.loss == LossName::CrossEntropy).then(|| guessing(&self.fitted.train.by_class()));
        let mut said = watch::of_epochs(self.settings, &place.counts.history, guess);
        if place.counts.history.len() % 4 == 1 {
            let (norms, units) = self.look_inside(place)?;
            said.extend(watch::of_derivatives(&self.step, &norms));
            said.extend(watch::of_units(&units));
        }
        Ok(said)
    }

    /// Over one batch: the root mean square of each weight's derivative, and for each rectifier its units and those that
    /// are silent.
    #[expect(clippy::type_complexity, reason = "two lists that are read once")]
    fn look_inside(&self, place: &Place) -> Result<(Vec<f64>, Vec<(String, usize, usize)>), Error> {
        let plan = Plan::shuffled(self.train.len(), self.batch, self.settings.seed, u64::MAX);
        let mut plan = plan;
        plan.batches.truncate(1);
        plan.probabilities = (self.fitted.loss == LossName::CrossEntropy
            && self.settings.augment.mixup > 0.0)
            .then_some(self.fitted.outputs);
        let Some(batch) = Batches::start(Arc::clone(&self.train), plan, 0, 1, 1).next() else {
            return Ok((Vec::new(), Vec::new()));
        };
        let batch = batch?;
        let (rows, targets) = (self.rows(batch.rows, batch.len)?, self.targets(&batch.targets, batch.len)?);
        let dropped = self.dropped(u64::MAX)?;
        let step = &self.step;
        let mut fed: Vec<(&str, &Array)> = vec![(&self.fitted.input, &rows), (&step.targets, &targets)];
        fed.extend(
            step.dropped.iter().zip(&dropped).map(|(dropped, factors)| (dropped.input.as_str(), factors)),
        );
        let needed = step.state.iter().zip(&place.state).filter(|(carried, _)| carried.role == Role::Model);
        fed.extend(needed.map(|(carried, array)| (carried.input.as_str(), array)));
        let rectifiers = rectifiers(&self.fitted.graph);
        let mut wanted: Vec<&str> = step.weights.iter().map(|weight| weight.derivative.as_str()).collect();
        wanted.extend(rectifiers.iter().map(String::as_str));
        let results = self.session.run(&fed, &wanted)?;
        let (derivatives, values) = results.split_at(step.weights.len());
        let norms = derivatives
            .iter()
            .map(|array| {
                let array = array.to_f64();
                (array.iter().map(|value| value * value).sum::<f64>() / array.len().max(1) as f64).sqrt()
            })
            .collect();
        let units = rectifiers.iter().zip(values).map(|(name, value)| {
            let (units, dead) = silent(&value.to_f32());
            (name.clone(), units, dead)
        });
        Ok((norms, units.collect()))
    }
}

/// The cross-entropy of a prediction that knows the classes' shares alone.
fn guessing(by_class: &[usize]) -> f64 {
    let rows: usize = by_class.iter().sum();
    let shares = by_class.iter().filter(|count| **count > 0).map(|count| *count as f64 / rows as f64);
    shares.map(|share| -share * share.ln()).sum()
}

/// Names of the outputs of rectifiers.
fn rectifiers(graph: &Graph) -> Vec<String> {
    let is_rectifier = |node: &pellucid_graph::Node| {
        ops::lookup(&node.operator)
            .is_some_and(|operator| (operator.kind)(graph, node) == Kind::Elementwise(Function::Rectifier))
    };
    let outputs = graph.nodes().iter().filter(|node| is_rectifier(node)).filter_map(|node| node.output(0));
    outputs.map(|id| graph.value(id).name.clone()).collect()
}

/// Units along axis 1, and those that are 0 in every row and place.
fn silent(value: &ArrayD<f32>) -> (usize, usize) {
    if value.ndim() < 2 {
        return (0, 0);
    }
    let units = value.shape()[1];
    let dead =
        value.axis_iter(ndarray::Axis(1)).filter(|unit| unit.iter().all(|number| *number <= 0.0)).count();
    (units, dead)
}
