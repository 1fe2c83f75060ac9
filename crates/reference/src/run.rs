//! Evaluation of graphs and of single nodes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pellucid_graph::{Graph, Node, NodeId, Origin, ValueId, display_shape, operators};

use crate::Array;
use crate::call::{Call, Limits, Outside};
use crate::error::{EvaluationError, Problem};
use crate::ops::cast::wrap_to;
use crate::table;

/// Computes `wanted`, in that order, from `inputs`, within [`Limits::default`].
///
/// `inputs` may give any value, interior ones too: what leads to a given value is not computed. Only what `wanted`
/// needs is computed, and an array is freed after its last use.
///
/// # Errors
/// Where an input is missing or is not what the graph declares, and where a node cannot be computed.
pub fn run(
    graph: &Graph,
    inputs: &[(ValueId, Array)],
    wanted: &[ValueId],
) -> Result<Vec<Array>, EvaluationError> {
    run_within(graph, inputs, wanted, Limits::default())
}

/// As [`run`], within other limits.
pub fn run_within(
    graph: &Graph,
    inputs: &[(ValueId, Array)],
    wanted: &[ValueId],
    limits: Limits,
) -> Result<Vec<Array>, EvaluationError> {
    for (id, array) in inputs {
        check_declared(graph, *id, array)?;
    }
    let given = inputs.iter().map(|(id, array)| (*id, Cow::Borrowed(array))).collect();
    interpret(graph, given, &BTreeMap::new(), wanted, limits)
}

/// Computes one node of `graph` from its inputs, within [`Limits::default`]; used for constant folding.
///
/// Returns one array for every output the node lists, taken or not. A body may capture constants of `graph` only.
///
/// # Errors
/// Where the node cannot be computed.
pub fn evaluate(
    graph: &Graph,
    node: &Node,
    inputs: &[Option<&Array>],
) -> Result<Vec<Array>, EvaluationError> {
    evaluate_within(graph, node, inputs, Limits::default())
}

/// As [`evaluate`], within other limits.
pub fn evaluate_within(
    graph: &Graph,
    node: &Node,
    inputs: &[Option<&Array>],
    limits: Limits,
) -> Result<Vec<Array>, EvaluationError> {
    let mut constants = BTreeMap::new();
    for id in captures(node) {
        if graph.values().get(id.index()).is_some_and(|value| value.constant().is_some()) {
            constants.insert(id, constant(graph, id)?);
        }
    }
    call(graph, node, inputs, &constants, limits)
}

/// Values of the enclosing graph that a node's bodies capture.
fn captures(node: &Node) -> impl Iterator<Item = ValueId> + '_ {
    node.attributes
        .values()
        .filter_map(|attribute| match attribute {
            pellucid_graph::Attribute::Graph(body) => Some(body.captures().map(|(_, outer)| outer)),
            _ => None,
        })
        .flatten()
}

/// The array of a constant.
pub(crate) fn constant(graph: &Graph, id: ValueId) -> Result<Array, EvaluationError> {
    let value = graph.value(id);
    let tensor = value.constant().ok_or_else(|| EvaluationError::Missing(value.name.clone()))?;
    Array::try_from(tensor).map_err(|source| EvaluationError::Constant { name: value.name.clone(), source })
}

fn check_declared(graph: &Graph, id: ValueId, array: &Array) -> Result<(), EvaluationError> {
    let Some(value) = graph.values().get(id.index()) else {
        return Err(foreign(id));
    };
    if let Some(element) = value.element
        && !array.holds(element)
    {
        return Err(EvaluationError::Kind { name: value.name.clone(), element, found: array.kind() });
    }
    if let Some(declared) = &value.shape {
        let fits = declared.len() == array.rank()
            && declared
                .iter()
                .zip(array.shape())
                .all(|(dim, size)| dim.value().is_none() || dim.size() == Some(*size));
        if !fits {
            return Err(EvaluationError::Shape {
                name: value.name.clone(),
                expected: display_shape(declared),
                found: array.shape().to_vec(),
            });
        }
    }
    Ok(())
}

fn foreign(id: ValueId) -> EvaluationError {
    EvaluationError::Missing(format!("value {} of another graph", id.index()))
}

/// Computes `wanted` from `given` and, in a body, from what it captures.
pub(crate) fn interpret<'a>(
    graph: &'a Graph,
    given: Vec<(ValueId, Cow<'a, Array>)>,
    captured: &'a dyn Outside,
    wanted: &[ValueId],
    limits: Limits,
) -> Result<Vec<Array>, EvaluationError> {
    let mut values: Vec<Option<Cow<'a, Array>>> = vec![None; graph.values().len()];
    for (id, array) in given {
        *values.get_mut(id.index()).ok_or_else(|| foreign(id))? = Some(array);
    }
    if let Some(id) = wanted.iter().find(|id| id.index() >= values.len()) {
        return Err(foreign(*id));
    }
    for (step, last) in plan(graph, &values, wanted) {
        let node = graph.node(step);
        for id in graph.dependencies(step) {
            load(graph, &mut values, captured, id)?;
        }
        let outputs = {
            let inputs: Vec<Option<&Array>> =
                node.inputs.iter().map(|input| input.and_then(|id| values.array(id))).collect();
            call(graph, node, &inputs, &values, limits)?
        };
        for (id, array) in node.outputs.iter().zip(outputs) {
            if let Some(id) = id {
                // A given value stands, even where its node is needed for another output.
                values[id.index()].get_or_insert(Cow::Owned(array));
            }
        }
        for id in last {
            values[id.index()] = None;
        }
    }
    let mut results = Vec::with_capacity(wanted.len());
    for (position, id) in wanted.iter().enumerate() {
        load(graph, &mut values, captured, *id)?;
        let again = wanted[position + 1..].contains(id);
        let array = if again { values[id.index()].clone() } else { values[id.index()].take() };
        let array = array.ok_or_else(|| EvaluationError::Missing(graph.value(*id).name.clone()))?;
        results.push(array.into_owned());
    }
    Ok(results)
}

/// The nodes to compute, in order, each with the values that nothing needs after it.
fn plan(graph: &Graph, values: &[Option<Cow<'_, Array>>], wanted: &[ValueId]) -> Vec<(NodeId, Vec<ValueId>)> {
    let mut needed = vec![false; values.len()];
    let mut kept = vec![false; values.len()];
    for id in wanted {
        needed[id.index()] = true;
        kept[id.index()] = true;
    }
    let mut steps = Vec::new();
    for step in graph.node_ids().rev() {
        let outputs = graph.node(step).outputs.iter().flatten();
        if !outputs.clone().any(|id| needed[id.index()] && values[id.index()].is_none()) {
            continue;
        }
        let mut last = Vec::new();
        for id in graph.dependencies(step).into_iter().chain(outputs.copied()) {
            // Backwards, so the first step that touches a value is the last to need it.
            if !kept[id.index()] {
                kept[id.index()] = true;
                last.push(id);
            }
        }
        for id in graph.dependencies(step) {
            needed[id.index()] = true;
        }
        steps.push((step, last));
    }
    steps.reverse();
    steps
}

/// Makes a value that no node computes available.
fn load<'a>(
    graph: &Graph,
    values: &mut [Option<Cow<'a, Array>>],
    captured: &'a dyn Outside,
    id: ValueId,
) -> Result<(), EvaluationError> {
    if values[id.index()].is_some() {
        return Ok(());
    }
    let value = graph.value(id);
    values[id.index()] = Some(match &value.origin {
        Origin::Constant(_) => Cow::Owned(constant(graph, id)?),
        Origin::Captured(outer) => {
            Cow::Borrowed(captured.array(*outer).ok_or_else(|| EvaluationError::Missing(value.name.clone()))?)
        }
        Origin::Input | Origin::Node(..) => return Err(EvaluationError::Missing(value.name.clone())),
    });
    Ok(())
}

/// Computes one node: looks its operator up, calls it and checks what it returns.
fn call(
    graph: &Graph,
    node: &Node,
    inputs: &[Option<&Array>],
    captured: &dyn Outside,
    limits: Limits,
) -> Result<Vec<Array>, EvaluationError> {
    let here =
        |problem| EvaluationError::Node { operator: node.operator.clone(), name: node.name.clone(), problem };
    let (Some(operator), Some(declared)) = (table::lookup(&node.operator), operators::lookup(&node.operator))
    else {
        return Err(EvaluationError::UnknownOperator {
            operator: node.operator.clone(),
            name: node.name.clone(),
        });
    };
    if !declared.inputs.allows(inputs.len()) {
        return Err(here(format!("{} inputs were given, {} are expected", inputs.len(), declared.inputs)));
    }
    // Operators read elements as slices: the few arrays in another order are copied first.
    let ordered: Vec<Option<Cow<'_, Array>>> = inputs
        .iter()
        .map(|input| {
            input.map(|array| {
                if array.is_standard_layout() {
                    Cow::Borrowed(array)
                } else {
                    Cow::Owned(array.clone().into_standard_layout())
                }
            })
        })
        .collect();
    let ordered: Vec<Option<&Array>> = ordered.iter().map(Option::as_deref).collect();
    let call = Call { graph, node, inputs: &ordered, limits, captured };
    let mut outputs = operator(&call).map_err(|problem| match problem {
        Problem::Here(problem) => here(problem),
        Problem::Inside(error) => error,
    })?;
    if outputs.len() < node.outputs.len() {
        return Err(here(format!("it has {} outputs, the node lists {}", outputs.len(), node.outputs.len())));
    }
    outputs.truncate(node.outputs.len());
    Ok(outputs
        .into_iter()
        .enumerate()
        .map(|(index, array)| wrap_to(array.into_standard_layout(), call.output_element(index)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bools, floats, ints};
    use pellucid_graph::{Attribute, Dim, ElementType, NewNode, Tensor};

    /// `sum = a + b`, `(top, place) = TopK(sum, 1)`.
    fn graph() -> (Graph, [ValueId; 5]) {
        let mut graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.add_input(name, ElementType::F64, None).unwrap());
        let one = graph.add_constant("one", Tensor::integers(&[1])).unwrap();
        let sum = graph.push_one(NewNode::new("Add", &[a, b], "sum")).unwrap();
        let top = NewNode {
            operator: "TopK".into(),
            inputs: vec![Some(sum), Some(one)],
            outputs: vec!["top".into(), "place".into()],
            ..NewNode::default()
        };
        let top = graph.push(top).unwrap();
        let outputs = [0, 1].map(|index| graph.node(top).output(index).unwrap());
        (graph, [a, b, sum, outputs[0], outputs[1]])
    }

    #[test]
    fn only_what_is_wanted_is_computed() {
        let (graph, [a, b, sum, top, place]) = graph();
        let inputs = [(a, floats(&[2], &[1.0, 4.0])), (b, floats(&[2], &[2.0, 1.0]))];
        let found = run(&graph, &inputs, &[place, sum, place]).unwrap();
        assert_eq!(found, [ints(&[1], &[1]), floats(&[2], &[3.0, 5.0]), ints(&[1], &[1])]);
        // What leads to a given value is neither needed nor computed, and what is given stands.
        let found =
            run(&graph, &[(sum, floats(&[2], &[9.0, 8.0])), (top, floats(&[1], &[7.0]))], &[place, top]);
        assert_eq!(found.unwrap(), [ints(&[1], &[0]), floats(&[1], &[7.0])]);
        let error = run(&graph, &inputs[..1], &[top]).unwrap_err();
        assert!(matches!(&error, EvaluationError::Missing(name) if name == "b"), "{error}");
    }

    #[test]
    fn inputs_are_what_the_graph_declares() {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n"), Dim::known(2)])).unwrap();
        assert!(run(&graph, &[(x, floats(&[5, 2], &[0.0; 10]))], &[x]).is_ok());
        let fail = |array| run(&graph, &[(x, array)], &[x]).unwrap_err();
        assert!(matches!(fail(ints(&[1, 2], &[0, 0])), EvaluationError::Kind { found: "int", .. }));
        assert!(matches!(fail(floats(&[2, 1], &[0.0; 2])), EvaluationError::Shape { .. }));
        assert!(matches!(fail(floats(&[2], &[0.0; 2])), EvaluationError::Shape { .. }));
    }

    #[test]
    fn one_node_is_evaluated() {
        let (graph, [.., top, _]) = graph();
        let node = graph.node(graph.producer_of(top).unwrap());
        let (values, one) = (floats(&[3], &[1.0, 6.0, 2.0]), ints(&[1], &[1]));
        let found = evaluate(&graph, node, &[Some(&values), Some(&one)]).unwrap();
        assert_eq!(found, [floats(&[1], &[6.0]), ints(&[1], &[1])]);
        let error = evaluate(&graph, node, &[Some(&values)]).unwrap_err().to_string();
        assert!(error.contains("1 inputs were given"), "{error}");
        let limits = Limits { elements: 0, ..Limits::default() };
        let error =
            evaluate_within(&graph, node, &[Some(&values), Some(&one)], limits).unwrap_err().to_string();
        assert!(error.contains("past the limit of 0 elements"), "{error}");
    }

    #[test]
    fn a_node_alone_captures_constants_only() {
        let mut graph = Graph::new();
        let condition = graph.add_input("condition", ElementType::Bool, Some(Vec::new())).unwrap();
        let x = graph.add_input("x", ElementType::I64, None).unwrap();
        let constant = graph.add_constant("c", Tensor::integers(&[4])).unwrap();
        let branch = |outer: ValueId| {
            let mut body = Graph::new();
            let inner = body.add_capture("inner", outer, graph.value(outer)).unwrap();
            let y = body.push_one(NewNode::new("Neg", &[inner], "y")).unwrap();
            body.add_output(y).unwrap();
            Attribute::Graph(Box::new(body))
        };
        let (good, bad) = (branch(constant), branch(x));
        let node = NewNode::new("If", &[condition], "y").with("then_branch", good).with("else_branch", bad);
        let id = graph.push(node).unwrap();
        let alone = |truth| evaluate(&graph, graph.node(id), &[Some(&bools(&[], &[truth]))]);
        assert_eq!(alone(true).unwrap(), [ints(&[1], &[-4])]);
        let error = alone(false).unwrap_err();
        assert!(matches!(&error, EvaluationError::Missing(name) if name == "inner"), "{error}");
    }

    #[test]
    fn integers_wrap_to_the_declared_width_and_floats_do_not_round() {
        let mut graph = Graph::new();
        let bytes = graph.add_input("bytes", ElementType::U8, None).unwrap();
        let half = graph.add_input("half", ElementType::F16, None).unwrap();
        let sum = graph.push_one(NewNode::new("Add", &[bytes, bytes], "sum")).unwrap();
        let third = graph.push_one(NewNode::new("Mul", &[half, half], "square")).unwrap();
        let given = [(bytes, ints(&[1], &[200])), (half, floats(&[1], &[0.1]))];
        let found = run(&graph, &given, &[sum, third]).unwrap();
        assert_eq!(found, [ints(&[1], &[144]), floats(&[1], &[0.1 * 0.1])]);
    }
}
