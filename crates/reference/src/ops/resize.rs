//! Resizing by interpolation, one axis after the other.

use ndarray::{ArrayD, Axis};
use pellucid_graph::interpolation::{self, Axis as ResizedAxis};

use crate::Array;
use crate::call::{Call, Operator, Outcome, flat, lanes, wrong_kind};
use crate::error::Problem;
use crate::ops::cast::truncate;

pub(crate) const OPERATORS: &[(&str, Operator)] = &[("Resize", resize)];

/// Integers are interpolated as floats and cut off.
fn resize(call: &Call<'_>) -> Outcome {
    let input = call.input(0)?;
    if let other @ Array::Bool(_) = input {
        return Err(wrong_kind(0, other, "float or int"));
    }
    let floats = |index: usize| -> Result<Option<Vec<f64>>, Problem> {
        Ok(call.optional_float(index)?.map(|values| flat(values).to_vec()))
    };
    let (roi, scales, sizes) = (floats(1)?, floats(2)?, call.list(3)?);
    let axes =
        interpolation::axes(call.node, input.shape(), roi.as_deref(), scales.as_deref(), sizes.as_deref())?;
    let shape: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    call.limits.allow(&shape)?;
    let mut y = input.to_floats();
    // Axes that shrink go first, so that no step is larger than both ends.
    let mut order: Vec<usize> = (0..axes.len()).filter(|axis| !axes[*axis].is_identity()).collect();
    order.sort_by_key(|axis| axes[*axis].output >= axes[*axis].input);
    for axis in order {
        y = along(call, &y, axis, &axes[axis])?;
    }
    let beyond = f64::from(call.node.float("extrapolation_value", 0.0));
    for (axis, resized) in axes.iter().enumerate() {
        for (index, outside) in resized.outside().into_iter().enumerate() {
            if outside {
                y.index_axis_mut(Axis(axis), index).fill(beyond);
            }
        }
    }
    Ok(vec![if matches!(input, Array::Int(_)) { Array::Int(y.mapv(truncate)) } else { Array::Float(y) }])
}

fn along(
    call: &Call<'_>,
    x: &ArrayD<f64>,
    axis: usize,
    resized: &ResizedAxis,
) -> Result<ArrayD<f64>, Problem> {
    let (outer, n, inner) = lanes(x.shape(), axis);
    let mut shape = x.shape().to_vec();
    shape[axis] = resized.output;
    let mut values = vec![0.0; call.limits.allow(&shape)?];
    for index in 0..resized.output {
        let taps = resized.taps_of(index);
        for o in 0..outer {
            let target = &mut values[(o * resized.output + index) * inner..][..inner];
            for (tap, weight) in &taps {
                let source = &flat(x)[(o * n + tap) * inner..][..inner];
                for (value, element) in target.iter_mut().zip(source) {
                    *value += weight * element;
                }
            }
        }
    }
    call.limits.array(&shape, values)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, counted, floats, ints, node};

    #[test]
    fn sizes_and_scales_interpolate_linearly() {
        let x = floats(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let given = [Some(x), None, None, Some(ints(&[4], &[1, 1, 4, 2]))];
        let found = node("Resize").string("mode", "linear").try_run(&given).unwrap();
        let expected = floats(&[1, 1, 4, 2], &[1.0, 2.0, 1.5, 2.5, 2.5, 3.5, 3.0, 4.0]);
        assert_close("linear", &found[0], &expected, 1e-12);
    }

    #[test]
    fn nearest_keeps_integers() {
        let given = [Some(ints(&[2], &[7, 9])), None, Some(floats(&[1], &[2.0]))];
        let found = node("Resize").try_run(&given).unwrap();
        assert_eq!(found[0], ints(&[4], &[7, 7, 9, 9]));
    }

    #[test]
    fn outside_the_crop_is_the_given_value() {
        let given = [Some(counted(&[3])), Some(floats(&[2], &[0.5, 1.5])), None, Some(ints(&[1], &[3]))];
        let found = node("Resize")
            .string("mode", "linear")
            .string("coordinate_transformation_mode", "tf_crop_and_resize")
            .float("extrapolation_value", 10.0)
            .try_run(&given)
            .unwrap();
        assert_eq!(found[0], floats(&[3], &[1.0, 2.0, 10.0]));
    }

    #[test]
    fn absurd_sizes_are_errors() {
        let huge = [Some(counted(&[2])), None, Some(floats(&[1], &[1e30]))];
        assert!(node("Resize").try_run(&huge).unwrap_err().starts_with("Resize node"));
        let huge = [Some(counted(&[2])), None, None, Some(ints(&[1], &[1 << 40]))];
        assert!(node("Resize").try_run(&huge).unwrap_err().contains("past the limit"));
        assert!(node("Resize").try_run(&[Some(counted(&[2]))]).is_err());
    }
}
