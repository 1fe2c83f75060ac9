//! Operators that pick, place or make elements.

use super::contents::{indices, maximum, minimum};
use super::{Class, Facts, Outcome, RANK_LIMIT, Scope, axes_of, axis_of, differ};
use crate::dim::{Dim, Shape, display_shape};
use crate::element::ElementType;

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "Slice" => slice,
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "ScatterElements" => scatter_elements,
        "ScatterND" => scatter_nd,
        "Pad" => pad,
        "OneHot" => one_hot,
        "NonZero" => non_zero,
        "Trilu" => trilu,
        "EyeLike" => eye_like,
        "ConstantOfShape" => constant_of_shape,
        "Range" => range,
        _ => return None,
    })
}

/// Numbers from this up mean "to the end": no axis is as long.
const TO_THE_END: i64 = i32::MAX as i64;

/// What is taken of one axis.
struct Cut {
    /// First position, where it is a known number.
    start: Option<i64>,
    step: i64,
    /// How many; `None` where it cannot be known.
    count: Option<Dim>,
}

fn slice(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    for input in 1..5 {
        scope.element([input], Class::Integer)?;
        scope.expect_rank(input, 1)?;
    }
    scope.value(1)?;
    scope.value(2)?;
    let Some(shape) = &value.shape else {
        return scope.one(value.element, None);
    };
    let rank = shape.len();
    let axes = match (scope.maybe(3), scope.numbers(3)) {
        (Some(_), Some(axes)) => axes_of(&axes, rank)?,
        (Some(_), None) => return scope.one(value.element, Some(scope.fresh_shape(0, rank))),
        (None, _) => {
            let count = [1, 2].into_iter().find_map(|input| scope.shape(input)?.first()?.size());
            match count {
                Some(count) if count <= rank => (0..count).collect(),
                Some(count) => return Err(format!("{count} starts for {rank} axes")),
                None => return scope.one(value.element, Some(scope.fresh_shape(0, rank))),
            }
        }
    };
    for input in [1, 2, 4] {
        scope.expect_vector(input, &Dim::from(axes.len()))?;
    }
    let steps = match (scope.maybe(4), scope.numbers(4)) {
        (None, _) => Some(vec![1; axes.len()]),
        (Some(_), steps) => steps,
    };
    if steps.as_ref().is_some_and(|steps| steps.contains(&0)) {
        return Err("a step is 0".to_owned());
    }
    let mut cut_shape = shape.clone();
    let mut origins: Option<Vec<(i64, i64)>> = Some(vec![(0, 1); rank]);
    for (position, axis) in axes.iter().enumerate() {
        let bound = |input: usize| scope.contents(input)?.get(position);
        let cut = match (bound(1), bound(2), &steps) {
            (Some(start), Some(end), Some(steps)) => cut(&shape[*axis], start, end, steps[position]),
            _ => Cut { start: None, step: 1, count: None },
        };
        cut_shape[*axis] = cut.count.unwrap_or_else(|| scope.fresh(0, *axis));
        match (&mut origins, cut.start) {
            (Some(origins), Some(start)) => origins[*axis] = (start, cut.step),
            _ => origins = None,
        }
    }
    let mut facts = Facts { element: value.element, shape: Some(cut_shape), contents: None };
    if let (Some(block), Some(origins)) = (scope.block(0), origins) {
        scope.fill(&mut facts, |index| {
            let source = index.iter().zip(&origins).map(|(position, (start, step))| {
                let moved = i64::try_from(*position).ok()?.checked_mul(*step)?.checked_add(*start)?;
                usize::try_from(moved).ok()
            });
            block.at(&source.collect::<Option<Vec<usize>>>()?).cloned()
        });
    }
    Ok(vec![facts])
}

fn cut(size: &Dim, start: &Dim, end: &Dim, step: i64) -> Cut {
    if let (Some(size), Some(start), Some(end)) = (size.value(), start.value(), end.value()) {
        return known_cut(size, start, end, step);
    }
    if step < 0 {
        // Of a symbolic axis, only the whole of it, turned round, is known.
        let from_end = start.value().is_some_and(|start| start == -1 || start >= TO_THE_END);
        let to_front = end.value().is_some_and(|end| end <= -TO_THE_END);
        let count = (from_end && to_front)
            .then(|| size.plus(&Dim::known(-1))?.floor_div(step.checked_neg()?)?.plus(&Dim::known(1)));
        return Cut { start: None, step, count: count.flatten() };
    }
    let (first, last) = (clamped(size, start), clamped(size, end));
    let count = first.as_ref().zip(last).and_then(|(first, last)| {
        if last.at_most(first) {
            return Some(Dim::known(0));
        }
        let length = first.at_most(&last).then(|| last.minus(first)).flatten()?;
        length.plus(&Dim::known(step - 1))?.floor_div(step)
    });
    Cut { start: first.and_then(|first| first.value()), step, count }
}

/// A position of a forward slice moved into `0..=size`; `None` where it is not evident which side of a bound it is.
fn clamped(size: &Dim, position: &Dim) -> Option<Dim> {
    let zero = Dim::known(0);
    let counted = match position.value() {
        Some(value) if value >= TO_THE_END => return Some(size.clone()),
        Some(value) if value <= -TO_THE_END => return Some(zero),
        Some(value) if value < 0 => size.plus(position)?,
        Some(_) => position.clone(),
        // A number that starts with a minus sign counts from the end, and one that is no size may.
        None if zero.at_most(position) => position.clone(),
        None if position.is_of_sizes() && position.plus(&Dim::known(1))?.at_most(&zero) => {
            size.plus(position)?
        }
        None => return None,
    };
    minimum(&maximum(&counted, &zero)?, size)
}

fn known_cut(size: i64, start: i64, end: i64, step: i64) -> Cut {
    let wrapped = |position: i64| if position < 0 { position.saturating_add(size) } else { position };
    let (start, end) = (wrapped(start), wrapped(end));
    let (start, length) = if step > 0 {
        let start = start.clamp(0, size);
        (start, end.clamp(0, size) - start)
    } else {
        let start = start.clamp(-1, size - 1);
        (start, start - end.clamp(-1, size - 1))
    };
    let stride = step.saturating_abs();
    let count = if length > 0 { (length - 1) / stride + 1 } else { 0 };
    Cut { start: Some(start), step, count: Some(Dim::known(count)) }
}

/// The position that an index means; `Err` where it is outside a known size.
fn position_of(index: i64, size: i64) -> Result<i64, String> {
    let wrapped = if index < 0 { index.checked_add(size) } else { Some(index) };
    wrapped
        .filter(|position| (0..size).contains(position))
        .ok_or_else(|| format!("index {index} is outside an axis of size {size}"))
}

fn gather(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let picked = scope.value(1)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank_from(0, 1)?;
    let Some(shape) = &value.shape else {
        return scope.one(value.element, None);
    };
    let axis = axis_of(scope.node.int("axis", 0), shape.len())?;
    if let Some(size) = shape[axis].value() {
        for index in picked.contents.iter().flatten().filter_map(Dim::value) {
            position_of(index, size)?;
        }
    }
    let Some(indices) = &picked.shape else {
        return scope.one(value.element, None);
    };
    let gathered = [&shape[..axis], indices, &shape[axis + 1..]].concat();
    let mut facts = Facts { element: value.element, shape: Some(gathered), contents: None };
    if let (Some(block), Some(picked)) = (scope.block(0), scope.block(1)) {
        let rank = picked.sizes.len();
        let size = i64::try_from(block.sizes[axis]).unwrap_or(0);
        scope.fill(&mut facts, |index| {
            let chosen = picked.at(&index[axis..axis + rank])?.value()?;
            let chosen = usize::try_from(position_of(chosen, size).ok()?).ok()?;
            block.at(&[&index[..axis], &[chosen], &index[axis + rank..]].concat()).cloned()
        });
    }
    Ok(vec![facts])
}

fn gather_elements(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let picked = scope.value(1)?;
    scope.element([1], Class::Integer)?;
    if let (Some(shape), Some(indices)) = (&value.shape, &picked.shape) {
        let axis = axis_of(scope.node.int("axis", 0), shape.len())?;
        fits_within(indices, shape, axis, "indices")?;
    }
    scope.one(value.element, picked.shape.clone())
}

/// Refuses `inner` where it has another rank than `outer`, or is larger anywhere but along `axis`.
fn fits_within(inner: &[Dim], outer: &[Dim], axis: usize, what: &str) -> Result<(), String> {
    let larger = |a: &Dim, b: &Dim| a.minus(b).and_then(|d| d.lower_bound()).is_some_and(|bound| bound > 0);
    let exceeds = inner.iter().zip(outer).enumerate().any(|(at, (a, b))| at != axis && larger(a, b));
    if inner.len() != outer.len() || exceeds {
        return Err(format!(
            "{what} of shape {} do not fit {} along axis {axis}",
            display_shape(inner),
            display_shape(outer)
        ));
    }
    Ok(())
}

fn gather_nd(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let picked = scope.value(1)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank_from(0, 1)?;
    scope.expect_rank_from(1, 1)?;
    let (Some(shape), Some([outer @ .., depth])) = (&value.shape, picked.shape.as_deref()) else {
        return scope.one(value.element, None);
    };
    let batch = usize::try_from(scope.node.int("batch_dims", 0)).unwrap_or(usize::MAX);
    let Some(depth) = depth.size() else {
        return scope.one(value.element, None);
    };
    let tail = batch.checked_add(depth).and_then(|skipped| shape.get(skipped..));
    match tail {
        Some(tail) if batch <= outer.len() && depth > 0 => {
            if let Some((a, b)) = outer.iter().zip(shape).take(batch).find(|(a, b)| differ(a, b)) {
                return Err(format!("batch axes of sizes {b} and {a} differ"));
            }
            scope.one(value.element, Some([outer, tail].concat()))
        }
        _ => Err(format!(
            "indices of {depth} numbers with batch_dims {batch} do not fit the shape {}",
            display_shape(shape)
        )),
    }
}

fn scatter_elements(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let picked = scope.value(1)?;
    let updates = scope.value(2)?;
    let element = scope.element([0, 2], Class::Any)?;
    scope.element([1], Class::Integer)?;
    if let (Some(indices), Some(updates)) = (&picked.shape, &updates.shape)
        && (indices.len() != updates.len() || indices.iter().zip(updates).any(|(a, b)| differ(a, b)))
    {
        return Err(format!(
            "updates of shape {} do not fit indices of shape {}",
            display_shape(updates),
            display_shape(indices)
        ));
    }
    if let Some(shape) = &value.shape {
        let axis = axis_of(scope.node.int("axis", 0), shape.len())?;
        if let Some(indices) = &picked.shape {
            fits_within(indices, shape, axis, "indices")?;
        }
    }
    scope.one(element, value.shape.clone())
}

fn scatter_nd(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let picked = scope.value(1)?;
    let updates = scope.value(2)?;
    let element = scope.element([0, 2], Class::Any)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank_from(1, 1)?;
    if let (Some(shape), Some([outer @ .., depth])) = (&value.shape, picked.shape.as_deref())
        && let Some(depth) = depth.size()
    {
        let problem = |found: &[Dim]| {
            format!(
                "indices of {depth} numbers and updates of shape {} do not fit the shape {}",
                display_shape(found),
                display_shape(shape)
            )
        };
        let found = updates.shape.as_deref();
        let Some(tail) = shape.get(depth..) else {
            return Err(problem(found.unwrap_or_default()));
        };
        let expected = [outer, tail].concat();
        if let Some(found) = found
            && (found.len() != expected.len() || found.iter().zip(&expected).any(|(a, b)| differ(a, b)))
        {
            return Err(problem(found));
        }
    }
    scope.one(element, value.shape.clone())
}

fn pad(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.value(1)?;
    let element = scope.element([0, 2], Class::Any)?;
    scope.element([1], Class::Integer)?;
    scope.element([3], Class::Integer)?;
    scope.expect_rank(1, 1)?;
    scope.expect_single(2)?;
    let mode = scope.node.string("mode", "constant");
    if !matches!(mode, "constant" | "edge" | "reflect") {
        return Err(format!("mode {mode:?} must be constant, edge or reflect"));
    }
    let Some(shape) = &value.shape else {
        return scope.one(element, None);
    };
    let axes = match (scope.maybe(3), scope.numbers(3)) {
        (None, _) => Some((0..shape.len()).collect()),
        (Some(_), Some(axes)) => Some(axes_of(&axes, shape.len())?),
        (Some(_), None) => None,
    };
    let Some(axes): Option<Vec<usize>> = axes else {
        return scope.one(element, Some(scope.fresh_shape(0, shape.len())));
    };
    scope.expect_vector(1, &Dim::from(2 * axes.len()))?;
    let mut padded = shape.clone();
    for (position, axis) in axes.iter().enumerate() {
        let pads =
            scope.contents(1).and_then(|pads| Some((pads.get(position)?, pads.get(axes.len() + position)?)));
        let Some((begin, end)) = pads.filter(|(begin, end)| begin.is_of_sizes() && end.is_of_sizes()) else {
            padded[*axis] = scope.fresh(0, *axis);
            continue;
        };
        let size = &shape[*axis];
        // A reflection leaves the edge out, so it needs one element more than it repeats.
        let spare = i64::from(mode == "reflect");
        let room = size.plus(&Dim::known(-spare)).and_then(|room| room.value());
        let longest = begin.value().into_iter().chain(end.value()).max();
        let short = match mode {
            "reflect" => room.zip(longest).is_some_and(|(room, longest)| longest > room.max(0)),
            "edge" => size.value() == Some(0) && longest.is_some_and(|longest| longest > 0),
            _ => false,
        };
        if short {
            return Err(format!(
                "axis {axis} of {} is too short for {mode} pads ({begin}, {end})",
                display_shape(shape)
            ));
        }
        let known = all_numbers(&[size, begin, end]);
        let total = size.plus(begin).and_then(|sum| sum.plus(end));
        if let Some(total) = total.as_ref().and_then(Dim::value)
            && total < 0
        {
            return Err(format!("pads ({begin}, {end}) take more from axis {axis} than its size {size}"));
        }
        padded[*axis] = scope.size(total, known, 0, *axis)?;
    }
    scope.one(element, Some(padded))
}

fn all_numbers(dims: &[&Dim]) -> bool {
    dims.iter().all(|dim| dim.value().is_some())
}

fn one_hot(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.value(1)?;
    let choices = scope.value(2)?;
    scope.expect_single(1)?;
    scope.expect_vector(2, &Dim::known(2))?;
    let Some(shape) = &value.shape else {
        return scope.one(choices.element, None);
    };
    let axis = axis_of(scope.node.int("axis", -1), shape.len() + 1)?;
    let depth = match scope.contents(1) {
        Some([depth]) if depth.is_of_sizes() => depth.clone(),
        _ => scope.fresh(0, axis),
    };
    let mut expanded = shape.clone();
    expanded.insert(axis, depth);
    scope.one(choices.element, Some(expanded))
}

fn non_zero(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = Some(ElementType::I64);
    let Some(shape) = &value.shape else {
        return scope.one(element, Some(scope.fresh_shape(0, 2)));
    };
    // A scalar counts as a vector of one.
    let rank = shape.len().max(1);
    let found: Option<Vec<Vec<usize>>> = scope.block(0).and_then(|block| {
        let mut found = Vec::new();
        for index in indices(&block.sizes) {
            if block.at(&index)?.value()? != 0 {
                found.push(if index.is_empty() { vec![0] } else { index });
            }
        }
        Some(found)
    });
    let Some(found) = found else {
        return scope.one(element, Some(vec![Dim::from(rank), scope.fresh(0, 1)]));
    };
    let mut facts =
        Facts { element, shape: Some(vec![Dim::from(rank), Dim::from(found.len())]), contents: None };
    scope.fill(&mut facts, |index| Some(Dim::from(*found.get(index[1])?.get(index[0])?)));
    Ok(vec![facts])
}

fn trilu(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank_from(0, 2)?;
    scope.expect_single(1)?;
    scope.one(value.element, value.shape.clone())
}

fn eye_like(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.expect_rank(0, 2)?;
    let element =
        if scope.node.attributes.contains_key("dtype") {
            let code = scope.node.int("dtype", 0);
            let element = i32::try_from(code).ok().and_then(ElementType::from_onnx_code);
            Some(element.ok_or_else(|| {
                format!("attribute dtype {code} is no element type that tensors here can have")
            })?)
        } else {
            value.element
        };
    scope.one(element, value.shape.clone())
}

fn constant_of_shape(scope: &Scope<'_>) -> Outcome {
    let target = scope.value(0)?;
    scope.element([0], Class::Integer)?;
    scope.expect_rank(0, 1)?;
    let fill = scope.node.tensor("value");
    if let Some(fill) = fill
        && fill.len() != 1
    {
        return Err(format!("attribute value has {} elements, expected one", fill.len()));
    }
    let element = Some(fill.map_or(ElementType::F32, super::super::tensor::Tensor::element));
    let Some(wanted) = &target.contents else {
        let rank = target.static_shape().and_then(|sizes| sizes.first().copied());
        return scope
            .one(element, rank.filter(|rank| *rank <= RANK_LIMIT).map(|rank| scope.fresh_shape(0, rank)));
    };
    let sizes = wanted.iter().enumerate();
    let shape: Shape = sizes
        .map(|(axis, size)| if size.is_of_sizes() { size.clone() } else { scope.fresh(0, axis) })
        .collect();
    let mut facts = Facts { element, shape: Some(shape), contents: None };
    if let Some(number) = fill.and_then(|fill| fill.to_i64()?.first().copied()) {
        scope.fill(&mut facts, |_| Some(Dim::known(number)));
    }
    Ok(vec![facts])
}

fn range(scope: &Scope<'_>) -> Outcome {
    for input in 0..3 {
        scope.value(input)?;
        scope.expect_single(input)?;
    }
    let element = scope.element(0..3, Class::Number)?;
    let unknown = || scope.one(element, Some(vec![scope.fresh(0, 0)]));
    if element.is_none_or(ElementType::is_float) {
        let number = |input: usize| scope.floats(input)?.first().copied();
        let (Some(start), Some(limit), Some(step)) = (number(0), number(1), number(2)) else {
            return unknown();
        };
        return scope.one(element, Some(vec![Dim::known(float_count(start, limit, step)?)]));
    }
    let (Some([start]), Some([limit]), Some([step])) =
        (scope.contents(0), scope.contents(1), scope.contents(2))
    else {
        return unknown();
    };
    let Some(step) = step.value() else {
        return unknown();
    };
    if step == 0 {
        return Err("the step is 0".to_owned());
    }
    let (low, high, stride) =
        if step > 0 { (start, limit, step) } else { (limit, start, step.saturating_neg()) };
    let length = if high.at_most(low) {
        Some(Dim::known(0))
    } else if low.at_most(high) {
        high.minus(low).and_then(|length| length.plus(&Dim::known(stride - 1))?.floor_div(stride))
    } else {
        None
    };
    let known = all_numbers(&[low, high]);
    let shape = vec![scope.size(length, known, 0, 0)?];
    let mut facts = Facts { element, shape: Some(shape), contents: None };
    scope.fill(&mut facts, |index| {
        let offset = i64::try_from(index[0]).ok()?.checked_mul(step)?;
        start.plus(&Dim::known(offset))
    });
    Ok(vec![facts])
}

/// `max(⌈(limit − start) / step⌉, 0)`.
#[expect(clippy::cast_possible_truncation, reason = "the number is whole and below the limit of elements")]
fn float_count(start: f64, limit: f64, step: f64) -> Result<i64, String> {
    let count = ((limit - start) / step).ceil().max(0.0);
    if count.is_nan() || count > super::ELEMENT_LIMIT as f64 {
        return Err(format!("a range from {start} to {limit} by {step} has too many elements"));
    }
    Ok(count as i64)
}
