//! Branches and loops: what their bodies agree on.

use super::{Class, Facts, Outcome, Scope};
use crate::dim::{Dim, Shape};
use crate::graph::{Graph, Value};

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "If" => branch,
        "Loop" => repeat,
        _ => return None,
    })
}

fn body<'a>(scope: &Scope<'a>, name: &str) -> Result<&'a Graph, String> {
    scope.node.body(name).ok_or_else(|| format!("attribute {name} is missing"))
}

fn outputs(body: &Graph) -> impl Iterator<Item = &Value> {
    body.outputs().iter().map(|output| body.value(*output))
}

/// Whether an expression means the same outside the body that has it: names made up by inference do not.
fn is_outer(size: &Dim) -> bool {
    let mut names = std::collections::BTreeSet::new();
    size.symbols(&mut names);
    !names.iter().any(|name| name.starts_with(['?', '!']))
}

/// Sizes that two values of one rank share; fresh symbols where they do not.
fn agreed(scope: &Scope<'_>, output: usize, shapes: &[&Option<Shape>]) -> Option<Shape> {
    let mut shapes = shapes.iter().copied();
    let mut common = shapes.next()?.as_ref()?.clone();
    for shape in shapes {
        let shape = shape.as_ref().filter(|shape| shape.len() == common.len())?;
        for (axis, (size, other)) in common.iter_mut().zip(shape).enumerate() {
            if size != other || !is_outer(size) {
                *size = scope.fresh(output, axis);
            }
        }
    }
    Some(common)
}

fn branch(scope: &Scope<'_>) -> Outcome {
    scope.value(0)?;
    scope.element([0], Class::Bool)?;
    scope.expect_single(0)?;
    let (then, other) = (body(scope, "then_branch")?, body(scope, "else_branch")?);
    let expected = scope.names.len();
    if then.outputs().len() != expected || other.outputs().len() != expected {
        return Err(format!(
            "the branches have {} and {} outputs, expected {expected}",
            then.outputs().len(),
            other.outputs().len()
        ));
    }
    outputs(then)
        .zip(outputs(other))
        .enumerate()
        .map(|(output, (a, b))| {
            if let (Some(a), Some(b)) = (a.element, b.element)
                && a != b
            {
                return Err(format!("output {output} is {a} in one branch and {b} in the other"));
            }
            let shape = agreed(scope, output, &[&a.shape, &b.shape]);
            Ok(Facts { element: a.element.or(b.element), shape, contents: None })
        })
        .collect()
}

fn repeat(scope: &Scope<'_>) -> Outcome {
    let body = body(scope, "body")?;
    for (input, class) in [(0, Class::Integer), (1, Class::Bool)] {
        scope.element([input], class)?;
        scope.expect_single(input)?;
    }
    let carried = scope.node.inputs.len() - 2;
    let made = body.outputs().len();
    if body.inputs().len() != carried + 2 || made < carried + 1 || scope.names.len() != made - 1 {
        return Err(format!(
            "a body of {} inputs and {made} outputs does not fit {carried} carried values and {} outputs",
            body.inputs().len(),
            scope.names.len()
        ));
    }
    outputs(body)
        .skip(1)
        .enumerate()
        .map(|(output, value)| {
            if output < carried {
                let first = scope.value(output + 2)?;
                if let (Some(a), Some(b)) = (first.element, value.element)
                    && a != b
                {
                    return Err(format!("carried value {output} starts as {a} and goes on as {b}"));
                }
                let taken = &body.value(body.inputs()[output + 2]).shape;
                let shape = agreed(scope, output, &[&first.shape, taken, &value.shape]);
                return Ok(Facts { element: first.element.or(value.element), shape, contents: None });
            }
            let scanned = value.shape.as_ref().map(|shape| {
                let sizes = shape.iter().enumerate();
                let sizes =
                    sizes.map(
                        |(axis, size)| {
                            if is_outer(size) { size.clone() } else { scope.fresh(output, axis + 1) }
                        },
                    );
                std::iter::once(scope.fresh(output, 0)).chain(sizes).collect()
            });
            Ok(Facts { element: value.element, shape: scanned, contents: None })
        })
        .collect()
}
