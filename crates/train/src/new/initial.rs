//! What weights are before anything is learned.

use pellucid_data::random::Stream;

/// How many numbers a unit takes, and how many units take one of its inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fans {
    /// Inputs of a unit: channels of its group × kernel.
    pub(super) inputs: usize,
    /// Units of a group × kernel.
    pub(super) outputs: usize,
}

/// A distribution that weights are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Initial {
    /// 0.
    Zero,
    /// Uniform within ±1/√inputs: as PyTorch's `Linear` and `Conv2d` begin, and of the variance that keeps what linear
    /// units give a third as large.
    ///
    /// Source: Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller (1998), Efficient BackProp, doi:10.1007/3-540-49430-8_2.
    Inputs,
    /// Uniform within ±1/√outputs: as the last layer of the EfficientNets begins.
    ///
    /// Source: M. Tan, Q. V. Le (2019), EfficientNet, arXiv:1905.11946, in its published program.
    Outputs,
    /// Normal of deviation √(2 / inputs): what rectifiers give stays as large from layer to layer.
    ///
    /// Source: K. He, X. Zhang, S. Ren, J. Sun (2015), Delving deep into rectifiers, arXiv:1502.01852.
    HeInputs,
    /// Normal of deviation √(2 / outputs): errors stay as large on the way back. Of a convolution by groups, outputs are
    /// those of a group.
    ///
    /// Source: as [`Initial::HeInputs`].
    HeOutputs,
    /// Uniform within ±√(6 / (inputs + outputs)), for units that saturate on both sides.
    ///
    /// Source: X. Glorot, Y. Bengio (2010), Understanding the difficulty of training deep feedforward neural networks,
    /// PMLR 9:249–256.
    Glorot,
    /// Normal of this deviation.
    Normal(f64),
}

/// Draws one number.
type Draw = Box<dyn FnMut(&mut Stream) -> f64>;

impl Initial {
    /// What draws; `None` where all are 0.
    pub(super) fn drawing(self, fans: Fans) -> Option<Draw> {
        let (inputs, outputs) = (fans.inputs.max(1) as f64, fans.outputs.max(1) as f64);
        let uniform = |limit: f64| -> Draw { Box::new(move |stream| stream.between(-limit, limit)) };
        let normal = |deviation: f64| -> Draw { Box::new(move |stream| stream.normal() * deviation) };
        match self {
            Self::Zero => None,
            Self::Inputs => Some(uniform(1.0 / inputs.sqrt())),
            Self::Outputs => Some(uniform(1.0 / outputs.sqrt())),
            Self::HeInputs => Some(normal((2.0 / inputs).sqrt())),
            Self::HeOutputs => Some(normal((2.0 / outputs).sqrt())),
            Self::Glorot => Some(uniform((6.0 / (inputs + outputs)).sqrt())),
            Self::Normal(deviation) => Some(normal(deviation)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_the_papers() {
        let fans = Fans { inputs: 50, outputs: 18 };
        let deviation = |initial: Initial| {
            let mut draw = initial.drawing(fans).unwrap();
            let mut stream = Stream::new(1, &[2]);
            let squares: f64 = (0..20_000).map(|_| draw(&mut stream).powi(2)).sum();
            (squares / 20_000.0).sqrt()
        };
        let near = |initial: Initial, expected: f64| {
            let found = deviation(initial);
            assert!((found / expected - 1.0).abs() < 0.02, "{initial:?}: {found}, expected {expected}");
        };
        // Uniform within ±a has the deviation a/√3.
        near(Initial::Inputs, (1.0f64 / 50.0 / 3.0).sqrt());
        near(Initial::Outputs, (1.0f64 / 18.0 / 3.0).sqrt());
        near(Initial::HeInputs, 0.2);
        near(Initial::HeOutputs, 1.0 / 3.0);
        near(Initial::Glorot, (2.0f64 / 68.0).sqrt());
        near(Initial::Normal(0.01), 0.01);
        assert!(Initial::Zero.drawing(fans).is_none());
    }
}
