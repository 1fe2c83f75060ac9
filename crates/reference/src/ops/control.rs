//! Control flow: bodies that see the values around them.

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{Graph, ValueId};

use crate::array::Array;
use crate::call::{Call, Operator, Outcome, signed};
use crate::error::Problem;
use crate::ops::shape::join;
use crate::run::interpret;

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
    let mut round = 0u64;
    while going && round < most {
        if round >= call.limits.iterations {
            return Err(format!("the limit of {} iterations is passed", call.limits.iterations).into());
        }
        let number = Array::Int(ArrayD::from_elem(IxDyn(&[]), i64::try_from(round).unwrap_or(i64::MAX)));
        let condition = Array::Bool(ArrayD::from_elem(IxDyn(&[]), true));
        let arrays = [number, condition].into_iter().chain(std::mem::take(&mut carried)).map(Cow::Owned);
        let given = body.inputs().iter().copied().zip(arrays).collect();
        let mut outputs = run_body(call, body, given)?.into_iter();
        going = truth(&outputs.next().ok_or("the body returns no condition")?)?;
        carried = outputs.by_ref().take(carried_count).collect();
        for (stack, array) in stacked.iter_mut().zip(outputs) {
            stack.push(with_axis(array)?);
        }
        round += 1;
    }
    let mut outputs = carried;
    for (position, stack) in stacked.iter().enumerate() {
        let arrays: Vec<&Array> = stack.iter().collect();
        outputs.push(if arrays.is_empty() {
            nothing(body, carried_count + 1 + position)?
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

/// What a body that never ran stacks: no element of the declared type and sizes.
fn nothing(body: &Graph, output: usize) -> Result<Array, Problem> {
    let value = body.value(body.outputs()[output]);
    let mut shape = vec![0usize];
    shape.extend(value.static_shape().unwrap_or_default());
    debug_assert!(signed(shape[0]) == 0, "nothing was stacked");
    Ok(match value.element {
        Some(element) if element.is_float() => ArrayD::<f64>::zeros(IxDyn(&shape)).into(),
        Some(pellucid_graph::ElementType::Bool) => ArrayD::from_elem(IxDyn(&shape), false).into(),
        Some(_) => ArrayD::<i64>::zeros(IxDyn(&shape)).into(),
        None => return Err("the type of a stacked value is not known".into()),
    })
}
