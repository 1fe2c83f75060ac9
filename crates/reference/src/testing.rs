//! What the unit tests share: a graph of one node, and arrays in one line.

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Shape, Tensor, ValueId};

use crate::{Array, run};

pub(crate) fn floats(shape: &[usize], values: &[f64]) -> Array {
    Array::Float(ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap())
}

pub(crate) fn ints(shape: &[usize], values: &[i64]) -> Array {
    Array::Int(ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap())
}

pub(crate) fn bools(shape: &[usize], values: &[bool]) -> Array {
    Array::Bool(ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap())
}

/// `0, 1, 2, …` of a shape.
pub(crate) fn counted(shape: &[usize]) -> Array {
    let count = shape.iter().product::<usize>();
    floats(shape, &(0..count).map(|value| value as f64).collect::<Vec<_>>())
}

/// A node under test.
pub(crate) struct Tested {
    new: NewNode,
    outputs: usize,
    elements: Vec<Option<ElementType>>,
}

pub(crate) fn node(operator: &str) -> Tested {
    let new = NewNode { operator: operator.to_owned(), name: "tested".to_owned(), ..NewNode::default() };
    Tested { new, outputs: 1, elements: Vec::new() }
}

impl Tested {
    pub(crate) fn operator(&self) -> &str {
        &self.new.operator
    }

    pub(crate) fn with(mut self, name: &str, value: Attribute) -> Self {
        self.new = self.new.with(name, value);
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

    pub(crate) fn string(self, name: &str, value: &str) -> Self {
        self.with(name, Attribute::String(value.to_owned()))
    }

    pub(crate) fn tensor(self, name: &str, value: Tensor) -> Self {
        self.with(name, Attribute::Tensor(value))
    }

    /// How many outputs the node lists.
    pub(crate) fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    /// Declared element types of the inputs, where they are not `float64`, `int64` or `bool`.
    pub(crate) fn elements(mut self, elements: &[ElementType]) -> Self {
        self.elements = elements.iter().copied().map(Some).collect();
        self
    }

    /// The first output.
    pub(crate) fn run(self, inputs: &[Array]) -> Array {
        self.run_all(inputs).swap_remove(0)
    }

    /// Every output.
    pub(crate) fn run_all(self, inputs: &[Array]) -> Vec<Array> {
        let given: Vec<Option<Array>> = inputs.iter().cloned().map(Some).collect();
        self.try_run(&given).unwrap()
    }

    /// The message of the error that it must be.
    pub(crate) fn fail(self, inputs: &[Array]) -> String {
        let given: Vec<Option<Array>> = inputs.iter().cloned().map(Some).collect();
        self.try_run(&given).unwrap_err()
    }

    pub(crate) fn try_run(mut self, inputs: &[Option<Array>]) -> Result<Vec<Array>, String> {
        let mut graph = Graph::new();
        let mut given = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let Some(array) = input else {
                self.new.inputs.push(None);
                continue;
            };
            let kind = match array {
                Array::Float(_) => ElementType::F64,
                Array::Int(_) => ElementType::I64,
                Array::Bool(_) => ElementType::Bool,
            };
            let element = self.elements.get(index).copied().flatten().unwrap_or(kind);
            // The interpreter's own checks are under test, so the graph is told as little as it can be.
            let id = graph.add_input(format!("x{index}"), element, None::<Shape>).unwrap();
            self.new.inputs.push(Some(id));
            given.push((id, array.clone()));
        }
        self.new.outputs = (0..self.outputs).map(|index| format!("y{index}")).collect();
        // What inference refuses already is refused as well as what the interpreter does.
        let id = graph.push(self.new).map_err(|error| error.to_string())?;
        let wanted: Vec<ValueId> = graph.node(id).outputs.iter().copied().flatten().collect();
        run(&graph, &given, &wanted).map_err(|error| error.to_string())
    }
}

pub(crate) fn assert_close(what: &str, found: &Array, expected: &Array, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    assert_eq!(found.kind(), expected.kind(), "{what}");
    for (a, b) in found.to_floats().iter().zip(&expected.to_floats()) {
        assert!((a - b).abs() <= tolerance, "{what}: {found:?} is not {expected:?}");
    }
}
