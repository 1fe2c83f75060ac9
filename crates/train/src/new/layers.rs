//! Layers, each with the weights that it begins with.

use pellucid::Error;
use pellucid_graph::{Attribute, ElementType, NewNode, Tensor, ValueId};

use super::build::Network;
use super::initial::{Fans, Initial};

/// What is added around a picture before a window goes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// So many places on every side.
    Each(usize),
    /// As many as make the result ⌈size / stride⌉ places long, the odd one behind: TensorFlow's `SAME`.
    Same,
}

/// A convolution over pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conv {
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: Padding,
    pub(super) groups: usize,
    pub(super) weight: Initial,
    /// What biases begin with; `None` without them, as a normalisation follows.
    pub(super) bias: Option<Initial>,
}

impl Conv {
    /// A convolution in front of a normalisation: no bias, padded by half a kernel.
    ///
    /// Its weights are drawn as those of torchvision's residual networks, by the number of outputs.
    pub(super) fn of(outputs: usize, kernel: usize, stride: usize) -> Self {
        let padding = Padding::Each(kernel / 2);
        Self { outputs, kernel, stride, padding, groups: 1, weight: Initial::HeOutputs, bias: None }
    }
}

/// A window over a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: Padding,
}

fn whole(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Network {
    /// y = W·x + b.
    pub(super) fn linear(
        &mut self,
        module: &str,
        outputs: usize,
        weight: Initial,
        bias: Option<Initial>,
    ) -> Result<(), Error> {
        let inputs: usize = self.sizes().iter().product();
        let fans = Fans { inputs, outputs };
        let weight = self.weight(&format!("{module}.weight"), &[outputs, inputs], fans, weight)?;
        let mut taken = vec![self.value, weight];
        if let Some(bias) = bias {
            taken.push(self.weight(&format!("{module}.bias"), &[outputs], fans, bias)?);
        }
        let gemm = NewNode::new("Gemm", &taken, "").with("transB", Attribute::Int(1));
        self.push(module, gemm)?;
        Ok(())
    }

    /// Places in front and behind for each spatial axis, in ONNX's order: all in front, then all behind.
    fn pads(&self, module: &str, window: Window) -> Result<Vec<i64>, Error> {
        let sizes = self.sizes();
        let refused = |problem: String| Error::Setting { name: "input".to_owned(), problem };
        let [_, sides @ ..] = sizes.as_slice() else { return Err(refused("it has no sizes".to_owned())) };
        if sides.len() != 2 {
            return Err(refused(format!(
                "{module} takes pictures, expected channels, height and width, such as 1x28x28; found {sizes:?}"
            )));
        }
        let (mut front, mut behind) = (Vec::new(), Vec::new());
        for side in sides {
            let (first, last) = match window.padding {
                Padding::Each(places) => (places, places),
                Padding::Same => {
                    let covered = (side.div_ceil(window.stride) - 1) * window.stride + window.kernel;
                    let total = covered.saturating_sub(*side);
                    (total / 2, total - total / 2)
                }
            };
            if side + first + last < window.kernel {
                return Err(refused(format!(
                    "it is too small: {module} looks at {0}×{0} places and finds {1}×{2}",
                    window.kernel, sides[0], sides[1]
                )));
            }
            front.push(whole(first));
            behind.push(whole(last));
        }
        front.extend(behind);
        Ok(front)
    }

    pub(super) fn conv(&mut self, module: &str, conv: &Conv) -> Result<(), Error> {
        let inputs = self.channels();
        let window = Window { kernel: conv.kernel, stride: conv.stride, padding: conv.padding };
        let pads = self.pads(module, window)?;
        let groups = conv.groups;
        if !inputs.is_multiple_of(groups) || !conv.outputs.is_multiple_of(groups) {
            return Err(Error::Setting {
                name: module.to_owned(),
                problem: format!(
                    "{inputs} channels become {}, which {groups} groups do not divide",
                    conv.outputs
                ),
            });
        }
        let area = conv.kernel * conv.kernel;
        let fans = Fans { inputs: inputs / groups * area, outputs: conv.outputs / groups * area };
        let shape = [conv.outputs, inputs / groups, conv.kernel, conv.kernel];
        let weight = self.weight(&format!("{module}.weight"), &shape, fans, conv.weight)?;
        let mut taken = vec![self.value, weight];
        if let Some(bias) = conv.bias {
            taken.push(self.weight(&format!("{module}.bias"), &[conv.outputs], fans, bias)?);
        }
        let node = NewNode::new("Conv", &taken, "")
            .with("kernel_shape", Attribute::Ints(vec![whole(conv.kernel); 2]))
            .with("strides", Attribute::Ints(vec![whole(conv.stride); 2]))
            .with("pads", Attribute::Ints(pads))
            .with("dilations", Attribute::Ints(vec![1; 2]))
            .with("group", Attribute::Int(whole(groups)));
        self.push(module, node)?;
        Ok(())
    }

    /// A batch normalisation: scale `scale`, bias 0, mean 0, variance 1; `momentum` is the weight of what it knew before.
    ///
    /// Source: S. Ioffe, C. Szegedy (2015), Batch normalization, arXiv:1502.03167.
    pub(super) fn norm_with(
        &mut self,
        module: &str,
        scale: f32,
        epsilon: f32,
        momentum: f32,
    ) -> Result<(), Error> {
        let channels = self.channels();
        let mut inputs = vec![self.value];
        for (name, value) in [("weight", scale), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            inputs.push(self.constant(&format!("{module}.{name}"), &[channels], &vec![value; channels])?);
        }
        let node = NewNode::new("BatchNormalization", &inputs, "")
            .with("epsilon", Attribute::Float(epsilon))
            .with("momentum", Attribute::Float(momentum));
        self.push(module, node)?;
        Ok(())
    }

    /// As [`Network::norm_with`], with PyTorch's ε = 10⁻⁵ and momentum.
    pub(super) fn norm(&mut self, module: &str, scale: f32) -> Result<(), Error> {
        self.norm_with(module, scale, 1e-5, 0.9)
    }

    /// A node without weights.
    pub(super) fn apply(&mut self, module: &str, operator: &str) -> Result<(), Error> {
        let module = self.again(module);
        self.push(&module, NewNode::new(operator, &[self.value], ""))?;
        Ok(())
    }

    pub(super) fn relu(&mut self, module: &str) -> Result<(), Error> {
        self.apply(module, "Relu")
    }

    /// min(max(x, 0), 6).
    ///
    /// Source: A. Krizhevsky (2010), Convolutional deep belief networks on CIFAR-10.
    pub(super) fn relu6(&mut self, module: &str) -> Result<(), Error> {
        let [low, high] = if let Some(limits) = self.limits {
            limits
        } else {
            let mut scalar = |name: &str, value: f64| {
                self.graph.add_constant(name, Tensor::scalar(ElementType::F32, value))
            };
            let limits = [scalar("relu6.low", 0.0)?, scalar("relu6.high", 6.0)?];
            self.limits = Some(limits);
            limits
        };
        let module = self.again(module);
        self.push(&module, NewNode::new("Clip", &[self.value, low, high], ""))?;
        Ok(())
    }

    /// Adds an earlier value.
    pub(super) fn add(&mut self, module: &str, other: ValueId) -> Result<(), Error> {
        self.push(module, NewNode::new("Add", &[self.value, other], ""))?;
        Ok(())
    }

    /// The largest number (`MaxPool`) or the mean (`AveragePool`) of every window.
    pub(super) fn windows(&mut self, module: &str, operator: &str, window: Window) -> Result<(), Error> {
        let pads = self.pads(module, window)?;
        let node = NewNode::new(operator, &[self.value], "")
            .with("kernel_shape", Attribute::Ints(vec![whole(window.kernel); 2]))
            .with("strides", Attribute::Ints(vec![whole(window.stride); 2]))
            .with("pads", Attribute::Ints(pads));
        self.push(module, node)?;
        Ok(())
    }

    /// The mean of every channel, flat.
    pub(super) fn pool(&mut self, module: &str) -> Result<(), Error> {
        self.apply(module, "GlobalAveragePool")?;
        self.flatten()
    }

    pub(super) fn flatten(&mut self) -> Result<(), Error> {
        if self.sizes().len() > 1 {
            let flatten = NewNode::new("Flatten", &[self.value], "").with("axis", Attribute::Int(1));
            let module = self.again("flatten");
            self.push(&module, flatten)?;
        }
        Ok(())
    }

    /// In training, units are dropped with probability `ratio`.
    ///
    /// Source: N. Srivastava et al. (2014), Dropout, JMLR 15:1929–1958.
    pub(super) fn dropout(&mut self, module: &str, ratio: f64) -> Result<(), Error> {
        if ratio > 0.0 {
            let name = self.graph.fresh_name(&format!("{module}.ratio"));
            let ratio = self.graph.add_constant(name, Tensor::scalar(ElementType::F32, ratio))?;
            self.push(module, NewNode::new("Dropout", &[self.value, ratio], ""))?;
        }
        Ok(())
    }
}
