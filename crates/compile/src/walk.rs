//! The reverse walk: which nodes a signal passes, in which order, and how signals meet.
//!
//! Reachability, sums at fan-out and un-broadcasting are the walk's business, so that no rule knows of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pellucid_graph::{ElementType, Graph, Node, NodeId, ValueId};

use crate::build::{Builder, Var};
use crate::error::{CompileError, Offence, Result};
use crate::ops::{self, Operator};
use crate::rules::{Plan, RuleMap};
use crate::step::{Added, Known, Signals, Step};

/// Whether values of a type carry a signal: floats, and integers so narrow that they can only be quantised numbers.
///
/// The signal of a quantised number is a float, the derivative for the number as it is stored. Which operators bring
/// it there and away is their own affair: `QuantizeLinear` and `DequantizeLinear`, and what only moves numbers.
pub(crate) fn carries(element: ElementType) -> bool {
    use ElementType::{I8, I16, U8, U16};
    element.is_float() || matches!(element, I8 | U8 | I16 | U16)
}

/// Nodes on a path from `wanted` to `seeds`, in execution order.
///
/// Only floats and quantised numbers carry a signal.
pub fn path(graph: &Graph, seeds: &[ValueId], wanted: &[ValueId]) -> Vec<NodeId> {
    let mut depends = vec![false; graph.values().len()];
    for value in wanted {
        depends[value.index()] = true;
    }
    for id in graph.node_ids() {
        let node = graph.node(id);
        if graph.dependencies(id).iter().any(|input| depends[input.index()]) {
            for output in node.outputs.iter().flatten() {
                depends[output.index()] |= graph.value(*output).element.is_none_or(carries);
            }
        }
    }
    let mut reaches = vec![false; graph.values().len()];
    for value in seeds {
        reaches[value.index()] = true;
    }
    let mut nodes = Vec::new();
    for id in graph.node_ids().rev() {
        let node = graph.node(id);
        if !node.outputs.iter().flatten().any(|output| reaches[output.index()]) {
            continue;
        }
        let inputs: Vec<ValueId> =
            graph.dependencies(id).into_iter().filter(|input| depends[input.index()]).collect();
        if !inputs.is_empty() {
            nodes.push(id);
            for input in inputs {
                reaches[input.index()] = true;
            }
        }
    }
    nodes.reverse();
    nodes
}

/// Passes signals from `seeds` back to `wanted`. A wanted value that no signal reaches is not in the result.
///
/// Every node on the way that has no derivative is named in one error.
pub fn walk<'g>(
    builder: &'g Builder,
    seeds: &[(ValueId, Var<'g>)],
    wanted: &[ValueId],
    rules: &RuleMap,
) -> Result<BTreeMap<ValueId, Var<'g>>> {
    walk_noting(builder, seeds, wanted, rules, &mut |_, _| Ok(()))
}

/// [`walk`], telling `note` what a rule found at each node.
pub(crate) fn walk_noting<'g>(
    builder: &'g Builder,
    seeds: &[(ValueId, Var<'g>)],
    wanted: &[ValueId],
    rules: &RuleMap,
    note: &mut dyn FnMut(&Step<'g>, &Signals<'g>) -> Result<()>,
) -> Result<BTreeMap<ValueId, Var<'g>>> {
    let seed_ids: Vec<ValueId> = seeds.iter().map(|(id, _)| *id).collect();
    let (nodes, count) = {
        let graph = builder.graph();
        (path(&graph, &seed_ids, wanted), graph.values().len())
    };
    let operators = supported(&builder.graph(), &nodes)?;
    let plan = rules.plan(&builder.graph(), &nodes);
    refuse(&builder.graph(), &plan, &nodes)?;
    // A derivative does not ask.
    let signs = if rules.is_derivative() { Vec::new() } else { ops::nonnegative(&builder.graph()) };
    let ends = wanted.iter().copied().collect();
    let known = Rc::new(Known { nonnegative: signs, ends, sides: RefCell::default() });
    let mut reached = vec![false; count];
    for value in wanted {
        reached[value.index()] = true;
    }
    {
        let graph = builder.graph();
        for id in &nodes {
            for output in graph.node(*id).outputs.iter().flatten() {
                reached[output.index()] = graph.value(*output).element.is_none_or(carries);
            }
        }
    }
    let mut signals: Vec<Option<Var<'g>>> = vec![None; count];
    let mut apart = signals.clone();
    for (id, signal) in seeds {
        accumulate(&mut signals[id.index()], *signal);
    }
    let mut offences = Vec::new();
    for (id, operator) in nodes.iter().zip(&operators).rev() {
        let node = builder.node(*id);
        let arrived = arriving(&node, &signals);
        if arrived.iter().all(Option::is_none) {
            continue;
        }
        let carried = |input: &Option<ValueId>| input.is_some_and(|input| reached[input.index()]);
        let wanted = node.inputs.iter().map(carried).collect();
        let added = plan.adds_to(*id).and_then(|adder| added(builder, &node, adder));
        let halves = arriving(&node, &apart);
        let known = known.clone();
        let step = Step { builder, operator, node, signals: arrived, wanted, added, apart: halves, known };
        let passed = plan.rule(*id).rule.parted(&step).and_then(|found| {
            note(&step, &found.whole)?;
            deliver(&step, found.whole, &mut signals)?;
            deliver(&step, found.apart, &mut apart)
        });
        match passed {
            Ok(()) => {}
            Err(CompileError::Model(problem)) => offences.push(offence(&builder.graph(), *id, problem)),
            Err(other) => return Err(other),
        }
        builder.check()?;
    }
    if !offences.is_empty() {
        offences.reverse();
        return Err(CompileError::Unsupported(offences));
    }
    let asked: BTreeSet<ValueId> = wanted.iter().copied().collect();
    let joined = |id: ValueId| {
        let signal = signals[id.index()]?;
        Some((id, known.joined(builder.var(id), signal, apart[id.index()])))
    };
    let found = asked.into_iter().filter_map(joined).collect();
    builder.check()?;
    Ok(found)
}

/// One error that names every node that its rule refuses.
fn refuse(graph: &Graph, plan: &Plan, nodes: &[NodeId]) -> Result<()> {
    let refused = nodes.iter().filter_map(|id| Some(offence(graph, *id, plan.rule(*id).refused?)));
    let offences: Vec<Offence> = refused.collect();
    if offences.is_empty() { Ok(()) } else { Err(CompileError::Unsupported(offences)) }
}

/// The signals at the outputs of a node.
fn arriving<'g>(node: &Node, signals: &[Option<Var<'g>>]) -> Vec<Option<Var<'g>>> {
    node.outputs.iter().map(|output| output.and_then(|output| signals[output.index()])).collect()
}

/// The constant that `adder` adds to a layer, and what both come to.
fn added<'g>(builder: &'g Builder, layer: &Node, adder: NodeId) -> Option<Added<'g>> {
    let adder = builder.node(adder);
    let bias = adder.inputs.iter().flatten().find(|input| Some(**input) != layer.output(0))?;
    Some(Added { bias: builder.var(*bias), total: builder.var(adder.output(0)?) })
}

fn deliver<'g>(step: &Step<'g>, found: Vec<Option<Var<'g>>>, signals: &mut [Option<Var<'g>>]) -> Result<()> {
    for (index, signal) in found.into_iter().enumerate() {
        let (Some(signal), true, Some(input)) = (signal, step.wants(index), step.node.input(index)) else {
            continue;
        };
        let fitted = signal.fit(step.builder.var(input))?;
        accumulate(&mut signals[input.index()], fitted);
    }
    Ok(())
}

fn accumulate<'g>(sum: &mut Option<Var<'g>>, signal: Var<'g>) {
    *sum = Some(match *sum {
        Some(before) => before + signal,
        None => signal,
    });
}

/// The operators of `nodes`, or one error that names every node without one.
pub fn supported(graph: &Graph, nodes: &[NodeId]) -> Result<Vec<&'static Operator>> {
    let mut offences = Vec::new();
    let mut found = Vec::new();
    for id in nodes {
        match ops::lookup(&graph.node(*id).operator) {
            Some(operator) => found.push(operator),
            None => offences.push(offence(graph, *id, "no derivative is known".to_owned())),
        }
    }
    if offences.is_empty() { Ok(found) } else { Err(CompileError::Unsupported(offences)) }
}

fn offence(graph: &Graph, id: NodeId, problem: String) -> Offence {
    let node = graph.node(id);
    let output =
        node.outputs.iter().flatten().next().map_or_else(String::new, |id| graph.value(*id).name.clone());
    Offence { node: id, operator: node.operator.clone(), output, problem }
}
