//! What nodes of constants make, where `float32` numbers are enough.
//!
//! The interpreter computes every node, but in `f64`, number by number. Of weights explanations ask for a few simple
//! things (kernels turned around, their positive parts), and those are computed here. Sums, differences and products of two
//! `float32` numbers are the same bits either way.

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use pellucid_graph::{ElementType, Graph, Node, Tensor};

use crate::weights;

/// Operators that give a tensor another shape.
const RESHAPES: &[&str] = &["Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"];

/// The node's only output; `None` for what is left to the interpreter.
pub(crate) fn compute(graph: &Graph, node: &Node, inputs: &[Option<Tensor>]) -> Option<Tensor> {
    let x = inputs.first()?.as_ref()?;
    let shape = graph.value(node.output(0)?).static_shape()?;
    let operator = node.operator.as_str();
    if RESHAPES.contains(&operator) {
        return x.reshaped(shape).ok();
    }
    if x.element() != ElementType::F32 {
        return None;
    }
    let values = match operator {
        "Transpose" => {
            let order = node.ints("perm")?.iter().map(|axis| usize::try_from(*axis).ok());
            let order = order.collect::<Option<Vec<usize>>>()?;
            in_order(&array(x)?.permuted_axes(order))
        }
        "Slice" => in_order(&reversed(array(x)?, inputs)?),
        "Relu" => mapped(x, |x| if x <= 0.0 { 0.0 } else { x }),
        "Neg" => mapped(x, |x| -x),
        "Abs" => mapped(x, f32::abs),
        "Add" => joined(&shape, inputs, |x, y| x + y)?,
        "Sub" => joined(&shape, inputs, |x, y| x - y)?,
        "Mul" => joined(&shape, inputs, |x, y| x * y)?,
        _ => return None,
    };
    weights::tensor(shape, values)
}

fn array(tensor: &Tensor) -> Option<ArrayD<f32>> {
    ArrayD::from_shape_vec(IxDyn(tensor.shape()), tensor.to_f32()).ok()
}

/// Numbers of an axis that are copied for every place of the others: a line of the processor's cache.
const LINE: usize = 16;

/// The numbers in the order of the axes.
///
/// Copied along an axis at a time: an iterator over all axes asks at every number whether one has ended. Axes that lie behind
/// each other are one first: a kernel turned around is one row read backwards. Where another axis than the last lies closest in
/// memory, it is gone along a line of the cache at a time, so that every line is read once.
fn in_order(values: &ArrayD<f32>) -> Vec<f32> {
    let mut values = values.view();
    for axis in (1..values.ndim()).rev() {
        values.merge_axes(Axis(axis - 1), Axis(axis));
    }
    let mut copied = ArrayD::zeros(values.raw_dim());
    let long = || values.axes().filter(|axis| axis.len > 1);
    let (last, closest) = (long().next_back(), long().min_by_key(|axis| axis.stride.unsigned_abs()));
    match closest {
        Some(closest) if last.is_some_and(|last| last.axis != closest.axis) => {
            let copied = copied.axis_chunks_iter_mut(closest.axis, LINE);
            let parts = copied.zip(values.axis_chunks_iter(closest.axis, LINE));
            parts.for_each(|(mut copied, values)| copied.assign(&values));
        }
        _ => copied.assign(&values),
    }
    copied.into_raw_vec_and_offset().0
}

fn mapped(x: &Tensor, function: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut values = x.to_f32();
    for value in &mut values {
        *value = function(*value);
    }
    values
}

/// Numbers by pairs, where both inputs have the result's shape or one of them is a single number.
fn joined(
    shape: &[usize],
    inputs: &[Option<Tensor>],
    function: impl Fn(f32, f32) -> f32,
) -> Option<Vec<f32>> {
    let [Some(x), Some(y)] = inputs else { return None };
    if y.element() != ElementType::F32 {
        return None;
    }
    if x.shape() == shape && y.shape() == shape {
        let mut values = x.to_f32();
        values.iter_mut().zip(y.to_f32()).for_each(|(x, y)| *x = function(*x, y));
        return Some(values);
    }
    let single = |tensor: &Tensor| match tensor.to_f32()[..] {
        [number] => Some(number),
        _ => None,
    };
    if x.shape() == shape {
        let y = single(y)?;
        return Some(mapped(x, |x| function(x, y)));
    }
    if y.shape() == shape {
        let x = single(x)?;
        return Some(mapped(y, |y| function(x, y)));
    }
    None
}

/// Whole axes turned around, as kernels are; `None` for every other `Slice`.
fn reversed(mut values: ArrayD<f32>, inputs: &[Option<Tensor>]) -> Option<ArrayD<f32>> {
    let list = |position: usize| inputs.get(position)?.as_ref()?.to_i64();
    let (starts, ends, axes, steps) = (list(1)?, list(2)?, list(3)?, list(4)?);
    let whole = starts.iter().all(|start| *start == -1)
        && ends.iter().all(|end| *end == i64::MIN)
        && steps.iter().all(|step| *step == -1);
    for axis in whole.then_some(axes)? {
        let axis = usize::try_from(axis).ok().filter(|axis| *axis < values.ndim())?;
        values.slice_axis_inplace(Axis(axis), Slice::new(0, None, -1));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Attribute, NewNode};
    use pellucid_reference::{Array, evaluate};

    use super::*;

    fn tensor(shape: &[usize], seed: f32) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count)
            .map(|k| ((f32::from(u16::try_from(k).unwrap()) + seed) * 12.9898).sin() * 1.0e3 / 7.0)
            .collect();
        Tensor::from_f32(shape.to_vec(), &values).unwrap()
    }

    fn integers(values: &[i64]) -> Tensor {
        Tensor::from_i64(vec![values.len()], values).unwrap()
    }

    /// Every node computed here has the interpreter's bits.
    #[test]
    fn bits_are_those_of_the_interpreter() {
        let (square, other, one) = (tensor(&[3, 4, 2], 0.0), tensor(&[3, 4, 2], 0.3), tensor(&[], 0.7));
        let back = [integers(&[-1, -1]), integers(&[i64::MIN; 2]), integers(&[0, 2]), integers(&[-1, -1])];
        let slice = [std::slice::from_ref(&square), &back[..]].concat();
        let cases: Vec<(&str, Vec<Tensor>)> = vec![
            ("Relu", vec![square.clone()]),
            ("Neg", vec![square.clone()]),
            ("Abs", vec![square.clone()]),
            ("Add", vec![square.clone(), other.clone()]),
            ("Sub", vec![square.clone(), other.clone()]),
            ("Mul", vec![square.clone(), other.clone()]),
            ("Sub", vec![square.clone(), one.clone()]),
            ("Sub", vec![one, square.clone()]),
            ("Transpose", vec![square.clone()]),
            // Kernels: more channels than are copied at once, of one place and of several.
            ("Transpose", vec![tensor(&[37, 19, 1], 0.2)]),
            ("Transpose", vec![tensor(&[5, 37, 9], 0.4)]),
            ("Slice", slice),
            ("Reshape", vec![square, integers(&[4, 6])]),
        ];
        for (operator, inputs) in cases {
            let mut graph = Graph::new();
            let ids: Vec<_> = inputs
                .iter()
                .enumerate()
                .map(|(k, tensor)| graph.add_constant(format!("c{k}"), tensor.clone()).unwrap())
                .collect();
            let mut new = NewNode::new(operator, &ids, "y");
            if operator == "Transpose" {
                let order = if inputs[0].shape()[0] == 3 { vec![2, 0, 1] } else { vec![1, 0, 2] };
                new.attributes.insert("perm".to_owned(), Attribute::Ints(order));
            }
            graph.push_one(new).unwrap();
            let node = &graph.nodes()[0];
            let given: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
            let found = compute(&graph, node, &given).unwrap_or_else(|| panic!("{operator} is not computed"));
            let arrays: Vec<Array> = inputs.iter().map(|tensor| Array::try_from(tensor).unwrap()).collect();
            let arrays: Vec<Option<&Array>> = arrays.iter().map(Some).collect();
            let wanted = evaluate(&graph, node, &arrays).unwrap()[0].to_tensor(ElementType::F32).unwrap();
            assert_eq!((found.shape(), found.bytes()), (wanted.shape(), wanted.bytes()), "{operator}");
        }
    }

    /// A row is not taken for a whole tensor.
    #[test]
    fn broadcasting_is_left_to_the_interpreter() {
        let mut graph = Graph::new();
        let (x, row) = (tensor(&[3, 4], 0.0), tensor(&[4], 0.1));
        let ids =
            [graph.add_constant("x", x.clone()).unwrap(), graph.add_constant("row", row.clone()).unwrap()];
        graph.push_one(NewNode::new("Add", &ids, "y")).unwrap();
        assert!(compute(&graph, &graph.nodes()[0], &[Some(x), Some(row)]).is_none());
    }
}
