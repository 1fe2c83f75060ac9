//! Activation functions.

use crate::Array;
use crate::call::{Call, Operator, Outcome, wrong_kind};
use crate::ops::broadcast;
use crate::ops::unary::{float, number};

pub(crate) const OPERATORS: &[(&str, Operator)] = &[
    ("Celu", celu),
    ("Clip", clip),
    ("Elu", elu),
    ("Gelu", gelu),
    ("HardSigmoid", hard_sigmoid),
    ("HardSwish", |call| float(call, |x| x * clamp(x / 6.0 + 0.5, 0.0, 1.0))),
    ("LeakyRelu", leaky_relu),
    ("Mish", |call| float(call, |x| x * softplus(x).tanh())),
    ("PRelu", prelu),
    // Written so that NaN is not below zero and stays.
    ("Relu", |call| number(call, |x| if x <= 0.0 { 0.0 } else { x }, |x| x.max(0))),
    ("Selu", selu),
    ("Shrink", shrink),
    ("Sigmoid", |call| float(call, sigmoid)),
    ("Softplus", |call| float(call, softplus)),
    ("Softsign", |call| float(call, |x| x / (1.0 + x.abs()))),
    ("Swish", swish),
    ("ThresholdedRelu", thresholded_relu),
];

/// `1 / (1 + e⁻ˣ)`, without overflow of either tail.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 + eˣ)`, without overflow.
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// `x` between two bounds, the upper one last; NaN stays NaN.
fn clamp(x: f64, low: f64, high: f64) -> f64 {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

fn attribute(call: &Call<'_>, name: &str, default: f32) -> f64 {
    f64::from(call.node.float(name, default))
}

fn celu(call: &Call<'_>) -> Outcome {
    let alpha = attribute(call, "alpha", 1.0);
    float(call, |x| if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() })
}

fn elu(call: &Call<'_>) -> Outcome {
    let alpha = attribute(call, "alpha", 1.0);
    float(call, |x| if x > 0.0 { x } else { alpha * x.exp_m1() })
}

fn selu(call: &Call<'_>) -> Outcome {
    let alpha = attribute(call, "alpha", 1.673_263_2);
    let gamma = attribute(call, "gamma", 1.050_701);
    float(call, |x| gamma * if x > 0.0 { x } else { alpha * x.exp_m1() })
}

fn gelu(call: &Call<'_>) -> Outcome {
    match call.node.string("approximate", "none") {
        "none" => float(call, |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        "tanh" => {
            let slope = (2.0 / std::f64::consts::PI).sqrt();
            float(call, |x| 0.5 * x * (1.0 + (slope * (x + 0.044_715 * x * x * x)).tanh()))
        }
        other => Err(format!("approximate is {other:?}, \"none\" or \"tanh\" was expected").into()),
    }
}

fn swish(call: &Call<'_>) -> Outcome {
    let alpha = attribute(call, "alpha", 1.0);
    float(call, |x| x * sigmoid(alpha * x))
}

fn hard_sigmoid(call: &Call<'_>) -> Outcome {
    let (alpha, beta) = (attribute(call, "alpha", 0.2), attribute(call, "beta", 0.5));
    float(call, |x| clamp(alpha * x + beta, 0.0, 1.0))
}

fn leaky_relu(call: &Call<'_>) -> Outcome {
    let alpha = attribute(call, "alpha", 0.01);
    float(call, |x| if x < 0.0 { alpha * x } else { x })
}

fn thresholded_relu(call: &Call<'_>) -> Outcome {
    let alpha = attribute(call, "alpha", 1.0);
    float(call, |x| if x <= alpha { 0.0 } else { x })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "integers are shrunk by what is left of the float bounds"
)]
fn shrink(call: &Call<'_>) -> Outcome {
    let (lambda, bias) = (attribute(call, "lambd", 0.5), attribute(call, "bias", 0.0));
    let shrunk = |x: f64| {
        if x < -lambda {
            x + bias
        } else if x > lambda {
            x - bias
        } else {
            // Zero times NaN stays NaN.
            x * 0.0
        }
    };
    number(call, shrunk, |x| shrunk(x as f64) as i64)
}

fn prelu(call: &Call<'_>) -> Outcome {
    let result =
        match (call.input(0)?, call.input(1)?) {
            (Array::Float(x), Array::Float(slope)) => Array::Float(broadcast::zip(
                call.limits,
                x,
                slope,
                |x, slope| if x < 0.0 { slope * x } else { x },
            )?),
            (Array::Int(x), Array::Int(slope)) => {
                Array::Int(broadcast::zip(call.limits, x, slope, |x, slope| {
                    if x < 0 { slope.wrapping_mul(x) } else { x }
                })?)
            }
            (_, slope) => return Err(wrong_kind(1, slope, call.input(0)?.kind())),
        };
    if result.shape() != call.input(0)?.shape() {
        let (x, slope) = (call.input(0)?.shape(), call.input(1)?.shape());
        return Err(format!("a slope of shape {slope:?} does not broadcast to {x:?}").into());
    }
    Ok(vec![result])
}

fn clip(call: &Call<'_>) -> Outcome {
    match call.input(0)? {
        Array::Float(x) => {
            let bound = |index, default| match call.optional_float(index)? {
                Some(bound) => call.scalar(index, bound),
                None => Ok(default),
            };
            let (low, high) = (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?);
            Ok(vec![Array::Float(x.mapv(|x| clamp(x, low, high)))])
        }
        Array::Int(x) => {
            let bound = |index, default| match call.optional(index) {
                Some(_) => call.scalar(index, call.int(index)?),
                None => Ok(default),
            };
            let (low, high) = (bound(1, i64::MIN)?, bound(2, i64::MAX)?);
            Ok(vec![Array::Int(x.mapv(|x| x.max(low).min(high)))])
        }
        other @ Array::Bool(_) => Err(wrong_kind(0, other, "float or int")),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, floats, ints, node};

    #[test]
    fn tails_do_not_overflow() {
        let x = floats(&[4], &[-1000.0, 0.0, 1000.0, f64::NEG_INFINITY]);
        assert_eq!(node("Sigmoid").run(std::slice::from_ref(&x)), floats(&[4], &[0.0, 0.5, 1.0, 0.0]));
        assert_eq!(node("Softplus").run(&[x]), floats(&[4], &[0.0, std::f64::consts::LN_2, 1000.0, 0.0]));
    }

    #[test]
    fn values_worked_out_by_hand() {
        let x = floats(&[3], &[-1.0, 0.0, 2.0]);
        let table: [(&str, [f64; 3]); 9] = [
            ("Relu", [0.0, 0.0, 2.0]),
            ("LeakyRelu", [-0.01, 0.0, 2.0]),
            ("Elu", [-0.632_120_558_828_557_7, 0.0, 2.0]),
            ("Selu", [-1.111_330_737_812_562_5, 0.0, 2.101_401_987]),
            ("HardSigmoid", [0.3, 0.5, 0.9]),
            ("HardSwish", [-1.0 / 3.0, 0.0, 5.0 / 3.0]),
            ("Gelu", [-0.158_655_253_931_457, 0.0, 1.954_499_736_103_641_6]),
            ("Swish", [-0.268_941_421_369_995, 0.0, 1.761_594_155_955_764_8]),
            ("Softsign", [-0.5, 0.0, 2.0 / 3.0]),
        ];
        for (operator, expected) in table {
            assert_close(
                operator,
                &node(operator).run(std::slice::from_ref(&x)),
                &floats(&[3], &expected),
                1e-7,
            );
        }
    }

    #[test]
    fn nan_is_kept() {
        let nan = floats(&[1], &[f64::NAN]);
        for operator in ["Relu", "LeakyRelu", "HardSigmoid", "HardSwish", "ThresholdedRelu", "Shrink", "Clip"]
        {
            assert!(
                node(operator).run(std::slice::from_ref(&nan)).as_float().unwrap()[[0]].is_nan(),
                "{operator}"
            );
        }
    }

    #[test]
    fn crossed_clip_bounds_give_the_upper_one() {
        let found = node("Clip").run(&[floats(&[2], &[0.0, 9.0]), floats(&[], &[5.0]), floats(&[], &[2.0])]);
        assert_eq!(found, floats(&[2], &[2.0, 2.0]));
        let found = node("Clip").run(&[ints(&[2], &[-4, 9]), ints(&[], &[0])]);
        assert_eq!(found, ints(&[2], &[0, 9]));
    }

    #[test]
    fn a_slope_must_not_enlarge_its_input() {
        let error = node("PRelu").fail(&[floats(&[2], &[1.0, 2.0]), floats(&[2, 2], &[0.0; 4])]);
        assert!(error.contains("does not broadcast"), "{error}");
    }
}
