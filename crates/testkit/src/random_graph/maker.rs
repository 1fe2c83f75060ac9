//! A graph under construction, its random parameters, and what every block shares.

use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Shape, Tensor, ValueId};

use super::{Functions, Random};

pub(super) struct Maker<'r> {
    pub(super) graph: Graph,
    pub(super) random: &'r mut Random,
    element: ElementType,
    pub(super) functions: Functions,
}

/// An activation: operator and attributes, for one that needs no more.
type Plain = (&'static str, &'static [(&'static str, f32)]);

const SMOOTH: &[Plain] = &[
    ("Sigmoid", &[]),
    ("Tanh", &[]),
    ("Softplus", &[]),
    ("Swish", &[("alpha", 1.3)]),
    ("Gelu", &[]),
    ("Mish", &[]),
    ("Erf", &[]),
];

const KINKED: &[Plain] = &[
    ("Relu", &[]),
    ("Relu", &[]),
    ("LeakyRelu", &[("alpha", 0.2)]),
    ("Elu", &[("alpha", 0.7)]),
    ("Selu", &[]),
    ("Celu", &[("alpha", 1.4)]),
    ("HardSigmoid", &[("alpha", 0.3), ("beta", 0.4)]),
    ("HardSwish", &[]),
    ("Softsign", &[]),
    ("Abs", &[]),
];

impl<'r> Maker<'r> {
    pub(super) fn new(random: &'r mut Random, element: ElementType, functions: Functions) -> Self {
        Self { graph: Graph::new(), random, element, functions }
    }

    pub(super) fn smooth(&self) -> bool {
        self.functions == Functions::Smooth
    }

    pub(super) fn input(&mut self, name: &str, shape: Shape) -> ValueId {
        self.graph.add_input(name, self.element, Some(shape)).expect("the first name of a graph is free")
    }

    /// Appends a node with one output.
    pub(super) fn node(
        &mut self,
        operator: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attribute)],
    ) -> ValueId {
        self.nodes(operator, inputs, attributes, 1)[0]
    }

    /// Appends a node with `outputs` outputs.
    pub(super) fn nodes(
        &mut self,
        operator: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<ValueId> {
        let first = self.graph.values().len();
        let mut new = NewNode::new(operator, inputs, "");
        new.outputs = (first..first + outputs).map(|number| format!("v{number}")).collect();
        for (name, value) in attributes {
            new = new.with(name, value.clone());
        }
        match self.graph.push(new) {
            Ok(id) => self.graph.node(id).outputs.iter().flatten().copied().collect(),
            Err(error) => panic!("a random network's node was refused: {error}"),
        }
    }

    /// A parameter with `values`.
    pub(super) fn parameter(&mut self, shape: &[usize], values: &[f64]) -> ValueId {
        let tensor =
            Tensor::from_values(self.element, shape.to_vec(), values).expect("values fill the shape");
        let name = format!("p{}", self.graph.values().len());
        self.graph.add_constant(name, tensor).expect("the number of values is a fresh name")
    }

    /// A parameter with random numbers.
    pub(super) fn random_parameter(&mut self, shape: &[usize], low: f64, high: f64) -> ValueId {
        let values = self.random.numbers(shape.iter().product(), low, high);
        self.parameter(shape, &values)
    }

    /// Weights under which values of order one stay of order one: `fan_in` of them make a sum.
    pub(super) fn weights(&mut self, shape: &[usize], fan_in: usize) -> ValueId {
        let bound = (4.0 / fan_in.max(1) as f64).sqrt();
        self.random_parameter(shape, -bound, bound)
    }

    pub(super) fn integers(&mut self, values: &[i64]) -> ValueId {
        let name = format!("p{}", self.graph.values().len());
        self.graph.add_constant(name, Tensor::integers(values)).expect("the number of values is a fresh name")
    }

    /// Sizes after the rows.
    pub(super) fn sizes(&self, value: ValueId) -> Vec<usize> {
        let value = self.graph.value(value);
        let shape = value.shape.as_ref().expect("shape inference knows every operator of a random network");
        shape[1..].iter().map(|dim| dim.size().expect("only the rows are symbolic")).collect()
    }

    /// Any activation.
    pub(super) fn activation(&mut self, x: ValueId) -> ValueId {
        if self.smooth() || self.random.chance(0.35) {
            let (operator, attributes) = self.random.pick(SMOOTH);
            if operator == "Gelu" && self.random.chance(0.5) {
                return self.node("Gelu", &[x], &[("approximate", Attribute::String("tanh".to_owned()))]);
            }
            return self.plain(operator, attributes, x);
        }
        match self.random.below(5) {
            0 => {
                let (low, high) = (self.parameter(&[], &[0.0]), self.parameter(&[], &[1.1]));
                self.node("Clip", &[x, low, high], &[])
            }
            1 => {
                let (low, high) = (self.parameter(&[], &[-0.8]), self.parameter(&[], &[0.9]));
                self.node("Clip", &[x, low, high], &[])
            }
            2 => {
                let sizes = self.sizes(x);
                let mut shape = vec![1; sizes.len()];
                shape[0] = sizes[0];
                let slope = self.random_parameter(&shape, 0.1, 0.5);
                self.node("PRelu", &[x, slope], &[])
            }
            _ => {
                let (operator, attributes) = self.random.pick(KINKED);
                self.plain(operator, attributes, x)
            }
        }
    }

    fn plain(&mut self, operator: &str, attributes: &[(&str, f32)], x: ValueId) -> ValueId {
        let attributes: Vec<(&str, Attribute)> =
            attributes.iter().map(|(name, value)| (*name, Attribute::Float(*value))).collect();
        self.node(operator, &[x], &attributes)
    }

    /// A gate's factor between 0 and 1.
    pub(super) fn gate(&mut self, x: ValueId) -> ValueId {
        if self.smooth() || self.random.chance(0.6) {
            self.node("Sigmoid", &[x], &[])
        } else {
            self.node("HardSigmoid", &[x], &[("alpha", Attribute::Float(0.25))])
        }
    }

    /// Evaluation-mode `BatchNormalization` of a value whose axis 1 are channels.
    pub(super) fn batch_normalization(&mut self, x: ValueId) -> ValueId {
        let channels = self.sizes(x)[0];
        let scale: Vec<f64> = (0..channels).map(|_| self.random.signed(0.5, 1.5)).collect();
        let scale = self.parameter(&[channels], &scale);
        let bias = self.random_parameter(&[channels], -0.8, 0.8);
        let mean = self.random_parameter(&[channels], -0.6, 0.6);
        let variance = self.random_parameter(&[channels], 0.4, 1.8);
        let epsilon = Attribute::Float(1e-3);
        self.node("BatchNormalization", &[x, scale, bias, mean, variance], &[("epsilon", epsilon)])
    }

    /// `LayerNormalization` over the last axis. Its epsilon is large, so that the function stays far from its pole.
    pub(super) fn layer_normalization(&mut self, x: ValueId) -> ValueId {
        let width = *self.sizes(x).last().expect("a value has more axes than its rows");
        let scale: Vec<f64> = (0..width).map(|_| self.random.signed(0.5, 1.5)).collect();
        let scale = self.parameter(&[width], &scale);
        let bias = self.random_parameter(&[width], -0.8, 0.8);
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(0.2))];
        self.node("LayerNormalization", &[x, scale, bias], &attributes)
    }

    /// The classes, and the graph.
    pub(super) fn finish(mut self, value: ValueId, classes: usize, softmax: bool) -> Graph {
        let mut y = self.dense(value, classes);
        if softmax {
            y = self.node("Softmax", &[y], &[("axis", Attribute::Int(-1))]);
        }
        self.graph.rename(y, "y").expect("no other value is named y");
        self.graph.add_output(y).expect("the graph has no other output");
        self.graph
    }
}

/// A number that ONNX writes as int64.
pub(super) fn signed(size: usize) -> i64 {
    i64::try_from(size).expect("sizes of random networks are small")
}
