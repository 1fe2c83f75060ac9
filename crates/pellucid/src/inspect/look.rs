//! The numbers of one example: any value, and the error that reaches it.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use pellucid_compile::{Inside, inside};
use pellucid_graph::Graph;

use super::judge::Resolved;
use super::{InspectOptions, Judge};
use crate::error::Error;
use crate::explain::{Runner, Silent, bound};
use crate::input::Inputs;
use crate::model::Model;

/// What one example is inside a model.
pub(crate) struct Looked {
    /// The model, its sizes bound to the example's.
    pub(crate) graph: Graph,
    /// Values by name, `[1, …]`.
    values: BTreeMap<String, ArrayD<f64>>,
    /// Errors by the name of the value they belong to.
    errors: BTreeMap<String, ArrayD<f64>>,
    /// `loss` or `score`, and what it is.
    pub(crate) judged: Option<(&'static str, f64)>,
}

impl Looked {
    /// Runs `example`, one row, for the values that `wanted` names in the bound graph.
    pub(crate) fn new(
        model: &Model,
        example: &Inputs,
        options: &InspectOptions,
        wanted: impl FnOnce(&Graph) -> Vec<String>,
    ) -> Result<Self, Error> {
        let graph = bound(model.graph(), &example.shapes())?;
        let names = wanted(&graph);
        let compiled: Option<Inside> = match options.judge.objective(model)? {
            Some(objective) => Some(inside(&graph, objective, options.score.as_deref())?),
            None => None,
        };
        let mut fed = example.arrays().to_vec();
        if let (Judge::Loss(given), Some((name, kind))) =
            (&options.judge, compiled.as_ref().and_then(|inside| inside.answers.as_ref()))
        {
            let inside = compiled.as_ref().map_or(&graph, |inside| &inside.graph);
            let rank = inside.find(name).and_then(|id| inside.value(id).shape.as_ref().map(Vec::len));
            let answers = Resolved::new(given, model, *kind, example.len())?;
            fed.push((name.clone(), answers.rows(0..example.len(), rank.unwrap_or(1))?));
        }
        let run = compiled.as_ref().map_or(&graph, |inside| &inside.graph);
        let mut fetched: Vec<(String, bool, String)> =
            names.iter().map(|name| (name.clone(), false, name.clone())).collect();
        if let Some(inside) = &compiled {
            let known = |name: &String| inside.errors.iter().find(|(value, _)| value == name);
            fetched.extend(
                names
                    .iter()
                    .filter_map(|name| known(name).map(|(_, error)| (name.clone(), true, error.clone()))),
            );
            fetched.push((String::new(), false, inside.objective.clone()));
        }
        let wanted: Vec<&str> = fetched.iter().map(|(_, _, name)| name.as_str()).collect();
        let mut runner = Runner::new(run, &wanted, &options.limits, &Silent)?;
        let found = runner.run(&fed, example.len(), &wanted)?;
        let mut looked = Self { values: BTreeMap::new(), errors: BTreeMap::new(), judged: None, graph };
        for ((name, is_error, _), array) in fetched.into_iter().zip(found) {
            let array = array.to_f64();
            if name.is_empty() {
                let by = if matches!(options.judge, Judge::Loss(_)) { "loss" } else { "score" };
                looked.judged = array.iter().next().map(|value| (by, *value));
            } else if is_error {
                looked.errors.insert(name, array);
            } else {
                looked.values.insert(name, array);
            }
        }
        Ok(looked)
    }

    /// A value, `[1, …]`.
    pub(crate) fn value(&self, name: &str) -> Option<&ArrayD<f64>> {
        self.values.get(name)
    }

    /// A number of a value; `place` is behind the row.
    pub(crate) fn number(&self, name: &str, place: &[usize]) -> Option<f64> {
        at(self.values.get(name)?, place)
    }

    /// The error of a number.
    pub(crate) fn error(&self, name: &str, place: &[usize]) -> Option<f64> {
        at(self.errors.get(name)?, place)
    }
}

fn at(array: &ArrayD<f64>, place: &[usize]) -> Option<f64> {
    let whole: Vec<usize> = std::iter::once(0).chain(place.iter().copied()).collect();
    array.get(whole.as_slice()).copied()
}
