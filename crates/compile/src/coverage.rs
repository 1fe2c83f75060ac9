//! Coverage: which rule meets which node, known before anything runs.

use pellucid_graph::{Graph, NodeId, ValueId};

use crate::error::{CompileError, Result};
use crate::kind::Kind;
use crate::method::Method;
use crate::ops;
use crate::passes::batch_normalizations;
use crate::program::{Request, collected, compiled, float_inputs};
use crate::walk::path;

/// A node on the way of the signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Position of the node.
    pub node: NodeId,
    /// Operator.
    pub operator: String,
    /// Name of its first output.
    pub output: String,
    /// What it is to a rule; `None` where the operator is not known.
    pub kind: Option<Kind>,
    /// The rule that passes it; `None` where nothing does.
    pub rule: Option<&'static str>,
    /// The rule with its parameters; empty where there is none.
    pub parameters: String,
    /// Whether the method has no rule for it, so that the derivative stands in.
    pub fallback: bool,
    /// Of relevance: why some may be lost or made here; `None` where what arrives is what leaves.
    pub breaks: Option<&'static str>,
    /// What the rule does at kinks and ties; empty where there are none.
    pub convention: &'static str,
    /// Why nothing passes it.
    pub problem: Option<String>,
}

/// Which rule meets which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Nodes on the way from the score back to what is collected, in execution order.
    pub nodes: Vec<Met>,
    /// Nodes of the model in all.
    pub total: usize,
    /// The layer looked at.
    pub layer: Option<String>,
    /// Whether the method passes relevance, so that [`Met::breaks`] says something.
    pub relevance: bool,
    /// Batch normalisations that were folded into the layers beside them.
    pub folded: usize,
}

impl Coverage {
    /// Nodes that nothing passes.
    pub fn offences(&self) -> impl Iterator<Item = &Met> {
        self.nodes.iter().filter(|met| met.problem.is_some())
    }

    /// Nodes that the derivative passes, since the method has no rule for them.
    pub fn fallbacks(&self) -> impl Iterator<Item = &Met> {
        self.nodes.iter().filter(|met| met.fallback)
    }

    /// Nodes where relevance may be lost or made.
    pub fn breaks(&self) -> impl Iterator<Item = &Met> {
        self.nodes.iter().filter(|met| met.breaks.is_some())
    }

    /// Share of the nodes on the way that a rule passes, between 0 and 1.
    pub fn share(&self) -> f64 {
        let covered = self.nodes.iter().filter(|met| met.problem.is_none()).count();
        if self.nodes.is_empty() { 1.0 } else { covered as f64 / self.nodes.len() as f64 }
    }
}

/// Says for every node on the way whether and how `method` passes it.
///
/// # Errors
/// Only what keeps the way from being known: no output to explain, no such layer.
pub fn coverage(graph: &Graph, method: &Method, request: &Request) -> Result<Coverage> {
    let model = graph;
    let graph = &*request.prepared(model, method)?;
    let scored = request.scored(graph)?;
    let collected = collected(graph, method, request, &scored)?;
    let sought: &[ValueId] = if method.readout.takes_signal() { &collected } else { &[] };
    let mut passed = path(graph, &[scored.value], sought);
    if method.readout.takes_tangent() {
        // What the layer changes by comes from the inputs.
        passed.extend(path(graph, &collected, &float_inputs(graph)));
        passed.sort_unstable();
        passed.dedup();
    }
    let plan = method.rules.plan(graph, &passed);
    let mut nodes: Vec<Met> = passed
        .into_iter()
        .map(|id| {
            let node = graph.node(id);
            let planned = plan.rule(id);
            let operator = ops::lookup(&node.operator);
            let kind = operator.map(|operator| (operator.kind)(graph, node));
            let output = node.outputs.iter().flatten().next();
            Met {
                node: id,
                operator: node.operator.clone(),
                output: output.map_or_else(String::new, |id| graph.value(*id).name.clone()),
                kind,
                rule: kind.map(|_| planned.rule.name()),
                parameters: if kind.is_some() { planned.rule.describe() } else { String::new() },
                fallback: kind.is_some() && planned.fallback,
                breaks: if method.is_relevance() { planned.breaks } else { None },
                convention: operator.map_or("", |operator| operator.convention),
                problem: operator.is_none().then(|| "no derivative is known".to_owned()),
            }
        })
        .collect();
    // What a derivative cannot do with this node's sizes and attributes shows only when it is built.
    match compiled(graph, method, request) {
        Ok(_) => {}
        Err(CompileError::Unsupported(offences)) => {
            for offence in offences {
                if let Some(met) = nodes.iter_mut().find(|met| met.node == offence.node) {
                    met.rule = None;
                    met.fallback = false;
                    met.problem = Some(offence.problem);
                }
            }
        }
        Err(other) => return Err(other),
    }
    let layer = match method.collect {
        crate::method::Collect::Layer => collected.first().map(|id| graph.value(*id).name.clone()),
        crate::method::Collect::InputsAndMap => collected.last().map(|id| graph.value(*id).name.clone()),
        crate::method::Collect::Inputs => None,
    };
    let folded = batch_normalizations(model) - batch_normalizations(graph);
    let relevance = method.is_relevance();
    Ok(Coverage { nodes, total: graph.nodes().len(), layer, relevance, folded })
}
