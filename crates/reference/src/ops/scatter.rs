//! Writing elements by index.

use ndarray::{ArrayD, IxDyn};

use crate::array::Array;
use crate::call::{Call, Operator, Outcome, flat};
use crate::error::Problem;
use crate::ops::binary::{max, min};
use crate::ops::gather::{element_positions, tuple_starts};

pub(crate) const OPERATORS: &[(&str, Operator)] =
    &[("ScatterElements", scatter_elements), ("ScatterND", scatter_nd)];

/// How an update meets what is there.
#[derive(Debug, Clone, Copy)]
enum Reduction {
    None,
    Add,
    Mul,
    Max,
    Min,
}

impl Reduction {
    fn of(call: &Call<'_>) -> Result<Self, Problem> {
        Ok(match call.node.string("reduction", "none") {
            "none" => Self::None,
            "add" => Self::Add,
            "mul" => Self::Mul,
            "max" => Self::Max,
            "min" => Self::Min,
            other => return Err(format!("unknown reduction {other:?}").into()),
        })
    }

    fn float(self, old: f64, new: f64) -> f64 {
        match self {
            Self::None => new,
            Self::Add => old + new,
            Self::Mul => old * new,
            Self::Max => max(old, new),
            Self::Min => min(old, new),
        }
    }

    fn int(self, old: i64, new: i64) -> i64 {
        match self {
            Self::None => new,
            Self::Add => old.wrapping_add(new),
            Self::Mul => old.wrapping_mul(new),
            Self::Max => old.max(new),
            Self::Min => old.min(new),
        }
    }

    fn truth(self, old: bool, new: bool) -> bool {
        match self {
            Self::None => new,
            Self::Add | Self::Max => old || new,
            Self::Mul | Self::Min => old && new,
        }
    }
}

fn written<T: Copy>(
    array: &ArrayD<T>,
    updates: &ArrayD<T>,
    positions: &[usize],
    reduce: impl Fn(T, T) -> T,
) -> Result<ArrayD<T>, Problem> {
    if updates.len() != positions.len() {
        return Err(format!("{} updates for {} indices", updates.len(), positions.len()).into());
    }
    let mut elements = flat(array).to_vec();
    for (position, update) in positions.iter().zip(flat(updates)) {
        elements[*position] = reduce(elements[*position], *update);
    }
    Ok(ArrayD::from_shape_vec(IxDyn(array.shape()), elements)?)
}

fn write(call: &Call<'_>, positions: &[usize]) -> Outcome {
    let reduction = Reduction::of(call)?;
    Ok(vec![match (call.input(0)?, call.input(2)?) {
        (Array::Float(x), Array::Float(u)) => written(x, u, positions, |a, b| reduction.float(a, b))?.into(),
        (Array::Int(x), Array::Int(u)) => written(x, u, positions, |a, b| reduction.int(a, b))?.into(),
        (Array::Bool(x), Array::Bool(u)) => written(x, u, positions, |a, b| reduction.truth(a, b))?.into(),
        (x, u) => return Err(format!("updates are {}, the array is {}", u.kind(), x.kind()).into()),
    }])
}

fn scatter_elements(call: &Call<'_>) -> Outcome {
    let (array, indices) = (call.input(0)?, call.int(1)?);
    let axis = call.axis("axis", 0, array.rank())?;
    if call.input(2)?.shape() != indices.shape() {
        return Err("updates and indices have different shapes".into());
    }
    let positions = element_positions(array.shape(), indices, axis)?;
    write(call, &positions)
}

fn scatter_nd(call: &Call<'_>) -> Outcome {
    let (array, indices) = (call.input(0)?, call.int(1)?);
    let (starts, tail) = tuple_starts(array.shape(), indices, 0)?;
    let depth = array.rank() - tail.len();
    let mut expected = indices.shape()[..indices.ndim() - 1].to_vec();
    expected.extend(&array.shape()[depth..]);
    let found = call.input(2)?.shape();
    if found != expected {
        return Err(format!("the updates have shape {found:?}, {expected:?} was expected").into());
    }
    let size: usize = tail.iter().product();
    let positions: Vec<usize> = starts.into_iter().flat_map(|start| start..start + size).collect();
    write(call, &positions)
}

#[cfg(test)]
mod tests {
    use crate::testing::{counted, floats, ints, node};

    #[test]
    fn updates_overwrite_or_add() {
        let x = counted(&[3, 2]);
        let (i, u) = (ints(&[2, 1], &[0, 0]), floats(&[2, 1], &[10.0, 20.0]));
        let found = node("ScatterElements").run(&[x.clone(), i.clone(), u.clone()]);
        assert_eq!(found, floats(&[3, 2], &[20.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        let found = node("ScatterElements").string("reduction", "add").run(&[x.clone(), i, u]);
        assert_eq!(found, floats(&[3, 2], &[30.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        let found = node("ScatterND").run(&[x, ints(&[1, 1], &[-1]), floats(&[1, 2], &[7.0, 8.0])]);
        assert_eq!(found, floats(&[3, 2], &[0.0, 1.0, 2.0, 3.0, 7.0, 8.0]));
    }

    #[test]
    fn updates_that_do_not_fit_are_errors() {
        let x = counted(&[2, 2]);
        // As many elements as expected, in another shape.
        let turned = node("ScatterND").fail(&[x.clone(), ints(&[1, 1], &[0]), floats(&[2, 1], &[1.0, 2.0])]);
        assert!(turned.starts_with("ScatterND node"), "{turned}");
        let outside = node("ScatterND").fail(&[x.clone(), ints(&[1, 1], &[2]), floats(&[1, 2], &[0.0; 2])]);
        assert!(outside.contains("index 2 is outside"), "{outside}");
        let shapes =
            node("ScatterElements").fail(&[x.clone(), ints(&[1, 2], &[0, 0]), floats(&[1, 1], &[0.0])]);
        assert!(shapes.starts_with("ScatterElements node"), "{shapes}");
        let given = [x, ints(&[1, 1], &[0]), floats(&[1, 1], &[0.0])];
        let unknown = node("ScatterElements").string("reduction", "mean").fail(&given);
        assert!(unknown.contains("mean"), "{unknown}");
    }
}
