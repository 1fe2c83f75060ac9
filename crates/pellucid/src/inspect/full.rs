//! Every neuron of a network, as a textbook tabulates it.

use pellucid_graph::ElementType;
use serde::Serialize;

use super::InspectOptions;
use super::look::Looked;
use super::plan::{dependent, plan};
use super::trace::formula;
use crate::error::Error;
use crate::input::Inputs;
use crate::model::Model;

/// A layer's neurons on one example.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FullLayer {
    /// Name of the layer whose sum z is.
    pub name: String,
    /// The activation function and its formula, where one follows.
    pub function: Option<(String, String)>,
    /// Neurons, in order.
    pub neurons: Vec<FullNeuron>,
}

/// A neuron.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FullNeuron {
    /// The pre-activation.
    pub z: f64,
    /// The activation; z itself where no function follows.
    pub a: f64,
    /// ∂objective/∂a.
    pub error: Option<f64>,
    /// δ = ∂objective/∂z.
    pub delta: Option<f64>,
}

/// What a model is judged by, `loss` or `score`, and what that is.
pub type ByAndValue = (&'static str, f64);

/// The neurons of every layer of single numbers on `example`, one row, and what the model is judged by with its value.
///
/// # Errors
/// Models without such layers; as [`inspect`](super::inspect).
pub fn full(
    model: &Model,
    example: &Inputs,
    options: &InspectOptions,
) -> Result<(Vec<FullLayer>, Option<ByAndValue>), Error> {
    let looked = Looked::new(model, example, options, |graph| {
        let depends = dependent(graph);
        let wanted = graph.value_ids().filter(|id| {
            let value = graph.value(*id);
            depends[id.index()] && value.element.is_some_and(ElementType::is_float)
        });
        wanted.map(|id| graph.value(id).name.clone()).collect()
    })?;
    let graph = &looked.graph;
    let watched = plan(model, graph, &example.shapes())?;
    let mut layers = Vec::new();
    for (position, layer) in watched.iter().enumerate() {
        let value = &layer.layer.value;
        let Some(array) = looked.value(value).filter(|array| array.shape().len() == 2) else { continue };
        let function = watched.iter().find(|next| next.pre_activation.as_ref() == Some(value));
        // An activation function stands in the row of what it is applied to; a bias that is added, in that of the sum.
        let added = watched.get(position + 1).is_some_and(|next| {
            next.source.as_ref() == Some(value)
                && matches!(next.layer.kind.as_str(), "Add" | "BatchNormalization")
        });
        if layer.pre_activation.is_some() || added || layer.layer.kind == "Softmax" {
            continue;
        }
        let after = function.map_or(value, |function| &function.layer.value);
        let neuron = |unit: usize| FullNeuron {
            z: looked.number(value, &[unit]).unwrap_or(f64::NAN),
            a: looked.number(after, &[unit]).unwrap_or(f64::NAN),
            error: looked.error(after, &[unit]),
            delta: looked.error(value, &[unit]),
        };
        let node = |value: &str| graph.producer_of(graph.find(value)?).map(|id| graph.node(id));
        layers.push(FullLayer {
            name: layer.layer.name.clone(),
            function: function.and_then(|function| {
                let node = node(&function.layer.value)?;
                Some((node.operator.clone(), formula(graph, node)))
            }),
            neurons: (0..array.shape()[1]).map(neuron).collect(),
        });
    }
    if layers.is_empty() {
        return Err(Error::Setting {
            name: "full".to_owned(),
            problem: "no layer gives single numbers, [n, units], so that there is no table of neurons; use trace for one \
                      neuron of a map"
                .to_owned(),
        });
    }
    Ok((layers, looked.judged))
}
