//! The order in which rten runs a graph's nodes, for the memory it takes.
//!
//! rten plans from the outputs, depth first, and then prefers nodes that cannot work in place. This follows it, so that
//! values are known to live as long as they do there; nothing but the estimate of memory depends on it.

use pellucid_graph::{Graph, NodeId};

/// Operators that may write over their first input.
const IN_PLACE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Cos",
    "Cosh",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Mul",
    "Neg",
    "Not",
    "Pow",
    "Reciprocal",
    "Relu",
    "Reshape",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Swish",
    "Tan",
    "Tanh",
    "Tile",
    "Unsqueeze",
];

/// Every node that the outputs need, in the order of execution.
pub(super) fn schedule(graph: &Graph) -> Vec<NodeId> {
    let plan = depth_first(graph);
    let mut missing = vec![usize::MAX; graph.nodes().len()];
    let mut dependents: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes().len()];
    let mut frontier = Vec::new();
    for id in &plan {
        let mut sources: Vec<NodeId> = sources(graph, *id);
        sources.sort_unstable();
        sources.dedup();
        missing[id.index()] = sources.len();
        if sources.is_empty() {
            frontier.push(*id);
        }
        for source in sources {
            dependents[source.index()].push(*id);
        }
    }
    let mut order = Vec::with_capacity(plan.len());
    while !frontier.is_empty() {
        let next = frontier
            .iter()
            .position(|id| !IN_PLACE.contains(&graph.node(*id).operator.as_str()))
            .unwrap_or(0);
        let id = frontier.remove(next);
        order.push(id);
        for dependent in &dependents[id.index()] {
            missing[dependent.index()] -= 1;
            if missing[dependent.index()] == 0 {
                frontier.push(*dependent);
            }
        }
    }
    order
}

/// The nodes that make what a node reads, in the order of reading.
fn sources(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    graph.dependencies(id).into_iter().filter_map(|value| graph.producer_of(value)).collect()
}

/// Nodes after those they depend on, visited from the outputs.
fn depth_first(graph: &Graph) -> Vec<NodeId> {
    let mut entered = vec![false; graph.nodes().len()];
    let mut plan = Vec::new();
    for output in graph.outputs() {
        let Some(root) = graph.producer_of(*output) else { continue };
        if entered[root.index()] {
            continue;
        }
        entered[root.index()] = true;
        let mut path = vec![(root, sources(graph, root).into_iter())];
        while let Some((id, rest)) = path.last_mut() {
            match rest.next() {
                Some(source) if !entered[source.index()] => {
                    entered[source.index()] = true;
                    path.push((source, sources(graph, source).into_iter()));
                }
                Some(_) => {}
                None => {
                    plan.push(*id);
                    path.pop();
                }
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{ElementType, Graph, NewNode};

    use super::*;

    #[test]
    fn nodes_come_after_what_they_read_and_others_before_those_in_place() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(Vec::new())).unwrap();
        let a = graph.push_one(NewNode::new("Relu", &[x], "a")).unwrap();
        let b = graph.push_one(NewNode::new("Exp", &[a], "b")).unwrap();
        let c = graph.push_one(NewNode::new("Greater", &[a, x], "c")).unwrap();
        let d = graph.push_one(NewNode::new("Where", &[c, b, x], "d")).unwrap();
        graph.push_one(NewNode::new("Neg", &[x], "dead")).unwrap();
        graph.set_outputs(vec![d]);
        let operators: Vec<&str> =
            schedule(&graph).into_iter().map(|id| graph.node(id).operator.as_str()).collect();
        assert_eq!(operators, ["Relu", "Greater", "Exp", "Where"]);
    }
}
