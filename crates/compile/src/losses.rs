//! Losses: a graph that says, node by node, how much relevance arrives and how much leaves.

use pellucid_graph::{Graph, NodeId, ValueId};

use crate::build::{Builder, Keep, Var};
use crate::error::{CompileError, Result};
use crate::method::Method;
use crate::program::{Request, collected, name_output, rows, started};
use crate::score::Aim;
use crate::walk::walk_noting;

/// A compiled graph that measures where relevance is lost and made.
#[derive(Debug, Clone)]
pub struct Losses {
    /// The graph: the model's inputs and the target's, and as outputs `score` and `relevance`.
    pub graph: Graph,
    /// Name of the target input; `None` where it is fixed.
    pub target: Option<String>,
    /// Name of the input of the classes that are taken away.
    pub target_minus: Option<String>,
    /// Name of the score, `[n]`.
    pub score: String,
    /// Name of what arrives at and leaves each node, `[nodes, 2]`, summed over all rows.
    pub relevance: String,
    /// The nodes, in the order in which relevance meets them, and the name of each one's first output.
    pub nodes: Vec<(NodeId, String)>,
}

/// Compiles what `method` says into sums at each node on the way. Costs what the attribution costs, and a sum over each
/// signal.
///
/// # Errors
/// As [`program`](crate::program()); methods whose signals are no relevance.
pub fn losses(graph: &Graph, method: &Method, request: &Request) -> Result<Losses> {
    if !method.is_relevance() {
        return Err(CompileError::Setting(
            "the method passes derivatives, which are not lost or made: choose a method of relevance, or leave the \
             inputs out"
                .to_owned(),
        ));
    }
    let graph = &*method.prepared(graph)?;
    let scored = request.scored(graph)?;
    let wanted = collected(graph, method, request, &scored)?;
    let builder = Builder::new(graph.clone());
    let aim = Aim::new(&builder, &scored, request.target, &rows(graph, &scored)?)?;
    let (score, seed) = started(builder.var(scored.value), &scored, &aim, method)?;
    let mut nodes = Vec::new();
    let mut sums = Vec::new();
    let seeds = [(scored.value, seed)];
    walk_noting(&builder, &seeds, &wanted, &method.rules, &mut |step, found| {
        let output = step.node.outputs.iter().flatten().next().copied();
        let Some(id) = output.and_then(|output| graph.producer_of(output)) else { return Ok(()) };
        let arrived = (0..step.node.outputs.len()).filter_map(|index| step.signal(index));
        let arrived = summed(&builder, arrived.map(Ok))?;
        // What the walk delivers, of each input's shape.
        let left = found.iter().enumerate().filter_map(|(index, signal)| {
            let (signal, input) = ((*signal)?, step.node.input(index)?);
            step.wants(index).then(|| signal.fit(builder.var(input)))
        });
        let left = summed(&builder, left)?;
        sums.push(builder.concat(&[arrived, left], 0).unsqueeze(&[0]));
        nodes.push((id, name(graph, output)));
        Ok(())
    })?;
    let table = if sums.is_empty() {
        builder.values(score.element(), vec![0, 2], &[])
    } else {
        builder.concat(&sums, 0)
    };
    let mut outputs = Vec::new();
    let score = name_output(&builder, score, "score", &mut outputs);
    let relevance = name_output(&builder, table, "relevance", &mut outputs);
    let mut targets = aim.inputs.into_iter();
    let mut compiled = builder.finish()?;
    compiled.set_outputs(outputs);
    let (target, target_minus) = (targets.next(), targets.next());
    Ok(Losses { graph: compiled, target, target_minus, score, relevance, nodes })
}

fn name(graph: &Graph, value: Option<ValueId>) -> String {
    value.map_or_else(String::new, |id| graph.value(id).name.clone())
}

/// The sum of all numbers of all values, of shape [1].
fn summed<'g>(builder: &'g Builder, values: impl Iterator<Item = Result<Var<'g>>>) -> Result<Var<'g>> {
    let mut sum = None;
    for value in values {
        let value = value?;
        let axes: Vec<usize> = (0..value.rank()?).collect();
        let one = value.sum(&axes, Keep::None).reshape(&[1]);
        sum = Some(match sum {
            Some(before) => before + one,
            None => one,
        });
    }
    Ok(sum.unwrap_or_else(|| builder.scalar(pellucid_graph::ElementType::F32, 0.0).reshape(&[1])))
}
