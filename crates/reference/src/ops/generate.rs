//! Arrays made from sizes and positions rather than from elements.

use ndarray::{ArrayD, IxDyn};

use crate::array::Array;
use crate::call::{Call, Operator, Outcome, axis, flat, lanes, position, signed};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("ConstantOfShape", constant_of_shape),
    ("EyeLike", eye_like),
    ("NonZero", non_zero),
    ("OneHot", one_hot),
    ("Range", range),
    ("Shape", shape),
    ("Size", size),
    ("Trilu", trilu),
];

fn list(values: Vec<i64>) -> Array {
    ndarray::Array1::from(values).into_dyn().into()
}

fn constant_of_shape(call: &Call<'_>) -> Outcome {
    let sizes = call.list(0)?.ok_or("input 0 is missing")?;
    let sizes: Vec<usize> = sizes
        .iter()
        .map(|size| usize::try_from(*size).map_err(|_| Problem::from(format!("size {size} is negative"))))
        .collect::<Result<_, _>>()?;
    let value = match call.node.tensor("value") {
        Some(tensor) => Array::try_from(tensor).map_err(|error| Problem::from(error.to_string()))?,
        None => ArrayD::from_elem(IxDyn(&[1]), 0.0).into(),
    };
    if value.len() != 1 {
        return Err(format!("attribute value has {} elements, one was expected", value.len()).into());
    }
    Ok(vec![match &value {
        Array::Float(x) => call.limits.filled(&sizes, flat(x)[0])?.into(),
        Array::Int(x) => call.limits.filled(&sizes, flat(x)[0])?.into(),
        Array::Bool(x) => call.limits.filled(&sizes, flat(x)[0])?.into(),
    }])
}

/// An array of zeros and ones of the element type that the graph declares for the output.
fn zeros_and_ones(call: &Call<'_>, shape: &[usize], one: impl Fn(usize) -> bool) -> Result<Array, Problem> {
    let count = call.limits.allow(shape)?;
    let marks: Vec<bool> = (0..count).map(one).collect();
    let marks = ArrayD::from_shape_vec(IxDyn(shape), marks)?;
    Ok(match call.output_element(0) {
        Some(pellucid_graph::ElementType::Bool) => marks.into(),
        Some(element) if !element.is_float() => marks.mapv(i64::from).into(),
        _ => marks.mapv(|mark| f64::from(u8::from(mark))).into(),
    })
}

fn eye_like(call: &Call<'_>) -> Outcome {
    let shape = call.input(0)?.shape();
    let [_, columns] = shape else {
        return Err(format!("an array of shape {shape:?} is no matrix").into());
    };
    let k = call.node.int("k", 0);
    let columns = *columns;
    Ok(vec![zeros_and_ones(call, shape, |at| {
        let (row, column) = (signed(at / columns.max(1)), signed(at % columns.max(1)));
        row.checked_add(k) == Some(column)
    })?])
}

fn non_zero(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let marks: Vec<bool> = match array {
        Array::Float(x) => x.iter().map(|x| *x != 0.0).collect(),
        Array::Int(x) => x.iter().map(|x| *x != 0).collect(),
        Array::Bool(x) => x.iter().copied().collect(),
    };
    let places: Vec<usize> = (0..marks.len()).filter(|at| marks[*at]).collect();
    let mut positions = Vec::with_capacity(places.len() * array.rank());
    for axis in 0..array.rank() {
        let (_, size, inner) = lanes(array.shape(), axis);
        positions.extend(places.iter().map(|at| signed((at / inner) % size)));
    }
    Ok(vec![call.limits.array(&[array.rank(), places.len()], positions)?.into()])
}

fn one_hot(call: &Call<'_>) -> Outcome {
    let indices: Vec<Option<i64>> = match call.input(0)? {
        Array::Int(x) => x.iter().copied().map(Some).collect(),
        Array::Float(x) => x.iter().map(|x| Some(super::cast::truncate(*x))).collect(),
        Array::Bool(_) => return Err("input 0 is a bool array, indices were expected".into()),
    };
    let depth = match call.input(1)? {
        Array::Float(x) => super::cast::truncate(call.scalar(1, x)?),
        Array::Int(x) => call.scalar(1, x)?,
        Array::Bool(_) => return Err("input 1 is a bool array, a depth was expected".into()),
    };
    let depth = usize::try_from(depth).map_err(|_| format!("depth {depth} is negative"))?;
    let mut shape = call.input(0)?.shape().to_vec();
    let at = axis(call.node.int("axis", -1), shape.len() + 1)?;
    shape.insert(at, depth);
    call.limits.allow(&shape)?;
    let (outer, _, inner) = lanes(&shape, at);
    let marked = |o: usize, k: usize, i: usize| {
        indices[o * inner + i].and_then(|index| position(index, depth)) == Some(k)
    };
    macro_rules! fill {
        ($values:expr) => {{
            let values = flat($values);
            let [off, on] = values else {
                return Err(format!("{} values, off and on were expected", values.len()).into());
            };
            let mut elements = Vec::new();
            for o in 0..outer {
                for k in 0..depth {
                    elements.extend((0..inner).map(|i| if marked(o, k, i) { *on } else { *off }));
                }
            }
            call.limits.array(&shape, elements)?.into()
        }};
    }
    Ok(vec![match call.input(2)? {
        Array::Float(values) => fill!(values),
        Array::Int(values) => fill!(values),
        Array::Bool(values) => fill!(values),
    }])
}

fn range(call: &Call<'_>) -> Outcome {
    if let (Array::Int(start), Array::Int(limit), Array::Int(delta)) =
        (call.input(0)?, call.input(1)?, call.input(2)?)
    {
        let (start, limit, delta) = (call.scalar(0, start)?, call.scalar(1, limit)?, call.scalar(2, delta)?);
        if delta == 0 {
            return Err("the step is 0".into());
        }
        let (from, to, by) = (i128::from(start), i128::from(limit), i128::from(delta));
        let count = ((to - from + by - by.signum()) / by).max(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        call.limits.allow(&[count])?;
        return Ok(vec![list(
            (0..count).map(|i| start.wrapping_add(signed(i).wrapping_mul(delta))).collect(),
        )]);
    }
    let (start, limit, delta) =
        (call.scalar(0, call.float(0)?)?, call.scalar(1, call.float(1)?)?, call.scalar(2, call.float(2)?)?);
    let count = ((limit - start) / delta).ceil();
    if !count.is_finite() {
        return Err(format!("a range from {start} to {limit} by {delta} has no end").into());
    }
    let count = usize::try_from(super::cast::truncate(count.max(0.0))).unwrap_or(usize::MAX);
    call.limits.allow(&[count])?;
    let values: Vec<f64> = (0..count).map(|i| start + i as f64 * delta).collect();
    Ok(vec![ndarray::Array1::from(values).into_dyn().into()])
}

fn shape(call: &Call<'_>) -> Outcome {
    let shape = call.input(0)?.shape();
    let rank = signed(shape.len());
    let clamped = |value: i64| {
        let counted = if value < 0 { value.saturating_add(rank) } else { value };
        usize::try_from(counted.clamp(0, rank)).unwrap_or_default()
    };
    let (start, end) = (clamped(call.node.int("start", 0)), clamped(call.node.int("end", rank)));
    let part = shape.get(start..end).unwrap_or_default();
    Ok(vec![list(part.iter().map(|size| signed(*size)).collect())])
}

fn size(call: &Call<'_>) -> Outcome {
    Ok(vec![ArrayD::from_elem(IxDyn(&[]), signed(call.input(0)?.len())).into()])
}

fn trilu(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let shape = array.shape();
    let [.., rows, columns] = shape else {
        return Err(format!("an array of shape {shape:?} holds no matrix").into());
    };
    let (rows, columns) = (*rows, *columns);
    let k = call.list(1)?.and_then(|list| list.first().copied()).unwrap_or(0);
    let upper = call.node.int("upper", 1) != 0;
    let kept = |at: usize| {
        let (row, column) = (signed((at / columns) % rows), signed(at % columns));
        let diagonal = row.saturating_add(k);
        if upper { column >= diagonal } else { column <= diagonal }
    };
    macro_rules! masked {
        ($x:expr, $zero:expr) => {{
            let elements =
                flat($x).iter().enumerate().map(|(at, x)| if kept(at) { *x } else { $zero }).collect();
            call.limits.array(shape, elements)?.into()
        }};
    }
    Ok(vec![match array {
        Array::Float(x) => masked!(x, 0.0),
        Array::Int(x) => masked!(x, 0),
        Array::Bool(x) => masked!(x, false),
    }])
}

#[cfg(test)]
mod tests {
    use crate::testing::{counted, floats, ints, node};
    use pellucid_graph::Tensor;

    #[test]
    fn what_is_filled_has_a_limit() {
        let filled = node("ConstantOfShape").tensor("value", Tensor::integers(&[7]));
        assert_eq!(filled.run(&[ints(&[1], &[2])]), ints(&[2], &[7, 7]));
        assert_eq!(node("ConstantOfShape").run(&[ints(&[0], &[])]), floats(&[], &[0.0]));
        for sizes in [&[1 << 40][..], &[-1], &[0, i64::MAX, 4], &[i64::MAX, i64::MAX]] {
            let error = node("ConstantOfShape").fail(&[ints(&[sizes.len()], sizes)]);
            assert!(error.starts_with("ConstantOfShape node"), "{error}");
        }
        let scalar = |value| ints(&[], &[value]);
        let endless = node("Range").fail(&[scalar(i64::MIN), scalar(i64::MAX), scalar(1)]);
        assert!(endless.starts_with("Range node"), "{endless}");
        assert!(node("Range").fail(&[scalar(0), scalar(1), scalar(0)]).starts_with("Range node"));
        let deep = node("OneHot").fail(&[ints(&[1], &[0]), scalar(1 << 40), floats(&[2], &[0.0, 1.0])]);
        assert!(deep.starts_with("OneHot node"), "{deep}");
    }

    #[test]
    fn ranges_end_before_their_limit() {
        let scalar = |value| ints(&[], &[value]);
        assert_eq!(node("Range").run(&[scalar(1), scalar(8), scalar(3)]), ints(&[3], &[1, 4, 7]));
        assert_eq!(node("Range").run(&[scalar(5), scalar(0), scalar(-2)]), ints(&[3], &[5, 3, 1]));
        assert_eq!(node("Range").run(&[scalar(5), scalar(5), scalar(1)]), ints(&[0], &[]));
    }

    #[test]
    fn shapes_and_triangles() {
        let x = counted(&[2, 3]);
        assert_eq!(node("Shape").run(std::slice::from_ref(&x)), ints(&[2], &[2, 3]));
        assert_eq!(node("Shape").int("start", -1).run(std::slice::from_ref(&x)), ints(&[1], &[3]));
        assert_eq!(
            node("Trilu").run(std::slice::from_ref(&x)),
            floats(&[2, 3], &[0.0, 1.0, 2.0, 0.0, 4.0, 5.0])
        );
        assert_eq!(node("NonZero").run(&[x]), ints(&[2, 5], &[0, 0, 1, 1, 1, 1, 2, 0, 1, 2]));
    }

    #[test]
    fn one_hot_marks_indices_from_either_end() {
        let found =
            node("OneHot").run(&[ints(&[3], &[1, -1, 7]), ints(&[], &[3]), floats(&[2], &[0.0, 5.0])]);
        assert_eq!(found, floats(&[3, 3], &[0.0, 5.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0]));
    }
}
