//! Control flow: bodies that see the values around them.

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{Graph, Origin, ValueId};

use crate::array::Array;
use crate::call::{Call, Operator, Outcome};
use crate::error::{EvaluationError, Problem};
use crate::ops::shape::join;
use crate::run::{constant, interpret};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("If", branch), ("Loop", repeat)];

/// Runs a body on arrays for its inputs.
fn run_body<'a>(
    call: &Call<'a>,
    body: &'a Graph,
    given: Vec<(ValueId, Cow<'a, Array>)>,
) -> Result<Vec<Array>, Problem> {
    Ok(interpret(body, given, call.captured, body.outputs(), call.limits)?)
}

fn truth(array: &Array) -> Result<bool, Problem> {
    match array {
        Array::Bool(x) if x.len() == 1 => Ok(x.iter().all(|value| *value)),
        other => Err(format!(
            "the condition is a {} array of shape {:?}, one truth value was expected",
            other.kind(),
            other.shape()
        )
        .into()),
    }
}

fn branch(call: &Call<'_>) -> Outcome {
    let name = if truth(call.input(0)?)? { "then_branch" } else { "else_branch" };
    let body = call.node.body(name).ok_or_else(|| Problem::from(format!("attribute {name} is missing")))?;
    run_body(call, body, Vec::new())
}

/// The body's constants as arrays, so that they are converted once and not in every round.
fn constants(body: &Graph) -> Result<Vec<(ValueId, Array)>, EvaluationError> {
    body.value_ids()
        .filter(|id| matches!(body.value(*id).origin, Origin::Constant(_)))
        .map(|id| Ok((id, constant(body, id)?)))
        .collect()
}

/// Runs the body while the condition holds, at most `M` times. Values after the carried ones are stacked.
fn repeat(call: &Call<'_>) -> Outcome {
    let body = call.node.body("body").ok_or("attribute body is missing")?;
    let most = match call.optional(0) {
        Some(_) => u64::try_from(call.scalar(0, call.int(0)?)?).unwrap_or(0),
        None => u64::MAX,
    };
    let mut going = match call.optional(1) {
        Some(condition) => truth(condition)?,
        None => true,
    };
    let carried_count = call.inputs.len().saturating_sub(2);
    if body.inputs().len() != carried_count + 2 || body.outputs().len() < carried_count + 1 {
        return Err(format!(
            "the body has {} inputs and {} outputs for {carried_count} carried values",
            body.inputs().len(),
            body.outputs().len()
        )
        .into());
    }
    let mut carried: Vec<Array> =
        (0..carried_count).map(|i| call.input(i + 2).cloned()).collect::<Result<_, _>>()?;
    let mut stacked: Vec<Vec<Array>> = vec![Vec::new(); body.outputs().len() - 1 - carried_count];
    let constants = constants(body)?;
    let mut round = 0u64;
    while going && round < most {
        if round >= call.limits.iterations {
            return Err(format!("the limit of {} iterations is passed", call.limits.iterations).into());
        }
        let number = Array::Int(ArrayD::from_elem(IxDyn(&[]), i64::try_from(round).unwrap_or(i64::MAX)));
        let condition = Array::Bool(ArrayD::from_elem(IxDyn(&[]), true));
        let arrays = [number, condition].into_iter().chain(std::mem::take(&mut carried)).map(Cow::Owned);
        let mut given: Vec<_> = body.inputs().iter().copied().zip(arrays).collect();
        given.extend(constants.iter().map(|(id, array)| (*id, Cow::Borrowed(array))));
        let mut outputs = run_body(call, body, given)?.into_iter();
        going = truth(&outputs.next().ok_or("the body returns no condition")?)?;
        carried = outputs.by_ref().take(carried_count).collect();
        for (stack, array) in stacked.iter_mut().zip(outputs) {
            call.limits.allow(&[stack.len() + 1, array.len()])?;
            stack.push(with_axis(array)?);
        }
        round += 1;
    }
    let mut outputs = carried;
    for (position, stack) in stacked.iter().enumerate() {
        let arrays: Vec<&Array> = stack.iter().collect();
        outputs.push(if arrays.is_empty() {
            nothing(call, body, carried_count + 1 + position)?
        } else {
            join(&arrays, 0)?
        });
    }
    Ok(outputs)
}

/// The array as the one element of a new first axis.
fn with_axis(array: Array) -> Result<Array, Problem> {
    let shape: Vec<usize> = std::iter::once(1).chain(array.shape().iter().copied()).collect();
    Ok(match array {
        Array::Float(x) => Array::Float(x.into_shape_with_order(shape)?),
        Array::Int(x) => Array::Int(x.into_shape_with_order(shape)?),
        Array::Bool(x) => Array::Bool(x.into_shape_with_order(shape)?),
    })
}

/// What a body that never ran stacks: no element of the declared type and sizes, 0 for those that are not known.
fn nothing(call: &Call<'_>, body: &Graph, output: usize) -> Result<Array, Problem> {
    let value = body.value(body.outputs()[output]);
    let mut shape = vec![0usize];
    shape.extend(value.shape.iter().flatten().map(|size| size.size().unwrap_or(0)));
    Ok(match value.element {
        Some(element) if element.is_float() => call.limits.filled(&shape, 0.0)?.into(),
        Some(pellucid_graph::ElementType::Bool) => call.limits.filled(&shape, false)?.into(),
        Some(_) => call.limits.filled(&shape, 0)?.into(),
        None => return Err("the type of a stacked value is not known".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bools, floats, ints};
    use crate::{Limits, run, run_within};
    use pellucid_graph::{Attribute, Dim, ElementType, NewNode, Tensor};

    /// `body(i, condition, x) = (i < 3, x · factor, x + i)`, `factor` captured.
    fn looping(outer: &Graph, factor: ValueId) -> Graph {
        let mut body = Graph::new();
        let i = body.add_input("i", ElementType::I64, Some(Vec::new())).unwrap();
        body.add_input("going", ElementType::Bool, Some(Vec::new())).unwrap();
        let x = body.add_input("x", ElementType::F64, None).unwrap();
        let factor = body.add_capture("factor", factor, outer.value(factor)).unwrap();
        let three = body.add_constant("three", Tensor::scalar(ElementType::I64, 3.0)).unwrap();
        let more = body.push_one(NewNode::new("Less", &[i, three], "more")).unwrap();
        let scaled = body.push_one(NewNode::new("Mul", &[x, factor], "scaled")).unwrap();
        let cast = NewNode::new("Cast", &[i], "as_float").with("to", Attribute::Int(11));
        let as_float = body.push_one(cast).unwrap();
        let shifted = body.push_one(NewNode::new("Add", &[x, as_float], "shifted")).unwrap();
        for output in [more, scaled, shifted] {
            body.add_output(output).unwrap();
        }
        body
    }

    /// The loop, arrays for its inputs, and what it returns: the carried value and the stacked one.
    fn loop_graph(trips: Option<i64>) -> (Graph, [(ValueId, Array); 2], Vec<ValueId>) {
        let mut graph = Graph::new();
        let x = graph.add_input("x0", ElementType::F64, None).unwrap();
        let factor = graph.add_input("factor", ElementType::F64, None).unwrap();
        let body = looping(&graph, factor);
        let trips = trips
            .map(|trips| graph.add_constant("trips", Tensor::from_i64(vec![], &[trips]).unwrap()).unwrap());
        let node = NewNode {
            operator: "Loop".into(),
            inputs: vec![trips, None, Some(x)],
            outputs: vec!["last".into(), "all".into()],
            ..NewNode::default()
        };
        let id = graph.push(node.with("body", Attribute::Graph(Box::new(body)))).unwrap();
        let outputs = graph.node(id).outputs.iter().copied().flatten().collect();
        (graph, [(x, floats(&[1], &[1.0])), (factor, floats(&[], &[2.0]))], outputs)
    }

    #[test]
    fn loops_carry_stack_and_capture() {
        // The condition fails after i = 3, so there are four rounds.
        let (graph, given, outputs) = loop_graph(Some(10));
        let found = run(&graph, &given, &outputs).unwrap();
        assert_eq!(found, [floats(&[1], &[16.0]), floats(&[4, 1], &[1.0, 3.0, 6.0, 11.0])]);
        let (graph, given, outputs) = loop_graph(Some(2));
        assert_eq!(run(&graph, &given, &outputs[..1]).unwrap(), [floats(&[1], &[4.0])]);
        let (graph, given, outputs) = loop_graph(Some(0));
        let found = run(&graph, &given, &outputs).unwrap();
        assert_eq!(found[0], floats(&[1], &[1.0]));
        assert_eq!(found[1].shape(), [0]);
    }

    #[test]
    fn a_loop_whose_condition_is_false_never_runs() {
        let mut graph = Graph::new();
        let going = graph.add_input("going", ElementType::Bool, Some(Vec::new())).unwrap();
        let x = graph.add_input("x0", ElementType::F64, None).unwrap();
        let mut body = Graph::new();
        body.add_input("i", ElementType::I64, Some(Vec::new())).unwrap();
        let again = body.add_input("again", ElementType::Bool, Some(Vec::new())).unwrap();
        let shape = vec![Dim::known(3), Dim::symbol("width")];
        let x_inside = body.add_input("x", ElementType::F64, Some(shape)).unwrap();
        let count = body.add_constant("count", Tensor::integers(&[7, 8])).unwrap();
        let copy = body.push_one(NewNode::new("Identity", &[x_inside], "copy")).unwrap();
        // The carried value goes on as it is, and is stacked beside a constant.
        for output in [again, x_inside, copy, count] {
            body.add_output(output).unwrap();
        }
        let node = NewNode {
            operator: "Loop".into(),
            inputs: vec![None, Some(going), Some(x)],
            outputs: vec!["last".into(), "all".into(), "counts".into()],
            ..NewNode::default()
        };
        let id = graph.push(node.with("body", Attribute::Graph(Box::new(body)))).unwrap();
        let outputs: Vec<ValueId> = graph.node(id).outputs.iter().copied().flatten().collect();
        let given = [(going, bools(&[], &[false])), (x, floats(&[3, 2], &[1.0; 6]))];
        let found = run(&graph, &given, &outputs).unwrap();
        assert_eq!(found, [floats(&[3, 2], &[1.0; 6]), floats(&[0, 3, 0], &[]), ints(&[0, 2], &[])]);
    }

    #[test]
    fn a_body_inside_a_body_sees_both_around_it() {
        let mut graph = Graph::new();
        let factor = graph.add_input("factor", ElementType::F64, Some(Vec::new())).unwrap();
        let x = graph.add_input("x0", ElementType::F64, Some(Vec::new())).unwrap();
        let trips = graph.add_constant("trips", Tensor::scalar(ElementType::I64, 3.0)).unwrap();
        let mut body = Graph::new();
        let i = body.add_input("i", ElementType::I64, Some(Vec::new())).unwrap();
        let going = body.add_input("going", ElementType::Bool, Some(Vec::new())).unwrap();
        let x_inside = body.add_input("x", ElementType::F64, Some(Vec::new())).unwrap();
        let captured = body.add_capture("factor", factor, graph.value(factor)).unwrap();
        let one = body.add_constant("one", Tensor::scalar(ElementType::I64, 1.0)).unwrap();
        let middle = body.push_one(NewNode::new("Equal", &[i, one], "middle")).unwrap();
        // `x · factor` in the middle round, `x + factor` in the others; `x` is the body's, `factor` the graph's.
        let inner = |operator: &str| {
            let mut inner = Graph::new();
            let x = inner.add_capture("x", x_inside, body.value(x_inside)).unwrap();
            let factor = inner.add_capture("factor", captured, body.value(captured)).unwrap();
            let y = inner.push_one(NewNode::new(operator, &[x, factor], "y")).unwrap();
            inner.add_output(y).unwrap();
            Attribute::Graph(Box::new(inner))
        };
        let (then, other) = (inner("Mul"), inner("Add"));
        let node = NewNode::new("If", &[middle], "next").with("then_branch", then).with("else_branch", other);
        let next = body.push_one(node).unwrap();
        let copy = body.push_one(NewNode::new("Identity", &[next], "copy")).unwrap();
        for output in [going, next, copy] {
            body.add_output(output).unwrap();
        }
        let node = NewNode {
            operator: "Loop".into(),
            inputs: vec![Some(trips), None, Some(x)],
            outputs: vec!["last".into(), "all".into()],
            ..NewNode::default()
        };
        let id = graph.push(node.with("body", Attribute::Graph(Box::new(body)))).unwrap();
        let outputs: Vec<ValueId> = graph.node(id).outputs.iter().copied().flatten().collect();
        let given = [(factor, floats(&[], &[10.0])), (x, floats(&[], &[1.0]))];
        let found = run(&graph, &given, &outputs).unwrap();
        assert_eq!(found, [floats(&[], &[120.0]), floats(&[3], &[11.0, 110.0, 120.0])]);
    }

    #[test]
    fn a_condition_is_one_truth_value() {
        let mut graph = Graph::new();
        let condition = graph.add_input("condition", ElementType::Bool, None).unwrap();
        let mut body = Graph::new();
        let one = body.add_constant("one", Tensor::integers(&[1])).unwrap();
        body.add_output(one).unwrap();
        let branch = || Attribute::Graph(Box::new(body.clone()));
        let node = NewNode::new("If", &[condition], "y").with("then_branch", branch());
        let y = graph.push_one(node.with("else_branch", branch())).unwrap();
        let found = run(&graph, &[(condition, bools(&[1], &[true]))], &[y]).unwrap();
        assert_eq!(found, [ints(&[1], &[1])]);
        let error = run(&graph, &[(condition, bools(&[2], &[true, true]))], &[y]).unwrap_err().to_string();
        assert!(error.contains("a bool array of shape [2], one truth value was expected"), "{error}");
    }

    #[test]
    fn loops_have_limits() {
        let (graph, given, outputs) = loop_graph(None);
        let fail = |limits| run_within(&graph, &given, &outputs, limits).unwrap_err().to_string();
        let rounds = fail(Limits { iterations: 3, ..Limits::default() });
        assert!(rounds.contains("limit of 3 iterations"), "{rounds}");
        let stacked = fail(Limits { elements: 3, ..Limits::default() });
        assert!(stacked.contains("limit of 3 elements"), "{stacked}");
    }

    #[test]
    fn one_branch_is_evaluated() {
        let mut graph = Graph::new();
        let condition = graph.add_input("condition", ElementType::Bool, Some(Vec::new())).unwrap();
        let x = graph.add_input("x", ElementType::I64, None).unwrap();
        let branch = |operator: &str, graph: &Graph| {
            let mut body = Graph::new();
            let x = body.add_capture("inner", x, graph.value(x)).unwrap();
            let zero = body.add_constant("zero", Tensor::integers(&[0])).unwrap();
            let y = body.push_one(NewNode::new(operator, &[x, zero], "y")).unwrap();
            body.add_output(y).unwrap();
            Attribute::Graph(Box::new(body))
        };
        // The branch that divides by zero must not be touched, and is named where it is.
        let (good, bad) = (branch("Add", &graph), branch("Div", &graph));
        let node = NewNode::new("If", &[condition], "y").with("then_branch", good).with("else_branch", bad);
        let y = graph.push_one(node).unwrap();
        let given = |truth: bool| [(condition, bools(&[], &[truth])), (x, ints(&[1], &[5]))];
        assert_eq!(run(&graph, &given(true), &[y]).unwrap(), [ints(&[1], &[5])]);
        let error = run(&graph, &given(false), &[y]).unwrap_err().to_string();
        assert_eq!(error, "Div node \"\": an integer is divided by zero");
    }
}
