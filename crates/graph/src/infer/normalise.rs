//! Operators that keep the shape of their input and couple elements along axes.

use super::elementwise::one_way;
use super::{Class, Facts, Outcome, Scope, axis_of};
use crate::dim::Dim;
use crate::element::ElementType;

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "Hardmax" | "LogSoftmax" | "LpNormalization" | "Softmax" => along_axis,
        "CumSum" => cumulative,
        "LRN" => lrn,
        "MeanVarianceNormalization" => mean_variance,
        "BatchNormalization" => batch,
        "InstanceNormalization" => instance,
        "GroupNormalization" => group,
        "LayerNormalization" => layer,
        _ => return None,
    })
}

fn along_axis(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Float)?;
    if let Some(shape) = &value.shape {
        axis_of(scope.node.int("axis", -1), shape.len())?;
    }
    scope.one(element, value.shape.clone())
}

fn cumulative(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.value(1)?;
    let element = scope.element([0], Class::Number)?;
    scope.expect_single(1)?;
    if let (Some(shape), Some(axis)) = (&value.shape, scope.numbers(1)) {
        axis_of(axis.first().copied().unwrap_or(0), shape.len())?;
    }
    scope.one(element, value.shape.clone())
}

fn lrn(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Float)?;
    scope.expect_rank_from(0, 2)?;
    let size = scope.node.int("size", 0);
    if size < 1 {
        return Err(format!("attribute size {size} must be at least 1"));
    }
    scope.one(element, value.shape.clone())
}

fn mean_variance(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Float)?;
    if let Some(shape) = &value.shape {
        super::axes_of(scope.node.ints("axes").unwrap_or(&[0, 2, 3]), shape.len())?;
    }
    scope.one(element, value.shape.clone())
}

/// The number of channels, axis 1; a fresh symbol where it is not known.
fn channels(scope: &Scope<'_>, output: usize) -> Result<Dim, String> {
    scope.expect_rank_from(0, 2)?;
    Ok(scope.shape(0).map_or_else(|| scope.fresh(output, 0), |shape| shape[1].clone()))
}

fn batch(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Float)?;
    scope.element(1..5, Class::Float)?;
    // A vector is one channel to every row.
    let channels = match scope.shape(0) {
        Some([_]) => Dim::known(1),
        _ => channels(scope, 1)?,
    };
    for input in 1..5 {
        scope.value(input)?;
        if scope.shape(0).is_some() {
            scope.expect_vector(input, &channels)?;
        } else {
            scope.expect_rank(input, 1)?;
        }
    }
    if scope.names.len() > 1 && scope.node.int("training_mode", 0) == 0 {
        return Err("running statistics are outputs of training_mode alone".to_owned());
    }
    let statistics = Facts { element: scope.value(3)?.element, shape: Some(vec![channels]), contents: None };
    let mut facts = vec![Facts { element, shape: value.shape.clone(), contents: None }];
    facts.resize(scope.names.len(), statistics);
    Ok(facts)
}

fn instance(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element(0..3, Class::Float)?;
    scope.expect_rank_from(0, 3)?;
    let channels = channels(scope, 0)?;
    for input in 1..3 {
        scope.value(input)?;
        if scope.shape(0).is_some() {
            scope.expect_vector(input, &channels)?;
        }
    }
    scope.one(element, value.shape.clone())
}

fn group(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element(0..3, Class::Float)?;
    let groups = scope.node.int("num_groups", 0);
    if groups < 1 {
        return Err(format!("attribute num_groups {groups} must be at least 1"));
    }
    let channels = channels(scope, 0)?;
    if let Some(count) = channels.value()
        && count % groups != 0
    {
        return Err(format!("{count} channels cannot be split into {groups} groups"));
    }
    for input in 1..3 {
        scope.value(input)?;
        scope.expect_vector(input, &Dim::known(groups))?;
    }
    scope.one(element, value.shape.clone())
}

fn layer(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.value(1)?;
    let element = scope.element(0..3, Class::Float)?;
    let stash = scope.node.int("stash_type", 1);
    let stash = i32::try_from(stash)
        .ok()
        .and_then(ElementType::from_onnx_code)
        .filter(|element| element.is_float())
        .ok_or_else(|| format!("attribute stash_type {stash} is no float type"))?;
    let mut statistics = None;
    if let Some(shape) = &value.shape {
        let axis = axis_of(scope.node.int("axis", -1), shape.len())?;
        for (input, what) in [(1, "the scale"), (2, "the bias")] {
            if let Some(operand) = scope.shape(input) {
                one_way(scope, &shape[axis..], operand, what)?;
            }
        }
        let mut reduced = shape.clone();
        reduced[axis..].fill(Dim::known(1));
        statistics = Some(reduced);
    }
    let statistics = Facts { element: Some(stash), shape: statistics, contents: None };
    let mut facts = vec![Facts { element, shape: value.shape.clone(), contents: None }];
    facts.resize(scope.names.len(), statistics);
    Ok(facts)
}
