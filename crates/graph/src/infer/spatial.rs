//! Convolution, pooling and resizing.

use super::{Class, Facts, Outcome, Scope, differ};
use crate::dim::{Dim, Shape, display_shape};
use crate::element::ElementType;
use crate::interpolation;
use crate::window::Window;

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "Conv" => |scope| convolution(scope, false),
        "ConvTranspose" => |scope| convolution(scope, true),
        "AveragePool" | "LpPool" | "MaxPool" => pool,
        "GlobalAveragePool" | "GlobalLpPool" | "GlobalMaxPool" => global,
        "Resize" => resize,
        _ => return None,
    })
}

fn convolution(scope: &Scope<'_>, transposed: bool) -> Outcome {
    scope.value(0)?;
    scope.value(1)?;
    let element = scope.element(0..3, Class::Float)?;
    scope.expect_rank_from(0, 3)?;
    scope.expect_rank_from(1, 3)?;
    let groups = scope.node.int("group", 1);
    if groups < 1 {
        return Err(format!("attribute group {groups} must be at least 1"));
    }
    let (input, weights) = (scope.shape(0), scope.shape(1));
    let Some(rank) = input.or(weights).map(<[Dim]>::len) else {
        return scope.one(element, None);
    };
    if let (Some(input), Some(weights)) = (input, weights) {
        check_channels(input, weights, groups, transposed)?;
    }
    let batch = input.map_or_else(|| scope.fresh(0, 0), |input| input[0].clone());
    let channels = match weights {
        Some(weights) if transposed => scope.size(weights[1].scaled(groups), true, 0, 1)?,
        Some(weights) => weights[0].clone(),
        None => scope.fresh(0, 1),
    };
    if weights.is_some() {
        scope.expect_vector(2, &channels)?;
    }
    let kernel: Option<Vec<i64>> = match weights {
        Some(weights) => weights[2..].iter().map(Dim::value).collect(),
        None => None,
    };
    let kernel = kernel.or_else(|| scope.node.ints("kernel_shape").map(<[i64]>::to_vec));
    let mut shape = vec![batch, channels];
    match (input, kernel) {
        (Some(input), Some(kernel)) => {
            let sizes = &input[2..];
            let window = if transposed {
                Window::of_conv_transpose(scope.node, sizes, &kernel)?
            } else {
                Window::of_conv(scope.node, sizes, &kernel)?
            };
            shape.extend(window.output());
        }
        _ => shape.extend((2..rank).map(|axis| scope.fresh(0, axis))),
    }
    scope.one(element, Some(shape))
}

fn check_channels(input: &[Dim], weights: &[Dim], groups: i64, transposed: bool) -> Result<(), String> {
    let problem = |what: &str| {
        format!(
            "input of shape {} and weights of shape {} with {groups} groups: {what}",
            display_shape(input),
            display_shape(weights)
        )
    };
    if input.len() != weights.len() {
        return Err(problem("the ranks differ"));
    }
    let (taken, split) = if transposed {
        (Some(weights[0].clone()), &weights[0])
    } else {
        (weights[1].scaled(groups), &weights[0])
    };
    if taken.is_none_or(|taken| differ(&taken, &input[1])) {
        return Err(problem("the numbers of input channels differ"));
    }
    if split.value().is_some_and(|channels| channels % groups != 0) {
        return Err(problem("the channels are no multiple of the groups"));
    }
    Ok(())
}

fn pool(scope: &Scope<'_>) -> Outcome {
    scope.value(0)?;
    let element = scope.element([0], Class::Number)?;
    scope.expect_rank_from(0, 3)?;
    let shape = match scope.shape(0) {
        Some(input) => {
            let window = Window::of_pool(scope.node, &input[2..])?;
            Some([&input[..2], &window.output()[..]].concat())
        }
        None => None,
    };
    let indices = Facts { element: Some(ElementType::I64), shape: shape.clone(), contents: None };
    Ok(vec![Facts { element, shape, contents: None }, indices])
}

fn global(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Float)?;
    scope.expect_rank_from(0, 2)?;
    let mut shape = value.shape.clone();
    if let Some(shape) = &mut shape {
        shape[2..].fill(Dim::known(1));
    }
    scope.one(element, shape)
}

fn resize(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], Class::Number)?;
    scope.element([3], Class::Integer)?;
    let Some(shape) = &value.shape else {
        return scope.one(element, None);
    };
    let given = |input: usize| {
        // An empty tensor stands for a left-out input.
        let value = scope.maybe(input)?;
        (value.static_shape().as_deref() != Some(&[0])).then_some(value)
    };
    if let (Some(scales), Some(sizes)) = (given(2), given(3)) {
        return Err(format!(
            "both scales {:?} and sizes {:?} are given, expected one",
            scales.name, sizes.name
        ));
    }
    if given(2).is_none() && given(3).is_none() {
        return Err("neither scales nor sizes are given, expected one".to_owned());
    }
    if let Some(exact) = exact_resize(scope)? {
        return scope.one(element, Some(exact));
    }
    let axes = match scope.node.ints("axes").filter(|axes| !axes.is_empty()) {
        Some(axes) => super::axes_of(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    for input in [2, 3] {
        if given(input).is_some() {
            scope.expect_vector(input, &Dim::from(axes.len()))?;
        }
    }
    let stretched = scope.node.string("keep_aspect_ratio_policy", "stretch") == "stretch";
    let scales = given(2).and_then(|_| scope.floats(2));
    let sizes = given(3).and_then(|_| scope.contents(3)).filter(|_| stretched);
    let mut resized = shape.clone();
    for (position, axis) in axes.iter().enumerate() {
        let size = match (&scales, sizes) {
            (Some(scales), _) => scales.get(position).and_then(|scale| scaled(&shape[*axis], *scale)),
            (None, Some(sizes)) => sizes.get(position).filter(|size| size.is_of_sizes()).cloned(),
            (None, None) => None,
        };
        resized[*axis] = size.unwrap_or_else(|| scope.fresh(0, *axis));
    }
    scope.one(element, Some(resized))
}

/// The output's sizes, where the input's and the numbers asked for are all known.
fn exact_resize(scope: &Scope<'_>) -> Result<Option<Shape>, String> {
    let numbers = match (scope.floats(2), scope.numbers(3)) {
        (scales, sizes) if scales.is_some() || sizes.is_some() => (scales, sizes),
        _ => return Ok(None),
    };
    let Some(input) = scope.maybe(0).and_then(crate::graph::Value::static_shape) else {
        return Ok(None);
    };
    // Where the region of interest is not constant, it still has no say in the sizes.
    let node;
    let target = if scope.node.string("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
        let mut plain = scope.node.clone();
        plain.attributes.remove("coordinate_transformation_mode");
        node = plain;
        &node
    } else {
        scope.node
    };
    let axes = interpolation::axes(target, &input, None, numbers.0.as_deref(), numbers.1.as_deref())?;
    Ok(Some(axes.iter().map(|axis| Dim::from(axis.output)).collect()))
}

/// `floor(size · scale)`, for a symbolic size only with a scale of whole 64ths: others are rounded in `float32`,
/// which no expression says.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and sizes past the limit are refused")]
fn scaled(size: &Dim, scale: f64) -> Option<Dim> {
    if let Some(size) = size.value() {
        return Some(Dim::known((size as f32 * scale as f32).floor() as i64));
    }
    let parts = scale * 64.0;
    if parts.fract().abs() > 0.0 || !(1.0..4_194_304.0).contains(&parts) {
        return None;
    }
    size.scaled(parts as i64)?.floor_div(64)
}
