//! The model on a baseline: a second copy of the nodes that see what the baseline replaces, for rules that compare.
//!
//! Weights are shared, and so is every value that does not depend on a moved input. What a rule sees of the copy is
//! [`Step::reference`]; rules that never ask cost nothing.

use std::collections::BTreeMap;

use pellucid_graph::{Graph, NodeId, ValueId};

use crate::build::{Builder, Var};
use crate::error::Result;
use crate::step::{Signals, Step};

impl<'g> Step<'g> {
    /// The same value on the baseline; the value itself where it does not depend on what the baseline replaces.
    pub fn reference(&self, value: Var<'g>) -> Var<'g> {
        self.builder.var(self.builder.reference(value.id()))
    }

    /// Whether a value differs on the baseline.
    pub fn is_moved(&self, value: Var<'g>) -> bool {
        self.builder.reference(value.id()) != value.id()
    }

    /// The operator's own difference from the baseline, where it has one: factors with Σ m · Δx = dy · Δy.
    pub(crate) fn difference(&self) -> Option<Result<Signals<'g>>> {
        self.operator.difference.map(|difference| difference(self))
    }

    /// The same step with other inputs and the same outputs: for derivatives that read inputs alone.
    pub(crate) fn on(&self, inputs: &[Option<Var<'g>>]) -> Self {
        let mut step = self.clone();
        step.node.inputs = inputs.iter().map(|input| input.map(Var::id)).collect();
        step
    }

    /// Half of a value and its reference together: `(v + v₀) / 2`.
    pub(crate) fn middle(&self, value: Var<'g>) -> Var<'g> {
        if self.is_moved(value) { (value + self.reference(value)) * 0.5 } else { value }
    }

    /// The slope of the chord, Δy / Δx, where `slope` is the derivative: that is taken where Δx is nothing but rounding,
    /// |Δx| ≤ 2⁻²⁰ · (|x| + |x₀|), since Δy / Δx is then noise. Above, times Δx it is Δy to a rounding or two, however
    /// much both cancelled.
    pub(crate) fn chord(&self, x: Var<'g>, y: Var<'g>, slope: Var<'g>) -> Var<'g> {
        // The numbers of a quantised network are integers, their signals floats.
        let float = |v: Var<'g>| if v.element().is_float() { v } else { v.cast(slope.element()) };
        chord([x, self.reference(x)].map(float), [y, self.reference(y)].map(float), slope)
    }
}

/// [`Step::chord`] of values and what stands for them on the baseline.
pub(crate) fn chord<'g>([x, x0]: [Var<'g>; 2], [y, y0]: [Var<'g>; 2], slope: Var<'g>) -> Var<'g> {
    let difference = x - x0;
    let scale = (x.apply("Abs") + x0.apply("Abs")) * NOISE;
    let apart = x.builder().op("Greater", &[difference.apply("Abs"), scale], &[]);
    apart.choose((y - y0) / difference, slope)
}

/// Share of |x| + |x₀| below which a difference is taken for rounding: 2⁻²⁰, eight units in the last place of a float32.
pub(crate) const NOISE: f64 = 1.0 / 1_048_576.0;

/// A number that keeps 0/0 from being one: the smallest float32 that is not subnormal.
pub(crate) const LEAST: f64 = 1.175_494_350_822_287_5e-38;

/// Copies the nodes of `source` that lead from `moved` to `wanted`, on what stands in `baselines` for the moved values.
/// `here` are the values of the builder's graph that stand for those of `source`.
pub(crate) fn refer(
    builder: &Builder,
    source: &Graph,
    here: &dyn Fn(ValueId) -> Option<ValueId>,
    baselines: &[(ValueId, Var<'_>)],
    wanted: &[ValueId],
) -> Result<()> {
    if baselines.is_empty() {
        return Ok(());
    }
    let moved: Vec<ValueId> = baselines.iter().map(|(id, _)| *id).collect();
    let nodes = between(source, &moved, wanted);
    let made: Vec<bool> = {
        let mut made = vec![false; source.values().len()];
        for output in nodes.iter().flat_map(|id| source.node(*id).outputs.iter().flatten()) {
            made[output.index()] = true;
        }
        made
    };
    let mut given: BTreeMap<ValueId, ValueId> =
        source.value_ids().filter(|id| !made[id.index()]).filter_map(|id| Some((id, here(id)?))).collect();
    given.extend(baselines.iter().map(|(id, baseline)| (*id, baseline.id())));
    let copied = builder.embed(source, &given, wanted)?;
    for id in source.value_ids().filter(|id| made[id.index()] || moved.contains(id)) {
        if let (Some(value), Some(reference)) = (here(id), copied[id.index()]) {
            builder.refer(value, reference);
        }
    }
    builder.check()
}

/// Nodes that see a moved value and that a wanted one needs, in execution order; truth values and sizes count, since a
/// comparison may come out otherwise on the baseline.
fn between(graph: &Graph, moved: &[ValueId], wanted: &[ValueId]) -> Vec<NodeId> {
    let marked = |values: &[ValueId]| {
        let mut marks = vec![false; graph.values().len()];
        for id in values {
            marks[id.index()] = true;
        }
        marks
    };
    let (mut sees, mut needed) = (marked(moved), marked(wanted));
    for id in graph.node_ids() {
        if graph.dependencies(id).iter().any(|input| sees[input.index()]) {
            for output in graph.node(id).outputs.iter().flatten() {
                sees[output.index()] = true;
            }
        }
    }
    let mut nodes = Vec::new();
    for id in graph.node_ids().rev() {
        let outputs = || graph.node(id).outputs.iter().flatten();
        if outputs().any(|output| needed[output.index()] && sees[output.index()]) {
            for input in graph.dependencies(id) {
                needed[input.index()] = true;
            }
            nodes.push(id);
        }
    }
    nodes.reverse();
    nodes
}
