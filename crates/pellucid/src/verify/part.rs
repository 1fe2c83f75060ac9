//! The first node whose value differs between two engines.

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::{Request, Target as Compiled, program};
use pellucid_graph::{Graph, Node, ValueId};
use pellucid_runtime::{Engine, open};

use super::{Verify, apart, gradient_method};
use crate::array::Array;
use crate::error::Error;
use crate::explain::{Limits, Progress, bound};
use crate::input::Inputs;
use crate::model::Model;

/// Values fetched in one run: all of a large network's at once would not fit.
const TOGETHER: usize = 48;

/// A node is blamed where its result differs by more than this, and by this many times what its inputs differ.
const NOTICED: f64 = 1e-5;
const TIMES: f64 = 10.0;

/// Where an engine parts from the measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Parting {
    /// Name of the engine.
    pub engine: String,
    /// Which result parts: `prediction`, `gradient` or `attribution`.
    pub quantity: String,
    /// The first node whose result differs though its inputs hardly do: `None` where there is none, which means that
    /// the differences grow from node to node, or that the engine gives no result.
    pub node: Option<Place>,
}

/// A node and how far its result differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Name of the value.
    pub value: String,
    /// Name of the node; may be empty.
    pub node: String,
    /// Operator of the node.
    pub operator: String,
    /// Whether the node is one of the model, rather than of its derivative.
    pub of_model: bool,
    /// ‖a − b‖ / ‖b‖ of the value.
    pub difference: f64,
}

/// Looks for the node. What cannot be run node by node is left unfound.
pub(super) fn find(
    model: &Model,
    inputs: &Inputs,
    options: &Verify,
    (engine, measure): (Engine, Engine),
    (quantity, targets): (&'static str, Option<&[usize]>),
    progress: &dyn Progress,
) -> Result<Parting, Error> {
    let parting = |node| Parting { engine: engine.name().to_owned(), quantity: quantity.to_owned(), node };
    let model_graph = bound(model.graph(), &inputs.shapes())?;
    let model_nodes = model_graph.nodes().len();
    let mut fed: Vec<(String, Array)> = inputs.arrays().to_vec();
    let request = Request { target: Compiled::Input, output: options.score.clone(), ..Request::default() };
    let graph = match program(&model_graph, &gradient_method()?, &request) {
        Ok(program) if quantity != "prediction" => {
            if let (Some(name), Some(classes)) = (&program.target, targets) {
                let classes = classes.iter().map(|class| i64::try_from(*class).unwrap_or(0)).collect();
                let classes = ArrayD::from_shape_vec(IxDyn(&[inputs.len()]), classes)
                    .map_err(|error| Error::Internal(error.to_string()))?;
                fed.push((name.clone(), Array::I64(classes)));
            }
            program.graph
        }
        _ => model_graph,
    };
    let fetch = |engine: Engine, wanted: &[&str]| {
        let limits = Limits { engine, ..options.limits };
        let session = open(&graph, &limits.engine_options())?;
        let fed: Vec<(&str, &Array)> = fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
        session.run(&fed, wanted)
    };
    let mut differences = vec![0.0f64; graph.values().len()];
    let nodes: Vec<&Node> = graph.nodes().iter().collect();
    for (chunk, first) in nodes.chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let made: Vec<ValueId> =
            chunk.iter().flat_map(|node| node.outputs.iter().flatten().copied()).collect();
        let names: Vec<&str> = made.iter().map(|id| graph.value(*id).name.as_str()).collect();
        let (Ok(found), Ok(right)) = (fetch(engine, &names), fetch(measure, &names)) else {
            return Ok(parting(None));
        };
        for (id, (found, right)) in made.iter().zip(found.iter().zip(&right)) {
            differences[id.index()] = apart(found, right);
        }
        for (node, position) in chunk.iter().zip(first..) {
            if let Some(place) = blamed(&graph, node, &differences) {
                return Ok(parting(Some(Place { of_model: position < model_nodes, ..place })));
            }
        }
    }
    Ok(parting(None))
}

/// The node's result, if it differs though its inputs hardly do.
pub(super) fn blamed(graph: &Graph, node: &Node, differences: &[f64]) -> Option<Place> {
    let given = node.inputs.iter().flatten().map(|id| differences[id.index()]).fold(0.0, f64::max);
    node.outputs.iter().flatten().find_map(|id| {
        let value = graph.value(*id);
        // A comparison flips where rounding lies on its threshold: what it decides is looked at, not the decision.
        let number = value.element.is_none_or(pellucid_graph::ElementType::is_float);
        let difference = differences[id.index()];
        (number && difference > NOTICED.max(TIMES * given)).then(|| Place {
            value: value.name.clone(),
            node: node.name.clone(),
            operator: node.operator.clone(),
            of_model: true,
            difference,
        })
    })
}
