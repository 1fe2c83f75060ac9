//! Padding: constant, mirrored or repeated; negative pads cut.

use ndarray::{ArrayD, Axis};

use crate::array::{Array, same_kind};
use crate::call::{Call, Operator, Outcome, axes, flat, lanes, signed};
use crate::error::Problem;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("Pad", pad)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
}

impl Mode {
    /// The element of `0..size` that stands at `index`, which may lie outside; `None` for the constant.
    fn source(self, index: i64, size: i64) -> Option<i64> {
        if (0..size).contains(&index) {
            return Some(index);
        }
        match self {
            Self::Constant => None,
            Self::Edge => Some(index.clamp(0, size - 1)),
            Self::Reflect => {
                // There and back again, without repeating either end.
                let period = (2 * (size - 1)).max(1);
                let place = index.rem_euclid(period);
                Some(place.min(period - place)).map(|place| if size == 1 { 0 } else { place })
            }
        }
    }
}

fn pad(call: &Call<'_>) -> Outcome {
    let array = call.input(0)?;
    let pads = call.list(1)?.ok_or("input 1 is missing")?;
    let chosen = match call.list(3)? {
        Some(listed) => axes(&listed, array.rank())?,
        None => (0..array.rank()).collect(),
    };
    if pads.len() != 2 * chosen.len() {
        return Err(format!("{} pads for {} axes, two each were expected", pads.len(), chosen.len()).into());
    }
    let mode = match call.node.string("mode", "constant") {
        "constant" => Mode::Constant,
        "reflect" => Mode::Reflect,
        "edge" => Mode::Edge,
        other => return Err(format!("unknown mode {other:?}").into()),
    };
    let mut shape = array.shape().to_vec();
    let mut plan = Vec::new();
    for (entry, axis) in chosen.iter().enumerate() {
        let (before, after) = (pads[entry], pads[chosen.len() + entry]);
        let size = signed(shape[*axis]);
        let padded = size.checked_add(before).and_then(|size| size.checked_add(after));
        let padded = padded.and_then(|size| usize::try_from(size).ok());
        let padded = padded
            .ok_or_else(|| format!("pads {before} and {after} do not fit axis {axis} of {size} elements"))?;
        // What is left of the input, from where it starts; the rest is made of it.
        let (cut, left) = (before.saturating_neg().clamp(0, size), size + before.min(0) + after.min(0));
        if left <= 0 && padded > 0 && mode != Mode::Constant {
            return Err(format!("axis {axis} is empty and cannot be padded from its elements").into());
        }
        shape[*axis] = padded;
        plan.push((*axis, before.max(0), cut, left.max(0), padded));
    }
    call.limits.allow(&shape)?;
    let value = call.optional(2).filter(|value| !value.is_empty());
    if let Some(value) = value
        && (value.kind() != array.kind() || value.len() != 1)
    {
        let (found, kind) = (value.shape(), value.kind());
        return Err(format!(
            "the constant is a {kind} array of shape {found:?}, one {} was expected",
            array.kind()
        )
        .into());
    }
    Ok(vec![match (array, value) {
        (Array::Float(a), Some(Array::Float(value))) => {
            Array::Float(padded(call, a, flat(value)[0], mode, &plan)?)
        }
        (Array::Int(a), Some(Array::Int(value))) => Array::Int(padded(call, a, flat(value)[0], mode, &plan)?),
        (Array::Bool(a), Some(Array::Bool(value))) => {
            Array::Bool(padded(call, a, flat(value)[0], mode, &plan)?)
        }
        (array, _) => same_kind!(array, a => padded(call, a, Default::default(), mode, &plan)?),
    }])
}

/// One axis after the other: where the input's part starts in the output and in the input, its size, the new size.
fn padded<T: Copy>(
    call: &Call<'_>,
    array: &ArrayD<T>,
    constant: T,
    mode: Mode,
    plan: &[(usize, i64, i64, i64, usize)],
) -> Result<ArrayD<T>, Problem> {
    let mut result = array.clone();
    for (axis, before, cut, left, size) in plan {
        if *before == 0 && *left == signed(*size) && *left == signed(result.len_of(Axis(*axis))) {
            continue;
        }
        let (outer, n, inner) = lanes(result.shape(), *axis);
        let mut shape = result.shape().to_vec();
        shape[*axis] = *size;
        let mut values = Vec::with_capacity(call.limits.allow(&shape)?);
        let source = |index: usize| mode.source(signed(index) - before, *left).map(|place| place + cut);
        for o in 0..outer {
            for index in 0..*size {
                match source(index).and_then(|place| usize::try_from(place).ok()) {
                    Some(place) => {
                        values.extend_from_slice(&flat(&result)[(o * n + place) * inner..][..inner]);
                    }
                    None => values.extend(std::iter::repeat_n(constant, inner)),
                }
            }
        }
        result = call.limits.array(&shape, values)?;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use crate::testing::{bools, floats, ints, node};

    fn pad(mode: &str, pads: [i64; 2]) -> Vec<i64> {
        let found = node("Pad").string("mode", mode).run(&[ints(&[3], &[1, 2, 3]), ints(&[2], &pads)]);
        found.as_int().unwrap().iter().copied().collect()
    }

    #[test]
    fn absurd_pads_that_cancel_are_pads() {
        let x = floats(&[3], &[1.0, 2.0, 3.0]);
        // The whole axis is cut and 2 elements are added.
        let found = node("Pad").run(&[x, ints(&[2], &[i64::MIN, i64::MAX])]);
        assert_eq!(found, floats(&[2], &[0.0, 0.0]));
    }

    #[test]
    fn every_mode_on_both_sides() {
        assert_eq!(pad("constant", [2, 1]), [0, 0, 1, 2, 3, 0]);
        assert_eq!(pad("reflect", [2, 1]), [3, 2, 1, 2, 3, 2]);
        assert_eq!(pad("reflect", [0, 4]), [1, 2, 3, 2, 1, 2, 3]);
        assert_eq!(pad("edge", [2, 1]), [1, 1, 1, 2, 3, 3]);
        assert_eq!(pad("constant", [-1, 1]), [2, 3, 0]);
        assert_eq!(pad("constant", [-3, 2]), [0, 0]);
        assert_eq!(pad("edge", [1, -1]), [1, 1, 2]);
    }

    #[test]
    fn axes_and_the_constant_are_inputs() {
        let given = [
            Some(floats(&[2, 1], &[1.0, 2.0])),
            Some(ints(&[2], &[0, 1])),
            Some(floats(&[], &[9.0])),
            Some(ints(&[1], &[-1])),
        ];
        assert_eq!(node("Pad").try_run(&given).unwrap()[0], floats(&[2, 2], &[1.0, 9.0, 2.0, 9.0]));
        let truths = node("Pad").run(&[bools(&[1], &[true]), ints(&[2], &[1, 0])]);
        assert_eq!(truths, bools(&[2], &[false, true]));
    }

    #[test]
    fn pads_that_cannot_be_are_errors() {
        let fail = |mode: &str, pads: [i64; 2]| {
            node("Pad").string("mode", mode).fail(&[ints(&[3], &[1, 2, 3]), ints(&[2], &pads)])
        };
        assert!(fail("constant", [0, 1 << 40]).contains("Pad node"));
        assert!(fail("constant", [i64::MAX, i64::MAX]).starts_with("Pad node"));
        assert!(fail("constant", [-2, -2]).starts_with("Pad node"));
        assert!(fail("reflect", [-3, 1]).starts_with("Pad node"));
        assert!(fail("constant", [i64::MIN, 0]).starts_with("Pad node"));
    }
}
