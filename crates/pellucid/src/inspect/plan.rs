//! Which values of a model are looked at, and as what.

use std::collections::BTreeMap;

use pellucid_compile::{Form, Kind, Role, channel_axes, ops};
use pellucid_graph::{Graph, Node, NodeId, ValueId};

use super::Inspection;
use crate::error::Error;
use crate::input::Shapes;
use crate::model::Model;
use crate::summary::{Layer, SummaryOptions, summary};

/// A layer that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// As the summary tells of it.
    pub(crate) layer: Layer,
    /// What the operator is.
    pub(crate) kind: Option<Kind>,
    /// Of an activation function: the value that it is applied to.
    pub(crate) pre_activation: Option<String>,
    /// Of a bounded function: its limits.
    pub(crate) limits: Option<(f32, f32)>,
    /// The axis along which its units lie.
    pub(crate) axis: usize,
    /// Whether its first axis is the rows. Attention may merge rows and heads.
    pub(crate) by_row: bool,
    /// The value that it takes, where that depends on an input.
    pub(crate) takes: Option<String>,
    /// The value whose numbers those are: `takes`, before what only moves numbers.
    pub(crate) source: Option<String>,
}

impl Watched {
    /// Whether it is an activation function.
    pub(crate) fn role(&self) -> Option<Role> {
        match self.kind {
            Some(Kind::Elementwise(role)) => Some(role),
            _ => None,
        }
    }

    /// Whether a unit fires where it is above 0.
    pub(crate) fn rectifies(&self) -> bool {
        matches!(self.role(), Some(Role::Rectifier | Role::Gate))
    }

    /// Where it gives numbers that are not finite and what it takes is: how many.
    pub(crate) fn not_finite(&self, inspection: &Inspection) -> Option<u64> {
        let of = |value: &str| {
            let layer = inspection.layers.iter().find(|layer| layer.value == value)?;
            Some(layer.not_finite)
        };
        let own = of(&self.layer.value).filter(|count| *count > 0)?;
        let before = self.source.as_deref().and_then(of).unwrap_or(0);
        (before == 0).then_some(own)
    }

    /// Whether it sums products with weights.
    pub(crate) fn is_weighted(&self) -> bool {
        matches!(self.kind, Some(Kind::Linear(Form::Convolution | Form::Dense)))
    }
}

/// The layers of `model`, whose sizes are bound in `graph` to those of `shapes`.
pub(crate) fn plan(model: &Model, graph: &Graph, shapes: &Shapes) -> Result<Vec<Watched>, Error> {
    let options =
        SummaryOptions { sizes: sizes(model.graph(), shapes), weights: false, ..SummaryOptions::default() };
    let layers = summary(model, &options)?.layers;
    let depends = dependent(graph);
    let axes = unit_axes(graph);
    let mut watched = Vec::new();
    for layer in layers {
        let Some(value) = graph.find(&layer.value) else { continue };
        let Some(id) = graph.producer_of(value) else { continue };
        let node = graph.node(id);
        let kind = kind(graph, id);
        let input = node.inputs.iter().flatten().copied().find(|input| depends[input.index()]);
        let takes = input.map(|input| graph.value(input).name.clone());
        let source = input.map(|input| graph.value(moved_from(graph, &depends, input)).name.clone());
        watched.push(Watched {
            pre_activation: takes.clone().filter(|_| matches!(kind, Some(Kind::Elementwise(_)))),
            limits: if kind == Some(Kind::Elementwise(Role::Saturating)) {
                limits(graph, node)
            } else {
                None
            },
            axis: axes[value.index()],
            by_row: has_rows(graph, value),
            takes,
            source,
            kind,
            layer,
        });
    }
    Ok(watched)
}

/// Back through what only moves numbers.
fn moved_from(graph: &Graph, depends: &[bool], mut value: ValueId) -> ValueId {
    while let Some(id) = graph.producer_of(value).filter(|id| kind(graph, *id) == Some(Kind::Move)) {
        let mut inputs = graph.node(id).inputs.iter().flatten().filter(|input| depends[input.index()]);
        match (inputs.next(), inputs.next()) {
            (Some(only), None) => value = *only,
            _ => break,
        }
    }
    value
}

fn kind(graph: &Graph, id: NodeId) -> Option<Kind> {
    let node = graph.node(id);
    ops::lookup(&node.operator).map(|operator| (operator.kind)(graph, node))
}

/// Sizes that the model leaves open, as `shapes` has them, but for the number of rows.
pub(crate) fn sizes(graph: &Graph, shapes: &Shapes) -> BTreeMap<String, i64> {
    let mut sizes = BTreeMap::new();
    for id in graph.inputs() {
        let value = graph.value(*id);
        let Some((_, shape)) = shapes.iter().find(|(name, _)| *name == value.name) else { continue };
        for (axis, (dim, size)) in value.shape.iter().flatten().zip(shape).enumerate() {
            if let (Some(symbol), true) = (dim.as_symbol(), axis > 0) {
                sizes.insert(symbol.to_owned(), i64::try_from(*size).unwrap_or(i64::MAX));
            }
        }
    }
    sizes
}

/// Whether the first axis of a value is the rows of an input.
pub(crate) fn has_rows(graph: &Graph, value: ValueId) -> bool {
    let first = |id: ValueId| graph.value(id).shape.as_ref().and_then(|shape| shape.first().cloned());
    first(value).is_some_and(|rows| graph.inputs().iter().any(|input| first(*input) == Some(rows.clone())))
}

/// Values that depend on an input.
pub(crate) fn dependent(graph: &Graph) -> Vec<bool> {
    let mut depends = vec![false; graph.values().len()];
    for id in graph.inputs() {
        depends[id.index()] = true;
    }
    for id in graph.node_ids() {
        if graph.dependencies(id).iter().any(|input| depends[input.index()]) {
            for output in graph.node(id).outputs.iter().flatten() {
                depends[output.index()] = true;
            }
        }
    }
    depends
}

/// The limits of a bounded function.
fn limits(graph: &Graph, node: &Node) -> Option<(f32, f32)> {
    let number = |position: usize| {
        let tensor = graph.constant(node.input(position)?)?;
        tensor.to_f32().first().copied().filter(|value| value.is_finite())
    };
    match node.operator.as_str() {
        "Tanh" | "Erf" | "Softsign" | "Sin" | "Cos" => Some((-1.0, 1.0)),
        "Sigmoid" | "HardSigmoid" => Some((0.0, 1.0)),
        "Clip" => Some((number(1)?, number(2)?)).filter(|(low, high)| low < high),
        _ => None,
    }
}

/// The axis along which units lie, by value: channels, which stand behind the rows where there is space, and last in
/// what matrices give.
pub(crate) fn unit_axes(graph: &Graph) -> Vec<usize> {
    let rank = |id: ValueId| graph.value(id).shape.as_ref().map_or(2, Vec::len);
    let known = channel_axes(graph);
    let usual = |id: ValueId| {
        let rank = rank(id);
        known[id.index()].unwrap_or(if rank >= 4 { 1 } else { rank.saturating_sub(1) })
    };
    let mut axes: Vec<usize> = graph.value_ids().map(usual).collect();
    for id in graph.node_ids() {
        let node = graph.node(id);
        for output in node.outputs.iter().flatten() {
            let own = rank(*output);
            let like = node.inputs.iter().flatten().find(|input| {
                graph.constant(**input).is_none()
                    && rank(**input) == own
                    && graph.value(**input).shape == graph.value(*output).shape
            });
            let axis = match (node.operator.as_str(), like) {
                ("MatMul" | "Gemm" | "LayerNormalization" | "RMSNormalization", _) => own.saturating_sub(1),
                (name, _) if OF_CHANNELS.contains(&name) && own > 2 => 1,
                (_, Some(like)) => axes[like.index()],
                _ => usual(*output),
            };
            axes[output.index()] = axis.min(own.saturating_sub(1));
        }
    }
    axes
}

/// Operators that keep channels behind the rows.
const OF_CHANNELS: &[&str] = &[
    "Conv",
    "ConvTranspose",
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "MaxPool",
    "AveragePool",
    "LpPool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "LRN",
    "PRelu",
    "Resize",
];
