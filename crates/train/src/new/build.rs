//! Layers, appended one after the other.

use pellucid::Error;
use pellucid_data::random::Stream;
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

/// A network under construction.
pub(super) struct Network {
    graph: Graph,
    /// What the next layer takes.
    pub(super) value: ValueId,
    stream: Stream,
    seed: u64,
    layers: u64,
}

impl Network {
    pub(super) fn new(input: &[usize], seed: u64) -> Result<Self, Error> {
        let mut graph = Graph::new();
        let shape =
            std::iter::once(Dim::symbol("n")).chain(input.iter().map(|size| Dim::from(*size))).collect();
        let value = graph.add_input("input", ElementType::F32, Some(shape))?;
        Ok(Self { graph, value, stream: Stream::new(seed, &[0]), seed, layers: 0 })
    }

    /// Sizes of a row of what the next layer takes.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let shape = self.graph.value(self.value).shape.as_ref();
        shape.map(|shape| shape.iter().skip(1).filter_map(Dim::size).collect()).unwrap_or_default()
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<ValueId, Error> {
        let tensor =
            Tensor::from_f32(shape.to_vec(), values).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(self.graph.add_constant(name, tensor)?)
    }

    fn drawn(&mut self, count: usize, mut draw: impl FnMut(&mut Stream) -> f64) -> Vec<f32> {
        // Each weight has numbers of its own, so that another width changes no other layer.
        self.layers += 1;
        self.stream = Stream::new(self.seed, &[1, self.layers]);
        #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
        (0..count).map(|_| draw(&mut self.stream) as f32).collect()
    }

    /// Appends a node of a module, whose path has dots.
    fn push(&mut self, module: &str, new: NewNode) -> Result<ValueId, Error> {
        let mut path = String::new();
        let mut parts: Vec<&str> = Vec::new();
        for part in module.split('.') {
            // A number is a child that is called after its parent, as exporters write it.
            let child = part.bytes().all(|byte| byte.is_ascii_digit());
            parts.push(part);
            path.push('/');
            path.push_str(&if child {
                parts[parts.len().saturating_sub(2)..].join(".")
            } else {
                part.to_owned()
            });
        }
        let name = format!("{path}/{}", new.operator);
        let output = self.graph.fresh_name(&format!("{name}_output_0"));
        self.value = self.graph.push_one(NewNode { name, outputs: vec![output], ..new })?;
        Ok(self.value)
    }

    /// y = W·x + b, both uniform within ±1/√inputs, as PyTorch's `Linear` begins.
    pub(super) fn linear(&mut self, module: &str, outputs: usize) -> Result<(), Error> {
        let inputs: usize = self.sizes().iter().product();
        let limit = 1.0 / (inputs as f64).sqrt();
        let weight = self.drawn(outputs * inputs, |stream| stream.between(-limit, limit));
        let weight = self.constant(&format!("{module}.weight"), &[outputs, inputs], &weight)?;
        let bias = self.drawn(outputs, |stream| stream.between(-limit, limit));
        let bias = self.constant(&format!("{module}.bias"), &[outputs], &bias)?;
        let gemm = NewNode::new("Gemm", &[self.value, weight, bias], "").with("transB", Attribute::Int(1));
        self.push(module, gemm)?;
        Ok(())
    }

    /// As [`Network::linear`] in front of a rectifier: normal of deviation √(2 / inputs), biases 0.
    ///
    /// Source: K. He, X. Zhang, S. Ren, J. Sun (2015), Delving deep into rectifiers, arXiv:1502.01852.
    pub(super) fn rectified_linear(&mut self, module: &str, outputs: usize) -> Result<(), Error> {
        let inputs: usize = self.sizes().iter().product();
        let deviation = (2.0 / inputs as f64).sqrt();
        let weight = self.drawn(outputs * inputs, |stream| stream.normal() * deviation);
        let weight = self.constant(&format!("{module}.weight"), &[outputs, inputs], &weight)?;
        let bias = self.constant(&format!("{module}.bias"), &[outputs], &vec![0.0; outputs])?;
        let gemm = NewNode::new("Gemm", &[self.value, weight, bias], "").with("transB", Attribute::Int(1));
        self.push(module, gemm)?;
        Ok(())
    }

    /// A convolution without a bias, normal of deviation √(2 / (outputs · kernel²)), as torchvision's residual networks
    /// begin (He et al. 2015).
    pub(super) fn conv(
        &mut self,
        module: &str,
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<(), Error> {
        let inputs = self.sizes().first().copied().unwrap_or(1);
        let deviation = (2.0 / (outputs * kernel * kernel) as f64).sqrt();
        let count = outputs * inputs * kernel * kernel;
        let weight = self.drawn(count, |stream| stream.normal() * deviation);
        let weight =
            self.constant(&format!("{module}.weight"), &[outputs, inputs, kernel, kernel], &weight)?;
        let whole = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let (pad, kernel, stride) = (whole(kernel / 2), whole(kernel), whole(stride));
        let conv = NewNode::new("Conv", &[self.value, weight], "")
            .with("kernel_shape", Attribute::Ints(vec![kernel; 2]))
            .with("strides", Attribute::Ints(vec![stride; 2]))
            .with("pads", Attribute::Ints(vec![pad; 4]))
            .with("dilations", Attribute::Ints(vec![1; 2]))
            .with("group", Attribute::Int(1));
        self.push(module, conv)?;
        Ok(())
    }

    /// A batch normalisation: scale 1 (or `scale`), bias 0, mean 0, variance 1.
    pub(super) fn norm(&mut self, module: &str, scale: f32) -> Result<(), Error> {
        let channels = self.sizes().first().copied().unwrap_or(1);
        let mut inputs = vec![self.value];
        for (name, value) in [("weight", scale), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            inputs.push(self.constant(&format!("{module}.{name}"), &[channels], &vec![value; channels])?);
        }
        let node = NewNode::new("BatchNormalization", &inputs, "")
            .with("epsilon", Attribute::Float(1e-5))
            .with("momentum", Attribute::Float(0.9));
        self.push(module, node)?;
        Ok(())
    }

    pub(super) fn relu(&mut self, module: &str) -> Result<(), Error> {
        self.push(module, NewNode::new("Relu", &[self.value], ""))?;
        Ok(())
    }

    /// Adds an earlier value.
    pub(super) fn add(&mut self, module: &str, other: ValueId) -> Result<(), Error> {
        self.push(module, NewNode::new("Add", &[self.value, other], ""))?;
        Ok(())
    }

    /// The mean of every channel, flat.
    pub(super) fn pool(&mut self) -> Result<(), Error> {
        self.push("pool", NewNode::new("GlobalAveragePool", &[self.value], ""))?;
        self.flatten()
    }

    pub(super) fn flatten(&mut self) -> Result<(), Error> {
        if self.sizes().len() > 1 {
            let flatten = NewNode::new("Flatten", &[self.value], "").with("axis", Attribute::Int(1));
            self.push("flatten", flatten)?;
        }
        Ok(())
    }

    pub(super) fn dropout(&mut self, module: &str, ratio: f64) -> Result<(), Error> {
        if ratio > 0.0 {
            let name = self.graph.fresh_name(&format!("{module}.ratio"));
            let ratio = self.graph.add_constant(name, Tensor::scalar(ElementType::F32, ratio))?;
            self.push(module, NewNode::new("Dropout", &[self.value, ratio], ""))?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self, family: &str) -> Result<Graph, Error> {
        self.graph.rename(self.value, "logits")?;
        self.graph.add_output(self.value)?;
        family.clone_into(&mut self.graph.name);
        "pellucid".clone_into(&mut self.graph.producer);
        Ok(self.graph)
    }
}
