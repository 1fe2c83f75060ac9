//! Normalisations: by stored statistics, by those of the batch, a layer, a group, an instance, neighbours, a norm.

use ndarray::{ArrayD, Axis, IxDyn};

use crate::Array;
use crate::call::{Call, Operator, Outcome, axes, flat, lanes};
use crate::error::Problem;
use crate::ops::{broadcast, reduce};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("BatchNormalization", batch),
    ("GroupNormalization", group),
    ("InstanceNormalization", instance),
    ("LRN", local_response),
    ("LayerNormalization", layer),
    ("LpNormalization", by_norm),
    ("MeanVarianceNormalization", mean_variance),
];

fn epsilon(call: &Call<'_>) -> f64 {
    f64::from(call.node.float("epsilon", 1e-5))
}

/// One number a channel, `[c]`, shaped to broadcast over `[n, c, …]` of `rank` axes.
fn per_channel(call: &Call<'_>, index: usize, rank: usize, channels: usize) -> Result<ArrayD<f64>, Problem> {
    let values = call.float(index)?;
    if values.shape() != [channels] {
        let found = values.shape();
        return Err(format!("input {index} has shape {found:?}, [{channels}] was expected").into());
    }
    let mut shape = vec![1; rank];
    shape[1] = channels;
    call.limits.array(&shape, flat(values).to_vec())
}

fn at_least(x: &ArrayD<f64>, rank: usize) -> Result<(), Problem> {
    if x.ndim() < rank {
        return Err(format!("input 0 has shape {:?}, at least {rank} axes were expected", x.shape()).into());
    }
    Ok(())
}

/// `(x − mean) / √(variance + ε)` by the mean and population variance over `axes`; also the mean and the factor.
fn standardize(x: &ArrayD<f64>, axes: &[usize], epsilon: f64) -> (ArrayD<f64>, ArrayD<f64>, ArrayD<f64>) {
    let (mean, variance) = moments(x, axes);
    let factor = variance.mapv_into(|variance| 1.0 / (variance + epsilon).sqrt());
    let y = (x - &mean) * &factor;
    (y, mean, factor)
}

/// Mean and population variance over `axes`, which stay with size 1.
fn moments(x: &ArrayD<f64>, axes: &[usize]) -> (ArrayD<f64>, ArrayD<f64>) {
    let count: usize = axes.iter().map(|axis| x.shape()[*axis]).product();
    let average = |x: &ArrayD<f64>| reduce::fold(x, axes, true, 0.0, |a, b| a + b) / count as f64;
    let mean = average(x);
    let variance = average(&(x - &mean).mapv_into(|x| x * x));
    (mean, variance)
}

/// With `training_mode` by the batch's own statistics, also returning the running ones:
/// `running = momentum · running + (1 − momentum) · batch`, the variance being the population's.
fn batch(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    at_least(x, 2)?;
    let (rank, channels) = (x.ndim(), x.shape()[1]);
    let channel = |index| per_channel(call, index, rank, channels);
    let (scale, bias, mean, variance) = (channel(1)?, channel(2)?, channel(3)?, channel(4)?);
    if call.node.int("training_mode", 0) == 0 {
        if call.node.outputs.len() > 1 {
            return Err("running statistics are outputs only with training_mode = 1".into());
        }
        let factor = variance.mapv_into(|variance| 1.0 / (variance + epsilon(call)).sqrt());
        return Ok(vec![Array::Float((x - &mean) * factor * scale + bias)]);
    }
    let others: Vec<usize> = (0..rank).filter(|axis| *axis != 1).collect();
    let (y, _, _) = standardize(x, &others, epsilon(call));
    let (batch_mean, batch_variance) = moments(x, &others);
    let momentum = f64::from(call.node.float("momentum", 0.9));
    let running = |old: ArrayD<f64>, new: ArrayD<f64>| -> Result<Array, Problem> {
        let mixed = old * momentum + new * (1.0 - momentum);
        Ok(Array::Float(mixed.into_shape_with_order(IxDyn(&[channels]))?))
    };
    Ok(vec![Array::Float(y * scale + bias), running(mean, batch_mean)?, running(variance, batch_variance)?])
}

/// Over `axis` and all after it; also the means and the inverse standard deviations, those axes of size 1.
fn layer(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    let first = call.axis("axis", -1, x.ndim())?;
    let axes: Vec<usize> = (first..x.ndim()).collect();
    let (mut y, mean, factor) = standardize(x, &axes, epsilon(call));
    y = y * broadcast::view(call.float(1)?, x.shape())?;
    if let Some(bias) = call.optional_float(2)? {
        y = y + broadcast::view(bias, x.shape())?;
    }
    Ok(vec![Array::Float(y), Array::Float(mean), Array::Float(factor)])
}

/// Scale and bias are one number a group (opset 18) or one a channel (opset 21): their shape says which.
fn group(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    at_least(x, 2)?;
    let channels = x.shape()[1];
    let groups = usize::try_from(call.node.int("num_groups", 0)).unwrap_or(0);
    if groups == 0 || channels % groups != 0 {
        let found = call.node.int("num_groups", 0);
        return Err(
            format!("num_groups is {found}, a divisor of the {channels} channels was expected").into()
        );
    }
    let mut grouped = vec![x.shape()[0], groups, channels / groups];
    grouped.extend(&x.shape()[2..]);
    let axes: Vec<usize> = (2..grouped.len()).collect();
    let split = call.limits.array(&grouped, flat(x).to_vec())?;
    let (y, _, _) = standardize(&split, &axes, epsilon(call));
    let per_group = |index: usize| -> Result<ArrayD<f64>, Problem> {
        let values = call.float(index)?;
        let mut shape = vec![1; grouped.len()];
        shape[1] = groups;
        match values.shape() {
            [count] if *count == groups => {}
            [count] if *count == channels => shape[2] = channels / groups,
            other => {
                let expected = format!("[{groups}] or [{channels}]");
                return Err(format!("input {index} has shape {other:?}, {expected} was expected").into());
            }
        }
        call.limits.array(&shape, flat(values).to_vec())
    };
    let y = y * per_group(1)? + per_group(2)?;
    Ok(vec![Array::Float(y.into_shape_with_order(x.raw_dim())?)])
}

fn instance(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    at_least(x, 3)?;
    let axes: Vec<usize> = (2..x.ndim()).collect();
    let (y, _, _) = standardize(x, &axes, epsilon(call));
    let channel = |index| per_channel(call, index, x.ndim(), x.shape()[1]);
    Ok(vec![Array::Float(y * channel(1)? + channel(2)?)])
}

/// `x / (bias + alpha / size · Σ x²)^beta`, the sum over the `size` channels around each.
fn local_response(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    at_least(x, 2)?;
    let size = usize::try_from(call.node.int("size", 0)).unwrap_or(0);
    if size == 0 {
        let found = call.node.int("size", 0);
        return Err(format!("attribute size is {found}, a positive number was expected").into());
    }
    let alpha = f64::from(call.node.float("alpha", 1e-4));
    let beta = f64::from(call.node.float("beta", 0.75));
    let bias = f64::from(call.node.float("bias", 1.0));
    let channels = x.shape()[1];
    let squares = x.mapv(|x| x * x);
    let mut sums = ArrayD::zeros(x.raw_dim());
    for channel in 0..channels {
        let from = channel.saturating_sub((size - 1) / 2);
        let to = channels.min(channel.saturating_add(size / 2).saturating_add(1));
        for neighbour in from..to {
            let mut sum = sums.index_axis_mut(Axis(1), channel);
            sum += &squares.index_axis(Axis(1), neighbour);
        }
    }
    let scale = alpha / size as f64;
    Ok(vec![Array::Float(x / sums.mapv_into(|sum: f64| (bias + scale * sum).powf(beta)))])
}

/// `x / ‖x‖ₚ` along one axis, p being 1 or 2; a lane of zeros stays zero.
fn by_norm(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    let axis = call.axis("axis", -1, x.ndim())?;
    let p = call.node.int("p", 2);
    if p != 1 && p != 2 {
        return Err(format!("attribute p is {p}, 1 or 2 was expected").into());
    }
    let (outer, n, inner) = lanes(x.shape(), axis);
    let mut values = flat(x).to_vec();
    for o in 0..outer {
        for i in 0..inner {
            let places = || (0..n).map(|k| (o * n + k) * inner + i);
            let lane = places().map(|place| values[place]);
            let norm =
                if p == 1 { lane.map(f64::abs).sum() } else { lane.map(|x| x * x).sum::<f64>().sqrt() };
            if norm != 0.0 {
                places().for_each(|place| values[place] /= norm);
            }
        }
    }
    Ok(vec![Array::Float(call.limits.array(x.shape(), values)?)])
}

/// `(x − mean) / (√variance + 1e-9)`, as the operator's own definition adds it.
fn mean_variance(call: &Call<'_>) -> Outcome {
    let x = call.float(0)?;
    let mut over = axes(call.node.ints("axes").unwrap_or(&[0, 2, 3]), x.ndim())?;
    over.sort_unstable();
    let (mean, variance) = moments(x, &over);
    Ok(vec![Array::Float((x - &mean) / variance.mapv_into(|variance| variance.sqrt() + 1e-9))])
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, floats, node};

    #[test]
    fn batch_statistics_are_used_only_in_training() {
        let x = floats(&[2, 1, 2], &[1.0, 3.0, 5.0, 7.0]);
        let one = |value: f64| floats(&[1], &[value]);
        let inputs = [x, one(2.0), one(1.0), one(3.0), one(4.0)];
        let fixed = node("BatchNormalization").float("epsilon", 0.0).run(&inputs);
        assert_close("fixed", &fixed, &floats(&[2, 1, 2], &[-1.0, 1.0, 3.0, 5.0]), 1e-12);
        let trained = node("BatchNormalization")
            .float("epsilon", 0.0)
            .float("momentum", 0.75)
            .int("training_mode", 1)
            .outputs(3)
            .run_all(&inputs);
        // Mean 4, variance 5.
        let scaled: Vec<f64> = [-3.0, -1.0, 1.0, 3.0].iter().map(|x| 2.0 * x / 5.0f64.sqrt() + 1.0).collect();
        assert_close("trained", &trained[0], &floats(&[2, 1, 2], &scaled), 1e-12);
        assert_close("running mean", &trained[1], &one(3.25), 1e-12);
        assert_close("running variance", &trained[2], &one(4.25), 1e-12);
    }

    #[test]
    fn layer_statistics_keep_their_axes() {
        let found = node("LayerNormalization").float("epsilon", 0.0).int("axis", 1).outputs(3).run_all(&[
            floats(&[2, 2], &[1.0, 3.0, 0.0, 4.0]),
            floats(&[2], &[1.0, 10.0]),
            floats(&[2], &[0.5, 0.0]),
        ]);
        assert_close("y", &found[0], &floats(&[2, 2], &[-0.5, 10.0, -0.5, 10.0]), 1e-12);
        assert_close("mean", &found[1], &floats(&[2, 1], &[2.0, 2.0]), 1e-12);
        assert_close("factor", &found[2], &floats(&[2, 1], &[1.0, 0.5]), 1e-12);
    }

    #[test]
    fn group_scales_may_be_per_group_or_per_channel() {
        let x = floats(&[1, 4, 1], &[1.0, 3.0, 0.0, 4.0]);
        let base = || node("GroupNormalization").float("epsilon", 0.0).int("num_groups", 2);
        let by_group = base().run(&[x.clone(), floats(&[2], &[1.0, 2.0]), floats(&[2], &[0.0, 1.0])]);
        assert_close("group", &by_group, &floats(&[1, 4, 1], &[-1.0, 1.0, -1.0, 3.0]), 1e-12);
        let scale = floats(&[4], &[1.0, 2.0, 3.0, 4.0]);
        let by_channel = base().run(&[x.clone(), scale, floats(&[4], &[0.0; 4])]);
        assert_close("channel", &by_channel, &floats(&[1, 4, 1], &[-1.0, 2.0, -3.0, 4.0]), 1e-12);
        let three = floats(&[3], &[0.0; 3]);
        assert!(base().fail(&[x, three.clone(), three]).contains("[3]"));
    }

    #[test]
    fn neighbours_reach_farther_up_for_an_even_size() {
        let x = floats(&[1, 4, 1], &[1.0, 2.0, 3.0, 4.0]);
        let found = node("LRN").int("size", 2).float("alpha", 2.0).float("beta", 1.0).run(&[x]);
        let expected = [1.0 / 6.0, 2.0 / 14.0, 3.0 / 26.0, 4.0 / 17.0];
        assert_close("lrn", &found, &floats(&[1, 4, 1], &expected), 1e-12);
    }

    #[test]
    fn norms_leave_zeros_alone() {
        let x = floats(&[2, 2], &[3.0, 4.0, 0.0, 0.0]);
        assert_eq!(node("LpNormalization").run(&[x]), floats(&[2, 2], &[0.6, 0.8, 0.0, 0.0]));
    }
}
