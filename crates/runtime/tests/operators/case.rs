//! One node as a graph, run by both engines.

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor};
use pellucid_runtime::{Array, Engine, Options, open};

/// An input of the node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum In {
    /// Left out.
    No,
    /// Fed, random in −2..2.
    F(&'static [usize]),
    /// Fed, random in a range.
    Within(&'static [usize], f64, f64),
    /// Fed, these numbers.
    Values(&'static [usize], &'static [f32]),
    /// Fed integers.
    Ints(&'static [usize], &'static [i64]),
    /// Fed truth values.
    Bools(&'static [usize], &'static [i64]),
    /// A constant, random in −2..2.
    Weight(&'static [usize]),
    /// A constant, random in a range.
    WeightWithin(&'static [usize], f64, f64),
    /// A constant of these numbers.
    Constant(ElementType, &'static [usize], &'static [f64]),
    /// A constant of integers along one axis.
    List(&'static [i64]),
    /// Fed in another element type: truncated, if it is an integer type, from a random number in −100..100.
    Of(ElementType, &'static [usize]),
}

/// One node, its inputs, and how near the results must be.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) operator: &'static str,
    inputs: Vec<In>,
    attributes: BTreeMap<String, Attribute>,
    outputs: usize,
    /// Largest error, relative to the largest magnitude of the result.
    pub(crate) tolerance: f64,
}

impl Case {
    pub(crate) fn new(operator: &'static str, inputs: Vec<In>) -> Self {
        Self { operator, inputs, attributes: BTreeMap::new(), outputs: 1, tolerance: 2e-6 }
    }

    fn with(mut self, name: &str, value: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.with(name, Attribute::Int(value))
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.with(name, Attribute::Ints(values.to_vec()))
    }

    pub(crate) fn float(self, name: &str, value: f32) -> Self {
        self.with(name, Attribute::Float(value))
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.with(name, Attribute::String(value.to_owned()))
    }

    pub(crate) fn tensor(self, name: &str, value: Tensor) -> Self {
        self.with(name, Attribute::Tensor(value))
    }

    pub(crate) fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    pub(crate) fn near(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The graph of the node alone, and what to feed it.
    fn build(&self, free: bool) -> Result<(Graph, Vec<(String, Array)>), String> {
        let mut graph = Graph::new();
        let mut fed = Vec::new();
        let mut inputs = Vec::new();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for (position, input) in self.inputs.iter().enumerate() {
            let name = format!("in{position}");
            let (element, array) = match *input {
                In::No => {
                    inputs.push(None);
                    continue;
                }
                In::Weight(shape) => {
                    let tensor = random.tensor(shape, -2.0, 2.0);
                    inputs.push(Some(graph.add_constant(name, tensor).map_err(|e| e.to_string())?));
                    continue;
                }
                In::WeightWithin(shape, low, high) => {
                    let tensor = random.tensor(shape, low, high);
                    inputs.push(Some(graph.add_constant(name, tensor).map_err(|e| e.to_string())?));
                    continue;
                }
                In::Constant(element, shape, values) => {
                    let tensor = Tensor::from_values(element, shape.to_vec(), values).unwrap();
                    inputs.push(Some(graph.add_constant(name, tensor).map_err(|e| e.to_string())?));
                    continue;
                }
                In::List(values) => {
                    let tensor = Tensor::integers(values);
                    inputs.push(Some(graph.add_constant(name, tensor).map_err(|e| e.to_string())?));
                    continue;
                }
                In::F(shape) => (ElementType::F32, random.floats(shape, -2.0, 2.0)),
                In::Within(shape, low, high) => (ElementType::F32, random.floats(shape, low, high)),
                In::Values(shape, values) => {
                    (ElementType::F32, Array::from_f32(shape, values.to_vec()).unwrap())
                }
                In::Ints(shape, values) => {
                    (ElementType::I64, Array::from_i64(shape, values.to_vec()).unwrap())
                }
                In::Bools(shape, values) => {
                    let values = values.iter().map(|value| *value != 0).collect();
                    let array = ArrayD::from_shape_vec(IxDyn(shape), values).unwrap();
                    (ElementType::Bool, Array::Bool(array))
                }
                In::Of(element, shape) => {
                    let values: Vec<f64> =
                        random.floats(shape, -100.0, 100.0).to_f64().iter().copied().collect();
                    let values: Vec<f64> = if matches!(element, ElementType::U8 | ElementType::U16) {
                        values.iter().map(|value| value.abs()).collect()
                    } else {
                        values
                    };
                    let tensor = Tensor::from_values(element, shape.to_vec(), &values).unwrap();
                    (element, Array::from_tensor(&tensor))
                }
            };
            let shape = array
                .shape()
                .iter()
                .map(
                    |size| if free && *size > 1 { Dim::symbol(format!("s{size}")) } else { Dim::from(*size) },
                )
                .collect();
            let id = graph.add_input(name.clone(), element, Some(shape)).map_err(|e| e.to_string())?;
            inputs.push(Some(id));
            fed.push((name, array));
        }
        let outputs = (0..self.outputs).map(|position| format!("out{position}")).collect();
        let node = graph
            .push(NewNode {
                operator: self.operator.to_owned(),
                name: "node".to_owned(),
                inputs,
                outputs,
                attributes: self.attributes.clone(),
                ..NewNode::default()
            })
            .map_err(|error| format!("building: {error}"))?;
        graph.set_outputs(graph.node(node).outputs.iter().flatten().copied().collect());
        Ok((graph, fed))
    }

    pub(crate) fn run(&self, engine: Engine, free: bool) -> Result<Vec<Array>, String> {
        let (graph, fed) = self.build(free)?;
        let options = Options { engine, threads: Some(1), ..Options::default() };
        let session = open(&graph, &options).map_err(|error| format!("opening: {error}"))?;
        let inputs: Vec<(&str, &Array)> = fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let names: Vec<String> = (0..self.outputs).map(|position| format!("out{position}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        session.run(&inputs, &names).map_err(|error| format!("running: {error}"))
    }

    pub(crate) fn run_reference(&self) -> Result<Vec<Array>, String> {
        self.run(Engine::Reference, false).map_err(|error| format!("the interpreter: {error}"))
    }

    /// Compares an engine with the interpreter.
    pub(crate) fn check(&self, engine: Engine, free: bool) -> Result<(), String> {
        compare(&self.run(engine, free)?, &self.run_reference()?, self.tolerance)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}={value}")?;
        }
        write!(f, " {:?}", self.inputs)
    }
}

/// Whether every result is near, relative to its largest magnitude; integers and truth values must be equal.
pub(crate) fn compare(computed: &[Array], expected: &[Array], tolerance: f64) -> Result<(), String> {
    for (position, (computed, expected)) in computed.iter().zip(expected).enumerate() {
        if computed.shape() != expected.shape() {
            return Err(format!(
                "output {position}: shape {:?}, expected {:?}",
                computed.shape(),
                expected.shape()
            ));
        }
        if std::mem::discriminant(computed) != std::mem::discriminant(expected) {
            return Err(format!(
                "output {position}: {:?}, expected {:?}",
                computed.element(),
                expected.element()
            ));
        }
        let (computed, expected) = (computed.to_f64(), expected.to_f64());
        let scale = expected.iter().filter(|value| value.is_finite()).fold(1e-3, |a: f64, b| a.max(b.abs()));
        for (index, (x, y)) in computed.iter().zip(&expected).enumerate() {
            #[expect(clippy::float_cmp, reason = "infinities and integers must be equal")]
            let same = x == y || (x.is_nan() && y.is_nan());
            if !same && ((x - y).abs() > tolerance * scale || (x - y).is_nan()) {
                let relative = (x - y).abs() / scale;
                return Err(format!("output {position}[{index}]: {x}, expected {y} ({relative:.1e})"));
            }
        }
    }
    Ok(())
}

/// A small generator: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 40).unwrap()) / f64::from(1 << 24)
    }

    #[expect(clippy::cast_possible_truncation, reason = "test data is rounded to float32")]
    fn values(&mut self, shape: &[usize], low: f64, high: f64) -> Vec<f32> {
        (0..shape.iter().product()).map(|_| (low + (high - low) * self.next()) as f32).collect()
    }

    fn floats(&mut self, shape: &[usize], low: f64, high: f64) -> Array {
        Array::from_f32(shape, self.values(shape, low, high)).unwrap()
    }

    fn tensor(&mut self, shape: &[usize], low: f64, high: f64) -> Tensor {
        Tensor::from_f32(shape.to_vec(), &self.values(shape, low, high)).unwrap()
    }
}
