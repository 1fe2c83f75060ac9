//! Reductions and selections along axes.

use super::contents::{indices, maximum, minimum};
use super::{Class, Facts, Outcome, Scope, axes_of, axis_of};
use crate::dim::{Dim, display_shape};
use crate::element::ElementType;

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean"
        | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => reduce,
        "ArgMax" | "ArgMin" => arg,
        "TopK" => top_k,
        _ => return None,
    })
}

fn reduce(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Number)?;
    scope.element([1], Class::Integer)?;
    if scope.node.attributes.contains_key("axes") {
        return Err("axes are an input of this form, found an attribute".to_owned());
    }
    let keep = scope.node.int("keepdims", 1) != 0;
    let Some(shape) = &value.shape else {
        return scope.one(element, None);
    };
    let listed = match scope.maybe(1) {
        None => Some(Vec::new()),
        Some(_) => scope.numbers(1),
    };
    let Some(listed) = listed else {
        return scope.one(element, keep.then(|| scope.fresh_shape(0, shape.len())));
    };
    let axes = if listed.is_empty() {
        if scope.node.int("noop_with_empty_axes", 0) != 0 { Vec::new() } else { (0..shape.len()).collect() }
    } else {
        axes_of(&listed, shape.len())?
    };
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let reduced = if keep {
        let sizes = shape.iter().enumerate();
        sizes.map(|(axis, size)| if axes.contains(&axis) { Dim::known(1) } else { size.clone() }).collect()
    } else {
        kept.iter().map(|axis| shape[*axis].clone()).collect()
    };
    let mut facts = Facts { element, shape: Some(reduced), contents: None };
    if let Some(block) = scope.block(0) {
        let (empty, combine): (_, fn(&Dim, &Dim) -> Option<Dim>) = match &*scope.node.operator {
            "ReduceSum" => (Some(Dim::known(0)), Dim::plus),
            "ReduceProd" => (Some(Dim::known(1)), Dim::times),
            "ReduceMax" => (None, maximum),
            "ReduceMin" => (None, minimum),
            _ => return Ok(vec![facts]),
        };
        let inner: Vec<usize> = axes.iter().map(|axis| block.sizes[*axis]).collect();
        scope.fill(&mut facts, |index| {
            let mut source = vec![0; block.sizes.len()];
            for (position, axis) in kept.iter().enumerate() {
                source[*axis] = index[if keep { *axis } else { position }];
            }
            let mut result = empty.clone();
            for part in indices(&inner) {
                for (position, axis) in part.iter().zip(&axes) {
                    source[*axis] = *position;
                }
                let next = block.at(&source)?;
                result = Some(match &result {
                    Some(so_far) => combine(so_far, next)?,
                    None => next.clone(),
                });
            }
            result
        });
    }
    Ok(vec![facts])
}

fn arg(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.element([0], Class::Number)?;
    let element = Some(ElementType::I64);
    let Some(shape) = &value.shape else {
        return scope.one(element, None);
    };
    let axis = axis_of(scope.node.int("axis", 0), shape.len())?;
    if shape[axis].value() == Some(0) {
        return Err(format!("axis {axis} of {} is empty and has no extreme", display_shape(shape)));
    }
    let mut reduced = shape.clone();
    if scope.node.int("keepdims", 1) != 0 {
        reduced[axis] = Dim::known(1);
    } else {
        reduced.remove(axis);
    }
    scope.one(element, Some(reduced))
}

fn top_k(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.value(1)?;
    let element = scope.element([0], Class::Number)?;
    scope.element([1], Class::Integer)?;
    scope.expect_single(1)?;
    let mut chosen = value.shape.clone();
    if let Some(shape) = &mut chosen {
        let axis = axis_of(scope.node.int("axis", -1), shape.len())?;
        let count = match scope.contents(1) {
            Some([count]) if count.is_of_sizes() => count.clone(),
            _ => scope.fresh(0, axis),
        };
        let more = count.minus(&shape[axis]).and_then(|excess| excess.lower_bound());
        if more.is_some_and(|excess| excess > 0) || count.value().is_some_and(|count| count < 0) {
            return Err(format!("cannot take {count} of axis {axis} of {}", display_shape(shape)));
        }
        shape[axis] = count;
    }
    let indices = Facts { element: Some(ElementType::I64), shape: chosen.clone(), contents: None };
    Ok(vec![Facts { element, shape: chosen, contents: None }, indices])
}
