//! Operators that rearrange elements, and those that read sizes.

use super::contents::{Block, indices, small_count};
use super::{Class, Facts, Outcome, RANK_LIMIT, Scope, all_known, axes_of, axis_of, differ, product, unify};
use crate::dim::{Dim, Shape, display_shape};
use crate::element::ElementType;
use crate::node::Attribute;

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "Shape" => sizes_of,
        "Size" => count_of,
        "Reshape" => reshape,
        "Flatten" => flatten,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Transpose" => transpose,
        "Concat" => concat,
        "Split" => split,
        "Expand" => expand,
        "Tile" => tile,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        _ => return None,
    })
}

fn sizes_of(scope: &Scope<'_>) -> Outcome {
    let element = Some(ElementType::I64);
    let Some(shape) = &scope.value(0)?.shape else {
        return scope.one(element, Some(vec![scope.fresh(0, 0)]));
    };
    let rank = i64::try_from(shape.len()).map_err(|_| "too many axes".to_owned())?;
    let place = |name: &str, default: i64| {
        let value = scope.node.int(name, default);
        let wrapped = if value < 0 { value.saturating_add(rank) } else { value };
        usize::try_from(wrapped.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (place("start", 0), place("end", rank));
    let sizes = shape.get(start..end).unwrap_or_default();
    Ok(vec![Facts { element, shape: Some(vec![Dim::from(sizes.len())]), contents: Some(sizes.to_vec()) }])
}

fn count_of(scope: &Scope<'_>) -> Outcome {
    let mut facts = Facts { element: Some(ElementType::I64), shape: Some(Vec::new()), contents: None };
    if let Some(count) = scope.value(0)?.shape.as_deref().and_then(product) {
        facts.contents = Some(vec![count]);
    }
    Ok(vec![facts])
}

/// Contents of an input under the first output's sizes, in the same order.
#[expect(clippy::unnecessary_wraps, reason = "rules end with it")]
fn carry(scope: &Scope<'_>, element: Option<ElementType>, shape: Option<Shape>) -> Outcome {
    // Contents stand beside known sizes only.
    let known = shape.as_ref().is_some_and(|shape| shape.iter().all(|size| size.value().is_some()));
    let contents = scope.contents(0).filter(|_| known).map(<[Dim]>::to_vec);
    Ok(vec![Facts { element, shape, contents }])
}

fn reshape(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let target = scope.value(1)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank(1, 1)?;
    let Some(contents) = &target.contents else {
        // The rank at least is the number of sizes asked for.
        let rank = target.static_shape().and_then(|shape| shape.first().copied());
        let shape = rank.filter(|rank| *rank <= RANK_LIMIT).map(|rank| scope.fresh_shape(0, rank));
        return carry(scope, value.element, shape);
    };
    let keeps_zero = scope.node.int("allowzero", 0) != 0;
    let input = value.shape.as_deref();
    let mut shape = Vec::with_capacity(contents.len());
    let mut open = None;
    let mut certain = input.is_some();
    for (axis, wanted) in contents.iter().enumerate() {
        shape.push(match (wanted.value(), input) {
            (Some(-1), _) if open.is_some() => {
                return Err(format!("the shape {} has -1 twice", display_shape(contents)));
            }
            (Some(-1), _) => {
                open = Some(axis);
                Dim::known(1)
            }
            (Some(number), _) if number < 0 => {
                return Err(format!("the shape {} has a negative size", display_shape(contents)));
            }
            (Some(0), Some(input)) if !keeps_zero => input.get(axis).cloned().ok_or_else(|| {
                format!(
                    "the shape {} keeps axis {axis}, which {} has not",
                    display_shape(contents),
                    display_shape(input)
                )
            })?,
            (Some(0), None) if !keeps_zero => scope.fresh(0, axis),
            (None, _) if !wanted.is_of_sizes() => {
                certain = false;
                scope.fresh(0, axis)
            }
            _ => wanted.clone(),
        });
    }
    if let (Some(open), true, Some(input)) = (open, certain, input) {
        shape[open] = remaining(scope, input, &shape, open)?;
    } else if let Some(open) = open {
        shape[open] = scope.fresh(0, open);
    } else if let (true, Some(input)) = (certain, input)
        && mismatch(input, &shape)
    {
        return Err(format!(
            "{} cannot be reshaped to {}: the numbers of elements differ",
            display_shape(input),
            display_shape(&shape)
        ));
    }
    carry(scope, value.element, Some(shape))
}

/// Sizes of each side that the other has not.
fn cancel(a: &[Dim], b: &[Dim]) -> (Vec<Dim>, Vec<Dim>) {
    let mut left = Vec::new();
    let mut right = b.to_vec();
    for dim in a {
        match right.iter().position(|other| other == dim) {
            // A size that may be zero says nothing when it is taken out of both sides.
            Some(position) if dim.lower_bound().is_some_and(|bound| bound > 0) => {
                right.remove(position);
            }
            _ => left.push(dim.clone()),
        }
    }
    (left, right)
}

/// Whether two shapes evidently have different numbers of elements.
fn mismatch(a: &[Dim], b: &[Dim]) -> bool {
    let (a, b) = cancel(a, b);
    match (product(&a), product(&b)) {
        (Some(a), Some(b)) => differ(&a, &b),
        _ => all_known(&a) && all_known(&b),
    }
}

/// The size of the axis `open` of `shape`, which stands there as 1, so that `input` fills it.
fn remaining(scope: &Scope<'_>, input: &[Dim], shape: &[Dim], open: usize) -> Result<Dim, String> {
    let problem = || {
        let mut text: Vec<String> = shape.iter().map(Dim::to_string).collect();
        "-1".clone_into(&mut text[open]);
        format!("{} cannot be reshaped to [{}]", display_shape(input), text.join(", "))
    };
    // A symbol that both sides have cancels even where it might be zero: no size would do then.
    let mut rest = input.to_vec();
    let mut asked = Vec::new();
    for dim in shape {
        match rest.iter().position(|other| other == dim && other.value() != Some(0)) {
            Some(position) => {
                rest.remove(position);
            }
            None => asked.push(dim.clone()),
        }
    }
    let (Some(elements), Some(divisor)) = (product(&rest), product(&asked)) else {
        return if all_known(input) && all_known(shape) { Err(problem()) } else { Ok(scope.fresh(0, open)) };
    };
    match (elements.value(), divisor.value()) {
        (_, Some(0)) => Err(problem() + ": any size would do for -1"),
        (Some(elements), Some(divisor)) if elements % divisor != 0 => {
            Err(problem() + &format!(": {elements} is no multiple of {divisor}"))
        }
        _ => Ok(elements.exact_quotient(&divisor).unwrap_or_else(|| scope.fresh(0, open))),
    }
}

fn flatten(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let Some(shape) = &value.shape else {
        return carry(scope, value.element, Some(scope.fresh_shape(0, 2)));
    };
    let axis = scope.node.int("axis", 1);
    let split = if i64::try_from(shape.len()).is_ok_and(|rank| rank == axis) {
        shape.len()
    } else {
        axis_of(axis, shape.len())?
    };
    let (rows, columns) = shape.split_at(split);
    let rows = scope.size(product(rows), all_known(rows), 0, 0)?;
    let columns = scope.size(product(columns), all_known(columns), 0, 1)?;
    carry(scope, value.element, Some(vec![rows, columns]))
}

fn squeeze(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.element([1], Class::Integer)?;
    let Some(shape) = &value.shape else {
        return carry(scope, value.element, None);
    };
    let one = Dim::known(1);
    let axes = match (scope.maybe(1), scope.numbers(1)) {
        (Some(_), Some(axes)) => axes_of(&axes, shape.len())?,
        (Some(axes), None) => {
            // As many axes go as are listed, whichever they are.
            let count = axes.static_shape().and_then(|sizes| sizes.first().copied());
            let rank = count.and_then(|count| shape.len().checked_sub(count));
            return carry(scope, value.element, rank.map(|rank| scope.fresh_shape(0, rank)));
        }
        (None, _) if shape.iter().all(|size| *size == one || differ(size, &one)) => {
            (0..shape.len()).filter(|axis| shape[*axis] == one).collect()
        }
        (None, _) => return carry(scope, value.element, None),
    };
    if let Some(axis) = axes.iter().find(|axis| differ(&shape[**axis], &one)) {
        return Err(format!("axis {axis} of {} cannot be squeezed: its size is not 1", display_shape(shape)));
    }
    let kept = shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    carry(scope, value.element, Some(kept.map(|(_, size)| size.clone()).collect()))
}

fn unsqueeze(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let axes = scope.value(1)?;
    scope.element([1], Class::Integer)?;
    let Some(shape) = &value.shape else {
        return carry(scope, value.element, None);
    };
    let Some(axes) = scope.numbers(1) else {
        let count = axes.static_shape().map(|sizes| sizes.first().copied().unwrap_or(1));
        let rank = count.and_then(|count| shape.len().checked_add(count)).filter(|rank| *rank <= RANK_LIMIT);
        return carry(scope, value.element, rank.map(|rank| scope.fresh_shape(0, rank)));
    };
    let rank = shape.len() + axes.len();
    let axes = axes_of(&axes, rank)?;
    let mut sizes = shape.iter();
    let widened = (0..rank).map(|axis| {
        if axes.contains(&axis) { Dim::known(1) } else { sizes.next().cloned().unwrap_or(Dim::known(1)) }
    });
    carry(scope, value.element, Some(widened.collect()))
}

fn transpose(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let perm = scope.node.ints("perm");
    let Some(shape) = &value.shape else {
        return scope.one(value.element, perm.map(|perm| scope.fresh_shape(0, perm.len())));
    };
    let order = match perm {
        Some(perm) => {
            if perm.len() != shape.len() {
                return Err(format!("perm {perm:?} does not fit the shape {}", display_shape(shape)));
            }
            axes_of(perm, shape.len())?
        }
        None => (0..shape.len()).rev().collect(),
    };
    let permuted = order.iter().map(|axis| shape[*axis].clone()).collect();
    let mut facts = Facts { element: value.element, shape: Some(permuted), contents: None };
    if let Some(block) = scope.block(0) {
        scope.fill(&mut facts, |index| {
            let mut source = vec![0; index.len()];
            for (position, axis) in index.iter().zip(&order) {
                source[*axis] = *position;
            }
            block.at(&source).cloned()
        });
    }
    Ok(vec![facts])
}

fn concat(scope: &Scope<'_>) -> Outcome {
    let count = scope.node.inputs.len();
    let element = scope.element(0..count, Class::Any)?;
    let shapes = (0..count).map(|input| Ok(scope.value(input)?.shape.as_deref()));
    let shapes: Vec<Option<&[Dim]>> = shapes.collect::<Result<_, String>>()?;
    let Some(rank) = shapes.iter().flatten().map(|shape| shape.len()).next() else {
        return scope.one(element, None);
    };
    let Some(Attribute::Int(axis)) = scope.node.attributes.get("axis") else {
        return Err("attribute axis is missing".to_owned());
    };
    let axis = axis_of(*axis, rank)?;
    let mut joined: Option<Shape> = None;
    let mut total = Some(Dim::known(0));
    for shape in &shapes {
        let Some(shape) = shape else {
            total = None;
            continue;
        };
        let problem = |found: &Shape| {
            format!(
                "cannot concatenate {} and {} along axis {axis}",
                display_shape(found),
                display_shape(shape)
            )
        };
        total = total.and_then(|total| total.plus(shape.get(axis)?));
        let Some(found) = &mut joined else {
            joined = Some(shape.to_vec());
            continue;
        };
        if shape.len() != rank {
            return Err(problem(found));
        }
        for other in (0..rank).filter(|other| *other != axis) {
            found[other] = unify(&found[other], &shape[other]).ok_or_else(|| problem(found))?;
        }
    }
    let mut shape = joined.unwrap_or_default();
    let known = shapes.iter().all(|shape| shape.is_some_and(|shape| shape[axis].value().is_some()));
    shape[axis] = scope.size(total, known, 0, axis)?;
    let mut facts = Facts { element, shape: Some(shape), contents: None };
    // Where one operand's numbers are unknown, those of the others still are not.
    let lengths = shapes.iter().map(|shape| (*shape)?[axis].size()).enumerate();
    let pieces: Option<Vec<(usize, Option<Block<'_>>)>> = lengths
        .filter(|(_, length)| *length != Some(0))
        .map(|(input, length)| Some((length?, scope.block(input))))
        .collect();
    if let Some(pieces) = pieces.filter(|pieces| pieces.iter().any(|(_, block)| block.is_some())) {
        scope.fill(&mut facts, |index| {
            let mut source = index.to_vec();
            for (length, block) in &pieces {
                if source[axis] < *length {
                    return block.as_ref()?.at(&source).cloned();
                }
                source[axis] -= length;
            }
            None
        });
    }
    Ok(vec![facts])
}

fn split(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.element([1], Class::Integer)?;
    let parts = scope.names.len();
    let declared = scope.node.int("num_outputs", i64::try_from(parts).unwrap_or(i64::MAX));
    if scope.maybe(1).is_none() && usize::try_from(declared) != Ok(parts) {
        return Err(format!("attribute num_outputs is {declared}, found {parts} outputs"));
    }
    let Some(shape) = &value.shape else {
        let facts = Facts { element: value.element, ..Facts::default() };
        return Ok(vec![facts; parts]);
    };
    let axis = axis_of(scope.node.int("axis", 0), shape.len())?;
    let whole = &shape[axis];
    let sizes: Vec<Option<Dim>> = match (scope.maybe(1), scope.contents(1)) {
        (Some(_), Some(sizes)) => {
            let total = sizes.iter().try_fold(Dim::known(0), |total, size| total.plus(size));
            if sizes.len() != parts || total.is_none_or(|total| differ(&total, whole)) {
                return Err(format!(
                    "axis {axis} of {} cannot be split into {} for {parts} outputs",
                    display_shape(shape),
                    display_shape(sizes)
                ));
            }
            sizes.iter().map(|size| size.is_of_sizes().then(|| size.clone())).collect()
        }
        (Some(_), None) => vec![None; parts],
        (None, _) => even_parts(whole, declared).unwrap_or_else(|| vec![None; parts]),
    };
    let mut begin = Some(0);
    let mut facts = Vec::with_capacity(parts);
    for (output, size) in sizes.into_iter().enumerate() {
        let mut part = shape.clone();
        part[axis] = size.unwrap_or_else(|| scope.fresh(output, axis));
        let length = part[axis].size();
        let mut fact = Facts { element: value.element, shape: Some(part), contents: None };
        if let (Some(block), Some(begin)) = (scope.block(0), begin)
            && fact.element.is_some_and(|element| !element.is_float())
        {
            fact.contents = sub_block(&block, fact.shape.as_deref().unwrap_or_default(), axis, begin);
        }
        begin = begin.zip(length).and_then(|(begin, length)| begin.checked_add(length));
        facts.push(fact);
    }
    Ok(facts)
}

fn sub_block(block: &Block<'_>, shape: &[Dim], axis: usize, begin: usize) -> Option<Vec<Dim>> {
    let sizes: Vec<usize> = shape.iter().map(Dim::size).collect::<Option<_>>()?;
    small_count(&sizes)?;
    indices(&sizes)
        .map(|mut index| {
            index[axis] += begin;
            block.at(&index).cloned()
        })
        .collect()
}

/// Sizes of `parts` equal parts, of which the last may be smaller.
fn even_parts(whole: &Dim, parts: i64) -> Option<Vec<Option<Dim>>> {
    if parts < 1 {
        return None;
    }
    let part = whole.plus(&Dim::known(parts - 1))?.floor_div(parts)?;
    let mut rest = whole.clone();
    let mut sizes = Vec::new();
    for _ in 0..parts {
        let size = match (part.value(), rest.value()) {
            (Some(part), Some(rest)) => Dim::known(part.min(rest)),
            // Of a symbol, only parts that are all equal are simple.
            _ if part.scaled(parts)? == *whole => part.clone(),
            _ => return None,
        };
        rest = rest.minus(&size)?;
        sizes.push(Some(size));
    }
    Some(sizes)
}

fn expand(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let target = scope.value(1)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank(1, 1)?;
    let (Some(shape), Some(wanted)) = (&value.shape, &target.contents) else {
        let rank = target.static_shape().and_then(|sizes| sizes.first().copied());
        let rank = value.shape.as_ref().zip(rank).map(|(shape, rank)| shape.len().max(rank));
        let shape = rank.filter(|rank| *rank <= RANK_LIMIT).map(|rank| scope.fresh_shape(0, rank));
        return scope.one(value.element, shape);
    };
    if wanted.iter().any(|size| size.value().is_some_and(|size| size < 0)) {
        return Err(format!("the shape {} has a negative size", display_shape(wanted)));
    }
    let wanted: Shape = wanted
        .iter()
        .enumerate()
        .map(|(axis, size)| if size.is_of_sizes() { size.clone() } else { scope.fresh(0, axis) })
        .collect();
    let shape = scope.broadcast(shape, &wanted, 0)?;
    let mut facts = Facts { element: value.element, shape: Some(shape), contents: None };
    if let Some(block) = scope.block(0) {
        scope.fill(&mut facts, |index| block.at_broadcast(index).cloned());
    }
    Ok(vec![facts])
}

fn tile(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    scope.value(1)?;
    scope.element([1], Class::Integer)?;
    scope.expect_rank(1, 1)?;
    let Some(shape) = &value.shape else {
        return scope.one(value.element, None);
    };
    scope.expect_vector(1, &Dim::from(shape.len()))?;
    let Some(repeats) = scope.contents(1) else {
        return scope.one(value.element, Some(scope.fresh_shape(0, shape.len())));
    };
    if repeats.iter().any(|count| count.value().is_some_and(|count| count < 0)) {
        return Err(format!("the repeats {} have a negative number", display_shape(repeats)));
    }
    let mut tiled = Vec::with_capacity(shape.len());
    for (axis, (size, count)) in shape.iter().zip(repeats).enumerate() {
        let known = size.value().is_some() && count.value().is_some();
        let total = if count.is_of_sizes() { size.times(count) } else { None };
        tiled.push(scope.size(total, known, 0, axis)?);
    }
    let mut facts = Facts { element: value.element, shape: Some(tiled), contents: None };
    if let Some(block) = scope.block(0) {
        scope.fill(&mut facts, |index| {
            let source: Vec<usize> =
                index.iter().zip(&block.sizes).map(|(position, size)| position % size.max(&1)).collect();
            block.at(&source).cloned()
        });
    }
    Ok(vec![facts])
}

/// Element type, the four sizes where they are known, and the block size.
type Blocked<'a> = (Option<ElementType>, Option<&'a [Dim]>, i64);

fn blocked<'a>(scope: &Scope<'a>) -> Result<Blocked<'a>, String> {
    let value = scope.value(0)?;
    scope.expect_rank(0, 4)?;
    let size = scope.node.int("blocksize", 0);
    if !(1..=1 << 20).contains(&size) {
        return Err(format!("attribute blocksize {size} must be from 1 to 1048576"));
    }
    Ok((value.element, value.shape.as_deref(), size))
}

/// One size divided exactly; a fresh symbol where that cannot be known.
fn part(scope: &Scope<'_>, size: &Dim, by: i64, axis: usize) -> Result<Dim, String> {
    match size.value() {
        Some(known) if known % by != 0 => Err(format!("axis {axis} of size {known} is no multiple of {by}")),
        _ => Ok(size.exact_quotient(&Dim::known(by)).unwrap_or_else(|| scope.fresh(0, axis))),
    }
}

fn depth_to_space(scope: &Scope<'_>) -> Outcome {
    let (element, shape, size) = blocked(scope)?;
    let Some([batch, depth, height, width]) = shape else {
        return scope.one(element, Some(scope.fresh_shape(0, 4)));
    };
    let depth = part(scope, depth, size * size, 1)?;
    let height = scope.size(height.scaled(size), true, 0, 2)?;
    let width = scope.size(width.scaled(size), true, 0, 3)?;
    scope.one(element, Some(vec![batch.clone(), depth, height, width]))
}

fn space_to_depth(scope: &Scope<'_>) -> Outcome {
    let (element, shape, size) = blocked(scope)?;
    let Some([batch, depth, height, width]) = shape else {
        return scope.one(element, Some(scope.fresh_shape(0, 4)));
    };
    let depth = scope.size(depth.scaled(size * size), true, 0, 1)?;
    let shape = vec![batch.clone(), depth, part(scope, height, size, 2)?, part(scope, width, size, 3)?];
    scope.one(element, Some(shape))
}
