//! Softmax, its logarithm and its hard limit, along one axis.

use crate::Array;
use crate::call::{Call, Operator, Outcome, flat, lanes};
use crate::ops::binary::max;

pub(crate) const OPERATORS: &[(&str, Operator)] =
    &[("Hardmax", hardmax), ("LogSoftmax", log_softmax), ("Softmax", softmax)];

/// Replaces every lane along the node's axis by `function` of it.
fn by_lane(call: &Call<'_>, function: impl Fn(&mut [f64])) -> Outcome {
    let x = call.float(0)?;
    let axis = call.axis("axis", -1, x.ndim())?;
    let (outer, n, inner) = lanes(x.shape(), axis);
    let mut values = flat(x).to_vec();
    let mut lane = vec![0.0; n];
    for o in 0..outer {
        for i in 0..inner {
            for (k, value) in lane.iter_mut().enumerate() {
                *value = values[(o * n + k) * inner + i];
            }
            function(&mut lane);
            for (k, value) in lane.iter().enumerate() {
                values[(o * n + k) * inner + i] = *value;
            }
        }
    }
    Ok(vec![Array::Float(call.limits.array(x.shape(), values)?)])
}

/// `eˣ / Σ eˣ`; the largest element is taken out first, so that nothing overflows.
fn softmax(call: &Call<'_>) -> Outcome {
    by_lane(call, |lane| {
        let largest = lane.iter().copied().fold(f64::NEG_INFINITY, max);
        let mut sum = 0.0;
        for x in &mut *lane {
            *x = (*x - largest).exp();
            sum += *x;
        }
        for x in lane {
            *x /= sum;
        }
    })
}

/// `x − ln Σ eˣ`.
fn log_softmax(call: &Call<'_>) -> Outcome {
    by_lane(call, |lane| {
        let largest = lane.iter().copied().fold(f64::NEG_INFINITY, max);
        let sum: f64 = lane.iter().map(|x| (x - largest).exp()).sum();
        for x in lane {
            *x = *x - largest - sum.ln();
        }
    })
}

/// 1 at the first largest element, 0 elsewhere.
fn hardmax(call: &Call<'_>) -> Outcome {
    by_lane(call, |lane| {
        let mut found = 0;
        for (k, x) in lane.iter().enumerate() {
            if *x > lane[found] {
                found = k;
            }
        }
        for (k, x) in lane.iter_mut().enumerate() {
            *x = if k == found { 1.0 } else { 0.0 };
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, floats, node};

    #[test]
    fn large_logits_do_not_overflow() {
        let x = floats(&[1, 3], &[1000.0, 1000.0, 0.0]);
        assert_eq!(node("Softmax").run(std::slice::from_ref(&x)), floats(&[1, 3], &[0.5, 0.5, 0.0]));
        let half = 0.5f64.ln();
        assert_close(
            "log",
            &node("LogSoftmax").run(&[x]),
            &floats(&[1, 3], &[half, half, half - 1000.0]),
            1e-12,
        );
    }

    #[test]
    fn lanes_run_along_the_axis() {
        let x = floats(&[2, 2], &[0.0, 3.0, 0.0, 1.0]);
        let found = node("Softmax").int("axis", 0).run(std::slice::from_ref(&x));
        let e = 1.0 / (1.0 + (-2.0f64).exp());
        assert_close("axis 0", &found, &floats(&[2, 2], &[0.5, e, 0.5, 1.0 - e]), 1e-15);
        assert_eq!(node("Hardmax").int("axis", 0).run(&[x]), floats(&[2, 2], &[1.0, 1.0, 0.0, 0.0]));
    }

    #[test]
    fn an_axis_outside_the_array_is_an_error() {
        assert!(node("Softmax").int("axis", 2).fail(&[floats(&[1, 1], &[0.0])]).contains("axis 2"));
    }
}
